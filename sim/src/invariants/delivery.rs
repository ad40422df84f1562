//! Delivery resumes: once nothing is in the way any more, hosts reach each other again.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use super::Violation;
use crate::failure::FailureKind;
use crate::{Failure, GuestState, Host, Sim};

/// How long one ping is waited for before the next.
const PATIENCE: Duration = Duration::from_secs(1);

/// The pairs that have not reached each other yet.
type Missing = Rc<RefCell<BTreeSet<(u32, u32)>>>;

/// Lets all hosts that are up ping each other, and fails unless all have an answer within so much simulated time, in
/// which each tries again and again.
///
/// For after the last change, when no partition is left: links may lose frames, but not so many that no ping comes
/// back in that time. Ranks without a TCP/IP host are left out.
///
/// # Errors
///
/// If a host does not reach another, or the simulation fails.
pub fn check_delivery(sim: &mut Sim, within: Duration) -> Result<(), Failure> {
    let pairs = pairs(sim);
    let missing: Missing = Rc::new(RefCell::new(pairs.iter().copied().collect()));
    for (from, to) in pairs {
        let Some(host) = sim.existing_host(from) else { continue };
        host.spawn(ping_until_answered(host.clone(), to, within, missing.clone()));
    }
    let until = sim.now() + within;
    let waiting = missing.clone();
    sim.run_while(until, move |_| !waiting.borrow().is_empty())?;
    let first = missing.borrow().first().copied();
    match first {
        None => sim.check(),
        Some((from, to)) => {
            Err(sim.failure(FailureKind::Invariant(Violation::NoDelivery { from, to, within })))
        }
    }
}

/// What a partition says is not asked: it may be the one that has not healed.
fn pairs(sim: &Sim) -> Vec<(u32, u32)> {
    let is_up = |rank: &u32| sim.existing_host(*rank).is_some() && sim.state(*rank) == GuestState::Up;
    let up: Vec<u32> = (0..sim.world().size()).filter(is_up).collect();
    let others = |from: u32| up.iter().filter(move |to| **to != from).map(move |to| (from, *to));
    up.iter().flat_map(|from| others(*from)).collect()
}

async fn ping_until_answered(host: Host, to: u32, within: Duration, missing: Missing) -> crate::Result {
    let until = host.now() + within;
    while host.now() < until {
        if host.ping(host.address_of(to), PATIENCE).await.is_ok() {
            missing.borrow_mut().remove(&(host.rank(), to));
            return Ok(());
        }
        // A host that boots cannot send yet, and says so at once.
        host.sleep(PATIENCE / 10).await;
    }
    Ok(())
}
