//! The ssh port of a guest.

use mvpnet_switch::Rank;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::session::duplex::{Backlog, Duplex, Incoming};
use crate::session::{MAX_DATA, Outcome};

/// Joins the client to the port until both directions have ended, or the client has gone.
pub(super) async fn serve(port: u16, number: Rank, duplex: &mut Duplex) -> Outcome {
    let mut stream = match TcpStream::connect(("127.0.0.1", port)).await {
        Ok(stream) => stream,
        Err(error) => {
            return Outcome::Failed(format!("the ssh port of rank {number} (127.0.0.1:{port}): {error}"));
        }
    };
    let _ = stream.set_nodelay(true);
    let (mut reader, mut writer) = stream.split();
    let mut to_guest = Backlog::default();
    let mut buffer = vec![0; MAX_DATA];
    let (mut client_ended, mut guest_ended, mut told) = (false, false, false);
    while !(guest_ended && told && to_guest.is_empty()) {
        if client_ended && !told && to_guest.is_empty() {
            told = true;
            // A guest that has gone learns nothing.
            let _ = writer.shutdown().await;
            continue;
        }
        let room = duplex.room();
        tokio::select! {
            incoming = duplex.next() => match incoming {
                Some(Incoming::Data(data)) => to_guest.push(&data),
                Some(Incoming::End) => client_ended = true,
                Some(_) => {}
                None => return Outcome::Closed,
            },
            read = reader.read(&mut buffer[..room]), if room > 0 && !guest_ended => match read {
                Ok(0) => {
                    guest_ended = true;
                    duplex.end();
                }
                Ok(len) => duplex.send(buffer[..len].to_vec()),
                Err(error) => return Outcome::Failed(format!("the ssh port of rank {number}: {error}")),
            },
            written = writer.write(to_guest.front()), if !to_guest.is_empty() => match written {
                Ok(len) => {
                    to_guest.advance(len);
                    duplex.consumed(len);
                }
                // What comes the other way may say why.
                Err(_) if !guest_ended => {
                    let waiting = to_guest.take(usize::MAX).len();
                    duplex.consumed(waiting);
                }
                Err(error) => return Outcome::Failed(format!("the ssh port of rank {number}: {error}")),
            },
        }
    }
    Outcome::Closed
}
