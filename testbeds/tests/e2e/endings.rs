//! Everything that ends a job, each time with guests that shut down and are not cut off.

use nix::sys::signal::Signal;

use crate::harness::{Job, Kind, Launcher, Need, Running, begin};

/// Two guests, no application: they stay up until something ends the job.
fn two_guests(launcher: Launcher, prepare: impl FnOnce(Job) -> Job) -> Running {
    let mut job = prepare(Job::new(launcher, 2).tiny()).start();
    job.wait_until_up();
    job
}

/// Whom a signal is sent to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum To {
    Launcher,
    Rank0,
}

fn a_signal_ends_the_job(launcher: Launcher, to: To, signal: Signal) {
    let Some(_turn) = begin(&[Need::Guests, Need::Launcher(launcher)]) else { return };
    let mut job = two_guests(launcher, |job| job);
    if launcher != Launcher::Up {
        // Real guests take their time. Some mpiruns leave a job little of it.
        job.guests().iter().for_each(|guest| drop(guest.run("sed -i '2i sleep 3' /etc/rc.shutdown")));
    }
    match to {
        To::Launcher => job.signal(signal),
        To::Rank0 => job.signal_to(Kind::Ranks, 0, signal),
    }
    let job = job.ended();
    let arrived = match (launcher, to) {
        // It ends a job by SIGTERM, whatever it was sent itself (mpirun(1), Signal Propagation).
        (Launcher::OpenMpi, To::Launcher) if signal == Signal::SIGINT => Signal::SIGTERM,
        _ => signal,
    };
    job.assert_said(&format!("mvpnet: stopping: {arrived}"));
    job.assert_all_halted();
    if launcher == Launcher::Up || to == To::Rank0 {
        job.assert_code(0);
    }
}

#[test]
fn sigusr1_ends_up() {
    a_signal_ends_the_job(Launcher::Up, To::Launcher, Signal::SIGUSR1);
}

#[test]
fn sighup_ends_up() {
    a_signal_ends_the_job(Launcher::Up, To::Launcher, Signal::SIGHUP);
}

#[test]
fn under_nohup_a_job_goes_on_after_sighup() {
    let Some(_turn) = begin(&[Need::Guests, Need::Launcher(Launcher::Up)]) else { return };
    let mut job = two_guests(Launcher::Up, |job| job.under(["nohup"]));
    job.signal(Signal::SIGHUP);
    job.guests().iter().for_each(|guest| drop(guest.run("true")));
    job.signal(Signal::SIGTERM);
    let job = job.ended();
    job.assert_said("mvpnet: stopping: SIGTERM");
    job.assert_all_halted();
}

#[test]
fn sigterm_ends_up() {
    a_signal_ends_the_job(Launcher::Up, To::Launcher, Signal::SIGTERM);
}

#[test]
fn sigint_ends_up() {
    a_signal_ends_the_job(Launcher::Up, To::Launcher, Signal::SIGINT);
}

#[test]
fn sigusr1_to_mpich_s_mpirun_ends_the_job() {
    a_signal_ends_the_job(Launcher::Mpich, To::Launcher, Signal::SIGUSR1);
}

#[test]
fn sigterm_to_mpich_s_mpirun_ends_the_job() {
    a_signal_ends_the_job(Launcher::Mpich, To::Launcher, Signal::SIGTERM);
}

#[test]
fn sigint_to_mpich_s_mpirun_ends_the_job() {
    a_signal_ends_the_job(Launcher::Mpich, To::Launcher, Signal::SIGINT);
}

#[test]
fn sigterm_to_rank_0_ends_an_mpich_job() {
    a_signal_ends_the_job(Launcher::Mpich, To::Rank0, Signal::SIGTERM);
}

#[test]
fn sigusr1_to_openmpi_s_mpirun_ends_the_job() {
    a_signal_ends_the_job(Launcher::OpenMpi, To::Launcher, Signal::SIGUSR1);
}

