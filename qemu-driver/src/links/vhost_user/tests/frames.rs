//! Frames both ways.

use proptest::prelude::*;

use super::*;

/// Lengths at every boundary of headers, buffers and fields.
const LENGTHS: [usize; 17] = [
    1,
    14,
    60,
    64,
    1514,
    1518,
    1523,
    1524,
    1525,
    3060,
    4083,
    4084,
    4085,
    9014,
    65_535,
    65_550,
    MAX_GUEST_FRAME_LEN,
];

fn plain() -> FrontConfig {
    FrontConfig { mergeable: false, receive_buffer_len: 70_000, ring_size: 64, ..FrontConfig::default() }
}

/// Everything that a driver can be like.
fn drivers() -> Vec<FrontConfig> {
    let mut drivers = Vec::new();
    for base in [FrontConfig::default(), plain()] {
        for n in 0..8 {
            let [event_idx, indirect, version_1] = [n & 1, n & 2, n & 4].map(|bit| bit == 0);
            drivers.push(FrontConfig { event_idx, indirect, version_1, ..base });
        }
    }
    drivers
}

#[test]
fn frames_of_all_lengths_pass_both_ways_with_every_kind_of_driver() {
    for driver in drivers() {
        let mut lab = Lab::new(driver);
        for len in LENGTHS {
            let frames = vec![frame(len, len)];
            lab.send(&frames);
            assert_eq!(lab.received(), finished(&frames), "{len} {driver:?}");
            let records = run(&finished(&frames));
            assert_eq!(lab.write(&records), Wrote { octets: records.len(), unsendable: Tally::default() });
            assert_eq!(lab.got(), finished(&frames), "{len} {driver:?}");
        }
        assert_eq!(lab.refusals(), []);
        assert_eq!((lab.stat("bad-chains"), lab.stat("unfinished-from-guest")), (0, 0));
    }
}

#[test]
fn super_frames_keep_what_is_left_to_be_done_both_ways() {
    for driver in [FrontConfig::default(), plain()] {
        let mut lab = Lab::new(driver);
        for len in [1514, 9000, 65_550] {
            let (header, frame) = super_frame(len);
            assert_eq!(lab.front.send([(header.as_ref(), &frame[..])]), 1);
            assert_eq!(lab.received(), [(header, frame.clone())]);
            let records = run(&[(header, frame.clone())]);
            assert_eq!(lab.write(&records).octets, records.len());
            assert_eq!(lab.got(), [(header, frame)]);
        }
        assert_eq!((lab.stat("unfinished-from-guest"), lab.stat("unfinished-to-guest")), (3, 3));
    }
}

#[test]
fn the_header_counts_the_buffers_of_a_frame() {
    let mut lab = Lab::new(FrontConfig::default());
    for (len, buffers) in [(60, 1), (1524, 1), (1525, 2), (3060, 2), (3061, 3), (65_550, 43)] {
        lab.write(&run(&finished(&[frame(len, len)])));
        let mut seen = 0;
        lab.front.receive(|header, _| seen = u16::from_le_bytes([header[10], header[11]]));
        assert_eq!(seen, buffers, "{len}");
    }
}

#[test]
fn frames_with_offloads_that_were_not_offered_are_refused() {
    let (header, frame) = super_frame(9000);
    let none = Offers { segmentation: false, ..Offers::default() };
    let mut lab = Lab::with(FrontConfig::default(), none);
    assert_eq!(lab.front.send([(header.as_ref(), &frame[..])]), 1);
    assert_eq!(lab.received(), []);
    assert_eq!(lab.refusals(), [(DropReason::BadOffload, 9000)]);
    // Nor may the guest be given any.
    let records = run(&[(header, frame)]);
    assert_eq!(
        lab.write(&records),
        Wrote { octets: records.len(), unsendable: Tally { frames: 1, bytes: 9000 } }
    );
    assert_eq!(lab.got(), []);
    // The buffer is the driver's again.
    assert_eq!(lab.front.reclaim(), 1);
}

