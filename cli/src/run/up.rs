//! `mvpnet up`: all ranks in this process, joined in memory, or each by a tunnel to a switch elsewhere.

use std::process::ExitCode;
use std::thread::JoinHandle;

use mvpnet_node::control::JobDirectory;
use mvpnet_node::frame_loop::LoopEnd;
use mvpnet_node::job::{Numbers, RankEnd, Watch, listen, live};
use mvpnet_switch::{Rank, Topology, Vni, World};
use mvpnet_transports::Transport;
use mvpnet_transports::mem::{MemTransport, fabric};
use mvpnet_transports::vxlan::TunnelTransport;
use tokio::sync::mpsc;
use tracing::Instrument;

use super::plan::Seat;
use super::rank::{RankParts, placed};
use super::ready_file::ReadyFile;
use super::slurm::Slurm;
use super::ssh_files::{Guests, SshFiles};
use super::tap::TapPlan;
use super::tell::Teller;
use super::{FAILURE, complain, digests, exit_code, tunnel};
use crate::args::{HostDefaults, Options, RankOptions, Reach, Usage, report_usage};
use crate::logs;

/// Runs a job to its end.
pub fn run(reach: &Reach, options: &Options) -> ExitCode {
    match prepare(reach, options.clone()) {
        Ok(Prepared { job, ways, _guard }) => {
            let code = match ways {
                Ways::Memory(ends) => job.run(ends, None),
                Ways::Tunnels(ends) => job.run(ends, None),
                Ways::Taps { ends, to } => job.run(ends, Some(&to)),
            };
            code.map_or_else(
                |error| {
                    complain(&format!("{error:#}"));
                    exit_code(FAILURE)
                },
                exit_code,
            )
        }
        Err(error) => report_usage(&error, None),
    }
}

/// Everything that can be found wrong with the command line has been found.
struct Prepared {
    job: Job,
    ways: Ways,
    _guard: logs::LogGuard,
}

/// How the ranks' frames leave them.
enum Ways {
    Memory(Vec<MemTransport>),
    Tunnels(Vec<TunnelTransport>),
    /// By the host's kernel; the ranks speak to each other in memory.
    Taps {
        ends: Vec<MemTransport>,
        to: tunnel::Ends,
    },
}

/// The ranks of this process.
struct Job {
    /// Which guests are configured by the job.
    ours: Vec<bool>,
    world: World,
    numbers: Numbers,
    planned: Vec<RankOptions>,
    first_vni: Option<Vni>,
    ready_file: Option<ReadyFile>,
    slurm: Option<Slurm>,
}

fn prepare(reach: &Reach, mut options: Options) -> Result<Prepared, Usage> {
    let Reach { tunnel, span, ready_file } = reach;
    options.check(*span)?;
    let unable = |error: &dyn std::fmt::Display| Usage::Tunnel(error.to_string());
    let world = World::new(span.count).map_err(|error| unable(&error))?;
    let network = World::new(span.world).map_err(|error| unable(&error))?;
    let numbers = Numbers::part(world, network, span.first).map_err(|error| unable(&error))?;
    let ends = fabric(world).map_err(|error| unable(&error))?;
    let found = tunnel.as_ref().map(|tunnel| tunnel::find(tunnel, options.shared.mtu)).transpose()?;
    let ways = match (tunnel, &found) {
        (Some(tunnel), Some(found)) if tunnel.tap => {
            options.check_for_tap()?;
            Ways::Taps { ends, to: found.clone() }
        }
        (Some(tunnel), Some(found)) => Ways::Tunnels(tunnel::make(found, tunnel.vni, ends)?),
        _ => Ways::Memory(ends),
    };
    options.shared.mtu = found.as_ref().map(|found| found.mtu).or(options.shared.mtu);
    let slurm = Slurm::ask();
    let portion = slurm.as_ref().map(|slurm| slurm.portion(span.ranks().collect(), true));
    let named = slurm.as_ref().map(Slurm::name);
    options.shared.job = options.shared.job.take().or(named);
    let host = HostDefaults { portion, ..HostDefaults::read() };
    let planned: Vec<_> =
        span.ranks().map(|rank| options.for_rank(rank, *span, &host)).collect::<Result<_, _>>()?;
    let logs: Vec<_> = planned.iter().map(RankOptions::rank_log).collect();
    let _guard = logs::start(&logs, options.shared.stderr_level)?;
    digests::check(&planned, network)?;
    if let Some(found) = found.filter(|_| options.shared.progress) {
        complain(&found.described);
    }
    if let (Some(slurm), Some(portion)) = (&slurm, &host.portion) {
        slurm.tell(&options, portion);
    }
    let first_vni = tunnel.as_ref().map(|tunnel| tunnel.vni);
    let ours = span.ranks().map(|rank| options.is_told(rank)).collect();
    let ready_file = ready_file
        .as_ref()
        .map(|path| ReadyFile::new(path, options.shared.job.clone(), options.shared.mtu(), first_vni))
        .transpose()
        .map_err(Usage::Tunnel)?;
    Ok(Prepared { job: Job { ours, world, numbers, planned, first_vni, ready_file, slurm }, ways, _guard })
}

