//! Names and users as cloud-init wants to be told of them: a NoCloud directory per guest. JSON is YAML, so nothing
//! has to be quoted by hand.

use mvpnet_switch::{MacAddr, Rank, World};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{LabPlan, ServerPlan, User};

/// A file of a guest's configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeedFile {
    /// Where it is, below the run directory.
    pub path: String,
    /// What it says.
    pub text: String,
}

impl LabPlan {
    /// The files by which a server's guests learn their names and users; none if the lab leaves that to others.
    pub fn seed_files(&self, server: &ServerPlan) -> Vec<SeedFile> {
        if !server.guest.is_configured() {
            return Vec::new();
        }
        let user_data = format!("#cloud-config\n{}\n", self.user_data(server));
        let world = self.world();
        let ranks = server.ranks().map(|rank| world.rank(rank).expect("a server's ranks are the lab's"));
        ranks
            .flat_map(|rank| {
                let file = |name: &str, text: String| SeedFile { path: format!("seed/{rank}/{name}"), text };
                let name = server.guest.name_of(rank.index());
                let meta_data =
                    json!({"instance-id": format!("{}-{rank}", self.name), "local-hostname": name});
                [
                    file("meta-data", format!("{meta_data}\n")),
                    file("network-config", format!("{}\n", network(rank, world))),
                    file("user-data", user_data.clone()),
                ]
            })
            .collect()
    }

    fn user_data(&self, server: &ServerPlan) -> Value {
        let users = std::iter::once(json!("default")).chain(server.guest.users.iter().map(account));
        let mut hosts = String::new();
        for server in &self.servers {
            for rank in server.ranks() {
                let rank = self.world().rank(rank).expect("a server's ranks are the lab's");
                let name = server.guest.name_of(rank.index());
                let alias = rank.host_name();
                let names = if name == alias { name } else { format!("{name} {alias}") };
                hosts += &format!("{} {names}\n", rank.ipv4());
            }
        }
        json!({
            "users": users.collect::<Vec<_>>(),
            "write_files": [{"path": "/etc/hosts", "append": true, "content": hosts}],
        })
    }
}

fn account(user: &User) -> Value {
    let mut account = json!({
        "name": user.name,
        "shell": "/bin/bash",
        "lock_passwd": true,
        "ssh_authorized_keys": user.keys,
    });
    if user.sudo {
        account["sudo"] = json!("ALL=(ALL) NOPASSWD:ALL");
    }
    account
}

/// The lab's NIC has the address of its rank: where a kernel encapsulates, nobody answers DHCP. Its MTU it learns from
/// the device itself (virtio 1.2 §5.1.4).
fn network(rank: Rank, world: World) -> Value {
    json!({
        "version": 2,
        "ethernets": {
            "lab": {"match": {"macaddress": rank.mac().to_string()}, "addresses": [format!("{}/8", rank.ipv4())]},
            "outside": {"match": {"macaddress": MacAddr::user_nic(world).to_string()}, "dhcp4": true},
        },
    })
}
