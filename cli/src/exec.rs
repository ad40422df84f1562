//! `mvpnet exec`: a command in guests, many at once. How it gets there is the node's matter; this runs as many sessions as
//! are wanted, shows what they say, and makes one exit code of theirs.

mod flags;
mod input;
mod output;
mod run;

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use mvpnet_qemu_driver::agent::ExecRequest;

use crate::args::Usage;
use crate::node_set::NodeSet;
use crate::session;
pub use flags::{AFTER_LONG, AFTER_SHORT, Flags, LONG_ABOUT, USAGE};
pub(crate) use input::copy;
use output::{Output, Style};
pub(crate) use run::{Task, carry_out};

/// What is to be run, where and how.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    job: Option<String>,
    nodes: NodeSet,
    request: ExecRequest,
    timeout: Option<Duration>,
    parallel: usize,
    stdin: Stdin,
    style: Style,
}

/// Whether standard input goes to the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stdin {
    /// If there is one node, and it is no terminal.
    Fitting,
    /// To all nodes.
    Wanted,
    /// No.
    Unwanted,
}

impl Options {
    /// What the flags ask for.
    pub fn read(flags: Flags) -> Result<Self, Usage> {
        let Flags {
            job,
            user,
            timeout,
            stdin,
            no_stdin,
            parallel,
            no_label,
            in_order,
            json,
            help: _,
            nodes,
            command,
        } = flags;
        let wrong = |why: String| Usage::Exec(why);
        let nodes = nodes.parse::<NodeSet>().map_err(|error| wrong(error.to_string()))?;
        let timeout = timeout.as_deref().map(seconds).transpose().map_err(wrong)?;
        if parallel == 0 {
            return Err(wrong("--parallel 0: at least one node at a time".into()));
        }
        if command.iter().all(String::is_empty) {
            return Err(wrong("say what is to be run: mvpnet exec NODES -- COMMAND".into()));
        }
        let request =
            ExecRequest { shell: command.len() == 1, argv: command, user, ..ExecRequest::default() };
        let stdin = match (stdin, no_stdin) {
            (true, _) => Stdin::Wanted,
            (false, true) => Stdin::Unwanted,
            (false, false) => Stdin::Fitting,
        };
        let style = match (json, in_order) {
            (true, true) => Style::JsonInOrder,
            (true, false) => Style::Json,
            (false, true) => Style::InOrder { labels: !no_label },
            (false, false) => Style::Lines { labels: !no_label },
        };
        Ok(Self { job, nodes, request, timeout, parallel, stdin, style })
    }
}

/// A time like `90s`, `5m`, `1h`, or a number of seconds.
fn seconds(text: &str) -> Result<Duration, String> {
    let wrong = || format!("--timeout {text}: write it like 90s, 5m or 1h");
    let digits = text.trim_end_matches(['s', 'm', 'h']);
    let unit = match &text[digits.len()..] {
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err(wrong()),
    };
    let number: f64 = digits.parse().map_err(|_| wrong())?;
    let time = Duration::try_from_secs_f64(number * unit).map_err(|_| wrong())?;
    if time.is_zero() { Err(wrong()) } else { Ok(time) }
}

/// Does it.
pub fn run(options: &Options) -> ExitCode {
    let Options { job, nodes, request, timeout, parallel, stdin, style } = options.clone();
    let entered = session::job(job.as_deref()).and_then(|job| {
        let ranks = session::all_of(&job, &nodes)?;
        let style = if ranks.len() == 1 { style.for_one() } else { style };
        let task = Task { job, ranks: ranks.clone(), request, timeout, parallel, stdin };
        Ok(carry_out(task, Output::new(style, &ranks))?)
    });
    match entered {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "mvpnet: {error}");
            ExitCode::from(error.code())
        }
    }
}

/// The output of one node, as it comes.
pub(crate) fn raw_output(rank: u32) -> Output {
    Output::new(Style::Raw, &[rank])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(command: &[&str]) -> Flags {
        Flags {
            nodes: "0-1".into(),
            parallel: 32,
            command: command.iter().map(|word| (*word).to_owned()).collect(),
            ..Flags::default()
        }
    }

    #[test]
    fn one_word_is_for_a_shell_and_several_are_not() {
        let shell = |command: &[&str]| Options::read(flags(command)).unwrap().request.shell;
        assert!(shell(&["ls | wc"]));
        assert!(!shell(&["ls", "|"]));
        assert!(Options::read(flags(&[""])).is_err());
    }

    #[test]
    fn times_have_units() {
        assert_eq!(seconds("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(seconds("1.5m"), Ok(Duration::from_secs(90)));
        assert_eq!(seconds("2"), Ok(Duration::from_secs(2)));
        for text in ["", "s", "-1s", "1d", "1ms", "0", "nan", "1e400h", "inf"] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }
}