impl Job {
    /// Lives until all ranks have ended; the job's exit code. Where the kernel carries frames, it has `taps` to there.
    fn run<T: Transport + Send + 'static>(
        self,
        ends: Vec<T>,
        taps: Option<&tunnel::Ends>,
    ) -> anyhow::Result<i32> {
        let Job { ours, world, numbers, planned, first_vni, ready_file, slurm } = self;
        let all = planned.clone();
        let chief = all[0].clone();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let (notices, heard) = mpsc::unbounded_channel();
            let directory = JobDirectory::make().await;
            let mut teller = Teller::new(world, numbers, &chief).with_ready_file(ready_file.clone());
            let guests = Guests { world, numbers, ours, user: chief.shared.user.clone() };
            let (wish, wishes) = mpsc::unbounded_channel();
            let kill_wait = slurm.as_ref().map(Slurm::kill_wait);
            listen(Watch { stdin: chief.shared.exit_on_eof, parent: false, kill_wait }, &wish)?;
            let mut wishes = Some(wishes);
            let host = nix::unistd::gethostname().unwrap_or_default().to_string_lossy().into_owned();
            let mut threads = Vec::new();
            let mut lives = Vec::new();
            for ((me, options), transport) in world.ranks().zip(planned).zip(ends) {
                let span = tracing::info_span!("rank", rank = options.rank);
                let _entered = span.clone().entered();
                let is_chief = me.index() == 0;
                let vni = first_vni.and_then(|first| first.plus(me.index()));
                let topology = vni.map_or(Topology::Tree, Topology::Tunnel);
                let seat = Seat { numbers, topology, ..Seat::alone(me, world) };
                let tap = taps.zip(vni).map(|(to, vni)| TapPlan::new(vni, to));
                let ready_file_too = ready_file.iter().filter(|_| is_chief).map(ReadyFile::leftover);
                let leftovers = ready_file_too.chain(tap.iter().flat_map(TapPlan::leftovers)).collect();
                let housemates = if is_chief { &all[..] } else { &[] };
                let parts = RankParts::prepare(options, seat, transport.name(), leftovers, housemates, None)?
                    .with_tap(tap.map(TapPlan::tap));
                if is_chief {
                    teller = teller.with_notes(parts.notes());
                }
                if let (true, Ok(directory)) = (is_chief, &directory) {
                    teller = teller.with_ssh_files(SshFiles::new(
                        directory.path(),
                        guests.clone(),
                        parts.briefing(),
                    ));
                }
                let wishes = wishes.take().unwrap_or_else(|| mpsc::unbounded_channel().1);
                let (loop_part, setup) = parts.split(host.clone(), wishes, is_chief.then(|| notices.clone()));
                if let Some((slurm, guest)) = slurm.as_ref().zip(setup.guest.as_ref()).filter(|_| is_chief) {
                    let grace = guest.ladder.powerdown_grace;
                    tokio::spawn(slurm.clone().watch_the_time(grace, wish.clone()));
                }
                threads.push(spawn_loop(me, loop_part, transport, span.clone())?);
                lives.push(tokio::spawn(live(placed(setup, &directory)).instrument(span)));
            }
            drop(notices);
            let teller = tokio::spawn(teller.tell(heard));
            let code = all_ends(lives).await;
            join(threads);
            teller.await?;
            if let Ok(directory) = directory {
                directory.remove().await;
            }
            Ok(code)
        })
    }
}

fn spawn_loop<T: Transport + Send + 'static>(
    me: Rank,
    part: super::rank::LoopPart,
    transport: T,
    span: tracing::Span,
) -> std::io::Result<JoinHandle<LoopEnd<T>>> {
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

fn join<T>(threads: Vec<JoinHandle<LoopEnd<T>>>) {
    for thread in threads {
        if thread.join().is_err() {
            tracing::error!("a frame loop panicked");
        }
    }
}
