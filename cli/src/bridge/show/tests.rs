//! What people see of a bridge.

use mvpnet_node::bridge::{FdbStatus, PortStatus};

use super::*;

fn a_bridge() -> Status {
    let port = |vni: u32, frames, last_seen_s, drops: &[(&str, u64)]| PortStatus {
        vni,
        peer: format!("192.0.2.{}:4789", vni - 39),
        path_mtu: 1500,
        received: Volume { frames, bytes: frames * 1464 },
        sent: Volume { frames: 7, bytes: 700 },
        drops: drops.iter().map(|(reason, count)| ((*reason).to_owned(), *count)).collect(),
        last_seen_s,
    };
    let entry = |last: u32, vni, age_s| FdbStatus { mac: format!("52:55:00:00:00:{last:02x}"), vni, age_s };
    Status {
        name: "cluster".into(),
        pid: 4711,
        uptime_s: 7384,
        listen: "0.0.0.0:4789".into(),
        mtu: 1450,
        ports: vec![port(40, 1_234_567, Some(3), &[("oversize", 2)]), port(41, 0, None, &[])],
        fdb: vec![entry(1, 41, 250), entry(0, 40, 3)],
        refusals: [("unknown-peer".to_owned(), 9)].into(),
        unreachable: 0,
        kernel_drops: 5,
        books_balance: true,
    }
}

#[test]
fn a_table_shows_each_vni_and_who_was_learned_behind_it() {
    insta::assert_snapshot!(table(&a_bridge()), @"
    bridge cluster (process 4711), up 2 h 3 min, on UDP 0.0.0.0:4789, MTU 1450 for the guests

    VNI  PEER            RECEIVED           SENT       DROPPED  LAST SEEN
    40   192.0.2.1:4789  1234567 (1.7 GiB)  7 (700 B)  2        3 s ago
    41   192.0.2.2:4789  0 (0 B)            7 (700 B)  0        never

    MAC                VNI  LAST SEEN
    52:55:00:00:00:00  40   3 s ago
    52:55:00:00:00:01  41   4 min ago

    frames dropped: oversize 2
    datagrams refused: unknown-peer 9
    datagrams that the kernel had no room for: 5
    ");
}

#[test]
fn the_summary_is_short_and_says_what_was_lost() {
    insta::assert_snapshot!(summary(&a_bridge()), @"
    mvpnet: up 2 h 3 min: received 1234567 (1.7 GiB), sent 14 (1.4 KiB)
    mvpnet: frames dropped: oversize 2
    mvpnet: datagrams refused: unknown-peer 9
    mvpnet: datagrams that the kernel had no room for: 5
    ");
}

#[test]
fn a_long_table_of_addresses_is_cut() {
    let mut bridge = a_bridge();
    let entry = bridge.fdb[0].clone();
    bridge.fdb = vec![entry; 40];
    assert!(table(&bridge).contains("\nand 8 more (--json has them all)\n"));
    bridge.fdb.clear();
    assert!(table(&bridge).contains("\nno addresses learned yet\n"));
    assert!(json(&bridge).ends_with("}\n"));
}

#[test]
fn sizes_and_times_are_short() {
    let sizes = [0, 1023, 1024, 10 << 10, 1 << 20, 1536 << 20].map(size);
    assert_eq!(sizes, ["0 B", "1023 B", "1.0 KiB", "10 KiB", "1.0 MiB", "1.5 GiB"]);
    let times = [59, 60, 3600, 7384, 90_000].map(duration);
    assert_eq!(times, ["59 s", "1 min", "1 h 0 min", "2 h 3 min", "1 d 1 h"]);
}
