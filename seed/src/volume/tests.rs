//! Volumes as wholes: what is on them, and that nothing of the user's gets lost.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;

use hadris_fs::sync::{Volume as Mounted, read_tree};
use hadris_fs::{MountOptions, OpenOptions};
use hadris_iso::sync::IsoFs;
use proptest::prelude::*;

use super::*;
use crate::testing::{file, keys, parts, plain, rank, shown, with_everything};

fn own(files: &[(&str, &str)]) -> UserFiles {
    let directory = tempfile::tempdir().unwrap();
    for (path, contents) in files {
        let path = directory.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, contents).unwrap();
    }
    UserFiles::read(directory.path()).unwrap()
}

/// The directory that the manual of the original program describes.
fn manual() -> UserFiles {
    let user_data = "#cloud-config\nusers:\n  - name: alice\n    sudo: ALL=(ALL) NOPASSWD:ALL\n    ssh_authorized_keys:\n      \
                     - ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAAQC7 alice@home\n";
    own(&[("meta-data", "instance-id: iid-local01\ndsmode: local\n"), ("user-data", user_data)])
}

#[test]
fn a_plain_cluster_of_two() {
    let volume = volume(&plain(2), &keys(), rank(0), &UserFiles::default()).unwrap();
    insta::assert_snapshot!(shown(&volume));
}

#[test]
fn rank_one_with_everything_on() {
    let volume = volume(&with_everything(), &keys(), rank(1), &UserFiles::default()).unwrap();
    insta::assert_snapshot!(shown(&volume));
}

#[test]
fn a_directory_as_the_manual_shows_it() {
    let volume = volume(&plain(2), &keys(), rank(1), &manual()).unwrap();
    // The folder is in the first snapshot.
    let shown = shown(&volume);
    insta::assert_snapshot!(shown.split("===== mvpnet/").next().unwrap());
}

#[test]
fn without_exec_there_is_no_agent_and_nothing_calls_it() {
    let cluster = Cluster { exec: false, ..plain(2) };
    let volume = volume(&cluster, &keys(), rank(0), &UserFiles::default()).unwrap();
    assert!(volume.files.iter().all(|(path, _)| path != "mvpnet/mvpnet-agent"));
    for path in ["mvpnet/environment", "mvpnet/profile", "mvpnet/openmpi", "mvpnet/prte"] {
        assert!(!String::from_utf8_lossy(file(&volume, path)).contains("mvpnet-rsh"), "{path}");
    }
}

fn instance(cluster: &Cluster, keys: &JobKeys, index: u32, own: &UserFiles) -> String {
    let volume = volume(cluster, keys, rank(index), own).unwrap();
    let meta_data = String::from_utf8(file(&volume, "meta-data").to_vec()).unwrap();
    meta_data.lines().find_map(|line| line.strip_prefix("instance-id: ")).unwrap().to_owned()
}

#[test]
fn an_instance_is_another_one_when_anything_is_and_the_same_when_nothing_is() {
    let other_job = JobKeys::of(&crate::JobSecret::new([8; 32]));
    let none = UserFiles::default();
    let first = instance(&plain(2), &keys(), 0, &none);
    assert_eq!(first, instance(&plain(2), &keys(), 0, &none));
    let others = [
        instance(&plain(2), &keys(), 1, &none),
        instance(&plain(3), &keys(), 0, &none),
        instance(&plain(2), &other_job, 0, &none),
        instance(&Cluster { exec: false, ..plain(2) }, &keys(), 0, &none),
        instance(&plain(2), &keys(), 0, &own(&[("note", "a")])),
        instance(&plain(2), &keys(), 0, &own(&[("meta-data", "dsmode: local\n")])),
    ];
    assert!(others.iter().all(|other| *other != first), "{first}: {others:?}");
}

#[test]
fn a_constant_instance_of_the_users_is_another_one_for_each_job_and_rank() {
    let instances = [0, 1].map(|index| instance(&plain(2), &keys(), index, &manual()));
    assert!(
        instances.iter().all(|instance| instance.starts_with("iid-local01-mvpnet-n000")),
        "{instances:?}"
    );
    assert_ne!(instances[0], instances[1]);
}

#[test]
fn a_host_name_of_the_users_is_kept() {
    let own = own(&[("meta-data", "local-hostname: head\ninstance-id: 7\npublic-keys: [a, b]\n")]);
    let volume = volume(&plain(2), &keys(), rank(0), &own).unwrap();
    let meta_data = String::from_utf8_lossy(file(&volume, "meta-data"));
    let (instance, rest) = meta_data.split_once('\n').unwrap();
    assert!(instance.starts_with("instance-id: 7-mvpnet-n0000-"), "{instance}");
    assert_eq!(rest, "local-hostname: head\npublic-keys:\n- a\n- b\n");
}

#[test]
fn a_network_config_of_the_users_takes_the_place_of_ours() {
    let own = own(&[("network-config", "version: 2\nethernets: {}\n"), ("vendor-data", "#!/bin/sh\n")]);
    let volume = volume(&plain(2), &keys(), rank(0), &own).unwrap();
    assert_eq!(file(&volume, "network-config"), b"version: 2\nethernets: {}\n");
    assert_eq!(file(&volume, "vendor-data"), b"#!/bin/sh\n");
}

