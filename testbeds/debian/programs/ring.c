/* A token goes round and round, each time larger, and every rank adds its number to it: `ring [ROUNDS]`. */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LARGEST = 16384 };

int main(int argc, char **argv)
{
    MPI_Init(&argc, &argv);
    int rank, size, length;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    int rounds = argc > 1 ? atoi(argv[1]) : 20;
    int *token = calloc(LARGEST, sizeof *token);
    long long expected = 0;
    for (int round = 0; round < rounds; round++) {
        int words = 1 << round % 13;
        int left = (rank + size - 1) % size, right = (rank + 1) % size;
        if (rank == 0) {
            MPI_Send(token, words, MPI_INT, right, round, MPI_COMM_WORLD);
            MPI_Recv(token, words, MPI_INT, left, round, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
            expected += (long long)size * (size - 1) / 2;
        } else {
            MPI_Recv(token, words, MPI_INT, left, round, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
            token[0] += rank;
            MPI_Send(token, words, MPI_INT, right, round, MPI_COMM_WORLD);
        }
    }
    char name[MPI_MAX_PROCESSOR_NAME] = "", *names = calloc(size, sizeof name);
    MPI_Get_processor_name(name, &length);
    MPI_Gather(name, sizeof name, MPI_CHAR, names, sizeof name, MPI_CHAR, 0, MPI_COMM_WORLD);
    if (rank == 0) {
        printf("ring: %d rounds, sum %d of %lld, on", rounds, token[0], expected);
        for (int who = 0; who < size; who++)
            printf(" %s", names + who * sizeof name);
        printf("\n");
    }
    /* MPICH before 4.2 over UCX's TCP now and then hangs in MPI_Finalize, if ranks come there one after the other
     * (pmodels/mpich#6596): let them come together. */
    MPI_Barrier(MPI_COMM_WORLD);
    sleep(1);
    MPI_Finalize();
    return rank == 0 && token[0] != expected;
}
