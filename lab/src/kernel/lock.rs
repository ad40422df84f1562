//! One at a time: two that make and remove the same interfaces at once would leave some of them.
//!
//! The lock is a name in the abstract socket namespace (unix(7)): it is exclusive in a network namespace, as interfaces
//! are, leaves no file, and goes away with its process, however that ends.

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::time::Duration;

use tokio::io::AsyncReadExt;

use super::error::Error;

const NAME: &[u8] = b"mvpnet-interfaces";
/// The longest that somebody else's turn may take.
const LIMIT: Duration = Duration::from_secs(60);

/// This process' turn, until it is dropped.
#[derive(Debug)]
pub(super) struct Lock {
    /// Nobody accepts: who waits for the turn is connected until this is closed, and so hears of its end.
    _name: UnixListener,
}

impl Lock {
    /// Waits for the turn.
    pub async fn take() -> Result<Self, Error> {
        tokio::time::timeout(LIMIT, wait_for_turn()).await.unwrap_or(Err(Error::Busy(LIMIT)))
    }
}

async fn wait_for_turn() -> Result<Lock, Error> {
    let name = SocketAddr::from_abstract_name(NAME).map_err(Error::Netlink)?;
    loop {
        match UnixListener::bind_addr(&name) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                wait_for_end(&name).await.map_err(Error::Netlink)?
            }
            bound => return bound.map(|name| Lock { _name: name }).map_err(Error::Netlink),
        }
    }
}

/// Waits until whoever has the name gives it up.
async fn wait_for_end(name: &SocketAddr) -> io::Result<()> {
    let holder = match UnixStream::connect_addr(name) {
        Ok(holder) => holder,
        // It was given up in between.
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => return Ok(()),
        Err(error) => return Err(error),
    };
    holder.set_nonblocking(true)?;
    // Nothing is ever said: what ends this is the end, in order or as a reset.
    let _ = tokio::net::UnixStream::from_std(holder)?.read(&mut [0]).await;
    Ok(())
}
