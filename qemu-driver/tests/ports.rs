//! Ports reserved by several processes at once.
//!
//! The other processes are this test program once more: [`reserves_ports`], which does nothing unless it is
//! told to.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};

use mvpnet_qemu_driver::ports;
use mvpnet_switch::World;

const WANTED: &str = "MVPNET_TEST_RANK";

/// Reserves four ports for one rank, names them on standard error, and keeps them until its standard input ends.
#[test]
fn reserves_ports() {
    let Ok(rank) = std::env::var(WANTED) else { return };
    let rank = World::new(65_000).unwrap().rank(rank.parse().unwrap()).unwrap();
    let reserved: Vec<_> = (0..4).map(|_| ports::reserve(rank, 100).unwrap()).collect();
    let numbers: Vec<_> = reserved.iter().map(|reservation| reservation.port().to_string()).collect();
    eprintln!("reserved {}", numbers.join(" "));
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
}

#[test]
fn processes_that_want_the_same_port_get_different_ones_and_leave_none_taken() {
    let mut processes: Vec<_> = (0..12)
        .map(|_| {
            Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "reserves_ports", "--nocapture"])
                .env(WANTED, "25000")
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    let mut ports = BTreeSet::new();
    for process in &mut processes {
        let lines = BufReader::new(process.stderr.take().unwrap()).lines().map_while(Result::ok);
        let line =
            lines.into_iter().find_map(|line| Some(line.strip_prefix("reserved ")?.to_owned())).unwrap();
        ports.extend(line.split(' ').map(|port| port.parse::<u16>().unwrap()));
    }
    assert_eq!(ports.len(), 12 * 4, "{ports:?}");
    for (at, process) in processes.iter_mut().enumerate() {
        // Half of them leave, half are killed.
        if at % 2 == 0 {
            process.kill().unwrap();
        }
        drop(process.stdin.take());
        process.wait().unwrap();
    }
    let rank = World::new(65_000).unwrap().rank(25_000).unwrap();
    assert_eq!(Some(&ports::reserve(rank, 100).unwrap().port()), ports.first());
}
