//! `--ready-file`: what a script wants to know once all guests are up.

use std::path::{Path, PathBuf};

use mvpnet_node::job::Numbers;
use mvpnet_qemu_driver::supervise::Leftover;
use mvpnet_switch::Vni;
use serde::Serialize;

/// The file, and what the job's ranks do not know.
#[derive(Debug, Clone)]
pub struct ReadyFile {
    path: PathBuf,
    job: Option<String>,
    mtu: u32,
    first_vni: Option<Vni>,
}

#[derive(Serialize)]
struct Description<'a> {
    job: Option<&'a str>,
    process: u32,
    mtu: u32,
    guests: Vec<Guest<'a>>,
}

#[derive(Serialize)]
struct Guest<'a> {
    rank: u32,
    name: String,
    address: String,
    mac: String,
    vni: Option<u32>,
    ssh_port: Option<u16>,
    ssh_user: Option<&'a str>,
}

impl ReadyFile {
    /// A file at `path`, not written yet. One that is left from another job goes: its reader would take it for this
    /// one's.
    ///
    /// # Errors
    /// It cannot be removed.
    pub fn new(path: &Path, job: Option<String>, mtu: u32, first_vni: Option<Vni>) -> Result<Self, String> {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(format!("--ready-file {}: {error}", path.display()))
            }
            _ => Ok(Self {
                path: std::path::absolute(path).unwrap_or_else(|_| path.into()),
                job,
                mtu,
                first_vni,
            }),
        }
    }

    /// The file as something that must not outlive the job.
    pub fn leftover(&self) -> Leftover {
        Leftover::File(self.path.clone())
    }

    /// Writes it. Who waits for it sees nothing of it before it is complete.
    pub fn write(&self, numbers: Numbers, ssh_ports: &[u16], user: Option<&str>) -> Result<(), String> {
        let guests =
            (0..).zip(ssh_ports).map(|(index, port)| self.guest(numbers, index, *port, user)).collect();
        let description =
            Description { job: self.job.as_deref(), process: std::process::id(), mtu: self.mtu, guests };
        self.place(&description).map_err(|error| format!("--ready-file {}: {error}", self.path.display()))
    }

    fn guest<'a>(&self, numbers: Numbers, index: u32, port: u16, user: Option<&'a str>) -> Guest<'a> {
        let shown = numbers.shown(index);
        let rank = numbers.network().rank(shown).expect("a job's ranks are in its network");
        Guest {
            rank: shown,
            name: rank.host_name(),
            address: rank.ipv4().to_string(),
            mac: rank.mac().to_string(),
            vni: self.first_vni.and_then(|first| first.plus(index)).map(Vni::value),
            ssh_port: (port != 0).then_some(port),
            ssh_user: user,
        }
    }

    fn place(&self, description: &Description<'_>) -> std::io::Result<()> {
        let directory = self.path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let mut file = tempfile::NamedTempFile::new_in(directory.unwrap_or(Path::new(".")))?;
        serde_json::to_writer_pretty(&mut file, description)?;
        std::io::Write::write_all(&mut file, b"\n")?;
        file.persist(&self.path)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use mvpnet_switch::World;

    use super::*;

    #[test]
    fn guests_have_their_numbers_in_the_network() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ready.json");
        std::fs::write(&path, "old").unwrap();
        let file = ReadyFile::new(&path, Some("lab".into()), 1450, Some(Vni::new(50).unwrap())).unwrap();
        assert!(!path.exists());
        let numbers = Numbers::part(World::new(2).unwrap(), World::new(8).unwrap(), 4).unwrap();
        file.write(numbers, &[2204, 0], Some("ann")).unwrap();
        let written: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        assert_eq!((written["job"].as_str(), written["mtu"].as_u64()), (Some("lab"), Some(1450)));
        let guest = &written["guests"][0];
        assert_eq!((guest["name"].as_str(), guest["address"].as_str()), (Some("n0004"), Some("10.0.0.5")));
        assert_eq!((guest["vni"].as_u64(), guest["ssh_port"].as_u64()), (Some(50), Some(2204)));
        assert!(written["guests"][1]["ssh_port"].is_null());
    }
}
