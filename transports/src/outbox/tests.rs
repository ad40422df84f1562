use mvpnet_switch::World;
use proptest::prelude::*;

use super::*;
use crate::records::records;

fn rank(index: u32) -> Rank {
    World::new(8).expect("8 is a size").rank(index).expect("below 8")
}

fn limits() -> FlowLimits {
    FlowLimits::MESSAGES.workable()
}

fn run_of(frames: usize, len: usize) -> Vec<u8> {
    let frame: Vec<u8> = (len as u32).to_be_bytes().into_iter().chain(std::iter::repeat_n(7, len)).collect();
    frame.repeat(frames)
}

#[derive(Clone, Debug)]
enum Step {
    Run(usize, usize),
    Flood(usize),
    Control(usize),
    Leave,
    Consume,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (1usize..40, 14usize..1600).prop_map(|(frames, len)| Step::Run(frames, len)),
        (14usize..MAX_FRAME_LEN + 2).prop_map(Step::Flood),
        (0usize..MAX_CONTROL_LEN + 2).prop_map(Step::Control),
        Just(Step::Leave),
        Just(Step::Consume),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Whatever is queued, sent and consumed in whatever order: every accepted record leaves once, in its
    /// lane's order, and neither the queue nor what is on the way exceeds its bound.
    #[test]
    fn accepted_records_leave_once_in_order_within_bounds(steps in prop::collection::vec(step(), 1..300)) {
        let limits = FlowLimits { window: 300 << 10, queue: 100 << 10, ..FlowLimits::MESSAGES }.workable();
        let (mut outbox, mut pool) = (Outbox::new(limits), Pool::new(64));
        let (mut accepted, mut left) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
        let mut on_the_way: Vec<VecDeque<u64>> = vec![VecDeque::new(), VecDeque::new()];
        let mut consumed = [0, 0];
        for step in steps {
            match step {
                Step::Run(frames, len) => if outbox.send_run(&mut pool, &run_of(frames, len)).is_ok() {
                    accepted[0].extend(std::iter::repeat_n(len, frames));
                },
                Step::Flood(len) => if outbox.send(&mut pool, RecordKind::Flood, rank(3), &vec![1; len]).is_ok() {
                    accepted[0].push(len);
                },
                Step::Control(len) => if outbox.send(&mut pool, RecordKind::Control, rank(3), &vec![2; len]).is_ok() {
                    accepted[1].push(len);
                },
                Step::Leave => if let Some((lane, batch)) = outbox.next() {
                    let lane = lane as usize;
                    left[lane].extend(records(batch.records()).map(|record| record.expect("whole records").frame.len()));
                    on_the_way[lane].push_back(limits.charge(batch.message_len()));
                    pool.put(batch);
                },
                Step::Consume => for (at, lane) in [Lane::Data, Lane::Control].into_iter().enumerate() {
                    consumed[at] += on_the_way[at].pop_front().unwrap_or(0);
                    outbox.credit(lane, consumed[at]);
                },
            }
            prop_assert!(outbox.data.queued <= limits.queue && outbox.control.queued <= limits.control_queue);
            prop_assert!(on_the_way[0].iter().sum::<u64>() <= limits.window);
            prop_assert!(on_the_way[1].iter().sum::<u64>() <= limits.control_window);
            prop_assert!(on_the_way[0].len() + on_the_way[1].len() <= limits.batches_on_the_way());
        }
        for (at, lane) in [Lane::Data, Lane::Control].into_iter().enumerate() {
            while !outbox.queue(lane).sealed.is_empty() || outbox.queue(lane).open.is_some() {
                consumed[at] += on_the_way[at].drain(..).sum::<u64>();
                outbox.credit(lane, consumed[at]);
                let batch = outbox.queue(lane).next(&limits).expect("an empty window lets the next batch go");
                left[at].extend(records(batch.records()).map(|record| record.expect("whole records").frame.len()));
                on_the_way[at].push_back(limits.charge(batch.message_len()));
            }
        }
        prop_assert_eq!(outbox.queued(), 0);
        prop_assert_eq!(accepted, left);
    }
}

#[test]
fn small_records_share_a_batch_while_the_window_is_shut() {
    let (mut outbox, mut pool) = (Outbox::new(limits()), Pool::new(64));
    while outbox.send_run(&mut pool, &run_of(40, 1514)).is_ok() {
        while outbox.next().is_some() {}
    }
    let before = pool.made();
    let mut frames = 0;
    while outbox.send_run(&mut pool, &run_of(1, 60)).is_ok() {
        frames += 1;
    }
    assert!(frames > 100, "{frames} frames fitted in what was left of the queue");
    assert!(pool.made() - before <= 1);
}

#[test]
fn a_shut_data_window_does_not_hold_control_back() {
    let (mut outbox, mut pool) = (Outbox::new(limits()), Pool::new(64));
    while outbox.send_run(&mut pool, &run_of(40, 1514)).is_ok() {
        while outbox.next().is_some() {}
    }
    assert_eq!(outbox.send_run(&mut pool, &run_of(40, 1514)), Err(SendError::Full));
    assert!(outbox.next().is_none());
    outbox.send(&mut pool, RecordKind::Control, rank(0), b"stop").expect("control has its own bound");
    let (lane, batch) = outbox.next().expect("control has its own window");
    assert_eq!((lane, batch.records()), (Lane::Control, &b"\x02\0\0\x04stop"[..]));
}

#[test]
fn control_has_a_bound_of_its_own() {
    let (mut outbox, mut pool) = (Outbox::new(limits()), Pool::new(64));
    let mut bytes = 0;
    while outbox.send(&mut pool, RecordKind::Control, rank(0), &[0; 1000]).is_ok() {
        bytes += 1004;
    }
    assert!(bytes <= limits().control_queue && bytes + 1004 > limits().control_queue);
    outbox.send_run(&mut pool, &run_of(1, 60)).expect("a full control queue leaves data alone");
}

#[test]
fn what_is_too_long_is_refused_with_its_length() {
    let (mut outbox, mut pool) = (Outbox::new(limits()), Pool::new(64));
    let refused = outbox.send(&mut pool, RecordKind::Unicast, rank(0), &vec![0; MAX_FRAME_LEN + 1]);
    assert_eq!(refused, Err(SendError::TooLong { len: MAX_FRAME_LEN + 1, max: MAX_FRAME_LEN }));
    outbox
        .send(&mut pool, RecordKind::Flood, rank(0), &vec![0; MAX_FRAME_LEN])
        .expect("the longest frame fits");
    assert_eq!(outbox.discard(&mut pool), MAX_FRAME_LEN + 8);
    assert_eq!(outbox.queued(), 0);
}
