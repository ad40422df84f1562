//! Which kind of link the guests get, and why.

use std::path::Path;
use std::sync::OnceLock;

use mvpnet_lab::doctor::System;
use mvpnet_lab::doctor::qemu::{Qemu, Version};
use mvpnet_qemu_driver::Accel;
use mvpnet_qemu_driver::links::LinkKind;
use mvpnet_qemu_driver::links::vhost_user::Offers;

use crate::args::{NetKind, Shared};

/// The first qemu with which the links were measured.
const MEASURED: Version = Version(7, 2);

/// The kind of link that `--net` asks for, on this host.
pub fn kind(shared: &Shared, qemu: &Path, accel: Accel, mtu: u16) -> LinkKind {
    let offers = Offers { checksum: shared.offload, segmentation: shared.offload, mtu };
    match shared.net {
        NetKind::Stream => LinkKind::Stream,
        NetKind::Dgram => LinkKind::Dgram,
        NetKind::VhostUser => LinkKind::VhostUser(offers),
        NetKind::Auto => {
            let (net, why) = fastest(accel, version(qemu).as_ref().ok());
            tracing::info!("--net auto: {} links, since {why}", net.name());
            if net == NetKind::Stream { LinkKind::Stream } else { LinkKind::VhostUser(offers) }
        }
    }
}

/// The fastest link, by measurement (docs/PERFORMANCE.md), and in which words that is said.
fn fastest(accel: Accel, version: Option<&Version>) -> (NetKind, String) {
    let Some(version) = version else {
        return (NetKind::Stream, "the program of -q does not say which qemu it is".to_owned());
    };
    if *version < MEASURED {
        return (NetKind::Stream, format!("qemu {version} is older than {MEASURED}, which was measured"));
    }
    let why = match accel {
        Accel::Tcg => {
            format!("they carry more than twice what stream links do, under emulation and qemu {version}")
        }
        Accel::Kvm => {
            format!("frames pass through memory that qemu {version} shares, with one copy each way")
        }
    };
    (NetKind::VhostUser, why)
}

/// What the program says; all ranks of a process have the same, which is asked once.
fn version(qemu: &Path) -> &'static Result<Version, String> {
    static VERSION: OnceLock<Result<Version, String>> = OnceLock::new();
    VERSION.get_or_init(|| Qemu::at(&System::here(), qemu.to_owned()).version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fastest_link_is_taken_where_it_is_known_to_work() {
        for (accel, version, expected) in [
            (Accel::Tcg, Some(Version(7, 2)), NetKind::VhostUser),
            (Accel::Kvm, Some(Version(10, 1)), NetKind::VhostUser),
            (Accel::Kvm, Some(Version(6, 2)), NetKind::Stream),
            (Accel::Tcg, None, NetKind::Stream),
        ] {
            assert_eq!(fastest(accel, version.as_ref()).0, expected, "{accel:?} {version:?}");
        }
    }
}
