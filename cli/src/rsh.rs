//! `mvpnet rsh`: `mvpnet exec` in the calling form of rsh and ssh, for programs that know only that form: above all
//! mpirun, which starts its daemons with it. Their options are understood as far as they matter here.

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use clap::{ArgAction, Args};
use mvpnet_qemu_driver::agent::ExecRequest;

use crate::args::Usage;
use crate::exec::{Stdin, Task, carry_out, raw_output};
use crate::node_set::{self, NodeSet};
use crate::session;

/// `--help`.
pub const LONG_ABOUT: &str = "\
Run a command in a guest of a running job, in the calling form of rsh and ssh.

It is for programs that start others by rsh or ssh, as mpirun does with its daemons: named as their launcher it needs no \
sshd in the guests, like `mvpnet exec`. Options of ssh that mean nothing here are ignored. Inside of guests the same is \
called mvpnet-rsh.";

/// How it is called.
pub const USAGE: &str = "mvpnet rsh [-j JOB] [-l USER] [SSH OPTIONS…] [USER@]HOST COMMAND…";

/// Below `--help`.
pub const AFTER_LONG: &str = "\
HOST
  A host name (n0003), a rank (3), or an address (10.0.0.4).

THE JOB
  Named by -j, by MVPNET_JOB in the environment, or by MVPNET_JOBNAME, which applications of a job have; else the only
  one that runs.

OPTIONS
  -l USER  who runs it [default: root]
  -n       its standard input is empty; otherwise it is this one's
  All others that ssh(1) and rsh(1) have are ignored, with their values.

EXAMPLES
  mpirun of the host starts its daemons in guests, OpenMPI 4 and 5, and MPICH:
      mpirun --mca plm_rsh_agent 'mvpnet rsh' --hostfile guests -n 4 ./ring
      mpirun --prtemca plm_ssh_agent 'mvpnet rsh' --hostfile guests -n 4 ./ring
      printf '#!/bin/sh\\nexec mvpnet rsh \"$@\"\\n' >launch; chmod +x launch
      mpirun -launcher ssh -launcher-exec ./launch -f guests -n 4 ./ring
  rsync, and whatever else takes a remote shell:
      rsync -a -e 'mvpnet rsh' data n0003:

EXIT STATUS
  That of the command, 128 + N if signal N killed it; 255 if it could not be run";

/// As typed: all of it is read here, since ssh's options are.
#[derive(Debug, Default, Args)]
pub struct Flags {
    /// Show this
    #[arg(long, action = ArgAction::Help)]
    pub help: Option<bool>,

    /// Options, a host, and a command
    #[arg(value_name = "WORDS", trailing_var_arg = true, allow_hyphen_values = true, num_args = 0..)]
    pub words: Vec<OsString>,
}

/// What is to be run, and where.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    job: Option<String>,
    node: NodeSet,
    request: ExecRequest,
    stdin: Stdin,
}

/// ssh's options that have a value (ssh(1), SYNOPSIS).
const WITH_VALUE: &str = "BbcDEeFIiJLlmOopPQRSWw";

