//! MPI's launchers with mvpnet-rsh in the place of ssh: two guests' agents, this host in place of both guests, and a
//! relay between them that does what ranks do.
// Real processes take real time, and clippy sees no test in what tests share.
#![allow(clippy::disallowed_methods, clippy::unwrap_used)]

mod common;

use std::os::unix::fs::symlink;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mvpnet_qemu_driver::Accel;
use mvpnet_qemu_driver::agent::{AgentTimes, Agents, ChannelEnds, ExecEnd, ExecError, GuestCall};
use mvpnet_qemu_driver::names::find_program;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// How long anything may take on a loaded machine.
const LONG: Duration = Duration::from_secs(60);

/// Two guests and the ranks between them.
struct Two {
    dir: tempfile::TempDir,
    daemons: Vec<Child>,
    /// The calls that there were: from which guest, to which host, the command.
    calls: Arc<Mutex<Vec<(usize, String, String)>>>,
    _others: Vec<UnixStream>,
}

impl Drop for Two {
    fn drop(&mut self) {
        for daemon in &mut self.daemons {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }
}

impl Two {
    fn start() -> Two {
        let dir = tempfile::tempdir().unwrap();
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../seed/src/agent/mvpnet-agent");
        symlink(program.canonicalize().unwrap(), dir.path().join("mvpnet-rsh")).unwrap();
        let mut two = Two { dir, daemons: Vec::new(), calls: Arc::default(), _others: Vec::new() };
        let mut guests: Vec<Agents> = Vec::new();
        let mut called = Vec::new();
        for index in 0..2 {
            let port = two.dir.path().join(format!("port{index}"));
            let listener = UnixListener::bind(&port).unwrap();
            let mut daemon = Command::new(&program);
            daemon.arg("daemon").arg("--port").arg(&port).arg("--socket").arg(two.socket(index));
            two.daemons.push(daemon.spawn().unwrap());
            let (guest_agent, other) = UnixStream::pair().unwrap();
            two._others.push(other);
            let ends = ChannelEnds { guest_agent, exec: Some(listener.accept().unwrap().0) };
            let (calls, receiver) = mpsc::channel(64);
            guests.push(Agents::start(ends, AgentTimes::default_for(Accel::Tcg), calls).unwrap());
            called.push(receiver);
        }
        for (index, receiver) in called.into_iter().enumerate() {
            let places = [0, 1].map(|index| two.temporary(&format!("t{index}")));
            tokio::spawn(relay(index, receiver, guests.clone(), places, Arc::clone(&two.calls)));
        }
        two
    }

    fn socket(&self, index: usize) -> PathBuf {
        self.dir.path().join(format!("agent{index}.sock"))
    }

    /// A /tmp: Open MPI's daemons and mpirun, each on its host, write files of the same names there. Their sockets'
    /// names may not be long.
    fn temporary(&self, name: &str) -> PathBuf {
        let place = self.dir.path().join(name);
        std::fs::create_dir_all(&place).unwrap();
        place
    }

    /// A command as if in the first guest.
    fn launcher(&self, program: &str, words: &[String]) -> tokio::process::Command {
        let mut command = tokio::process::Command::new(program);
        command.args(words).env("MVPNET_AGENT_SOCKET", self.socket(0)).kill_on_drop(true);
        // Open MPI wants to be told that the tests may be run by root.
        command.env("OMPI_ALLOW_RUN_AS_ROOT", "1").env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1");
        command.env("TMPDIR", self.temporary("t")).stdin(Stdio::null());
        command
    }

