//! Wrong command lines and machines that lack something: one clear message for the job, exit code 2 (or 1 where the
//! machine is to blame), within seconds, nothing started and nothing left.

use std::fs;
use std::process::Command;
use std::time::Duration;

use crate::harness::setting::{kvm_is_usable, tiny};
use crate::harness::{Ended, Job, Launcher, Need, begin, launchers};

/// How long an error may take to be said.
const SOON: Duration = Duration::from_secs(5);
const RANKS: u32 = 3;

/// A wrong command line.
struct Case {
    /// The words.
    words: &'static [&'static str],
    /// What the message has to say.
    says: &'static str,
}

const fn case(words: &'static [&'static str], says: &'static str) -> Case {
    Case { words, says }
}

/// `DISK` is an image that is there, `FILE` a file that is no directory, `SEED` a directory.
const USAGE: &[Case] = &[
    case(&["--no-such-flag", "-i", "DISK"], "there is no flag --no-such-flag"),
    case(&[], "no disk image: name one with -i IMAGE"),
    case(&["/bin/true"], "no disk image: name one with -i IMAGE"),
    case(&["/bin/true", "-i", "DISK"], "-i stands after the application's name"),
    case(&["-i", "/no/such/disk.img"], "/no/such/disk.img"),
    case(&["-i", "1:/no/such/disk.img", "-i", "0:DISK", "-i", "2:DISK"], "rank 1: "),
    case(&["-i", "DISK,mvpctl=sq"], "`q`"),
    case(&["-i", "DISK,mvpctl=c"], "mvpctl=c copies to the run directory, but there is none (-r)"),
    case(&["-i", "DISK", "-m", "5-2:256"], "--memory 5-2:256: "),
    case(&["-i", "DISK", "-m", "1,3:256"], "--memory 1,3: there is no rank 3 in this job of 3 ranks"),
    case(&["-i", "0:DISK"], "rank 1 has no disk image"),
    case(&["-i", "DISK", "-m", "lots"], "--memory lots: "),
    case(&["-i", "DISK", "-j", "a/b"], "--job a/b: "),
    case(&["-i", "DISK", "-n", "carrier-pigeon"], "--net carrier-pigeon: "),
    case(&["-i", "DISK", "-k", "2"], "--kvm 2: "),
    case(&["-i", "DISK", "-T", "soon"], "--ssh-timeout soon: "),
    case(&["-i", "DISK", "-u", "a b"], "--user a b: "),
    case(&["-i", "DISK", "-D", "LOUD"], "--log-level LOUD: "),
    case(&["-i", "DISK", "--mtu", "70000"], "--mtu 70000: "),
    case(&["-i", "DISK", "--ready", "never"], "--ready never: "),
    case(&["-i", "DISK", "-q", "/no/such/qemu"], "qemu (`/no/such/qemu`) cannot be found"),
    case(&["-i", "DISK", "-q", "no-such-qemu"], "qemu (`no-such-qemu`) cannot be found on PATH"),
    case(&["--kernel", "/no/such/kernel"], "--kernel /no/such/kernel: "),
    case(&["--kernel", "DISK", "--initrd", "/no/such/initrd"], "--initrd /no/such/initrd: "),
    case(&["-i", "DISK", "--append", "quiet"], "--append but no kernel"),
    case(&["-i", "DISK", "-c", "/no/such/seed"], "--cloud-init /no/such/seed: "),
    case(&["-i", "DISK", "no-such-application"], "the application `no-such-application` cannot be found"),
    case(&["-i", "DISK", "./foo", "bar"], "leave it out to keep the guests up until the job is stopped"),
    case(&["-i", "DISK", "FILE"], "is not executable"),
    case(&["-i", "DISK", "-l", "FILE/log"], "--log-dir"),
    case(&["-i", "DISK", "-r", "FILE/run"], "--run-dir "),
    case(&["-i", "DISK", "-s", "FILE/sock"], "--socket-dir "),
    case(
        &["-i", "DISK", "--capture", "all.pcapng"],
        "--capture all.pcapng would be written by ranks 0 and 1",
    ),
    case(&["-i", "DISK", "--capture", "0:-", "-O", "/bin/true"], "both write to standard output"),
];

