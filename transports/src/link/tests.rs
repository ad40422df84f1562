//! What single links do to frames.

use super::*;

const MS: Duration = Duration::from_millis(1);

fn model(words: &str) -> LinkModel {
    words.parse().unwrap()
}

fn after(count: u32) -> Instant {
    Instant::ZERO + MS * count
}

/// When frames of 1000 bytes arrive that are all sent at the start.
fn arrivals(words: &str, count: usize) -> Vec<Result<Instant, DropReason>> {
    let mut link = Link::new(1);
    let model = model(words);
    (0..count).map(|_| link.pass(&model, Instant::ZERO, 1000).map(|passage| passage.first.at)).collect()
}

#[test]
fn an_ideal_link_delivers_at_once() {
    assert_eq!(arrivals("ideal", 2), [Ok(Instant::ZERO), Ok(Instant::ZERO)]);
}

#[test]
fn frames_are_sent_one_after_the_other() {
    assert_eq!(arrivals("rate=8Mbit/s latency=5ms", 3), [Ok(after(6)), Ok(after(7)), Ok(after(8))]);
}

#[test]
fn what_does_not_fit_into_the_queue_is_lost() {
    // 1000 bytes are being sent, 2000 wait.
    let fate = arrivals("rate=8Mbit/s queue=3kB", 4);
    assert_eq!(fate, [Ok(after(1)), Ok(after(2)), Ok(after(3)), Err(DropReason::LinkQueueFull)]);
}

#[test]
fn an_idle_link_takes_a_frame_that_is_larger_than_its_queue() {
    assert_eq!(arrivals("rate=8Mbit/s queue=10B", 2), [Ok(after(1)), Err(DropReason::LinkQueueFull)]);
}

#[test]
fn jitter_keeps_the_order_and_reordering_does_not() {
    let times: Vec<_> = arrivals("latency=1ms jitter=5ms", 100).into_iter().map(Result::unwrap).collect();
    assert!(times.is_sorted());
    assert!(times.first() < times.last());
    let times: Vec<_> =
        arrivals("latency=1ms reorder=20% reorder-by=2ms", 100).into_iter().map(Result::unwrap).collect();
    let late = times.iter().filter(|time| **time == after(3)).count();
    assert!((10..30).contains(&late), "{late}");
    assert!(times.iter().all(|time| *time == after(3) || *time == after(1)));
}

#[test]
fn losses_come_alone_or_in_bursts() {
    let lost = |words| arrivals(words, 10_000).iter().filter(|fate| fate.is_err()).count();
    assert!((900..1100).contains(&lost("loss=10%")));
    // In the bad state 1% / (1% + 10%) of the time, and everything is lost there.
    assert!((600..1250).contains(&lost("burst=1%/10%")));
    let fates = arrivals("burst=1%/10%", 10_000);
    let runs = fates.chunk_by(|a, b| a.is_err() == b.is_err()).filter(|run| run[0].is_err());
    let (count, total) = runs.fold((0, 0), |(count, total), run| (count + 1, total + run.len()));
    assert!((7..13).contains(&(total / count)), "a burst lasts ten frames on average: {total} in {count}");
}

#[test]
fn duplicates_and_flipped_bits_are_as_likely_as_they_are_said_to_be() {
    let mut link = Link::new(9);
    let model = model("duplicate=50% corrupt=10%");
    let passages: Vec<_> = (0..1000).map(|_| link.pass(&model, Instant::ZERO, 100).unwrap()).collect();
    let duplicates = passages.iter().filter(|passage| passage.duplicate.is_some()).count();
    assert!((450..550).contains(&duplicates), "{duplicates}");
    let bits: Vec<_> = passages.iter().filter_map(|passage| passage.first.corrupt_bit).collect();
    assert!((60..140).contains(&bits.len()), "{}", bits.len());
    assert!(bits.iter().all(|bit| *bit < 800));
}

#[test]
fn a_frame_longer_than_the_mtu_is_lost() {
    let mut link = Link::new(1);
    let model = model("mtu=1400");
    assert!(link.pass(&model, Instant::ZERO, 1414).is_ok());
    assert_eq!(link.pass(&model, Instant::ZERO, 1415), Err(DropReason::LinkTooLong));
}
