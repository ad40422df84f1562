//! The qemu that guests would run under: which one it is, and whether it is new enough.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::finding::Verdict;
use super::machine::{Machine, Package};
use super::system::{Ran, System, quoted};

/// The name that it is looked up by.
pub const NAME: &str = "qemu-system-x86_64";
/// The first version whose stream and dgram netdevs take inherited descriptors.
pub const OLDEST: Version = Version(7, 2);
/// Where some distributions have it, beside PATH.
const OFF_THE_PATH: &str = "/usr/libexec/qemu-kvm";

/// Major and minor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u32, pub u32);

/// A qemu that is installed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Qemu {
    /// Where.
    pub path: PathBuf,
    /// Its version, or what it says instead.
    pub version: Result<Version, String>,
}

/// All that were found: first those on PATH, in its order, of which the first is the one that is used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Qemus {
    /// On PATH.
    pub on_path: Vec<Qemu>,
    /// Elsewhere.
    pub elsewhere: Vec<Qemu>,
}

impl Qemu {
    /// Asks the program at `path` for its version.
    pub fn at(system: &System, path: PathBuf) -> Self {
        let version = version(&system.run(&path, &["--version"]));
        Qemu { path, version }
    }
}

impl Qemus {
    /// Looks along `path`, and where else it may be.
    pub fn read(system: &System, path: &OsStr) -> Self {
        let mut on_path: Vec<PathBuf> = Vec::new();
        for dir in std::env::split_paths(path) {
            let candidate = dir.join(NAME);
            if !on_path.contains(&candidate) && is_program(&candidate) {
                on_path.push(candidate);
            }
        }
        let elsewhere = ["/usr/bin", "/usr/local/bin"].map(|dir| Path::new(dir).join(NAME));
        let elsewhere = elsewhere.into_iter().chain([PathBuf::from(OFF_THE_PATH)]);
        let elsewhere: Vec<PathBuf> =
            elsewhere.filter(|path| is_program(path) && !on_path.contains(path)).collect();
        let ask = |path: PathBuf| Qemu::at(system, path);
        Self {
            on_path: on_path.into_iter().map(ask).collect(),
            elsewhere: elsewhere.into_iter().map(ask).collect(),
        }
    }

    /// Absent or too old: no guest starts.
    pub fn check(&self, machine: &Machine) -> Verdict {
        match self.on_path.first() {
            None => {
                let seen = format!("there is no {NAME} on PATH");
                Verdict::failure(seen, self.other().or_else(|| machine.install(Package::Qemu)))
            }
            Some(Qemu { path, version: Err(said) }) => {
                let seen = format!("{} does not tell its version: {said}", path.display());
                Verdict::failure(seen, self.other().or_else(|| machine.install(Package::Qemu)))
            }
            Some(Qemu { path, version: Ok(version) }) if *version < OLDEST => {
                let seen = format!(
                    "{} is version {version}; older than {OLDEST} have no netdevs that mvpnet can use",
                    path.display()
                );
                Verdict::failure(seen, self.other().or_else(|| newer(machine, path)))
            }
            Some(Qemu { path, version: Ok(version) }) => {
                Verdict::ok(format!("{} is version {version}", path.display()))
            }
        }
    }

    /// How to use one that is installed and new enough, if there is any.
    fn other(&self) -> Option<String> {
        let usable = |qemu: &&Qemu| qemu.version.as_ref().is_ok_and(|version| *version >= OLDEST);
        let qemu = self.on_path.iter().chain(&self.elsewhere).find(usable)?;
        if qemu.path.file_name() == Some(OsStr::new(NAME)) {
            let dir = qemu.path.parent()?.to_str()?;
            return Some(format!("export PATH={}:\"$PATH\"", quoted(dir)));
        }
        let link = format!("~/.local/bin/{NAME}");
        let path = quoted(qemu.path.to_str()?);
        Some(format!("mkdir -p ~/.local/bin && ln -sf {path} {link} && export PATH=~/.local/bin:\"$PATH\""))
    }
}

/// How to get a newer one than the one at `path`.
fn newer(machine: &Machine, path: &Path) -> Option<String> {
    let install = machine.install(Package::Qemu)?;
    let distribution = &machine.distribution;
    if path.parent() != Some(Path::new("/usr/bin")) {
        // One that somebody put there by hand: the distribution's is another, and has to be found before it.
        return Some(format!("{install} && export PATH=/usr/bin:\"$PATH\""));
    }
    Some(match distribution.codename.as_str() {
        // Their own versions are 5.2 and 6.2.
        "bullseye" => machine.as_root(
            "sh -c 'echo deb http://archive.debian.org/debian bullseye-backports main \
             >/etc/apt/sources.list.d/backports.list && apt-get update && \
             apt-get install -y -t bullseye-backports qemu-system-x86'",
        ),
        "jammy" => machine.as_root(
            "sh -c 'add-apt-repository -y cloud-archive:caracal && apt-get install -y qemu-system-x86'",
        ),
        _ => install,
    })
}

