//! Names and users as cloud-init wants to be told of them: a NoCloud directory per guest, which `mvpnet up` merges with what
//! it tells guests itself, addresses among it. JSON is YAML, so nothing has to be quoted by hand.

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
                [file("meta-data", format!("{meta_data}\n")), file("user-data", user_data.clone())]
            })
            .collect()
    }

    fn user_data(&self, server: &ServerPlan) -> Value {
        let users = std::iter::once(json!("default")).chain(server.guest.users.iter().map(account));
        let mut document = json!({"users": users.collect::<Vec<_>>()});
        if let Some(hosts) = self.own_names() {
            document["write_files"] = json!([{"path": "/etc/hosts", "append": true, "content": hosts}]);
        }
        document
    }

    /// Lines for /etc/hosts, where guests have other names than those that mvpnet gives them.
    fn own_names(&self) -> Option<String> {
        let named = self.servers.iter().filter(|server| server.guest.names.is_some());
        let ranks = named.flat_map(|server| server.ranks().map(move |rank| (server, rank)));
        let lines = ranks.map(|(server, rank)| {
            let name = server.guest.name_of(rank);
            let rank = self.world().rank(rank).expect("a server's ranks are the lab's");
            format!("{} {name}\n", rank.ipv4())
        });
        Some(lines.collect::<String>()).filter(|lines| !lines.is_empty())
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
