//! Jobs under a real Slurm, a cluster of one node made of namespaces: srun and sbatch in place of mpirun.

use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::harness::leftovers::TIDY;
use crate::harness::setting::{docs, slurm, tiny};
use crate::harness::wait::{Said, run};
use crate::harness::{Job, Kind, Launcher, Need, Running, begin, wait_for};

/// How long Slurm's own commands may take.
const COMMAND: Duration = Duration::from_secs(60);

/// The cluster, as long as this lives.
struct Slurm;

impl Slurm {
    fn up() -> Self {
        let said = run(&mut Command::new(slurm("up")), COMMAND);
        assert!(said.is_success(), "testbeds/slurm/up: {}{}", said.stdout, said.stderr);
        Self
    }

    /// Runs a command of Slurm's.
    fn command(words: &[&str]) -> Said {
        run(Command::new(slurm("enter")).args(words), COMMAND)
    }

    fn cancel(job: &Running) {
        let said = Self::command(&["scancel", "--name", &job.home().name]);
        assert!(said.is_success(), "scancel: {}", said.stderr);
    }
}

impl Drop for Slurm {
    fn drop(&mut self) {
        let said = run(&mut Command::new(slurm("down")), COMMAND);
        if !said.is_success() {
            crate::harness::setting::say(&format!("testbeds/slurm/down: {}{}", said.stdout, said.stderr));
        }
    }
}

fn needs(launcher: Launcher) -> [Need; 3] {
    [Need::Guests, Need::Launcher(launcher), Need::Slurm]
}

/// A job that starts by srun with these options.
fn job(launcher: Launcher, options: &[&str]) -> Job {
    looked_after(Job::new(launcher, 2).under_srun(options))
}

/// The same job with its control sockets and keys, and sockets with names, where leftovers are looked for.
fn looked_after(job: Job) -> Job {
    let (run_time, sockets) = (job.place("run"), job.place("sock"));
    job.env("XDG_RUNTIME_DIR", run_time).makes("run/mvpnet").flags(["-s", &sockets])
}

fn the_allocation_is_used(launcher: Launcher) {
    let Some(_turn) = begin(&needs(launcher)) else { return };
    let _slurm = Slurm::up();
    let job = job(launcher, &["--cpus-per-task=2", "--mem=1200", "--time=10"]);
    let mut job = job.tiny_of_any_size("").stays_up().start();
    job.wait_until_up();
    let told = job.home().read("stderr");
    let expected = ": -m 344 (of 1200 MiB for 2 guests on this host), -v 2, ";
    assert!(told.contains(expected) && told.contains(" of time left"), "{told}");
    for rank in 0..2 {
        // Half of 1200 MiB, less 256 for qemu.
        let qemu = job.process(Kind::Guest, rank).pid;
        let words = std::fs::read_to_string(format!("/proc/{qemu}/cmdline")).unwrap();
        assert!(words.contains("\0-m\x00344M\0") && words.contains("\0-smp\x002\0"), "{words}");
    }
    let guests = job.guests();
    let seen = guests[0].run("grep -c ^processor /proc/cpuinfo; grep MemTotal /proc/meminfo");
    let numbers: Vec<u32> = seen.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    assert!(numbers[0] == 2 && (300_000..344 * 1024).contains(&numbers[1]), "{seen}");
    guests[1].run(&format!("ping -c 3 -W 10 {}", guests[0].name()));
    job.end_with(7);
    let job = job.ended();
    job.assert_code(7);
    job.assert_all_halted();
}

#[test]
fn a_slurm_allocation_s_memory_and_cpus_are_the_guests_under_mpich() {
    the_allocation_is_used(Launcher::Mpich);
}

#[test]
fn a_slurm_allocation_s_memory_and_cpus_are_the_guests_under_openmpi() {
    the_allocation_is_used(Launcher::OpenMpi);
}

fn is_cancelled(launcher: Launcher) {
    let Some(_turn) = begin(&needs(launcher)) else { return };
    let _slurm = Slurm::up();
    let mut job = job(launcher, &["--mem=1200", "--time=10"]).tiny().stays_up().start();
    job.wait_until_up();
    Slurm::cancel(&job);
    let job = job.ended();
    assert_ne!(job.code(), 0, "a job that was cancelled did not succeed");
    job.assert_all_halted();
}

#[test]
fn scancel_shuts_the_guests_down_and_leaves_nothing_under_mpich() {
    is_cancelled(Launcher::Mpich);
}

#[test]
fn scancel_shuts_the_guests_down_and_leaves_nothing_under_openmpi() {
    is_cancelled(Launcher::OpenMpi);
}

