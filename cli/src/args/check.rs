//! Checks that go beyond single values: of flags against each other and the world (pure), and of programs and
//! directories against the host. Nothing is started here. Images are checked by who opens them.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs::DirBuilder;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, access};

use super::guests::{CloudInit, waits_for_cloud_init};
use super::options::{Options, RankOptions, Shared, shown};
use super::tunnel::Span;
use super::usage::Usage;
use super::values::Capture;

impl Options {
    /// Checks the flags for all ranks of `span`.
    pub fn check(&self, span: Span) -> Result<(), Usage> {
        let Span { world, .. } = span;
        if let Some((flag, list, rank)) = self.outside(world) {
            return Err(Usage::OutsideWorld { flag, list: list.to_string(), rank, world });
        }
        span.ranks().try_for_each(|rank| self.check_rank(rank))?;
        self.check_guests(span)?;
        self.check_captures(span)
    }

    /// An image or a kernel for anybody; what stands behind the application's name does not count.
    pub(super) fn check_something_to_boot(&self) -> Result<(), Usage> {
        if !self.images.is_empty() || !self.kernel.is_empty() {
            return Ok(());
        }
        let [application, arguments @ ..] = self.shared.application.as_slice() else {
            return Err(Usage::NoImage);
        };
        match arguments.iter().find_map(|argument| image_flag(argument)) {
            Some(flag) => {
                Err(Usage::ImageAfterApplication { flag: flag.to_owned(), application: shown(application) })
            }
            None => Err(Usage::NoImage),
        }
    }

    /// Checks what does not go together with `--tap`.
    pub fn check_for_tap(&self) -> Result<(), Usage> {
        if self.capture.is_empty() {
            return Ok(());
        }
        Err(Usage::Tunnel(
            "--capture sees nothing with --tap, since frames pass by mvpnet: capture on the bridge, or by tcpdump on \
             mvtap40 and so on"
                .to_owned(),
        ))
    }

    fn check_rank(&self, rank: u32) -> Result<(), Usage> {
        if self.kernel.of(rank).is_some() {
            return Ok(());
        }
        if self.images.all_of(rank).next().is_none() {
            return Err(Usage::NoImageForRank { rank });
        }
        let given =
            [("--initrd", self.initrd.of(rank).is_some()), ("--append", self.append.of(rank).is_some())];
        match given.into_iter().find(|(_, given)| *given) {
            Some((flag, _)) => Err(Usage::NoKernel { rank, flag }),
            None => Ok(()),
        }
    }

    /// Checks what guests are to be told against who can be told anything.
    fn check_guests(&self, span: Span) -> Result<(), Usage> {
        let wrong = |text: String| Err(Usage::Guests(text));
        for rank in span.ranks() {
            let ready = self.ready.of(rank).is_some_and(waits_for_cloud_init);
            if ready && !self.may_be_told(rank) {
                return wrong(format!(
                    "--ready cloud-init: rank {rank} has no configuration of mvpnet's that could say when it is done \
                     (-c none, or no disk)"
                ));
            }
            let mut places = BTreeSet::new();
            for share in self.shares.all_of(rank) {
                let place = share.guest_dir.as_ref().unwrap_or(&share.host_dir);
                if !places.insert(place) {
                    return wrong(format!("rank {rank} has two --share at {}", place.display()));
                }
            }
        }
        match self.shared.guests.needs_a_seed() {
            Some(flag) if !span.ranks().any(|rank| self.may_be_told(rank)) => wrong(format!(
                "{flag} is for cloud-init in guests, but no guest of this job has a configuration of mvpnet's: each has \
                 -c none or no disk"
            )),
            _ => Ok(()),
        }
    }

    /// Whether a rank's guest gets a configuration of ours, as this host sees the files that flags name.
    pub fn is_told(&self, rank: u32) -> bool {
        match self.cloud_init.of(rank) {
            Some(CloudInit::Path(path)) => path.is_dir(),
            _ => self.may_be_told(rank),
        }
    }

    /// Whether a rank's guest may get a configuration of ours, as far as flags alone say.
    pub(super) fn may_be_told(&self, rank: u32) -> bool {
        match self.cloud_init.of(rank) {
            Some(CloudInit::Nothing) => false,
            Some(CloudInit::Path(_)) => true,
            None => self.images.all_of(rank).next().is_some(),
        }
    }

