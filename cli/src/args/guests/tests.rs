//! What guests are told, as users write it.

use super::*;

fn of<T>(read: impl Fn(&OsStr) -> Result<T, ValueError>, value: &str) -> Result<T, String> {
    read(OsStr::new(value)).map_err(|error| error.to_string())
}

#[test]
fn login_names_are_those_that_every_distribution_takes() {
    for name in ["ann", "_apt", "joe.smith", "hpc-user2", "A1"] {
        assert!(is_login_name(name), "{name}");
    }
    for name in ["", "1", "-x", "joe;rm", "a b", "ann$", "J\u{f6}rg", "DOM\\joe", &"x".repeat(33)] {
        assert!(!is_login_name(name), "{name}");
    }
}

#[test]
fn the_mpi_user_has_a_number_that_is_no_system_user_s() {
    let user = |name: &str, uid| Ok(MpiUser { name: name.into(), uid });
    assert_eq!(of(mpi_user, "mpihpc"), user("mpihpc", 7777));
    assert_eq!(of(mpi_user, "hpc:1234567"), user("hpc", 1_234_567));
    for value in ["", ":7777", "hpc:", "hpc:999", "hpc:x", "hpc:65534", "hpc:4294967295", "root", "root:7777"]
    {
        assert!(of(mpi_user, value).is_err(), "{value}");
    }
}

#[test]
fn a_share_is_at_the_same_path_unless_said_otherwise() {
    let share_of = |host: &str, guest: Option<&str>, read_only| {
        Ok(Share { host_dir: host.into(), guest_dir: guest.map(Into::into), read_only })
    };
    assert_eq!(of(share, "data"), share_of("data", None, false));
    assert_eq!(of(share, "/srv/a,b:/mnt/data/,ro"), share_of("/srv/a,b", Some("/mnt/data"), true));
    assert_eq!(of(share, "a:b:/c,rw"), share_of("a:b", Some("/c"), false));
    for value in ["", ":/x", "data:", "data:x", "data:/", "data:/a/../b", "data:/a b", ",ro"] {
        assert!(of(share, value).is_err(), "{value}");
    }
}

#[test]
fn packages_and_proxies_are_what_they_look_like() {
    assert_eq!(
        of(packages, "g++, python3-mpi4py,foo=1.2"),
        Ok(["g++", "python3-mpi4py", "foo=1.2"].map(String::from).to_vec())
    );
    for value in ["", "a,", "a b", "-y", "a;b", "a,,b"] {
        assert!(of(packages, value).is_err(), "{value}");
    }
    assert!(of(proxy, "http://user:pw@proxy:3128/").is_ok() && of(proxy, "https://p").is_ok());
    for value in ["proxy:3128", "http://", "ftp://x", "http://a b", "http://x\"y"] {
        assert!(of(proxy, value).is_err(), "{value}");
    }
}

#[test]
fn a_directory_of_the_guests_is_a_whole_path() {
    assert_eq!(of(guest_directory, "/home/mpi/shared/"), Ok("/home/mpi/shared".into()));
    for value in ["", "/", "shared", "/a/../b", "/a b", "/a:b", "./x"] {
        assert!(of(guest_directory, value).is_err(), "{value}");
    }
}

#[test]
fn the_slots_of_a_guest_are_its_cpus() {
    for (smp, cpus) in [
        ("1", 1),
        ("4,sockets=2,cores=2", 4),
        ("cpus=6,maxcpus=8", 6),
        ("sockets=2,cores=3,threads=2", 12),
        ("cores=2,maxcpus=8", 8),
        ("2,maxcpus=4", 2),
        ("sockets=0", 1),
        ("sockets=4000000000,cores=4000000000", u32::MAX),
    ] {
        assert_eq!(vcpus(smp), cpus, "{smp}");
    }
}

#[test]
fn none_is_no_directory() {
    assert_eq!(of(cloud_init, "none"), Ok(CloudInit::Nothing));
    assert_eq!(of(cloud_init, "./none"), Ok(CloudInit::Path("./none".into())));
}
