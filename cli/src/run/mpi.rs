//! `mpirun … mvpnet`: this process is one rank of an MPI job. MPI and the frame loop stay on the main thread
//! (`MPI_THREAD_FUNNELED`), the control plane has a thread of its own.

use std::os::unix::process::parent_id;
use std::path::Path;
use std::process::ExitCode;
use std::thread::JoinHandle;
use std::time::Duration;

use mvpnet_node::control::JobDirectory;
use mvpnet_node::job::{Numbers, Problem, RankEnd, RankSetup, Watch, listen, live};
use mvpnet_qemu_driver::supervise::Leftover;
use mvpnet_transports::Transport;
use mvpnet_transports::launcher::{LauncherKind, launcher_env};
use mvpnet_transports::mpi::{InitError, Leftovers, MpiConfig, MpiTransport, leftovers};
use tokio::sync::mpsc;
use tracing::Instrument;

use super::keys::Briefing;
use super::plan::Seat;
use super::problem::usage;
use super::rank::{RankParts, placed};
use super::slurm::{self, Slurm};
use super::ssh_files::{Guests, SshFiles};
use super::tell::Teller;
use super::{FAILURE, complain, digests, exit_code, siblings};
use crate::args::{HostDefaults, Options, RankOptions, SlurmEnv, SlurmFacts, Span, Usage, report_usage};
use crate::logs;

/// How long what is in flight between ranks may take to arrive at the end.
const DRAIN: Duration = Duration::from_secs(3);

/// How long ranks may take to find out by themselves what all of them find wrong with MPI.
const SIBLINGS: Duration = Duration::from_secs(2);

/// Runs this process's rank to the end of the job.
pub fn run(options: &Options) -> ExitCode {
    // Before MPI: whatever is wrong with the command line is wrong on every rank, and none has to be told.
    let launcher = launcher_env();
    if let Some(size) = launcher.and_then(|launcher| launcher.size)
        && let Err(error) = options.for_rank(
            launcher.map_or(0, |launcher| launcher.rank),
            Span::whole(size),
            &HostDefaults::read(),
        )
    {
        return report_usage(&error, launcher.map(|launcher| launcher.rank));
    }
    // One asks for all: a batch system does not like to be asked by thousands.
    let asks = launcher.is_none_or(|launcher| launcher.rank == 0);
    let facts = SlurmEnv::read().filter(|_| asks).map(|env| slurm::facts(&env));
    let joined = MpiTransport::init(MpiConfig { shm: options.shared.shm, ..MpiConfig::default() }).and_then(
        |transport| {
            let slurm = slurm_of_all(&transport, facts)?;
            Ok((transport, slurm))
        },
    );
    let (transport, slurm) = match joined {
        Ok(joined) => joined,
        Err(error) => return no_mpi(&error, launcher.map(|launcher| launcher.rank)),
    };
    let (me, world) = (transport.me(), transport.world());
    let mut options = options.clone();
    options.shared.job = options.shared.job.take().or_else(|| slurm.as_ref().map(Slurm::name));
    let ranks = transport.neighbours().iter().map(|rank| rank.index()).collect();
    let portion = slurm.as_ref().map(|slurm| slurm.portion(ranks, false));
    let host = HostDefaults { portion, ..HostDefaults::read() };
    let planned = match options.for_rank(me.index(), Span::whole(world.size()), &host) {
        Ok(planned) => planned,
        Err(error) => return close_with_usage(transport, &error),
    };
    // A rank that cannot log tells rank 0, as it does with everything else that is wrong with it alone.
    let (guard, found) = match logs::start(&[planned.rank_log()], options.shared.stderr_level) {
        Ok(guard) => (Some(guard), None),
        Err(error) => (None, Some(usage(Usage::from(error)))),
    };
    if let (Some(slurm), Some(portion), 0) = (&slurm, &host.portion, me.index()) {
        slurm.tell(&options, portion);
        if launcher.is_none() {
            slurm.tell_of_solitude();
        }
    }
    let housemates = housemates(&options, &transport, &host);
    let found = found.or_else(|| digests::check(&housemates, world).err().map(usage));
    let ours = world.ranks().map(|rank| options.is_told(rank.index())).collect();
    let code = run_rank(transport, planned, ours, &housemates, found, slurm);
    drop(guard);
    code
}

