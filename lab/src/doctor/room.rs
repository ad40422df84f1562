//! Room: memory for guests, shared memory for MPI, descriptors, and the disk that images are copied to.

use std::path::{Path, PathBuf};

use nix::sys::statvfs::statvfs;
use nix::unistd::{AccessFlags, access};

use super::finding::Verdict;
use super::machine::Machine;
use super::system::{System, quoted};
use super::wanted::Wanted;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// What an MPI library wants of /dev/shm at least.
const SHM_LEAST: u64 = 128 * MIB;
/// What a directory has to have for logs and sockets alone.
const DISK_LEAST: u64 = 64 * MIB;
/// Descriptors of a job without guests, and of each guest.
const DESCRIPTORS: (u64, u64) = (1024, 32);

/// Memory, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// What programs can still have.
    pub available: u64,
    /// What there is.
    pub total: u64,
    /// What the control group still allows; none: it does not limit.
    pub group: Option<u64>,
}

/// How many files a process may open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Descriptors {
    /// What is in force.
    pub soft: u64,
    /// To what anybody may raise it.
    pub hard: u64,
}

/// A directory's file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disk {
    /// The directory that was asked for.
    pub dir: PathBuf,
    /// Its nearest ancestor that exists: itself, mostly.
    pub exists: PathBuf,
    /// Free, for this user.
    pub free: u64,
    /// In all.
    pub total: u64,
    /// Files can still be made.
    pub has_inodes: bool,
    /// This user may write there.
    pub is_writable: bool,
    /// `tmpfs`, `ext4`; may be empty.
    pub kind: String,
    /// Where it is mounted.
    pub mounted: PathBuf,
    /// Another directory with the most room that this user may write to, and what is free there.
    pub elsewhere: Option<(PathBuf, u64)>,
}

impl Memory {
    /// Looks.
    pub fn read(system: &System) -> Option<Self> {
        let text = system.text("/proc/meminfo")?;
        let value = |key: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
            Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
        };
        let group = || {
            let limit = system.number("/sys/fs/cgroup/memory.max")?;
            Some(limit.saturating_sub(system.number("/sys/fs/cgroup/memory.current")?))
        };
        Some(Self { available: value("MemAvailable")?, total: value("MemTotal")?, group: group() })
    }

    /// Whether the guests fit. They take what they touch, so that too little is no failure yet.
    pub fn check(memory: Option<&Self>, wanted: &Wanted) -> Verdict {
        let Some(memory) = memory else {
            return Verdict::warning("/proc/meminfo does not say how much memory there is", None);
        };
        let free = memory.group.map_or(memory.available, |group| group.min(memory.available));
        let guests = u64::from(wanted.guests().max(1));
        let fits = free / MIB / guests;
        let of = format!("{} of {} are available", size(free), size(memory.total));
        if wanted.memory <= fits {
            return Verdict::ok(of);
        }
        let whose = if guests == 1 { "a guest".to_owned() } else { format!("{guests} guests") };
        let seen = format!("{of}, {whose} of {} MiB want more; guests of {fits} MiB fit", wanted.memory);
        // Half a GiB is the least that a cloud image boots with.
        let least = 64;
        let mend = (fits >= least).then(|| format!("mvpnet doctor --ranks {guests} --memory {fits}"));
        Verdict::warning(seen, mend)
    }
}

impl Descriptors {
    /// Reads /proc/self/limits (proc(5)).
    pub fn read(system: &System) -> Option<Self> {
        let text = system.text("/proc/self/limits")?;
        let line = text.lines().find_map(|line| line.strip_prefix("Max open files"))?;
        let mut words = line.split_whitespace();
        let mut limit = || {
            let word = words.next()?;
            if word == "unlimited" { Some(u64::MAX) } else { word.parse().ok() }
        };
        Some(Self { soft: limit()?, hard: limit()? })
    }

