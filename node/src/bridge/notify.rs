//! Telling systemd how far the service is (sd_notify(3)), if systemd started it and wants to know.

use std::ffi::{OsStr, OsString};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use nix::time::{ClockId, clock_gettime};

/// Where systemd listens, if it does.
#[derive(Debug)]
pub(super) struct ServiceManager(Option<OsString>);

impl ServiceManager {
    /// The one that the environment names.
    pub(super) fn of_environment() -> Self {
        Self(std::env::var_os("NOTIFY_SOCKET"))
    }

    /// The service does its work; in a few words, how.
    pub(super) fn ready(&self, status: &str) {
        self.say(&format!("READY=1\nSTATUS={}", status.replace('\n', " ")));
    }

    /// It takes over a changed configuration; [`ready`](Self::ready) follows.
    pub(super) fn reloading(&self) {
        // systemd tells by the time whether this belongs to its own request.
        let Ok(now) = clock_gettime(ClockId::CLOCK_MONOTONIC) else { return };
        self.say(&format!("RELOADING=1\nMONOTONIC_USEC={}", now.tv_sec() * 1_000_000 + now.tv_nsec() / 1000));
    }

    /// It comes to its end.
    pub(super) fn stopping(&self) {
        self.say("STOPPING=1");
    }

    fn say(&self, state: &str) {
        let Some(place) = self.0.as_deref().and_then(address) else { return };
        // Nobody to complain to: systemd will notice what it misses.
        let sent = UnixDatagram::unbound().and_then(|socket| socket.send_to_addr(state.as_bytes(), &place));
        if let Err(error) = sent {
            tracing::debug!("systemd was not told: {error}");
        }
    }
}

/// A path, or with `@` in front a name in the abstract namespace (unix(7)).
fn address(place: &OsStr) -> Option<SocketAddr> {
    match place.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name).ok(),
        [b'/', ..] => SocketAddr::from_pathname(place).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn systemd_hears_how_far_the_service_is() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let systemd = UnixDatagram::bind(&path).unwrap();
        let mut heard = [0; 200];
        let service = ServiceManager(Some(path.into_os_string()));
        service.ready("40-43\nMTU 1450");
        let count = systemd.recv(&mut heard).unwrap();
        assert_eq!(&heard[..count], b"READY=1\nSTATUS=40-43 MTU 1450");
        service.reloading();
        let count = systemd.recv(&mut heard).unwrap();
        assert!(heard[..count].starts_with(b"RELOADING=1\nMONOTONIC_USEC="));
    }

    #[test]
    fn without_systemd_nothing_is_said() {
        ServiceManager(None).stopping();
        ServiceManager(Some("vsock:1".into())).stopping();
        ServiceManager(Some("/no/such/socket".into())).stopping();
    }
}
