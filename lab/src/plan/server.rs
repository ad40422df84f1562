//! The servers of a lab as a file describes them: the bridge's, and those that have guests.

use std::net::IpAddr;
use std::ops::Range;

use mvpnet_settings::{Fault, Table};
use mvpnet_switch::Vni;
use mvpnet_transports::vxlan;

use super::guest::{Guest, flags};
use super::{BridgePlan, Host, LabPlan, ServerPlan};

/// The longest name of a lab or a server, in octets: both together are part of socket names.
const NAME_MAX: usize = 24;

/// Flags of `mvpnet bridge` that follow from other keys of the file.
const FLAGS_OF_BRIDGE: &[(&str, &str)] = &[
    ("--name", "name"),
    ("--vni", "vni"),
    ("--peer", "host"),
    ("--listen", "listen"),
    ("--vxlan-port", "vxlan-port"),
    ("--kernel", "kernel"),
];

/// A server and where its keys stand.
pub(super) struct Read {
    pub(super) server: ServerPlan,
    /// Where the first network is named, or the server.
    pub(super) vni: Range<usize>,
    pub(super) host: Range<usize>,
    pub(super) names_address: bool,
}

impl BridgePlan {
    const KEYS: &[&str] = &["host", "address", "listen", "vxlan-port", "kernel", "mvpnet", "flags"];

    /// The bridge, where its host is named, and whether its address is.
    pub(super) fn read(table: &Table<'_>) -> Result<(BridgePlan, Range<usize>, bool), Fault> {
        table.knows(BridgePlan::KEYS)?;
        let suggestion = "write where the switch is to run, like `host = \"server2\"`";
        let (host, span) = host(table, suggestion)?;
        let listen = listen(table)?;
        let address = address(table)?;
        let vxlan_port = match table.number::<u16>("vxlan-port")? {
            Some((0, span)) => {
                return Err(Fault::new(
                    span,
                    "there is no UDP port 0",
                    "leave it out for 4789, as RFC 7348 has it",
                ));
            }
            Some((port, _)) => port,
            None => vxlan::PORT,
        };
        let names_address = address.is_some();
        let bridge = BridgePlan {
            address: address.unwrap_or_else(|| default_address(&host, listen)),
            listen,
            vxlan_port,
            kernel: table.truth("kernel")?.is_some_and(|(kernel, _)| kernel),
            mvpnet: program(table)?,
            flags: flags(table, FLAGS_OF_BRIDGE)?,
            host,
        };
        Ok((bridge, span, names_address))
    }
}

impl Read {
    const KEYS: &[&str] = &["host", "name", "address", "listen", "guests", "vni", "tap", "mvpnet"];

    /// A server that comes after `before`.
    pub(super) fn server(table: &Table<'_>, before: &[Read], guest: &Guest) -> Result<Read, Fault> {
        table.knows(&[Read::KEYS, Guest::KEYS_OF_SERVER].concat())?;
        let suggestion = "write where the guests are to run, like `host = \"server1\"`";
        let (host, host_span) = host(table, suggestion)?;
        let guests = guests(table, before)?;
        let (vni, vni_span) = first_vni(table, before, guests)?;
        let listen = listen(table)?;
        let address = address(table)?;
        let named = table.text("name")?;
        let name_span = named.as_ref().map_or_else(|| host_span.clone(), |(_, span)| span.clone());
        let name = named.map_or_else(|| host.plain_name(), |(name, _)| name);
        check_name("a server", &name, &name_span)?;
        let names_address = address.is_some();
        let server = ServerPlan {
            address: address.unwrap_or_else(|| default_address(&host, listen)),
            host,
            listen,
            guests,
            vni,
            first_rank: before.last().map_or(0, |read| read.server.ranks().end),
            tap: table.truth("tap")?.is_some_and(|(tap, _)| tap),
            mvpnet: program(table)?,
            guest: guest.clone().with_sizes(table)?,
            name,
        };
        if before.iter().any(|read| read.server.name == server.name) {
            let message = format!("there is a server `{}` already", server.name);
            return Err(Fault::new(name_span, message, "give it a name of its own, like `name = \"more\"`"));
        }
        let read = Read { server, vni: vni_span, host: host_span, names_address };
        before.iter().try_for_each(|other| read.keeps_clear_of(&other.server))?;
        Ok(read)
    }

    fn keeps_clear_of(&self, other: &ServerPlan) -> Result<(), Fault> {
        let one = &self.server;
        if one.vni <= other.last_vni() && other.vni <= one.last_vni() {
            let (name, first, last) = (&other.name, other.vni, other.last_vni());
            let message =
                format!("VNIs {} to {} overlap with {name}'s {first} to {last}", one.vni, one.last_vni());
            let free = last.plus(1).map_or("leave some out".to_owned(), |free| {
                format!("write `vni = {free}`, or leave it out for the next that is free")
            });
            return Err(Fault::new(self.vni.clone(), message, free));
        }
        Ok(())
    }
}

