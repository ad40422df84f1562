//! The thread that writes a capture: takes full chunks, gives them to the recorder, and sends them back
//! empty.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, SendError, Sender};
use std::thread::{self, Builder, Thread};
use std::time::{SystemTime, UNIX_EPOCH};

use mvpnet_pcap::{Interface, Section};
use nix::sys::signal::SigSet;
use rtrb::{Consumer, Producer};
use tracing::warn;

use super::chunk::Chunk;
use super::destination::{Destination, Opening, StartError};
use super::recorder::Recorder;
use super::store::Output;
use super::{Report, Shared};

/// What the thread works with.
pub(super) struct Work {
    pub(super) section: Section,
    pub(super) interfaces: Vec<Interface>,
    pub(super) full: Consumer<Chunk>,
    pub(super) free: Producer<Chunk>,
    pub(super) shared: Arc<Shared>,
}

/// Starts the thread, and waits until the header is in the file, or, for a named pipe, not at all.
pub(super) fn spawn(
    destination: &Destination,
    opening: Opening,
    work: Work,
) -> Result<(Thread, Receiver<Report>), StartError> {
    let name = destination.to_string();
    let wait = matches!(opening, Opening::Ready(_));
    // A named pipe's opening is not waited for, and has nobody to tell of it.
    let (began, beginning) = mpsc::channel();
    let beginning = wait.then_some(beginning);
    let (report, result) = mpsc::channel();
    let path = name.clone();
    let spawned =
        Builder::new().name("capture".into()).spawn(move || run(&name, opening, work, began, &report));
    let thread = spawned.map_err(StartError::Thread)?.thread().clone();
    if let Some(beginning) = beginning {
        let outcome =
            beginning.recv().unwrap_or_else(|_| Err(io::Error::other("the thread that writes it ended")));
        outcome.map_err(|source| StartError::Header { path, source })?;
    }
    Ok((thread, result))
}

fn run(name: &str, opening: Opening, mut work: Work, began: Sender<io::Result<()>>, report: &Sender<Report>) {
    // A file size limit would kill the whole process by SIGXFSZ, and a closed pipe by SIGPIPE. Both signals
    // go to the thread that writes; blocked, they leave it with an error that it can handle.
    if let Err(error) = SigSet::all().thread_block() {
        warn!("capture {name}: cannot block signals: {error}");
    }
    match begin(name, opening, &work) {
        Ok(mut recorder) => {
            // Nobody may be waiting for it.
            let _ = began.send(Ok(()));
            record(&mut recorder, &mut work);
            let _ = report.send(recorder.finish(wall_ns()));
        }
        Err(error) => {
            let names: Vec<_> = work.interfaces.iter().map(|interface| interface.name.clone()).collect();
            let _ = report.send(Report {
                error: Some(error.to_string()),
                finished: true,
                ..Report::unfinished(name, &names)
            });
            // Whoever still waits for the beginning will say it; the others learn it here.
            if let Err(SendError(Err(error))) = began.send(Err(error)) {
                warn!("capture {name}: {error}. There will be no capture. Traffic goes on");
            }
        }
    }
}

fn begin(name: &str, opening: Opening, work: &Work) -> io::Result<Recorder<Output>> {
    let output = opening.wait()?;
    Recorder::begin(name.to_owned(), output, &work.section, &work.interfaces, work.shared.clone(), wall_ns())
}

fn record(recorder: &mut Recorder<Output>, work: &mut Work) {
    loop {
        // Asked before the ring is emptied: what was pushed before the end is then seen.
        let ending = work.shared.is_ending();
        while let Ok(mut chunk) = work.full.pop() {
            recorder.take(&chunk);
            chunk.clear();
            let returned = work.free.push(chunk);
            debug_assert!(returned.is_ok(), "the ring has a place for every chunk");
        }
        if ending {
            return;
        }
        // Whoever pushes a chunk or asks for the end unparks this thread afterwards, so none is slept over.
        thread::park();
    }
}

#[allow(clippy::disallowed_methods, reason = "when a capture began and ended is real time")]
fn wall_ns() -> u64 {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_1970.as_nanos()).unwrap_or(u64::MAX)
}