    /// Whether they last for the guests.
    pub fn check(descriptors: Option<&Self>, machine: &Machine, wanted: &Wanted) -> Verdict {
        let Some(&Self { soft, hard }) = descriptors else {
            return Verdict::warning("/proc/self/limits does not say how many files may be open", None);
        };
        let (base, each) = DESCRIPTORS;
        let least = base.max(each * u64::from(wanted.guests()) + base / 2);
        if soft >= least {
            return Verdict::ok(format!("a process may open {soft} files"));
        }
        let mend = if hard >= least {
            format!("ulimit -n {least}")
        } else {
            machine.as_root(&format!("prlimit --pid $$ --nofile={least}:{least}"))
        };
        Verdict::warning(format!("a process may open {soft} files, {least} are better"), Some(mend))
    }
}

impl Disk {
    /// Looks at the file system of `dir`, which need not exist.
    pub fn read(system: &System, dir: &Path) -> Option<Self> {
        let exists = dir.ancestors().find(|dir| dir.is_dir())?;
        let stat = statvfs(exists).ok()?;
        let mounts = mounts(&system.text("/proc/self/mounts").unwrap_or_default());
        let real = exists.canonicalize().unwrap_or_else(|_| exists.to_owned());
        // Of several at one place the last covers the others.
        let mount = mounts.iter().rev().filter(|(at, _)| real.starts_with(at));
        let mount = mount.max_by_key(|(at, _)| at.components().count()).cloned();
        let (mounted, kind) = mount.unwrap_or_default();
        let free = stat.blocks_available() as u64 * stat.fragment_size() as u64;
        Some(Self {
            dir: dir.to_owned(),
            exists: exists.to_owned(),
            free,
            total: stat.blocks() as u64 * stat.fragment_size() as u64,
            has_inodes: stat.files() == 0 || stat.files_available() > 0,
            is_writable: is_writable(exists),
            kind,
            mounted,
            elsewhere: elsewhere(&mounts, free),
        })
    }

    /// Whether `/dev/shm` is as large as MPI libraries want it.
    pub fn check_shm(disk: Option<&Self>, machine: &Machine) -> Verdict {
        let mount = "mount -t tmpfs -o mode=1777,size=1G tmpfs /dev/shm";
        match disk {
            Some(disk) if disk.exists == disk.dir && disk.free >= SHM_LEAST => {
                Verdict::ok(format!("{} of {} are free", size(disk.free), size(disk.total)))
            }
            Some(disk) if disk.exists == disk.dir && disk.kind == "tmpfs" && disk.mounted == disk.dir => {
                let seen = format!(
                    "{} of {} are free in /dev/shm, ranks on one host may want {}",
                    size(disk.free),
                    size(disk.total),
                    size(SHM_LEAST)
                );
                let whole = (disk.total - disk.free.min(disk.total) + GIB).div_ceil(MIB);
                Verdict::warning(
                    seen,
                    Some(machine.as_root(&format!("mount -o remount,size={whole}M /dev/shm"))),
                )
            }
            Some(disk) if disk.exists == disk.dir => {
                let seen = format!("/dev/shm is no file system of its own and has {} free", size(disk.free));
                Verdict::warning(seen, Some(machine.as_root(mount)))
            }
            _ => {
                let mend = machine.as_root(&format!("sh -c 'mkdir -p /dev/shm && {mount}'"));
                Verdict::warning("there is no /dev/shm, which MPI libraries want", Some(mend))
            }
        }
    }

