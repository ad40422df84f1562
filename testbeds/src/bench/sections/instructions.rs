//! Instructions per forwarded frame, counted by callgrind over a rank's frame loop, for the sender and for the receiver;
//! and where they are spent.

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use anyhow::{Context, ensure};
use serde_json::Value;

use super::super::{
    Bench,
    carrier::{Carrier, Net, mpirun},
    options::Library,
    table::{Row, Table, Target},
};
use crate::loadgen;

/// Before ranks of one host had rings in shared memory and links were read into drafts (commit 2b0d429, MPICH, stream).
const BEFORE: [(&str, f64); 2] = [("sender", 445.0), ("receiver", 1114.0)];
/// What callgrind says of a whole rank is taken from here on: not MPI's start, which is more than some seconds of frames.
const LOOP: &str = "RankLoop<T>::run";
/// Functions below this part of the loop are not shown.
const SHOWN: f64 = 0.02;

pub(super) fn measure(bench: &mut Bench) -> anyhow::Result<Vec<Table>> {
    let title = "Instructions per forwarded frame of 1514 bytes, by the frame loop of a rank";
    let mut table = Table::new("instructions", title, "per frame", &["before"]);
    let title = "Where they are: functions with what was inlined into them, 2 % and more";
    let mut functions = Table::new("functions", title, "per frame", &[]);
    for library in bench.options.libraries() {
        for net in [Net::Stream, Net::VhostUser] {
            let name = format!("instructions, {}, {}", net.name(), library.name());
            let counted = counted(bench, library, net);
            for (at, (side, before)) in BEFORE.into_iter().enumerate() {
                let case = format!("{}, {side}", net.name());
                let mut row = Row::new(&case, Carrier::Mpi(library), Vec::new());
                match &counted {
                    Err(error) => row.failure = Some(format!("{error:#}")),
                    Ok(ranks) => {
                        eprintln!("{name}, {side}: {:.0}", ranks[at].per_frame());
                        row = Row::new(&case, Carrier::Mpi(library), vec![ranks[at].per_frame()]);
                        let lines = ranks[at].functions().into_iter();
                        functions.rows.extend(lines.map(|(function, count)| {
                            Row::new(format!("{case}: {function}"), Carrier::Mpi(library), vec![count])
                        }));
                    }
                }
                if net == Net::Stream {
                    row.notes = vec![format!("{before}")];
                    row.judge_value(Target::AtMost(before / 2.0));
                }
                table.rows.push(row);
            }
        }
    }
    Ok(vec![table, functions])
}

/// What one rank did.
struct Counted {
    frames: f64,
    in_loop: f64,
    /// By short name.
    each: BTreeMap<String, f64>,
}

impl Counted {
    fn per_frame(&self) -> f64 {
        self.in_loop / self.frames
    }

    /// The largest, per frame.
    fn functions(&self) -> Vec<(String, f64)> {
        let mut large: Vec<_> =
            self.each.iter().filter(|(_, count)| **count >= SHOWN * self.in_loop).collect();
        large.sort_by(|one, other| other.1.total_cmp(one.1));
        large.into_iter().map(|(name, count)| (name.clone(), count / self.frames)).collect()
    }
}