#[test]
fn guests_are_shut_down_before_slurm_ends_the_job() {
    let Some(_turn) = begin(&needs(Launcher::Mpich)) else { return };
    let _slurm = Slurm::up();
    let mut job = job(Launcher::Mpich, &["--mem=1200", "--time=1"]).tiny().start();
    job.wait_until_up();
    let job = job.ended_within(Duration::from_secs(70));
    // Half of the minute, which is less than guests may take in emulation.
    let said = job.stderr();
    let left = said.split_once(" has ").and_then(|(_, rest)| rest.split_once(" s of its time left"));
    let left: u32 = left.unwrap_or_else(|| panic!("{said}")).0.parse().unwrap();
    assert!((25..=30).contains(&left) && !said.contains("CANCELLED"), "{said}");
    job.assert_code(0);
    job.assert_all_halted();
}

/// Slurm leaves the other task alone: that its partner is gone it finds out itself.
#[test]
fn a_task_that_is_killed_ends_the_job_under_mpich() {
    let Some(_turn) = begin(&needs(Launcher::Mpich)) else { return };
    let _slurm = Slurm::up();
    let mut job = job(Launcher::Mpich, &["--mem=1200", "--time=10"]).tiny().start();
    job.wait_until_up();
    job.signal_to(Kind::Ranks, 1, Signal::SIGKILL);
    let job = job.ended();
    job.assert_said("mvpnet: stopping: rank 1 is lost: nothing has been heard of it for 20 s");
    assert_ne!(job.code(), 0, "a job that lost a task did not succeed");
}

#[test]
fn a_task_that_is_killed_ends_the_job_under_mpich_at_once_if_srun_is_told_so() {
    let Some(_turn) = begin(&needs(Launcher::Mpich)) else { return };
    let _slurm = Slurm::up();
    let options = ["--mem=1200", "--time=10", "--kill-on-bad-exit=1"];
    let mut job = job(Launcher::Mpich, &options).tiny().start();
    job.wait_until_up();
    job.signal_to(Kind::Ranks, 1, Signal::SIGKILL);
    let job = job.ended();
    job.assert_said("mvpnet: stopping: SIGTERM");
    assert!(job.console(0).contains("tiny: system halted cleanly"), "the other guest was cut off");
    assert_ne!(job.code(), 0, "a job that lost a task did not succeed");
}

/// Slurm's PMIx kills everything of the step at once when it has lost a task, keepers included: what they would have
/// removed `mvpnet gc` does.
#[test]
fn what_a_step_leaves_that_slurm_kills_is_removed_by_gc() {
    let Some(_turn) = begin(&needs(Launcher::OpenMpi)) else { return };
    let _slurm = Slurm::up();
    let mut job = job(Launcher::OpenMpi, &["--mem=1200", "--time=10"]).tiny().start();
    job.wait_until_up();
    job.signal_to(Kind::Ranks, 1, Signal::SIGKILL);
    job.wait_until_it_says("Job step aborted");
    let over = wait_for(COMMAND, || Slurm::command(&["squeue", "-h"]).stdout.is_empty().then_some(()));
    assert!(over.is_some(), "Slurm's job does not end");
    let run_time = job.home().at("run");
    let gc = run(Command::new(Launcher::Up.program()).arg("gc").env("XDG_RUNTIME_DIR", run_time), COMMAND);
    assert!(gc.is_success(), "{}{}", gc.stdout, gc.stderr);
    let job = job.ended();
    assert_ne!(job.code(), 0, "a job that lost a task did not succeed");
}

fn srun_tells_mpi_nothing(launcher: Launcher, library: &str) {
    let Some(_turn) = begin(&needs(launcher)) else { return };
    let _slurm = Slurm::up();
    let job = job(launcher, &["--mem=1200", "--mpi=none"]).tiny().run();
    job.assert_code(1);
    let said = job.stderr();
    let expected = format!(
        "mvpnet: Slurm's srun started 2 ranks and tells MPI nothing of them (--mpi=none); the program was built for \
         {library}: start it with `srun --mpi={} …`",
        launcher.pmi()
    );
    assert!(said.contains(&expected) && said.matches("mvpnet: ").count() == 1, "{said}");
}

#[test]
fn srun_without_a_plug_in_for_mpi_is_named_with_the_remedy_under_mpich() {
    srun_tells_mpi_nothing(Launcher::Mpich, "MPICH 4.0.2");
}

#[test]
fn srun_without_a_plug_in_for_mpi_is_named_with_the_remedy_under_openmpi() {
    srun_tells_mpi_nothing(Launcher::OpenMpi, "Open MPI v4.1.4");
}

