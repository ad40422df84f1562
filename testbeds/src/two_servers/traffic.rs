//! Traffic between two guests: pings, TCP by iperf3, short frames by `mvpnet-pps`, and what of them arrives.

use std::{
    fs,
    path::Path,
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use serde_json::Value;

use super::{
    Host, TwoServers,
    bridges::{end, wait_until},
};
use crate::{
    pps::{Counted, Sent},
    wall::nap,
};

/// How long a way may take to come into being.
const SETTLING: Duration = Duration::from_secs(15);
/// How long after the senders began the counter begins, and how long before they end it ends.
const MARGIN: Duration = Duration::from_millis(400);

/// Where iperf3 listens.
const IPERF3: u16 = 5201;

/// A TCP connection's course.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tcp {
    /// What arrived.
    pub bits_per_second: f64,
    /// Segments sent again.
    pub retransmits: u64,
}

/// Short frames from guest 0 to guest 1.
#[derive(Clone, Copy, Debug)]
pub struct Load<'a> {
    /// The program `mvpnet-pps`.
    pub program: &'a Path,
    /// How many generators, each a thread of its own.
    pub senders: u32,
    /// Frames per second of all together; without it as many as they can.
    pub rate: Option<f64>,
    /// How long.
    pub window: Duration,
}

/// What became of a number of frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Volley {
    /// Frames that the first interface took.
    pub sent: u64,
    /// Frames that came in at the last.
    pub arrived: u64,
}

/// Pings one guest from the other until it answers, so that everybody between them knows both.
pub fn settle(servers: &TwoServers, from: Host, to: Host) -> anyhow::Result<()> {
    let address = servers.address(to).to_string();
    let answered = || servers.run(from, &["ping", "-c", "1", "-W", "1", &address]).is_ok();
    super::bridges::within(SETTLING, &format!("an answer of {to} to {from}"), answered)
}

/// `iperf3 -s` in a host, as long as this lives.
#[derive(Debug)]
pub struct Server(Child);

impl Server {
    /// Starts it and waits until it listens.
    pub fn start(servers: &TwoServers, host: Host) -> anyhow::Result<Server> {
        let mut command = servers.command(host, "iperf3");
        let child = command.arg("-s").stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let server = Server(child.context("cannot start iperf3")?);
        wait_until("iperf3 -s", || listens(&server.0, IPERF3))?;
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        end(&mut self.0);
    }
}

/// One TCP connection as fast as it can.
pub fn tcp(servers: &TwoServers, from: Host, to: Host, window: Duration) -> anyhow::Result<Tcp> {
    let _server = Server::start(servers, to)?;
    let mut client = servers.command(from, "iperf3");
    client.args(["-c", &servers.address(to).to_string(), "-J", "--connect-timeout", "3000"]);
    client.args(["-t", &format!("{:.0}", window.as_secs_f64().ceil())]);
    let output = client.output().context("cannot start iperf3")?;
    let report: Value = serde_json::from_slice(&output.stdout).context("iperf3 -J did not print JSON")?;
    if let Some(error) = report["error"].as_str() {
        bail!("iperf3: {error}");
    }
    let bits_per_second = report["end"]["sum_received"]["bits_per_second"].as_f64();
    Ok(Tcp {
        bits_per_second: bits_per_second.context("iperf3 reports no throughput")?,
        retransmits: report["end"]["sum_sent"]["retransmits"].as_u64().unwrap_or(0),
    })
}

/// Whether a process's network namespace has a TCP listener on this port (`/proc/net/tcp6`, state 0A).
fn listens(process: &Child, port: u16) -> bool {
    let local = format!(":{port:04X} ");
    ["tcp", "tcp6"].iter().any(|table| {
        let table = fs::read_to_string(format!("/proc/{}/net/{table}", process.id())).unwrap_or_default();
        table.lines().any(|line| line.contains(&local) && line.contains(" 0A "))
    })
}

impl Load<'_> {
    /// Frames per second that arrive.
    pub fn rate_of_arrival(&self, servers: &TwoServers) -> anyhow::Result<f64> {
        let senders = self.start(servers, self.window + MARGIN * 2)?;
        let seconds = |time: Duration| time.as_secs_f64().to_string();
        let mut count = servers.command(Host::Guest(1), self.program);
        count.args(["count", "eth0", "--after", &seconds(MARGIN), "--seconds", &seconds(self.window)]);
        let counted = count.output().map_err(anyhow::Error::from).and_then(json::<Counted>);
        for sender in senders {
            let _: Sent = json(sender.wait_with_output()?)?;
        }
        let counted = counted?;
        Ok(counted.frames as f64 / counted.seconds)
    }

    /// How many frames arrive of how many. Nobody else may send to guest 1 meanwhile.
    pub fn volley(&self, servers: &TwoServers) -> anyhow::Result<Volley> {
        let before = received(servers, Host::Guest(1))?;
        let mut sent = 0;
        for sender in self.start(servers, self.window)? {
            sent += json::<Sent>(sender.wait_with_output()?)?.frames;
        }
        let mut last = received(servers, Host::Guest(1))?;
        // What is on its way still arrives.
        loop {
            nap(Duration::from_millis(100));
            let now = received(servers, Host::Guest(1))?;
            if now == last {
                return Ok(Volley { sent, arrived: now - before });
            }
            last = now;
        }
    }

    fn start(&self, servers: &TwoServers, length: Duration) -> anyhow::Result<Vec<Child>> {
        let sender = |_| {
            let mut send = servers.command(Host::Guest(0), self.program);
            // Several flows, as several connections of a guest are: what spreads load by flow can do so.
            send.args(["send", "eth0", "52:55:00:00:00:01", "--flows", "16"]);
            send.args(["--seconds", &length.as_secs_f64().to_string()]);
            if let Some(rate) = self.rate {
                send.args(["--rate", &(rate / f64::from(self.senders)).to_string()]);
            }
            send.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().context("cannot start mvpnet-pps")
        };
        (0..self.senders).map(sender).collect()
    }
}

/// How many frames a guest's interface has received.
fn received(servers: &TwoServers, guest: Host) -> anyhow::Result<u64> {
    let mut read = Command::new("ip");
    read.args([
        "netns",
        "exec",
        &servers.namespace(guest),
        "cat",
        "/sys/class/net/eth0/statistics/rx_packets",
    ]);
    super::output_of(&mut read)?.trim().parse().context("a counter is a number")
}

fn json<T: serde::de::DeserializeOwned>(output: Output) -> anyhow::Result<T> {
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "mvpnet-pps: {}", said.trim());
    Ok(serde_json::from_slice(&output.stdout)?)
}
