//! Runs `mvpnet sim`, and compares what two runs have written.

use std::fs::File;
use std::io::{BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

use super::result::Row;

/// What a run has written.
pub struct Outcome {
    name: &'static str,
    json: Vec<u8>,
    table: Vec<u8>,
    capture: PathBuf,
    /// Goes with everything in it.
    _dir: TempDir,
}

fn checkout() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}

pub fn scenarios_dir() -> PathBuf {
    checkout().join("testbeds/scenarios")
}

fn program() -> PathBuf {
    let dir =
        std::env::var_os("MVPNET_BIN_DIR").map_or_else(|| checkout().join("target/debug"), PathBuf::from);
    std::path::absolute(dir).unwrap().join("mvpnet")
}

/// Says what cannot be done here, past libtest, or fails if everything must be.
fn skip(name: &str, why: &str) {
    let may_skip = std::env::var("MVPNET_REQUIRE").as_deref() != Ok("all");
    assert!(may_skip, "{name} cannot run: {why}");
    // Nobody reads it: the results still count.
    let _ = std::io::stderr().write_all(format!("SKIPPED {name}: {why}\n").as_bytes());
}

/// The results of a scenario, after two runs of it were the same in every byte.
pub fn run_twice(name: &'static str) -> Option<Outcome> {
    if !program().exists() {
        let why = format!("{} is not there (cargo build -p mvpnet-cli)", program().display());
        skip(name, &why);
        return None;
    }
    let (first, second) = (run(name), run(name));
    assert_eq!(first.table, second.table, "{name}: two tables of one seed");
    assert_eq!(first.json, second.json, "{name}: two results of one seed");
    assert!(same_bytes(&first.capture, &second.capture), "{name}: two captures of one seed");
    Some(first)
}

fn run(name: &'static str) -> Outcome {
    let dir = tempfile::tempdir().unwrap();
    let (json, capture) = (dir.path().join("result.json"), dir.path().join("frames.pcapng"));
    let mut command = Command::new(program());
    command.arg("sim").arg(scenarios_dir().join(format!("{name}.toml")));
    command.arg("--json").arg(&json).arg("--capture").arg(&capture).arg("--no-progress");
    let output = finished(&mut command);
    Outcome { name, json: std::fs::read(json).unwrap(), table: output.stdout, capture, _dir: dir }
}

fn finished(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

/// Captures are too large to be held twice.
fn same_bytes(one: &Path, other: &Path) -> bool {
    const CHUNK: u64 = 1 << 20;
    let open = |path| BufReader::new(File::open(path).unwrap());
    let (mut one, mut other) = (open(one), open(other));
    loop {
        let (mut a, mut b) = (Vec::new(), Vec::new());
        one.by_ref().take(CHUNK).read_to_end(&mut a).unwrap();
        other.by_ref().take(CHUNK).read_to_end(&mut b).unwrap();
        if a != b {
            return false;
        }
        if a.is_empty() {
            return true;
        }
    }
}

impl Outcome {
    /// The rows of the result table.
    pub fn rows(&self) -> Vec<Row> {
        let json: Value = serde_json::from_slice(&self.json).unwrap();
        json["rows"].as_array().unwrap().iter().map(Row::of).collect()
    }

    /// tshark reads every frame, and finds none that is malformed.
    pub fn check_capture(&self) {
        if !is_installed("tshark") {
            return skip(self.name, "tshark is not installed: the capture was not read");
        }
        let mut command = Command::new("tshark");
        command.arg("-n").arg("-r").arg(&self.capture).args(["-Y", "_ws.malformed"]);
        let malformed = finished(&mut command).stdout;
        let malformed = String::from_utf8_lossy(&malformed);
        assert!(malformed.is_empty(), "{}: {}", self.name, malformed.lines().take(5).collect::<String>());
    }
}

fn is_installed(program: &str) -> bool {
    let Some(path) = std::env::var_os("PATH") else { return false };
    std::env::split_paths(&path).any(|dir| {
        let found = dir.join(program).metadata();
        found.is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    })
}
