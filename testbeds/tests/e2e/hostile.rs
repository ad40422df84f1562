//! Guests that misbehave, played by load generators: what they do is counted by its reason, the others' traffic goes
//! on, and the job ends well.

use crate::harness::{Ended, Job, Launcher, Need, begin};

/// Each does so many misdeeds.
const MISDEEDS: u64 = 600;
/// So many lengths the generator declares in turn.
const LENGTHS: u64 = 10;

/// Ranks 0 to 5 misbehave, each in its way; 6 pings 7 all the while.
const PING: u32 = 6;

#[test]
fn misdeeds_on_stream_links_are_counted_and_harm_nobody_under_up() {
    six_kinds_of_misdeeds(Launcher::Up, "stream");
}

#[test]
fn misdeeds_on_dgram_links_are_counted_and_harm_nobody_under_up() {
    six_kinds_of_misdeeds(Launcher::Up, "dgram");
}

#[test]
fn misdeeds_on_stream_links_are_counted_and_harm_nobody_under_mpich() {
    six_kinds_of_misdeeds(Launcher::Mpich, "stream");
}

#[test]
fn misdeeds_on_dgram_links_are_counted_and_harm_nobody_under_mpich() {
    six_kinds_of_misdeeds(Launcher::Mpich, "dgram");
}

#[test]
fn misdeeds_on_stream_links_are_counted_and_harm_nobody_under_openmpi() {
    six_kinds_of_misdeeds(Launcher::OpenMpi, "stream");
}

#[test]
fn misdeeds_on_dgram_links_are_counted_and_harm_nobody_under_openmpi() {
    six_kinds_of_misdeeds(Launcher::OpenMpi, "dgram");
}

fn six_kinds_of_misdeeds(launcher: Launcher, net: &str) {
    let Some(_turn) = begin(&[Need::Launcher(launcher)]) else { return };
    let script = format!(
        "0:garbage-lengths,count={MISDEEDS},length=0,to=7; 1:garbage-runts,count={MISDEEDS},size=9,to=7; \
         2:garbage-huge,count={MISDEEDS},to=7; 3:garbage-broadcast,count={MISDEEDS},to=7; \
         4:garbage-absent,count={MISDEEDS},to=7; 5:garbage-forged,count={MISDEEDS},to=7; \
         6:pingpong,to=7,seconds=1; 7:echo"
    );
    let mut job = Job::new(launcher, 8).generators(&script).flags(["-n", net, "-g"]).stays_up().start();
    job.wait_until_up();
    job.wait_for_results(0..=6);
    job.end_with(0);
    let job = job.ended();
    job.assert_code(0);

    for rank in 0..=5 {
        let result = job.result(rank);
        assert_eq!(result["sent"], MISDEEDS, "{result}");
        assert_eq!(result["closed"], false, "the link of rank {rank} was closed: {result}");
        assert_eq!(result["answered"], true, "the link of rank {rank} no longer works: {result}");
    }
    drops(&job, 0, "bad-length", MISDEEDS);
    drops(&job, 1, "runt", MISDEEDS);
    drops(&job, 2, "oversize", MISDEEDS);
    drops(&job, 4, "absent-rank", MISDEEDS);
    // Of six forged sources in turn, two are another rank's or the destination's, one is of a rank that is not
    // there, two are groups; all zeros is an address that nobody else has.
    drops(&job, 5, "multicast-source", MISDEEDS / 3);
    let forged = count(&job, 5, "ingress-drop-forged-source");
    assert!(forged >= MISDEEDS / 3, "{forged} forged sources");
    let flooded = count(&job, 3, "flooded");
    assert!(flooded >= MISDEEDS, "every broadcast of rank 3 is one flood, {flooded} were counted");

    let ping = job.result(PING);
    assert!(ping["pings"].as_u64().unwrap_or_default() > 100, "{ping}");
    assert_eq!(ping["lost"], 0, "the others' traffic goes on: {ping}");
    the_books_balance(&job);
}

#[test]
fn impossible_lengths_on_a_stream_end_that_guest_s_link_and_nothing_else() {
    let Some(_turn) = begin(&[Need::Launcher(Launcher::Up)]) else { return };
    // Where the next frame begins is unknown after such a length.
    let script = "0:garbage-lengths,count=1,length=4294967292,to=3; 1:garbage-noise,count=200,to=3; \
                  2:pingpong,to=3,seconds=1; 3:echo";
    let job = Job::new(Launcher::Up, 4).generators(script).flags(["-n", "stream", "-g"]);
    let mut job = job.stays_up().start();
    job.wait_until_up();
    job.wait_for_results(0..=2);
    job.end_with(0);
    let job = job.ended();
    job.assert_code(0);
    drops(&job, 0, "bad-length", 1);
    assert!(count(&job, 1, "ingress-drop-bad-length") >= 1);
    assert_eq!(job.result(2)["lost"], 0, "{}", job.result(2));
    the_books_balance(&job);
}