fn is_program(path: &Path) -> bool {
    path.to_str().is_some_and(|path| mvpnet_qemu_driver::names::find_program(path).is_some())
}

fn version(ran: &Ran) -> Result<Version, String> {
    match ran {
        Ran::Absent => Err("it does not start".to_owned()),
        Ran::Stuck(why) => Err(why.clone()),
        Ran::Ended { out, err, .. } => parse_version(out).ok_or_else(|| {
            let line = out.lines().chain(err.lines()).next();
            line.unwrap_or("it says nothing").to_owned()
        }),
    }
}

/// `QEMU emulator version 7.2.22 (Debian …)`
fn parse_version(text: &str) -> Option<Version> {
    let (_, rest) = text.split_once(" version ")?;
    let mut numbers = rest.split(|c: char| !c.is_ascii_digit());
    Some(Version(numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::Status;
    use crate::doctor::machine::Distribution;

    fn qemu(path: &str, version: Version) -> Qemu {
        Qemu { path: path.into(), version: Ok(version) }
    }

    fn debian() -> Machine {
        Machine { distribution: Distribution::parse("ID=debian\n"), ..Machine::default() }
    }

    #[test]
    fn versions_are_read_from_what_qemu_says() {
        let said = "QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18)\nCopyright";
        assert_eq!(parse_version(said), Some(Version(7, 2)));
        assert_eq!(parse_version("QEMU emulator version 10.0.2\n"), Some(Version(10, 0)));
        assert_eq!(parse_version("sh: not found"), None);
        assert!(Version(10, 0) > OLDEST && Version(6, 9) < OLDEST);
    }

    #[test]
    fn an_absent_qemu_is_to_be_installed() {
        let verdict = Qemus::default().check(&debian());
        assert_eq!(verdict.status, Status::Failure);
        assert_eq!(verdict.mend.unwrap(), "sudo apt-get install -y qemu-system-x86");
    }

    #[test]
    fn an_old_qemu_in_front_of_a_new_one_is_passed_by() {
        let old = qemu("/opt/old/qemu-system-x86_64", Version(5, 2));
        let both = Qemus {
            on_path: vec![old.clone(), qemu("/usr/bin/qemu-system-x86_64", Version(8, 2))],
            ..Qemus::default()
        };
        let verdict = both.check(&debian());
        assert!(verdict.seen.contains("version 5.2; older than 7.2"), "{}", verdict.seen);
        assert_eq!(verdict.mend.unwrap(), "export PATH=/usr/bin:\"$PATH\"");
        let alone = Qemus { on_path: vec![old], ..Qemus::default() }.check(&debian()).mend.unwrap();
        assert_eq!(alone, "sudo apt-get install -y qemu-system-x86 && export PATH=/usr/bin:\"$PATH\"");
    }

    #[test]
    fn a_distribution_whose_qemu_is_old_has_a_newer_one_elsewhere() {
        let jammy = Machine {
            distribution: Distribution::parse("ID=ubuntu\nVERSION_CODENAME=jammy\n"),
            ..Machine::default()
        };
        let old =
            Qemus { on_path: vec![qemu("/usr/bin/qemu-system-x86_64", Version(6, 2))], ..Qemus::default() };
        assert!(old.check(&jammy).mend.unwrap().contains("cloud-archive:caracal"));
    }

    #[test]
    fn a_qemu_of_another_name_gets_the_name() {
        let rhel = Qemus { elsewhere: vec![qemu(OFF_THE_PATH, Version(8, 2))], ..Qemus::default() };
        let mend = rhel.check(&debian()).mend.unwrap();
        assert!(mend.contains("ln -sf /usr/libexec/qemu-kvm ~/.local/bin/qemu-system-x86_64"), "{mend}");
    }

    #[test]
    fn a_new_enough_one_is_well() {
        let here = Qemus { on_path: vec![qemu("/usr/bin/qemu-system-x86_64", OLDEST)], ..Qemus::default() };
        assert_eq!(here.check(&debian()), Verdict::ok("/usr/bin/qemu-system-x86_64 is version 7.2"));
    }
}
