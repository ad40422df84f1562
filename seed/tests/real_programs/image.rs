//! The image, as guests and their tools see it.

use std::fs;
use std::process::Command;

use mvpnet_seed::Volume;

use crate::setting::{output_of, plain, program, volume_of, with_everything};

/// Names that need more than ISO 9660 itself has room for.
fn awkward() -> Volume {
    let mut volume = volume_of(&with_everything(), 1);
    for path in [
        "a/b/c/d/e/f/g/h/i/deep",
        "Case",
        "case",
        "with a blank",
        "ümläut",
        "UPPER.TXT;1",
        &"long".repeat(50),
    ] {
        volume.files.push((path.to_owned(), path.as_bytes().to_vec()));
    }
    volume
}

#[test]
fn blkid_finds_the_label_that_cloud_init_looks_for() {
    let Some(blkid) = program("blkid") else { return };
    let directory = tempfile::tempdir().unwrap();
    let image = directory.path().join("image");
    fs::write(&image, volume_of(&plain(2), 0).image().unwrap()).unwrap();
    let found = output_of(Command::new(blkid).args(["-p", "-o", "export"]).arg(&image));
    let lines: Vec<&str> = found.lines().collect();
    assert!(lines.contains(&"LABEL=CIDATA"), "{found}");
    assert!(lines.contains(&"TYPE=iso9660"), "{found}");
}

#[test]
fn libarchive_reads_every_file_by_its_name() {
    let Some(bsdtar) = program("bsdtar") else { return };
    let directory = tempfile::tempdir().unwrap();
    let (image, unpacked) = (directory.path().join("image"), directory.path().join("unpacked"));
    let volume = awkward();
    fs::write(&image, volume.image().unwrap()).unwrap();
    fs::create_dir(&unpacked).unwrap();
    output_of(Command::new(bsdtar).args(["-x", "-f"]).arg(&image).arg("-C").arg(&unpacked));
    for (path, contents) in &volume.files {
        let found = fs::read(unpacked.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
        assert!(found == *contents, "{path}");
    }
}

#[test]
fn keys_on_the_volume_are_for_root_alone() {
    let Some(isoinfo) = program("isoinfo") else { return };
    let directory = tempfile::tempdir().unwrap();
    let image = directory.path().join("image");
    fs::write(&image, awkward().image().unwrap()).unwrap();
    let listed = output_of(Command::new(isoinfo).args(["-l", "-R", "-i"]).arg(&image));
    let mode = |name: &str| {
        let line = listed.lines().find(|line| line.split_whitespace().last() == Some(name));
        line.unwrap_or_else(|| panic!("{name} is not in\n{listed}"))
            .split_whitespace()
            .next()
            .unwrap()
            .to_owned()
    };
    for secret in ["user-data", "id_ed25519", "config", "authorized_keys"] {
        assert_eq!(mode(secret), "-r--------", "{secret}");
    }
    assert_eq!(mode("meta-data"), "-r-xr-xr-x");
}
