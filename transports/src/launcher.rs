//! What started this process as one of many: read from the environment alone, so that it is known before MPI
//! is initialised, and in programs that have no MPI.
//!
//! It serves two ends: to know which of many processes prints an error, and to notice that a program built
//! for one MPI was started by another's `mpirun`, which makes a world of one out of every process, silently.

use std::fmt;

use thiserror::Error;

/// What started the processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LauncherKind {
    /// Hydra, the `mpirun` of MPICH, Intel MPI and MVAPICH.
    Hydra,
    /// The `mpirun` of OpenMPI.
    OpenMpi,
    /// Slurm's `srun`.
    Slurm,
    /// Another launcher that speaks PMIx.
    Pmix,
}

impl fmt::Display for LauncherKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LauncherKind::Hydra => "the mpirun of MPICH (Hydra)",
            LauncherKind::OpenMpi => "the mpirun of OpenMPI",
            LauncherKind::Slurm => "Slurm's srun",
            LauncherKind::Pmix => "a PMIx launcher",
        })
    }
}

/// What the launcher tells a process about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LauncherEnv {
    /// The launcher.
    pub kind: LauncherKind,
    /// The rank that this process is to be.
    pub rank: u32,
    /// How many processes were started; PMIx alone does not say.
    pub size: Option<u32>,
}

/// Reads the environment of this process. `None` where no launcher started it.
pub fn launcher_env() -> Option<LauncherEnv> {
    launcher_env_from(|name| std::env::var(name).ok())
}

/// [`launcher_env`] over any environment.
pub fn launcher_env_from(var: impl Fn(&str) -> Option<String>) -> Option<LauncherEnv> {
    let number = |name: &str| var(name)?.trim().parse::<u32>().ok();
    let found = |kind, rank: &str, size: &str| {
        let (rank, size) = (number(rank)?, number(size));
        size.is_none_or(|size| rank < size).then_some(LauncherEnv { kind, rank, size })
    };
    // `srun` sets its variables for every step, also around an mpirun of its own, and sbatch for the batch
    // script, so they count least. Its PMI plugins set the same PMI_* as Hydra.
    let pmi_kind = if number("MPI_LOCALNRANKS").is_none() && number("SLURM_STEP_NUM_TASKS").is_some() {
        LauncherKind::Slurm
    } else {
        LauncherKind::Hydra
    };
    found(LauncherKind::OpenMpi, "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE")
        .or_else(|| found(pmi_kind, "PMI_RANK", "PMI_SIZE"))
        .or_else(|| {
            number("SLURM_STEP_NUM_TASKS")?;
            found(LauncherKind::Slurm, "SLURM_PROCID", "SLURM_STEP_NUM_TASKS")
        })
        .or_else(|| found(LauncherKind::Pmix, "PMIX_RANK", "PMIX_SIZE"))
}

/// The launcher started more ranks than MPI found.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{launcher} started {started} ranks, but MPI joined {found} of them into this job: {}", remedy(*.launcher, .library))]
pub struct LauncherMismatch {
    /// What started the processes.
    pub launcher: LauncherKind,
    /// How many it started.
    pub started: u32,
    /// How many MPI found.
    pub found: u32,
    /// The MPI library that the program runs with, as it names itself.
    pub library: String,
}

/// What to do about it.
fn remedy(launcher: LauncherKind, library: &str) -> String {
    let built = format!("the program was built for {library}");
    match launcher {
        LauncherKind::Slurm => {
            format!("{built}; {}, or use the mpirun of that MPI within the allocation", srun_for(library))
        }
        _ => format!(
            "{built}; start it with the mpirun of that MPI, or build it with MPICC set to the mpicc that belongs to your mpirun"
        ),
    }
}

/// How srun starts programs of this library: by the plug-in whose protocol the library speaks.
fn srun_for(library: &str) -> String {
    let plugin = if library.starts_with("MPICH")
        || library.starts_with("Intel")
        || library.starts_with("MVAPICH")
    {
        "pmi2"
    } else if library.starts_with("Open MPI") {
        "pmix"
    } else {
        return "name srun a plug-in that this MPI understands with `srun --mpi=…` (`srun --mpi=list` shows them)".into();
    };
    format!("start it with `srun --mpi={plugin} …` (`srun --mpi=list` shows what this Slurm has)")
}

