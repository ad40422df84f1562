//! A lab as a table, and as JSON.

use mvpnet_lab::plan::{Host, LabPlan, ServerPlan};
use mvpnet_lab::run::{Part, State};
use serde_json::{Value, json};

use crate::columns::aligned;

/// How a lab is.
pub(super) struct Report<'p> {
    plan: &'p LabPlan,
    /// The bridge first, then the servers in the order of their ranks; those that gave no answer are missing.
    pub(super) states: Vec<(Part, State)>,
}

/// A guest that is up.
struct Guest<'p> {
    rank: u32,
    server: &'p ServerPlan,
    ssh_port: Option<u64>,
    user: Option<&'p str>,
}

impl<'p> Report<'p> {
    pub(super) fn new(plan: &'p LabPlan, mut states: Vec<(Part, State)>) -> Report<'p> {
        states.sort_by_key(|(part, _)| part.server);
        Report { plan, states }
    }

    /// As JSON, or for people.
    pub(super) fn shown(&self, json: bool) -> String {
        if json { self.json() } else { self.text() }
    }

    /// One line of JSON.
    fn json(&self) -> String {
        let part = |(part, state): &(Part, State)| {
            let name = part.server.and_then(|index| self.plan.servers.get(index)).map(|server| &server.name);
            json!({
                "name": name.unwrap_or(&self.plan.name),
                "host": part.host().to_string(),
                "state": state.condition,
                "process": state.process,
                "strays": state.strays,
                "details": state.details,
            })
        };
        let (bridge, servers): (Vec<_>, Vec<_>) =
            self.states.iter().partition(|(part, _)| part.server.is_none());
        let servers: Vec<Value> = servers.into_iter().map(part).collect();
        let guests: Vec<Value> = self.guests().iter().map(|guest| self.guest_json(guest)).collect();
        let bridge = bridge.into_iter().map(part).next();
        format!(
            "{}\n",
            json!({ "lab": self.plan.name, "bridge": bridge, "servers": servers, "guests": guests })
        )
    }

    fn guest_json(&self, guest: &Guest<'_>) -> Value {
        json!({
            "name": guest.server.guest.name_of(guest.rank),
            "rank": guest.rank,
            "vni": guest.server.vni_of(guest.rank).map(mvpnet_switch::Vni::value),
            "server": guest.server.name,
            "address": self.address(guest.rank),
            "ssh_port": guest.ssh_port,
            "ssh": guest.ssh(),
        })
    }

    /// A table of the parts, then one of the guests that are up.
    fn text(&self) -> String {
        let mut parts = vec![["part", "host", "state", "process"].map(str::to_owned)];
        for (part, state) in &self.states {
            let mut condition = state.condition.to_string();
            if !state.strays.is_empty() {
                let noun = if state.strays.len() == 1 { "process" } else { "processes" };
                condition += &format!(", {} {noun} left", state.strays.len());
            }
            let name = match part.server.and_then(|index| self.plan.servers.get(index)) {
                Some(server) if server.guests == 1 => format!("guest {}", server.first_rank),
                Some(server) => format!("guests {} to {}", server.first_rank, server.ranks().end - 1),
                None => format!("bridge {}", self.plan.name),
            };
            let process = state.process.map(|process| process.to_string()).unwrap_or_default();
            parts.push([name, part.host().to_string(), condition, process]);
        }
        let guests = self.guests();
        if guests.is_empty() {
            return aligned(parts);
        }
        let mut rows = vec![["guest", "rank", "vni", "server", "address", "ssh"].map(str::to_owned)];
        for guest in guests {
            rows.push([
                guest.server.guest.name_of(guest.rank),
                guest.rank.to_string(),
                guest.server.vni_of(guest.rank).map(|vni| vni.to_string()).unwrap_or_default(),
                guest.server.name.clone(),
                self.address(guest.rank),
                guest.ssh().unwrap_or_default(),
            ]);
        }
        format!("{}\n{}", aligned(parts), aligned(rows))
    }

    /// The guests that are up, as their servers describe them.
    fn guests(&self) -> Vec<Guest<'_>> {
        let mut all = Vec::new();
        for (part, state) in &self.states {
            let Some(server) = part.server.and_then(|index| self.plan.servers.get(index)) else { continue };
            for guest in state.details["guests"].as_array().into_iter().flatten() {
                let Some(rank) = guest["rank"].as_u64().and_then(|rank| u32::try_from(rank).ok()) else {
                    continue;
                };
                let user = guest["ssh_user"].as_str().or_else(|| server.guest.login());
                all.push(Guest { rank, server, ssh_port: guest["ssh_port"].as_u64(), user });
            }
        }
        all
    }

    fn address(&self, rank: u32) -> String {
        self.plan.world().rank(rank).map(|rank| rank.ipv4().to_string()).unwrap_or_default()
    }
}

impl Guest<'_> {
    /// How to log in from here.
    fn ssh(&self) -> Option<String> {
        let port = self.ssh_port?;
        let way = match &self.server.host {
            Host::Local => String::new(),
            Host::Remote(name) => format!("-J {name} "),
        };
        let user = self.user.map(|user| format!("{user}@")).unwrap_or_default();
        Some(format!("ssh {way}-p {port} {user}127.0.0.1"))
    }
}
