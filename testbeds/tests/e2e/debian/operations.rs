//! What is done with a running job, under `mvpnet up`: how it is, its consoles, the reset button, its end. And what is
//! refused before anything boots.

use std::fs;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::{Cluster, contains, is, printed, quiet};
use crate::harness::setting::say;
use crate::harness::wait::{Stopwatch, run};
use crate::harness::{Job, Launcher, Need, begin};

/// How long the reset of a guest may take: another boot.
const RESET: Duration = Duration::from_secs(940);

#[test]
fn a_job_of_debian_guests_is_looked_at_reset_and_ended_by_subcommands() {
    let launcher = Launcher::Up;
    let Some(_turn) = begin(&[Need::Debian, Need::Launcher(launcher)]) else { return };
    let image = crate::harness::setting::debian();
    let changed = || fs::metadata(&image).unwrap().modified().unwrap();
    let before = changed();
    let job = Job::new(launcher, 2).debian().flags(["-u", "tester", "--ready", "cloud-init"]);
    let mut cluster = Cluster::boot(job, launcher);

    cluster.check("ps shows the job", |cluster| {
        let said = quiet(run(Command::new(&cluster.program).arg("ps"), super::COMMAND))?;
        let line = said.lines().find(|line| line.starts_with(&cluster.name)).unwrap_or_default();
        contains(line, &["running", "debian.qcow2"])
    });
    cluster.check("status shows both guests ready, and their agents", |cluster| {
        let said = quiet(cluster.mvpnet("status", ["--json"]))?;
        let status: Value = serde_json::from_str(&said).map_err(|error| format!("{error}: {said}"))?;
        for rank in 0..2 {
            let shown = &status["ranks"][rank];
            is(&shown["state"], &Value::from("ready"))?;
            contains(&shown.to_string(), &["\"agent\":true"])?;
            say(&format!("MEASURED {launcher}: boot of rank {rank} to its ssh banner {}", shown["boot"]));
        }
        Ok(())
    });
    cluster.check("the console shows what was on it", |cluster| {
        let said = quiet(cluster.mvpnet("console", ["--log", "1"]))?;
        contains(&said, &["n0001 login:"])
    });
    cluster.check("check finds nothing wrong", |cluster| {
        let watch = Stopwatch::start();
        let said = printed(cluster.mvpnet("check", ["--json", "--sizes", "1,1500,64K"]))?;
        say(&format!("MEASURED {launcher}: check took {:.1} s", watch.elapsed().as_secs_f64()));
        let found: Vec<Value> = serde_json::from_str(&said).map_err(|error| format!("{error}: {said}"))?;
        let of_mpi = found.iter().filter(|one| one["check"] == "mpi").map(|one| one["seen"].to_string());
        contains(&of_mpi.collect::<String>(), &["Open MPI", "MPICH"])?;
        if found.iter().all(|one| one["status"] == "ok") { Ok(()) } else { Err(said) }
    });
    cluster.check("what a guest writes outlives its reset, and the other stays", |cluster| {
        quiet(cluster.ssh(
            None,
            "1",
            "echo kept >kept; sync; cat /proc/sys/kernel/random/boot_id >boot; sync",
        ))?;
        let other = quiet(cluster.ssh(None, "0", "cat /proc/sys/kernel/random/boot_id"))?;
        let watch = Stopwatch::start();
        let mut reset = Command::new(&cluster.program);
        printed(run(reset.args(["reset", "-j", &cluster.name, "--wait", "1"]), RESET))?;
        say(&format!(
            "MEASURED {launcher}: a reset guest is ready after {:.1} s",
            watch.elapsed().as_secs_f64()
        ));
        let script =
            "cat kept; cmp -s boot /proc/sys/kernel/random/boot_id || echo booted; ssh n0000 hostname";
        is(&*quiet(cluster.ssh(None, "1", script))?, "kept\nbooted\nn0000\n")?;
        is(&quiet(cluster.ssh(None, "0", "cat /proc/sys/kernel/random/boot_id"))?, &other)
    });
    cluster.check("down ends it", |cluster| printed(cluster.mvpnet("down", [""; 0])).map(drop));
    cluster.ended();
    assert_eq!(changed(), before, "the image is only read");
}

#[test]
fn a_broken_user_data_is_refused_before_anything_boots() {
    let Some(_turn) = begin(&[Need::Debian, Need::Launcher(Launcher::Up)]) else { return };
    let job = Job::new(Launcher::Up, 2).debian();
    let directory = job.place("out/seed");
    fs::create_dir(&directory).unwrap();
    fs::write(format!("{directory}/user-data"), "#cloud-config\nusers:\n  - default\n bad: [indent\n")
        .unwrap();
    let job = job.flags(["-c", &directory]).run();
    assert!(job.took < Duration::from_secs(20), "it took {:?}", job.took);
    assert_ne!(job.code(), 0);
    job.assert_said(&format!("{directory}/user-data"));
    job.assert_said("line 4");
}

#[test]
fn a_seed_is_written_in_less_than_a_tenth_of_a_second() {
    let Some(_turn) = begin(&[Need::Launcher(Launcher::Up)]) else { return };
    let home = crate::harness::home::Home::new();
    let write = || {
        let mut seed = Command::new(Launcher::Up.program());
        seed.args(["seed", "--rank", "3", "--wsize", "8", "--out"]).arg(home.at("out/seed.img"));
        let watch = Stopwatch::start();
        let said = run(&mut seed, super::COMMAND);
        assert!(said.is_success(), "{said:?}");
        watch.elapsed()
    };
    // The quickest of some, as the machine may have other things to do.
    let quickest = (0..5).map(|_| write()).min().unwrap();
    say(&format!("MEASURED a seed is written in {:.1} ms", quickest.as_secs_f64() * 1e3));
    // Unoptimised, and the start of the program included.
    assert!(quickest < Duration::from_millis(100), "it took {quickest:?}");
}
