//! From flags as typed to [`Options`], which hold for all ranks, and from those to [`RankOptions`], which hold
//! for one. Both are pure; what depends on the host is in `host` and `check`.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::time::Duration;

use mvpnet_node::frame_loop::{CapturedFrames, Progress};
use mvpnet_qemu_driver::image::ImageSpec;
use mvpnet_qemu_driver::readiness::ReadyWhen;
use mvpnet_qemu_driver::{Accel, AccelRequest};
use mvpnet_switch::{Config, MacPolicy};

use super::flags::{Flags, Launch, Up};
use super::guests::{self, CloudInit, GuestOptions, Share};
use super::host::HostDefaults;
use mvpnet_switch::RankList;

use super::per_rank::{PerRank, split};
use super::tunnel::{Reach, Span};
use super::usage::Usage;
use super::values::{self, Capture, NetKind, ValueError};
use crate::logs::{Level, LogFilter, RankLog};

/// How long guests may take to shut down, with KVM and in software emulation.
pub const GRACE: Duration = Duration::from_secs(20);
/// See [`GRACE`].
pub const GRACE_EMULATED: Duration = Duration::from_secs(60);

/// What holds for the job as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shared {
    /// The application and its arguments; empty: none.
    pub application: Vec<OsString>,
    /// `--job`.
    pub job: Option<String>,
    /// `--net`.
    pub net: NetKind,
    /// `--kvm`.
    pub accel: AccelRequest,
    /// `--wrapper`: see [`super::check::wrapper_warning`].
    pub wrapper: Option<OsString>,
    /// `--qemu`.
    pub qemu: OsString,
    /// `--run-dir`.
    pub run_dir: Option<PathBuf>,
    /// Whether images that say nothing of it get overlays: `--overlay`, or what asks for them.
    pub overlay: bool,
    /// `--persist`.
    pub persist: Option<PathBuf>,
    /// `--digests`.
    pub digests: Option<PathBuf>,
    /// `--socket-dir`.
    pub socket_dir: Option<PathBuf>,
    /// `--tftp-dir`.
    pub tftp_dir: Option<PathBuf>,
    /// `--user`, else the host's user.
    pub user: Option<String>,
    /// `--domain`, else the host's search domains.
    pub domains: Vec<String>,
    /// `--log-dir`.
    pub log_dir: PathBuf,
    /// `--global-stats`.
    pub global_stats: bool,
    /// `--stderr-level`.
    pub stderr_level: Level,
    /// `--exit-on-eof`.
    pub exit_on_eof: bool,
    /// `--ignore-shutdown-address`.
    pub ignore_shutdown_address: bool,
    /// `--app-output`.
    pub app_output: bool,
    /// `--ssh-timeout`; none: not given, so to be chosen by how guests run.
    pub ssh_timeout: Option<Duration>,
    /// `--grace`; none: not given, see [`Shared::grace`].
    pub grace: Option<Duration>,
    /// `--mtu`, if it was given.
    pub mtu: Option<u32>,
    /// `--mac-policy`.
    pub mac_policy: MacPolicy,
    /// Not `--no-offload`.
    pub offload: bool,
    /// Not `--no-shm`.
    pub shm: bool,
    /// `--progress`.
    pub waiting: Progress,
    /// `--capture-frames`.
    pub captured_frames: CapturedFrames,
    /// Whether progress is to be shown.
    pub progress: bool,
    /// What guests are told.
    pub guests: GuestOptions,
}

impl Shared {
    /// The MTU of the guests' network.
    pub fn mtu(&self) -> u32 {
        self.mtu.unwrap_or(Config::DEFAULT_MTU)
    }

    /// How long guests may take to shut down.
    pub fn grace(&self, accel: Accel) -> Duration {
        self.grace.unwrap_or(match accel {
            Accel::Kvm => GRACE,
            Accel::Tcg => GRACE_EMULATED,
        })
    }
}

