//! What the guests are told by cloud-init: the flags as typed, and what they say. Pure: whether directories and files are
//! there is looked at when a rank is planned.

#[cfg(test)]
mod tests;

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use clap::Args;
use mvpnet_qemu_driver::readiness::ReadyWhen;
use mvpnet_seed::{MpiUser, Volume};

use super::options::{one, one_value};
use super::usage::Usage;
use super::values::{self, ValueError};

/// Heading of `--help`.
pub(super) const CONFIGURATION: &str = "Guest configuration";

/// User ids that accounts of people have. Below are those of the system (Debian Policy §9.2.2), above it no user
/// (65534, 65535) and the ids that mean an error.
const UIDS: std::ops::RangeInclusive<u32> = 1000..=4_294_967_293;
const NO_UIDS: [u32; 2] = [65534, 65535];
/// That of the MPI user, if none is given.
const MPI_UID: u32 = 7777;

/// The longest login name (utmp(5), `UT_NAMESIZE`).
const NAME_MAX: usize = 32;

/// The flags as typed.
#[derive(Debug, Clone, Default, Args)]
pub struct GuestFlags {
    /// A second user for MPI with the same number in all guests, like mpihpc:7777 [default UID: 7777]
    ///
    /// It logs in from any guest to any other without a password, as the first user and root do. NFS wants users to
    /// have the same number everywhere.
    #[arg(long, value_name = "NAME[:UID]", help_heading = CONFIGURATION)]
    pub mpi_user: Option<OsString>,

    /// A directory that rank 0 exports by NFS and all other guests mount, at the same place
    ///
    /// It is made if the image has none, and belongs to the MPI user where there is one. Guests may boot in any order: the mount
    /// waits for rank 0. Images without NFS get it as a package, which needs a way to the Internet.
    #[arg(long, value_name = "PATH", help_heading = CONFIGURATION)]
    pub nfs: Option<OsString>,

    /// * A directory of the host in the guest [default GUESTDIR: the same path]; repeat for more
    ///
    /// With `,ro` behind it guests can only read. What guests write belongs to you on the host: your user in the guests gets the number
    /// that you have here, if nobody has it there already.
    #[arg(
        long,
        value_name = "HOSTDIR[:GUESTDIR][,ro]",
        allow_hyphen_values = true,
        help_heading = CONFIGURATION
    )]
    pub share: Vec<OsString>,

    /// Packages to install at the first boot, by their names in the guests' distribution; repeatable
    #[arg(long, value_name = "A,B,…", help_heading = CONFIGURATION)]
    pub packages: Vec<OsString>,

    /// An HTTP proxy for the guests, like `http://proxy.example.org:3128`
    ///
    /// The host itself is 192.168.1.2 in a guest. For packages, and in the environment of all users.
    #[arg(long, value_name = "URL", help_heading = CONFIGURATION)]
    pub proxy: Option<OsString>,

    /// A command for a shell of the guest, as root, at the end of its first boot; repeat for more
    #[arg(long, value_name = "COMMAND", help_heading = CONFIGURATION)]
    pub run: Vec<OsString>,

    /// Keys of another job, or of one before: the secret that all its keys follow from [default: new ones]
    ///
    /// Guests log in to each other, and you to them, with keys that are made for each job. Jobs that form one
    /// network, or follow each other, have the same with the same FILE: 64 hexadecimal digits, which are made if
    /// there is no such file. Who can read it can enter the guests.
    #[arg(long, value_name = "FILE", help_heading = CONFIGURATION)]
    pub keys: Option<OsString>,

    /// Who may log in from outside [default: ~/.ssh/authorized_keys and your own keys ~/.ssh/*.pub]
    #[arg(long, value_name = "FILE", help_heading = CONFIGURATION)]
    pub authorized_keys: Option<OsString>,

    /// No agent in the guests: no `mvpnet exec`, and MPI in guests starts its ranks over ssh
    #[arg(long, help_heading = CONFIGURATION)]
    pub no_exec: bool,
}

