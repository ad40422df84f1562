//! What a guest is told by cloud-init: from a rank's options to the image of its configuration, which is made once rank 0
//! has said by which keys the guests know each other.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mvpnet_node::job::{HostSeed, Problem};
use mvpnet_seed::{Cluster, JobKeys, Share, UserFiles, Volume, volume};
use mvpnet_switch::{Rank, World};

use super::keys::Briefing;
use super::problem::wrong;
use super::share::shares;
use crate::args::{CloudInit, RankOptions, is_login_name, vcpus, waits_for_cloud_init};

/// What becomes a guest's second disk.
#[derive(Debug)]
pub enum Configuration {
    /// Nothing.
    None,
    /// An image of the user's own, as it is.
    Image(PathBuf),
    /// Ours, with what the user has besides.
    Ours(Box<Recipe>),
}

/// Everything that a guest is told but for keys.
#[derive(Debug)]
pub struct Recipe {
    cluster: Cluster,
    own: UserFiles,
    rank: Rank,
}

impl Configuration {
    /// What the flags ask for, with the files that they name. `me` and `world` are the rank's in the guests' network.
    pub fn of(options: &RankOptions, me: Rank, world: World) -> Result<Self, Problem> {
        let is_ours = match &options.cloud_init {
            Some(CloudInit::Nothing) => return Ok(Self::None),
            Some(CloudInit::Path(path)) => path
                .metadata()
                .map_err(|error| wrong(format!("--cloud-init {}: {error}", path.display())))?
                .is_dir(),
            None if options.images.is_empty() => return Ok(Self::None),
            None => true,
        };
        match &options.cloud_init {
            Some(CloudInit::Path(path)) if !is_ours => {
                if waits_for_cloud_init(&options.ready) {
                    return Err(wrong(format!(
                        "--ready cloud-init: {} is an image, in which nothing of mvpnet's says when cloud-init is done; give a \
                         directory, or wait for a text of your own with --ready console:TEXT",
                        path.display()
                    )));
                }
                Ok(Self::Image(path.clone()))
            }
            _ => Ok(Self::Ours(Box::new(Recipe::of(options, me, world)?))),
        }
    }
}

impl Recipe {
    /// What a rank's guest is told. The user's own files are read and checked.
    pub fn of(options: &RankOptions, me: Rank, world: World) -> Result<Self, Problem> {
        let shared = &options.shared;
        let own = match &options.cloud_init {
            Some(CloudInit::Path(path)) => {
                UserFiles::read(path).map_err(|error| wrong(format!("--cloud-init {error}")))?
            }
            _ => UserFiles::default(),
        };
        let user = user(options)?;
        let guests = &shared.guests;
        if let Some(mpi_user) = guests.mpi_user.as_ref().filter(|mpi_user| mpi_user.name == user) {
            return Err(wrong(format!(
                "--mpi-user {}: that is the login name in the guests already; name another, or another --user",
                mpi_user.name
            )));
        }
        let cpus_of = |rank: Rank| options.smp_of_all.of(rank.index()).map_or(1, |smp| vcpus(smp));
        let guest_shares: Vec<_> = shares(options)?.into_iter().map(|share| share.told).collect();
        let cluster = Cluster {
            world,
            job: shared.job.clone(),
            mtu: shared.mtu(),
            user,
            user_id: user_id(&guest_shares),
            authorized_keys: Vec::new(),
            vcpus: world.ranks().map(cpus_of).collect(),
            mpi_user: guests.mpi_user.clone(),
            nfs: guests.nfs.clone(),
            shares: guest_shares,
            packages: guests.packages.clone(),
            proxy: guests.proxy.clone(),
            run: guests.run.clone(),
            domains: shared.domains.clone(),
            exec: guests.exec,
        };
        cluster.check(me).map_err(|error| wrong(error.to_string()))?;
        Ok(Self { cluster, own, rank: me })
    }

    /// The files, with the keys of `briefing`.
    pub fn volume(&self, briefing: &Briefing) -> Result<Volume, String> {
        let mut cluster = self.cluster.clone();
        cluster.authorized_keys.clone_from(&briefing.authorized_keys);
        if let Some(user) = &briefing.user {
            cluster.user.clone_from(user);
        }
        volume(&cluster, &JobKeys::of(&briefing.secret), self.rank, &self.own)
            .map_err(|error| error.to_string())
    }

    /// What makes it when the job begins.
    pub fn host_seed(self) -> HostSeed {
        HostSeed {
            make: Arc::new(move |briefing, directory| {
                let volume = self.volume(&Briefing::read(briefing)?)?;
                let path = directory.join(format!("seed.{}.img", self.rank));
                let image = volume.image().map_err(|error| error.to_string())?;
                write_secret(&path, &image).map_err(|error| format!("{}: {error}", path.display()))?;
                Ok(path)
            }),
        }
    }
}

/// Writes a file that only the user can read, in place of one that is there.
pub fn write_secret(path: &Path, content: &[u8]) -> std::io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?.write_all(content)
}

fn user(options: &RankOptions) -> Result<String, Problem> {
    match &options.shared.user {
        Some(user) if is_login_name(user) => Ok(user.clone()),
        Some(user) => Err(wrong(format!(
            "the guests cannot have a user with your login name `{user}`: name another with --user"
        ))),
        None => {
            Err(wrong("nobody knows your login name: give the one for the guests with --user".to_owned()))
        }
    }
}

/// The host's user, whose numbers the guests see on directories of the host. Root is root there too.
fn user_id(shares: &[Share]) -> Option<u32> {
    let uid = nix::unistd::geteuid();
    (!shares.is_empty() && !uid.is_root()).then(|| uid.as_raw())
}

#[cfg(test)]
mod tests;
