//! The store in a simulated network: three replicas, a client that writes and one that reads.

use std::future::Future;
use std::io;
use std::time::Duration;

use mvpnet_sim::{Host, Sim, TcpStream};

use crate::history::History;
use crate::store::{Client, Disk, Network, Quorum, serve};

/// The ranks from 0 on that are replicas.
pub const REPLICAS: u32 = 3;
/// The rank of the client that writes.
pub const WRITER: u32 = 3;
/// The rank of the client that reads.
pub const READER: u32 = 4;
/// All ranks.
pub const RANKS: u32 = 5;

const PORT: u16 = 6379;
/// How long clients rest after each request.
const REST: Duration = Duration::from_millis(200);

/// All that a simulated host has to be told to run the store.
impl Network for Host {
    type Stream = TcpStream;

    async fn connect(&self, replica: u32) -> io::Result<TcpStream> {
        Host::connect(self, replica, PORT).await
    }

    async fn timeout<T>(&self, limit: Duration, work: impl Future<Output = T>) -> Option<T> {
        Host::timeout(self, limit, work).await.ok()
    }
}

/// Runs replicas and clients on these ranks for so long. Fails at the first stale read.
pub fn run(mut sim: Sim, duration: Duration, quorum: Quorum) -> Result<History, Box<dyn std::error::Error>> {
    sim.audit();
    for replica in 0..REPLICAS {
        let disk = Disk::default();
        sim.host(replica, async move |host| listen(host, disk.clone()).await);
    }
    let history = History::default();
    let (written, read) = (history.clone(), history.clone());
    sim.client(WRITER, async move |host| write_numbers(host, quorum, written.clone()).await);
    sim.client(READER, async move |host| read_numbers(host, quorum, read.clone()).await);
    sim.run_for(duration)?;
    Ok(history)
}

async fn listen(host: Host, disk: Disk) -> mvpnet_sim::Result {
    let mut listener = host.listen(PORT)?;
    loop {
        let Ok(stream) = listener.accept().await else { continue };
        let disk = disk.clone();
        host.spawn(async move {
            // A connection that breaks is the client's business.
            let _ = serve(disk, stream).await;
            Ok(())
        });
    }
}

async fn write_numbers(host: Host, quorum: Quorum, history: History) -> mvpnet_sim::Result {
    let store = Client::new(host.clone(), WRITER, REPLICAS, quorum);
    for number in 1.. {
        if store.put("number", &number.to_string()).await.is_ok() {
            history.wrote(host.now(), number);
        }
        host.sleep(REST).await;
    }
    Ok(())
}

async fn read_numbers(host: Host, quorum: Quorum, history: History) -> mvpnet_sim::Result {
    let store = Client::new(host.clone(), READER, REPLICAS, quorum);
    loop {
        let began = host.now();
        if let Ok(number) = store.get("number").await {
            history.read(began, host.now(), number.parse().unwrap_or(0))?;
        }
        host.sleep(REST).await;
    }
}