#[test]
fn a_wrong_command_line_is_one_message_and_exit_code_2() {
    let Some(_turn) = begin(&[]) else { return };
    let mut wrong = Vec::new();
    for launcher in launchers() {
        for case in USAGE {
            let job = Job::bare(launcher, RANKS);
            let (disk, file) = (job.place("disk.img"), job.place("file"));
            fs::write(&disk, vec![0; 1 << 20]).unwrap();
            fs::write(&file, "neither a directory nor a program\n").unwrap();
            let words = case.words.iter().map(|word| word.replace("DISK", &disk).replace("FILE", &file));
            let job = job.flags(words).run();
            wrong.extend(
                what_is_wrong(&job, 2, case.says).map(|what| format!("{launcher} {:?}: {what}", case.words)),
            );
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn up_says_that_it_needs_a_number_of_guests() {
    let Some(_turn) = begin(&[Need::Launcher(Launcher::Up)]) else { return };
    for (words, says) in [(&["-N", "0"], "--ranks 0: "), (&["-N", "many"], "--ranks many: ")] {
        let job = Job::bare(Launcher::Up, RANKS).flags(words).flags(["-i", "x"]).run();
        assert_eq!(what_is_wrong(&job, 2, says), None);
    }
    let program = Launcher::Up.program();
    let said = crate::harness::wait::run(Command::new(program).args(["up", "-i", "x"]), SOON);
    assert!(said.stderr.contains("mvpnet up needs the number of guests: -N 4"), "{}", said.stderr);
}

#[test]
fn kvm_that_is_needed_is_had_or_its_absence_is_said() {
    let Some(_turn) = begin(&[Need::Guests]) else { return };
    for launcher in launchers() {
        let job = Job::new(launcher, RANKS).tiny().flags(["-k", "1"]).application(["/bin/true"]).run();
        if kvm_is_usable() {
            job.assert_code(0);
        } else {
            let wrong = what_is_wrong(&job, 1, "KVM is needed (-k 1) but not usable here: ");
            assert_eq!(wrong, None, "{launcher}");
        }
    }
}

#[test]
fn a_run_directory_without_room_is_said_before_anything_is_copied() {
    let Some(_turn) = begin(&[Need::Guests, Need::Disk("tiny.img"), Need::Root]) else { return };
    for launcher in launchers() {
        let job = Job::new(launcher, RANKS);
        let run = job.place("run");
        // A file system of one MiB, in a mount namespace of the job's own.
        let mount = format!("mount -t tmpfs -o size=1m tmpfs {run} && exec \"$@\"");
        let image = tiny("tiny.img").display().to_string();
        let job =
            job.under(["unshare", "-m", "sh", "-c", &mount, "sh"]).flags(["-i", &image, "-r", &run]).run();
        // Is the command line to blame or the machine? Either may be said.
        let code = job.code();
        assert!(matches!(code, 1 | 2), "{launcher}: exit code {code}");
        assert_eq!(what_is_wrong(&job, code, "tiny.img needs "), None, "{launcher}");
        job.assert_said("1.0 MiB are free");
    }
}

#[test]
fn a_program_for_the_other_mpi_is_said() {
    let needs = [Need::Launcher(Launcher::Mpich), Need::Launcher(Launcher::OpenMpi), Need::Guests];
    let Some(_turn) = begin(&needs) else { return };
    for (launcher, other) in [(Launcher::Mpich, Launcher::OpenMpi), (Launcher::OpenMpi, Launcher::Mpich)] {
        let job = Job::new(launcher, RANKS).program_of(other).tiny().run();
        let wrong = what_is_wrong(&job, 1, "start it with the mpirun of that MPI");
        assert_eq!(wrong, None, "{launcher} with the program for {other}");
    }
}

#[test]
fn a_program_without_mpi_under_mpirun_says_how_it_is_built() {
    let needs =
        [Need::Launcher(Launcher::Up), Need::Launcher(Launcher::Mpich), Need::Launcher(Launcher::OpenMpi)];
    let Some(_turn) = begin(&needs) else { return };
    for launcher in [Launcher::Mpich, Launcher::OpenMpi] {
        let job = Job::bare(launcher, RANKS).program_of(Launcher::Up).flags(["-i", "x"]).run();
        let wrong = what_is_wrong(&job, 2, "this program was built without MPI");
        assert_eq!(wrong, None, "{launcher}");
    }
}

/// One message, the right one, the right exit code, in time. That nothing is left was looked at.
fn what_is_wrong(job: &Ended, code: i32, says: &str) -> Option<String> {
    let stderr = job.stderr();
    let messages: Vec<&str> = stderr.lines().filter(|line| line.starts_with("mvpnet")).collect();
    let complaint = if messages.len() != 1 {
        format!("{} messages", messages.len())
    } else if !messages[0].starts_with("mvpnet: ") || !messages[0].contains(says) {
        format!("it did not say {says:?}")
    } else if job.code() != code {
        format!("exit code {} instead of {code}", job.code())
    } else if job.took > SOON {
        format!("it took {:?}", job.took)
    } else if stderr.contains("panicked") || stderr.contains("core dump") {
        "it crashed".to_owned()
    } else {
        return None;
    };
    Some(format!("{complaint}; it said:\n{stderr}{}", job.stdout()))
}