/// All flags of a job, read and checked one by one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// What holds for the job as a whole; `user` and `domains` as given by flags only.
    pub shared: Shared,
    pub(super) images: PerRank<ImageSpec>,
    pub(super) kernel: PerRank<PathBuf>,
    pub(super) initrd: PerRank<PathBuf>,
    pub(super) append: PerRank<String>,
    pub(super) capture: PerRank<Capture>,
    pub(super) cloud_init: PerRank<CloudInit>,
    pub(super) shares: PerRank<Share>,
    disk_size: PerRank<u64>,
    pub(super) memory_mib: PerRank<u32>,
    cpu: PerRank<String>,
    pub(super) smp: PerRank<String>,
    pub(super) ready: PerRank<ReadyWhen>,
    console_log: PerRank<bool>,
    log: PerRank<bool>,
    wrapper_log: PerRank<bool>,
    log_buffer: PerRank<usize>,
    log_level: PerRank<Level>,
    log_filter: PerRank<LogFilter>,
}

/// Every value as it is for one rank.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RankOptions {
    /// Which one.
    pub rank: u32,
    /// Of how many.
    pub world: u32,
    /// What holds for all ranks.
    pub shared: Shared,
    /// `--image`, in the order of the disks.
    pub images: Vec<ImageSpec>,
    /// `--disk-size`, in bytes.
    pub disk_size: Option<u64>,
    /// `--cloud-init`.
    pub cloud_init: Option<CloudInit>,
    /// Whether the guest of any rank here may get a configuration of ours.
    pub anybody_is_told: bool,
    /// `--share`, in the order given.
    pub shares: Vec<Share>,
    /// `--kernel`.
    pub kernel: Option<PathBuf>,
    /// `--initrd`.
    pub initrd: Option<PathBuf>,
    /// `--append`.
    pub append: Option<String>,
    /// `--memory`.
    pub memory_mib: u32,
    /// `--cpu`; none: `host` with KVM, `max` without.
    pub cpu: Option<String>,
    /// `--smp`.
    pub smp: String,
    /// `--smp` as it was given for all ranks.
    pub smp_of_all: PerRank<String>,
    /// `--ready`.
    pub ready: ReadyWhen,
    /// `--console-log`.
    pub console_log: bool,
    /// `--log`.
    pub log: bool,
    /// `--wrapper-log`.
    pub wrapper_log: bool,
    /// `--log-buffer`.
    pub log_buffer: usize,
    /// `--log-level`.
    pub log_level: Level,
    /// `--log-filter`.
    pub log_filter: LogFilter,
    /// `--capture`.
    pub capture: Option<Capture>,
}

impl Up {
    /// Which ranks of what network, and what they do.
    pub(crate) fn read(self) -> Result<(Reach, Options), Usage> {
        let ranks = one("--ranks", &self.ranks, values::ranks)?;
        let options = Options::read(self.launch)?.with_overlays();
        let reach = Reach::read(&self.tunnel, ranks.ok_or(Usage::NoRanks)?)?;
        Ok((reach, options))
    }
}

impl Options {
    pub(crate) fn read(launch: Launch) -> Result<Self, Usage> {
        let Launch { mut flags, application, .. } = launch;
        let options = Self {
            images: per_rank("--image", &mut flags.image, values::image)?,
            kernel: per_rank("--kernel", &mut flags.kernel, values::path)?,
            initrd: per_rank("--initrd", &mut flags.initrd, values::path)?,
            append: per_rank("--append", &mut flags.append, values::kernel_command_line)?,
            capture: per_rank("--capture", &mut flags.capture, values::capture)?,
            cloud_init: per_rank("--cloud-init", &mut flags.cloud_init, guests::cloud_init)?,
            shares: per_rank("--share", &mut flags.guests.share, guests::share)?,
            disk_size: per_rank("--disk-size", &mut flags.disk_size, values::disk_size)?,
            memory_mib: per_rank("--memory", &mut flags.memory, values::memory_mib)?,
            cpu: per_rank("--cpu", &mut flags.cpu, values::word)?,
            smp: per_rank("--smp", &mut flags.smp, values::smp)?,
            ready: per_rank("--ready", &mut flags.ready, values::ready)?,
            console_log: per_rank("--console-log", &mut flags.console_log, values::switch)?,
            log: per_rank("--log", &mut flags.log, values::switch)?,
            wrapper_log: per_rank("--wrapper-log", &mut flags.wrapper_log, values::switch)?,
            log_buffer: per_rank("--log-buffer", &mut flags.log_buffer, values::log_buffer)?,
            log_level: per_rank("--log-level", &mut flags.log_level, values::level)?,
            log_filter: per_rank("--log-filter", &mut flags.log_filter, values::filter)?,
            shared: shared(&flags, application)?,
        };
        options.check_something_to_boot()?;
        Ok(options)
    }

