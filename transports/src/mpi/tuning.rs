//! What the library's own transports are asked for before they start, in the words that they read: variables of the
//! environment. Whoever has set one of them is left alone.

use std::env;
use std::path::Path;

/// Where the kernel lists network cards that read and write memory by themselves.
const RDMA_CARDS: &str = "/sys/class/infiniband";

/// UCX, through which MPICH talks: from which length on a sender asks before it sends (UCX, "Frequently asked questions",
/// on the rendezvous protocol). Over TCP that is from a few KiB on, three short packets in either direction for each
/// batch; our windows bound already what comes unasked. Two namespaces, batches of 64 KiB: 9014 bytes 9.0 to 13.8 Gbit/s,
/// 1514 bytes 6.4 to 7.7.
const RENDEZVOUS: (&str, &str) = ("UCX_RNDV_THRESH", "128k");

/// What to set for messages that go between hosts only (`shm`).
pub(super) fn wanted(shm: bool) -> Option<(&'static str, &'static str)> {
    // Memory of one host is faster asked for, and cards that fetch it themselves may be.
    let has_rdma = || Path::new(RDMA_CARDS).read_dir().is_ok_and(|mut cards| cards.next().is_some());
    (shm && env::var_os(RENDEZVOUS.0).is_none() && !has_rdma()).then_some(RENDEZVOUS)
}