#[test]
fn what_guests_could_not_be_told_is_refused() {
    let of = |change: &dyn Fn(&mut Cluster)| {
        let mut cluster = with_everything();
        change(&mut cluster);
        volume(&cluster, &keys(), rank(1), &UserFiles::default()).unwrap_err().to_string()
    };
    let errors = [
        of(&|cluster| cluster.user = "a b".to_owned()),
        of(&|cluster| cluster.user = String::new()),
        of(&|cluster| cluster.user = "mpihpc".to_owned()),
        of(&|cluster| cluster.mpi_user.as_mut().unwrap().uid = 0),
        of(&|cluster| cluster.nfs = Some("shared".into())),
        of(&|cluster| cluster.nfs = Some("/a b".into())),
        of(&|cluster| cluster.shares[0].guest_dir = "/etc/../root".into()),
        of(&|cluster| cluster.packages.push("-o x".to_owned())),
        of(&|cluster| cluster.domains.push("a;b".to_owned())),
        of(&|cluster| cluster.proxy = Some("proxy:3128".to_owned())),
        of(&|cluster| cluster.proxy = Some("http://a'b".to_owned())),
        of(&|cluster| cluster.run.push("a\u{1b}b".to_owned())),
        of(&|cluster| cluster.vcpus.truncate(1)),
        of(&|cluster| cluster.mtu = 10),
    ];
    insta::assert_snapshot!(errors.join("\n"));
    let outside = volume(&plain(2), &keys(), rank(2), &UserFiles::default()).unwrap_err();
    assert_eq!(outside.to_string(), "rank 2 is outside the job of 2 ranks");
}

/// The files in an image, as a reader of ISO 9660 sees them.
fn read_back(image: Vec<u8>) -> BTreeMap<String, Vec<u8>> {
    fn walk(entry: hadris_fs::TreeEntry<'_>, path: &str, found: &mut Vec<String>) {
        for (name, child) in entry.children() {
            let path = format!("{path}/{}", String::from_utf8_lossy(name.as_bytes()));
            match child.node().content() {
                Some(_) => found.push(path),
                None => walk(child, &path, found),
            }
        }
    }
    let volume = Mounted::new(IsoFs::mount(image, MountOptions::new()).unwrap());
    let mut paths = Vec::new();
    walk(read_tree(&volume, "/").unwrap().root(), "", &mut paths);
    let contents = |path: String| {
        let mut contents = Vec::new();
        volume.open(&path, OpenOptions::new().read()).unwrap().read_to_end(&mut contents).unwrap();
        (path[1..].to_owned(), contents)
    };
    paths.into_iter().map(contents).collect()
}

#[test]
fn an_image_is_the_same_every_time_and_holds_every_file() {
    let volume = volume(&with_everything(), &keys(), rank(1), &manual()).unwrap();
    let image = volume.image().unwrap();
    assert!(image == volume.image().unwrap());
    assert!(read_back(image) == volume.files.into_iter().collect());
}

#[test]
fn two_files_of_one_name_are_an_error() {
    let files = vec![("a/b".to_owned(), Vec::new()), ("a/b".to_owned(), Vec::new())];
    assert_eq!(
        Volume { files }.image().unwrap_err().to_string(),
        "a/b cannot be on the seed: there are two of this name"
    );
    let files = vec![("a".to_owned(), Vec::new()), ("a/b".to_owned(), Vec::new())];
    Volume { files }.image().unwrap_err();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn no_file_of_the_users_gets_lost(
        files in prop::collection::btree_map(
            "([A-Za-z0-9 ._\u{e4}\u{1f600}:?-]{1,20}/){0,3}[A-Za-z0-9 ._\u{e4}:?-]{1,40}x",
            prop::collection::vec(any::<u8>(), 0..3000),
            0..12,
        ),
        script in "#!/bin/sh\n[ -~\n\u{e4}]{0,200}",
    ) {
        let reserved = ["user-data", "meta-data", "network-config", "vendor-data", "mvpnet"];
        let files: Vec<_> = files
            .into_iter()
            .filter(|(path, _)| path.split('/').all(|name| name != "." && name != ".." && !reserved.contains(&name)))
            .collect();
        let directory = tempfile::tempdir().unwrap();
        let mut expected = BTreeMap::new();
        for (path, contents) in &files {
            let place = directory.path().join(path);
            // A file where another one wants a folder.
            if fs::create_dir_all(place.parent().unwrap()).is_ok() && !place.exists() && fs::write(&place, contents).is_ok() {
                expected.insert(path.clone(), contents.clone());
            }
        }
        fs::write(directory.path().join("user-data"), &script).unwrap();
        let own = UserFiles::read(directory.path()).unwrap();
        prop_assert_eq!(own.others.len(), expected.len());
        let volume = volume(&plain(2), &keys(), rank(0), &own).unwrap();
        prop_assert_eq!(&parts(file(&volume, "user-data"))[0].1, &script);
        let found = read_back(volume.image().unwrap());
        for (path, contents) in &expected {
            prop_assert!(found.get(path) == Some(contents), "{}", path);
        }
    }
}
