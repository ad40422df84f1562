//! What goes to a running command, with word of how much of it has gone.

use tokio::sync::mpsc;

use super::ExecInput;

/// Standard input and signals for one command.
///
/// An agent reads ahead of what the guest has room for, so that a signal behind standard input is heard, but not without
/// bound. Who keeps what has not been [counted](Input::counted) as used below [`Agents::READ_AHEAD`](super::Agents::READ_AHEAD) is
/// always heard.
#[derive(Debug)]
pub struct Input {
    items: mpsc::Receiver<ExecInput>,
    used: Option<mpsc::UnboundedSender<usize>>,
}

impl Input {
    /// Says to `used` how many octets of standard input have gone to the guest, or are not wanted there.
    pub fn counted(items: mpsc::Receiver<ExecInput>, used: mpsc::UnboundedSender<usize>) -> Input {
        Input { items, used: Some(used) }
    }

    /// The next thing; none when nobody sends any more.
    pub async fn recv(&mut self) -> Option<ExecInput> {
        self.items.recv().await
    }

    /// So many octets of standard input are on their way, or thrown away.
    pub fn used(&self, octets: usize) {
        if let Some(used) = &self.used {
            // Who does not listen does not count.
            let _ = used.send(octets);
        }
    }
}

impl From<mpsc::Receiver<ExecInput>> for Input {
    fn from(items: mpsc::Receiver<ExecInput>) -> Input {
        Input { items, used: None }
    }
}
