//! The lab on two servers, both of them namespaces: guests on server1, their bridge on server2. Either end is mvpnet's
//! or the kernel's.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use mvpnet_testbeds::two_servers::{Host, Plan, TwoServers, bridges, traffic};
use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::guest::Guest;
use super::home::Home;
use super::job::Job;
use super::processes::{self, MARK};
use super::running::Running;
use super::setting::Launcher;
use super::wait::{Said, run, wait_for};

/// How long a command in a guest may take, and a bridge to come or go.
const COMMAND: Duration = Duration::from_secs(60);

/// Whose part something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// mvpnet's.
    Ours,
    /// Linux's own.
    Kernels,
}

/// The servers, with all guests of one kind and a bridge, as long as this lives.
#[derive(Debug)]
pub struct Lab {
    // In this order: what runs on the servers ends before them.
    /// Guests of mvpnet.
    pub job: Option<Running>,
    /// A bridge of mvpnet.
    pub bridge: Option<OurBridge>,
    /// The servers.
    pub servers: TwoServers,
}

/// `mvpnet bridge` on server2.
#[derive(Debug)]
pub struct OurBridge {
    child: Child,
    /// Where it writes.
    home: Home,
}

/// A guest of either kind.
#[derive(Clone, Debug)]
pub enum LabGuest {
    /// A namespace behind a tunnel of the kernel; its number and namespace.
    Kernels(u32, String),
    /// A real one.
    Ours(Guest),
}

impl Lab {
    /// The servers alone.
    pub fn empty(plan: Plan) -> Self {
        let servers = TwoServers::up(plan).unwrap_or_else(|error| panic!("{error:#}"));
        Self { job: None, bridge: None, servers }
    }

    /// Guests and a bridge, all up. The plan's number of guests counts for either kind.
    pub fn up(guests: Whose, bridge: Whose, plan: Plan) -> Self {
        let count = plan.guests;
        let mut lab = Self::empty(Plan { guests: if guests == Whose::Kernels { count } else { 0 }, ..plan });
        lab.start_bridge(bridge, count);
        if guests == Whose::Ours {
            let mut job = lab.job(count).stays_up().start();
            job.wait_until_up();
            lab.job = Some(job);
        }
        lab
    }

    /// A bridge for so many guests.
    pub fn start_bridge(&mut self, whose: Whose, guests: u32) {
        let first = self.servers.plan().vni;
        match whose {
            Whose::Ours => self.bridge = Some(OurBridge::start(&self.servers, first..first + guests, &[])),
            Whose::Kernels => bridges::kernel(&self.servers, first..first + guests).unwrap(),
        }
    }

    /// A job of guests on server1 whose switch is server2's.
    pub fn job(&self, guests: u32) -> Job {
        self.job_from(self.servers.plan().vni, guests)
    }

    /// The same, with the VNI of its first guest.
    pub fn job_from(&self, vni: u32, guests: u32) -> Job {
        let vni = vni.to_string();
        Job::new(Launcher::Up, guests)
            .inside(words_of(&self.servers.command(Host::Server1, "env")))
            .tiny()
            .flags(["--remote", "server2", "--vni", &vni, "-g"])
    }

    /// Ways into the guests.
    pub fn guests(&mut self) -> Vec<LabGuest> {
        match &mut self.job {
            Some(job) => job.guests().into_iter().map(LabGuest::Ours).collect(),
            None => (0..self.servers.plan().guests)
                .map(|number| LabGuest::Kernels(number, self.servers.namespace(Host::Guest(number))))
                .collect(),
        }
    }

    /// The bridge, which is mvpnet's.
    pub fn our_bridge(&mut self) -> &mut OurBridge {
        self.bridge.as_mut().expect("the test has made one")
    }

