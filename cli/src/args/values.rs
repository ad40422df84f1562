//! What the values of flags may be, and how they are read. Pure: nothing here looks at the host.

#[cfg(test)]
mod tests;

use std::ffi::{OsStr, OsString};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use mvpnet_node::frame_loop::{CapturedFrames, Progress};
use mvpnet_qemu_driver::AccelRequest;
use mvpnet_qemu_driver::image::{ImageSpec, ImageSpecError};
use mvpnet_qemu_driver::readiness::ReadyWhen;
use mvpnet_settings::binary_size;
use mvpnet_switch::{MacPolicy, World};
use thiserror::Error;

use super::guests::ready_cloud_init;
use crate::logs::{Level, LevelError, LogFilter, LogFilterError};

/// MTUs of the guest network. 576 is what every IPv4 host must be able to take (RFC 791 section 3.2); 65535 is the
/// largest that virtio-net can announce (virtio 1.2 section 5.1.4) and that qemu's netdevs were seen to carry.
pub const MTU: RangeInclusive<u32> = 576..=65535;

/// The longest job name, in bytes: it is part of file and socket names.
pub const JOB_NAME_MAX: usize = 64;

const MIB: u64 = 1 << 20;

/// The most memory of a guest, in MiB, and of the log buffer, in bytes: what is larger is a slip.
const MEMORY_MIB_MAX: u64 = 64 << 20;
const LOG_BUFFER_MAX: u64 = 1 << 30;

/// The largest disk: what is larger is a slip.
const DISK_MAX: u64 = 1 << 50;

/// The longest time, in seconds: ten years.
const SECONDS_MAX: f64 = 10.0 * 365.0 * 86400.0;

/// Which of qemu's netdevs the guests' frames go through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NetKind {
    /// The fastest that is known to work.
    Auto,
    /// A stream of frames with their lengths.
    Stream,
    /// A datagram per frame.
    Dgram,
    /// The guest's own memory.
    VhostUser,
}

impl NetKind {
    /// As it is typed, and as qemu has it.
    pub const fn name(self) -> &'static str {
        match self {
            NetKind::Auto => "auto",
            NetKind::Stream => "stream",
            NetKind::Dgram => "dgram",
            NetKind::VhostUser => "vhost-user",
        }
    }
}

/// Where a rank's capture goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Capture {
    /// Standard output.
    Stdout,
    /// A file, or a directory for one file per rank.
    Path(PathBuf),
}

