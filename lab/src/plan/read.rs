//! From TOML to plans.

use std::net::{IpAddr, Ipv4Addr};
use std::ops::Range;
use std::str::FromStr;

use mvpnet_settings::{Document, Fault, Lists, Table};

use crate::kernel;

use super::guest::{Guest, User};
use super::server::{Read, check_name};
use super::{BridgePlan, Host, LabPlan, PlanError, ServerPlan};

impl LabPlan {
    /// Reads a plan. `file` is what errors call it.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong, with its line.
    pub fn parse(file: &str, source: &str) -> Result<LabPlan, PlanError> {
        read(source).map_err(|fault| fault.locate(file, source))
    }
}

impl FromStr for LabPlan {
    type Err = PlanError;

    fn from_str(source: &str) -> Result<LabPlan, PlanError> {
        LabPlan::parse("lab", source)
    }
}

fn read(source: &str) -> Result<LabPlan, Fault> {
    let document = Document::parse(source, Lists { what: "servers", key: "server" })?;
    let table = document.table("a lab");
    table.knows(&["name", "bridge", "server", "guest", "user"])?;
    let (name, span) =
        table.required("name", "write what it is called, like `name = \"demo\"`", Table::text)?;
    check_name("a lab", &name, &span)?;
    let bridge = table.table("bridge", "[bridge]")?.ok_or_else(|| {
        let suggestion = "write a line [bridge] and below it `host = \"server2\"`";
        Fault::new(0..0, "a lab needs a bridge, where the switch is", suggestion)
    })?;
    let (bridge, bridge_span, bridge_has_address) = BridgePlan::read(&bridge)?;
    let mut guest = match table.table("guest", "[guest]")? {
        Some(table) => Guest::read(&table)?,
        None => Guest::default(),
    };
    guest.users = users(&table)?;
    let mut servers: Vec<Read> = Vec::new();
    for table in table.tables("server", "a server")? {
        let read = Read::server(&table, &servers, &guest)?;
        if read.server.guest.image.is_none() && read.server.guest.kernel.is_none() {
            return Err(no_image(&table));
        }
        servers.push(read);
    }
    if servers.is_empty() {
        let suggestion = "write a line [[server]] and below it `host = \"server1\"` and `guests = 4`";
        return Err(Fault::new(0..0, "a lab needs a server that has guests", suggestion));
    }
    check_seed(&table, &guest)?;
    let mut plan = LabPlan { name, bridge, servers: Vec::new() };
    settle_addresses(&mut plan.bridge, &bridge_span, bridge_has_address, &mut servers)?;
    plan.servers = servers.into_iter().map(|read| read.server).collect();
    check_kernel(&plan, &span)?;
    Ok(plan)
}

/// What the kernel cannot have: long names of interfaces, and as many ports as a lab may have guests.
fn check_kernel(plan: &LabPlan, name: &Range<usize>) -> Result<(), Fault> {
    if !plan.bridge.kernel {
        return Ok(());
    }
    // Where the guests' servers are is not known here, and does not matter.
    let peer = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
    let tunnels = plan.vnis().iter().map(|vni| kernel::Tunnel { vni, peer }).collect();
    let bridge = kernel::BridgePlan { tunnels, ..kernel::BridgePlan::new(&plan.name) };
    let suggestion = "write less, or let mvpnet switch: leave `kernel` out";
    bridge.check().map_err(|error| Fault::new(name.clone(), error.to_string(), suggestion))
}

fn users(table: &Table<'_>) -> Result<Vec<User>, Fault> {
    let mut users: Vec<User> = Vec::new();
    for table in table.tables("user", "a user")? {
        let user = User::read(&table)?;
        if users.iter().any(|other| other.name == user.name) {
            return Err(Fault::new(
                table.span(),
                format!("there are two users `{}`", user.name),
                "write all of one user's keys into one list",
            ));
        }
        users.push(user);
    }
    Ok(users)
}

fn no_image(server: &Table<'_>) -> Fault {
    let suggestion = "write `image = \"debian.qcow2\"` below a line [guest], or `kernel` and `initrd`";
    Fault::new(server.span(), "its guests have nothing to boot from", suggestion)
}

/// One configuration for cloud-init is enough.
fn check_seed(table: &Table<'_>, guest: &Guest) -> Result<(), Fault> {
    if !guest.is_configured() || guest.cloud_init.is_none() {
        return Ok(());
    }
    let span = match table.table("guest", "[guest]")? {
        Some(guest) => guest.text("cloud-init")?.map_or_else(|| guest.span(), |(_, span)| span),
        None => 0..0,
    };
    let message = "cloud-init takes one configuration: this one, or the lab's with `names` and [[user]]";
    Err(Fault::new(span, message, "write names and users into it, or leave it out"))
}

/// What the two ends call each other. On this host alone each end gets a loopback address of its own, since all of
/// them want the same port; across hosts `localhost` says nothing.
fn settle_addresses(
    bridge: &mut BridgePlan,
    bridge_span: &Range<usize>,
    bridge_has_address: bool,
    servers: &mut [Read],
) -> Result<(), Fault> {
    let is_local = |host: &Host| *host == Host::Local;
    let all_local = is_local(&bridge.host) && servers.iter().all(|read| is_local(&read.server.host));
    if all_local && bridge.listen.is_none() && !bridge_has_address {
        bridge.listen = Some(loopback(1));
        bridge.address = loopback(1).to_string();
    }
    let bridge_is_local = is_local(&bridge.host);
    let mut taken: Vec<(Host, Option<IpAddr>)> = Vec::new();
    for (index, Read { server, host, names_address, .. }) in (2_u32..).zip(servers) {
        if all_local && server.listen.is_none() && !*names_address {
            server.listen = Some(loopback(index));
            server.address = loopback(index).to_string();
        }
        if let Some((other, _)) = taken.iter().find(|(other, listen)| {
            *other == server.host && (listen.is_none() || server.listen.is_none() || *listen == server.listen)
        }) {
            let message = format!("{other} has guests already, and one UDP port for VXLAN");
            let suggestion =
                "raise `guests` there, or give each an address of its own: `listen = \"192.0.2.7\"`";
            return Err(Fault::new(host.clone(), message, suggestion));
        }
        taken.push((server.host.clone(), server.listen));
        let (same, port) = (server.host == bridge.host, bridge.vxlan_port);
        if same && (server.listen.is_none() || server.listen == bridge.listen || bridge.listen.is_none()) {
            let message = format!("bridge and guests on one host cannot both have UDP port {port}");
            let suggestion = "give each an address of its own: `listen` here and in [bridge]";
            return Err(Fault::new(host.clone(), message, suggestion));
        }
        if !all_local && is_local(&server.host) && !bridge_is_local && !knows_address(server, *names_address)
        {
            return Err(unknown_address(
                host,
                &format!("{} does not reach this host as localhost", bridge.host),
            ));
        }
        if bridge_is_local && !is_local(&server.host) && !bridge_has_address && bridge.listen.is_none() {
            let message = format!("{} does not reach this host as localhost", server.host);
            return Err(unknown_address(bridge_span, &message));
        }
    }
    Ok(())
}

fn knows_address(server: &ServerPlan, names_address: bool) -> bool {
    names_address || server.listen.is_some_and(|listen| !listen.is_unspecified())
}

fn unknown_address(span: &Range<usize>, message: &str) -> Fault {
    Fault::new(
        span.clone(),
        message,
        "write this host's own name or address there: `address = \"192.0.2.7\"`",
    )
}

/// The nth address of this host alone.
fn loopback(n: u32) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from_bits(Ipv4Addr::LOCALHOST.to_bits() - 1 + n))
}