    /// What `mvpnet up` does unless told otherwise: guests of one host that share an image are the rule there.
    fn with_overlays(mut self) -> Self {
        self.shared.overlay |= self.shared.run_dir.is_none();
        self
    }

    /// The values for one rank of those in `span`, after checking them for all of them: so every rank of a job comes
    /// to the same error.
    pub fn for_rank(&self, rank: u32, span: Span, host: &HostDefaults) -> Result<RankOptions, Usage> {
        self.check(span)?;
        let mut shared = self.shared.clone();
        shared.user = shared.user.or_else(|| host.user.clone());
        if shared.domains.is_empty() {
            shared.domains.clone_from(&host.domains);
        }
        let mut log_filter = LogFilter::default();
        self.log_filter.all_of(rank).for_each(|later| log_filter.extend(later));
        Ok(RankOptions {
            rank,
            world: span.world,
            shared,
            images: self.images.all_of(rank).cloned().collect(),
            disk_size: self.disk_size.of(rank).copied(),
            cloud_init: self.cloud_init.of(rank).cloned(),
            anybody_is_told: span.ranks().any(|rank| self.may_be_told(rank)),
            shares: self.shares.all_of(rank).cloned().collect(),
            kernel: self.kernel.of(rank).cloned(),
            initrd: self.initrd.of(rank).cloned(),
            append: self.append.of(rank).cloned(),
            memory_mib: self.memory_of(rank, host),
            cpu: self.cpu.of(rank).cloned(),
            smp: self.smp_of(rank, host),
            smp_of_all: self.smp.clone(),
            ready: self.ready.of(rank).cloned().unwrap_or_default(),
            console_log: self.console_log.of(rank).copied().unwrap_or(false),
            log: self.log.of(rank).copied().unwrap_or(false),
            wrapper_log: self.wrapper_log.of(rank).copied().unwrap_or(false),
            log_buffer: self.log_buffer.of(rank).copied().unwrap_or(4096),
            log_level: self.log_level.of(rank).copied().unwrap_or(Level::Warn),
            log_filter,
            capture: self.capture.of(rank).cloned(),
        })
    }

    pub(super) fn outside(&self, world: u32) -> Option<(&'static str, &RankList, u32)> {
        let found = [
            ("--image", self.images.outside(world)),
            ("--kernel", self.kernel.outside(world)),
            ("--initrd", self.initrd.outside(world)),
            ("--append", self.append.outside(world)),
            ("--capture", self.capture.outside(world)),
            ("--cloud-init", self.cloud_init.outside(world)),
            ("--share", self.shares.outside(world)),
            ("--disk-size", self.disk_size.outside(world)),
            ("--memory", self.memory_mib.outside(world)),
            ("--cpu", self.cpu.outside(world)),
            ("--smp", self.smp.outside(world)),
            ("--ready", self.ready.outside(world)),
            ("--console-log", self.console_log.outside(world)),
            ("--log", self.log.outside(world)),
            ("--wrapper-log", self.wrapper_log.outside(world)),
            ("--log-buffer", self.log_buffer.outside(world)),
            ("--log-level", self.log_level.outside(world)),
            ("--log-filter", self.log_filter.outside(world)),
        ];
        found.into_iter().find_map(|(flag, found)| found.map(|(list, rank)| (flag, list, rank)))
    }
}

impl RankOptions {
    /// The rank's log, for [`crate::logs::start`].
    pub fn rank_log(&self) -> RankLog {
        RankLog {
            rank: self.rank,
            job: self.shared.job.clone(),
            dir: self.shared.log_dir.clone(),
            to_file: self.log,
            level: self.log_level,
            filter: self.log_filter.clone(),
            buffer_bytes: self.log_buffer,
        }
    }
}

