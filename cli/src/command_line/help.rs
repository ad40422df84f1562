//! The texts of `--help` that belong to no single flag.

use std::sync::LazyLock;

/// The version alone.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// One line.
pub const ABOUT: &str = "A private cluster of virtual machines from an MPI job, without root";

/// What it does.
pub const LONG_ABOUT: &str = "\
A private cluster of virtual machines from an MPI job, without root.

Every rank of the job boots one qemu guest and switches its Ethernet frames to the guests of the other ranks, \
over MPI. Guest R is host nR, in four digits at least, with the address 10.0.0.0 + R + 1: rank 0 is n0000, \
10.0.0.1. From the host its ssh port is 127.0.0.1:(2200 + R), or further up if that is taken.";

/// `up`.
pub const UP_LONG_ABOUT: &str = "\
Run all guests on this machine, without MPI.

The same as `mpirun -n N mvpnet …`, with the same flags, but all ranks live in one process and frames go \
through its memory.";

/// How it is called.
pub const USAGE: &str = "\
mpirun -n N mvpnet [FLAGS] -i IMAGE [APPLICATION [ARGUMENTS]…]
       mvpnet up -N N [FLAGS] -i IMAGE [APPLICATION [ARGUMENTS]…]";

/// How `up` is called.
pub const UP_USAGE: &str = "mvpnet up -N N [FLAGS] -i IMAGE [APPLICATION [ARGUMENTS]…]";

/// Below `-h`.
pub const AFTER_SHORT: &str = "\
Flags marked * take a rank list in front of the value: -m 0,3,7-9:8G
Examples, exit status, environment and all details: --help";

const RANK_LISTS: &str = "\
RANK LISTS
  Flags marked * take a rank list in front of the value, to which ranks it applies:
  `-m 2G -m 0,3,7-9:8G` gives five ranks 8 GiB and all others 2. `5-` is from 5 on, `-5` up to 5.
  A later value overrides an earlier one for the ranks that it names; disks (-i) and filters (-X)
  add up instead. A file that is really called `0:disk.img` is written `./0:disk.img`.";

const EXAMPLES: &str = "\
EXAMPLES
  Four guests on this machine from one cloud image, which stays as it is, and a way into the first:
      mvpnet up -N 4 -i debian.qcow2
      mvpnet ssh 0
  A cluster for MPI, its home directory shared, ready when all is installed:
      mvpnet up -N 4 -v 2 -i debian.qcow2 --packages openmpi-bin --mpi-user mpihpc --nfs /home/mpihpc \
          --ready cloud-init
  The same with larger disks, on the image that its publisher's list knows, kept for the next time:
      mvpnet up -N 4 -i debian.qcow2 --digests SHA512SUMS --disk-size 20G --persist disks/ -c seed/
  The same over two hosts with MPICH, images copied to a local disk, until Ctrl-C:
      mpirun -n 4 -host h0,h1 -ppn 2 mvpnet -r /tmp/run -i debian.qcow2 -c seed/
  Run a test against the guests; its exit code is the job's, its output shown:
      mpirun -n 4 mvpnet -i debian.qcow2,mvpctl=s -c seed/ -O ./test.sh --quick
  Without disks, with consoles and captures in logs/, ready when the console says so:
      mvpnet up -N 2 --kernel vmlinuz --initrd initrd.gz --append console=ttyS0 \\
          --ready console:login: -m 256M -C 1 -l logs/ --capture logs/
  Guests here, their switch on server2, where `mvpnet bridge --vni 40-43 --peer HERE` runs:
      mvpnet up -N 4 --remote server2 --vni 40 -i debian.qcow2,mvpctl=s -c seed/
  With OpenMPI, which binds ranks to cores unless told otherwise:
      mpirun -n 4 --bind-to none --oversubscribe mvpnet -i debian.qcow2,mvpctl=s";

const SLURM: &str = "\
UNDER SLURM
  `srun -n N --mpi=pmi2 mvpnet …` with a program built for MPICH, --mpi=pmix with OpenMPI: a guest in each
  task. Within an allocation, what flags do not say comes from it:
      -m   the job's memory on the host, shared by the guests there, less a tenth (256 MiB at least) of each
           share for qemu
      -v   --cpus-per-task; with `mvpnet up`, the CPUs that the job has on the host, shared
      -j   slurm-JOBID
  The guests are shut down before the job's time is over: --grace and 15 s before, or when half of a short
  job's time is over. scancel shuts them down too, within the time that Slurm leaves (KillWait, mostly
  30 s), 5 s before whose end the rest is killed. A batch script that starts mvpnet without srun needs
  `trap : TERM`, or the shell dies first and takes the job with it.";

const EXIT_STATUS: &str = "\
EXIT STATUS
  0    the guests were shut down as asked, and no application was given or it succeeded
  N    the application's exit code; 128 + N if signal N ended it
  1    something failed: a guest did not boot in time, a rank was lost
  2    wrong usage: a flag, an image or a directory; nothing was started";

const ENVIRONMENT: &str = "\
ENVIRONMENT
  PATH        where qemu and the application are looked for
  NO_COLOR    no colours in this help and in messages
  Set for the application and every other child of a rank:
  MVPNET_RANK, MVPNET_WSIZE           the rank and the number of ranks
  MVPNET_SSHPORT, MVPNET_SSHUSER      how to reach the rank's guest on 127.0.0.1
  MVPNET_SSHCONFIG                    a file for ssh -F, by which it knows n0000 and all others
  MVPNET_JOBNAME, MVPNET_LOGDIR       what -j and -l say";

/// Below `--help`.
pub fn after_long() -> String {
    [RANK_LISTS, EXAMPLES, SLURM, EXIT_STATUS, ENVIRONMENT].join("\n\n")
}

/// The version and what the program was built with.
pub fn long_version() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| {
        let mpi = if cfg!(feature = "mpi") {
            "yes"
        } else {
            "no (only `mvpnet up`; build with --features mpi for `mpirun -n N mvpnet`)"
        };
        let build = if cfg!(debug_assertions) { "debug" } else { "release" };
        let (os, arch) = (std::env::consts::OS, std::env::consts::ARCH);
        format!("{VERSION}\nMPI: {mpi}\nbuild: {build}, {arch}-{os}")
    });
    &TEXT
}