#[test]
fn a_guest_that_takes_no_unfinished_frames_says_so() {
    let (header, frame) = super_frame(9000);
    let offload = Offload::read(&header.unwrap(), &frame).unwrap().unwrap();
    assert!(Lab::new(FrontConfig::default()).link.takes(&offload));
    let driver = FrontConfig { offloads: false, ..FrontConfig::default() };
    assert!(!Lab::new(driver).link.takes(&offload));
    let offers = Offers { checksum: false, ..Offers::default() };
    assert!(!Lab::with(FrontConfig::default(), offers).link.takes(&offload));
}

#[test]
fn a_header_that_cannot_be_true_is_refused_and_the_next_frame_is_not() {
    let mut lab = Lab::new(FrontConfig::default());
    let bad = [1, 1, 54, 0, 0, 0, 34, 0, 16, 0, 0, 0];
    let good = frame(1, 100);
    assert_eq!(lab.front.send([(Some(&bad), &good[..]), (None, &good[..])]), 2);
    assert_eq!(lab.received(), finished(&[good]));
    assert_eq!(lab.refusals(), [(DropReason::BadOffload, 100)]);
}

#[test]
fn bursts_are_longer_than_the_ring_and_arrive_in_order() {
    let driver = FrontConfig { ring_size: 16, ..FrontConfig::default() };
    let mut lab = Lab::new(driver);
    let frames: Vec<Vec<u8>> = (0..500).map(|n| frame(n, 60 + n % 1000)).collect();
    let (mut sent, mut arrived) = (0, Vec::new());
    while arrived.len() < frames.len() {
        let taken = lab.front.send(frames[sent..].iter().map(|frame| (None, &frame[..])));
        assert!(taken <= 16);
        sent += taken;
        arrived.extend(lab.received());
    }
    assert_eq!(arrived, finished(&frames));

    let records = run(&finished(&frames));
    let (mut written, mut arrived) = (0, Vec::new());
    while arrived.len() < frames.len() {
        let wrote = lab.write(&records[written..]);
        assert_eq!(wrote.unsendable.frames, 0);
        written += wrote.octets;
        let got = lab.got();
        assert!(got.len() <= 16);
        arrived.extend(got);
    }
    assert_eq!(arrived, finished(&frames));
}

#[test]
fn what_does_not_fit_into_the_space_stays_in_the_ring() {
    let mut lab = Lab::new(FrontConfig::default());
    let frames: Vec<Vec<u8>> = (0..5).map(|n| frame(n, 1000)).collect();
    lab.send(&frames);
    let mut space = vec![0; 2 * 1004 + 1003];
    assert_eq!(lab.link.receive(&mut space[..1003]), Ok(Received::Nothing));
    assert_eq!(lab.link.receive(&mut space), Ok(Received::Records(2 * 1004)));
    assert_eq!(sent(&space[..2 * 1004]), finished(&frames[..2]));
    // The others are the guest's until they are taken.
    assert_eq!(lab.front.reclaim(), 2);
    assert_eq!(lab.link.receive(&mut space), Ok(Received::Records(2 * 1004)));
    assert_eq!(lab.link.receive(&mut space), Ok(Received::Records(1004)));
    assert_eq!(sent(&space[..1004]), finished(&frames[4..]));
}

#[test]
fn a_frame_without_buffers_waits_and_one_that_fits_never_is_done_with() {
    // Room for 8 buffers of 1536 octets: a frame of 9000 needs six.
    let driver = FrontConfig { ring_size: 8, ..FrontConfig::default() };
    let mut lab = Lab::new(driver);
    let records = run(&finished(&[frame(1, 9000), frame(2, 9000), frame(3, 13_000), frame(4, 60)]));
    let wrote = lab.write(&records);
    assert_eq!(wrote, Wrote { octets: 9004, unsendable: Tally::default() });
    assert_eq!(lab.write(&records[9004..]), Wrote::default());
    assert_eq!(lab.got(), finished(&[frame(1, 9000)]));
    assert_eq!(lab.write(&records[9004..]).octets, 9004);
    assert_eq!(lab.got(), finished(&[frame(2, 9000)]));
    // All eight are there, and would have to be nine.
    let wrote = lab.write(&records[2 * 9004..]);
    assert_eq!(wrote, Wrote { octets: 13_004 + 64, unsendable: Tally { frames: 1, bytes: 13_000 } });
    assert_eq!(lab.got(), finished(&[frame(4, 60)]));
}

