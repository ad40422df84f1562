//! What a job says of all its guests.

use std::path::{Path, PathBuf};

use mvpnet_switch::{Rank, World};

use crate::{AuthorizedKey, SeedError};

/// What holds for all guests of a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// Its ranks.
    pub world: World,
    /// The job's name.
    pub job: Option<String>,
    /// The IP MTU of the cluster network.
    pub mtu: u32,
    /// The login name in the guests.
    pub user: String,
    /// The number that user should have, if any will not do: that of the user on the host, where the directories of
    /// `shares` are that user's.
    pub user_id: Option<u32>,
    /// The keys with which that user, and root, may be reached from outside.
    pub authorized_keys: Vec<AuthorizedKey>,
    /// vCPUs of each rank's guest, in the order of the ranks: the slots of the MPI host files.
    pub vcpus: Vec<u32>,
    /// A user for MPI besides, the same in all guests.
    pub mpi_user: Option<MpiUser>,
    /// The directory that rank 0 exports and all others mount, at the same place.
    pub nfs: Option<PathBuf>,
    /// Directories of the host that each guest mounts.
    pub shares: Vec<Share>,
    /// Packages to be installed.
    pub packages: Vec<String>,
    /// The HTTP proxy of the guests, `http://host:port`.
    pub proxy: Option<String>,
    /// Commands that a shell runs at the end of the first boot, as root.
    pub run: Vec<String>,
    /// DNS search domains.
    pub domains: Vec<String>,
    /// Whether the exec agent goes into the guest.
    pub exec: bool,
}

/// A user with the same name and number everywhere, as MPI and NFS want it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MpiUser {
    /// Its name.
    pub name: String,
    /// Its user id, and its group's.
    pub uid: u32,
}

/// A directory of the host in a guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    /// The tag by which the guest's kernel knows it: `share0`, `share1`, … in the order of the flags.
    pub tag: String,
    /// Where the guest mounts it.
    pub guest_dir: PathBuf,
}

impl Cluster {
    /// A cluster of which nothing more is asked: guests with one vCPU each, and the agent in them.
    pub fn new(world: World, user: &str) -> Self {
        Self {
            world,
            job: None,
            mtu: 1500,
            user: user.to_owned(),
            user_id: None,
            authorized_keys: Vec::new(),
            vcpus: vec![1; world.size() as usize],
            mpi_user: None,
            nfs: None,
            shares: Vec::new(),
            packages: Vec::new(),
            proxy: None,
            run: Vec::new(),
            domains: Vec::new(),
            exec: true,
        }
    }

    /// Refuses what the guests could not be told, or would understand as something else. The guest's script relies on it:
    /// what stands in its files is words. [`volume`](crate::volume()) does it too.
    pub fn check(&self, rank: Rank) -> Result<(), SeedError> {
        let wrong = |what: String| Err(SeedError(what));
        if !self.world.contains(rank) {
            return wrong(format!("rank {rank} is outside the job of {} ranks", self.world.size()));
        }
        if self.vcpus.len() != self.world.size() as usize {
            return wrong(format!("{} numbers of vCPUs for {} ranks", self.vcpus.len(), self.world.size()));
        }
        if !(68..=65_535).contains(&self.mtu) {
            return wrong(format!("an MTU of {}, IPv4 has 68 to 65535", self.mtu));
        }
        login_name(&self.user)?;
        if let Some(mpi) = &self.mpi_user {
            login_name(&mpi.name)?;
            if mpi.name == self.user || mpi.name == "root" {
                return wrong(format!("the MPI user `{}` is there already: give it another name", mpi.name));
            }
            // Below 100 numbers belong to the system; directories of whole universities have large ones. 65534 and 65535
            // are nobody, the last two mean errors.
            if !(100..=u32::MAX - 2).contains(&mpi.uid) || [65_534, 65_535].contains(&mpi.uid) {
                return wrong(format!("uid {} of the MPI user is none that a user can have", mpi.uid));
            }
        }
        for directory in self.nfs.iter().chain(self.shares.iter().map(|share| &share.guest_dir)) {
            guest_directory(directory)?;
        }
        let words = [("package", &self.packages), ("DNS search domain", &self.domains)];
        for (what, words) in words {
            for word in words {
                let valid = |c: char| c.is_ascii_alphanumeric() || "+-._~:=/*".contains(c);
                if word.is_empty() || word.starts_with('-') || !word.chars().all(valid) {
                    return wrong(format!("`{word}` is not the name of a {what}"));
                }
            }
        }
        if let Some(proxy) = &self.proxy {
            let named = proxy.strip_prefix("http://").or_else(|| proxy.strip_prefix("https://"));
            let plain = |c: char| c.is_ascii_graphic() && !"'\"`\\$<>".contains(c);
            if !named.is_some_and(|host| !host.is_empty() && host.chars().all(plain)) {
                return wrong(format!("the proxy `{proxy}` is not of the form http://host:port"));
            }
        }
        if let Some(command) =
            self.run.iter().find(|run| run.chars().any(|c| c.is_control() && c != '\n' && c != '\t'))
        {
            return wrong(format!("control characters in the command {command:?}"));
        }
        Ok(())
    }
}

fn login_name(name: &str) -> Result<(), SeedError> {
    let valid = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    let begins = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if begins && name.len() <= 32 && name.chars().all(valid) {
        return Ok(());
    }
    Err(SeedError(format!(
        "`{name}` cannot be a login name: letters, digits, `_`, `-`, `.`, a letter first, at most 32"
    )))
}

fn guest_directory(directory: &Path) -> Result<(), SeedError> {
    let text = directory.to_str().unwrap_or_default();
    let valid = |c: char| c.is_alphanumeric() || "/._-+@".contains(c);
    let climbs = text.split('/').any(|name| name == ".." || name == ".");
    if text.len() > 1 && text.starts_with('/') && !climbs && !text.ends_with('/') && text.chars().all(valid) {
        return Ok(());
    }
    Err(SeedError(format!(
        "{}: a directory in the guest is an absolute path of letters, digits and `._-+@`",
        directory.display()
    )))
}
