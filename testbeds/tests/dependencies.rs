//! Which crate may use which: the map of ARCHITECTURE.md, held against what `cargo metadata` says.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

/// What each crate of the workspace may use of the others, without the `mvpnet-` in front.
const MAY_USE: &[(&str, &[&str])] = &[
    ("switch", &[]),
    ("pcap", &[]),
    ("transports", &["switch"]),
    ("qemu-driver", &["switch"]),
    ("node", &["transports", "qemu-driver", "pcap", "switch"]),
    ("seed", &["switch"]),
    ("settings", &["transports"]),
    ("sim", &["settings", "transports", "pcap", "switch"]),
    ("lab", &["settings", "node", "transports", "qemu-driver", "switch"]),
    ("cli", &["lab", "node", "sim", "qemu-driver", "seed", "settings", "transports", "pcap", "switch"]),
    (
        "testbeds",
        &["cli", "lab", "node", "sim", "qemu-driver", "seed", "settings", "transports", "pcap", "switch"],
    ),
];

fn metadata() -> serde_json::Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--no-deps", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON")
}

/// The workspace's crates, each with those of the workspace that it uses.
fn uses() -> BTreeMap<String, BTreeSet<String>> {
    let short =
        |name: &serde_json::Value| name.as_str().and_then(|n| n.strip_prefix("mvpnet-")).map(str::to_owned);
    let metadata = metadata();
    let packages = metadata["packages"].as_array().expect("there are packages");
    packages
        .iter()
        .map(|package| {
            let name = short(&package["name"]).expect("every crate here is named mvpnet-…");
            let dependencies = package["dependencies"].as_array().expect("a list");
            (name, dependencies.iter().filter_map(|dependency| short(&dependency["name"])).collect())
        })
        .collect()
}

#[test]
fn every_crate_uses_only_what_the_map_allows() {
    let allowed: BTreeMap<&str, &[&str]> = MAY_USE.iter().copied().collect();
    for (name, used) in uses() {
        let allowed = allowed.get(name.as_str()).unwrap_or_else(|| panic!("mvpnet-{name} is not on the map"));
        for other in used {
            assert!(allowed.contains(&other.as_str()), "mvpnet-{name} may not use mvpnet-{other}");
        }
    }
}

#[test]
fn the_map_names_no_crate_that_is_not_there() {
    let uses = uses();
    for (name, _) in MAY_USE {
        assert!(uses.contains_key(*name), "mvpnet-{name} is on the map but not in the workspace");
    }
}