#[test]
fn without_mergeable_buffers_a_frame_that_is_too_long_is_done_with() {
    let driver = FrontConfig { mergeable: false, ..FrontConfig::default() };
    let mut lab = Lab::new(driver);
    let records = run(&finished(&[frame(1, 1525), frame(2, 1524)]));
    assert_eq!(
        lab.write(&records),
        Wrote { octets: records.len(), unsendable: Tally { frames: 1, bytes: 1525 } }
    );
    assert_eq!(lab.got(), finished(&[frame(2, 1524)]));
    // The last buffer is no exception.
    let all = run(&finished(&vec![frame(3, 60); 254]));
    assert_eq!(lab.write(&all).octets, all.len());
    let wrote = lab.write(&records);
    assert_eq!((wrote.octets, wrote.unsendable.frames), (records.len(), 1));
    assert_eq!(lab.got().len(), 255);
}

#[test]
fn records_that_are_none_are_done_with() {
    let mut lab = Lab::new(FrontConfig::default());
    for bytes in
        [&[0x40, 0, 0, 1, 9][..], &[0x80, 0, 0, 12, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], &[0; 4], &[0, 0]]
    {
        let wrote = lab.write(bytes);
        assert_eq!((wrote.octets, wrote.unsendable.frames), (bytes.len(), 1), "{bytes:?}");
    }
    let long = run(&finished(&[vec![0; MAX_GUEST_FRAME_LEN + 1]]));
    assert_eq!(lab.write(&long).unsendable.frames, 1);
    assert_eq!(lab.got(), []);
}

#[test]
fn slices_are_taken_in_order() {
    let mut lab = Lab::new(FrontConfig::default());
    let frames: Vec<Vec<u8>> = (0..7).map(|n| frame(n, 700)).collect();
    let records = run(&finished(&frames));
    let slices: Vec<IoSlice<'_>> = records.chunks(704 * 3).map(IoSlice::new).collect();
    assert_eq!(lab.link.write(&slices).unwrap().octets, records.len());
    assert_eq!(lab.got(), finished(&frames));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_frames_through_any_driver_arrive_whole_and_in_order(
        ring in 3u32..9, mergeable: bool, indirect: bool, event_idx: bool, send_buffer_len in 64usize..5000,
        receive_buffer_len in 100usize..3000, lengths in prop::collection::vec(1usize..3000, 1..60)
    ) {
        let receive_buffer_len = if mergeable { receive_buffer_len } else { 3012 };
        let driver = FrontConfig {
            ring_size: 1 << ring, send_buffer_len, receive_buffer_len, mergeable, event_idx, indirect,
            ..FrontConfig::default()
        };
        let sendable = (1 << ring) * send_buffer_len.min(receive_buffer_len) - OFFLOAD_LEN;
        let frames: Vec<Vec<u8>> =
            (0..).zip(&lengths).map(|(n, len)| frame(n, (*len).min(sendable))).collect();
        let mut lab = Lab::new(driver);
        let (mut arrived, mut echoed, mut sent, mut records) = (Vec::new(), Vec::new(), 0, Vec::new());
        // Sent by the guest, taken, and given back to it.
        for _ in 0..10_000 {
            if echoed.len() == frames.len() {
                break;
            }
            sent += lab.front.send(frames[sent..].iter().map(|frame| (None, &frame[..])));
            let new = lab.received();
            records.extend(run(&new));
            arrived.extend(new);
            let wrote = lab.write(&records);
            prop_assert_eq!(wrote.unsendable.frames, 0);
            records.drain(..wrote.octets);
            echoed.extend(lab.got());
        }
        prop_assert_eq!(&arrived, &finished(&frames));
        prop_assert_eq!(&echoed, &finished(&frames));
        prop_assert_eq!(lab.refusals(), []);
    }
}
