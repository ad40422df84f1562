//! What is taken for left, and what is not.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;

use super::super::record::Record;
use super::super::record::tests::record;
use super::*;

/// A control directory, and a directory for everything else.
struct Place {
    parent: tempfile::TempDir,
    control: PathBuf,
}

impl Place {
    fn new() -> Self {
        let parent = tempfile::tempdir().unwrap();
        let control = parent.path().join("mvpnet");
        super::super::place::prepare(&control).unwrap();
        Self { parent, control }
    }

    fn file(&self, name: &str) -> PathBuf {
        let path = self.parent.path().join(name);
        fs::write(&path, "").unwrap();
        path
    }

    fn stale_socket(&self, name: &str) -> PathBuf {
        let path = self.parent.path().join(name);
        drop(UnixListener::bind(&path).unwrap());
        path
    }

    /// A rank that has noted these down.
    fn rank(&self, process: Process, leftovers: Vec<Leftover>) -> PathBuf {
        let record = Record { process, leftovers, ..record() };
        record.write_to(&self.control).unwrap();
        record.path_in(&self.control)
    }

    fn garbage(&self) -> Vec<Garbage> {
        garbage_in(std::slice::from_ref(&self.control))
    }

    fn places(&self) -> Vec<PathBuf> {
        self.garbage().into_iter().map(|garbage| garbage.at.into()).collect()
    }
}

/// One that has been waited for.
fn dead() -> Process {
    let mut child = std::process::Command::new("sleep").arg("100").spawn().unwrap();
    let process = Process::of(child.id()).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    process
}

#[test]
fn what_a_dead_rank_noted_down_goes_and_then_its_record() {
    let place = Place::new();
    let (copy, lock) = (place.file("copy"), place.file("copy.lock"));
    let socket = place.stale_socket("stream.0.sock");
    let gone = Leftover::File(place.parent.path().join("never made"));
    let leftovers = vec![
        Leftover::Copy { path: copy.clone(), lock: lock.clone(), delete: true },
        Leftover::File(socket.clone()),
        gone,
    ];
    let record = place.rank(dead(), leftovers);
    assert_eq!(place.places(), [socket.clone(), copy.clone(), record.clone()]);
    assert!(place.garbage().iter().all(|garbage| garbage.job.as_deref() == Some("lab")));
    for garbage in place.garbage() {
        garbage.remove().unwrap();
    }
    assert!([socket, copy, lock, record].iter().all(|path| !path.exists()));
    assert_eq!(place.places(), Vec::<PathBuf>::new());
}

#[test]
fn what_is_in_use_or_somebody_else_s_by_now_stays() {
    let place = Place::new();
    let (copy, lock) = (place.file("copy"), place.file("copy.lock"));
    let heard = place.parent.path().join("heard.sock");
    let _listener = UnixListener::bind(&heard).unwrap();
    let shared = place.file("shared");
    let held = File::open(&lock).unwrap();
    held.lock_shared().unwrap();
    let leftovers = vec![
        Leftover::Copy { path: copy, lock, delete: true },
        Leftover::File(heard),
        Leftover::File(shared.clone()),
        Leftover::Orphan { path: place.file("segment"), launcher: std::process::id() },
    ];
    let record = place.rank(dead(), leftovers);
    // A living rank has the same file, and nothing of its own is left.
    place.rank(Process::this(), vec![Leftover::File(shared)]);
    assert_eq!(place.places(), [record]);
}

#[test]
fn a_process_that_has_the_number_of_a_dead_one_is_not_taken_for_it() {
    let place = Place::new();
    let this = Process::this();
    let record = place.rank(Process { born: this.born - 1, ..this }, Vec::new());
    let directory = place.control.join(format!("{}.job", this.number));
    fs::create_dir(&directory).unwrap();
    let socket = place.stale_socket(&format!("mvpnet/{}.sock", this.number));
    assert_eq!(
        place.places(),
        std::slice::from_ref(&record),
        "what is younger than a living process may be its own"
    );
    for path in [&directory, &socket] {
        let touched = std::process::Command::new("touch").args(["-h", "-d", "2001-01-01"]).arg(path).status();
        assert!(touched.unwrap().success());
    }
    assert_eq!(place.places(), [directory.clone(), socket.clone(), record]);
    // It can be asked: then it is a job's, whatever the clock says.
    fs::remove_file(&socket).unwrap();
    let _listener = UnixListener::bind(&socket).unwrap();
    assert!(!place.places().contains(&directory));
}

#[test]
fn what_is_named_by_a_dead_process_goes_whatever_is_in_it() {
    let place = Place::new();
    let number = dead().number;
    let names = ["sock", "rank.sock", "bridge.sock"].map(|end| format!("mvpnet/{number}.{end}"));
    let sockets = names.map(|name| place.stale_socket(&name));
    let directory = place.control.join(format!("{number}.job"));
    fs::create_dir(&directory).unwrap();
    fs::write(directory.join("id_ed25519"), "secret").unwrap();
    let broken = place.control.join(format!("{number}.0.job.json"));
    fs::write(&broken, "{").unwrap();
    let mut expected: Vec<PathBuf> = sockets.into_iter().chain([directory, broken]).collect();
    expected.sort();
    assert_eq!(place.places(), expected);
    place.garbage().iter().for_each(|garbage| garbage.remove().unwrap());
    assert_eq!(fs::read_dir(&place.control).unwrap().count(), 0);
}

#[test]
fn strangers_are_left_alone() {
    let place = Place::new();
    let number = dead().number;
    let link = place.control.join(format!("{number}.job"));
    symlink(place.parent.path(), &link).unwrap();
    for name in [format!("{number}.txt"), format!("x{number}.sock"), "lab".into(), format!("{number}")] {
        fs::write(place.control.join(name), "").unwrap();
    }
    fs::write(place.control.join(format!("{number}.sock")), "no socket").unwrap();
    assert_eq!(place.places(), Vec::<PathBuf>::new());
    // On another host, or in a container, it may live.
    let elsewhere = Realm { host: "other".into(), boot: "other".into(), ..Realm::here() };
    let process = Process { number, born: 1 };
    let record = Record { process, realm: elsewhere, leftovers: Vec::new(), ..record() };
    record.write_to(&place.control).unwrap();
    place.stale_socket(&format!("mvpnet/{number}.rank.sock"));
    assert_eq!(place.places(), Vec::<PathBuf>::new());
    // A directory that others can write to says nothing.
    fs::set_permissions(&place.control, fs::Permissions::from_mode(0o777)).unwrap();
    place.rank_is_refused(dead());
    assert_eq!(place.places(), Vec::<PathBuf>::new());
}

impl Place {
    fn rank_is_refused(&self, process: Process) {
        let error = Record { process, ..record() }.write_to(&self.control).unwrap_err().to_string();
        assert!(error.contains("yours alone"), "{error}");
    }
}