    /// Whether copies of an image of `image` bytes fit, one for each guest.
    pub fn check_run_dir(
        disk: Option<&Self>,
        image: Option<u64>,
        machine: &Machine,
        wanted: &Wanted,
    ) -> Verdict {
        let Some(disk) = disk else { return Verdict::failure("there is no such directory", None) };
        let dir = disk.exists.display();
        if !disk.is_writable {
            let owner = format!("chown {} {}", quoted(&machine.user), quoted(&dir.to_string()));
            return Verdict::failure(format!("you may not write to {dir}"), Some(machine.as_root(&owner)));
        }
        let copies = u64::from(wanted.guests());
        let (least, best) = match image.filter(|_| wanted.run_dir.is_some()) {
            Some(image) => (image.saturating_mul(copies).max(DISK_LEAST), image.saturating_mul(copies) * 2),
            None => (DISK_LEAST, GIB),
        };
        let free = size(disk.free);
        if !disk.has_inodes {
            return Verdict::failure(
                format!("{dir} has no room for further files"),
                disk.mend(least, machine),
            );
        }
        if disk.free < least {
            let seen = format!("{dir} has {free} free, less than the {} that are needed", size(least));
            return Verdict::failure(seen, disk.mend(least, machine));
        }
        if disk.free < best {
            let seen =
                format!("{dir} has {free} free; guests that write much will want more than {}", size(best));
            return Verdict::warning(seen, disk.mend(best, machine));
        }
        Verdict::ok(format!("{dir} has {free} free"))
    }

    /// How to come to `needed` bytes: a larger tmpfs, another disk, or a look at what fills this one.
    fn mend(&self, needed: u64, machine: &Machine) -> Option<String> {
        if self.kind == "tmpfs" && self.has_inodes {
            let used = self.total.saturating_sub(self.free);
            let whole = (used + needed * 2).div_ceil(MIB).max(1);
            let place = quoted(self.mounted.to_str()?);
            return Some(machine.as_root(&format!("mount -o remount,size={whole}M {place}")));
        }
        if let Some((place, _)) = self.elsewhere.as_ref().filter(|(_, free)| *free >= needed) {
            let place = quoted(place.join("mvpnet-run").to_str()?);
            return Some(format!("mkdir -p {place} && mvpnet doctor --run-dir {place}"));
        }
        Some(format!("du -xh --max-depth=3 {} | sort -h | tail -n 20", quoted(self.mounted.to_str()?)))
    }
}

/// The place and the kind of each mount (proc_pid_mounts(5)).
fn mounts(text: &str) -> Vec<(PathBuf, String)> {
    let mount = |line: &str| {
        let mut words = line.split(' ');
        let (_, place, kind) = (words.next()?, words.next()?, words.next()?);
        Some((place.replace("\\040", " ").into(), kind.to_owned()))
    };
    text.lines().filter_map(mount).collect()
}

/// The directory with the most room, more than `free`, among the usual places and the mounts on disks.
fn elsewhere(mounts: &[(PathBuf, String)], free: u64) -> Option<(PathBuf, u64)> {
    const ON_DISK: [&str; 7] = ["ext4", "xfs", "btrfs", "zfs", "f2fs", "ext3", "overlay"];
    let usual = ["/var/tmp", "/scratch", "/tmp"].map(PathBuf::from);
    let mounted =
        mounts.iter().filter(|(_, kind)| ON_DISK.contains(&kind.as_str())).map(|(at, _)| at.clone());
    let places = usual.into_iter().chain(mounted).filter(|place| place.is_dir() && is_writable(place));
    let with_room = places.filter_map(|place| {
        let stat = statvfs(&place).ok()?;
        Some((place, stat.blocks_available() as u64 * stat.fragment_size() as u64))
    });
    with_room.filter(|(_, room)| *room > free).rev().max_by_key(|(_, room)| *room)
}

fn is_writable(dir: &Path) -> bool {
    access(dir, AccessFlags::W_OK | AccessFlags::X_OK).is_ok()
}

/// `3.2 GiB`.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["bytes", "KiB", "MiB", "GiB"];
    let mut unit = 0;
    let mut rest = bytes as f64;
    while rest >= 1024.0 && unit + 1 < UNITS.len() {
        rest /= 1024.0;
        unit += 1;
    }
    let digits = usize::from(unit > 0 && rest < 100.0);
    format!("{rest:.digits$} {}", UNITS[unit])
}

#[cfg(test)]
mod tests;