/// What rank 0 knows of the allocation, if there is one, and what this process knows itself.
fn slurm_of_all(transport: &MpiTransport, mine: Option<SlurmFacts>) -> Result<Option<Slurm>, InitError> {
    let mine = serde_json::to_vec(&mine).expect("facts are numbers");
    let facts: Option<SlurmFacts> = serde_json::from_slice(&transport.share(mine)?).unwrap_or_default();
    Ok(SlurmEnv::read().map(|env| Slurm::new(env, facts.unwrap_or_default())))
}

/// Says why there is no MPI: once for the job where all ranks find the same, each rank for itself otherwise.
fn no_mpi(error: &InitError, me: Option<u32>) -> ExitCode {
    let of_job = matches!(
        error,
        InitError::Launcher(_) | InitError::NoPmi(_) | InitError::Threads { .. } | InitError::World(_)
    );
    match me {
        Some(1..) if of_job => return ExitCode::SUCCESS,
        Some(me) if !of_job => complain(&format!("rank {me}: {error}")),
        _ => complain(&error.to_string()),
    }
    if of_job {
        siblings::wait_until_gone(SIBLINGS);
    }
    exit_code(FAILURE)
}

fn close_with_usage(transport: MpiTransport, error: &Usage) -> ExitCode {
    let code = report_usage(error, Some(transport.me().index()));
    // All ranks come to the same error.
    let _ = transport.close(DRAIN, crate::args::USAGE_EXIT_CODE.into());
    code
}

/// The options of all ranks of this host, for the first of them.
fn housemates(options: &Options, transport: &MpiTransport, host: &HostDefaults) -> Vec<RankOptions> {
    let ranks = transport.neighbours();
    if ranks.first() != Some(&transport.me()) {
        return Vec::new();
    }
    let span = Span::whole(transport.world().size());
    ranks.iter().filter_map(|rank| options.for_rank(rank.index(), span, host).ok()).collect()
}

fn run_rank(
    transport: MpiTransport,
    options: RankOptions,
    ours: Vec<bool>,
    housemates: &[RankOptions],
    found: Option<Problem>,
    slurm: Option<Slurm>,
) -> ExitCode {
    let (me, world) = (transport.me(), transport.world());
    let leftovers = mpi_leftovers();
    let span = tracing::info_span!("rank", rank = me.index());
    let _entered = span.clone().entered();
    tracing::info!("rank {me} of {} with {}", world.size(), transport.library());
    let prepared = RankParts::prepare(
        options.clone(),
        Seat::alone(me, world),
        transport.name(),
        leftovers.clone(),
        housemates,
        found,
    );
    let parts = match prepared {
        Ok(parts) => parts,
        Err(error) => {
            complain(&format!("rank {me}: {error}"));
            std::process::exit(FAILURE);
        }
    };
    let guests = Guests { world, numbers: Numbers::whole(world), ours, user: options.shared.user.clone() };
    let way_in = WayIn { guests, briefing: parts.briefing().cloned() };
    let notes = parts.notes();
    let (notices, heard) = mpsc::unbounded_channel();
    let (wish, wishes) = mpsc::unbounded_channel();
    let host = nix::unistd::gethostname().unwrap_or_default().to_string_lossy().into_owned();
    let (loop_part, setup) = parts.split(host, wishes, (me.index() == 0).then_some(notices));
    // srun does not care for a rank that is lost; every process of the job can be asked.
    let lifeline = launcher_env().is_some_and(|launcher| launcher.kind == LauncherKind::Slurm);
    let setup = RankSetup { answers: true, lifeline, ..setup };
    let control = spawn_control(
        setup,
        wish,
        Teller::new(world, Numbers::whole(world), &options).with_notes(notes),
        heard,
        way_in,
        Outside { exit_on_eof: options.shared.exit_on_eof, slurm },
        span,
    );
    let end = loop_part.run(transport);
    let rank_end = match control.map(JoinHandle::join) {
        Ok(Ok(rank_end)) => rank_end,
        _ => RankEnd { exit_code: FAILURE, broken: true },
    };
    if rank_end.broken || end.failure.is_some() {
        // MPI cannot be finalised without the other ranks.
        sweep_up(&leftovers);
        std::process::exit(rank_end.exit_code.max(FAILURE));
    }
    // Rank 0 speaks for the job: mpirun passes its code on, and complains about every other that is not zero.
    let code = if me.index() == 0 { rank_end.exit_code } else { 0 };
    let report = end.transport.close(DRAIN, code);
    tracing::debug!("{report:?}");
    sweep_up(&leftovers);
    exit_code(code)
}

