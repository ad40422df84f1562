//! Runs a test with random scenarios, and makes the first that fails as simple as it can be.

use std::cell::Cell;
use std::fmt;
use std::path::{Path, PathBuf};

use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

use crate::scenario::Scenario;

/// The environment variable that replaces the seed of every [`Check`].
pub const SEED_VARIABLE: &str = "MVPNET_SEED";

/// How many simpler scenarios are tried at most when one has failed.
const MOST_SHRINKS: u32 = 4096;

/// What a failing scenario is called where no file was asked for.
const FILE: &str = "failing.toml";

/// A test with random scenarios.
///
/// Which ones follows from a seed: 1, or what [`seed`](Check::seed) or the environment variable `MVPNET_SEED` says.
/// Nothing is random beyond it and nothing is remembered from run to run.
#[derive(Clone, Debug)]
pub struct Check {
    cases: u32,
    seed: u64,
    file: Option<PathBuf>,
}

/// The simplest scenario that was found with which a test fails. It is printed with all that is needed to see it again.
#[derive(Clone, Debug)]
pub struct Counterexample {
    /// The scenario.
    pub scenario: Scenario,
    /// How the test fails with it.
    pub error: String,
    /// Which scenario failed first, from 1.
    pub case: u32,
    /// How many simpler ones were tried then.
    pub shrinks: u32,
    /// The seed that all were drawn from.
    pub seed: u64,
    file: PathBuf,
}

impl Check {
    /// One with so many scenarios.
    pub fn new(cases: u32) -> Check {
        Check { cases, seed: 1, file: None }
    }

    /// The same, with scenarios that follow from this seed.
    pub fn seed(self, seed: u64) -> Check {
        Check { seed, ..self }
    }

    /// The same, that writes a scenario that fails to this file.
    pub fn save_to(self, file: impl AsRef<Path>) -> Check {
        Check { file: Some(file.as_ref().to_owned()), ..self }
    }

    /// Runs the test with all scenarios.
    ///
    /// # Panics
    ///
    /// If it fails with one, with the [`Counterexample`].
    #[track_caller]
    pub fn run(
        &self,
        scenarios: &impl Strategy<Value = Scenario>,
        test: impl Fn(&Scenario) -> crate::Result,
    ) {
        if let Err(counterexample) = self.search(scenarios, test) {
            panic!("{counterexample}");
        }
    }

    /// Looks for a scenario with which the test fails: by an error, or by a panic.
    ///
    /// # Errors
    ///
    /// If there is one.
    pub fn search(
        &self,
        scenarios: &impl Strategy<Value = Scenario>,
        test: impl Fn(&Scenario) -> crate::Result,
    ) -> Result<(), Box<Counterexample>> {
        let seed = self.effective_seed();
        let (tried, failed_at) = (Cell::new(0), Cell::new(None));
        let mut runner = TestRunner::new_with_rng(self.config(), generator(seed));
        let result = runner.run(scenarios, |scenario| {
            tried.set(tried.get() + 1);
            // It stands if the test panics.
            let before = failed_at.get();
            failed_at.set(before.or(Some(tried.get())));
            let result = test(&scenario).map_err(|error| TestCaseError::fail(error.to_string()));
            if result.is_ok() {
                failed_at.set(before);
            }
            result
        });
        let (error, scenario) = match result {
            Ok(()) => return Ok(()),
            Err(TestError::Fail(reason, scenario)) => (reason.to_string(), scenario),
            Err(TestError::Abort(reason)) => panic!("no scenarios could be drawn: {reason}"),
        };
        let case = failed_at.get().unwrap_or(tried.get());
        let file = self.file.clone().unwrap_or_else(|| FILE.into());
        let shrinks = tried.get() - case;
        let counterexample = Counterexample { scenario, error, case, shrinks, seed, file };
        self.save(&counterexample);
        Err(Box::new(counterexample))
    }

    fn config(&self) -> Config {
        Config {
            cases: self.cases,
            max_shrink_iters: MOST_SHRINKS,
            failure_persistence: None,
            ..Config::default()
        }
    }

    fn effective_seed(&self) -> u64 {
        match std::env::var(SEED_VARIABLE) {
            Ok(text) => text.parse().unwrap_or_else(|_| panic!("{SEED_VARIABLE}: `{text}` is not a seed")),
            Err(_) => self.seed,
        }
    }

    fn save(&self, counterexample: &Counterexample) {
        if let Some(file) = &self.file
            && let Err(error) = std::fs::write(file, counterexample.scenario.to_string())
        {
            eprintln!("cannot write {}: {error}", file.display());
        }
    }
}

/// proptest's generator whose sequence is documented as the same everywhere.
fn generator(seed: u64) -> TestRng {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    TestRng::from_seed(RngAlgorithm::ChaCha, &bytes)
}

impl fmt::Display for Counterexample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counterexample { scenario, error, case, shrinks, seed, file } = self;
        let file = file.display();
        writeln!(
            f,
            "scenario {case} fails, and so does this, the simplest of {shrinks} others that were tried:"
        )?;
        writeln!(f, "{error}\n\n# {file}\n{}\n", scenario.to_string().trim_end())?;
        writeln!(f, "the same network: mvpnet sim {file} --seed {}", scenario.seed.unwrap_or_default())?;
        write!(f, "the same test: {SEED_VARIABLE}={seed} cargo test")?;
        match std::thread::current().name() {
            Some(name) if name != "main" => write!(f, " {name}"),
            _ => Ok(()),
        }
    }
}
