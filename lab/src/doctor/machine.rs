//! Who and where: host name, user, distribution. Every mending command depends on them.

use nix::unistd::{Group, User, geteuid, getgroups};

use super::system::System;

/// A host and who looks at it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Machine {
    /// Its own name.
    pub name: String,
    /// The login name of who looks.
    pub user: String,
    /// Whether that is root.
    pub is_root: bool,
    /// The home directory.
    pub home: String,
    /// The groups that this process is in.
    pub groups: Vec<String>,
    /// Where packages come from.
    pub distribution: Distribution,
}

/// What /etc/os-release says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Distribution {
    /// `debian`, and what it is like: `ubuntu debian`.
    pub ids: Vec<String>,
    /// `bookworm`; may be empty.
    pub codename: String,
}

/// What can be missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Package {
    /// qemu for x86_64.
    Qemu,
    /// An MPI.
    Mpi,
    /// The ssh client.
    Ssh,
    /// `ip`.
    Iproute,
}

impl Machine {
    /// Looks.
    pub fn read(system: &System) -> Self {
        let uid = geteuid();
        let account = User::from_uid(uid).ok().flatten();
        let variable = |name| std::env::var(name).ok();
        let groups = getgroups().unwrap_or_default();
        let group_name = |gid| Some(Group::from_gid(gid).ok()??.name);
        Self {
            name: system.text("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned(),
            user: account.as_ref().map_or_else(|| uid.to_string(), |account| account.name.clone()),
            is_root: uid.is_root(),
            home: variable("HOME")
                .or_else(|| Some(account?.dir.to_str()?.to_owned()))
                .unwrap_or_else(|| "/".into()),
            groups: groups.into_iter().filter_map(group_name).collect(),
            distribution: Distribution::parse(&system.text("/etc/os-release").unwrap_or_default()),
        }
    }

    /// `command` as root: root needs no sudo, and perhaps has none.
    pub fn as_root(&self, command: &str) -> String {
        if self.is_root { command.to_owned() } else { format!("sudo {command}") }
    }

    /// The command that installs a package, where the distribution is known.
    pub fn install(&self, package: Package) -> Option<String> {
        let command = self.distribution.install(package)?;
        Some(self.as_root(&command))
    }
}

impl Distribution {
    /// Reads /etc/os-release (os-release(5)).
    pub fn parse(text: &str) -> Self {
        let value = |key: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
            line.unwrap_or_default().trim_matches(['"', '\'']).to_owned()
        };
        let ids = [value("ID"), value("ID_LIKE")].join(" ");
        Self { ids: ids.split_whitespace().map(str::to_owned).collect(), codename: value("VERSION_CODENAME") }
    }

    /// Whether it is, or is like, one of `ids`.
    pub fn is(&self, ids: &[&str]) -> bool {
        self.ids.iter().any(|id| ids.contains(&id.as_str()))
    }

    fn install(&self, package: Package) -> Option<String> {
        use Package::{Iproute, Mpi, Qemu, Ssh};
        let (installer, names): (_, fn(Package) -> &'static str) = if self.is(&["debian", "ubuntu"]) {
            ("apt-get install -y", |package| match package {
                Qemu => "qemu-system-x86",
                Mpi => "mpich",
                Ssh => "openssh-client",
                Iproute => "iproute2",
            })
        } else if self.is(&["fedora", "rhel", "centos"]) {
            ("dnf install -y", |package| match package {
                Qemu => "qemu-kvm",
                Mpi => "mpich",
                Ssh => "openssh-clients",
                Iproute => "iproute",
            })
        } else if self.is(&["suse", "opensuse", "sles"]) {
            ("zypper --non-interactive install", |package| match package {
                Qemu => "qemu-x86",
                Mpi => "mpich",
                Ssh => "openssh-clients",
                Iproute => "iproute2",
            })
        } else if self.is(&["arch"]) {
            ("pacman -S --noconfirm", |package| match package {
                Qemu => "qemu-base",
                Mpi => "openmpi",
                Ssh => "openssh",
                Iproute => "iproute2",
            })
        } else if self.is(&["alpine"]) {
            ("apk add", |package| match package {
                Qemu => "qemu-system-x86_64",
                Mpi => "openmpi",
                Ssh => "openssh-client",
                Iproute => "iproute2",
            })
        } else {
            return None;
        };
        Some(format!("{installer} {}", names(package)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOOKWORM: &str = "PRETTY_NAME=\"Debian GNU/Linux 12\"\nVERSION_CODENAME=bookworm\nID=debian\n";

    #[test]
    fn packages_are_installed_in_the_way_of_the_distribution() {
        let debian = Machine { distribution: Distribution::parse(BOOKWORM), ..Machine::default() };
        assert_eq!(debian.install(Package::Qemu).unwrap(), "sudo apt-get install -y qemu-system-x86");
        assert_eq!(debian.distribution.codename, "bookworm");
        let like = Distribution::parse("ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n");
        assert_eq!(like.install(Package::Mpi).unwrap(), "dnf install -y mpich");
        assert_eq!(Distribution::parse("ID=plan9").install(Package::Ssh), None);
    }

    #[test]
    fn root_needs_no_sudo() {
        let root = Machine { is_root: true, ..Machine::default() };
        assert_eq!(root.as_root("true"), "true");
        assert_eq!(Machine::default().as_root("true"), "sudo true");
    }

    #[test]
    fn this_host_has_a_name_and_a_user() {
        let here = Machine::read(&System::here());
        assert!(!here.name.is_empty() && !here.user.is_empty() && here.home.starts_with('/'));
    }
}
