//! The console of a guest.

use crate::session::Outcome;
use crate::session::duplex::{Backlog, Duplex, Incoming};
use crate::session::services::Facilities;

/// Shows what is kept and, if wanted, what follows; types what the client sends.
pub(super) async fn serve(guest: &Facilities, follow: bool, duplex: &mut Duplex) -> Outcome {
    let Facilities { console, console_input, .. } = guest;
    let until = if follow { u64::MAX } else { console.total() };
    let mut position = 0;
    let mut typed = Backlog::default();
    while position < until {
        let room = duplex.room();
        let typing = async {
            match console_input {
                Some(input) => input.write(typed.front()).await,
                None => Ok(typed.front().len()),
            }
        };
        tokio::select! {
            incoming = duplex.next() => match incoming {
                Some(Incoming::Data(data)) => typed.push(&data),
                Some(_) => {}
                None => return Outcome::Closed,
            },
            piece = console.after(position, room), if room > 0 => match piece {
                Some(piece) => {
                    position = piece.from + piece.bytes.len() as u64;
                    duplex.send(piece.bytes);
                }
                None => return Outcome::Closed,
            },
            written = typing, if !typed.is_empty() => match written {
                Ok(len) => {
                    typed.advance(len);
                    duplex.consumed(len);
                }
                Err(error) => return Outcome::Failed(format!("the console takes no input any more: {error}")),
            },
        }
    }
    Outcome::Closed
}