#[test]
fn half_a_frame_and_a_link_that_is_cut_disturb_nobody() {
    let Some(_turn) = begin(&[Need::Launcher(Launcher::Up)]) else { return };
    let script = "0:garbage-half; 1:garbage-cut; 2:pingpong,to=3,seconds=1; 3:echo";
    let job = Job::new(Launcher::Up, 4).generators(script).flags(["-n", "stream", "-g"]);
    let mut job = job.stays_up().start();
    job.wait_until_up();
    job.wait_for_results(0..=2);
    job.end_with(0);
    let job = job.ended();
    job.assert_code(0);
    assert_eq!(job.result(2)["lost"], 0, "{}", job.result(2));
    the_books_balance(&job);
}

#[test]
fn every_length_that_ever_broke_a_switch_is_survived_on_dgram_links() {
    let Some(_turn) = begin(&[Need::Launcher(Launcher::Up)]) else { return };
    let script = format!("0:garbage-lengths,count={MISDEEDS},to=1; 1:echo");
    let mut job =
        Job::new(Launcher::Up, 2).generators(&script).flags(["-n", "dgram", "-g"]).stays_up().start();
    job.wait_until_up();
    job.wait_for_results(0..=0);
    job.end_with(0);
    let job = job.ended();
    job.assert_code(0);
    assert_eq!(job.result(0)["answered"], true, "{}", job.result(0));
    let dropped =
        ["bad-length", "runt", "oversize"].map(|reason| count(&job, 0, &format!("ingress-drop-{reason}")));
    assert!(dropped.iter().sum::<u64>() >= MISDEEDS / LENGTHS * 3, "{dropped:?}");
    the_books_balance(&job);
}

#[test]
fn a_strict_mac_policy_counts_addresses_that_are_not_the_guest_s_own() {
    let Some(_turn) = begin(&[Need::Launcher(Launcher::Up)]) else { return };
    let script = format!("0:garbage-forged,count={MISDEEDS},to=1; 1:echo");
    let job =
        Job::new(Launcher::Up, 2).generators(&script).flags(["--mac-policy", "strict", "-g"]).stays_up();
    let mut job = job.start();
    job.wait_until_up();
    job.wait_for_results(0..=0);
    job.end_with(0);
    let job = job.ended();
    job.assert_code(0);
    let dropped: u64 = ["forged-source", "multicast-source", "foreign-source"]
        .iter()
        .map(|reason| count(&job, 0, &format!("ingress-drop-{reason}")))
        .sum();
    assert_eq!(dropped, MISDEEDS, "not one got through");
    assert_eq!(job.result(0)["answered"], true);
    the_books_balance(&job);
}

fn count(job: &Ended, rank: u32, name: &str) -> u64 {
    let counters = job.counters();
    *counters.get(&format!("{rank}.{name}")).unwrap_or_else(|| panic!("rank {rank} counts no {name}"))
}

fn drops(job: &Ended, rank: u32, reason: &str, expected: u64) {
    let counted = count(job, rank, &format!("ingress-drop-{reason}"));
    assert_eq!(counted, expected, "rank {rank}: {reason}");
}

/// For every rank: frames in are forwarded, flooded, answered, consumed or dropped by reason; copies that were
/// offered were sent or dropped by reason.
fn the_books_balance(job: &Ended) {
    let counters = job.counters();
    let ranks = counters.keys().filter_map(|name| name.split_once('.')?.0.parse::<u32>().ok()).max();
    for rank in 0..=ranks.expect("there are counters") {
        let sum = |start: &str| -> u64 {
            let start = format!("{rank}.{start}");
            counters.iter().filter(|(name, _)| name.starts_with(&start)).map(|(_, value)| value).sum()
        };
        let of = |name: &str| count(job, rank, name);
        let received = of("guest-received-frames") + of("peers-received-frames");
        let decided =
            of("forwarded") + of("flooded") + sum("answered-") + sum("consumed-") + sum("ingress-drop-");
        assert_eq!(received, decided, "rank {rank}: frames in");
        for port in ["guest", "peers"] {
            let sent = of(&format!("{port}-sent-frames")) + sum(&format!("{port}-egress-drop-"));
            assert_eq!(of(&format!("{port}-offered-frames")), sent, "rank {rank}: copies for {port}");
        }
    }
    assert_eq!(job.stderr().matches("do not balance").count(), 0);
}
