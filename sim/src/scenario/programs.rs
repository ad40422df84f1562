//! The programs of hosts in scenarios: they send what is to be sent, answer, and note down what comes of it. Nothing
//! that a fault can do to them is an error of theirs.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::Kind;
use super::content::{self, Verdict};
use super::job::Job;
use super::stamp::Stamp;
use super::station::EVERYONE;
use super::tally::{End, Tally};
use crate::host::{Host, PingError, TcpStream, UdpSocket};

/// The port of the scenario's first line; the others follow.
const FIRST_PORT: u16 = 5001;

/// Connections that may wait at one listener, see [`Host::listen`].
const BACKLOG: usize = 8;
/// The most listeners of one port: more connections at once are refused.
const MOST_LISTENERS: usize = 16;

/// What one rank answers.
#[derive(Clone, Debug)]
pub(super) struct Service {
    pub(super) line: u32,
    pub(super) kind: Kind,
    /// How many ranks may ask at once.
    pub(super) clients: usize,
}

/// What a host runs from its boot on.
pub(super) async fn boot(
    host: Host,
    jobs: Rc<[Job]>,
    services: Rc<[Service]>,
    tallies: Rc<[Tally]>,
) -> crate::Result {
    for service in services.iter() {
        match service.kind {
            Kind::Tcp { .. } => serve_tcp(&host, service),
            Kind::Udp { .. } => host.spawn(serve_udp(host.clone(), service.line, tallies.clone())),
            _ => {}
        }
    }
    for job in jobs.iter() {
        match job.kind {
            Kind::Boot => job.tally.booted(host.now(), job.from),
            Kind::Udp { .. } => host.spawn(send_udp(host.clone(), job.clone())),
            Kind::Ping { .. } | Kind::Tcp { .. } => {
                for to in job.to.iter() {
                    host.spawn(attempts(host.clone(), job.clone(), *to));
                }
            }
            Kind::Frames { .. } | Kind::Broadcast { .. } => {}
        }
    }
    Ok(())
}

fn port(line: u32) -> u16 {
    FIRST_PORT.saturating_add(u16::try_from(line).unwrap_or(u16::MAX))
}

/// All pings or transfers from one rank to another.
async fn attempts(host: Host, job: Job, to: u32) -> crate::Result {
    while let Some(at) = job.time_of_next(host.now(), to) {
        host.sleep_until(at).await;
        job.tally.take_next(job.from, to);
        let attempt = attempt(host.clone(), job.clone(), to);
        if job.is_one_by_one() {
            attempt.await?;
        } else {
            host.spawn(attempt);
        }
    }
    Ok(())
}

async fn attempt(host: Host, job: Job, to: u32) -> crate::Result {
    match job.kind {
        Kind::Ping { timeout } => ping(&host, &job, to, timeout).await,
        Kind::Tcp { bytes } => {
            let attempt = job.tally.begin(host.now(), End::Failed);
            let end = match transfer(&host, &job, to, bytes.bytes()).await {
                Ok(true) => End::Done { bytes: bytes.bytes() },
                Ok(false) => End::Damaged,
                Err(_) => End::Failed,
            };
            attempt.end(host.now(), end);
        }
        _ => {}
    }
    Ok(())
}

async fn ping(host: &Host, job: &Job, to: u32, timeout: Duration) {
    let attempt = job.tally.begin(host.now(), End::Lost);
    match host.ping(host.address_of(to), timeout).await {
        Ok(took) => attempt.end_after(host.now(), took),
        Err(PingError::NoAnswer { .. }) => attempt.end(host.now(), End::Lost),
        Err(PingError::Unaddressable(_)) => attempt.end(host.now(), End::Failed),
    }
}

/// Sends the bytes, and hears whether they arrived as they should.
async fn transfer(host: &Host, job: &Job, to: u32, bytes: u64) -> io::Result<bool> {
    let mut stream = host.connect(to, port(job.line)).await?;
    content::send(&mut stream, bytes).await?;
    stream.shutdown().await?;
    let mut verdict = [0; Verdict::LEN];
    stream.read_exact(&mut verdict).await?;
    Ok(Verdict::decode(verdict) == Verdict { intact: true, bytes })
}

fn serve_tcp(host: &Host, service: &Service) {
    let listeners = service.clients.div_ceil(BACKLOG).clamp(1, MOST_LISTENERS);
    for _ in 0..listeners {
        host.spawn(accept(host.clone(), port(service.line)));
    }
}

async fn accept(host: Host, port: u16) -> crate::Result {
    let mut listener = host.listen(port)?;
    loop {
        // A connection that ended before it was accepted is the sender's to count.
        if let Ok(stream) = listener.accept().await {
            host.spawn(answer(stream));
        }
    }
}

async fn answer(mut stream: TcpStream) -> crate::Result {
    if let Ok(verdict) = content::receive(&mut stream).await {
        // The sender counts the connection as failed if it hears nothing.
        let _ = stream.write_all(&verdict.encode()).await;
        let _ = stream.shutdown().await;
    }
    Ok(())
}

async fn send_udp(host: Host, job: Job) -> crate::Result {
    let socket = host.bind_udp(0)?;
    while let Some(at) = job.time_of_next(host.now(), EVERYONE) {
        host.sleep_until(at).await;
        let number = job.tally.take_next(job.from, EVERYONE);
        for to in job.to.iter() {
            send_one(&host, &socket, &job, number, *to).await;
        }
    }
    Ok(())
}

async fn send_one(host: &Host, socket: &UdpSocket, job: &Job, number: u64, to: u32) {
    let stamp = Stamp { line: job.line, from: job.from, number, sent: host.now() };
    let mut payload = stamp.encode().to_vec();
    payload.resize(job.len, 0);
    job.tally.sent(host.now(), 1);
    if socket.send_to(&payload, host.socket_address_of(to, port(job.line))).await.is_err() {
        job.tally.failed();
    }
}

async fn serve_udp(host: Host, line: u32, tallies: Rc<[Tally]>) -> crate::Result {
    let socket = host.bind_udp(port(line))?;
    let mut buffer = vec![0; usize::from(u16::MAX)];
    while let Ok((len, _)) = socket.recv_from(&mut buffer).await {
        let payload = &buffer[..len];
        if let Some(stamp) = Stamp::decode(payload)
            && let Some(tally) = tallies.get(stamp.line as usize)
        {
            tally.received(host.now(), host.rank(), &stamp, payload, len);
        }
    }
    Ok(())
}