    /// What mvpnet's bridge says of itself.
    pub fn status(&self) -> bridges::Status {
        bridges::Status::of(&self.servers, &mvpnet()).unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// Runs a shell command on a host.
    pub fn run_on(&self, host: Host, script: &str) -> String {
        self.servers.run(host, &["sh", "-ec", script]).unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// Does something in a host's network.
    pub fn inside<T: Send>(&self, host: Host, what: impl FnOnce() -> T + Send) -> T {
        let place = File::open(format!("/run/netns/{}", self.servers.namespace(host))).unwrap();
        let enter = || {
            // This thread only, which ends with it.
            setns(place, CloneFlags::CLONE_NEWNET).unwrap();
            what()
        };
        std::thread::scope(|scope| {
            scope.spawn(enter).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Ends the guests of mvpnet, if there are any, and checks that they leave nothing. The ranks' counters.
    pub fn end_guests(&mut self) -> BTreeMap<String, u64> {
        let Some(mut job) = self.job.take() else { return BTreeMap::new() };
        job.end_with(0);
        let job = job.ended();
        job.assert_code(0);
        job.assert_all_halted();
        job.counters()
    }
}

/// The program under test.
pub fn mvpnet() -> PathBuf {
    Launcher::Up.program()
}

fn words_of(command: &Command) -> Vec<std::ffi::OsString> {
    let program = command.get_program();
    std::iter::once(program).chain(command.get_args()).map(ToOwned::to_owned).collect()
}

impl OurBridge {
    /// Starts it for these VNIs and server1, with more flags, and waits until it is ready.
    pub fn start(servers: &TwoServers, vnis: std::ops::Range<u32>, flags: &[&str]) -> Self {
        let bridge = Self::start_without_waiting(servers, vnis, flags);
        let up = bridges::wait_for_status(servers, &mvpnet());
        up.unwrap_or_else(|error| panic!("{error:#}\n{}", bridge.stderr()));
        bridge
    }

    /// Starts it.
    pub fn start_without_waiting(servers: &TwoServers, vnis: std::ops::Range<u32>, flags: &[&str]) -> Self {
        let home = Home::new();
        let child = bridges::command(servers, &mvpnet(), vnis)
            .args(flags)
            .env(MARK, &home.name)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(home.at("stderr")).unwrap())
            .spawn()
            .unwrap();
        Self { child, home }
    }

    /// What it said.
    pub fn stderr(&self) -> String {
        self.home.read("stderr")
    }

    /// Waits until it says this.
    pub fn wait_until_it_says(&self, text: &str) {
        let said = wait_for(COMMAND, || self.stderr().contains(text).then_some(()));
        assert!(said.is_some(), "the bridge did not say {text}: {}", self.stderr());
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), signal).unwrap();
    }

    /// Waits for its end and that it left nothing: no process, no socket.
    pub fn ended(mut self) -> i32 {
        let status = wait_for(COMMAND, || self.child.try_wait().unwrap());
        let status = status.unwrap_or_else(|| panic!("the bridge does not end: {}", self.stderr()));
        let socket = format!("{}.bridge.sock", self.child.id());
        let mut left = Vec::new();
        wait_for(COMMAND, || {
            left = processes::of_job(&self.home.name).into_iter().map(|process| process.command).collect();
            left.extend(control_sockets().into_iter().filter(|name| *name == socket));
            left.is_empty().then_some(())
        });
        assert!(left.is_empty(), "this is left of the bridge: {left:?}");
        status.code().unwrap_or(-1)
    }
}

impl Drop for OurBridge {
    fn drop(&mut self) {
        bridges::end(&mut self.child);
        if std::thread::panicking() {
            super::setting::say(&format!("the bridge said:\n{}", self.stderr()));
        }
    }
}

/// The files in the directories where mvpnet's programs listen to `status` and its like.
fn control_sockets() -> Vec<String> {
    let user = nix::unistd::geteuid();
    let runtime =
        std::env::var_os("XDG_RUNTIME_DIR").map(|directory| PathBuf::from(directory).join("mvpnet"));
    let places = [Some(PathBuf::from(format!("/tmp/mvpnet-{user}"))), runtime];
    let entries = places.iter().flatten().flat_map(|place| fs::read_dir(place).into_iter().flatten());
    entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect()
}

impl LabGuest {
    /// Its number.
    pub fn number(&self) -> u32 {
        match self {
            Self::Kernels(number, _) => *number,
            Self::Ours(guest) => guest.rank,
        }
    }

    /// Its address.
    pub fn ip(&self) -> String {
        format!("10.0.0.{}", self.number() + 1)
    }

    /// Its routable IPv6 address.
    pub fn ula(&self) -> String {
        format!("fd6d:7670:6e65:0:5055:ff:fe00:{:x}", self.number())
    }

    /// Its interface.
    pub fn interface(&self) -> &'static str {
        match self {
            Self::Kernels(..) => "eth0",
            Self::Ours(_) => "mvp0",
        }
    }

    /// Runs shell commands in it.
    pub fn try_run(&self, script: &str) -> Said {
        match self {
            Self::Kernels(_, namespace) => {
                run(Command::new("ip").args(["netns", "exec", namespace, "sh", "-c", script]), COMMAND)
            }
            Self::Ours(guest) => guest.try_run(script),
        }
    }

    /// Runs shell commands in it, which have to succeed; what they printed.
    pub fn run(&self, script: &str) -> String {
        let Said { status, stdout, stderr } = self.try_run(script);
        let success = status.is_some_and(|status| status.success());
        assert!(success, "in guest {}: {script}: {status:?}\n{stdout}{stderr}", self.number());
        stdout
    }

    /// Whether a ping from it is answered within a second.
    pub fn reaches(&self, address: &str) -> bool {
        self.try_run(&format!("ping -c 1 -W 1 {address}")).is_success()
    }

    /// Waits until a ping from it is answered.
    pub fn reaches_within(&self, limit: Duration, address: &str) {
        let answered = wait_for(limit, || self.reaches(address).then_some(()));
        assert!(answered.is_some(), "guest {} does not reach {address} within {limit:?}", self.number());
    }

    /// A program that listens in it for iperf3, if none does: tiny guests have one from the start.
    pub fn serve_iperf3(&self, servers: &TwoServers) -> Option<traffic::Server> {
        match self {
            Self::Kernels(number, _) => Some(traffic::Server::start(servers, Host::Guest(*number)).unwrap()),
            Self::Ours(_) => None,
        }
    }
}
