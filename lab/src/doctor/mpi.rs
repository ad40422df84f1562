//! The mpirun that is found first, and whose it is: MPIs do not start each other's programs.

use std::path::PathBuf;

use mvpnet_qemu_driver::names::find_program;

use super::finding::Verdict;
use super::machine::{Machine, Package};
use super::system::{Ran, System};

/// What `mpirun` is here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mpirun {
    /// Where it is.
    pub path: PathBuf,
    /// `MPICH 4.0.2`, or what it says that is not understood.
    pub name: Result<String, String>,
}

impl Mpirun {
    /// Looks; none: there is no mpirun.
    pub fn read(system: &System) -> Option<Self> {
        let path = find_program("mpirun")?;
        let name = match system.run(&path, &["--version"]) {
            Ran::Ended { out, err, .. } => name(&out).ok_or_else(|| {
                out.lines().chain(err.lines()).next().unwrap_or("it says nothing of itself").to_owned()
            }),
            Ran::Absent => Err("it does not start".to_owned()),
            Ran::Stuck(why) => Err(why),
        };
        Some(Self { path, name })
    }

    /// Not everybody needs one: `mvpnet up` does without.
    pub fn check(mpirun: Option<&Self>, machine: &Machine) -> Verdict {
        match mpirun {
            None => Verdict::warning(
                "there is no mpirun: `mvpnet up` works, jobs over several hosts by MPI do not",
                machine.install(Package::Mpi),
            ),
            Some(Self { path, name: Ok(name) }) => {
                Verdict::ok(format!("{} is that of {name}", path.display()))
            }
            Some(Self { path, name: Err(said) }) => Verdict::warning(
                format!("{} is of an MPI that is not known here: {said}", path.display()),
                machine.install(Package::Mpi),
            ),
        }
    }
}

fn name(text: &str) -> Option<String> {
    if let Some((_, rest)) = text.split_once("(Open MPI) ") {
        return Some(format!("Open MPI {}", rest.split_whitespace().next()?));
    }
    if let Some((_, rest)) = text.split_once("Intel(R) MPI Library") {
        let (_, version) = rest.split_once("Version ")?;
        return Some(format!("Intel MPI {}", version.split_whitespace().next()?));
    }
    if text.contains("HYDRA") {
        let line = text.lines().find_map(|line| line.trim().strip_prefix("Version:"))?;
        return Some(format!("MPICH {}", line.trim()));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::Status;

    #[test]
    fn each_mpi_is_known_by_what_its_mpirun_says() {
        let hydra =
            "HYDRA build details:\n    Version:                                 4.0.2\n    Release Date: x";
        assert_eq!(name(hydra).unwrap(), "MPICH 4.0.2");
        assert_eq!(name("mpirun (Open MPI) 4.1.4\n\nReport bugs to").unwrap(), "Open MPI 4.1.4");
        let intel = "Intel(R) MPI Library for Linux* OS, Version 2021.10 Build 2023";
        assert_eq!(name(intel).unwrap(), "Intel MPI 2021.10");
        assert_eq!(name("slurm"), None);
    }

    #[test]
    fn one_can_do_without() {
        let verdict = Mpirun::check(None, &Machine { is_root: true, ..Machine::default() });
        assert_eq!((verdict.status, verdict.mend), (Status::Warning, None));
    }
}
