//! The two command lines that the original C program documents, as they stand but for paths and the image: they have
//! to go on working. The image is the tiny guest's.

use std::fs;

use crate::harness::setting::{find_program, tiny};
use crate::harness::{Ended, Job, Launcher, Need, begin};

/// In place of the manuals' `[app]`: reaches rank 0's guest, which reaches the others.
fn application(world: u32) -> String {
    let peers: Vec<String> = (0..world).map(|rank| format!("ping -c 1 -W 10 n{rank:04}")).collect();
    format!(
        "#!/bin/sh\nexec ssh -F {} -p $MVPNET_SSHPORT tiny '{}'\n",
        tiny("ssh_config").display(),
        peers.join(" && ")
    )
}

/// `mpirun -n 2 mvpnet -C 1 -c ~/tmp/cloudinit -i IMG.img,mvpctl=s -l /tmp/mvp -M monwrap -r /tmp/mvp -s /tmp/mvp -g -L 1
/// -D INFO -S INFO -n dgram [app]`
fn the_first(launcher: Launcher) {
    let needs = [Need::Guests, Need::Disk("tiny.img"), Need::Launcher(launcher)];
    let Some(_turn) = begin(&needs) else { return };
    let job = Job::bare(launcher, 2);
    let (seed, mvp) = (seed(&job), job.place("log/mvp"));
    let image = format!("{},mvpctl=s", tiny("tiny.img").display());
    let job = job
        .flags(["-C", "1", "-c", &seed, "-i", &image, "-l", &mvp, "-M", "monwrap", "-r", &mvp, "-s", &mvp])
        .flags(["-g", "-L", "1", "-D", "INFO", "-S", "INFO", "-n", "dgram"])
        .script(&application(2))
        .keeps_logs_in("log/mvp");
    let job = job.run();
    job.assert_code(0);
    warned_of_the_wrapper(&job);
    has_logs(&job, "log/mvp", &["con.0.log", "con.1.log", "mvpnet.0.log", "mvpnet.1.log", "gstats.0.log"]);
    for rank in 0..2 {
        let console = job.home().read(&format!("log/mvp/con.{rank}.log"));
        assert!(console.contains("tiny: system halted cleanly"), "rank {rank}: {console}");
    }
}

#[test]
fn the_first_documented_command_line_runs_under_mpich() {
    the_first(Launcher::Mpich);
}

#[test]
fn the_first_documented_command_line_runs_under_openmpi() {
    the_first(Launcher::OpenMpi);
}

#[test]
fn the_first_documented_command_line_runs_under_up() {
    the_first(Launcher::Up);
}

/// `mpirun.mpich -n 4 … mvpnet -C 1 -c ~/cloud-seed -j 13 -l /tmp/mvpnet/log -M monwrap -r /tmp/mvpnet/run -s
/// /tmp/mvpnet/sock -t /tmp/mvpnet/tftpd -w 1 -g -L 1 -D INFO -S INFO -i IMG.qcow2,mvpctl=s -n dgram [app]`
#[test]
fn the_second_documented_command_line_runs_on_one_host() {
    let needs = [Need::Guests, Need::Disk("tiny.qcow2"), Need::Launcher(Launcher::Mpich)];
    let Some(_turn) = begin(&needs) else { return };
    let job = Job::bare(Launcher::Mpich, 4);
    let seed = seed(&job);
    let [log, run, sock, tftp] = ["log/log", "run/run", "sock/sock", "out/tftpd"].map(|part| job.place(part));
    let image = format!("{},mvpctl=s", tiny("tiny.qcow2").display());
    let job = job
        .flags(["-C", "1", "-c", &seed, "-j", "13", "-l", &log, "-M", "monwrap", "-r", &run, "-s", &sock])
        .flags([
            "-t", &tftp, "-w", "1", "-g", "-L", "1", "-D", "INFO", "-S", "INFO", "-i", &image, "-n", "dgram",
        ])
        .script(&application(4))
        .keeps_logs_in("log/log")
        .makes("run/run")
        .makes("sock/sock");
    let job = job.run();
    job.assert_code(0);
    warned_of_the_wrapper(&job);
    assert!(job.home().at("out/tftpd").is_dir(), "directories that flags name are made");
    has_logs(&job, "log/log", &["con.13.3.log", "mvpnet.13.3.log", "wrap.13.3.log", "gstats.13.0.log"]);
}

/// Copies of the image, as `-r` makes them when nothing else is said: each rank its own, gone at the end.
#[test]
fn images_are_copied_to_the_run_directory_and_the_copies_go() {
    let needs = [Need::Guests, Need::Disk("tiny.img"), Need::Launcher(Launcher::Up)];
    let Some(_turn) = begin(&needs) else { return };
    let source = fs::read(tiny("tiny.img")).unwrap();
    let job = Job::new(Launcher::Up, 2);
    let run = job.place("run");
    // The copy is a second disk here; booting directly is quicker.
    let job = job.tiny().flags(["-i", &tiny("tiny.img").display().to_string(), "-r", &run]).stays_up();
    let mut job = job.start();
    job.wait_until_up();
    let guests = job.guests();
    for guest in &guests {
        guest.run("dd if=/dev/zero of=/dev/vda bs=1M count=1 && sync");
    }
    let copies = fs::read_dir(job.home().at("run")).unwrap().filter_map(Result::ok);
    let copies: Vec<String> = copies.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    for rank in 0..2 {
        let its = |name: &String| {
            name.contains("tiny")
                && name.contains(&rank.to_string())
                && name.contains(job.home().name.as_str())
        };
        assert!(copies.iter().any(its), "no copy of rank {rank} in {copies:?}");
    }
    job.end_with(0);
    let job = job.ended();
    job.assert_code(0);
    job.assert_all_halted();
    assert!(fs::read(tiny("tiny.img")).unwrap() == source, "the image itself is as it was");
}

fn seed(job: &Job) -> String {
    let seed = job.place("out/cloudinit");
    fs::create_dir(&seed).unwrap();
    fs::write(format!("{seed}/meta-data"), "instance-id: e2e\n").unwrap();
    fs::write(format!("{seed}/user-data"), "#cloud-config\n").unwrap();
    seed
}

fn warned_of_the_wrapper(job: &Ended) {
    if find_program("monwrap").is_none() {
        job.assert_said("the wrapper `monwrap` cannot be found");
    }
}

fn has_logs(job: &Ended, directory: &str, names: &[&str]) {
    for name in names {
        let path = job.home().at(directory).join(name);
        assert!(path.metadata().is_ok_and(|file| file.len() > 0), "{} is not there or empty", path.display());
    }
}