    fn check_captures(&self, span: Span) -> Result<(), Usage> {
        if self.capture.is_empty() {
            return Ok(());
        }
        let mut files: Vec<(&Capture, u32)> = Vec::new();
        for rank in span.ranks() {
            let Some(capture) = self.capture.of(rank).filter(|capture| capture.is_one_file_by_name()) else {
                continue;
            };
            if *capture == Capture::Stdout && self.shared.app_output {
                return Err(Usage::CaptureAndOutput);
            }
            if let Some((_, first)) = files.iter().find(|(other, _)| *other == capture) {
                let path = match capture {
                    Capture::Stdout => "-".to_owned(),
                    Capture::Path(path) => shown(path.as_os_str()),
                };
                return Err(Usage::CaptureShared { path, first: *first, second: rank });
            }
            files.push((capture, rank));
        }
        Ok(())
    }
}

impl Capture {
    /// Whether it is one file (or pipe), by its name or because it is there and not a directory.
    pub fn is_one_file(&self) -> bool {
        match self {
            Self::Stdout => true,
            Self::Path(path) => {
                path.metadata().map_or_else(|_| self.is_one_file_by_name(), |there| !there.is_dir())
            }
        }
    }

    /// The same by the name alone, which is the same on every host.
    fn is_one_file_by_name(&self) -> bool {
        let Self::Path(path) = self else {
            return true;
        };
        let ends = path.extension().is_some_and(|end| end == "pcapng" || end == "pcap");
        ends && !path.as_os_str().as_bytes().ends_with(b"/")
    }
}

impl RankOptions {
    /// Makes the directories that flags name, if they are absent; that of the sockets for the user alone.
    pub fn make_directories(&self) -> Result<(), Usage> {
        let shared = &self.shared;
        let named = [
            ("--run-dir", shared.run_dir.as_deref(), 0o777),
            ("--socket-dir", shared.socket_dir.as_deref(), 0o700),
            ("--tftp-dir", shared.tftp_dir.as_deref(), 0o777),
            ("--log-dir", Some(shared.log_dir.as_path()), 0o777),
            ("--capture", self.capture_directory(), 0o777),
        ];
        for (flag, path, mode) in named {
            let Some(path) = path else { continue };
            make_directory(path, mode).map_err(|source| Usage::Directory {
                flag,
                path: path.to_owned(),
                source,
                rank: self.rank,
            })?;
        }
        Ok(())
    }

    fn capture_directory(&self) -> Option<&Path> {
        match &self.capture {
            Some(capture @ Capture::Path(path)) if !capture.is_one_file() => Some(path),
            _ => None,
        }
    }
}

fn make_directory(path: &Path, mode: u32) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(mode).create(path)
}

/// An argument that is `-i` or `--image`, with or without its value.
fn image_flag(argument: &OsStr) -> Option<&'static str> {
    let argument = argument.as_bytes();
    if argument == b"--image" || argument.starts_with(b"--image=") {
        return Some("--image");
    }
    // Not every `-int` is an image: attached ones have a path's look.
    let attached = |value: &[u8]| value.is_empty() || value.iter().any(|byte| b"./=,".contains(byte));
    argument.strip_prefix(b"-i").is_some_and(attached).then_some("-i")
}

/// Checks that the application, if there is one, can be started from this host with this PATH.
pub fn application(shared: &Shared, path: Option<&OsStr>) -> Result<(), Usage> {
    let Some(name) = shared.application.first() else {
        return Ok(());
    };
    let problem = match find_program(name, path) {
        Ok(_) => return Ok(()),
        Err(problem) => problem,
    };
    let hint = match shared.application.iter().skip(1).find_map(|argument| image_flag(argument)) {
        Some(flag) => format!(" ({flag} behind its name belongs to it, not to mvpnet)"),
        None => String::new(),
    };
    Err(Usage::Application { name: shown(name), problem, hint })
}

/// Checks that qemu can be started from this host with this PATH.
pub fn qemu(shared: &Shared, path: Option<&OsStr>) -> Result<PathBuf, Usage> {
    find_program(&shared.qemu, path).map_err(|problem| Usage::Qemu { command: shown(&shared.qemu), problem })
}

