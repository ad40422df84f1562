//! Signals to this process, on their way to commands in guests.

use std::io;
use std::thread;

use tokio::signal::unix::{SignalKind, signal};

/// Calls `heard` with the number of each SIGINT, SIGTERM and SIGHUP, on a thread of its own.
///
/// # Errors
/// There is no descriptor or no thread left.
pub fn listen(mut heard: impl FnMut(i32) + Send + 'static) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let entered = runtime.enter();
    let mut interrupts = signal(SignalKind::interrupt())?;
    let mut terminations = signal(SignalKind::terminate())?;
    let mut hang_ups = signal(SignalKind::hangup())?;
    drop(entered);
    let listening = move || {
        runtime.block_on(async {
            loop {
                let kind = tokio::select! {
                    _ = interrupts.recv() => SignalKind::interrupt(),
                    _ = terminations.recv() => SignalKind::terminate(),
                    _ = hang_ups.recv() => SignalKind::hangup(),
                };
                heard(kind.as_raw_value());
            }
        });
    };
    thread::Builder::new().name("signals".into()).spawn(listening).map(drop)
}
