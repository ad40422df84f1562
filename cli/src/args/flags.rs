//! The flags as clap sees them: names, help and order. Values stay as they were typed; `options` reads them.
//!
//! What is written here is the manual: the first paragraph of a flag is all of `-h`, `--help` shows the rest too.

use std::ffi::OsString;

use clap::{ArgAction, Args};

use super::guests::{CONFIGURATION, GuestFlags};
use super::tunnel::TunnelFlags;

/// Headings of `--help`.
const GUESTS: &str = "Guests";
const IMAGES: &str = "Images";
const NETWORK: &str = "Network";
const LIFE: &str = "Life of the job";
const LOGS: &str = "Logs and capture";
pub(crate) const OTHER: &str = "Other";

/// `mvpnet up`.
#[derive(Debug, Args)]
pub struct Up {
    /// How many guests
    #[arg(short = 'N', long, value_name = "N", help_heading = GUESTS)]
    pub ranks: Option<OsString>,

    #[command(flatten)]
    pub tunnel: TunnelFlags,

    #[command(flatten)]
    pub launch: Launch,
}

/// What both ways to run have in common.
#[derive(Debug, Args)]
pub struct Launch {
    #[command(flatten)]
    pub flags: Flags,

    /// Show this: -h in short, --help with all there is to know
    #[arg(short, long, action = ArgAction::Help, help_heading = OTHER, display_order = 1000)]
    pub help: Option<bool>,

    /// A program of the host, started on rank 0 when all guests are up; its end ends the job
    ///
    /// Its exit code is that of the job. Flags end at its name: what follows is the application's. Without one the
    /// guests run until the job is stopped.
    #[arg(value_name = "APPLICATION", trailing_var_arg = true, num_args = 0..)]
    pub application: Vec<OsString>,
}

/// Every flag, as typed. `Vec`s take a rank list in front of each value.
#[derive(Debug, Default, Args)]
pub struct Flags {
    /// * Memory, in MiB or like 512M or 4G [default: 4096, or what Slurm's job has]
    #[arg(short, long, value_name = "SIZE", allow_hyphen_values = true, help_heading = GUESTS)]
    pub memory: Vec<OsString>,

    /// * CPUs, as qemu's -smp takes them [default: 1, or --cpus-per-task of Slurm's job]
    ///
    /// A number, or a topology like 4,sockets=2,cores=2.
    #[arg(short = 'v', long, value_name = "N", allow_hyphen_values = true, help_heading = GUESTS)]
    pub smp: Vec<OsString>,

    /// * CPU type, as qemu's -cpu takes it [default: host with KVM, max without]
    #[arg(short = 'p', long, value_name = "TYPE", allow_hyphen_values = true, help_heading = GUESTS)]
    pub cpu: Vec<OsString>,

    /// 1: need KVM, 0: software emulation, auto: KVM where it works [default: auto]
    ///
    /// KVM works where /dev/kvm opens for reading and writing and the CPU has vmx or svm. Software
    /// emulation is ten to fifty times slower.
    #[arg(short, long, value_name = "1|0|auto", help_heading = GUESTS)]
    pub kvm: Option<OsString>,

    /// * Boot this kernel directly, without a boot loader
    #[arg(long, value_name = "FILE", allow_hyphen_values = true, help_heading = GUESTS)]
    pub kernel: Vec<OsString>,

    /// * Initial ram disk for --kernel
    #[arg(long, value_name = "FILE", allow_hyphen_values = true, help_heading = GUESTS)]
    pub initrd: Vec<OsString>,

