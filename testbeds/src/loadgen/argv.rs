//! Reading qemu's argument list: which link, which rank, which monitor. Everything else is ignored.
//!
//! Forms as in qemu's manual page: `-netdev stream,id=…,addr.type=fd,addr.str=N` (or `addr.type=unix,addr.path=…`),
//! `-netdev dgram,id=…,local.type=fd,local.str=N` (or `local.type=unix,local.path=…,remote.type=unix,remote.path=…`),
//! `-netdev vhost-user,id=…,chardev=C` with `-chardev socket,id=C,path=…`, `-device virtio-net-…,netdev=…,mac=…`, `-chardev socket,id=…,fd=N` (or `path=…`) with `-mon chardev=…` or `-qmp`.

use std::path::PathBuf;

use thiserror::Error;

/// What qemu takes for the size of a ring without being told.
const RING_SIZE: &str = "256";

/// Where the guest network is attached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attachment {
    /// A connected stream socket that was inherited.
    StreamFd(i32),
    /// A stream socket to connect to.
    StreamPath(PathBuf),
    /// A connected datagram socket that was inherited.
    DgramFd(i32),
    /// Datagrams, from a path to a path.
    DgramPaths {
        /// Our own path, made by us.
        local: PathBuf,
        /// Where to send.
        remote: PathBuf,
    },
    /// Rings in a memory of our own, handed over on a socket to connect to.
    VhostUser {
        /// The control socket.
        path: PathBuf,
        /// Descriptors of each ring.
        ring_size: u16,
    },
}

/// Where the machine protocol is spoken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Monitor {
    /// A connected socket that was inherited.
    Fd(i32),
    /// A socket to listen on.
    Listen(PathBuf),
    /// A socket to connect to.
    Connect(PathBuf),
}

/// What the argument list says to a generator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wiring {
    /// From the cluster NIC's address, 52:55:….
    pub rank: u32,
    /// From the user NIC's address, 52:56:…; absent when there is no such NIC.
    pub world: Option<u32>,
    /// The cluster NIC's netdev.
    pub attachment: Attachment,
    /// The machine protocol's socket, if any.
    pub monitor: Option<Monitor>,
}

/// Why the arguments are not a guest's.
#[derive(Debug, Error, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum ArgvError {
    #[error("no -device with a mac=52:55:… (the cluster NIC): which rank is this?")]
    NoClusterNic,
    #[error("no -netdev with id={0:?}, which the cluster NIC names")]
    NoNetdev(String),
    #[error(
        "-netdev {0:?} is neither stream nor dgram with a descriptor or unix paths, nor vhost-user with a socket's path"
    )]
    UnknownNetdev(String),
    #[error("{key}={value:?} is not a descriptor's number")]
    BadDescriptor { key: &'static str, value: String },
    #[error("rx_queue_size={0:?} is not a power of two up to 1024")]
    BadRing(String),
}

/// Reads an argument list (without the program's name).
pub fn parse(args: &[String]) -> Result<Wiring, ArgvError> {
    let options = |name: &str| -> Vec<Properties> {
        let dashed = format!("-{name}");
        args.windows(2)
            .filter(|pair| pair[0].strip_prefix('-').is_some_and(|rest| pair[0] == dashed || rest == dashed))
            .map(|pair| Properties::parse(&pair[1]))
            .collect()
    };
    let devices = options("device");
    let nic = devices.iter().find_map(|device| Some((device, number_in_mac(device, 0x55)?)));
    let (device, rank) = nic.ok_or(ArgvError::NoClusterNic)?;
    let world = devices.iter().find_map(|device| number_in_mac(device, 0x56));
    let id = device.value("netdev").unwrap_or_default();
    let netdevs = options("netdev");
    let netdev = netdevs.iter().find(|netdev| netdev.value("id") == Some(id));
    let netdev = netdev.ok_or_else(|| ArgvError::NoNetdev(id.to_owned()))?;
    let chardevs = options("chardev");
    let attachment = match netdev.kind() {
        "vhost-user" => vhost_user(netdev, &chardevs, device)?,
        _ => attachment(netdev)?,
    };
    let monitor = monitor(&chardevs, &options("mon"), &options("qmp"))?;
    Ok(Wiring { rank, world, attachment, monitor })
}

