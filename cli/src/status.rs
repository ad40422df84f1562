//! `mvpnet status`: how each rank of a job is.

mod flags;

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use mvpnet_node::control::{Answer, AskError, JobInfo, JobStatus, RankStatus, Request, ask};
use serde_json::json;

use crate::args::USAGE_EXIT_CODE;
use crate::columns::{aligned, duration};
use crate::job::{self, JobError};
pub use flags::{AFTER_LONG, AFTER_SHORT, Flags, LONG_ABOUT, USAGE};

/// Between two looks of `--watch`.
const PAUSE: Duration = Duration::from_secs(2);

/// Characters of a console's last line.
const CONSOLE: usize = 60;

/// What is to be shown.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    job: Option<String>,
    json: bool,
    watch: bool,
}

/// Why it is not.
#[derive(Debug, thiserror::Error)]
enum StatusError {
    #[error(transparent)]
    Job(#[from] JobError),
    #[error(transparent)]
    Ask(#[from] AskError),
    #[error("the job's answer does not belong to the question")]
    Answer,
}

impl Options {
    /// What the flags ask for.
    pub fn read(flags: Flags) -> Self {
        let Flags { job, json, watch, help: _ } = flags;
        Self { job, json, watch }
    }
}

/// Shows it.
pub fn run(options: &Options) -> ExitCode {
    match carry_out(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "mvpnet: {error}");
            let is_usage = matches!(&error, StatusError::Job(error) if error.is_usage());
            ExitCode::from(if is_usage { USAGE_EXIT_CODE } else { 1 })
        }
    }
}

fn carry_out(options: &Options) -> Result<(), StatusError> {
    let job = job::find(options.job.as_deref())?;
    let mut is_read = show(&look(&job)?, options);
    if !options.watch {
        return Ok(());
    }
    while is_read {
        pause();
        is_read = match look(&job) {
            Ok(status) => show(&status, options),
            // That is what was waited for.
            Err(StatusError::Ask(AskError::Over(..) | AskError::Ended(_))) => break,
            Err(error) => return Err(error),
        };
    }
    Ok(())
}

fn look(job: &JobInfo) -> Result<JobStatus, StatusError> {
    match ask(job.through, &Request::Status)? {
        Answer::Status(status) => Ok(status),
        _ => Err(StatusError::Answer),
    }
}

/// Whether somebody reads it.
fn show(status: &JobStatus, options: &Options) -> bool {
    let mut out = std::io::stdout();
    let wipe = if options.watch && !options.json && out.is_terminal() { "\x1b[H\x1b[2J" } else { "" };
    let text = if options.json { format!("{}\n", json!(status)) } else { table(status) };
    out.write_all(format!("{wipe}{text}").as_bytes()).and_then(|()| out.flush()).is_ok()
}

#[allow(clippy::disallowed_methods, reason = "people watch in real time")]
fn pause() {
    std::thread::sleep(PAUSE);
}

fn table(status: &JobStatus) -> String {
    let JobStatus { job, ranks } = status;
    let hosts = if job.hosts == 1 { "host" } else { "hosts" };
    let mut text = format!("{job} on {} {hosts}: {}, for {}\n", job.hosts, job.state, duration(job.age));
    text.push_str(&format!("started as: {}\n", job.command.join(" ")));
    for words in &job.in_force {
        text.push_str(&format!("in force: {words}\n"));
    }
    let header = [
        "RANK", "HOST", "STATE", "SSH", "QEMU", "KEEPER", "MEMORY", "CPUS", "UP", "BOOT", "RESTARTS", "LINK",
        "IN", "OUT", "DROPS", "AGENT", "CONSOLE",
    ];
    let rows = ranks.iter().map(row);
    format!("{text}\n{}", aligned(std::iter::once(header.map(str::to_owned)).chain(rows)))
}

fn row(status: &RankStatus) -> [String; 17] {
    let is_silent = status.process.is_none();
    let said = |text: String| if is_silent || text.is_empty() { "-".to_owned() } else { text };
    let number = |number: Option<u32>| number.map_or("-".to_owned(), |number| number.to_string());
    let agent = status.agent.map(|there| if there { "yes" } else { "no" });
    [
        status.rank.to_string(),
        status.host.clone(),
        status.state.to_string(),
        number(status.ssh_port.map(u32::from)),
        number(status.qemu),
        number(status.keeper),
        said(format!("{} MiB", status.memory_mib)),
        said(status.cpus.clone()),
        status.uptime.map_or("-".into(), |seconds| duration(whole(seconds))),
        status.boot.map_or("-".into(), |seconds| format!("{seconds:.1} s")),
        said(status.restarts.to_string()),
        said(status.link.clone()),
        said(status.frames_in.to_string()),
        said(status.frames_out.to_string()),
        said(status.drops.to_string()),
        agent.unwrap_or("-").to_owned(),
        status.console.as_deref().unwrap_or("-").chars().take(CONSOLE).collect(),
    ]
}

/// Seconds without their fraction.
fn whole(seconds: f64) -> u64 {
    Duration::try_from_secs_f64(seconds).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use mvpnet_node::control::{JobState, RankState};

    use super::*;

    #[test]
    fn each_rank_is_a_line_and_one_that_does_not_answer_too() {
        let job = JobInfo {
            name: Some("lab".into()),
            process: 7,
            ranks: 2,
            hosts: 2,
            state: JobState::Running,
            age: 61,
            command: vec!["mvpnet".into(), "up".into()],
            in_force: vec!["pause 0".into()],
            ..JobInfo::default()
        };
        let up = RankStatus {
            host: "h0".into(),
            state: RankState::Ready,
            process: Some(7),
            ssh_port: Some(2200),
            qemu: Some(9),
            keeper: Some(8),
            memory_mib: 256,
            cpus: "2".into(),
            uptime: Some(60.7),
            boot: Some(6.04),
            link: "stream".into(),
            frames_in: 5,
            console: Some("login:".into()),
            ..RankStatus::default()
        };
        let silent = RankStatus { rank: 1, host: "h1".into(), ..RankStatus::default() };
        insta::assert_snapshot!(table(&JobStatus { job, ranks: vec![up, silent] }), @r"
        lab (process 7, 2 ranks) on 2 hosts: running, for 1 min
        started as: mvpnet up
        in force: pause 0

        RANK  HOST  STATE   SSH   QEMU  KEEPER  MEMORY   CPUS  UP     BOOT   RESTARTS  LINK    IN  OUT  DROPS  AGENT  CONSOLE
        0     h0    ready   2200  9     8       256 MiB  2     1 min  6.0 s  0         stream  5   0    0      -      login:
        1     h1    silent  -     -     -       -        -     -      -      -         -       -   -    -      -      -
        ");
    }
}
