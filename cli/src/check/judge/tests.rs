//! What readings are taken to mean.

use std::time::Duration;

use super::*;
use crate::check::readings::{Nic, PathReading, SshReading, WrongName};

fn healthy(rank: u32) -> Facts {
    Facts {
        host: name(rank),
        cloud_init: Some(CloudInit { code: Some(0), text: "status: done\n".into() }),
        nic: Some(Nic { name: "mvp0".into(), mtu: 1500 }),
        ..Facts::default()
    }
}

fn guests<T>(of: impl Fn(u32) -> T) -> Vec<Guest<T>> {
    (0..2).map(|rank| Guest { rank, read: Ok(of(rank)) }).collect()
}

/// The statuses, and all that is said.
fn outline(findings: &[Finding]) -> (Vec<Status>, String) {
    let said = findings.iter().map(|it| format!("{:?} {} {:?}\n", it.guest, it.seen, it.mend)).collect();
    (findings.iter().map(|it| it.status).collect(), said)
}

#[test]
fn a_healthy_cluster_has_one_good_line_for_each_check() {
    let guests = guests(healthy);
    for findings in [agents(&guests), names(&guests), cloud_init(&guests), clocks(&guests)] {
        assert_eq!(outline(&findings).0, [Status::Ok], "{findings:?}");
    }
}

#[test]
fn a_guest_that_does_not_answer_is_named_and_the_others_are_looked_at() {
    let mut guests = guests(healthy);
    guests[1].read = Err("its agent does not answer".into());
    let (statuses, said) = outline(&agents(&guests));
    assert_eq!(statuses, [Status::Failed]);
    assert!(said.contains("n0001") && said.contains("mvpnet console 1"), "{said}");
    assert_eq!(outline(&names(&guests)).0, [Status::Ok]);
}

#[test]
fn names_that_lead_elsewhere_and_guests_with_other_names_are_said() {
    let wrong = |name: &str| WrongName {
        name: name.into(),
        wanted: "10.0.0.2".into(),
        found: vec!["127.0.1.1".into()],
    };
    let guests = guests(|rank| match rank {
        0 => Facts { wrong_names: vec![wrong("n0001"), wrong("n0007")], ..healthy(0) },
        _ => Facts { host: "debian".into(), ..healthy(1) },
    });
    let (statuses, said) = outline(&names(&guests));
    assert_eq!(statuses, [Status::Failed, Status::Warning]);
    assert!(said.contains("n0001 should be 10.0.0.2, and is 127.0.1.1, and 1 more"), "{said}");
    assert!(said.contains("calls itself debian"), "{said}");
}

#[test]
fn cloud_init_is_understood_in_all_its_versions() {
    let stage = |code: i32, text: &str| Stage::of(&CloudInit { code: Some(code), text: text.into() });
    assert_eq!(stage(0, "status: done\ntime: x\ndetail:\nDataSourceNoCloud [seed=/dev/vdb]\n"), Stage::Done);
    assert_eq!(stage(0, "status: running\n"), Stage::Running);
    assert_eq!(stage(0, "status: not started\n"), Stage::Running);
    assert_eq!(
        stage(1, "status: error\ndetail:\n('scripts-user', RuntimeError('x'))\n"),
        Stage::Error("ended with errors".into())
    );
    let new = "status: done\nextended_status: degraded done\nboot_status_code: enabled-by-generator\n\
               detail: DataSourceNoCloud\nerrors: []\nrecoverable_errors:\nWARNING:\n\t- Failed at line 3\n\t- again\n";
    let degraded = stage(2, new);
    assert!(
        matches!(&degraded, Stage::Degraded(why) if why.starts_with("done, but degraded")),
        "{degraded:?}"
    );
    let error = stage(
        1,
        "status: error\nextended_status: error - done\nerrors:\n\t- no such package\nrecoverable_errors: {}\n",
    );
    assert_eq!(error, Stage::Error("ended with errors: - no such package".into()));
    assert!(matches!(stage(0, "status: disabled\n"), Stage::Degraded(_)));
    assert!(matches!(stage(127, "not found"), Stage::Error(_)));
    let silent = Stage::of(&CloudInit { code: None, text: String::new() });
    assert_eq!(silent, Stage::Error("cloud-init status does not answer".into()));
}

