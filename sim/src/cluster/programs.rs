//! What can be run on a simulated host: the test's own programs, and some that every guest has.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use super::Output;
use crate::Host;

type Running = Pin<Box<dyn Future<Output = Output>>>;

type Program = Rc<dyn Fn(Host, Vec<String>) -> Running>;

/// Programs by their names.
#[derive(Clone, Default)]
pub(super) struct Programs {
    by_name: BTreeMap<String, Program>,
}

impl Programs {
    pub(super) fn add<F>(&mut self, name: &str, run: F)
    where
        F: AsyncFn(Host, Vec<String>) -> Output + Clone + 'static,
    {
        let run = move |host, words| -> Running {
            let run = run.clone();
            Box::pin(async move { run(host, words).await })
        };
        self.by_name.insert(name.to_owned(), Rc::new(run));
    }

    /// Runs a command line that was split into its words.
    pub(super) async fn run(&self, host: Host, words: Vec<String>) -> Output {
        let Some((name, words)) = words.split_first() else { return Output::default() };
        if let Some(program) = self.by_name.get(name) {
            return program(host, words.to_vec()).await;
        }
        match name.as_str() {
            "true" => Output::default(),
            "false" => Output::failure(1, ""),
            "hostname" => Output::success(format!("{}\n", host_name(&host, host.rank()))),
            "ping" => ping(&host, words).await,
            _ => Output::failure(127, format!("{name}: not found\n")),
        }
    }
}

fn host_name(host: &Host, rank: u32) -> String {
    host.world().rank(rank).map_or_else(|_| "localhost".to_owned(), mvpnet_switch::Rank::host_name)
}

/// What is asked of `ping`.
#[derive(Debug, PartialEq)]
struct Ping {
    to: IpAddr,
    count: u32,
    wait: Duration,
    interval: Duration,
}

/// `ping [-c COUNT] [-W SECONDS] [-i SECONDS] ADDRESS|NAME`, three times unless told otherwise.
async fn ping(host: &Host, words: &[String]) -> Output {
    let Ping { to, count, wait, interval } = match read_ping(host, words) {
        Ok(ping) => ping,
        Err(error) => return Output::failure(2, format!("ping: {error}\n")),
    };
    let (mut stdout, mut received) = (String::new(), 0);
    for number in 0..count {
        if number > 0 {
            host.sleep(interval).await;
        }
        if let Ok(rtt) = host.ping(to, wait).await {
            received += 1;
            let _ =
                writeln!(stdout, "64 bytes from {to}: seq={number} time={:.3} ms", rtt.as_secs_f64() * 1e3);
        }
    }
    let lost = (count - received) * 100 / count;
    let _ = writeln!(stdout, "{count} packets transmitted, {received} packets received, {lost}% packet loss");
    Output { status: i32::from(received == 0), stdout, stderr: String::new() }
}

fn read_ping(host: &Host, words: &[String]) -> Result<Ping, String> {
    let mut ping = Ping {
        to: host.address(),
        count: 3,
        wait: Duration::from_secs(10),
        interval: Duration::from_secs(1),
    };
    let mut target = None;
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
        match word.as_str() {
            "-c" => ping.count = number(value()?)?,
            "-W" => ping.wait = seconds(value()?)?,
            "-i" => ping.interval = seconds(value()?)?,
            option if option.starts_with('-') => return Err(format!("{option} is not known here")),
            name => target = Some(name),
        }
    }
    let target = target.ok_or("whom?")?;
    ping.to = address(host, target).ok_or_else(|| format!("bad address '{target}'"))?;
    Ok(ping)
}

fn address(host: &Host, name: &str) -> Option<IpAddr> {
    let by_name =
        || host.world().ranks().find(|rank| rank.host_name() == name).map(|rank| rank.ipv4().into());
    name.parse().ok().or_else(by_name)
}

fn number(text: &str) -> Result<u32, String> {
    text.parse().ok().filter(|number| *number > 0).ok_or_else(|| format!("invalid number '{text}'"))
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    seconds.ok_or_else(|| format!("invalid number '{text}'"))
}

#[cfg(test)]
mod tests {
    use crate::cluster::{Cluster, Output, SimCluster};

    #[test]
    fn every_host_has_what_every_guest_has() {
        let mut cluster = SimCluster::new(1, 3).unwrap();
        assert_eq!(cluster.exec(2, "hostname").unwrap(), Output::success("n0002\n"));
        assert_eq!(cluster.exec(2, "true").unwrap().status, 0);
        assert_eq!(cluster.exec(2, "false").unwrap().status, 1);
        let said = cluster.exec(0, "ping -c 2 -i 0.2 n0001").unwrap();
        assert!(said.stdout.contains("64 bytes from 10.0.0.2: seq=1 time="), "{}", said.stdout);
        assert!(said.stdout.ends_with("2 packets transmitted, 2 packets received, 0% packet loss\n"));
        cluster.kill(1).unwrap();
        let said = cluster.exec(0, "ping -c 1 -W 1 10.0.0.2").unwrap();
        assert_eq!(said.status, 1);
        for (words, says) in [
            ("ping", "whom?"),
            ("ping -c 0 n0001", "invalid number '0'"),
            ("ping n0009", "bad address 'n0009'"),
        ] {
            let said = cluster.exec(0, words).unwrap();
            assert!(said.status == 2 && said.stderr.contains(says), "{words}: {said:?}");
        }
    }
}
