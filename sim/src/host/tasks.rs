//! Runs a host's programs: those that were woken, in the order in which they were.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use mvpnet_switch::Instant;

use super::{Host, Inner, Program};
use crate::guest::{Guest, Port};
use crate::ready::Ready;

/// How often one activation of a host may go round: programs that wake each other forever without any time
/// passing are a defect of theirs, which must not look like a simulation that hangs.
const MOST_ROUNDS: u32 = 100_000;

/// A program that is to run.
pub(super) struct Spawned {
    pub(super) program: Program,
    pub(super) client: Option<usize>,
}

/// A program that runs.
pub(super) struct Task {
    program: Program,
    client: Option<usize>,
    waker: Waker,
}

impl Task {
    pub(super) fn client(&self) -> Option<usize> {
        self.client
    }
}

/// One life of a host.
pub(crate) struct HostGuest {
    host: Host,
    tasks: BTreeMap<u64, Task>,
    next: u64,
    woken: Arc<Woken>,
}

/// The tasks that were woken.
struct Woken {
    rank: u32,
    tasks: Mutex<VecDeque<u64>>,
    ready: Arc<Ready>,
    /// Whether the host runs just now, and will see for itself.
    running: Arc<AtomicBool>,
}

impl Woken {
    fn take(&self) -> VecDeque<u64> {
        std::mem::take(&mut self.tasks.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Wakes one task.
struct Alarm {
    task: u64,
    woken: Arc<Woken>,
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let mut tasks = self.woken.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        if tasks.is_empty() && !self.woken.running.load(Ordering::Relaxed) {
            self.woken.ready.push(self.woken.rank);
        }
        tasks.push_back(self.task);
    }
}

impl HostGuest {
    /// A new life of the host: its stack, sockets and programs start from nothing.
    pub(crate) fn new(host: &Host) -> HostGuest {
        let woken = Woken {
            rank: host.rank(),
            tasks: Mutex::default(),
            ready: host.0.ready.clone(),
            running: host.0.running.clone(),
        };
        HostGuest { host: host.clone(), tasks: BTreeMap::new(), next: 0, woken: Arc::new(woken) }
    }

    /// Lets stack and programs work until neither has anything left to do at this time.
    fn run(&mut self, port: &mut Port<'_>) {
        let now = port.now();
        self.host.0.inner.borrow_mut().now = now;
        self.woken.running.store(true, Ordering::Relaxed);
        for round in 0.. {
            if round == MOST_ROUNDS {
                let error = "its programs wake each other forever, and no time passes";
                self.host.0.progress.borrow_mut().failed.get_or_insert((self.host.0.rank, error.into()));
                break;
            }
            let has_come_up = {
                let mut inner = self.host.0.inner.borrow_mut();
                inner.timers.fire(now);
                inner.stack.poll(now)
            };
            if has_come_up {
                let boots = self.host.0.boots.borrow().clone();
                boots.iter().for_each(|boot| self.host.run_boot(boot));
            }
            self.adopt();
            if !self.run_woken() {
                break;
            }
        }
        self.woken.running.store(false, Ordering::Relaxed);
        let mut inner = self.host.0.inner.borrow_mut();
        inner.stack.wire.outgoing.drain(..).for_each(|frame| port.send_shared(frame));
        match [inner.stack.poll_at(now), inner.timers.next_at()].into_iter().flatten().min() {
            // The stack's clock is coarser than ours: what it wants now it can have in a moment.
            Some(at) => port.wake_at(at.max(Instant::from_nanos(now.as_nanos() + 1_000))),
            None => port.sleep(),
        }
    }

    /// Takes over programs that were spawned.
    fn adopt(&mut self) {
        let spawned = std::mem::take(&mut self.host.0.inner.borrow_mut().spawned);
        for Spawned { program, client } in spawned {
            let number = self.next;
            self.next += 1;
            let waker = Waker::from(Arc::new(Alarm { task: number, woken: self.woken.clone() }));
            waker.wake_by_ref();
            self.tasks.insert(number, Task { program, client, waker });
        }
    }

    /// Polls the tasks that were woken. Returns whether there were any.
    fn run_woken(&mut self) -> bool {
        let woken = self.woken.take();
        let any = !woken.is_empty();
        for number in woken {
            // It may have ended since it was woken.
            let Some(mut task) = self.tasks.remove(&number) else { continue };
            let waker = task.waker.clone();
            match task.program.as_mut().poll(&mut Context::from_waker(&waker)) {
                Poll::Pending => drop(self.tasks.insert(number, task)),
                Poll::Ready(result) => self.host.ended(&task, result),
            }
        }
        any
    }
}

impl Guest for HostGuest {
    fn start(&mut self, port: &mut Port<'_>) {
        let shared = &self.host.0;
        let chance = port.chance().clone();
        port.chance().bits(); // the next life has other chances
        let life = shared.inner.borrow().life + 1;
        *shared.inner.borrow_mut() = Inner::new(shared.rank, shared.mtu, port.now(), life, chance);
        self.run(port);
    }

    fn receive(&mut self, port: &mut Port<'_>, frame: &[u8]) {
        self.host.0.inner.borrow_mut().stack.receive(port.now(), frame);
        self.run(port);
    }

    fn wake(&mut self, port: &mut Port<'_>) {
        self.run(port);
    }
}
