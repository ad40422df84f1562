//! The application's exit code is the job's. Load generators stand in for guests: they boot at once.

use crate::harness::{Job, begin, launchers};

#[test]
fn the_job_ends_with_the_application_s_exit_code() {
    let Some(_turn) = begin(&[]) else { return };
    for launcher in launchers() {
        for (application, code) in [
            ("exit 0", 0),
            ("exit 7", 7),
            ("exit 255", 255),
            ("kill -TERM $$", 128 + 15),
            ("kill -KILL $$", 128 + 9),
        ] {
            let job =
                Job::new(launcher, 2).generators("echo").script(&format!("#!/bin/sh\n{application}\n")).run();
            assert_eq!(job.code(), code, "{launcher}: {application}");
        }
    }
}

#[test]
fn the_application_is_told_what_it_needs_and_its_output_is_shown() {
    let Some(_turn) = begin(&[]) else { return };
    for launcher in launchers() {
        let job = Job::new(launcher, 2).generators("echo").flags(["-O", "-u", "somebody"]);
        let (log, name) = (job.place("log"), job.home_name().to_owned());
        let job = job
            .script("#!/bin/sh\nenv | sort | grep -E '^MVPNET_(RANK|WSIZE|SSH|JOB|LOGDIR)'\necho error >&2\n")
            .run();
        job.assert_code(0);
        let said = job.stdout();
        let port = said.lines().find_map(|line| line.strip_prefix("MVPNET_SSHPORT=")).unwrap_or_default();
        assert!(port.parse::<u16>().is_ok_and(|port| port >= 2200), "{said}");
        // A file of the job's directory, which is gone by now.
        let config = said.lines().find_map(|line| line.strip_prefix("MVPNET_SSHCONFIG=")).unwrap_or_default();
        assert!(config.ends_with(".job/ssh_config"), "{said}");
        let expected = format!(
            "MVPNET_JOBNAME={name}\nMVPNET_LOGDIR={log}\nMVPNET_RANK=0\nMVPNET_SSHCONFIG={config}\n\
             MVPNET_SSHPORT={port}\nMVPNET_SSHUSER=somebody\nMVPNET_WSIZE=2\n"
        );
        assert_eq!(said, expected, "{launcher}");
    }
}

#[test]
fn what_the_application_is_given_behind_its_name_is_its_own() {
    let Some(_turn) = begin(&[]) else { return };
    for launcher in launchers() {
        let words = ["/bin/echo", "-i", "disk.img", "--", "-N", "7"];
        let job = Job::new(launcher, 2).generators("echo").flag("-O").application(words).run();
        job.assert_code(0);
        assert_eq!(job.stdout(), "-i disk.img -- -N 7\n", "{launcher}");
    }
}