    /// * Command line for --kernel
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true, help_heading = GUESTS)]
    pub append: Vec<OsString>,

    /// qemu command [default: qemu-system-x86_64]
    #[arg(short, long, value_name = "COMMAND", help_heading = GUESTS)]
    pub qemu: Option<OsString>,

    /// Accepted for compatibility: a wrapper program to start qemu under
    ///
    /// Not needed: mvpnet supervises qemu itself. One that is not found is a warning, not an error.
    #[arg(short = 'M', long, value_name = "COMMAND", help_heading = GUESTS)]
    pub wrapper: Option<OsString>,

    /// * Disk image; repeat for more disks (required unless --kernel is given)
    ///
    /// IMAGE is PATH[,PROPERTY=VALUE]…; a comma in PATH is written `,,`.
    /// Properties go to qemu's -drive (defaults: media=disk, if=virtio), but
    /// for sha256=HEX and sha512=HEX, which the file's contents are compared
    /// with before any guest starts, and mvpctl=LETTERS:
    ///   c    copy to the run directory (needs -r)
    ///   j r  put job, rank into the copy's name
    ///   d    delete the copy at the end
    ///   J R  put job, rank into the source's name
    ///   D    delete the source at the end
    ///   p    write-protected
    ///   s    writes go to a snapshot of qemu's that is thrown away
    ///   o    writes go to an overlay of the rank's own (qcow2); the image, or
    ///        its copy with `co`, is only read; see --overlay and --persist
    /// It is `cjrd` with -r. Without, it is `o` under `mvpnet up`, and nothing
    /// under mpirun: the guest writes to the image itself, which no two guests
    /// of a host may do. An IMAGE that begins with a property
    /// (file=…,PROPERTY=VALUE…) goes to qemu untouched.
    ///
    /// Every -i adds a disk to the ranks that it names, in the order given; the
    /// first is booted from. So `-i 0:a.img -i 1-:b.img -i 0:data.img` gives
    /// rank 0 two disks and all others one.
    #[arg(
        short,
        long,
        value_name = "IMAGE",
        allow_hyphen_values = true,
        verbatim_doc_comment,
        help_heading = IMAGES
    )]
    pub image: Vec<OsString>,

    /// Give every rank an overlay of each image that has no mvpctl=
    ///
    /// The image is only read, and may be one that you cannot write to. Overlays hold what guests write; they are in
    /// the run directory (-r), else in TMPDIR or /var/tmp, whichever is on a disk, and go at the end. `mvpnet up` does
    /// it unless -r is given.
    #[arg(long, help_heading = IMAGES)]
    pub overlay: bool,

    /// Keep the overlays in this directory, and use them again next time
    ///
    /// Their names are those of the image, the job (-j) and the rank. One whose image is another or has changed
    /// meanwhile is refused, and so is one that another job uses. Asks for overlays as --overlay does.
    #[arg(long, value_name = "DIR", help_heading = IMAGES)]
    pub persist: Option<OsString>,

    /// * Size of the first disk as the guest sees it, like 20G, if it has an overlay
    ///
    /// Cloud images are small; cloud-init grows their file system into what it finds. It takes no room before the
    /// guest writes to it.
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true, help_heading = IMAGES)]
    pub disk_size: Vec<OsString>,

    /// Compare all images with this list of digests, a SHA256SUMS or SHA512SUMS file
    ///
    /// Before any guest starts, once per host and image; what was found holds until the image changes and is kept in
    /// XDG_CACHE_HOME/mvpnet. An image that is not on the list needs sha256=HEX of its own (-i).
    #[arg(long, value_name = "FILE", help_heading = IMAGES)]
    pub digests: Option<OsString>,

    /// Directory for copies of images and for overlays, best on a local disk
    #[arg(short, long, value_name = "DIR", help_heading = IMAGES)]
    pub run_dir: Option<OsString>,

    /// * Configuration of your own for cloud-init: a NoCloud directory, an image of one, or none
    ///
    /// Every guest with a disk gets a small second one, labelled CIDATA, by which cloud-init learns its name, address,
    /// users, keys, /etc/hosts and MPI's settings. A directory is merged into that: its user-data, meta-data and
    /// vendor-data are kept, its network-config replaces ours, its other files are there too. An image is used as it
    /// is, with nothing of ours; with `none` there is no such disk (a directory of that name is ./none). See also
    /// `mvpnet seed`.
    #[arg(
        short,
        long,
        value_name = "DIR|IMAGE|none",
        allow_hyphen_values = true,
        help_heading = CONFIGURATION
    )]
    pub cloud_init: Vec<OsString>,

    /// Login name in the guests [default: your own]
    ///
    /// It has your keys and the job's, and sudo without a password. All guests have that of rank 0's host.
    #[arg(short, long, value_name = "NAME", help_heading = CONFIGURATION)]
    pub user: Option<OsString>,

    #[command(flatten)]
    pub guests: GuestFlags,

    /// How frames pass between qemu and mvpnet [default: auto]
    ///
    /// vhost-user: through the guest's memory, which mvpnet shares; a guest may leave checksums, and cutting TCP into
    /// segments, to the receiver of its frames. stream, dgram: through a socket. auto: the fastest that is known to
    /// work here; -D INFO writes to the log (-L) which and why.
    #[arg(short, long, value_name = "auto|vhost-user|stream|dgram", help_heading = NETWORK)]
    pub net: Option<OsString>,

    /// Guests finish their frames themselves: nothing is left to others on vhost-user links
    #[arg(long, help_heading = NETWORK)]
    pub no_offload: bool,

    /// Ranks of one host exchange frames through MPI too, not through shared memory
    #[arg(long, help_heading = NETWORK)]
    pub no_shm: bool,

    /// adaptive: ranks without work sleep; spin: they go on looking, a core each [default: adaptive]
    #[arg(long, value_name = "adaptive|spin", help_heading = NETWORK)]
    pub progress: Option<OsString>,

    /// MTU of the guests' network, 576 to 65535; guests learn it [default: 1500]
    ///
    /// IPv6 needs 1280. 9000 carries large transfers with less work than 1500.
    #[arg(long, value_name = "BYTES", help_heading = NETWORK)]
    pub mtu: Option<OsString>,

    /// learn: take any source MAC; strict: the guest's own only [default: learn]
    ///
    /// Other MACs than the guest's own are those of containers, bridges or further guests within it.
    #[arg(long, value_name = "learn|strict", help_heading = NETWORK)]
    pub mac_policy: Option<OsString>,

    /// DNS search domain; repeat for more [default: from /etc/resolv.conf]
    #[arg(short, long, value_name = "DOMAIN", help_heading = NETWORK)]
    pub domain: Vec<OsString>,

    /// Directory of the unix sockets [default: a private one, no sockets with names]
    #[arg(short, long, value_name = "DIR", help_heading = NETWORK)]
    pub socket_dir: Option<OsString>,

    /// Serve this directory by TFTP to the guests
    #[arg(short, long, value_name = "DIR", help_heading = NETWORK)]
    pub tftp_dir: Option<OsString>,

    /// Name of the job: part of the names of logs, sockets and copied images
    #[arg(short, long, value_name = "NAME", help_heading = LIFE)]
    pub job: Option<OsString>,

    /// * What a guest must do to count as booted [default: ssh]
    ///
    /// ssh: show an ssh banner; cloud-init: have done everything that its configuration says, packages and --run
    /// included; console:TEXT: write TEXT to its console; none: nothing, it counts at once.
    #[arg(long, value_name = "ssh|cloud-init|console:TEXT|none", allow_hyphen_values = true, help_heading = LIFE)]
    pub ready: Vec<OsString>,

    /// How long to wait for each guest to boot [default: 90, more in software emulation]
    #[arg(short = 'T', long, value_name = "SECONDS", help_heading = LIFE)]
    pub ssh_timeout: Option<OsString>,

    /// How long guests may take to shut down before they are killed [default: 20, in software emulation 60]
    #[arg(long, value_name = "SECONDS", help_heading = LIFE)]
    pub grace: Option<OsString>,

    /// Copy the application's output to standard output
    #[arg(short = 'O', long, help_heading = LIFE)]
    pub app_output: bool,

    /// End of file on standard input shuts the job down
    #[arg(short = 'E', long, help_heading = LIFE)]
    pub exit_on_eof: bool,

    /// A guest's ARP for 10.255.255.254 does not shut the job down
    #[arg(short = 'I', long, help_heading = LIFE)]
    pub ignore_shutdown_address: bool,

    /// No progress lines on standard error
    #[arg(long, help_heading = LIFE)]
    pub no_progress: bool,

    /// Where logs go [default: /tmp]
    #[arg(short, long, value_name = "DIR", help_heading = LOGS)]
    pub log_dir: Option<OsString>,

    /// * 1: write the guest's serial console to con[.JOB].RANK.log [default: 0]
    #[arg(short = 'C', long, value_name = "1|0", allow_hyphen_values = true, help_heading = LOGS)]
    pub console_log: Vec<OsString>,

    /// * 1: write the program's log to mvpnet[.JOB].RANK.log [default: 0]
    #[arg(short = 'L', long, value_name = "1|0", allow_hyphen_values = true, help_heading = LOGS)]
    pub log: Vec<OsString>,

    /// * 1: write the log of qemu's supervision to wrap[.JOB].RANK.log [default: 0]
    #[arg(short = 'w', long, value_name = "1|0", allow_hyphen_values = true, help_heading = LOGS)]
    pub wrapper_log: Vec<OsString>,

    /// Rank 0 gathers all counters at the end into gstats[.JOB].0.log
    #[arg(short, long, help_heading = LOGS)]
    pub global_stats: bool,

    /// * What the log takes: EMERG ALERT CRIT ERR WARN NOTE INFO DBG [default: WARN]
    ///
    /// In any case; also error, warning, notice, debug, trace (each step, slow) and off.
    #[arg(short = 'D', long, value_name = "LEVEL", allow_hyphen_values = true, help_heading = LOGS)]
    pub log_level: Vec<OsString>,

    /// What of the log is copied to standard error [default: CRIT]
    #[arg(short = 'S', long, value_name = "LEVEL", help_heading = LOGS)]
    pub stderr_level: Option<OsString>,

    /// * Levels of subsystems, applied last: node=DBG,switch=INFO
    ///
    /// SUBSYSTEM is cli, node, switch, transports, driver, links, pcap, or a module as it stands in the log
    /// (mvpnet_node::job); mvp, mlog, fbuf, fdio, mpi and que stand for the parts that do their work
    /// here. A level alone is for all. The longest name that fits decides, and repeated flags add up.
    /// On standard error a filter can only silence, not add to -S.
    #[arg(
        short = 'X',
        long,
        value_name = "SUBSYSTEM=LEVEL,…",
        allow_hyphen_values = true,
        help_heading = LOGS
    )]
    pub log_filter: Vec<OsString>,

    /// * Bytes of log, down to DBG, kept in memory and written out on a crash [default: 4096]
    ///
    /// To the log file, without -L to mvpnet[.JOB].RANK.crash.log; 64K and the like are understood, 0 keeps
    /// none.
    #[arg(short = 'B', long, value_name = "BYTES", allow_hyphen_values = true, help_heading = LOGS)]
    pub log_buffer: Vec<OsString>,

    /// * Write a pcapng of every frame of the rank: a file, a directory, or - for standard output
    ///
    /// A name that ends in .pcapng or .pcap, or that is there and not a directory, is a file, and for one rank
    /// only; any other is a directory, made if absent, that takes capture[.JOB].RANK.pcapng of each rank.
    #[arg(long, value_name = "PATH", allow_hyphen_values = true, help_heading = LOGS)]
    pub capture: Vec<OsString>,

    /// sent: capture frames as guests send them; wire: finished, and no longer than the MTU [default: sent]
    ///
    /// On vhost-user links guests leave checksums and segments to others: a frame as it is sent may have 64 KiB and a
    /// checksum that Wireshark finds wrong.
    #[arg(long, value_name = "sent|wire", help_heading = LOGS)]
    pub capture_frames: Option<OsString>,
}