#[test]
fn guests_without_cloud_init_are_no_failure() {
    let guests =
        guests(|rank| Facts { cloud_init: healthy(rank).cloud_init.filter(|_| rank == 0), ..healthy(rank) });
    assert_eq!(outline(&cloud_init(&guests)).0, [Status::Ok, Status::NotChecked]);
}

#[test]
fn clocks_that_are_apart_are_a_warning_and_a_common_error_is_none() {
    let apart = guests(|rank| Facts { ahead: f64::from(rank) * 7.5, ..healthy(rank) });
    let (statuses, said) = outline(&clocks(&apart));
    assert_eq!(statuses, [Status::Warning]);
    assert!(said.contains("n0001 is 7.5 s ahead of n0000"), "{said}");
    let together = guests(|rank| Facts { ahead: -1.0, ..healthy(rank) });
    assert_eq!(outline(&clocks(&together)).0, [Status::Ok]);
}

fn way(peer: u32, code: Option<i32>, said: &str) -> SshReading {
    SshReading { peer: name(peer), refused: false, code, said: said.into(), seconds: 1.5 }
}

#[test]
fn ssh_is_fine_only_without_a_word() {
    let of =
        |one: SshReading| outline(&ssh("ssh-user", "joe", false, &[Guest { rank: 0, read: Ok(vec![one]) }]));
    let (statuses, said) = of(way(1, Some(0), ""));
    assert_eq!(statuses, [Status::Ok]);
    assert!(said.contains("n0000 → n0001 with 1.5 s"), "{said}");
    assert_eq!(of(way(1, Some(0), "Warning: Permanently added")).0, [Status::Ok, Status::Warning]);
    let (statuses, said) = of(way(1, Some(255), "Host key verification failed."));
    assert_eq!(statuses, [Status::Failed]);
    assert!(
        said.contains("exit code 255") && said.contains("mvpnet exec -u joe 0 'ssh -v n0001 true'"),
        "{said}"
    );
    assert_eq!(of(way(1, None, "")).0, [Status::Failed]);
}

#[test]
fn guests_without_sshd_are_not_checked_unless_they_must_have_one() {
    let refused = || SshReading { refused: true, ..way(1, None, "no sshd listens there") };
    let guests = [Guest { rank: 0, read: Ok(vec![refused()]) }];
    assert_eq!(outline(&ssh("ssh-root", "root", false, &guests)).0, [Status::NotChecked]);
    assert_eq!(outline(&ssh("ssh-root", "root", true, &guests)).0, [Status::Failed]);
    let some = [Guest { rank: 0, read: Ok(vec![refused(), way(2, Some(0), "")]) }];
    assert_eq!(outline(&ssh("ssh-root", "root", false, &some)).0, [Status::Failed], "one of them has none");
    assert_eq!(outline(&ssh("ssh-root", "root", false, &[])).0, [Status::NotChecked]);
}

fn path(small: &str, full: &str, over: &str) -> PathReading {
    PathReading { peer: name(1), mtu: 1500, small: small.into(), full: full.into(), over: over.into() }
}

#[test]
fn a_hole_in_the_mtu_is_told_from_a_dead_path() {
    let of = |one: PathReading| outline(&paths(&[Guest { rank: 0, read: Ok(vec![one]) }]));
    assert_eq!(of(path("answered", "answered", "Message too long")).0, [Status::Ok]);
    let (statuses, said) = of(path("answered", "nothing", "Message too long"));
    assert_eq!(statuses, [Status::Failed]);
    assert!(said.contains("short packets pass, but none of 1500 bytes"), "{said}");
    assert!(of(path("nothing", "nothing", "nothing")).1.contains("no answer"));
    assert_eq!(of(path("answered", "answered", "answered")).0, [Status::Warning]);
}