fn shared(flags: &Flags, application: Vec<OsString>) -> Result<Shared, Usage> {
    let domain = |value: &OsString| one_value("--domain", value, values::domain);
    let directory = |flag, value| one(flag, value, values::path);
    Ok(Shared {
        application,
        job: one("--job", &flags.job, values::job)?,
        net: one("--net", &flags.net, values::net)?.unwrap_or(NetKind::Auto),
        offload: !flags.no_offload,
        shm: !flags.no_shm,
        waiting: one("--progress", &flags.progress, values::progress)?.unwrap_or_default(),
        captured_frames: one("--capture-frames", &flags.capture_frames, values::capture_frames)?
            .unwrap_or_default(),
        accel: one("--kvm", &flags.kvm, values::kvm)?.unwrap_or(AccelRequest::Auto),
        wrapper: one("--wrapper", &flags.wrapper, values::raw)?,
        qemu: one("--qemu", &flags.qemu, values::raw)?.unwrap_or_else(|| "qemu-system-x86_64".into()),
        run_dir: directory("--run-dir", &flags.run_dir)?,
        overlay: flags.overlay || flags.persist.is_some(),
        persist: directory("--persist", &flags.persist)?,
        digests: directory("--digests", &flags.digests)?,
        socket_dir: directory("--socket-dir", &flags.socket_dir)?,
        tftp_dir: directory("--tftp-dir", &flags.tftp_dir)?,
        user: one("--user", &flags.user, guests::login_name)?,
        domains: flags.domain.iter().map(domain).collect::<Result<_, _>>()?,
        log_dir: directory("--log-dir", &flags.log_dir)?.unwrap_or_else(|| "/tmp".into()),
        global_stats: flags.global_stats,
        stderr_level: one("--stderr-level", &flags.stderr_level, values::level)?.unwrap_or(Level::Crit),
        exit_on_eof: flags.exit_on_eof,
        ignore_shutdown_address: flags.ignore_shutdown_address,
        app_output: flags.app_output,
        ssh_timeout: one("--ssh-timeout", &flags.ssh_timeout, values::positive_seconds)?,
        grace: one("--grace", &flags.grace, values::seconds)?,
        mtu: one("--mtu", &flags.mtu, values::mtu)?,
        mac_policy: one("--mac-policy", &flags.mac_policy, values::mac_policy)?.unwrap_or(MacPolicy::Learn),
        progress: !flags.no_progress,
        guests: GuestOptions::read(&flags.guests)?,
    })
}

/// Reads the value of a flag that holds for all ranks.
pub(crate) fn one<T>(
    flag: &'static str,
    value: &Option<OsString>,
    read: impl Fn(&OsStr) -> Result<T, ValueError>,
) -> Result<Option<T>, Usage> {
    value.as_ref().map(|value| one_value(flag, value, read)).transpose()
}

pub(super) fn one_value<T>(
    flag: &'static str,
    value: &OsString,
    read: impl Fn(&OsStr) -> Result<T, ValueError>,
) -> Result<T, Usage> {
    read(value).map_err(|problem| Usage::Value { flag, value: shown(value), problem })
}

pub(super) fn per_rank<T>(
    flag: &'static str,
    given: &mut Vec<OsString>,
    read: impl Fn(&OsStr) -> Result<T, ValueError>,
) -> Result<PerRank<T>, Usage> {
    let mut values = PerRank::default();
    for value in given.drain(..) {
        let (ranks, rest) =
            split(&value).map_err(|problem| Usage::RankList { flag, value: shown(&value), problem })?;
        let read = match looks_like_flag(flag, &ranks, rest) {
            true => Err(ValueError::LooksLikeFlag(shown(rest))),
            false => read(rest),
        };
        let problem = |problem| Usage::Value { flag, value: shown(&value), problem };
        values.push(ranks, read.map_err(problem)?);
    }
    Ok(values)
}

/// Values may begin with a dash, since rank lists may (`-5:VALUE`); without a rank list it is most likely the
/// next flag, and the value is missing.
fn looks_like_flag(flag: &str, ranks: &Option<RankList>, value: &OsStr) -> bool {
    let dash = value.as_encoded_bytes().first() == Some(&b'-');
    dash && ranks.is_none() && flag != "--append" && !(flag == "--capture" && value == "-")
}

/// A value in a message.
pub(super) fn shown(value: &OsStr) -> String {
    value.to_string_lossy().replace(char::is_control, "\u{fffd}")
}