fn attachment(netdev: &Properties) -> Result<Attachment, ArgvError> {
    let unknown = || ArgvError::UnknownNetdev(netdev.text.clone());
    let path = |key: &str| netdev.value(key).map(PathBuf::from).ok_or_else(unknown);
    match netdev.kind() {
        "stream" => match netdev.value("addr.type") {
            Some("fd") => Ok(Attachment::StreamFd(descriptor(netdev, "addr.str")?)),
            Some("unix") => Ok(Attachment::StreamPath(path("addr.path")?)),
            _ => Err(unknown()),
        },
        "dgram" => match netdev.value("local.type") {
            Some("fd") => Ok(Attachment::DgramFd(descriptor(netdev, "local.str")?)),
            Some("unix") => {
                Ok(Attachment::DgramPaths { local: path("local.path")?, remote: path("remote.path")? })
            }
            _ => Err(unknown()),
        },
        _ => Err(unknown()),
    }
}

fn vhost_user(
    netdev: &Properties,
    chardevs: &[Properties],
    device: &Properties,
) -> Result<Attachment, ArgvError> {
    let id = netdev.value("chardev").unwrap_or_default();
    let chardev =
        chardevs.iter().find(|chardev| chardev.kind() == "socket" && chardev.value("id") == Some(id));
    let path = chardev.and_then(|chardev| chardev.value("path"));
    let path = path.ok_or_else(|| ArgvError::UnknownNetdev(netdev.text.clone()))?.into();
    let size = device.value("rx_queue_size").unwrap_or(RING_SIZE);
    let ring_size = size.parse().ok().filter(|size: &u16| size.is_power_of_two() && *size <= 1024);
    Ok(Attachment::VhostUser {
        path,
        ring_size: ring_size.ok_or_else(|| ArgvError::BadRing(size.to_owned()))?,
    })
}

fn monitor(
    chardevs: &[Properties],
    mons: &[Properties],
    qmps: &[Properties],
) -> Result<Option<Monitor>, ArgvError> {
    if let Some(path) = qmps.iter().find_map(|qmp| qmp.kind().strip_prefix("unix:")) {
        return Ok(Some(Monitor::Listen(path.into())));
    }
    let control = mons.iter().filter(|mon| mon.value("mode") == Some("control"));
    let ids: Vec<&str> = control.filter_map(|mon| mon.value("chardev").or(Some(mon.kind()))).collect();
    let Some(chardev) = chardevs.iter().find(|chardev| {
        chardev.kind() == "socket" && chardev.value("id").is_some_and(|id| ids.contains(&id))
    }) else {
        return Ok(None);
    };
    if chardev.value("fd").is_some() {
        return Ok(Some(Monitor::Fd(descriptor(chardev, "fd")?)));
    }
    let Some(path) = chardev.value("path").map(PathBuf::from) else { return Ok(None) };
    let listens = matches!(chardev.value("server"), Some("on" | ""));
    Ok(Some(if listens { Monitor::Listen(path) } else { Monitor::Connect(path) }))
}

fn descriptor(properties: &Properties, key: &'static str) -> Result<i32, ArgvError> {
    let value = properties.value(key).unwrap_or_default();
    match value.parse() {
        Ok(number) if number >= 0 => Ok(number),
        _ => Err(ArgvError::BadDescriptor { key, value: value.to_owned() }),
    }
}

/// The number in the last four bytes of a MAC that begins with 52:`second`.
fn number_in_mac(device: &Properties, second: u8) -> Option<u32> {
    let mut bytes = [0; 6];
    let mut parts = device.value("mac")?.split(':');
    for byte in &mut bytes {
        *byte = u8::from_str_radix(parts.next()?, 16).ok()?;
    }
    let [0x52, kind, a, b, c, d] = bytes else { return None };
    (kind == second && parts.next().is_none()).then(|| u32::from_be_bytes([a, b, c, d]))
}

