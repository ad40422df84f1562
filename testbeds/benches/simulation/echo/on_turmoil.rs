//! On turmoil: its own TCP, without packets below it.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use turmoil::net::{TcpListener, TcpStream};

use super::{CLIENTS, Error, MESSAGE_LEN, MESSAGES};

pub(super) fn run() -> Result<(), Error> {
    let millisecond = Duration::from_millis(1);
    let mut sim = turmoil::Builder::new()
        .rng_seed(1)
        .min_message_latency(millisecond)
        .max_message_latency(millisecond)
        .tick_duration(millisecond)
        .simulation_duration(Duration::from_secs(3600))
        .build();
    sim.host("server", || async {
        let listener = TcpListener::bind(("0.0.0.0", 7)).await?;
        loop {
            let (mut stream, _) = listener.accept().await?;
            tokio::spawn(async move {
                let mut message = [0; MESSAGE_LEN];
                while stream.read_exact(&mut message).await.is_ok() {
                    stream.write_all(&message).await?;
                }
                Ok::<(), std::io::Error>(())
            });
        }
    });
    for client in 0..CLIENTS {
        sim.client(format!("client{client}"), async {
            let mut stream = TcpStream::connect(("server", 7)).await?;
            let mut message = [7; MESSAGE_LEN];
            for _ in 0..MESSAGES {
                stream.write_all(&message).await?;
                stream.read_exact(&mut message).await?;
            }
            Ok(())
        });
    }
    sim.run()?;
    Ok(())
}