    async fn run(&self, program: &str, words: &[String]) -> Output {
        match timeout(LONG, self.launcher(program, words).output()).await {
            Ok(output) => output.unwrap(),
            Err(_) => panic!("it hangs: {:#?}", self.calls.lock().unwrap()),
        }
    }
}

/// Has the commands of one guest run in the one that they name.
async fn relay(
    from: usize,
    mut calls: mpsc::Receiver<GuestCall>,
    guests: Vec<Agents>,
    places: [PathBuf; 2],
    log: Arc<Mutex<Vec<(usize, String, String)>>>,
) {
    while let Some(GuestCall { host, mut request, input, output, end }) = calls.recv().await {
        log.lock().unwrap().push((from, host.clone(), request.argv.join(" ")));
        let index = host.strip_prefix('n').and_then(|number| number.parse::<usize>().ok());
        let Some((agents, place)) =
            index.and_then(|index| Some((guests.get(index)?.clone(), places.get(index)?)))
        else {
            let _ = end.send(Err(ExecError::Refused(format!("no guest is called {host}"))));
            continue;
        };
        request.env.push(("TMPDIR".to_owned(), place.display().to_string()));
        tokio::spawn(async move {
            let ended: Result<ExecEnd, ExecError> = agents.exec(request, input, output, LONG).await;
            let _ = end.send(ended);
        });
    }
}

fn show(output: &Output) -> String {
    let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
    format!("{:?}\n{}{}", output.status, text(&output.stdout), text(&output.stderr))
}

/// Whether there is a program. Without it the test is skipped, unless all tests are required.
fn have(program: &str) -> bool {
    let found = find_program(program).is_some();
    if !found {
        assert_ne!(std::env::var("MVPNET_REQUIRE").as_deref(), Ok("all"), "{program} is required");
        println!("skipped: there is no {program}");
    }
    found
}

/// What the launcher is called with besides the command, and the variable that has the rank.
const OPEN_MPI: (&str, &[&str], &str) = (
    "mpirun.openmpi",
    &["--mca", "plm_rsh_agent", "RSH", "--host", "n0000:2,n0001:2"],
    "OMPI_COMM_WORLD_RANK",
);
const MPICH: (&str, &[&str], &str) =
    ("mpirun.mpich", &["-launcher", "ssh", "-launcher-exec", "RSH", "-hosts", "n0000:2,n0001:2"], "PMI_RANK");

impl Two {
    fn words(&self, options: &[&str], command: &str) -> Vec<String> {
        let rsh = self.dir.path().join("mvpnet-rsh").display().to_string();
        let options = options.iter().map(|&word| if word == "RSH" { rsh.clone() } else { word.to_owned() });
        options.chain(["-n", "4", "sh", "-c", command].map(String::from)).collect()
    }
}

async fn starts_four_ranks((program, options, rank): (&str, &[&str], &str)) {
    let two = Two::start();
    let output = two.run(program, &two.words(options, &format!("echo rank ${rank}"))).await;
    let mut ranks: Vec<_> =
        output.stdout.split(|&octet| octet == b'\n').filter(|line| !line.is_empty()).collect();
    ranks.sort_unstable();
    assert!(output.status.success(), "{}", show(&output));
    assert_eq!(ranks, [b"rank 0", b"rank 1", b"rank 2", b"rank 3"], "{}", show(&output));
    let calls = two.calls.lock().unwrap();
    let mut hosts: Vec<_> = calls.iter().map(|(from, host, _)| (*from, host.as_str())).collect();
    hosts.sort_unstable();
    assert_eq!(hosts, [(0, "n0000"), (0, "n0001")], "{calls:#?}");
}

async fn passes_on_the_code_of_a_rank_that_fails((program, options, rank): (&str, &[&str], &str)) {
    let two = Two::start();
    let output = two.run(program, &two.words(options, &format!("test ${rank} != 3 || exit 5"))).await;
    assert_eq!(output.status.code(), Some(5), "{}", show(&output));
}

async fn ends_its_ranks_when_interrupted((program, options, _): (&str, &[&str], &str)) {
    let two = Two::start();
    // A number that no other process on this host sleeps for.
    let time = format!("{}.5", 100_000 + std::process::id());
    let mut launcher = two.launcher(program, &two.words(options, &format!("exec sleep {time}")));
    let mut launcher = launcher.spawn().unwrap();
    let sleeping = || {
        let processes = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
        processes
            .filter(|process| {
                let words = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
                words == format!("sleep\0{time}\0").as_bytes()
            })
            .count()
    };
    wait_for("four ranks", || sleeping() == 4).await;
    let pid = nix::unistd::Pid::from_raw(launcher.id().unwrap().cast_signed());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
    // With what code is its own business: MPICH's mpiexec ends with 0 now and then.
    timeout(LONG, launcher.wait()).await.expect("it heeds no signal").unwrap();
    wait_for("the ranks' end", || sleeping() == 0).await;
}

async fn wait_for(what: &str, condition: impl Fn() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(LONG, waiting).await.unwrap_or_else(|_| panic!("waited for {what} in vain"));
}

#[tokio::test]
async fn open_mpi_starts_its_daemons() {
    if have(OPEN_MPI.0) {
        starts_four_ranks(OPEN_MPI).await;
        passes_on_the_code_of_a_rank_that_fails(OPEN_MPI).await;
        ends_its_ranks_when_interrupted(OPEN_MPI).await;
    }
}

#[tokio::test]
async fn mpich_starts_its_proxies() {
    if have(MPICH.0) {
        starts_four_ranks(MPICH).await;
        passes_on_the_code_of_a_rank_that_fails(MPICH).await;
        ends_its_ranks_when_interrupted(MPICH).await;
    }
}
