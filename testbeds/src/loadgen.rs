//! `mvpnet-loadgen`: a program that takes qemu's place and makes, counts and answers traffic.
//!
//! Given to mvpnet as `-q …/mvpnet-loadgen`, it receives a guest's argument list ([`argv`]), attaches itself to the
//! guest link in it (stream or dgram, inherited descriptor or unix paths), and plays the role that the environment
//! gives to its rank. It ends as a guest would: by `system_powerdown` or `quit` over QMP, by SIGTERM, when its role
//! is over, or when its link is closed.
//!
//! | variable | meaning |
//! | --- | --- |
//! | `MVPNET_LOADGEN` | the script of all ranks; grammar in [`script`]. Unset: all ranks are idle |
//! | `MVPNET_LOADGEN_OUT` | a directory. Each rank makes `rank-N.up` when it has its link, and appends its result to `rank-N.jsonl`, one line of JSON. Unset: the line goes to stdout |
//!
//! Every line has `rank`, `world`, `mode`, `link` and either what the role measured or `error`. The exit status is 0
//! when the role was played to its end or was told to end, 1 otherwise, 2 for arguments that make no sense.
//!
//! Peers may start in any order: a role that needs others says hello every 200 ms until they have answered.
//!
//! Two more forms of call, for those who drive jobs:
//! `mvpnet-loadgen --await-file PATH SECONDS` ends with 0 when PATH exists and with 1 when the time is over first: as
//! mvpnet's application it keeps a job alive until its driver has what it wants. `--version` looks like qemu's.

pub mod argv;
mod burst;
pub(crate) mod frame;
mod inherited;
mod link;
mod roles;
pub mod script;
pub mod stand_in;
mod station;
mod stop;
mod tally;

use std::{
    fs::OpenOptions,
    io::Write,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use serde_json::{Value, json};

use self::{argv::Wiring, link::Link, station::Station, stop::Stop};

/// The script's variable.
pub const SCRIPT: &str = "MVPNET_LOADGEN";
/// The result directory's variable.
pub const OUT: &str = "MVPNET_LOADGEN_OUT";

const USAGE: &str = "mvpnet-loadgen takes qemu's place: mvpnet -q /path/to/mvpnet-loadgen …
What it does is in the environment: MVPNET_LOADGEN='0:blast,to=1,size=1514;1:sink' and
MVPNET_LOADGEN_OUT=DIR for the results, one file per rank.
Also: mvpnet-loadgen --await-file PATH SECONDS";

/// The file that says that a rank's generator has its link.
pub fn up_file(out: &Path, rank: u32) -> PathBuf {
    out.join(format!("rank-{rank}.up"))
}

/// The file of a rank's results.
pub fn result_file(out: &Path, rank: u32) -> PathBuf {
    out.join(format!("rank-{rank}.jsonl"))
}

/// The program, on its arguments without its name.
pub fn main(args: Vec<String>) -> ExitCode {
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words[..] {
        [] | ["-h" | "--help"] => {
            println!("{USAGE}");
            ExitCode::SUCCESS
        }
        ["-version" | "--version"] => {
            println!("QEMU emulator version 7.2.0 (mvpnet-loadgen {})", env!("CARGO_PKG_VERSION"));
            ExitCode::SUCCESS
        }
        ["--await-file", path, seconds] => match seconds.parse().map(Duration::try_from_secs_f64) {
            Ok(Ok(limit)) => await_file(Path::new(path), limit),
            _ => usage_error(&format!("{seconds:?} is not a number of seconds")),
        },
        ["--await-file", ..] => usage_error("--await-file needs a path and a number of seconds"),
        _ => match argv::parse(&args) {
            Ok(wiring) => generate(&wiring),
            Err(error) => usage_error(&error.to_string()),
        },
    }
}

fn usage_error(message: &str) -> ExitCode {
    eprintln!("mvpnet-loadgen: {message}");
    ExitCode::from(2)
}

fn generate(wiring: &Wiring) -> ExitCode {
    let out = std::env::var_os(OUT).map(PathBuf::from);
    let result = play(wiring, out.as_deref());
    let Err(error) = result else { return ExitCode::SUCCESS };
    let text = format!("{error:#}");
    eprintln!("mvpnet-loadgen: rank {}: {text}", wiring.rank);
    let line = json!({"rank": wiring.rank, "world": wiring.world, "error": text});
    if let Err(error) = append(out.as_deref(), wiring.rank, &line) {
        eprintln!("mvpnet-loadgen: rank {}: {error:#}", wiring.rank);
    }
    ExitCode::FAILURE
}

fn play(wiring: &Wiring, out: Option<&Path>) -> anyhow::Result<()> {
    // Inherited descriptors first, before anything else is opened.
    let link = Link::open(&wiring.attachment)?;
    let monitor = match &wiring.monitor {
        Some(monitor) => Some(stop::OpenMonitor::open(monitor).context("cannot open the monitor")?),
        None => None,
    };
    let stop = Stop::new().context("cannot make an eventfd")?;
    stop.on_signals().context("cannot block signals")?;
    let off = monitor.as_ref().map(stop::OpenMonitor::off_switch);
    if let Some(monitor) = monitor {
        stop.on_monitor(monitor);
    }
    stop.enforce();

    let script = std::env::var(SCRIPT).unwrap_or_default();
    let role = script::role_of(&script, wiring.rank).with_context(|| format!("in {SCRIPT}={script:?}"))?;
    let head = json!({
        "rank": wiring.rank, "world": wiring.world, "mode": role.mode, "link": link.name(),
    });
    let mut station = Station::new(link, wiring.rank, wiring.world, stop);
    if let Some(out) = out {
        std::fs::create_dir_all(out).with_context(|| format!("cannot make {}", out.display()))?;
        std::fs::write(up_file(out, wiring.rank), b"").context("cannot say that this rank is up")?;
    }
    let mut published = Ok(());
    let played = roles::play(&role, &mut station, off.is_some(), &mut |measured| {
        let mut line = head.clone();
        if let (Value::Object(line), Value::Object(measured)) = (&mut line, measured) {
            line.extend(measured);
        }
        published = append(out, wiring.rank, &line);
    });
    published?;
    played.with_context(|| format!("as {}", role.mode))?;
    if let (Some(off), false) = (off, station.stop.raised()) {
        off.switch_off();
    }
    Ok(())
}

/// One line, by one write: a reader never sees half of it.
fn append(out: Option<&Path>, rank: u32, line: &Value) -> anyhow::Result<()> {
    let Some(out) = out else {
        println!("{line}");
        return Ok(());
    };
    let path = result_file(out, rank);
    let open = OpenOptions::new().create(true).append(true).open(&path);
    let mut file = open.with_context(|| format!("cannot open {}", path.display()))?;
    match file.write(format!("{line}\n").as_bytes()) {
        Ok(written) if written == line.to_string().len() + 1 => Ok(()),
        Ok(_) => bail!("no room in {}", path.display()),
        Err(error) => Err(error).with_context(|| format!("cannot write {}", path.display())),
    }
}

#[allow(clippy::disallowed_methods, reason = "waiting for another process's file, with a limit")]
fn await_file(path: &Path, limit: Duration) -> ExitCode {
    let start = Instant::now();
    while !path.exists() {
        if start.elapsed() >= limit {
            eprintln!("mvpnet-loadgen: {} did not appear within {limit:?}", path.display());
            return ExitCode::FAILURE;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    ExitCode::SUCCESS
}
