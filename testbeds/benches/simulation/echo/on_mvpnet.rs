//! On this simulation: TCP over IP over Ethernet, through the switches.

use std::time::Duration;

use mvpnet_sim::{LinkModel, Sim};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{CLIENTS, Error, MESSAGE_LEN, MESSAGES};

pub(super) fn run() -> Result<(), Error> {
    let mut sim = Sim::new(1, CLIENTS + 1).links(LinkModel::IDEAL.latency(Duration::from_millis(1)));
    sim.host(0, async |host| {
        let mut listener = host.listen(7)?;
        loop {
            let mut stream = listener.accept().await?;
            host.spawn(async move {
                let mut message = [0; MESSAGE_LEN];
                while stream.read_exact(&mut message).await.is_ok() {
                    stream.write_all(&message).await?;
                }
                Ok(())
            });
        }
    });
    for rank in 1..=CLIENTS {
        sim.client(rank, async |host| {
            let mut stream = host.connect(0, 7).await?;
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
