//! `mvpnet up`: all ranks in this process, joined in memory.

use std::process::ExitCode;
use std::thread::JoinHandle;

use mvpnet_node::frame_loop::LoopEnd;
use mvpnet_node::job::{RankEnd, Watch, listen, live};
use mvpnet_switch::{Rank, World};
use mvpnet_transports::mem::{MemTransport, fabric};
use tokio::sync::mpsc;
use tracing::Instrument;

use super::rank::RankParts;
use super::tell::Teller;
use super::{FAILURE, complain, exit_code};
use crate::args::{HostDefaults, Options, RankOptions, Usage, report_usage};
use crate::logs;

/// Runs a job of `ranks` ranks to its end.
pub fn run(ranks: u32, options: &Options) -> ExitCode {
    let planned = match rank_options(ranks, options) {
        Ok(planned) => planned,
        Err(error) => return report_usage(&error, None),
    };
    let logs: Vec<_> = planned.iter().map(RankOptions::rank_log).collect();
    let _guard = match logs::start(&logs, options.shared.stderr_level) {
        Ok(guard) => guard,
        Err(error) => return report_usage(&Usage::from(error), None),
    };
    match run_ranks(ranks, planned) {
        Ok(code) => exit_code(code),
        Err(error) => {
            complain(&format!("{error:#}"));
            exit_code(FAILURE)
        }
    }
}

fn rank_options(ranks: u32, options: &Options) -> Result<Vec<RankOptions>, Usage> {
    let host = HostDefaults::read();
    (0..ranks).map(|rank| options.for_rank(rank, ranks, &host)).collect()
}

fn run_ranks(ranks: u32, planned: Vec<RankOptions>) -> anyhow::Result<i32> {
    let world = World::new(ranks)?;
    let ends = fabric(world)?;
    let all = planned.clone();
    let teller_options = all[0].clone();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (notices, heard) = mpsc::unbounded_channel();
        let mut wishes = Some(listen(Watch { stdin: teller_options.shared.exit_on_eof, parent: false })?);
        let mut threads = Vec::new();
        let mut lives = Vec::new();
        for ((me, options), transport) in world.ranks().zip(planned).zip(ends) {
            let span = tracing::info_span!("rank", rank = me.index());
            let _entered = span.clone().entered();
            let parts = RankParts::prepare(
                options,
                me,
                world,
                "mem",
                Vec::new(),
                if me.index() == 0 { &all } else { &[] },
                None,
            )?;
            let wishes = wishes.take().unwrap_or_else(|| mpsc::unbounded_channel().1);
            let notices = (me.index() == 0).then(|| notices.clone());
            let (loop_part, setup) = parts.split("localhost".into(), wishes, notices);
            threads.push(spawn_loop(me, loop_part, transport, span.clone())?);
            lives.push(tokio::spawn(live(setup).instrument(span)));
        }
        drop(notices);
        let teller = tokio::spawn(Teller::new(world, &teller_options).tell(heard));
        let code = all_ends(lives).await;
        join(threads);
        teller.await?;
        Ok(code)
    })
}

fn spawn_loop(
    me: Rank,
    part: super::rank::LoopPart,
    transport: MemTransport,
    span: tracing::Span,
) -> std::io::Result<JoinHandle<LoopEnd<MemTransport>>> {
    std::thread::Builder::new().name(format!("rank {me}")).spawn(move || {
        let _entered = span.entered();
        part.run(transport)
    })
}

async fn all_ends(lives: Vec<tokio::task::JoinHandle<RankEnd>>) -> i32 {
    let mut code = 0;
    for life in lives {
        // A control plane that panicked has said so; its guest was stopped when it was dropped.
        let end = life.await.map_or(FAILURE, |end| end.exit_code);
        code = if code == 0 { end } else { code };
    }
    code
}

fn join(threads: Vec<JoinHandle<LoopEnd<MemTransport>>>) {
    for thread in threads {
        if thread.join().is_err() {
            tracing::error!("a frame loop panicked");
        }
    }
}