impl Options {
    /// What the words ask for.
    pub fn read(flags: Flags) -> Result<Self, Usage> {
        let Flags { help: _, words } = flags;
        let words: Vec<String> = words
            .into_iter()
            .map(|word| {
                word.into_string().map_err(|word| {
                    Usage::Rsh(format!(
                        "`{}` is not UTF-8, which commands in guests have to be",
                        word.display()
                    ))
                })
            })
            .collect::<Result<_, _>>()?;
        let mut words = words.into_iter().peekable();
        let (mut job, mut user, mut stdin) = (None, None, Stdin::Fitting);
        while let Some(word) = words.next_if(|word| word.len() > 1 && word.starts_with('-')) {
            let missing = || Usage::Rsh(format!("`{word}` needs a value behind it"));
            if word == "--" {
                break;
            }
            if let Some(name) = word.strip_prefix("--job=").map(str::to_owned) {
                job = Some(name);
            } else if word == "--job" || word == "-j" {
                job = Some(words.next().ok_or_else(missing)?);
            } else {
                for (at, letter) in word.char_indices().skip(1) {
                    if letter == 'n' {
                        stdin = Stdin::Unwanted;
                    }
                    if WITH_VALUE.contains(letter) {
                        let glued = &word[at + letter.len_utf8()..];
                        let value =
                            if glued.is_empty() { words.next().ok_or_else(missing)? } else { glued.into() };
                        if letter == 'l' {
                            user = Some(value);
                        }
                        break;
                    }
                }
            }
        }
        let host = words.next().ok_or_else(|| Usage::Rsh("which host? Say it before the command".into()))?;
        let (login, host) = match host.rsplit_once('@') {
            Some((login, host)) => (Some(login.to_owned()), host.to_owned()),
            None => (None, host),
        };
        // rsh(1) takes options behind the host too.
        if words.next_if(|word| word == "-l").is_some() {
            user = Some(words.next().ok_or_else(|| Usage::Rsh("`-l` needs a value behind it".into()))?);
        }
        if words.next_if(|word| word == "-n").is_some() {
            stdin = Stdin::Unwanted;
        }
        let argv: Vec<String> = words.collect();
        if argv.is_empty() {
            return Err(Usage::Rsh(format!(
                "which command? There is no login over this way: `mvpnet ssh {host}`, or `mvpnet console {host}`"
            )));
        }
        let node = node_set::host(&host).map_err(|error| Usage::Rsh(error.to_string()))?;
        let request = ExecRequest { argv, shell: true, user: user.or(login), ..ExecRequest::default() };
        Ok(Self { job, node, request, stdin })
    }
}

/// Runs it.
pub fn run(options: &Options) -> ExitCode {
    let Options { job, node, request, stdin } = options.clone();
    let entered = session::job(job.as_deref()).and_then(|job| {
        let rank = session::one_of(&job, &node)?;
        let task = Task { job, ranks: vec![rank], request, timeout: None, parallel: 1, stdin };
        Ok(carry_out(task, raw_output(rank))?)
    });
    match entered {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "mvpnet rsh: {error}");
            // Launchers look for ssh's.
            ExitCode::from(session::FAILED)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Options, Usage> {
        Options::read(Flags { words: line.split(' ').map(OsString::from).collect(), help: None })
    }

    #[test]
    fn the_forms_of_rsh_and_ssh_mean_the_same() {
        for line in [
            "-l mpi n0003 orted -mca x 1",
            "mpi@n0003 orted -mca x 1",
            "-x -q -o StrictHostKeyChecking=no -oBatchMode=yes -lmpi -p 22 3 orted -mca x 1",
            "-xqTlmpi -- 10.0.0.4 orted -mca x 1",
            "n0003 -l mpi orted -mca x 1",
            "n0003.cluster.example -l mpi orted -mca x 1",
        ] {
            let options = read(line).unwrap();
            assert_eq!(options.request.argv, ["orted", "-mca", "x", "1"], "{line}");
            assert_eq!(options.request.user.as_deref(), Some("mpi"), "{line}");
            assert_eq!(options.node.of_job(0, 8).unwrap(), [3], "{line}");
            assert!(options.request.shell && options.stdin == Stdin::Fitting, "{line}");
        }
        assert_eq!(read("-j lab 0 x").unwrap().job.as_deref(), Some("lab"));
        assert_eq!(read("--job=lab 0 x").unwrap().job.as_deref(), Some("lab"));
        assert_eq!(read("-xn 0 x").unwrap().stdin, Stdin::Unwanted);
        assert_eq!(read("0 ls -l -n").unwrap().request.argv, ["ls", "-l", "-n"], "the command's own options");
    }

    #[test]
    fn what_is_missing_is_asked_for() {
        for (line, says) in [
            ("-l", "`-l` needs a value"),
            ("-x", "which host?"),
            ("0", "which command? There is no login"),
            ("web.example.org ls", "no guest is called `web.example.org`"),
            ("10.0.0.0 ls", "no guest is called `10.0.0.0`"),
        ] {
            let error = read(line).unwrap_err().to_string();
            assert!(error.contains(says), "{line}: {error}");
        }
    }
}