/// How many guests a server has.
fn guests(table: &Table<'_>, before: &[Read]) -> Result<u32, Fault> {
    let suggestion = "write how many guests it has, like `guests = 4`";
    let (guests, span) = table.required("guests", suggestion, Table::number::<u32>)?;
    let others: u32 = before.iter().map(|read| read.server.guests).sum();
    let most = LabPlan::MAX_GUESTS - others;
    match guests {
        0 => Err(Fault::new(
            span,
            "a server without guests has nothing to do",
            "write 1 or more, or leave it out",
        )),
        _ if guests > most => {
            let message = format!("the lab would have {} guests", u64::from(guests) + u64::from(others));
            let suggestion = format!("write {most} at most: a lab has up to {}", LabPlan::MAX_GUESTS);
            Err(Fault::new(span, message, suggestion))
        }
        _ => Ok(guests),
    }
}

/// The first guest's network: as written, or the next that no server before has.
fn first_vni(table: &Table<'_>, before: &[Read], guests: u32) -> Result<(Vni, Range<usize>), Fault> {
    let written = table.number::<u32>("vni")?;
    let next =
        || before.iter().map(|read| read.server.last_vni().value() + 1).max().unwrap_or(LabPlan::FIRST_VNI);
    let (number, span) = written.unwrap_or_else(|| (next(), table.span()));
    let last = Vni::MAX.value();
    let vni = Vni::new(number).ok().filter(|vni| vni.plus(guests - 1).is_some());
    let vni = vni.ok_or_else(|| {
        let message =
            format!("VNIs {number} to {} are beyond {last}", u64::from(number) + u64::from(guests) - 1);
        Fault::new(span.clone(), message, format!("write {} at most", last - (guests - 1)))
    })?;
    Ok((vni, span))
}

fn host(table: &Table<'_>, suggestion: &str) -> Result<(Host, Range<usize>), Fault> {
    let (text, span) = table.required("host", suggestion, Table::text)?;
    match text.parse() {
        Ok(host) => Ok((host, span)),
        Err(_) => {
            let suggestion =
                "write what ssh calls it, like \"server1\" or \"me@192.0.2.7\", or \"localhost\"";
            Err(Fault::new(span, format!("`{text}` is no host"), suggestion))
        }
    }
}

/// What the other end calls a server, if it is written.
fn address(table: &Table<'_>) -> Result<Option<String>, Fault> {
    let Some((text, span)) = table.text("address")? else { return Ok(None) };
    match text.parse() {
        Ok(Host::Remote(name)) if !name.contains('@') && (!name.contains(':') || is_ip(&name)) => {
            Ok(Some(name))
        }
        _ => {
            let suggestion = "write a name or an IP address that the other servers reach, without a port";
            Err(Fault::new(span, format!("`{text}` is no address of a server"), suggestion))
        }
    }
}

fn is_ip(text: &str) -> bool {
    text.parse::<IpAddr>().is_ok()
}

fn listen(table: &Table<'_>) -> Result<Option<IpAddr>, Fault> {
    let Some((text, span)) = table.text("listen")? else { return Ok(None) };
    let suggestion = "write one of its own, like \"192.0.2.7\"; the port is `vxlan-port` of [bridge]";
    let address =
        text.parse().map_err(|_| Fault::new(span, format!("`{text}` is no IP address"), suggestion))?;
    Ok(Some(address))
}

fn default_address(host: &Host, listen: Option<IpAddr>) -> String {
    match listen {
        Some(listen) if !listen.is_unspecified() => listen.to_string(),
        _ => host.machine().to_owned(),
    }
}

/// What this program is called on a host. It passes through ssh, and so through a shell.
fn program(table: &Table<'_>) -> Result<String, Fault> {
    let Some((text, span)) = table.text("mvpnet")? else { return Ok("mvpnet".to_owned()) };
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '-' | '_' | '+' | '~');
    if !text.is_empty() && !text.starts_with('-') && text.chars().all(is_plain) {
        return Ok(text);
    }
    let suggestion =
        "write where it is on that host, like \"/opt/mvpnet/bin/mvpnet\", in letters, digits and /.-_+~";
    Err(Fault::new(span, format!("`{text}` cannot be called by ssh"), suggestion))
}

/// Names become part of those of sockets, logs and processes.
pub(super) fn check_name(what: &str, name: &str, span: &Range<usize>) -> Result<(), Fault> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.len() <= NAME_MAX
        && name.chars().all(is_plain)
    {
        return Ok(());
    }
    let suggestion =
        format!("write up to {NAME_MAX} letters, digits, `-` and `_`, the first a letter or digit");
    Err(Fault::new(span.clone(), format!("{what} cannot be called `{name}`"), suggestion))
}
