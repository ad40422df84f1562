//! The corpus of a fuzz target as ordinary tests have it. No part of the targets: the crates whose code is fuzzed include this
//! file in their tests, each with its own target.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::path::{Path, PathBuf};

/// Where the corpus of a target is.
fn corpus(target: &str) -> PathBuf {
    // The crates lie beside this folder.
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target)
}

/// Every file that has a name leads to what the name says. With `MVPNET_WRITE_CORPUS` in the environment the files are written first.
pub fn does_what_its_names_say<T: Debug + PartialEq>(
    target: &str,
    named: BTreeMap<&'static str, (Vec<u8>, T)>,
    run: impl Fn(&[u8]) -> T,
) {
    let file = |name: &str| corpus(target).join(format!("{name}.bin"));
    if std::env::var_os("MVPNET_WRITE_CORPUS").is_some() {
        std::fs::create_dir_all(corpus(target)).unwrap();
        for (name, (bytes, _)) in &named {
            std::fs::write(file(name), bytes).unwrap();
        }
    }
    for (name, (bytes, outcome)) in named {
        assert_eq!(run(&bytes), outcome, "{name}");
        assert_eq!(std::fs::read(file(name)).ok(), Some(bytes), "{name}");
    }
}

/// Every file passes, `least` of them at least, whatever it leads to.
pub fn every_file_passes<T>(target: &str, least: usize, run: impl Fn(&[u8]) -> T) {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(corpus(target)).unwrap() {
        let path = entry.unwrap().path();
        run(&std::fs::read(&path).unwrap());
        names.push(path.file_name().unwrap().to_string_lossy().into_owned());
    }
    assert!(names.len() >= least && names.iter().all(|name| name.ends_with(".bin")), "{names:?}");
}
