//! Starting a generator without mvpnet: the arguments that it would be given in a guest's place, as far as it reads them.

use std::{
    ffi::OsStr,
    os::fd::{AsFd, OwnedFd},
    os::unix::net::UnixListener,
    process::{Child, Command},
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use command_fds::{CommandFdExt, FdMapping};
use mvpnet_qemu_driver::links::{
    LinkKind, pair,
    vhost_user::{self, Offers},
};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// The number that the link's descriptor gets.
const LINK: i32 = 3;
/// How long a generator may take to connect to its link.
const CONNECT: Duration = Duration::from_secs(10);

/// The kind of link that `--net` calls so.
pub fn kind_named(name: &str) -> anyhow::Result<LinkKind> {
    let kinds = [LinkKind::Stream, LinkKind::Dgram, LinkKind::VhostUser(Offers::default())];
    match kinds.into_iter().find(|kind| kind.name() == name) {
        Some(kind) => Ok(kind),
        None => bail!("there is no kind of link {name:?}; there are stream, dgram and vhost-user"),
    }
}

/// The command that runs `generator` as rank `rank`'s guest on its end of a link: a socket, or, on a vhost-user link, what
/// names the socket to connect to.
pub fn command(
    generator: impl AsRef<OsStr>,
    kind: LinkKind,
    rank: u32,
    link: OwnedFd,
) -> anyhow::Result<Command> {
    let mut command = Command::new(generator);
    let netdev = match kind {
        LinkKind::Stream => format!("stream,id=cluster,addr.type=fd,addr.str={LINK}"),
        LinkKind::Dgram => format!("dgram,id=cluster,local.type=fd,local.str={LINK}"),
        LinkKind::VhostUser(_) => {
            command.args(["-chardev", &format!("socket,id=cluster,path=/proc/self/fd/{LINK}")]);
            "vhost-user,id=cluster,chardev=cluster".to_owned()
        }
    };
    command
        .args(["-netdev", &netdev])
        .args(["-device", &format!("virtio-net-pci,netdev=cluster,mac=52:55:00:00:00:{rank:02x}")])
        .args(["-device", "virtio-net-pci,netdev=user,mac=52:56:00:00:00:02"])
        .fd_mappings(vec![FdMapping { parent_fd: link, child_fd: LINK }])?;
    Ok(command)
}

/// Starts `generator` as rank `rank`'s guest: its process, and the switch's end of the link.
pub fn start(generator: &OsStr, kind: LinkKind, rank: u32) -> anyhow::Result<(Child, OwnedFd)> {
    let run = |theirs: OwnedFd| {
        // The command holds the generator's end of the link, and goes here.
        let started = command(generator, kind, rank, theirs)?.spawn();
        started.with_context(|| format!("cannot start {}", generator.display()))
    };
    if let LinkKind::VhostUser(_) = kind {
        let (listener, named) = vhost_user::listen()?;
        let child = run(named)?;
        return Ok((child, accept(&listener)?));
    }
    let (ours, theirs) = pair(kind)?;
    Ok((run(theirs)?, ours))
}

fn accept(listener: &UnixListener) -> anyhow::Result<OwnedFd> {
    let mut ready = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
    let came = poll(&mut ready, PollTimeout::try_from(CONNECT)?)?;
    ensure!(came > 0, "the generator did not connect within {CONNECT:?}");
    Ok(listener.accept()?.0.into())
}
