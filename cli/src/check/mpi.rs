//! Has a program run over MPI in all guests: compiled in the first of them, carried to the others, started by the
//! launcher of the same MPI.

use std::time::Duration;

use super::finding::Status;
use super::gather::Cast;
use super::guests::{Command, Guests, Ran, each};
use super::judge::{Guest, MpiRun, name};
use super::readings::{Facts, Mpi};

/// Compiling and starting take long in an emulated guest, some ten seconds each, and a message of some MiB too.
const PATIENCE: Duration = Duration::from_secs(120);

/// The program, for guests with a compiler and for others.
const SOURCE: &str = include_str!("ring.c");
const SCRIPT: &str = include_str!("ring.py");

/// One way to have it run.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Way {
    /// What it is called in the report.
    library: String,
    family: Family,
    launcher: String,
    /// None: by mpi4py.
    compiler: Option<String>,
}

impl std::fmt::Display for Way {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.library)
    }
}

/// Launchers have their own flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    OpenMpi,
    /// MPICH, Intel's, MVAPICH.
    Hydra,
}

/// Ways that there are in the first guest: one for each MPI, by the compiler if there is one.
pub(super) fn ways(facts: &Facts) -> Vec<Way> {
    let mut ways: Vec<Way> = Vec::new();
    for Mpi { launcher, compiler, says } in &facts.mpi {
        let Some(family) = family(says) else { continue };
        let by_python = |text: &String| self::family(text) == Some(family);
        if ways.iter().any(|way| way.family == family)
            || (compiler.is_none() && !facts.mpi4py.as_ref().is_some_and(by_python))
        {
            continue;
        }
        let library = version(says, family);
        ways.push(Way { library, family, launcher: launcher.clone(), compiler: compiler.clone() });
    }
    ways
}

fn family(says: &str) -> Option<Family> {
    let says = says.to_lowercase();
    if says.contains("open mpi") || says.contains("openrte") || says.contains("prte") {
        return Some(Family::OpenMpi);
    }
    ["hydra", "mpich", "intel(r) mpi"].iter().any(|word| says.contains(word)).then_some(Family::Hydra)
}

/// `Open MPI 4.1.4`: the name, and the first word that is a version.
fn version(says: &str, family: Family) -> String {
    let name = match family {
        Family::OpenMpi => "Open MPI",
        Family::Hydra => "MPICH",
    };
    let is_version = |word: &&str| word.starts_with(|c: char| c.is_ascii_digit()) && word.contains('.');
    says.split_whitespace()
        .find(is_version)
        .map_or_else(|| name.to_owned(), |version| format!("{name} {version}"))
}

/// A program on its way into the guests, and out of them again.
pub(super) struct Stage<'a> {
    guests: &'a dyn Guests,
    cast: &'a Cast,
    user: Option<&'a str>,
    directory: String,
}

impl<'a> Stage<'a> {
    /// In a directory of this name in all guests, for this user.
    pub(super) fn new(guests: &'a dyn Guests, cast: &'a Cast, user: Option<&'a str>, tag: &str) -> Self {
        Self { guests, cast, user, directory: format!("/tmp/mvpnet-check-{tag}") }
    }

    /// Runs the program that way.
    ///
    /// # Errors
    /// It could not be made, which says nothing about the cluster, or not be carried.
    pub(super) fn run(&self, way: &Way, sizes: &[u32]) -> Result<MpiRun, (Status, String)> {
        let failed = |why| (Status::Failed, why);
        let chief = *self.cast.ranks.first().ok_or_else(|| failed("there are no guests".to_owned()))?;
        let program = match &way.compiler {
            Some(compiler) => {
                let binary = self.compile(chief, compiler).map_err(|why| (Status::NotChecked, why))?;
                self.carry("ring", &binary).map_err(failed)?;
                format!("{}/ring", self.directory)
            }
            None => {
                self.carry("ring.py", SCRIPT.as_bytes()).map_err(failed)?;
                format!("python3 {}/ring.py", self.directory)
            }
        };
        let sizes: Vec<String> = sizes.iter().map(u32::to_string).collect();
        let line = format!("{} {program} {}", self.launch(way), sizes.join(" "));
        let ran = self.shell(chief, &line, Vec::new()).map_err(failed)?;
        Ok(MpiRun {
            library: way.library.clone(),
            program: if way.compiler.is_some() { "compiled there" } else { "mpi4py" },
            code: ran.code,
            output: String::from_utf8_lossy(&ran.output).into_owned(),
            errors: String::from_utf8_lossy(&ran.errors).into_owned(),
            patience: PATIENCE,
        })
    }

    /// Removes what was put into the guests.
    pub(super) fn clear(&self) {
        each(&self.cast.ranks, |rank| {
            self.shell(rank, &format!("rm -rf {}", self.directory), Vec::new()).map(drop)
        });
    }

    /// The launcher with its flags: one rank in each guest, over the cluster's network as the guests are set up for it.
    fn launch(&self, way: &Way) -> String {
        let (count, launcher) = (self.cast.ranks.len(), &way.launcher);
        let names: Vec<String> = self.cast.ranks.iter().map(|rank| name(*rank)).collect();
        match way.family {
            Family::OpenMpi => {
                // Each name is a slot; root is asked twice whether he means it.
                let root = "OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1";
                format!(
                    "{root} {launcher} -n {count} --host {} --map-by node --bind-to none",
                    names.join(",")
                )
            }
            Family::Hydra => format!("{launcher} -n {count} -ppn 1 -hosts {}", names.join(",")),
        }
    }

