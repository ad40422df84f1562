//! All hosts of a lab's file, and a bridge that runs.

use mvpnet_lab::doctor::Status;

use crate::{Servers, fault, line};

const LAB: &str = r#"name = "doctored"

[bridge]
host = "server2"

[[server]]
host = "server1"
guests = 2

[guest]
image = "absent.img"
memory = "256M"
"#;

#[test]
fn each_host_of_a_lab_is_examined_for_its_part() {
    let Some(servers) = Servers::up(&["nft"]) else { return };
    let mut here = servers.shell("server1");
    here.must(&format!("mkdir /tmp/$$ && cat >/tmp/$$/lab.toml <<'END'\n{LAB}END"));
    let words = format!("{} /tmp/$$/lab.toml", servers.ssh());
    let found = here.doctor(&words);
    assert!(line(&found, "memory", "server1", None).status == Status::Ok);
    assert!(line(&found, "image", "server1", None).seen.ends_with("/absent.img is not there"));
    // The bridge has no guests, and nobody runs MPI.
    let of_bridge: Vec<_> = found.iter().filter(|found| found.host == "server2").collect();
    assert!(
        of_bridge.iter().all(|found| !["qemu", "kvm", "mpirun", "image"].contains(&found.check.as_str()))
    );
    for (host, peer) in [("server1", "server2"), ("server2", "server1")] {
        assert_eq!(line(&found, "probe", host, Some(peer)).status, Status::Ok);
        assert_eq!(line(&found, "path-mtu", host, Some(peer)).status, Status::Ok);
    }
    here.must("rm -r /tmp/$$");
}

#[test]
fn a_file_that_is_no_lab_is_wrong_usage() {
    let Some(servers) = Servers::up(&[]) else { return };
    let mut here = servers.shell("server1");
    here.must("mkdir /tmp/$$ && echo 'nam = 1' >/tmp/$$/lab.toml");
    let (code, said) = here.run("mvpnet doctor /tmp/$$/lab.toml");
    assert_eq!(code, 2, "{said}");
    assert!(said.starts_with("mvpnet: /tmp/") && said.contains("nam"), "{said}");
    for (file, problem) in
        [("/tmp/$$/other.toml", "other.toml: there is no such file\n"), ("/tmp/$$/.toml", "a directory")]
    {
        here.must("mkdir -p /tmp/$$/.toml");
        let (code, said) = here.run(&format!("mvpnet doctor {file}"));
        assert!(code == 2 && said.contains(problem), "{said}");
    }
    here.must("rm -r /tmp/$$");
}

/// It has the port, and answers the probes of its peers.
#[test]
fn a_bridge_that_runs_is_no_fault() {
    let Some(servers) = Servers::up(&[]) else { return };
    let (mut here, mut there) = (servers.shell("server1"), servers.shell("server2"));
    there.must("mvpnet bridge --vni 40 --peer server1 </dev/null & bridge=$!");
    there.must("for try in $(seq 500); do grep -q :12B5 /proc/net/udp /proc/net/udp6 && break; read -rt 0.02 <> <(:); done");
    let words = format!("{} server2", servers.ssh());
    let found = here.doctor(&words);
    let port = line(&found, "vxlan-port", "server2", None);
    assert!(port.status == Status::Ok && port.seen.contains("mvpnet bridge"), "{port:#?}");
    assert_eq!(line(&found, "probe", "server1", Some("server2")).status, Status::Ok);
    assert_eq!(line(&found, "path-mtu", "server1", Some("server2")).status, Status::Ok);
    there.must("kill $bridge; wait $bridge; :");
}

#[test]
fn a_host_without_the_program_is_to_be_given_it() {
    let Some(servers) = Servers::up(&[]) else { return };
    let mut here = servers.shell("server1");
    let found = here.doctor(&format!("{} --mvpnet no-such-mvpnet server2", servers.ssh()));
    let (seen, mend) = fault(line(&found, "program", "server1", Some("server2")), Status::Failure);
    assert_eq!(seen, "there is no `no-such-mvpnet` there");
    assert!(mend.starts_with("scp /"), "{mend}");
}
