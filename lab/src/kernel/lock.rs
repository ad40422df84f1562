//! One at a time: two that make and remove the same interfaces at once would leave some of them.
//!
//! The lock is a name in the abstract socket namespace (unix(7)): it is exclusive in a network namespace, as interfaces
//! are, leaves no file, and goes away with its process, however that ends.

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use super::error::Error;

const NAME: &[u8] = b"mvpnet-interfaces";
/// The longest that somebody else's turn may take.
const LIMIT: Duration = Duration::from_secs(60);
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(20);

/// This process' turn, until it is dropped.
#[derive(Debug)]
pub(super) struct Lock {
    _name: UnixDatagram,
}

impl Lock {
    /// Waits for the turn.
    pub async fn take() -> Result<Self, Error> {
        let turn = async {
            loop {
                match Self::try_take() {
                    Err(error) if error.kind() == io::ErrorKind::AddrInUse => tokio::time::sleep(PAUSE).await,
                    other => return other.map_err(Error::Netlink),
                }
            }
        };
        tokio::time::timeout(LIMIT, turn).await.unwrap_or(Err(Error::Busy(LIMIT)))
    }

    fn try_take() -> io::Result<Self> {
        let address = SocketAddr::from_abstract_name(NAME)?;
        Ok(Self { _name: UnixDatagram::bind_addr(&address)? })
    }
}