/// The sender's and the receiver's counts.
fn counted(bench: &Bench, library: Library, net: Net) -> anyhow::Result<[Counted; 2]> {
    let program = bench.programs.built_for(library, "mvpnet-frame-path");
    ensure!(program.exists(), "there is no {}", program.display());
    let directory = bench.scratch.path().join(format!("callgrind-{}-{}", library.name(), net.name()));
    fs::create_dir_all(&directory)?;
    let seconds = if bench.options.quick { 2 } else { 5 };
    let script = format!(
        "0:blast,to=1,size=1514,burst=64,warmup=1,seconds={seconds},then=off;1:sink,warmup=1,seconds={seconds},then=off"
    );
    // Under valgrind, an end that hangs is not unheard of.
    let mut limited = Command::new("timeout");
    let mpirun = mpirun(library, 2, None);
    limited.arg("120").arg(mpirun.get_program()).args(mpirun.get_args());
    limited.envs(mpirun.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let out = format!("--callgrind-out-file={}/cg.%p", directory.display());
    limited.args(["valgrind", "--tool=callgrind", &out]).arg(&program).arg(net.name());
    limited.arg(&bench.programs.loadgen);
    let said = limited.env(loadgen::SCRIPT, script).env(loadgen::OUT, &directory).output()?;
    let (stdout, stderr) = (String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr));
    let lines = stdout.lines().chain(stderr.lines()).filter(|line| line.starts_with('{'));
    let ranks: Vec<Value> = lines.filter_map(|line| serde_json::from_str(line).ok()).collect();
    let rank = |rank: u32, frames: &str| {
        let found = ranks.iter().find(|line| line["rank"] == rank);
        let line = found.with_context(|| format!("rank {rank} said nothing: {}", stderr.trim()))?;
        let frames = line[frames].as_f64().context("no number of frames")?;
        read(&directory.join(format!("cg.{}", line["pid"])), frames)
    };
    Ok([rank(0, "from_guest")?, rank(1, "to_guest")?])
}

fn read(profile: &Path, frames: f64) -> anyhow::Result<Counted> {
    let annotated = |inclusive: &str| {
        let said = Command::new("callgrind_annotate").args([inclusive, "--auto=no"]).arg(profile).output()?;
        Ok::<_, anyhow::Error>(String::from_utf8_lossy(&said.stdout).into_owned())
    };
    let whole = annotated("--inclusive=yes")?;
    let of_loop = lines(&whole).filter(|(_, function)| function.ends_with(LOOP)).map(|(count, _)| count);
    let in_loop = of_loop.fold(0.0, f64::max);
    ensure!(in_loop > 0.0, "callgrind has not seen {LOOP}");
    let mut each = BTreeMap::new();
    for (count, function) in lines(&annotated("--inclusive=no")?) {
        *each.entry(short(function)).or_default() += count;
    }
    Ok(Counted { frames, in_loop, each })
}

/// Lines like `12,345 ( 6.78%)  file:function [object]`: the count and the function.
fn lines(text: &str) -> impl Iterator<Item = (f64, &str)> {
    text.lines().filter_map(|line| {
        let (count, rest) = line.trim_start().split_once(" (")?;
        let (_, place) = rest.split_once(")  ")?;
        let (_, function) = place.split_once(':')?;
        let function = function.split_once(" [").map_or(function, |(function, _)| function);
        Some((count.replace(',', "").parse().ok()?, function))
    })
}

/// The last two parts of a function's path, without what stands in angle brackets.
fn short(function: &str) -> String {
    let mut depth = 0;
    let bare: String = function
        .chars()
        .filter(|char| {
            depth += i32::from(*char == '<');
            let outside = depth == 0;
            depth -= i32::from(*char == '>');
            outside
        })
        .collect();
    let parts: Vec<&str> = bare.split("::").filter(|part| !part.is_empty()).collect();
    parts[parts.len().saturating_sub(2)..].join("::")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_s_lines_are_read_and_names_are_short() {
        let text = "Ir file:function\n\
            55,328,800 (13.80%)  node/src/a.rs:mvpnet_node::from_guest::<impl mvpnet_node::RankLoop<T>>::take_items [/t/p]\n\
             8,704,510 ( 9.65%)  switch/src/express.rs:mvpnet_switch::switch::Switch::decide\n";
        let read: Vec<(f64, String)> = lines(text).map(|(count, name)| (count, short(name))).collect();
        assert_eq!(
            read,
            [(55_328_800.0, "from_guest::take_items".into()), (8_704_510.0, "Switch::decide".into())]
        );
        assert_eq!(short("do_lookup_x"), "do_lookup_x");
    }
}
