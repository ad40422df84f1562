//! Link models with names. Each number says where it comes from.

use std::time::Duration;

use super::{BitRate, Burst, ByteSize, Jitter, LinkModel, Probability};

/// All presets, by the names that descriptions use.
pub const PRESETS: &[(&str, LinkModel)] = &[
    ("ideal", LinkModel::IDEAL),
    ("same-host", LinkModel::SAME_HOST),
    ("cluster-10g", LinkModel::CLUSTER_10G),
    ("cluster-100g", LinkModel::CLUSTER_100G),
    ("campus", LinkModel::CAMPUS),
    ("lossy-wan", LinkModel::LOSSY_WAN),
];

impl LinkModel {
    /// Two ranks of one host: 10 µs one way and 20 Gbit/s, about what this program's own shared-memory path
    /// has on two cores of a server.
    pub const SAME_HOST: LinkModel = LinkModel::IDEAL
        .latency(Duration::from_micros(10))
        .jitter(Jitter::Uniform(Duration::from_micros(2)))
        .rate(BitRate::gbps(20))
        .queue(ByteSize::new(1 << 20));

    /// 10 Gbit/s Ethernet with one store-and-forward switch: 20 µs one way as an application sees it, and a
    /// share of 512 KiB of the switch's buffer, as shallow-buffered top-of-rack switches give to a port.
    pub const CLUSTER_10G: LinkModel = LinkModel::IDEAL
        .latency(Duration::from_micros(20))
        .jitter(Jitter::Normal(Duration::from_micros(2)))
        .rate(BitRate::gbps(10))
        .queue(ByteSize::new(512 << 10));

    /// 100 Gbit/s with cut-through switches: 5 µs one way, 2 MiB of buffer for a port.
    pub const CLUSTER_100G: LinkModel = LinkModel::IDEAL
        .latency(Duration::from_micros(5))
        .jitter(Jitter::Normal(Duration::from_nanos(500)))
        .rate(BitRate::gbps(100))
        .queue(ByteSize::new(2 << 20));

    /// Between buildings: 1 Gbit/s, half a millisecond one way over a few routers with some other traffic,
    /// 256 KiB of buffer, one frame in a hundred thousand lost.
    pub const CAMPUS: LinkModel = LinkModel::IDEAL
        .latency(Duration::from_micros(500))
        .jitter(Jitter::Pareto(Duration::from_micros(50)))
        .rate(BitRate::gbps(1))
        .queue(ByteSize::new(256 << 10))
        .loss(Probability::ppm(10));

    /// A bad long-distance path: 40 ms one way (about Frankfurt to New York), 50 Mbit/s, a queue of 100 ms,
    /// half a percent of random loss and bursts of ten frames on average, one in two thousand frames.
    pub const LOSSY_WAN: LinkModel = LinkModel::IDEAL
        .latency(Duration::from_millis(40))
        .jitter(Jitter::Normal(Duration::from_millis(2)))
        .rate(BitRate::mbps(50))
        .queue(ByteSize::new(625_000))
        .loss(Probability::ppm(5_000))
        .burst(Burst {
            begin: Probability::ppm(500),
            end: Probability::percent(10),
            loss: Probability::percent(80),
        });
}
