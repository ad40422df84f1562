//! The same seed gives the same bytes, another seed others.

use std::time::Duration;

use mvpnet_sim::Sim;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::guests::Shared;

/// The capture of hosts that talk over bad links while one of them crashes.
fn capture(seed: u64) -> Vec<u8> {
    let capture = Shared::default();
    let mut sim = Sim::new(seed, 5).links("lossy-wan reorder=1% duplicate=1% corrupt=0.1%".parse().unwrap());
    sim = sim.capture_to(Box::new(capture.clone())).unwrap();
    sim.host(0, async |host| {
        let mut listener = host.listen(80)?;
        loop {
            let mut stream = listener.accept().await?;
            host.spawn(async move {
                let mut request = Vec::new();
                // A reset is one of the things that happen here.
                let _ = stream.read_to_end(&mut request).await;
                Ok(())
            });
        }
    });
    for rank in 1..5 {
        sim.host(rank, async move |host| {
            loop {
                if let Ok(mut stream) = host.connect(0, 80).await {
                    let _ = stream.write_all(&vec![rank as u8; 20_000]).await;
                }
                let pause = Duration::from_millis(host.random_below(200));
                host.sleep(pause).await;
            }
        });
    }
    sim.at(Duration::from_secs(2)).crash(0).then_after(Duration::from_secs(1)).restart(0);
    sim.run_for(Duration::from_secs(5)).unwrap();
    sim.finish().unwrap();
    capture.0.take()
}

#[test]
fn a_seed_gives_the_same_capture_every_time_and_another_seed_another() {
    let first = capture(11);
    assert!(first.len() > 100_000, "{} bytes", first.len());
    assert!(first == capture(11));
    assert!(first != capture(12));
}
