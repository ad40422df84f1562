//! What a VTEP counts besides refusals.

use super::super::intake::Tally;

/// Counts since a VTEP was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VtepStats {
    /// Datagrams received, refused ones included.
    pub datagrams_received: u64,
    /// Frames accepted.
    pub frames_received: u64,
    /// Their bytes.
    pub bytes_received: u64,
    /// Frames whose checksum was completed.
    pub checksums_completed: u64,
    /// Super-frames that were cut up; their parts are in `frames_received`.
    pub super_frames_cut: u64,
    /// Probes of peers, which were answered.
    pub probes: u64,
    /// Datagrams that the kernel dropped because the receive buffer was full.
    pub kernel_drops: u64,
    /// Copies sent.
    pub frames_sent: u64,
    /// Their bytes.
    pub bytes_sent: u64,
    /// Copies dropped because the kernel had no room for them.
    pub dropped_full: u64,
    /// Copies dropped because the path does not take datagrams that long.
    pub dropped_too_long: u64,
    /// Copies dropped because there is no way to the peer.
    pub dropped_no_route: u64,
    /// Times that a peer, or a router, said that nobody is there.
    pub unreachable: u64,
    /// Times that the MTU of a path was found to be another.
    pub path_mtu_changes: u64,
    /// System calls that received.
    pub receive_calls: u64,
    /// System calls that sent.
    pub send_calls: u64,
}

impl VtepStats {
    pub(super) fn with(self, tally: &Tally, kernel_drops: u32) -> VtepStats {
        VtepStats {
            datagrams_received: tally.datagrams,
            frames_received: tally.frames,
            bytes_received: tally.bytes,
            checksums_completed: tally.completed,
            super_frames_cut: tally.super_frames,
            probes: tally.probes,
            kernel_drops: u64::from(kernel_drops),
            ..self
        }
    }

    /// Names and values, in a fixed order, for logs and status.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + use<> {
        let VtepStats {
            datagrams_received,
            frames_received,
            bytes_received,
            checksums_completed,
            super_frames_cut,
            probes,
            kernel_drops,
            frames_sent,
            bytes_sent,
            dropped_full,
            dropped_too_long,
            dropped_no_route,
            unreachable,
            path_mtu_changes,
            receive_calls,
            send_calls,
        } = *self;
        [
            ("datagrams-received", datagrams_received),
            ("frames-received", frames_received),
            ("bytes-received", bytes_received),
            ("checksums-completed", checksums_completed),
            ("super-frames-cut", super_frames_cut),
            ("probes", probes),
            ("kernel-drops", kernel_drops),
            ("frames-sent", frames_sent),
            ("bytes-sent", bytes_sent),
            ("dropped-full", dropped_full),
            ("dropped-too-long", dropped_too_long),
            ("dropped-no-route", dropped_no_route),
            ("unreachable", unreachable),
            ("path-mtu-changes", path_mtu_changes),
            ("receive-calls", receive_calls),
            ("send-calls", send_calls),
        ]
        .into_iter()
    }
}