/// What they say, for all ranks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuestOptions {
    /// `--mpi-user`.
    pub mpi_user: Option<MpiUser>,
    /// `--nfs`.
    pub nfs: Option<PathBuf>,
    /// `--packages`.
    pub packages: Vec<String>,
    /// `--proxy`.
    pub proxy: Option<String>,
    /// `--run`.
    pub run: Vec<String>,
    /// `--keys`.
    pub keys: Option<PathBuf>,
    /// `--authorized-keys`.
    pub authorized_keys: Option<PathBuf>,
    /// Not `--no-exec`.
    pub exec: bool,
}

/// `--cloud-init`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CloudInit {
    /// `none`: the guest is told nothing.
    Nothing,
    /// A directory to be merged with what the job says, or an image to be used as it is.
    Path(PathBuf),
}

/// `--share`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share {
    /// The directory of the host, as typed.
    pub host_dir: PathBuf,
    /// Where guests have it; none: at the same path.
    pub guest_dir: Option<PathBuf>,
    /// Whether guests can only read.
    pub read_only: bool,
}

impl GuestOptions {
    pub(super) fn read(flags: &GuestFlags) -> Result<Self, Usage> {
        let mut listed = Vec::new();
        for value in &flags.packages {
            listed.extend(one_value("--packages", value, packages)?);
        }
        let command =
            |value: &OsString| one_value("--run", value, |value| values::text(value).map(str::to_owned));
        Ok(Self {
            mpi_user: one("--mpi-user", &flags.mpi_user, mpi_user)?,
            nfs: one("--nfs", &flags.nfs, guest_directory)?,
            packages: listed,
            proxy: one("--proxy", &flags.proxy, proxy)?,
            run: flags.run.iter().map(command).collect::<Result<_, _>>()?,
            keys: one("--keys", &flags.keys, values::path)?,
            authorized_keys: one("--authorized-keys", &flags.authorized_keys, values::path)?,
            exec: !flags.no_exec,
        })
    }

    /// A flag that was given and means something only to guests that are told of it.
    pub(super) fn needs_a_seed(&self) -> Option<&'static str> {
        let given = [
            ("--mpi-user", self.mpi_user.is_some()),
            ("--nfs", self.nfs.is_some()),
            ("--packages", !self.packages.is_empty()),
            ("--proxy", self.proxy.is_some()),
            ("--run", !self.run.is_empty()),
        ];
        given.into_iter().find_map(|(flag, given)| given.then_some(flag))
    }
}

/// `--ready cloud-init`: what shows on the console when cloud-init has done all that our seed told it.
pub(super) fn ready_cloud_init() -> ReadyWhen {
    ReadyWhen::Console(Volume::READY_TEXT.to_owned())
}

/// Whether it was asked for.
pub fn waits_for_cloud_init(ready: &ReadyWhen) -> bool {
    *ready == ready_cloud_init()
}

pub(super) fn cloud_init(value: &OsStr) -> Result<CloudInit, ValueError> {
    if value == "none" { Ok(CloudInit::Nothing) } else { values::path(value).map(CloudInit::Path) }
}

/// A name that useradd(8) and cloud-init take on all distributions.
pub fn is_login_name(name: &str) -> bool {
    let others = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    name.len() <= NAME_MAX
        && name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && name.bytes().all(others)
}

pub(super) fn login_name(value: &OsStr) -> Result<String, ValueError> {
    let name = values::text(value)?;
    if is_login_name(name) {
        return Ok(name.to_owned());
    }
    Err(ValueError::Expected("a login name: a letter, then letters, digits, `_`, `-` and `.`, 32 at most"))
}