/// qemu's `kind,key=value,…`, where `,,` is a literal comma.
struct Properties {
    text: String,
    pairs: Vec<(String, String)>,
}

impl Properties {
    fn parse(text: &str) -> Properties {
        let mut parts = vec![String::new()];
        let mut chars = text.chars().peekable();
        while let Some(char) = chars.next() {
            match char {
                ',' if chars.peek() == Some(&',') => {
                    chars.next();
                    parts.last_mut().expect("never empty").push(',');
                }
                ',' => parts.push(String::new()),
                other => parts.last_mut().expect("never empty").push(other),
            }
        }
        let pairs = parts.into_iter().map(|part| match part.split_once('=') {
            Some((key, value)) => (key.to_owned(), value.to_owned()),
            None => (part, String::new()),
        });
        Properties { text: text.to_owned(), pairs: pairs.collect() }
    }

    fn kind(&self) -> &str {
        self.pairs.first().map_or("", |(key, _)| key)
    }

    fn value(&self, key: &str) -> Option<&str> {
        self.pairs.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn finds_rank_world_link_and_monitor_among_a_guest_s_arguments() {
        let line = "-nodefaults -m 256 -netdev user,id=user,net=192.168.1.0/24 \
             -device virtio-net-pci,netdev=user,mac=52:56:00:00:00:10 \
             -netdev stream,id=mvp,addr.type=fd,addr.str=5,server=off \
             -device virtio-net-pci,netdev=mvp,mac=52:55:00:00:00:0a,host_mtu=9000 \
             -chardev file,id=con,path=/tmp/c -chardev socket,id=qmp,fd=7 -mon chardev=qmp,mode=control";
        let wiring = parse(&args(line)).unwrap();
        assert_eq!(wiring.rank, 10);
        assert_eq!(wiring.world, Some(16));
        assert_eq!(wiring.attachment, Attachment::StreamFd(5));
        assert_eq!(wiring.monitor, Some(Monitor::Fd(7)));
    }

    #[test]
    fn reads_datagram_paths_with_commas() {
        let line = "-device virtio-net-pci,netdev=a,mac=52:55:0:0:0:1 \
             -netdev dgram,id=a,local.type=unix,local.path=/tmp/a,,b,remote.type=unix,remote.path=/tmp/c";
        let wiring = parse(&args(line)).unwrap();
        let paths = Attachment::DgramPaths { local: "/tmp/a,b".into(), remote: "/tmp/c".into() };
        assert_eq!(wiring.attachment, paths);
        assert_eq!(wiring.world, None);
    }

    #[test]
    fn finds_the_socket_of_a_vhost_user_link_and_the_size_of_its_rings() {
        let line = "-object memory-backend-memfd,id=memory,size=256M,share=on -machine q35,memory-backend=memory \
             -chardev socket,id=cluster,path=/proc/self/fd/9 -netdev vhost-user,id=cluster,chardev=cluster \
             -device virtio-net-pci,netdev=cluster,mac=52:55:0:0:0:1,ctrl_guest_offloads=off,rx_queue_size=1024";
        let path = "/proc/self/fd/9".into();
        assert_eq!(parse(&args(line)).unwrap().attachment, Attachment::VhostUser { path, ring_size: 1024 });
    }

    #[test]
    fn says_what_is_missing() {
        assert_eq!(parse(&args("-m 256")), Err(ArgvError::NoClusterNic));
        let nic = "-device virtio-net-pci,netdev=x,mac=52:55:0:0:0:1";
        assert_eq!(parse(&args(nic)), Err(ArgvError::NoNetdev("x".into())));
        let vhost = format!("{nic} -netdev vhost-user,id=x,chardev=c");
        assert_eq!(parse(&args(&vhost)), Err(ArgvError::UnknownNetdev("vhost-user,id=x,chardev=c".into())));
        let ring = format!("{vhost} -chardev socket,id=c,path=/tmp/c")
            .replace("netdev=x", "netdev=x,rx_queue_size=3");
        assert_eq!(parse(&args(&ring)), Err(ArgvError::BadRing("3".into())));
    }
}
