//! Being told to end: by signal, or by the machine protocol (QMP), as qemu is.
//!
//! Of QMP there is the greeting, `qmp_capabilities`, `query-status`, `system_powerdown` and `quit` with their events;
//! every other command gets an empty return. `system_powerdown` ends the generator as a guest that shuts down cleanly.

use std::{
    io::{self, BufRead, BufReader, Write},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::net::{UnixListener, UnixStream},
    },
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        eventfd::{EfdFlags, EventFd},
        signal::{SigSet, Signal},
    },
};
use serde_json::{Value, json};

use super::{argv::Monitor, inherited};

/// How long a role may take to end after it was told to.
const GRACE: Duration = Duration::from_secs(2);

/// Tells the traffic loop to end.
#[derive(Debug, Clone)]
pub struct Stop {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    raised: AtomicBool,
    event: EventFd,
}

impl Stop {
    /// Nobody has said stop yet.
    pub fn new() -> nix::Result<Stop> {
        let event = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        Ok(Stop { inner: Arc::new(Inner { raised: AtomicBool::new(false), event }) })
    }

    /// Whether to end.
    pub fn raised(&self) -> bool {
        self.inner.raised.load(Ordering::Relaxed)
    }

    /// Readable when it is time to end.
    pub fn doorbell(&self) -> BorrowedFd<'_> {
        self.inner.event.as_fd()
    }

    /// Ends the traffic loop.
    pub fn raise(&self) {
        self.inner.raised.store(true, Ordering::Relaxed);
        // The counter cannot overflow here, and a reader that is gone needs no bell.
        let _ = self.inner.event.write(1);
    }

    /// From now on, a traffic loop that does not end in time ends with the process.
    pub fn enforce(&self) {
        let stop = self.clone();
        thread::spawn(move || {
            let mut bell = [PollFd::new(stop.doorbell(), PollFlags::POLLIN)];
            while !stop.raised() {
                let _ = poll(&mut bell, PollTimeout::NONE);
            }
            #[allow(clippy::disallowed_methods, reason = "the last resort against a role that hangs")]
            thread::sleep(GRACE);
            eprintln!("mvpnet-loadgen: did not end within {GRACE:?} after being told to");
            std::process::exit(1);
        });
    }

    /// SIGTERM, SIGINT and SIGHUP say stop. Call it before any other thread is started: threads inherit the mask.
    pub fn on_signals(&self) -> nix::Result<()> {
        let signals: SigSet = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP].into_iter().collect();
        signals.thread_block()?;
        let stop = self.clone();
        thread::spawn(move || {
            if signals.wait().is_ok() {
                stop.raise();
            }
        });
        Ok(())
    }

    /// The machine protocol's power-down and quit say stop.
    pub fn on_monitor(&self, monitor: OpenMonitor) {
        let stop = self.clone();
        thread::spawn(move || match monitor {
            OpenMonitor::Connected(stream) => serve(&stream, &stop),
            OpenMonitor::Listening(listener) => {
                for stream in listener.incoming().map_while(Result::ok) {
                    serve(&stream, &stop);
                }
            }
        });
    }
}

/// The machine protocol's socket, open.
#[derive(Debug)]
pub enum OpenMonitor {
    /// One client, for good.
    Connected(UnixStream),
    /// One client after the other.
    Listening(UnixListener),
}

impl OpenMonitor {
    /// For a guest that ends by itself.
    pub fn off_switch(&self) -> OffSwitch {
        OffSwitch(match self {
            OpenMonitor::Connected(stream) => stream.try_clone().ok(),
            OpenMonitor::Listening(_) => None,
        })
    }

    /// Opens what the argument list names.
    pub fn open(monitor: &Monitor) -> io::Result<OpenMonitor> {
        Ok(match monitor {
            Monitor::Fd(number) => OpenMonitor::Connected(UnixStream::from(inherited::take(*number)?)),
            Monitor::Connect(path) => OpenMonitor::Connected(UnixStream::connect(path)?),
            Monitor::Listen(path) => OpenMonitor::Listening(UnixListener::bind(path)?),
        })
    }
}

/// How a guest says that it has switched itself off.
#[derive(Debug)]
pub struct OffSwitch(Option<UnixStream>);

impl OffSwitch {
    /// Says so; the process is to end now.
    pub fn switch_off(self) {
        if let Some(mut stream) = self.0 {
            // Nobody listens: then nobody cares.
            let _ = stream.write_all(format!("{}\r\n", shutdown(true, "guest-shutdown")).as_bytes());
        }
    }
}

/// Serves one client until it leaves. A monitor that breaks does not disturb the traffic.
fn serve(stream: &UnixStream, stop: &Stop) {
    let mut out = stream;
    let mut say = |value: Value| out.write_all(format!("{value}\r\n").as_bytes()).is_ok();
    let version = json!({"qemu": {"major": 7, "minor": 2, "micro": 0}, "package": " (mvpnet-loadgen)"});
    if !say(json!({"QMP": {"version": version, "capabilities": ["oob"]}})) {
        return;
    }
    for line in BufReader::new(stream).lines().map_while(Result::ok) {
        let Ok(command) = serde_json::from_str::<Value>(&line) else {
            say(json!({"error": {"class": "GenericError", "desc": "JSON parse error"}}));
            continue;
        };
        let name = command["execute"].as_str().unwrap_or_default().to_owned();
        let (result, events) = answer(&name);
        let mut reply = json!({ "return": result });
        if let Some(id) = command.get("id") {
            reply["id"] = id.clone();
        }
        say(reply);
        for event in events {
            say(event);
        }
        if matches!(name.as_str(), "quit" | "system_powerdown") {
            stop.raise();
        }
    }
}

fn answer(command: &str) -> (Value, Vec<Value>) {
    match command {
        "query-status" => (json!({"status": "running", "singlestep": false, "running": true}), Vec::new()),
        "system_powerdown" => {
            (json!({}), vec![event("POWERDOWN", json!({})), shutdown(true, "guest-shutdown")])
        }
        "quit" => (json!({}), vec![shutdown(false, "host-qmp-quit")]),
        _ => (json!({}), Vec::new()),
    }
}

fn shutdown(guest: bool, reason: &str) -> Value {
    event("SHUTDOWN", json!({"guest": guest, "reason": reason}))
}

fn event(name: &str, data: Value) -> Value {
    let never = json!({"seconds": 0, "microseconds": 0});
    json!({"event": name, "data": data, "timestamp": never})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_power_down_over_the_monitor_says_stop_and_tells_of_it() {
        let (client, served) = UnixStream::pair().unwrap();
        let stop = Stop::new().unwrap();
        stop.on_monitor(OpenMonitor::Connected(served));
        let mut lines = BufReader::new(client.try_clone().unwrap()).lines();
        let mut next = || serde_json::from_str::<Value>(&lines.next().unwrap().unwrap()).unwrap();
        assert!(next()["QMP"]["version"].is_object());
        (&client).write_all(b"{\"execute\":\"qmp_capabilities\",\"id\":7}\n").unwrap();
        assert_eq!(next(), json!({"return": {}, "id": 7}));
        (&client).write_all(b"{\"execute\":\"system_powerdown\"}\n").unwrap();
        assert_eq!(next(), json!({"return": {}}));
        assert_eq!(next()["event"], "POWERDOWN");
        assert_eq!(next()["event"], "SHUTDOWN");
        let mut bell = [PollFd::new(stop.doorbell(), PollFlags::POLLIN)];
        assert_eq!(poll(&mut bell, 5000u16), Ok(1));
        assert!(stop.raised());
    }
}
