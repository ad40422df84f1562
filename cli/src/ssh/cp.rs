//! `mvpnet cp`: files to and from guests, by the host's scp; to several guests at once.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::process::{Command, ExitCode};
use std::sync::{Mutex, PoisonError};

use super::names::Names;
use super::place::Place;
use super::{CpFlags, SshError, hand_over, program, shown};

/// Copies that run at the same time.
const AT_ONCE: usize = 16;

/// Copies.
pub fn run(flags: &CpFlags) -> ExitCode {
    match copy(flags) {
        Ok(code) => code,
        Err(error) => error.say(1),
    }
}

fn copy(flags: &CpFlags) -> Result<ExitCode, SshError> {
    let place = Place::find(flags.job.as_deref())?;
    let names = place.names()?;
    let Some((destination, sources)) = flags.paths.split_last().filter(|(_, sources)| !sources.is_empty())
    else {
        return Err(SshError::Copy("what is to be copied, and where to? mvpnet cp FILE… 3:DIRECTORY".into()));
    };
    let sources: Vec<OsString> =
        sources.iter().map(|source| one(&names, source)).collect::<Result<_, _>>()?;
    let destinations = each(&names, destination)?;
    let scp = || -> Result<Command, SshError> {
        let mut command = program("scp")?;
        // From guest to guest by way of this host, which alone knows both.
        command.arg("-3").arg("-F").arg(place.config());
        command.args(flags.recursive.then_some("-r")).args(flags.preserve.then_some("-p"));
        Ok(command)
    };
    if let [only] = &destinations[..] {
        let mut command = scp()?;
        command.arg("--").args(&sources).arg(only);
        return Err(hand_over(command));
    }
    let mut commands = VecDeque::new();
    for destination in &destinations {
        let mut command = scp()?;
        command.args(["-q", "-B", "--"]).args(&sources).arg(destination);
        commands.push_back((shown(destination), command));
    }
    Ok(ExitCode::from(u8::from(run_all(commands) > 0)))
}

/// Runs the commands, some at a time, says which failed, and how many.
fn run_all(commands: VecDeque<(String, Command)>) -> usize {
    let commands = Mutex::new(commands);
    let next = || commands.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    let failures = Mutex::new(0);
    let work = || {
        while let Some((name, mut command)) = next() {
            let said = match command.output() {
                Ok(output) if output.status.success() => continue,
                Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
                Err(error) => error.to_string(),
            };
            *failures.lock().unwrap_or_else(PoisonError::into_inner) += 1;
            let said = if said.is_empty() { "scp failed" } else { &said };
            let _ = writeln!(std::io::stderr(), "mvpnet: {name}: {said}");
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(work);
        }
    });
    failures.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// A path here, or in one guest.
fn one(names: &Names, word: &OsStr) -> Result<OsString, SshError> {
    let Some((guest, path)) = in_guests(word) else { return Ok(word.to_owned()) };
    let mut place = names.target(guest)?;
    place.push(":");
    place.push(path);
    Ok(place)
}

/// A path here, or in each of some guests.
fn each(names: &Names, word: &OsStr) -> Result<Vec<OsString>, SshError> {
    let Some((guests, path)) = in_guests(word) else { return Ok(vec![word.to_owned()]) };
    if guests.as_bytes().contains(&b'@') {
        return Ok(vec![one(names, word)?]);
    }
    let places = names.set(guests)?.into_iter().map(|guest| {
        let mut place = OsString::from(guest);
        place.push(":");
        place.push(path);
        place
    });
    Ok(places.collect())
}

/// `GUESTS:PATH` as scp sees it: a colon before the first slash.
fn in_guests(word: &OsStr) -> Option<(&OsStr, &OsStr)> {
    let bytes = word.as_bytes();
    let colon = bytes.iter().take_while(|byte| **byte != b'/').position(|byte| *byte == b':')?;
    Some((OsStr::from_bytes(&bytes[..colon]), OsStr::from_bytes(&bytes[colon + 1..])))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        Names::of_config("Host n0000 0 10.0.0.1\nHost n0001 1 10.0.0.2\n")
    }

    #[test]
    fn paths_in_guests_are_those_with_a_colon_before_any_slash() {
        let one = |word: &str| one(&names(), OsStr::new(word)).map(|place| place.into_string().unwrap());
        assert_eq!(one("1:/tmp/x").unwrap(), "n0001:/tmp/x");
        assert_eq!(one("root@n0000:").unwrap(), "root@n0000:");
        for here in ["./1:x", "/tmp/1:x", "file", ""] {
            assert_eq!(one(here).unwrap(), here);
        }
        assert!(one("2:x").unwrap_err().to_string().contains("has no node 2"));
        assert!(one("all:x").unwrap_err().to_string().contains("is 2 nodes"));
    }

    #[test]
    fn a_destination_may_be_many() {
        let each = |word: &str| each(&names(), OsStr::new(word)).map(|places| places.len()).ok();
        assert_eq!(
            [each("all:/x"), each("0-1:"), each("1:x"), each("dir")],
            [Some(2), Some(2), Some(1), Some(1)]
        );
        assert_eq!(each("7:x"), None);
    }

    #[test]
    fn each_failure_is_counted() {
        let command = |script: &str| {
            let mut command = Command::new("sh");
            command.args(["-c", script]);
            (script.to_owned(), command)
        };
        let commands =
            (0..40).map(|number| command(if number % 4 == 0 { "exit 1" } else { "exit 0" })).collect();
        assert_eq!(run_all(commands), 10);
    }
}
