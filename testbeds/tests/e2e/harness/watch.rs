//! tshark on an interface of a host, and what it has seen.

use std::fs::File;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use mvpnet_testbeds::two_servers::{Host, TwoServers, bridges};

use super::home::Home;
use super::wait::wait_for;

/// How long tshark may take to begin, and to write down what has passed.
const LIMIT: Duration = Duration::from_secs(20);

/// A capture that is being made, as long as this lives.
#[derive(Debug)]
pub struct Watch {
    tshark: Child,
    home: Home,
}

impl Watch {
    /// Begins: from now on nothing that matches the capture filter (pcap-filter(7)) is missed.
    pub fn begin(servers: &TwoServers, host: Host, filter: &str) -> Self {
        let home = Home::new();
        let tshark = servers
            .command(host, "tshark")
            .args(["-q", "-i", "eth0", "-f", filter, "-w"])
            .arg(home.at("seen.pcapng"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(home.at("stderr")).unwrap())
            .spawn()
            .unwrap();
        let watch = Self { tshark, home };
        let begun = wait_for(LIMIT, || watch.home.read("stderr").contains("Capture started").then_some(()));
        assert!(begun.is_some(), "tshark: {}", watch.home.read("stderr"));
        watch
    }

    /// These fields of every packet that it has written down so far and that matches the display filter; of a field that a
    /// packet has several times, the last: that of what is inside.
    pub fn seen(&self, filter: &str, fields: &[&str]) -> Vec<Vec<String>> {
        let mut read = Command::new("tshark");
        read.arg("-r").arg(self.home.at("seen.pcapng")).args([
            "-Y",
            filter,
            "-T",
            "fields",
            "-E",
            "occurrence=l",
        ]);
        read.args(fields.iter().flat_map(|field| ["-e", field]));
        // The file ends in the middle of something, perhaps.
        let output = read.stderr(Stdio::null()).output().unwrap();
        let lines = String::from_utf8_lossy(&output.stdout).into_owned();
        lines.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect()
    }

    /// The same, once there are so many.
    pub fn wait_for(&self, count: usize, filter: &str, fields: &[&str]) -> Vec<Vec<String>> {
        let complete = wait_for(LIMIT, || Some(self.seen(filter, fields)).filter(|seen| seen.len() >= count));
        complete.unwrap_or_else(|| panic!("not {count} packets were seen: {:?}", self.seen(filter, fields)))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        bridges::end(&mut self.tshark);
    }
}
