//! The network-config, version 2: the cluster's interface has its rank's addresses, the other one asks qemu for its own.

use mvpnet_switch::{MacAddr, Rank, UlaPrefix};
use serde::Serialize;

use crate::{Cluster, SeedError, yaml};

/// The name of the cluster's interface in the guest.
pub(crate) const CLUSTER_NIC: &str = "mvp0";
/// The name of the interface on qemu's user network, the way out.
const USER_NIC: &str = "nat0";

#[derive(Serialize)]
struct Document {
    version: u32,
    ethernets: Ethernets,
}

#[derive(Serialize)]
struct Ethernets {
    mvp0: Ethernet,
    nat0: Ethernet,
}

#[derive(Serialize)]
struct Ethernet {
    #[serde(rename = "match")]
    matched: Match,
    #[serde(rename = "set-name")]
    set_name: &'static str,
    dhcp4: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    dhcp6: Option<bool>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    addresses: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mtu: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nameservers: Option<Nameservers>,
}

#[derive(Serialize)]
struct Match {
    macaddress: String,
}

#[derive(Serialize)]
struct Nameservers {
    search: Vec<String>,
}

/// What the guest's interfaces are told. There is no gateway on the cluster's: the way out is the other one's.
pub(crate) fn network_config(cluster: &Cluster, rank: Rank) -> Result<String, SeedError> {
    let cluster_nic = Ethernet {
        matched: Match { macaddress: rank.mac().to_string() },
        set_name: CLUSTER_NIC,
        dhcp4: false,
        dhcp6: Some(false),
        addresses: vec![
            format!("{}/8", rank.ipv4()),
            format!("{}/{}", rank.ula(UlaPrefix::default()), UlaPrefix::LEN),
        ],
        mtu: Some(cluster.mtu),
        nameservers: None,
    };
    let search = cluster.domains.clone();
    let user_nic = Ethernet {
        matched: Match { macaddress: MacAddr::user_nic(cluster.world).to_string() },
        set_name: USER_NIC,
        dhcp4: true,
        dhcp6: None,
        addresses: Vec::new(),
        mtu: None,
        nameservers: (!search.is_empty()).then_some(Nameservers { search }),
    };
    let ethernets = Ethernets { mvp0: cluster_nic, nat0: user_nic };
    yaml::text_of(&Document { version: 2, ethernets })
}
