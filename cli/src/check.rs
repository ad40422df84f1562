//! `mvpnet check`: whether the guests of a running job are a cluster. Guests are looked at from within, by commands that
//! run there; what their readings mean is decided by pure functions (`judge`).

mod finding;
mod flags;
mod gather;
mod guests;
mod judge;
mod mpi;
mod pairs;
mod readings;

use std::io::Write;
use std::process::ExitCode;

use mvpnet_node::control::JobInfo;
use mvpnet_settings::binary_size;

use crate::args::{USAGE_EXIT_CODE, Usage};
use crate::job::{self, JobError};
use crate::ssh;
use finding::{Finding, Status};
pub use flags::{AFTER_LONG, AFTER_SHORT, Flags, LONG_ABOUT, USAGE};
use gather::Cast;
use guests::Guests;

/// Sizes of messages, in bytes: around what fits into a packet, and where MPIs change their ways.
const SIZES: [u32; 9] = [1, 1000, 1400, 1500, 9000, 16 << 10, 64 << 10, 1 << 20, 4 << 20];

/// The longest message: more is no check but a benchmark.
const SIZE_MAX: u64 = 1 << 30;

/// What is to be looked at.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    job: Option<String>,
    json: bool,
    scope: Scope,
    progress: bool,
}

/// How far to look.
#[derive(Clone, Debug, PartialEq)]
struct Scope {
    user: Option<String>,
    ssh: Ssh,
    mpi: bool,
    all_pairs: bool,
    sizes: Vec<u32>,
}

/// Whether ssh is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ssh {
    No,
    WhereItRuns,
    Must,
}

impl Options {
    /// What the flags ask for.
    pub fn read(flags: Flags) -> Result<Self, Usage> {
        let Flags { job, json, user, no_ssh, ssh, no_mpi, all_pairs, sizes, no_progress, help: _ } = flags;
        let size = |text: &String| {
            let bytes = binary_size(text, 1).filter(|bytes| (1..=SIZE_MAX).contains(bytes));
            bytes.and_then(|bytes| u32::try_from(bytes).ok()).ok_or_else(|| {
                Usage::Check(format!("--sizes {text}: expected sizes between 1 and 1G, like 1,1500,64K,4M"))
            })
        };
        let mut sizes = sizes.iter().map(size).collect::<Result<Vec<_>, _>>()?;
        if sizes.is_empty() {
            sizes = SIZES.to_vec();
        }
        let ssh = match (no_ssh, ssh) {
            (true, _) => Ssh::No,
            (false, true) => Ssh::Must,
            (false, false) => Ssh::WhereItRuns,
        };
        let scope = Scope { user, ssh, mpi: !no_mpi, all_pairs, sizes };
        Ok(Self { job, json, scope, progress: !no_progress })
    }
}

/// Looks.
pub fn run(options: &Options) -> ExitCode {
    let findings = match find(options) {
        Ok(findings) => findings,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "mvpnet: {error}");
            return ExitCode::from(if error.is_usage() { USAGE_EXIT_CODE } else { 1 });
        }
    };
    let text = if options.json { finding::listed(&findings) } else { finding::report(&findings) };
    // Nobody reads it: the exit code still tells.
    let _ = std::io::stdout().write_all(text.as_bytes());
    ExitCode::from(u8::from(findings.iter().any(|finding| finding.status == Status::Failed)))
}

fn find(options: &Options) -> Result<Vec<Finding>, JobError> {
    let job: JobInfo = job::find(options.job.as_deref())?;
    let Some(cast) = Cast::new(job.first_rank, job.ranks) else { return Ok(Vec::new()) };
    let mut scope = options.scope.clone();
    scope.user = scope.user.or_else(|| ssh::user_of(job.through));
    let tell = |what: &str| {
        if options.progress {
            let _ = writeln!(std::io::stderr(), "mvpnet: {what}");
        }
    };
    Ok(look(&job, &cast, &scope, &std::process::id().to_string(), &tell))
}

/// Looks at everything in turn; `tag` is in the names of what is put into guests, `tell` is told what comes next.
fn look(guests: &dyn Guests, cast: &Cast, scope: &Scope, tag: &str, tell: &dyn Fn(&str)) -> Vec<Finding> {
    tell("looking at each guest");
    let facts = gather::facts(guests, cast, scope.mpi);
    let mut found = judge::agents(&facts);
    let there = cast.only(&facts);
    let Some(first) = facts.iter().find_map(|guest| guest.read.as_ref().ok()) else { return found };
    found.extend(judge::names(&facts));
    found.extend(judge::cloud_init(&facts));
    found.extend(judge::clocks(&facts));
    tell("sending packets of full length");
    found.extend(judge::paths(&gather::paths(guests, &there, scope.all_pairs)));
    found.extend(ssh_ways(guests, &there, scope, tell));
    if scope.mpi {
        found.extend(over_mpi(guests, &there, scope, (tag, first), tell));
    }
    found
}

fn ssh_ways(guests: &dyn Guests, there: &Cast, scope: &Scope, tell: &dyn Fn(&str)) -> Vec<Finding> {
    if scope.ssh == Ssh::No {
        return Vec::new();
    }
    let mut found = Vec::new();
    let whos =
        [("ssh-user", scope.user.as_deref().filter(|user| *user != "root")), ("ssh-root", Some("root"))];
    for (check, who) in whos {
        let Some(who) = who else { continue };
        tell(&format!("logging in from guest to guest as {who}"));
        let readings = gather::ssh(guests, there, scope.all_pairs, Some(who));
        found.extend(judge::ssh(check, who, scope.ssh == Ssh::Must, &readings));
    }
    found
}

fn over_mpi(
    guests: &dyn Guests,
    there: &Cast,
    scope: &Scope,
    (tag, first): (&str, &readings::Facts),
    tell: &dyn Fn(&str),
) -> Vec<Finding> {
    let ways = mpi::ways(first);
    if ways.is_empty() {
        let names = gather::named(&there.ranks[..1]);
        return vec![Finding::of_all(
            "mpi",
            Status::NotChecked,
            format!("no MPI in {names} (mpirun with mpicc or mpi4py)"),
        )];
    }
    let count = u32::try_from(there.ranks.len()).unwrap_or(u32::MAX);
    let stage = mpi::Stage::new(guests, there, scope.user.as_deref(), tag);
    let mut found = Vec::new();
    for way in &ways {
        tell(&format!("sending messages by {way}"));
        found.push(match stage.run(way, &scope.sizes) {
            Ok(run) => judge::mpi(&run, count),
            Err((status, why)) => Finding::of_all("mpi", status, format!("{way}: {why}")),
        });
    }
    stage.clear();
    found
}

#[cfg(test)]
mod tests;
