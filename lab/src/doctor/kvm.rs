//! Whether guests can run on the host's CPU. The rule is the driver's: the device opens, and the CPU has the flag.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::MetadataExt;

use mvpnet_qemu_driver::accel::{KvmDevice, KvmProbe};
use nix::unistd::{Gid, Group};

use super::finding::Verdict;
use super::machine::Machine;
use super::system::{System, quoted};

/// What there is of KVM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kvm {
    /// The device and the flag.
    pub probe: KvmProbe,
    /// The CPU is AMD's.
    pub is_amd: bool,
    /// This host is a virtual machine itself.
    pub is_virtual: bool,
    /// Whom /dev/kvm's group has as members by /etc/group.
    pub members: Vec<String>,
}

impl Kvm {
    /// Looks.
    pub fn read(system: &System) -> Self {
        let cpuinfo = system.text("/proc/cpuinfo").unwrap_or_default();
        let device = device(system);
        let members = match &device {
            KvmDevice::Forbidden { group } => members(system, group),
            _ => Vec::new(),
        };
        Self {
            probe: KvmProbe { device, cpu_flag: has_flag(&cpuinfo, &["vmx", "svm"]) },
            is_amd: cpuinfo.contains("AuthenticAMD"),
            is_virtual: has_flag(&cpuinfo, &["hypervisor"]),
            members,
        }
    }

    /// Without KVM guests run all the same, slowly.
    pub fn check(&self, machine: &Machine) -> Verdict {
        if self.probe.is_usable() {
            let flag = if self.is_amd { "svm" } else { "vmx" };
            return Verdict::ok(format!("/dev/kvm opens read-write and the CPU has {flag}"));
        }
        let seen = format!("{}; guests run in software emulation, ten to fifty times slower", self.probe);
        Verdict::warning(seen, Some(self.mend(machine)))
    }

    fn mend(&self, machine: &Machine) -> String {
        let module = if self.is_amd { "kvm_amd" } else { "kvm_intel" };
        match &self.probe.device {
            _ if !self.probe.cpu_flag && self.is_virtual => format!(
                "sudo modprobe -r {module} && sudo modprobe {module} nested=1   \
                 # on the host of this virtual machine, while it is off"
            ),
            _ if !self.probe.cpu_flag => machine
                .as_root("systemctl reboot --firmware-setup   # and switch virtualisation (VT-x, SVM) on"),
            KvmDevice::Missing => machine.as_root(&format!("modprobe {module}")),
            KvmDevice::Forbidden { group } if self.members.contains(&machine.user) => {
                format!("newgrp {group}   # you are in the group, but logged in before you were")
            }
            KvmDevice::Forbidden { group } if group != "root" => {
                let command = format!("usermod -aG {} {}", quoted(group), quoted(&machine.user));
                machine.as_root(&format!("{command}   # then log in again"))
            }
            KvmDevice::Forbidden { .. } => {
                machine.as_root("sh -c 'chgrp kvm /dev/kvm && chmod g+rw /dev/kvm'")
            }
            KvmDevice::Opens | KvmDevice::Fails(_) => {
                machine.as_root(&format!("sh -c 'modprobe -r {module}; modprobe {module}'"))
            }
        }
    }
}

fn device(system: &System) -> KvmDevice {
    let path = system.path("/dev/kvm");
    match OpenOptions::new().read(true).write(true).open(&path) {
        Ok(_) => KvmDevice::Opens,
        Err(error) if error.kind() == io::ErrorKind::NotFound => KvmDevice::Missing,
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            let gid = path.metadata().map(|metadata| metadata.gid());
            let group = gid.ok().and_then(|gid| Group::from_gid(Gid::from_raw(gid)).ok()?);
            KvmDevice::Forbidden { group: group.map_or_else(|| "kvm".to_owned(), |group| group.name) }
        }
        Err(error) => KvmDevice::Fails(error.to_string()),
    }
}

/// Whether a line of flags in /proc/cpuinfo has one of the words.
fn has_flag(cpuinfo: &str, words: &[&str]) -> bool {
    let flags = cpuinfo.lines().filter_map(|line| line.strip_prefix("flags")?.split_once(':'));
    flags.flat_map(|(_, flags)| flags.split_whitespace()).any(|flag| words.contains(&flag))
}

/// The fourth field of a line of /etc/group (group(5)).
fn members(system: &System, group: &str) -> Vec<String> {
    let text = system.text("/etc/group").unwrap_or_default();
    let line = text.lines().find(|line| line.split(':').next() == Some(group));
    let members = line.and_then(|line| line.split(':').nth(3)).unwrap_or_default();
    members.split(',').map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::Status;

    /// A host with these files.
    fn host(files: &[(&str, &str)]) -> (tempfile::TempDir, Kvm) {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let kvm = Kvm::read(&System::below(root.path()));
        (root, kvm)
    }

    fn mend(kvm: &Kvm) -> String {
        let verdict = kvm.check(&Machine { user: "ann".into(), ..Machine::default() });
        assert_eq!(verdict.status, Status::Warning);
        verdict.mend.unwrap()
    }

    const INTEL: (&str, &str) = ("proc/cpuinfo", "flags\t\t: fpu vmx sse\n");

    #[test]
    fn a_device_that_opens_and_a_cpu_with_the_flag_are_usable() {
        let (_root, kvm) = host(&[INTEL, ("dev/kvm", "")]);
        assert_eq!(kvm.check(&Machine::default()).status, Status::Ok);
    }

    #[test]
    fn without_the_device_its_module_is_to_be_loaded() {
        assert_eq!(mend(&host(&[INTEL]).1), "sudo modprobe kvm_intel");
        let amd = "vendor_id : AuthenticAMD\nflags : svm\n";
        assert_eq!(mend(&host(&[("proc/cpuinfo", amd)]).1), "sudo modprobe kvm_amd");
    }

    #[test]
    fn a_device_that_opens_on_a_cpu_without_the_flag_is_not_usable() {
        let (_root, kvm) = host(&[("proc/cpuinfo", "flags : fpu hypervisor\n"), ("dev/kvm", "")]);
        let verdict = kvm.check(&Machine::default());
        assert!(verdict.seen.contains("neither vmx nor svm"), "{}", verdict.seen);
        assert!(mend(&kvm).contains("nested=1"));
        let (_root, kvm) = host(&[("proc/cpuinfo", "flags : fpu\n"), ("dev/kvm", "")]);
        assert!(mend(&kvm).contains("--firmware-setup"));
    }

    #[test]
    fn who_may_not_open_the_device_is_told_the_group() {
        let (_root, mut kvm) = host(&[INTEL]);
        kvm.probe.device = KvmDevice::Forbidden { group: "kvm".into() };
        assert_eq!(mend(&kvm), "sudo usermod -aG kvm ann   # then log in again");
        kvm.members = vec!["ann".into()];
        assert!(mend(&kvm).starts_with("newgrp kvm"));
        kvm.probe.device = KvmDevice::Forbidden { group: "root".into() };
        kvm.members.clear();
        assert!(mend(&kvm).contains("chgrp kvm /dev/kvm"));
    }

    #[test]
    fn members_of_a_group_are_read_from_etc_group() {
        let (root, _) = host(&[("etc/group", "root:x:0:\nkvm:x:108:ann,bob\n")]);
        assert_eq!(members(&System::below(root.path()), "kvm"), ["ann", "bob"]);
    }
}