/// Why a value is none.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ValueError {
    /// Something else is expected.
    #[error("expected {0}")]
    Expected(&'static str),
    /// Too small or too large.
    #[error("must be between {min} and {max}{unit}")]
    Range {
        /// The least.
        min: u64,
        /// The most.
        max: u64,
        /// With a space in front, if there is one.
        unit: &'static str,
    },
    /// Names without text.
    #[error("must not be empty")]
    Empty,
    /// Not a flag's value but the next flag.
    #[error("needs a value, and this looks like a flag (write ./{0} if it is a file)")]
    LooksLikeFlag(String),
    /// A level that is none.
    #[error(transparent)]
    Level(#[from] LevelError),
    /// A filter that is none.
    #[error(transparent)]
    Filter(#[from] LogFilterError),
    /// An image that is none.
    #[error(transparent)]
    Image(#[from] ImageSpecError),
}

const TEXT: ValueError = ValueError::Expected("text in UTF-8 without control characters");

/// A value that is text.
pub fn text(value: &OsStr) -> Result<&str, ValueError> {
    let text = value.to_str().ok_or(TEXT)?;
    if text.is_empty() {
        return Err(ValueError::Empty);
    }
    if text.chars().any(char::is_control) {
        return Err(TEXT);
    }
    Ok(text)
}

/// A value that may be any bytes, a path or an image.
pub fn raw(value: &OsStr) -> Result<OsString, ValueError> {
    if value.is_empty() { Err(ValueError::Empty) } else { Ok(value.to_owned()) }
}

/// `--image`.
pub fn image(value: &OsStr) -> Result<ImageSpec, ValueError> {
    Ok(ImageSpec::parse(value)?)
}

/// A path.
pub fn path(value: &OsStr) -> Result<PathBuf, ValueError> {
    raw(value).map(PathBuf::from)
}

/// `1`, `0` and their names.
pub fn switch(value: &OsStr) -> Result<bool, ValueError> {
    match text(value)?.to_ascii_lowercase().as_str() {
        "1" | "on" | "yes" | "true" => Ok(true),
        "0" | "off" | "no" | "false" => Ok(false),
        _ => Err(ValueError::Expected("1 (on) or 0 (off)")),
    }
}

/// `--kvm`.
pub fn kvm(value: &OsStr) -> Result<AccelRequest, ValueError> {
    if text(value)?.eq_ignore_ascii_case("auto") {
        return Ok(AccelRequest::Auto);
    }
    match switch(value) {
        Ok(true) => Ok(AccelRequest::Kvm),
        Ok(false) => Ok(AccelRequest::Tcg),
        Err(_) => Err(ValueError::Expected("1 (need KVM), 0 (software emulation) or auto")),
    }
}

/// `--net`.
pub fn net(value: &OsStr) -> Result<NetKind, ValueError> {
    let text = text(value)?;
    const KINDS: [NetKind; 4] = [NetKind::Auto, NetKind::VhostUser, NetKind::Stream, NetKind::Dgram];
    match KINDS.into_iter().find(|kind| text.eq_ignore_ascii_case(kind.name())) {
        Some(kind) => Ok(kind),
        None if text.parse::<u32>().is_ok() => Err(ValueError::Expected(
            "auto, vhost-user, stream or dgram; the number of guests is mpirun's -n, or -N after `mvpnet up`",
        )),
        None => Err(ValueError::Expected("auto, vhost-user, stream or dgram")),
    }
}

/// `--progress`.
pub fn progress(value: &OsStr) -> Result<Progress, ValueError> {
    match text(value)?.to_ascii_lowercase().as_str() {
        "adaptive" => Ok(Progress::Adaptive),
        "spin" => Ok(Progress::Spin),
        _ => Err(ValueError::Expected("adaptive or spin")),
    }
}

/// `--capture-frames`.
pub fn capture_frames(value: &OsStr) -> Result<CapturedFrames, ValueError> {
    match text(value)?.to_ascii_lowercase().as_str() {
        "sent" => Ok(CapturedFrames::AsSent),
        "wire" => Ok(CapturedFrames::AsOnAWire),
        _ => Err(ValueError::Expected("sent or wire")),
    }
}

/// `--mac-policy`.
pub fn mac_policy(value: &OsStr) -> Result<MacPolicy, ValueError> {
    match text(value)?.to_ascii_lowercase().as_str() {
        "learn" => Ok(MacPolicy::Learn),
        "strict" => Ok(MacPolicy::Strict),
        _ => Err(ValueError::Expected("learn or strict")),
    }
}

/// `--ready`.
pub fn ready(value: &OsStr) -> Result<ReadyWhen, ValueError> {
    let text = text(value)?;
    match text.split_once(':') {
        None if text.eq_ignore_ascii_case("ssh") => Ok(ReadyWhen::Ssh),
        None if text.eq_ignore_ascii_case("none") => Ok(ReadyWhen::Started),
        None if text.eq_ignore_ascii_case("cloud-init") => Ok(ready_cloud_init()),
        Some((kind, what)) if kind.eq_ignore_ascii_case("console") && !what.is_empty() => {
            Ok(ReadyWhen::Console(what.to_owned()))
        }
        _ => Err(ValueError::Expected("ssh, cloud-init, console:TEXT or none")),
    }
}

/// `--capture`.
pub fn capture(value: &OsStr) -> Result<Capture, ValueError> {
    if value == "-" { Ok(Capture::Stdout) } else { path(value).map(Capture::Path) }
}

/// `--log-level`.
pub fn level(value: &OsStr) -> Result<Level, ValueError> {
    Ok(text(value)?.parse()?)
}

/// `--log-filter`.
pub fn filter(value: &OsStr) -> Result<LogFilter, ValueError> {
    Ok(text(value)?.parse()?)
}

/// `--job`.
pub fn job(value: &OsStr) -> Result<String, ValueError> {
    let text = text(value)?;
    if text.contains('/') {
        return Err(ValueError::Expected("a name without `/`, since it goes into file names"));
    }
    if text.len() > JOB_NAME_MAX {
        return Err(ValueError::Expected(
            "a name of at most 64 bytes, since it goes into file and socket names",
        ));
    }
    Ok(text.to_owned())
}

/// `--domain`.
pub fn domain(value: &OsStr) -> Result<String, ValueError> {
    let text = text(value)?;
    if text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_')) {
        Ok(text.to_owned())
    } else {
        Err(ValueError::Expected(
            "a domain name of letters, digits, `.`, `-` and `_`; repeat the flag for more",
        ))
    }
}

/// `--cpu` and `--smp`: what qemu takes, as one word.
pub fn word(value: &OsStr) -> Result<String, ValueError> {
    let text = text(value)?;
    if text.contains(char::is_whitespace) {
        return Err(ValueError::Expected("one word, as qemu takes it"));
    }
    Ok(text.to_owned())
}

/// `--smp`: `N` or `[cpus=]N,sockets=…`; qemu checks the rest.
pub fn smp(value: &OsStr) -> Result<String, ValueError> {
    const EXPECTED: ValueError =
        ValueError::Expected("a number of CPUs, or a topology like 4,sockets=2,cores=2");
    let word = word(value).map_err(|_| EXPECTED)?;
    let first = word.split(',').next().unwrap_or_default();
    let number = first.strip_prefix("cpus=").unwrap_or(first);
    let counts = number.parse::<u32>().is_ok_and(|cpus| cpus > 0);
    if counts || (first.contains('=') && !first.starts_with("cpus=")) { Ok(word) } else { Err(EXPECTED) }
}

/// `--append`: a kernel's command line.
pub fn kernel_command_line(value: &OsStr) -> Result<String, ValueError> {
    if value.is_empty() { Ok(String::new()) } else { text(value).map(str::to_owned) }
}

/// `--mtu`.
pub fn mtu(value: &OsStr) -> Result<u32, ValueError> {
    let number = text(value)?.parse::<u32>();
    let mtu = number.map_err(|_| ValueError::Expected("a number of bytes"))?;
    if MTU.contains(&mtu) {
        Ok(mtu)
    } else {
        Err(ValueError::Range { min: u64::from(*MTU.start()), max: u64::from(*MTU.end()), unit: " bytes" })
    }
}

/// A rank's number.
pub fn number(value: &OsStr) -> Result<u32, ValueError> {
    text(value)?.parse().map_err(|_| ValueError::Expected("a rank's number"))
}

/// `--ranks`: how many.
pub fn ranks(value: &OsStr) -> Result<u32, ValueError> {
    let number = text(value)?.parse::<u32>();
    let ranks = number.map_err(|_| ValueError::Expected("a number of guests"))?;
    match World::new(ranks) {
        Ok(world) => Ok(world.size()),
        Err(_) => Err(ValueError::Range { min: 1, max: u64::from(World::MAX_SIZE), unit: " guests" }),
    }
}

/// `--memory`, in MiB: a plain number, or one with a unit.
pub fn memory_mib(value: &OsStr) -> Result<u32, ValueError> {
    let bytes = binary_size(text(value)?, MIB)
        .ok_or(ValueError::Expected("a size: MiB as a plain number, or with a unit like 512M or 4G"))?;
    let mib = bytes / MIB;
    match u32::try_from(mib) {
        Ok(whole) if (1..=MEMORY_MIB_MAX).contains(&mib) && bytes % MIB == 0 => Ok(whole),
        _ => Err(ValueError::Range { min: 1, max: MEMORY_MIB_MAX, unit: " MiB, in whole MiB" }),
    }
}

/// `--disk-size`, in bytes, with a unit: whole KiB, which are whole sectors of any size.
pub fn disk_size(value: &OsStr) -> Result<u64, ValueError> {
    const EXPECTED: ValueError = ValueError::Expected("a size with a unit, like 512M or 20G");
    let text = text(value)?;
    if text.ends_with(|last: char| last.is_ascii_digit()) {
        return Err(EXPECTED);
    }
    let bytes = binary_size(text, 1).ok_or(EXPECTED)?;
    match bytes {
        bytes if bytes % 1024 == 0 && (1 << 20..=DISK_MAX).contains(&bytes) => Ok(bytes),
        _ => Err(ValueError::Expected("a size between 1M and 1024T, in whole KiB")),
    }
}

/// `--log-buffer`, in bytes: a plain number, or one with a unit.
pub fn log_buffer(value: &OsStr) -> Result<usize, ValueError> {
    let bytes =
        binary_size(text(value)?, 1).ok_or(ValueError::Expected("a number of bytes, or a size like 64K"))?;
    match usize::try_from(bytes) {
        Ok(bytes) if bytes as u64 <= LOG_BUFFER_MAX => Ok(bytes),
        _ => Err(ValueError::Range { min: 0, max: LOG_BUFFER_MAX, unit: " bytes" }),
    }
}

/// A time: seconds, or with a unit (`1.5`, `90s`, `2m`, `1h`, `500ms`).
pub fn seconds(value: &OsStr) -> Result<Duration, ValueError> {
    const EXPECTED: ValueError = ValueError::Expected("a number of seconds, or a time like 90s, 5m or 1h");
    let text = text(value)?;
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let number = text[..digits].parse::<f64>().map_err(|_| EXPECTED)?;
    let unit = match &text[digits..] {
        "" | "s" => 1.0,
        "ms" => 1e-3,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        _ => return Err(EXPECTED),
    };
    Duration::try_from_secs_f64((number * unit).min(SECONDS_MAX)).map_err(|_| EXPECTED)
}

/// `--ssh-timeout`.
pub fn positive_seconds(value: &OsStr) -> Result<Duration, ValueError> {
    let time = seconds(value)?;
    if time.is_zero() {
        return Err(ValueError::Expected("more than 0 seconds; --ready none does not wait for guests"));
    }
    Ok(time)
}
