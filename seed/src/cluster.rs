//! What a job says of all its guests.

use std::path::PathBuf;

use mvpnet_switch::World;

use crate::AuthorizedKey;

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
