//! Values as users write them.

use proptest::prelude::*;

use super::*;

fn of<T>(read: impl Fn(&OsStr) -> Result<T, ValueError>, value: &str) -> Result<T, String> {
    read(OsStr::new(value)).map_err(|error| error.to_string())
}

#[test]
fn memory_is_in_mib_unless_a_unit_is_given() {
    for (value, mib) in
        [("4096", 4096), ("512M", 512), ("4G", 4096), ("4gib", 4096), ("1048576K", 1024), ("1T", 1 << 20)]
    {
        assert_eq!(of(memory_mib, value), Ok(mib), "{value}");
    }
    for value in ["", "0", "M", "-5", "1.5G", "4Q", "100K", "99999999999G", "18446744073709551616"] {
        assert!(of(memory_mib, value).is_err(), "{value}");
    }
}

#[test]
fn times_are_in_seconds_unless_a_unit_is_given() {
    let ms = |ms| Ok(Duration::from_millis(ms));
    for (value, time) in
        [("90", ms(90_000)), ("1.5", ms(1500)), ("5m", ms(300_000)), ("250ms", ms(250)), ("0", ms(0))]
    {
        assert_eq!(of(seconds, value), time, "{value}");
    }
    for value in ["", "x", "1x", "1.2.3", ".", "-1", "1e3"] {
        assert!(of(seconds, value).is_err(), "{value}");
    }
    assert!(of(positive_seconds, "0").unwrap_err().contains("--ready none"));
}

#[test]
fn switches_and_kinds_take_any_case() {
    assert_eq!(of(switch, "On"), Ok(true));
    assert_eq!(of(switch, "0"), Ok(false));
    assert!(of(switch, "2").is_err());
    assert_eq!(of(kvm, "AUTO"), Ok(AccelRequest::Auto));
    assert_eq!(of(kvm, "1"), Ok(AccelRequest::Kvm));
    assert_eq!(of(net, "DGRAM"), Ok(NetKind::Dgram));
    assert_eq!(of(mac_policy, "Strict"), Ok(MacPolicy::Strict));
    assert!(of(net, "4").unwrap_err().contains("-N after `mvpnet up`"));
}

#[test]
fn readiness_keeps_every_colon_of_the_text() {
    assert_eq!(of(ready, "console:login: "), Ok(ReadyWhen::Console("login: ".to_owned())));
    assert_eq!(of(ready, "ssh"), Ok(ReadyWhen::Ssh));
    assert!(of(ready, "console:").is_err() && of(ready, "console").is_err() && of(ready, "ssh:x").is_err());
}

#[test]
fn mtus_end_where_the_netdevs_do() {
    assert_eq!(of(mtu, "9000"), Ok(9000));
    assert_eq!(of(mtu, "65536"), Err("must be between 576 and 65535 bytes".to_owned()));
    assert!(of(mtu, "500").is_err() && of(mtu, "1500.0").is_err());
}

#[test]
fn names_that_go_into_files_or_qemu_arguments_are_checked() {
    assert!(of(job, "a/b").is_err() && of(job, "").is_err() && of(job, &"j".repeat(65)).is_err());
    assert_eq!(of(job, "13"), Ok("13".to_owned()));
    assert!(of(domain, "a,b").is_err() && of(domain, "lab.example.org").is_ok());
    assert!(of(word, "host,+x2apic").is_ok() && of(word, "a b").is_err());
}

#[test]
fn processor_topologies_pass_through() {
    for value in ["1", "2,sockets=1", "cpus=4,cores=2", "sockets=2,cores=2"] {
        assert_eq!(of(smp, value), Ok(value.to_owned()));
    }
    for value in ["0", "two", "", "cpus=0", "2 ,sockets=1"] {
        assert!(of(smp, value).is_err(), "{value}");
    }
}

proptest! {
    #[test]
    fn no_value_is_too_strange(value in ".*", number in "[0-9.]{0,30}[a-zA-Z]{0,3}") {
        for value in [OsStr::new(&value), OsStr::new(&number)] {
            let _ = (memory_mib(value), log_buffer(value), seconds(value), mtu(value), ranks(value));
            let _ = (ready(value), smp(value), filter(value), level(value), kvm(value), job(value));
        }
    }
}
