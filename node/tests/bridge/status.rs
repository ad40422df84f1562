//! What a status looks like as JSON: programs read it, so it stays as it is.

use super::lab::{BROADCAST, Lab, Peer, frame, mac};

#[test]
fn the_status_is_what_programs_know() {
    let peers = [2, 3, 9].map(Peer::on);
    let [a, b, stranger] = &peers;
    let lab = Lab::start(&[a.tunnel(40), b.tunnel(41)]);
    a.send(&lab, 40, &frame(BROADCAST, mac(1), "to all"));
    b.receive();
    a.send(&lab, 40, &frame(mac(1), mac(1), "to myself"));
    stranger.send(&lab, 40, &frame(BROADCAST, mac(9), "let me in"));
    let mut status = lab.wait(|status| !status.refusals.is_empty() && status.received().frames == 2);
    lab.stop();
    // What differs from run to run.
    assert_eq!(status.pid, std::process::id());
    assert_eq!(status.ports[0].peer, a.address().to_string());
    (status.pid, status.uptime_s, status.listen) = (4711, 0, "127.0.0.1:4789".to_owned());
    for port in &mut status.ports {
        port.peer = format!("127.0.0.{}:4789", port.vni - 38);
        port.last_seen_s = port.last_seen_s.map(|_| 0);
    }
    status.fdb.iter_mut().for_each(|entry| entry.age_s = 0);
    insta::assert_snapshot!(serde_json::to_string_pretty(&status).unwrap());
}
