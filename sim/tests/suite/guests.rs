//! Ready-made guests, and guests of one's own.

use std::cell::RefCell;
use std::io::Write;
use std::rc::Rc;
use std::time::Duration;

use mvpnet_sim::{Guest, Port, Replay, ReplayError, Scripted, Sim, Timing};

/// A buffer that outlives the simulation that writes into it.
#[derive(Clone, Default)]
pub struct Shared(pub Rc<RefCell<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

struct Mirror;

impl Guest for Mirror {
    fn receive(&mut self, port: &mut Port<'_>, frame: &[u8]) {
        let mut answer = frame.to_vec();
        answer.copy_within(6..12, 0);
        answer[6..12].copy_from_slice(&port.rank().mac().octets());
        port.send(&answer);
    }
}

#[test]
fn a_guest_of_ones_own_takes_part() {
    let mut sim = Sim::new(1, 2);
    sim.guest(0, || Mirror);
    sim.guest(1, || Scripted::new().send_to(0, 5, 60));
    sim.run_for(Duration::from_millis(1)).unwrap();
    assert_eq!(sim.guest_mut::<Scripted>(1).unwrap().count(), 5);
}

#[test]
fn a_capture_is_replayed_at_its_own_or_another_pace() {
    let capture = Shared::default();
    let mut sim = Sim::new(1, 2).capture_to(Box::new(capture.clone())).unwrap();
    sim.guest(0, || Scripted::new().send_to(1, 4, 60).every(Duration::from_millis(10)));
    sim.guest(1, Scripted::new);
    sim.run_for(Duration::from_secs(1)).unwrap();
    sim.finish().unwrap();
    for (timing, last_ms) in [(Timing::Original, 30), (Timing::Scaled(0.5), 15), (Timing::Scaled(0.0), 0)] {
        let replay = Replay::new(&capture.0.borrow()[..], "rank0-guest", timing).unwrap();
        let mut sim = Sim::new(1, 2);
        sim.guest(0, move || replay.clone());
        sim.guest(1, Scripted::new);
        sim.run_for(Duration::from_secs(1)).unwrap();
        let received = sim.guest_mut::<Scripted>(1).unwrap().received();
        assert_eq!(received.len(), 4);
        assert_eq!(received[3].at.as_nanos(), last_ms * 1_000_000, "{timing:?}");
    }
}

#[test]
fn what_cannot_be_replayed_is_said() {
    let nothing = Replay::new(&b"not a capture"[..], "rank0-guest", Timing::Original);
    assert!(matches!(nothing, Err(ReplayError::Read(_))));
    let backwards = Replay::new(&b""[..], "rank0-guest", Timing::Scaled(-1.0));
    assert!(matches!(backwards, Err(ReplayError::Stretch(_))));
}