#[test]
fn sigterm_to_openmpi_s_mpirun_ends_the_job() {
    a_signal_ends_the_job(Launcher::OpenMpi, To::Launcher, Signal::SIGTERM);
}

#[test]
fn sigint_to_openmpi_s_mpirun_ends_the_job() {
    a_signal_ends_the_job(Launcher::OpenMpi, To::Launcher, Signal::SIGINT);
}

#[test]
fn sigusr1_to_rank_0_ends_an_openmpi_job() {
    a_signal_ends_the_job(Launcher::OpenMpi, To::Rank0, Signal::SIGUSR1);
}

/// By the other rank than 0, which has to tell rank 0.
fn the_shutdown_address_ends_the_job(launcher: Launcher) {
    let Some(_turn) = begin(&[Need::Guests, Need::Launcher(launcher)]) else { return };
    let mut job = two_guests(launcher, |job| job);
    job.guests()[1].tell("ping -c 1 10.255.255.254");
    let job = job.ended();
    job.assert_said("mvpnet: stopping: the guest of rank 1 asked for the shutdown address");
    job.assert_all_halted();
    job.assert_code(0);
}

#[test]
fn a_ping_of_the_shutdown_address_ends_up() {
    the_shutdown_address_ends_the_job(Launcher::Up);
}

#[test]
fn a_ping_of_the_shutdown_address_ends_an_mpich_job() {
    the_shutdown_address_ends_the_job(Launcher::Mpich);
}

#[test]
fn a_ping_of_the_shutdown_address_ends_an_openmpi_job() {
    the_shutdown_address_ends_the_job(Launcher::OpenMpi);
}

fn end_of_file_ends_the_job(launcher: Launcher) {
    let Some(_turn) = begin(&[Need::Guests, Need::Launcher(launcher)]) else { return };
    let mut job = two_guests(launcher, |job| job.flag("-E").with_stdin());
    job.close_stdin();
    let job = job.ended();
    job.assert_said("mvpnet: stopping: end of file on stdin");
    job.assert_all_halted();
    job.assert_code(0);
}

#[test]
fn end_of_file_on_stdin_ends_up() {
    end_of_file_ends_the_job(Launcher::Up);
}

#[test]
fn end_of_file_on_stdin_ends_an_mpich_job() {
    end_of_file_ends_the_job(Launcher::Mpich);
}

#[test]
fn end_of_file_on_stdin_ends_an_openmpi_job() {
    end_of_file_ends_the_job(Launcher::OpenMpi);
}

/// The first guest that powers itself off is missed by nobody, the last one ends the job.
fn the_last_guest_off_ends_the_job(launcher: Launcher) {
    let Some(_turn) = begin(&[Need::Guests, Need::Launcher(launcher)]) else { return };
    let mut job = two_guests(launcher, |job| job);
    let guests = job.guests();
    let qemu = job.process(Kind::Guest, 0).pid;
    guests[0].tell("poweroff");
    let limit = std::time::Duration::from_secs(30);
    let off =
        crate::harness::wait_for(limit, || job.processes().iter().all(|it| it.pid != qemu).then_some(()));
    assert!(off.is_some(), "the guest of rank 0 is off");
    // Who is left does what it did.
    guests[1].run("ping -c 1 -W 5 10.0.0.2");
    guests[1].tell("poweroff");
    let job = job.ended();
    job.assert_said("mvpnet: stopping: the last guest is off");
    job.assert_all_halted();
    job.assert_code(0);
}

#[test]
fn the_last_guest_that_powers_itself_off_ends_up() {
    the_last_guest_off_ends_the_job(Launcher::Up);
}

#[test]
fn the_last_guest_that_powers_itself_off_ends_an_mpich_job() {
    the_last_guest_off_ends_the_job(Launcher::Mpich);
}

#[test]
fn the_last_guest_that_powers_itself_off_ends_an_openmpi_job() {
    the_last_guest_off_ends_the_job(Launcher::OpenMpi);
}