/// The documentation's script, with what it can be told by its environment; the tiny guest boots from its disk.
fn batch(launcher: Launcher, application: &[&str]) -> Running {
    let job = Job::bare(launcher, 2).inside([slurm("enter")]);
    let home = ["stdout", "stderr", "tmp", "run"].map(|part| job.place(part));
    let flags = format!("-j {} -w 1 -S WARN", job.home_name());
    let mut words: Vec<String> = ["sbatch", "--wait", "--open-mode=append", "--mem=1200", "--time=10"]
        .map(str::to_owned)
        .into_iter()
        .chain([format!("--job-name={}", job.home_name()), format!("--output={}", home[0])])
        .chain([format!("--error={}", home[1]), docs("examples/mvpnet.sbatch").display().to_string()])
        .chain([tiny("tiny.qcow2").display().to_string()])
        .collect();
    words.extend(application.iter().map(|word| word.to_string()));
    let logs = job.place("log");
    let job =
        job.env("MVPNET", launcher.program()).env("MVPNET_MPI", launcher.pmi()).env("MVPNET_LOGS", logs);
    let job = job.env("MVPNET_FLAGS", flags).env("XDG_RUNTIME_DIR", &home[3]).makes("run/mvpnet");
    job.by(words).start()
}

fn ends_with_the_application(launcher: Launcher) {
    let Some(_turn) = begin(&[&needs(launcher)[..], &[Need::Disk("tiny.qcow2")]].concat()) else { return };
    let _slurm = Slurm::up();
    let job = batch(launcher, &["sh", "-c", "echo rank $MVPNET_RANK of $MVPNET_WSIZE; exit 5"]);
    let job = job.ended_within(Duration::from_secs(180));
    let said = job.stdout();
    assert!(
        said.contains("\nrank 0 of 2\n") && said.contains("\nthe cluster is down, exit code 5; "),
        "{said}"
    );
    job.assert_code(5);
    job.assert_said("-m 344 (of 1200 MiB for 2 guests on this host), -v 2, ");
    job.assert_all_halted();
}

#[test]
fn the_batch_script_of_the_documentation_runs_an_application_under_mpich() {
    ends_with_the_application(Launcher::Mpich);
}

#[test]
fn the_batch_script_of_the_documentation_runs_an_application_under_openmpi() {
    ends_with_the_application(Launcher::OpenMpi);
}

#[test]
fn scancel_of_the_batch_script_of_the_documentation_leaves_nothing() {
    let launcher = Launcher::Mpich;
    let Some(_turn) = begin(&[&needs(launcher)[..], &[Need::Disk("tiny.qcow2")]].concat()) else { return };
    let _slurm = Slurm::up();
    let mut job = batch(launcher, &[]);
    job.wait_until_up();
    Slurm::cancel(&job);
    let job = job.ended_within(TIDY * 3);
    job.assert_said("CANCELLED AT");
    assert!(
        job.stdout().contains("the cluster is down"),
        "the script died before the guests: {}",
        job.stdout()
    );
    job.assert_all_halted();
}

/// A script of the user's own, that starts this job without srun.
fn own_script(job: Job) -> Running {
    let script = format!("#!/bin/sh\ntrap : TERM\n{}\n", job.as_shell());
    let path = job.home_file("batch", &script);
    let output = [format!("--output={}", job.place("stdout")), format!("--error={}", job.place("stderr"))];
    let name = format!("--job-name={}", job.home_name());
    let options = ["sbatch", "--wait", "--open-mode=append", "--ntasks=2", "--mem=1200"];
    job.inside([slurm("enter")])
        .by(options.into_iter().chain([&*output[0], &output[1], &name, &path]))
        .start()
}

/// Ranks that are processes of the batch script, or of mpirun within it: Slurm signals all of them at once.
fn own_script_is_cancelled(launcher: Launcher) {
    let Some(_turn) = begin(&needs(launcher)) else { return };
    let _slurm = Slurm::up();
    let mut job = own_script(looked_after(Job::new(launcher, 2).tiny()));
    job.wait_until_up();
    Slurm::cancel(&job);
    let job = job.ended();
    job.assert_said("mvpnet: stopping: SIGTERM");
    job.assert_all_halted();
}

#[test]
fn scancel_of_a_batch_script_with_all_guests_in_one_process_leaves_nothing() {
    own_script_is_cancelled(Launcher::Up);
}

#[test]
fn scancel_of_a_batch_script_with_mpich_s_mpirun_leaves_nothing() {
    own_script_is_cancelled(Launcher::Mpich);
}

#[test]
fn openmpi_s_mpirun_runs_within_a_batch_script() {
    let launcher = Launcher::OpenMpi;
    let Some(_turn) = begin(&needs(launcher)) else { return };
    let _slurm = Slurm::up();
    let words = ["sh", "-c", "echo $MVPNET_WSIZE ranks; exit 3"];
    let job = looked_after(Job::new(launcher, 2).tiny()).flag("-O").application(words);
    let job = own_script(job).ended_within(COMMAND * 3);
    assert!(job.stdout().contains("2 ranks"), "{}", job.stdout());
    job.assert_code(3);
    job.assert_all_halted();
}
