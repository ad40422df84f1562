//! When a guest counts as booted, and what is said of one that never does.

use std::time::Duration;

use crate::harness::{Job, Launcher, Need, begin, launchers};

#[test]
fn a_guest_that_never_boots_ends_the_job_and_its_console_is_shown() {
    let Some(_turn) = begin(&[Need::Guests]) else { return };
    for launcher in launchers() {
        let only_rank_1 = format!("1:{} tiny.noboot", crate::harness::setting::tiny_cmdline());
        let job = Job::new(launcher, 2).tiny().flags(["--append", &only_rank_1, "-T", "12"]).run();
        job.assert_code(1);
        job.assert_said("mvpnet: rank 1: no ssh banner on 127.0.0.1:");
        job.assert_said("mvpnet: rank 1: the last lines of its console:");
        job.assert_said("tiny: asked not to boot (tiny.noboot), hanging here");
        job.assert_said("mvpnet: stopping: the guest of rank 1 failed");
    }
}

#[test]
fn a_guest_is_ready_when_its_console_says_so() {
    let Some(_turn) = begin(&[Need::Guests, Need::Launcher(Launcher::Up)]) else { return };
    let mut job =
        Job::new(Launcher::Up, 2).tiny().flags(["--ready", "console:tiny: ready n000"]).stays_up().start();
    job.wait_until_up();
    for rank in 0..2 {
        let console = format!("log/con.{}.{rank}.log", job.home().name);
        assert!(job.home().read(&console).contains("tiny: ready n000"), "rank {rank} was not ready");
    }
    job.end_with(0);
    let job = job.ended();
    job.assert_code(0);
    job.assert_all_halted();
}

#[test]
fn a_text_that_no_console_shows_is_waited_for_in_vain() {
    let Some(_turn) = begin(&[Need::Guests, Need::Launcher(Launcher::Up)]) else { return };
    let job = Job::new(Launcher::Up, 1).tiny().flags(["--ready", "console:never said", "-T", "3"]).run();
    job.assert_code(1);
    job.assert_said("mvpnet: rank 0: `never said` did not show on the console within 3 s");
}

#[test]
fn without_readiness_the_application_starts_at_once_and_guests_that_still_boot_are_stopped() {
    let Some(_turn) = begin(&[Need::Guests, Need::Launcher(Launcher::Up)]) else { return };
    let job = Job::new(Launcher::Up, 2)
        .tiny()
        .flags(["--ready", "none", "-O"])
        .script("#!/bin/sh\necho started\nexit 3");
    let job = job.run();
    job.assert_code(3);
    assert_eq!(job.stdout(), "started\n");
    assert!(job.took < Duration::from_secs(40), "it took {:?}", job.took);
}

#[test]
fn what_qemu_complains_about_is_shown() {
    let Some(_turn) = begin(&[Need::Guests]) else { return };
    for launcher in launchers() {
        let job = Job::new(launcher, 2).tiny().flags(["-p", "1:no-such-cpu"]).run();
        job.assert_code(1);
        job.assert_said("mvpnet: rank 1: ");
        job.assert_said("no-such-cpu");
    }
}
