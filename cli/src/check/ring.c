/* A message of each size goes round the ring of all ranks, and to and fro between the first two, for `mvpnet check`.
 *
 *     ring SIZE…
 *
 * Rank 0 says when each begins and ends, so that one that never ends is known by its size. */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ROUNDS = 4, TAG = 7 };

static int rank, ranks;

static void fill(unsigned char *message, int size, int salt) {
    for (int i = 0; i < size; i++) message[i] = (unsigned char)(i * 31 + salt);
}

static int is_whole(const unsigned char *message, int size, int salt) {
    for (int i = 0; i < size; i++)
        if (message[i] != (unsigned char)(i * 31 + salt)) return 0;
    return 1;
}

static void say(const char *what, int size, const char *state, double value) {
    printf("mvpnet-check %s %d %s %.3f\n", what, size, state, value);
    fflush(stdout);
}

/* Each rank checks what comes, and passes on what it has made itself. */
static int ring(unsigned char *message, int size) {
    int from = (rank + ranks - 1) % ranks, to = (rank + 1) % ranks, good = 1;
    if (rank == 0) {
        fill(message, size, 0);
        MPI_Send(message, size, MPI_BYTE, to, TAG, MPI_COMM_WORLD);
    }
    MPI_Recv(message, size, MPI_BYTE, from, TAG, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    good = is_whole(message, size, from);
    if (rank != 0) {
        fill(message, size, rank);
        MPI_Send(message, size, MPI_BYTE, to, TAG, MPI_COMM_WORLD);
    }
    return good;
}

static int ping_pong(unsigned char *message, int size) {
    int good = 1;
    for (int i = 0; i < ROUNDS; i++) {
        if (rank == 0) {
            fill(message, size, i);
            MPI_Send(message, size, MPI_BYTE, 1, TAG, MPI_COMM_WORLD);
            MPI_Recv(message, size, MPI_BYTE, 1, TAG, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
            good &= is_whole(message, size, i + 1);
        } else if (rank == 1) {
            MPI_Recv(message, size, MPI_BYTE, 0, TAG, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
            good &= is_whole(message, size, i);
            fill(message, size, i + 1);
            MPI_Send(message, size, MPI_BYTE, 0, TAG, MPI_COMM_WORLD);
        }
    }
    return good;
}

static void one(const char *what, int (*exchange)(unsigned char *, int), unsigned char *message, int size, int rounds) {
    int good, all;
    if (rank == 0) say(what, size, "begins", 0);
    double begun = MPI_Wtime();
    good = exchange(message, size);
    double took = MPI_Wtime() - begun;
    MPI_Allreduce(&good, &all, 1, MPI_INT, MPI_MIN, MPI_COMM_WORLD);
    if (rank == 0) say(what, size, all ? "ends" : "differs", took / rounds * 1e6);
}

int main(int argc, char **argv) {
    char name[MPI_MAX_PROCESSOR_NAME];
    int length;
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &ranks);
    MPI_Get_processor_name(name, &length);
    printf("mvpnet-check rank %d of %d on %s\n", rank, ranks, name);
    fflush(stdout);
    for (int i = 1; i < argc; i++) {
        int size = atoi(argv[i]);
        unsigned char *message = malloc((size_t)size + 1);
        if (message == NULL) MPI_Abort(MPI_COMM_WORLD, 3);
        if (ranks > 1) {
            one("ring", ring, message, size, 1);
            one("ping-pong", ping_pong, message, size, 2 * ROUNDS);
        }
        free(message);
    }
    /* MPICH before 4.2 over UCX's TCP now and then hangs in MPI_Finalize, if ranks come there one after the other
     * (pmodels/mpich#6596): let them come together. */
    MPI_Barrier(MPI_COMM_WORLD);
    sleep(1);
    MPI_Finalize();
    return 0;
}