#[test]
fn guests_with_different_mtus_are_a_failure() {
    let fine = |mtu| PathReading { mtu, ..path("answered", "answered", "Message too long") };
    let guests = guests(|rank| vec![fine(if rank == 0 { 1500 } else { 9000 })]);
    let (statuses, said) = outline(&paths(&guests));
    assert_eq!(statuses, [Status::Failed]);
    assert!(said.contains("1500 in n0000; 9000 in n0001"), "{said}");
}

/// What the program prints, line by line.
const RANKS: &str = "mvpnet-check rank 0 of 2 on n0000\n[1,1]<stdout>:mvpnet-check rank 1 of 2 on n0001\n";
const SHORT: &str = "mvpnet-check ring 1 begins 0.000\nmvpnet-check ring 1 ends 900.000\n\
                     mvpnet-check ping-pong 1 begins 0.000\nmvpnet-check ping-pong 1 ends 250.000\n";

fn judged(code: Option<i32>, output: &str, errors: &str) -> Finding {
    let run = MpiRun {
        library: "MPICH 4.0.2".into(),
        program: "compiled there",
        code,
        output: output.into(),
        errors: errors.into(),
        patience: Duration::from_secs(240),
    };
    mpi(&run, 2)
}

#[test]
fn a_ring_that_ends_has_its_figures() {
    let long = "mvpnet-check ping-pong 4194304 begins 0\nmvpnet-check ping-pong 4194304 ends 100000.0\n";
    let finding = judged(Some(0), &format!("{RANKS}{SHORT}{long}"), "");
    assert_eq!(finding.status, Status::Ok, "{finding:?}");
    assert!(finding.seen.contains("messages of 1 byte to 4.0 MiB, 250 µs one way"), "{}", finding.seen);
    assert!(finding.seen.contains("41.9 MB/s"), "{}", finding.seen);
}

#[test]
fn the_size_that_hangs_is_named() {
    let hangs = format!("{RANKS}{SHORT}mvpnet-check ring 9000 begins 0.000\n");
    let finding = judged(None, &hangs, "");
    assert_eq!(finding.status, Status::Failed);
    assert!(finding.seen.contains("the ring with messages of 8.8 KiB hangs for 240 s"), "{}", finding.seen);
    assert!(finding.mend.unwrap().contains("MTU"));
}

#[test]
fn whatever_else_goes_wrong_is_told_apart() {
    let says = |finding: Finding, part: &str| {
        assert_eq!(finding.status, Status::Failed);
        assert!(finding.seen.contains(part), "{}", finding.seen);
    };
    says(
        judged(Some(255), "", "Permission denied (publickey)"),
        "does not start on all guests (exit code 255)",
    );
    says(judged(Some(255), "", "Permission denied (publickey)"), "Permission denied");
    says(judged(None, "", ""), "silent for 240 s");
    let alone = "mvpnet-check rank 0 of 1 on n0000\nmvpnet-check rank 0 of 1 on n0001\n";
    says(judged(Some(0), alone, ""), "its ranks see 1 instead of 2");
    let together = RANKS.replace("n0001", "n0000");
    says(judged(Some(0), &together, ""), "run on n0000 only");
    let differs = SHORT.replace("ring 1 ends", "ring 1 differs");
    says(judged(Some(0), &format!("{RANKS}{differs}"), ""), "messages of 1 byte in the ring arrive changed");
    says(judged(Some(1), &format!("{RANKS}{SHORT}"), "aborted"), "ended with exit code 1");
    says(judged(None, &format!("{RANKS}{SHORT}"), ""), "all messages passed, but it did not end");
}