/// What this rank's MPI leaves on the host when the rank is killed.
fn mpi_leftovers() -> Vec<Leftover> {
    let Leftovers { files, directories, launcher } = leftovers();
    // OpenMPI has all jobs of a user in one directory, which goes with the last of them.
    let parents = directories.iter().filter_map(|directory| directory.parent()).map(Path::to_path_buf);
    let parents: Vec<Leftover> = parents.map(Leftover::EmptyDir).collect();
    let orphan = |path| Leftover::Orphan { path, launcher };
    parents.into_iter().chain(files.into_iter().chain(directories).map(orphan)).collect()
}

/// Removes what only the launcher would have removed, if it was killed.
fn sweep_up(leftovers: &[Leftover]) {
    let orphaned = leftovers.iter().any(|leftover| match leftover {
        Leftover::Orphan { launcher, .. } => *launcher != parent_id(),
        _ => false,
    });
    if orphaned {
        for leftover in leftovers.iter().rev() {
            if let Err(error) = leftover.remove() {
                tracing::warn!("something of MPI is left: {error}");
            }
        }
    }
}

/// How ssh on this host gets into the guests.
struct WayIn {
    guests: Guests,
    /// Rank 0's, which knows it before the others.
    briefing: Option<Briefing>,
}

impl WayIn {
    /// Has it written down: at rank 0 by who hears how far the guests are, at others once, when rank 0 has said what the
    /// keys are.
    fn lay(self, directory: &Path, setup: &mut RankSetup, teller: Teller) -> Teller {
        let Self { guests, briefing } = self;
        if setup.chief.is_some() {
            return teller.with_ssh_files(SshFiles::new(directory, guests, briefing.as_ref()));
        }
        let directory = directory.to_owned();
        setup.briefed = Some(Box::new(move |text| {
            let briefing = text
                .and_then(|text| Briefing::read(text).inspect_err(|error| tracing::error!("{error}")).ok());
            let files = SshFiles::new(&directory, guests, briefing.as_ref());
            if let Err(error) = files.write(&[]) {
                tracing::warn!("`mvpnet ssh` will not work on this host: {error}");
            }
        }));
        teller
    }
}

/// What from outside may end the job.
struct Outside {
    exit_on_eof: bool,
    slurm: Option<Slurm>,
}

/// Starts the thread of the control plane.
fn spawn_control(
    setup: RankSetup,
    wish: mpsc::UnboundedSender<mvpnet_node::job::EndWish>,
    teller: Teller,
    heard: mpsc::UnboundedReceiver<mvpnet_node::job::Notice>,
    way_in: WayIn,
    outside: Outside,
    span: tracing::Span,
) -> std::io::Result<JoinHandle<RankEnd>> {
    std::thread::Builder::new().name("control".into()).spawn(move || {
        // The frame loop's sleeps are to end on time (prctl(2), PR_SET_TIMERSLACK), which is inherited; guests
        // have the usual 50 µs.
        let _ = nix::sys::prctl::set_timerslack(50_000);
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => {
                complain(&error.to_string());
                std::process::exit(FAILURE);
            }
        };
        runtime.block_on(async move {
            let is_chief = setup.chief.is_some();
            let directory = JobDirectory::make().await;
            let mut setup = placed(setup, &directory);
            let teller = match &directory {
                Ok(directory) => way_in.lay(directory.path(), &mut setup, teller),
                Err(_) => teller,
            };
            let Outside { exit_on_eof, slurm } = outside;
            let kill_wait = slurm.as_ref().map(Slurm::kill_wait);
            let watch = Watch { stdin: exit_on_eof && is_chief, parent: true, kill_wait };
            if let Err(error) = listen(watch, &wish) {
                complain(&format!("signals cannot be handled: {error}"));
            }
            if let Some((slurm, guest)) = slurm.zip(setup.guest.as_ref()).filter(|_| is_chief) {
                tokio::spawn(slurm.watch_the_time(guest.ladder.powerdown_grace, wish));
            }
            let teller = tokio::spawn(teller.tell(heard));
            let end = live(setup).instrument(span).await;
            if is_chief {
                let _ = teller.await;
            }
            if let Ok(directory) = directory {
                directory.remove().await;
            }
            end
        })
    })
}