/// What is to be said about `--wrapper`, if anything.
pub fn wrapper_warning(shared: &Shared, path: Option<&OsStr>) -> Option<String> {
    let wrapper = shared.wrapper.as_ref()?;
    let problem = find_program(wrapper, path).err()?;
    let wrapper = shown(wrapper);
    Some(format!("the wrapper `{wrapper}` {problem}: going on without, mvpnet supervises qemu itself"))
}

/// Finds a program as execvp(3) does: a name with a slash as it stands, any other on PATH.
pub fn find_program(name: &OsStr, path: Option<&OsStr>) -> Result<PathBuf, &'static str> {
    const NOT_FOUND: &str = "cannot be found";
    if name.is_empty() {
        return Err("has no name");
    }
    if name.as_bytes().contains(&b'/') {
        return match runnable(Path::new(name)) {
            Ok(true) => Ok(name.into()),
            Ok(false) => Err("is not executable"),
            Err(_) => Err(NOT_FOUND),
        };
    }
    // confstr(_CS_PATH), which execvp falls back to.
    let path = path.map_or_else(|| OsString::from("/bin:/usr/bin"), OsStr::to_owned);
    let found = |dir: PathBuf| {
        let file = dir.join(name);
        Some((runnable(&file).ok()?, file))
    };
    let mut found: Vec<_> = std::env::split_paths(&path).filter_map(found).collect();
    match found.iter().position(|(runnable, _)| *runnable) {
        Some(index) => Ok(found.swap_remove(index).1),
        None if found.is_empty() => Err("cannot be found on PATH"),
        None => Err("is on PATH but not executable"),
    }
}

fn runnable(file: &Path) -> io::Result<bool> {
    Ok(!file.metadata()?.is_dir() && access(file, AccessFlags::X_OK).is_ok())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn place(dir: &Path, name: &str, mode: u32) {
        let file = dir.join(name);
        std::fs::write(&file, "#!/bin/sh\n").unwrap();
        std::fs::set_permissions(&file, PermissionsExt::from_mode(mode)).unwrap();
    }

    #[test]
    fn programs_are_found_as_execvp_finds_them() {
        let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        place(dirs[0].path(), "tool", 0o644);
        place(dirs[1].path(), "tool", 0o755);
        place(dirs[0].path(), "data", 0o644);
        std::fs::create_dir(dirs[1].path().join("folder")).unwrap();
        let path = std::env::join_paths(dirs.iter().map(|dir| dir.path())).unwrap();
        let find = |name: &str| find_program(OsStr::new(name), Some(&path));
        assert_eq!(find("tool"), Ok(dirs[1].path().join("tool")));
        assert_eq!(find("none"), Err("cannot be found on PATH"));
        assert_eq!(find("data"), Err("is on PATH but not executable"));
        assert_eq!(find("folder"), Err("is on PATH but not executable"));
        assert_eq!(find("./none"), Err("cannot be found"));
        assert_eq!(find(dirs[0].path().join("data").to_str().unwrap()), Err("is not executable"));
        assert_eq!(find(""), Err("has no name"));
        assert!(find_program(OsStr::new("sh"), None).is_ok());
    }

    #[test]
    fn image_flags_are_seen_among_other_arguments() {
        for argument in ["-i", "-iX.img", "--image", "--image=X.img"] {
            assert!(image_flag(OsStr::new(argument)).is_some(), "{argument}");
        }
        for argument in ["i", "--imagine", "X.img", "-int", ""] {
            assert!(image_flag(OsStr::new(argument)).is_none(), "{argument}");
        }
    }

    #[test]
    fn captures_are_files_by_name_or_by_what_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| Capture::Path(dir.path().join(name));
        std::fs::create_dir(dir.path().join("dir.pcapng")).unwrap();
        std::fs::write(dir.path().join("pipe"), "").unwrap();
        assert!(Capture::Stdout.is_one_file() && at("pipe").is_one_file() && at("new.pcapng").is_one_file());
        assert!(
            !at("new").is_one_file() && !at("dir.pcapng").is_one_file() && !at("new.pcap/").is_one_file()
        );
    }
}