fn mpi_user(value: &OsStr) -> Result<MpiUser, ValueError> {
    let text = values::text(value)?;
    let (name, uid) = text.split_once(':').map_or((text, None), |(name, uid)| (name, Some(uid)));
    let name = login_name(OsStr::new(name))?;
    if name == "root" {
        return Err(ValueError::Expected("another user than root, whom guests have anyhow"));
    }
    let uid = match uid {
        None => MPI_UID,
        Some(uid) => uid.parse().ok().filter(|uid| UIDS.contains(uid) && !NO_UIDS.contains(uid)).ok_or(
            ValueError::Expected("a user id that no user of the system has, from 1000 on, like mpihpc:7777"),
        )?,
    };
    Ok(MpiUser { name, uid })
}

fn guest_directory(value: &OsStr) -> Result<PathBuf, ValueError> {
    const FORM: ValueError =
        ValueError::Expected("the whole path of a directory in the guests, of letters, digits and `._-+@`");
    let path = Path::new(values::text(value)?);
    let plain = path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
    // fstab(5) and exports(5) have meanings for others.
    let clean =
        path.to_str().is_some_and(|path| path.chars().all(|c| c.is_alphanumeric() || "/._-+@".contains(c)));
    if path.is_absolute() && plain && path.file_name().is_some() && clean {
        return Ok(path.components().collect());
    }
    Err(FORM)
}

pub(super) fn share(value: &OsStr) -> Result<Share, ValueError> {
    const FORM: ValueError = ValueError::Expected(
        "HOSTDIR[:GUESTDIR][,ro], GUESTDIR being a whole path of letters, digits and `._-+@`",
    );
    let bytes = value.as_bytes();
    let (bytes, read_only) = match bytes.strip_suffix(b",ro") {
        Some(rest) => (rest, true),
        None => (bytes.strip_suffix(b",rw").unwrap_or(bytes), false),
    };
    let (host_dir, guest_dir) = match bytes.iter().rposition(|byte| *byte == b':') {
        Some(colon) => {
            let guest_dir = guest_directory(OsStr::from_bytes(&bytes[colon + 1..])).map_err(|_| FORM)?;
            (&bytes[..colon], Some(guest_dir))
        }
        None => (bytes, None),
    };
    let host_dir = values::path(OsStr::from_bytes(host_dir))?;
    Ok(Share { host_dir, guest_dir, read_only })
}

/// Names of packages, with a version perhaps (`name=1.2`), between commas.
fn packages(value: &OsStr) -> Result<Vec<String>, ValueError> {
    let text = values::text(value)?;
    let is_name = |name: &str| {
        name.starts_with(|first: char| first.is_ascii_alphanumeric())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-._:=~".contains(&byte))
    };
    let names: Vec<String> = text.split(',').map(|name| name.trim().to_owned()).collect();
    if names.iter().all(|name| is_name(name)) {
        return Ok(names);
    }
    Err(ValueError::Expected(
        "names of packages with commas between them, like build-essential,python3-mpi4py",
    ))
}

fn proxy(value: &OsStr) -> Result<String, ValueError> {
    let text = values::text(value)?;
    let rest = ["http://", "https://"].iter().find_map(|scheme| text.strip_prefix(scheme));
    let is_url = rest.is_some_and(|rest| {
        !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"'\\`$<>".contains(&byte))
    });
    if is_url {
        Ok(text.to_owned())
    } else {
        Err(ValueError::Expected("a URL like http://proxy.example.org:3128"))
    }
}

/// How many CPUs a guest has by its `-smp` value (qemu(1)): the number, or what the topology makes.
pub fn vcpus(smp: &str) -> u32 {
    let mut product = 1_u32;
    let mut most = None;
    for (place, part) in smp.split(',').enumerate() {
        let (name, value) =
            part.split_once('=').unwrap_or(if place == 0 { ("cpus", part) } else { ("", part) });
        let Ok(value) = value.parse::<u32>() else { continue };
        match name {
            "cpus" if value > 0 => return value,
            "maxcpus" => most = Some(value),
            "drawers" | "books" | "sockets" | "dies" | "clusters" | "modules" | "cores" | "threads" => {
                product = product.saturating_mul(value);
            }
            _ => {}
        }
    }
    most.unwrap_or(product).max(1)
}
