//! Reading the peers again while the bridge runs.

use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::mailbox::{Changed, Command, Handle};
use super::notice::Notice;
use super::resolve::Family;
use super::setup::{PeerSource, PeersError, Reached};

/// Reads the peers again when it is told to, one time after the other.
#[derive(Debug)]
pub(super) struct Reload {
    source: PeerSource,
    family: Family,
    port: u16,
    handle: Handle,
    state: State,
    /// Asked for while it was being done.
    again: bool,
}

#[derive(Debug)]
enum State {
    Idle,
    /// Files and names are looked up, which may take its time.
    Reading(JoinHandle<Result<Reached, PeersError>>),
    /// The loop takes them over.
    Applying {
        changed: oneshot::Receiver<Changed>,
        peers: Vec<String>,
    },
}

impl Reload {
    pub(super) fn new(source: PeerSource, family: Family, port: u16, handle: Handle) -> Self {
        Self { source, family, port, handle, state: State::Idle, again: false }
    }

    /// Begins, or remembers to begin again.
    pub(super) fn begin(&mut self) {
        if !matches!(self.state, State::Idle) {
            self.again = true;
            return;
        }
        let (source, family, port) = (self.source.clone(), self.family, self.port);
        self.state = State::Reading(tokio::task::spawn_blocking(move || source.reach(family, port)));
    }

    /// What came of it; never, while nothing was asked for. Cancelled, it goes on where it was.
    pub(super) async fn done(&mut self) -> Vec<Notice> {
        loop {
            match &mut self.state {
                State::Idle => return std::future::pending().await,
                State::Reading(reading) => match reading.await {
                    Ok(Ok(Reached { tunnels, words: peers })) => {
                        let (done, changed) = oneshot::channel();
                        self.handle.send(Command::Tunnels { tunnels, done });
                        self.state = State::Applying { changed, peers };
                    }
                    Ok(Err(error)) => return self.end(vec![Notice::NotReloaded(error.to_string())]),
                    Err(error) => return self.end(vec![Notice::NotReloaded(error.to_string())]),
                },
                State::Applying { changed, peers } => {
                    // A loop that has ended says so itself.
                    let Changed { added, removed, moved, refused } = changed.await.unwrap_or_default();
                    let reloaded = Notice::Reloaded { peers: std::mem::take(peers), added, removed, moved };
                    let refused = refused.into_iter().map(Notice::Trouble);
                    return self.end(std::iter::once(reloaded).chain(refused).collect());
                }
            }
        }
    }

    fn end(&mut self, notices: Vec<Notice>) -> Vec<Notice> {
        self.state = State::Idle;
        if std::mem::take(&mut self.again) {
            self.begin();
        }
        notices
    }
}
