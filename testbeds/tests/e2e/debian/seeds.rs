//! What cloud-init itself makes of seeds: that of the Debian guest, run on this host without a boot.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::COMMAND;
use crate::harness::home::Home;
use crate::harness::setting::debian;
use crate::harness::wait::run;
use crate::harness::{Launcher, Need, begin};

const READ_SEED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/debian/programs/read-seed.py");

#[test]
fn cloud_init_accepts_what_guests_are_told() {
    let Some(_turn) = begin(&[Need::Debian, Need::Launcher(Launcher::Up)]) else { return };
    let home = Home::new();
    let some = ["-u", "tester"];
    let all = [
        ["-u", "tester"],
        ["--mpi-user", "mpihpc:7777"],
        ["--nfs", "/home/mpihpc/shared"],
        ["--packages", "htop,vim"],
        ["--proxy", "http://proxy.example.org:3128"],
        ["--run", "echo 'it: runs' >/ran"],
    ]
    .concat();
    for flags in [&some[..], &all] {
        let config = told(&home, flags);
        let names: Vec<&str> = users(&config).collect();
        assert!(names.contains(&"tester"), "{config:#}");
        assert_eq!(names.contains(&"mpihpc"), flags.contains(&"--mpi-user"), "{config:#}");
        assert_eq!(config.get("packages").is_some(), flags.contains(&"--packages"), "{config:#}");
    }
}

#[test]
fn cloud_init_merges_the_users_directory_with_what_the_job_says() {
    let Some(_turn) = begin(&[Need::Debian, Need::Launcher(Launcher::Up)]) else { return };
    let home = Home::new();
    let directory = home.text("out/own");
    fs::create_dir(&directory).unwrap();
    let own = "#cloud-config\nusers:\n  - name: olduser\n    ssh_authorized_keys: [ssh-rsa AAAA old]\n\
               packages: [nano]\nbootcmd: [echo early]\nruncmd: [echo late]\nfinal_message: own words\n";
    fs::write(format!("{directory}/user-data"), own).unwrap();
    fs::write(format!("{directory}/meta-data"), "instance-id: iid-local01\n").unwrap();
    let config = told(&home, &["-u", "tester", "-c", &directory, "--packages", "htop", "--run", "echo ours"]);
    let names: Vec<&str> = users(&config).collect();
    assert!(names.contains(&"olduser") && names.contains(&"tester"), "{config:#}");
    for (key, parts) in [
        ("packages", ["nano", "htop"]),
        ("runcmd", ["echo late", "echo ours"]),
        ("bootcmd", ["echo early", "/run/mvpnet"]),
        ("final_message", ["own words", "mvpnet"]),
    ] {
        let text = config[key].to_string();
        assert!(parts.iter().all(|part| text.contains(part)), "{key}: {text}");
    }
}

/// What cloud-init merges the parts of rank 1's user-data into.
fn told(home: &Home, flags: &[&str]) -> Value {
    let directory = home.text("out/made");
    let mut seed = Command::new(Launcher::Up.program());
    seed.args(["seed", "--rank", "1", "--wsize", "2", "--dir", &directory]).args(flags);
    let said = run(&mut seed, COMMAND);
    assert!(said.is_success(), "{said:?}");
    let modules = debian().parent().unwrap_or(Path::new(".")).join("cloud-init");
    let said = run(Command::new("python3").args([READ_SEED, &directory]).env("PYTHONPATH", modules), COMMAND);
    assert!(said.is_success(), "{said:?}");
    fs::remove_dir_all(&directory).unwrap();
    serde_json::from_str(&said.stdout).unwrap()
}

fn users(config: &Value) -> impl Iterator<Item = &str> {
    let users = config["users"].as_array().into_iter().flatten();
    users.filter_map(|user| user.as_str().or_else(|| user["name"].as_str()))
}
