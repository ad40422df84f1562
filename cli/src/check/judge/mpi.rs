//! A program over MPI on all guests: whether it ran there, and which messages got through.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::check::finding::{Finding, Status};
use mvpnet_qemu_driver::image::Size;

/// What came of running it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::check) struct MpiRun {
    /// Which MPI.
    pub(in crate::check) library: String,
    /// How the program got there: compiled, or Python's.
    pub(in crate::check) program: &'static str,
    /// The launcher's exit code; none: it went silent and was ended.
    pub(in crate::check) code: Option<i32>,
    /// Its output.
    pub(in crate::check) output: String,
    /// And what it complained of.
    pub(in crate::check) errors: String,
    /// How long it was silent before it was ended.
    pub(in crate::check) patience: Duration,
}

/// What the program's lines say.
#[derive(Debug, Default, PartialEq)]
struct Told {
    /// Ranks by the number of ranks that they saw, and where they ran.
    ranks: BTreeSet<(u32, u32)>,
    hosts: BTreeSet<String>,
    /// What began and did not end.
    open: Option<(String, u64)>,
    /// Messages that came otherwise than they were sent.
    differ: Vec<(String, u64)>,
    /// Microseconds for one way of a message between the first two ranks.
    ping_pong: Vec<(u64, f64)>,
}

impl Told {
    fn read(output: &str) -> Self {
        let mut told = Self::default();
        for line in output.lines() {
            // Launchers put the rank in front of lines, if they are told to.
            let Some((_, line)) = line.split_once("mvpnet-check ") else { continue };
            match line.split_whitespace().collect::<Vec<_>>()[..] {
                ["rank", rank, "of", ranks, "on", host] => {
                    told.ranks.extend(rank.parse().ok().zip(ranks.parse().ok()));
                    told.hosts.insert(host.to_owned());
                }
                [what, size, state, value] => {
                    let (Ok(size), Ok(value)) = (size.parse(), value.parse()) else { continue };
                    let one = (what.to_owned(), size);
                    match state {
                        "begins" => told.open = Some(one),
                        "differs" => {
                            told.open = None;
                            told.differ.push(one);
                        }
                        _ => {
                            told.open = None;
                            if what == "ping-pong" {
                                told.ping_pong.push((size, value));
                            }
                        }
                    }
                }
                _ => {}
            }
        }
        told
    }
}

/// What a run means for a cluster of `guests`.
pub(in crate::check) fn mpi(run: &MpiRun, guests: u32) -> Finding {
    let MpiRun { library, program, code, .. } = run;
    let failed = |seen: String, mend: &str| {
        Finding::of_all("mpi", Status::Failed, format!("{library} ({program}): {seen}")).mended_by(mend)
    };
    let told = Told::read(&run.output);
    let complaint = last_lines(&run.errors);
    if let (None, Some((what, size))) = (code, &told.open) {
        let silent = run.patience.as_secs();
        return failed(
            format!("the {what} with messages of {} hangs for {silent} s{complaint}", Size(*size)),
            "where short messages pass and long ones do not, an MTU on the way is smaller than guests believe: see `mtu` \
             above, and try a smaller --mtu; a firewall in a guest does the same to all of them",
        );
    }
    if told.ranks.is_empty() {
        let how = match code {
            Some(code) => format!("exit code {code}"),
            None => format!("silent for {} s", run.patience.as_secs()),
        };
        return failed(
            format!("does not start on all guests ({how}){complaint}"),
            "does its launcher get to all guests, and do packets of full length? see `mtu` and `ssh` above, and mvpnet-rsh in the \
             guests",
        );
    }
    if let Some((_, ranks)) = told.ranks.iter().find(|(_, ranks)| *ranks != guests) {
        return failed(
            format!(
                "its ranks see {ranks} instead of {guests}: the launcher and the library do not belong together"
            ),
            "use the mpirun and the mpicc of one MPI: update-alternatives --config mpirun, --config mpi",
        );
    }
    if told.hosts.len() != guests as usize {
        let hosts = told.hosts.iter().cloned().collect::<Vec<_>>().join(", ");
        return failed(
            format!("its {guests} ranks run on {} only", if hosts.is_empty() { "nothing" } else { &hosts }),
            "does every guest have a name of its own? see `names` above",
        );
    }
    if let Some((what, size)) = told.differ.first() {
        return failed(
            format!("messages of {} in the {what} arrive changed", Size(*size)),
            "something on the way damages frames: are faults set? mvpnet fault --show",
        );
    }
    if *code != Some(0) {
        let how =
            code.map_or_else(|| "did not end".to_owned(), |code| format!("ended with exit code {code}"));
        return failed(
            format!("all messages passed, but it {how}{complaint}"),
            "see what it says above; MPICH before 4.2 over UCX can hang in MPI_Finalize when ranks come there one after the other \
             (pmodels/mpich#6596), on any network",
        );
    }
    Finding::of_all("mpi", Status::Ok, format!("{library} ({program}): {}", figures(&told, guests)))
}

fn figures(told: &Told, guests: u32) -> String {
    let mut text = format!("a ring of {guests} ranks, one in each guest");
    let (first, last) = (told.ping_pong.first(), told.ping_pong.last());
    if let (Some((small, short)), Some((large, long))) = (first, last) {
        text.push_str(&format!(
            "; messages of {} to {}, {short:.0} µs one way for the shortest, {:.1} MB/s for the longest",
            Size(*small),
            Size(*large),
            *large as f64 / long.max(f64::MIN_POSITIVE)
        ));
    }
    text
}

/// `: …` of the last lines, or nothing.
fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    let last = &lines[lines.len().saturating_sub(6)..];
    if last.is_empty() { String::new() } else { format!("; it said:\n{}", last.join("\n")) }
}