    fn compile(&self, chief: u32, compiler: &str) -> Result<Vec<u8>, String> {
        let directory = &self.directory;
        let line = format!(
            "mkdir -p {directory} && cat >{directory}/ring.c && {compiler} -O1 -o {directory}/ring {directory}/ring.c >&2 && \
             cat {directory}/ring"
        );
        let ran = self.shell(chief, &line, SOURCE.as_bytes().to_vec())?;
        match ran.code {
            Some(0) => Ok(ran.output),
            _ => Err(format!("{compiler} in {}: {}", name(chief), complaint(&ran))),
        }
    }

    fn carry(&self, file: &str, content: &[u8]) -> Result<(), String> {
        let directory = &self.directory;
        // Under another name first: in the first guest the file may be there and be the one that is read.
        let line = format!(
            "mkdir -p {directory} && cat >{directory}/part && chmod 755 {directory}/part && mv {directory}/part \
             {directory}/{file}"
        );
        let carried = each(&self.cast.ranks, |rank| {
            let ran = self.shell(rank, &line, content.to_vec())?;
            if ran.code == Some(0) { Ok(()) } else { Err(complaint(&ran)) }
        });
        let trouble = carried.into_iter().find_map(|Guest { rank, read }| Some((rank, read.err()?)));
        trouble
            .map_or(Ok(()), |(rank, why)| Err(format!("a program cannot be put into {}: {why}", name(rank))))
    }

    /// A login shell: what guests are told of MPI is in its profile.
    fn shell(&self, rank: u32, line: &str, stdin: Vec<u8>) -> Result<Ran, String> {
        let argv = ["/bin/sh", "-lc", line].map(str::to_owned).to_vec();
        self.guests.run(rank, Command { argv, user: self.user.map(str::to_owned), stdin, patience: PATIENCE })
    }
}

fn complaint(ran: &Ran) -> String {
    let errors = String::from_utf8_lossy(&ran.errors).trim().to_owned();
    match ran.code {
        None => format!("said nothing for {} s", PATIENCE.as_secs()),
        Some(code) if errors.is_empty() => format!("exit code {code}"),
        Some(_) => errors,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mpi(launcher: &str, compiler: Option<&str>, says: &str) -> Mpi {
        let compiler = compiler.map(str::to_owned);
        Mpi { launcher: format!("/usr/bin/{launcher}"), compiler, says: says.to_owned() }
    }

    #[test]
    fn every_mpi_is_run_once_by_its_compiler_or_by_python() {
        let open = "mpirun.openmpi (OpenRTE) 4.1.4";
        let hydra = "HYDRA build details:\n    Version:                                 4.0.2";
        let facts = |mpi4py: Option<&str>, mpi: Vec<Mpi>| Facts {
            mpi,
            mpi4py: mpi4py.map(str::to_owned),
            ..Facts::default()
        };
        let both = vec![
            mpi("mpirun.openmpi", Some("mpicc.openmpi"), open),
            mpi("mpirun.mpich", Some("mpicc.mpich"), hydra),
            mpi("mpirun", Some("mpicc"), open),
        ];
        let found = ways(&facts(None, both));
        let shown: Vec<_> = found.iter().map(|way| (way.library.as_str(), way.launcher.as_str())).collect();
        assert_eq!(
            shown,
            [("Open MPI 4.1.4", "/usr/bin/mpirun.openmpi"), ("MPICH 4.0.2", "/usr/bin/mpirun.mpich")]
        );
        let bare = || vec![mpi("mpirun", None, hydra)];
        assert_eq!(ways(&facts(None, bare())), []);
        assert_eq!(ways(&facts(Some("Open MPI v4.1.4"), bare())), []);
        assert_eq!(ways(&facts(Some("MPICH Version: 4.0.2"), bare()))[0].compiler, None);
        assert_eq!(ways(&facts(None, vec![mpi("mpirun", None, "something else 1.0")])), []);
    }

    #[test]
    fn launchers_put_one_rank_into_each_guest() {
        struct Nobody;
        impl Guests for Nobody {
            fn run(&self, _: u32, _: Command) -> Result<Ran, String> {
                Err("nobody".into())
            }
        }
        let cast = Cast::new(2, 2).unwrap();
        let stage = Stage::new(&Nobody, &cast, None, "7");
        let way = |family, launcher: &str| Way {
            library: String::new(),
            family,
            launcher: launcher.to_owned(),
            compiler: None,
        };
        let open = stage.launch(&way(Family::OpenMpi, "mpirun"));
        assert!(open.ends_with("mpirun -n 2 --host n0002,n0003 --map-by node --bind-to none"), "{open}");
        assert_eq!(stage.launch(&way(Family::Hydra, "mpiexec")), "mpiexec -n 2 -ppn 1 -hosts n0002,n0003");
        let (status, why) = stage.run(&way(Family::Hydra, "mpiexec"), &[1]).unwrap_err();
        assert!(status == Status::Failed && why.contains("n0002: nobody"), "{why}");
    }
}
