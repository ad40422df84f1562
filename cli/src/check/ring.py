"""The same as ring.c, for guests that have mpi4py and no compiler."""

import sys
import time

from mpi4py import MPI

ROUNDS, TAG = 4, 7
COMM = MPI.COMM_WORLD
RANK, RANKS = COMM.Get_rank(), COMM.Get_size()


def made(size, salt):
    cycle = bytes((i * 31 + salt) & 255 for i in range(256))
    return bytearray((cycle * (size // 256 + 1))[:size])


def say(text):
    sys.stdout.write("mvpnet-check " + text + "\n")
    sys.stdout.flush()


def ring(size):
    source, to, message = (RANK - 1) % RANKS, (RANK + 1) % RANKS, bytearray(size)
    if RANK == 0:
        COMM.Send([made(size, 0), MPI.BYTE], to, TAG)
    COMM.Recv([message, MPI.BYTE], source, TAG)
    if RANK != 0:
        COMM.Send([made(size, RANK), MPI.BYTE], to, TAG)
    return message == made(size, source)


def ping_pong(size):
    good, message = True, bytearray(size)
    for i in range(ROUNDS):
        if RANK == 0:
            COMM.Send([made(size, i), MPI.BYTE], 1, TAG)
            COMM.Recv([message, MPI.BYTE], 1, TAG)
            good = good and message == made(size, i + 1)
        elif RANK == 1:
            COMM.Recv([message, MPI.BYTE], 0, TAG)
            good = good and message == made(size, i)
            COMM.Send([made(size, i + 1), MPI.BYTE], 0, TAG)
    return good


def one(what, exchange, size, rounds):
    if RANK == 0:
        say("%s %d begins 0" % (what, size))
    begun = MPI.Wtime()
    good = exchange(size)
    took = MPI.Wtime() - begun
    good = COMM.allreduce(int(good), op=MPI.MIN)
    if RANK == 0:
        say("%s %d %s %.3f" % (what, size, "ends" if good else "differs", took / rounds * 1e6))


say("rank %d of %d on %s" % (RANK, RANKS, MPI.Get_processor_name()))
for argument in sys.argv[1:]:
    if RANKS > 1:
        one("ring", ring, int(argument), 1)
        one("ping-pong", ping_pong, int(argument), 2 * ROUNDS)

# MPICH before 4.2 over UCX's TCP now and then hangs in MPI_Finalize, if ranks come there one after the other
# (pmodels/mpich#6596): let them come together.
COMM.Barrier()
time.sleep(1)
