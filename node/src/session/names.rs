//! What a guest may call another guest of its job.

use std::net::Ipv4Addr;

use mvpnet_switch::{Rank, World};

/// The rank of `network` that is called so: `n0003`, `3`, `10.0.0.4`, or its name with a domain behind it.
pub(super) fn rank_called(host: &str, network: World) -> Option<Rank> {
    if let Ok(address) = host.parse::<Ipv4Addr>() {
        return network.rank_of_ipv4(address);
    }
    let name = host.split('.').next().unwrap_or(host);
    let digits = name.strip_prefix('n').unwrap_or(name);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    network.rank(digits.parse().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guests_are_called_by_name_number_or_address() {
        let network = World::new(300).unwrap();
        for (host, rank) in [
            ("n0003", Some(3)),
            ("n3", Some(3)),
            ("3", Some(3)),
            ("n0003.cluster.example", Some(3)),
            ("10.0.0.4", Some(3)),
            ("10.0.1.0", Some(255)),
            ("n0300", None),
            ("10.0.1.45", None),
            ("192.168.1.15", None),
            ("m0003", None),
            ("n", None),
            ("", None),
            ("-3", None),
            ("n99999999999", None),
        ] {
            assert_eq!(rank_called(host, network).map(Rank::index), rank, "{host}");
        }
    }
}