/// Slurm's srun started the process and told MPI nothing, so that the library would make a world of one, or end
/// the process.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("Slurm's srun started {started} ranks and tells MPI nothing of them (--mpi=none); the program was built for {library}: {}", srun_for(.library))]
pub struct NoPmi {
    /// How many it started.
    pub started: u32,
    /// The MPI library that the program runs with, as it names itself.
    pub library: String,
}

/// Looks whether srun tells MPI of the other ranks, before MPI is initialised. A single rank needs to know of no
/// others, but OpenMPI does not let it be alone under srun.
pub fn check_pmi(library: &str) -> Result<(), NoPmi> {
    check_pmi_from(|name| std::env::var(name).ok(), library)
}

fn check_pmi_from(var: impl Fn(&str) -> Option<String>, library: &str) -> Result<(), NoPmi> {
    let has_pmi =
        ["PMI_RANK", "PMI_FD", "PMIX_RANK", "PMIX_NAMESPACE"].iter().any(|name| var(name).is_some());
    let library = library_name(library);
    match launcher_env_from(&var) {
        Some(LauncherEnv { kind: LauncherKind::Slurm, size: Some(started), .. })
            if !has_pmi && (started > 1 || library.starts_with("Open MPI")) =>
        {
            Err(NoPmi { started, library })
        }
        _ => Ok(()),
    }
}

/// Compares what the launcher started with the world that MPI made. `library` is the first line of
/// `MPI_Get_library_version` (MPI 3.1, §8.1.1) or longer.
pub fn check_launcher(
    launcher: Option<LauncherEnv>,
    world_size: u32,
    library: &str,
) -> Result<(), LauncherMismatch> {
    match launcher {
        Some(LauncherEnv { kind, size: Some(started), .. }) if started != world_size => {
            Err(LauncherMismatch {
                launcher: kind,
                started,
                found: world_size,
                library: library_name(library),
            })
        }
        // PMIx did not say how many, but a rank above 0 in a world of one cannot be.
        Some(LauncherEnv { kind, rank, size: None }) if rank >= world_size => Err(LauncherMismatch {
            launcher: kind,
            started: rank + 1,
            found: world_size,
            library: library_name(library),
        }),
        _ => Ok(()),
    }
}

