"""The token of ring.c once round, by mpi4py."""
from mpi4py import MPI

world = MPI.COMM_WORLD
rank, size = world.rank, world.size
left, right = (rank - 1) % size, (rank + 1) % size
if rank == 0:
    world.send([MPI.Get_processor_name()], dest=right)
    names = world.recv(source=left)
    print("python:", " ".join(names))
else:
    names = world.recv(source=left)
    world.send(names + [MPI.Get_processor_name()], dest=right)
