//! What a wire between the two servers shows: VXLAN with the right numbers, and every frame between guests.

use std::collections::BTreeSet;
use std::fs::File;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use mvpnet_testbeds::two_servers::{Host, Plan, TwoServers, bridges};

use crate::harness::{Lab, Launcher, Need, Whose, begin, home::Home, wait_for};

const SETTLING: Duration = Duration::from_secs(20);
const PINGS: usize = 5;

/// tshark on server1's end of the cable.
struct Watch {
    tshark: Child,
    home: Home,
}

/// One VXLAN datagram, as tshark shows it.
#[derive(Debug)]
struct Seen {
    source: String,
    vni: String,
    /// The number of an echo request inside (ICMP type 8).
    request: Option<String>,
}

impl Watch {
    fn begin(servers: &TwoServers) -> Self {
        let home = Home::new();
        let file = home.at("wire.pcapng");
        let tshark = servers
            .command(Host::Server1, "tshark")
            .args(["-q", "-i", "eth0", "-f", "udp port 4789", "-w"])
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(home.at("stderr")).unwrap())
            .spawn()
            .unwrap();
        let watch = Self { tshark, home };
        let begun = wait_for(SETTLING, || watch.home.read("stderr").contains("Capturing on").then_some(()));
        assert!(begun.is_some(), "tshark: {}", watch.home.read("stderr"));
        watch
    }

    /// How many echo requests it has written down so far, each on its way there and back.
    fn requests(&self) -> Vec<Seen> {
        let fields = ["ip.src", "vxlan.vni", "icmp.type", "icmp.seq"];
        let mut read = Command::new("tshark");
        read.arg("-r").arg(self.home.at("wire.pcapng")).args(["-T", "fields", "-E", "occurrence=l"]);
        read.args(fields.into_iter().flat_map(|field| ["-e", field]));
        // The outer source is the first of two.
        read.args(["-e", "_ws.col.Info"]);
        let output = read.output().unwrap();
        let lines = String::from_utf8_lossy(&output.stdout).into_owned();
        lines.lines().filter_map(Seen::read).collect()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        bridges::end(&mut self.tshark);
    }
}

impl Seen {
    fn read(line: &str) -> Option<Self> {
        let mut columns = line.split('\t').map(str::to_owned);
        let [source, vni, kind, number] = std::array::from_fn(|_| columns.next().unwrap_or_default());
        (!vni.is_empty()).then_some(Self { source, vni, request: (kind == "8").then_some(number) })
    }
}

#[test]
fn every_frame_between_real_guests_crosses_the_wire_there_and_back_as_vxlan() {
    let needs = [Need::Servers, Need::Guests, Need::Wireshark, Need::Launcher(Launcher::Up)];
    let Some(_turn) = begin(&needs) else { return };
    let mut lab = Lab::up(Whose::Ours, Whose::Ours, Plan::with_guests(2));
    let all = lab.guests();
    all[0].reaches_within(SETTLING, &all[1].ip());
    let watch = Watch::begin(&lab.servers);
    all[0].run(&format!("ping -c {PINGS} {}", all[1].ip()));
    let complete = wait_for(SETTLING, || {
        let seen = watch.requests();
        (seen.iter().filter(|seen| seen.request.is_some()).count() >= 2 * PINGS).then_some(seen)
    });
    let seen = complete.unwrap_or_else(|| panic!("not every request was seen twice: {:#?}", watch.requests()));
    let vnis: BTreeSet<&str> = seen.iter().map(|seen| seen.vni.as_str()).collect();
    assert_eq!(vnis, BTreeSet::from(["40", "41"]), "one VNI for each guest");
    let requests = |vni: &str| seen.iter().filter(|seen| seen.vni == vni && seen.request.is_some()).count();
    assert_eq!((requests("40"), requests("41")), (PINGS, PINGS), "there by one tunnel, back by the other: {seen:#?}");
    drop(watch);
    // No bridge, no way: nothing passes inside server1.
    let bridge = lab.bridge.take().unwrap();
    bridge.signal(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(bridge.ended(), 0);
    assert!(!all[0].reaches(&all[1].ip()), "the guests have no other way to each other");
    lab.start_bridge(Whose::Ours, 2);
    all[0].reaches_within(SETTLING, &all[1].ip());
    lab.end_guests();
}
