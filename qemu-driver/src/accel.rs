//! KVM or software emulation: what this host offers, and the choice, which is a pure function of it.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::str::FromStr;

use nix::unistd::{Gid, Group};

/// What executes the guest's instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Accel {
    /// The host's CPU (Linux KVM).
    Kvm,
    /// Software emulation (qemu's TCG), ten to twenty times slower.
    Tcg,
}

/// What the user asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AccelRequest {
    /// KVM, or an error.
    Kvm,
    /// Software emulation.
    Tcg,
    /// KVM where it is usable, else software emulation.
    #[default]
    Auto,
}

/// A word that asks for none of the accelerators.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is none of 1 (need KVM), 0 (software emulation) and auto")]
pub struct AccelRequestError {
    given: String,
}

/// What was found about KVM on this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KvmProbe {
    /// Whether `/dev/kvm` opens for reading and writing.
    pub device: KvmDevice,
    /// Whether `/proc/cpuinfo` shows vmx or svm. Without, some hosts open the device all the same and
    /// guests hang.
    pub cpu_flag: bool,
}

/// What became of opening `/dev/kvm`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KvmDevice {
    /// It opens.
    Opens,
    /// There is none.
    Missing,
    /// It is somebody else's.
    Forbidden {
        /// The group that may open it.
        group: String,
    },
    /// It fails otherwise.
    Fails(String),
}

/// KVM was asked for where it cannot be had. The message says what is missing and who can mend it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("KVM is needed (-k 1) but not usable here: {probe}; -k 0 runs guests under software emulation")]
pub struct KvmUnusable {
    probe: KvmProbe,
}

impl Accel {
    /// By how much boot and shutdown times grow against KVM's.
    ///
    /// A stock cloud image takes about 200 s to its ssh banner under software emulation, twice that when
    /// two boot at once on a small machine; the default of 90 s becomes 450.
    pub const fn patience(self) -> u32 {
        match self {
            Accel::Kvm => 1,
            Accel::Tcg => 5,
        }
    }

    /// qemu's name for it.
    pub const fn name(self) -> &'static str {
        match self {
            Accel::Kvm => "kvm",
            Accel::Tcg => "tcg",
        }
    }

    /// The CPU type that gives the guest the most.
    pub const fn default_cpu(self) -> &'static str {
        match self {
            Accel::Kvm => "host",
            Accel::Tcg => "max",
        }
    }

    /// The accelerator for a request, given what the host offers.
    pub fn choose(request: AccelRequest, probe: &KvmProbe) -> Result<Accel, KvmUnusable> {
        match (request, probe.is_usable()) {
            (AccelRequest::Tcg, _) | (AccelRequest::Auto, false) => Ok(Accel::Tcg),
            (AccelRequest::Kvm | AccelRequest::Auto, true) => Ok(Accel::Kvm),
            (AccelRequest::Kvm, false) => Err(KvmUnusable { probe: probe.clone() }),
        }
    }
}

impl KvmProbe {
    /// Looks at this host.
    pub fn of_this_host() -> KvmProbe {
        KvmProbe { device: open_device(), cpu_flag: cpu_flag(&cpuinfo()) }
    }

    /// Whether a guest can be expected to run.
    pub fn is_usable(&self) -> bool {
        self.device == KvmDevice::Opens && self.cpu_flag
    }
}

/// What is missing, as the end of a sentence.
impl fmt::Display for KvmProbe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.device {
            KvmDevice::Opens => {}
            KvmDevice::Missing => {
                f.write_str("there is no /dev/kvm (is the kvm_intel or kvm_amd module loaded?)")?;
            }
            KvmDevice::Forbidden { group } => write!(
                f,
                "/dev/kvm may not be opened read-write (it belongs to group {group}, which you are not in)"
            )?,
            KvmDevice::Fails(error) => write!(f, "/dev/kvm does not open read-write ({error})")?,
        }
        if !self.cpu_flag {
            if self.device != KvmDevice::Opens {
                f.write_str(", and ")?;
            }
            f.write_str(
                "the CPU shows neither vmx nor svm in /proc/cpuinfo (is virtualisation on in the firmware, or \
                 nesting on if this is a virtual machine?)",
            )?;
        }
        if self.is_usable() {
            f.write_str("nothing is missing")?;
        }
        Ok(())
    }
}

impl FromStr for AccelRequest {
    type Err = AccelRequestError;

    fn from_str(text: &str) -> Result<AccelRequest, AccelRequestError> {
        match text {
            "1" => Ok(AccelRequest::Kvm),
            "0" => Ok(AccelRequest::Tcg),
            "auto" => Ok(AccelRequest::Auto),
            _ => Err(AccelRequestError { given: text.to_owned() }),
        }
    }
}