/// What people call the library: `MPICH 4.0.2`, `Open MPI v4.1.4`.
fn library_name(library: &str) -> String {
    let first = library.lines().next().unwrap_or_default();
    let first = first.split(',').next().unwrap_or(first);
    // MPICH separates name and version by a colon and a tab.
    let words: Vec<&str> = first.split_whitespace().map(|word| word.trim_end_matches(':')).collect();
    match words.as_slice() {
        ["MPICH", "Version", version, ..] => format!("MPICH {version}"),
        words => words.join(" "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(vars: &[(&str, &str)]) -> Option<LauncherEnv> {
        launcher_env_from(|name| {
            vars.iter().find(|(var, _)| *var == name).map(|(_, value)| value.to_string())
        })
    }

    #[test]
    fn every_launcher_is_known_by_its_variables() {
        let of = |kind, rank, size| Some(LauncherEnv { kind, rank, size });
        assert_eq!(env(&[]), None);
        assert_eq!(
            env(&[("PMI_RANK", "1"), ("PMI_SIZE", "2"), ("MPI_LOCALNRANKS", "2")]),
            of(LauncherKind::Hydra, 1, Some(2))
        );
        assert_eq!(
            env(&[("OMPI_COMM_WORLD_RANK", "0"), ("OMPI_COMM_WORLD_SIZE", "4"), ("PMIX_RANK", "0")]),
            of(LauncherKind::OpenMpi, 0, Some(4))
        );
        let slurm = [("SLURM_PROCID", "3"), ("SLURM_STEP_NUM_TASKS", "8")];
        assert_eq!(env(&slurm), of(LauncherKind::Slurm, 3, Some(8)));
        assert_eq!(env(&[("PMIX_RANK", "5")]), of(LauncherKind::Pmix, 5, None));
    }

    #[test]
    fn an_mpirun_inside_a_slurm_step_counts_more_than_the_step() {
        let vars = [
            ("SLURM_PROCID", "0"),
            ("SLURM_STEP_NUM_TASKS", "1"),
            ("PMI_RANK", "2"),
            ("PMI_SIZE", "4"),
            ("MPI_LOCALNRANKS", "4"),
        ];
        assert_eq!(env(&vars), Some(LauncherEnv { kind: LauncherKind::Hydra, rank: 2, size: Some(4) }));
    }

    #[test]
    fn a_batch_script_is_not_one_of_many() {
        assert_eq!(env(&[("SLURM_PROCID", "0"), ("SLURM_NTASKS", "8")]), None);
    }

    #[test]
    fn values_that_make_no_sense_are_no_launcher() {
        assert_eq!(env(&[("PMI_RANK", "2"), ("PMI_SIZE", "2")]), None);
        assert_eq!(env(&[("PMI_RANK", "x"), ("PMI_SIZE", "2")]), None);
    }

    #[test]
    fn a_foreign_mpirun_is_named_with_the_library_and_the_remedy() {
        let hydra = env(&[("PMI_RANK", "0"), ("PMI_SIZE", "2")]);
        let library =
            "Open MPI v4.1.4, package: Debian OpenMPI, ident: 4.1.4, repo rev: v4.1.4, May 26, 2022";
        let text = check_launcher(hydra, 1, library).expect_err("2 were started, 1 found").to_string();
        assert!(
            text.starts_with("the mpirun of MPICH (Hydra) started 2 ranks, but MPI joined 1 of them"),
            "{text}"
        );
        assert!(text.contains("built for Open MPI v4.1.4;"), "{text}");
        let ompi = env(&[("OMPI_COMM_WORLD_RANK", "1"), ("OMPI_COMM_WORLD_SIZE", "3")]);
        let library = "MPICH Version:\t4.0.2\nMPICH Release date:\tThu Apr 7 2022";
        let text = check_launcher(ompi, 1, library).expect_err("3 were started, 1 found").to_string();
        assert!(
            text.contains("the mpirun of OpenMPI started 3") && text.contains("built for MPICH 4.0.2;"),
            "{text}"
        );
        assert!(check_launcher(env(&[("PMIX_RANK", "1")]), 1, library).is_err());
    }

    #[test]
    fn srun_is_told_the_plug_in_of_the_library() {
        let step = [("SLURM_PROCID", "0"), ("SLURM_STEP_NUM_TASKS", "2")];
        let pmix = env(&[&step[..], &[("PMIX_RANK", "0")]].concat());
        let text = check_launcher(pmix, 1, "MPICH Version:\t4.0.2").expect_err("2 were started").to_string();
        assert!(
            text.starts_with("Slurm's srun started 2 ranks, but MPI joined 1")
                && text.contains("`srun --mpi=pmi2 …`"),
            "{text}"
        );
        let check = |vars: &[(&str, &str)], library| {
            let of =
                |name: &str| vars.iter().find(|(var, _)| *var == name).map(|(_, value)| value.to_string());
            check_pmi_from(of, library)
        };
        let text = check(&step, "Open MPI v4.1.4, package: Debian").expect_err("--mpi=none").to_string();
        assert!(
            text.contains(
                "(--mpi=none); the program was built for Open MPI v4.1.4: start it with `srun --mpi=pmix …`"
            ),
            "{text}"
        );
        assert!(check(&step, "Cray MPICH").expect_err("--mpi=none").to_string().contains("`srun --mpi=…`"));
        assert_eq!(check(&[&step[..], &[("PMIX_RANK", "0")]].concat(), "Open MPI v4.1.4"), Ok(()));
        let alone = [("SLURM_PROCID", "0"), ("SLURM_STEP_NUM_TASKS", "1")];
        assert_eq!(check(&alone, "MPICH Version: 4.0.2"), Ok(()));
        assert!(check(&alone, "Open MPI v4.1.4").is_err());
    }

    #[test]
    fn a_world_as_large_as_was_started_is_right() {
        assert_eq!(check_launcher(env(&[("PMI_RANK", "0"), ("PMI_SIZE", "2")]), 2, "MPICH"), Ok(()));
        assert_eq!(check_launcher(None, 1, "MPICH"), Ok(()));
        assert_eq!(check_launcher(env(&[("PMIX_RANK", "1")]), 4, "MPICH"), Ok(()));
    }
}
