//! A whole check of guests that are not there: the probe runs on this host, as if it were each of them.

use std::process::{Command as Process, Stdio};

use super::guests::{Command, Ran};
use super::*;

/// Runs what guests are to run right here, where nobody has their names.
struct Here;

impl Guests for Here {
    fn run(&self, _: u32, command: Command) -> Result<Ran, String> {
        let [program, arguments @ ..] = &command.argv[..] else { return Err("nothing to run".into()) };
        let mut child = Process::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| error.to_string())?;
        let mut stdin = child.stdin.take().expect("it is piped");
        stdin.write_all(&command.stdin).map_err(|error| error.to_string())?;
        drop(stdin);
        let output = child.wait_with_output().map_err(|error| error.to_string())?;
        Ok(Ran { code: output.status.code(), output: output.stdout, errors: output.stderr, first: None })
    }
}

/// Guests that run nothing.
struct Deaf;

impl Guests for Deaf {
    fn run(&self, _: u32, _: Command) -> Result<Ran, String> {
        Err("its agent does not answer".into())
    }
}

fn scope(line: &str) -> Result<Options, Usage> {
    let words = ["mvpnet", "check"].into_iter().chain(line.split_whitespace()).map(Into::into);
    match crate::command_line::parse(words) {
        Ok(crate::command_line::Invocation::Check(options)) => Ok(options),
        Err(crate::command_line::Stop::Usage(usage)) => Err(usage),
        other => panic!("{line}: {other:?}"),
    }
}

fn python_is_here() -> bool {
    let is_here = Process::new("python3").arg("--version").stdout(Stdio::null()).status().is_ok();
    assert!(is_here || std::env::var("MVPNET_REQUIRE").as_deref() != Ok("all"), "python3 is required");
    is_here
}

#[test]
fn the_probe_says_what_is_read() {
    if !python_is_here() {
        println!("skipped: there is no python3");
        return;
    }
    let cast = Cast::new(0, 2).unwrap();
    let facts = gather::facts(&Here, &cast, false);
    let facts = facts[1].read.as_ref().unwrap();
    // This host is none of the guests: it knows none of their four addresses, and has no such interface.
    assert_eq!(facts.wrong_names.len(), 4);
    assert_eq!((&facts.nic, facts.mpi.len()), (&None, 0));
    let ways = gather::paths(&Here, &cast, false);
    assert!(ways[0].read.is_err(), "{ways:?}");
}

#[test]
fn a_cluster_that_is_none_fails_and_says_so_in_both_forms() {
    if !python_is_here() {
        println!("skipped: there is no python3");
        return;
    }
    let scope = scope("--no-ssh --no-mpi").unwrap().scope;
    let cast = Cast::new(0, 2).unwrap();
    let findings = look(&Here, &cast, &scope, "test", &|_| {});
    assert!(findings.iter().any(|it| it.check == "names" && it.status == Status::Failed), "{findings:?}");
    assert!(!findings.iter().any(|it| it.check.starts_with("ssh") || it.check == "mpi"), "{findings:?}");
    assert!(finding::report(&findings).contains("FAILED       names       n0000: "));
}

#[test]
fn guests_that_run_nothing_are_all_that_is_said() {
    let scope = scope("").unwrap().scope;
    let findings = look(&Deaf, &Cast::new(4, 3).unwrap(), &scope, "test", &|_| {});
    assert_eq!(findings.len(), 3);
    assert!(findings.iter().all(|it| it.check == "exec" && it.status == Status::Failed));
    assert_eq!(findings[2].guest.as_deref(), Some("n0006"));
}

#[test]
fn flags_say_how_far_to_look() {
    let of = |line| scope(line).unwrap().scope;
    assert_eq!((of("").ssh, of("--ssh").ssh, of("--no-ssh").ssh), (Ssh::WhereItRuns, Ssh::Must, Ssh::No));
    assert_eq!(
        (of("").sizes.last(), of("--sizes 1,64K,1M").sizes),
        (Some(&(4 << 20)), vec![1, 65_536, 1 << 20])
    );
    assert!(!of("--no-mpi").mpi && of("--all-pairs").all_pairs);
    assert_eq!(of("-u joe").user.as_deref(), Some("joe"));
    for line in ["--sizes 0", "--sizes big", "--sizes 2G", "--ssh --no-ssh", "n0001"] {
        assert!(scope(line).is_err(), "{line}");
    }
}
