//! One test for simulated and for real guests: what holds in the simulation holds under qemu.

use std::time::Duration;

use mvpnet_sim::cluster::{Cluster, ClusterError, SimCluster};
use mvpnet_testbeds::cluster::{QemuCluster, Spec};

use crate::harness::leftovers::{Before, Places};
use crate::harness::processes::MARK;
use crate::harness::setting::tiny;
use crate::harness::{Launcher, Need, begin, home::Home};

const SIZE: u32 = 3;

#[test]
fn a_cluster_breaks_and_mends_in_the_simulation() {
    let mut cluster = SimCluster::new(1, SIZE).unwrap();
    breaks_and_mends(&mut cluster).unwrap();
}

#[test]
fn a_cluster_breaks_and_mends_under_qemu() {
    let Some(_turn) = begin(&[Need::Guests, Need::Launcher(Launcher::Up)]) else { return };
    let home = Home::new();
    let before = Before::look();
    let mut cluster = QemuCluster::start(spec(&home)).unwrap();
    breaks_and_mends(&mut cluster).unwrap();
    cluster.end().unwrap();
    nothing_is_left(&home, &before);
}

#[test]
fn a_cluster_that_is_dropped_leaves_nothing() {
    let Some(_turn) = begin(&[Need::Guests, Need::Launcher(Launcher::Up)]) else { return };
    let home = Home::new();
    let before = Before::look();
    let mut cluster = QemuCluster::start(Spec { size: 2, ..spec(&home) }).unwrap();
    // One guest is dead, the other stands still and does not hear the power button.
    cluster.say("crash 0").unwrap();
    cluster.pause(1).unwrap();
    drop(cluster);
    nothing_is_left(&home, &before);
}

/// The test itself: it does not know what it runs on.
fn breaks_and_mends(cluster: &mut impl Cluster) -> Result<(), ClusterError> {
    all_reach_all(cluster)?;
    cluster.partition(&[&[0, 1], &[2]])?;
    cluster.ping(0, 1)?;
    for (from, to) in [(0, 2), (2, 1)] {
        let asked = cluster.ping(from, to);
        assert!(asked.as_ref().is_err_and(ClusterError::is_no_answer), "{from} reaches {to}: {asked:?}");
    }
    cluster.heal()?;
    all_reach_all(cluster)?;

    cluster.set_link(0, 1, "latency=50ms")?;
    let (far, near) = (cluster.ping(0, 1)?, cluster.ping(0, 2)?);
    assert!(far >= Duration::from_millis(100), "{far:?} is less than twice the latency");
    assert!(near < far, "another link is as slow: {near:?}, {far:?}");
    cluster.set_link(0, 1, "ideal")?;

    cluster.say("access 1 loss=100%")?;
    assert!(cluster.ping(0, 1).is_err_and(|error| error.is_no_answer()));
    cluster.say("access 1 ideal")?;

    cluster.pause(1)?;
    assert!(cluster.ping(0, 1).is_err_and(|error| error.is_no_answer()));
    cluster.resume(1)?;
    cluster.ping(0, 1)?;

    cluster.kill(2)?;
    assert!(cluster.ping(0, 2).is_err_and(|error| error.is_no_answer()));
    assert!(matches!(cluster.exec(2, "true"), Err(ClusterError::Unreachable { rank: 2, .. })));
    cluster.restart(2)?;
    all_reach_all(cluster)?;
    assert_eq!(cluster.exec(2, "hostname")?.stdout, "n0002\n");
    let said = cluster.exec(0, "ping -c 2 -i 0.2 n0002")?;
    assert!(said.is_success(), "{said:?}");

    assert!(matches!(cluster.kill(SIZE), Err(ClusterError::Change(_))), "there is no guest {SIZE}");
    Ok(())
}

fn all_reach_all(cluster: &mut impl Cluster) -> Result<(), ClusterError> {
    for from in 0..cluster.size() {
        for to in (0..cluster.size()).filter(|to| *to != from) {
            cluster.ping(from, to)?;
        }
    }
    Ok(())
}

fn spec(home: &Home) -> Spec {
    Spec {
        program: Launcher::Up.program(),
        tiny: tiny(""),
        size: SIZE,
        environment: vec![(MARK.to_owned(), home.name.clone())],
    }
}

fn nothing_is_left(home: &Home, before: &Before) {
    let places = Places {
        mark: &home.name,
        home: home.path(),
        emptied: &[],
        logs: &home.at("log"),
        stays: &[],
        ports: &std::collections::BTreeSet::new(),
    };
    let left = before.left(&places);
    assert!(left.is_empty(), "this is left of the cluster: {left:#?}");
}