fn open_device() -> KvmDevice {
    match OpenOptions::new().read(true).write(true).open("/dev/kvm") {
        Ok(_) => KvmDevice::Opens,
        Err(error) => match error.kind() {
            io::ErrorKind::NotFound => KvmDevice::Missing,
            io::ErrorKind::PermissionDenied => KvmDevice::Forbidden { group: device_group() },
            _ => KvmDevice::Fails(error.to_string()),
        },
    }
}

fn device_group() -> String {
    match std::fs::metadata("/dev/kvm") {
        Ok(metadata) => match Group::from_gid(Gid::from_raw(metadata.gid())) {
            Ok(Some(group)) => group.name,
            _ => metadata.gid().to_string(),
        },
        Err(_) => "kvm".to_owned(),
    }
}

/// The part of `/proc/cpuinfo` that matters: all CPUs show the same flags, so the first is enough.
fn cpuinfo() -> String {
    let mut text = Vec::new();
    // A host without /proc has no flag to show: KVM then does not count as usable.
    if let Ok(file) = File::open("/proc/cpuinfo") {
        let _ = file.take(64 * 1024).read_to_end(&mut text);
    }
    String::from_utf8_lossy(&text).into_owned()
}

fn cpu_flag(cpuinfo: &str) -> bool {
    cpuinfo
        .lines()
        .filter_map(|line| line.strip_prefix("flags").and_then(|rest| rest.split_once(':')))
        .any(|(_, flags)| flags.split_whitespace().any(|flag| flag == "vmx" || flag == "svm"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const USABLE: KvmProbe = KvmProbe { device: KvmDevice::Opens, cpu_flag: true };
    const FLAGLESS: KvmProbe = KvmProbe { device: KvmDevice::Opens, cpu_flag: false };
    const MISSING: KvmProbe = KvmProbe { device: KvmDevice::Missing, cpu_flag: true };

    #[test]
    fn auto_takes_kvm_where_the_device_opens_and_the_cpu_has_the_flag() {
        assert_eq!(Accel::choose(AccelRequest::Auto, &USABLE), Ok(Accel::Kvm));
        assert_eq!(Accel::choose(AccelRequest::Auto, &FLAGLESS), Ok(Accel::Tcg));
        assert_eq!(Accel::choose(AccelRequest::Auto, &MISSING), Ok(Accel::Tcg));
    }

    #[test]
    fn software_emulation_is_never_refused() {
        assert_eq!(Accel::choose(AccelRequest::Tcg, &USABLE), Ok(Accel::Tcg));
    }

    #[test]
    fn kvm_that_is_needed_and_not_usable_is_an_error_that_says_what_is_missing() {
        assert_eq!(Accel::choose(AccelRequest::Kvm, &USABLE), Ok(Accel::Kvm));
        let say = |probe: &KvmProbe| Accel::choose(AccelRequest::Kvm, probe).unwrap_err().to_string();
        let flagless = say(&FLAGLESS);
        assert!(flagless.contains("neither vmx nor svm") && !flagless.contains("/dev/kvm"), "{flagless}");
        assert!(say(&MISSING).contains("no /dev/kvm"));
        let both = say(&KvmProbe { device: KvmDevice::Forbidden { group: "kvm".into() }, cpu_flag: false });
        assert!(both.contains("group kvm") && both.contains("vmx"), "{both}");
        assert!(say(&KvmProbe { device: KvmDevice::Fails("busy".into()), cpu_flag: true }).contains("busy"));
    }

    #[test]
    fn the_flag_is_a_whole_word_of_a_flags_line() {
        assert!(cpu_flag("processor\t: 0\nflags\t\t: fpu vmx sse\n"));
        assert!(cpu_flag("flags: svm"));
        assert!(!cpu_flag("flags\t\t: fpu svm_lock\nmodel name\t: vmx svm\nvmx flags\t: vnmi\n"));
        assert!(!cpu_flag(""));
    }

    #[test]
    fn requests_are_one_zero_and_auto() {
        assert_eq!("1".parse(), Ok(AccelRequest::Kvm));
        assert_eq!("0".parse(), Ok(AccelRequest::Tcg));
        assert_eq!("auto".parse(), Ok(AccelRequest::Auto));
        let error = "yes".parse::<AccelRequest>().unwrap_err().to_string();
        assert_eq!(error, "`yes` is none of 1 (need KVM), 0 (software emulation) and auto");
    }

    #[test]
    fn probing_this_host_agrees_with_itself() {
        let probe = KvmProbe::of_this_host();
        assert_eq!(probe.is_usable(), probe.to_string() == "nothing is missing");
    }
}
