//! What tests of several modules begin with: clusters, keys, and volumes in a form that people can read.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mvpnet_switch::{Rank, World};

use crate::{AuthorizedKey, Cluster, JobKeys, JobSecret, MpiUser, Share, Volume};

/// A key that the host's user might have.
pub(crate) const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEN0oZVtcsVvlKnX2Lz7zvJmr4AbyvbnCbcc0S7Zc2SB alice@laptop";

pub(crate) fn rank(index: u32) -> Rank {
    World::new(World::MAX_SIZE).unwrap().rank(index).unwrap()
}

/// A cluster of which nothing more is asked.
pub(crate) fn plain(size: u32) -> Cluster {
    Cluster {
        job: Some("demo".to_owned()),
        authorized_keys: vec![AuthorizedKey::parse(KEY).unwrap()],
        vcpus: vec![2; size as usize],
        ..Cluster::new(World::new(size).unwrap(), "alice")
    }
}

/// A cluster of which everything is asked.
pub(crate) fn with_everything() -> Cluster {
    let share = |tag: &str, dir: &str| Share { tag: tag.to_owned(), guest_dir: dir.into() };
    let options = format!("from=\"10.0.0.0/8,192.168.1.2\",command=\"echo 'a: b' #\" {KEY}");
    Cluster {
        job: Some("it's a job".to_owned()),
        mtu: 9000,
        user_id: Some(1234),
        authorized_keys: vec![AuthorizedKey::parse(KEY).unwrap(), AuthorizedKey::parse(&options).unwrap()],
        vcpus: vec![1, 2, 16],
        mpi_user: Some(MpiUser { name: "mpihpc".to_owned(), uid: 7777 }),
        nfs: Some("/home/mpihpc/shared".into()),
        shares: vec![share("share0", "/mnt/data"), share("share1", "/home/alice/src")],
        packages: vec!["nfs-common".to_owned(), "mpich=4.0.2-3".to_owned()],
        proxy: Some("http://192.168.1.2:3128".to_owned()),
        run: vec!["echo \"it: 'ran'\" > /root/ran".to_owned(), "yes | head -1\ntrue".to_owned()],
        domains: vec!["cluster.example.org".to_owned(), "example.org".to_owned()],
        ..plain(3)
    }
}

pub(crate) fn keys() -> JobKeys {
    JobKeys::of(&JobSecret::new([7; 32]))
}

/// A file of a volume.
pub(crate) fn file<'a>(volume: &'a Volume, path: &str) -> &'a [u8] {
    let found = volume.files.iter().find(|(name, _)| name == path);
    &found.unwrap_or_else(|| panic!("{path} is not on the volume")).1
}

/// The parts of a user-data that we have made, headers and decoded bodies.
pub(crate) fn parts(user_data: &[u8]) -> Vec<(String, String)> {
    let text = str::from_utf8(user_data).unwrap();
    let (head, body) = text.split_once("\n\n").unwrap();
    let boundary = head.split('"').nth(1).unwrap();
    let delimiter = format!("--{boundary}");
    let parts = body.split(&delimiter).skip(1);
    parts
        .take_while(|part| !part.starts_with("--"))
        .map(|part| {
            let (headers, body) = part.trim_start().split_once("\n\n").unwrap();
            let decoded = if headers.contains("base64") {
                let packed: String = body.split_whitespace().collect();
                String::from_utf8(STANDARD.decode(packed).unwrap()).unwrap()
            } else {
                body.to_owned()
            };
            (headers.to_owned(), decoded)
        })
        .collect()
}

/// Everything on a volume, for a snapshot: private keys and the programs that are files of this crate left out.
pub(crate) fn shown(volume: &Volume) -> String {
    let mut text = String::new();
    for (path, contents) in &volume.files {
        writeln!(text, "===== {path}").unwrap();
        let contents = str::from_utf8(contents).unwrap();
        if path == "user-data" {
            for (headers, body) in parts(contents.as_bytes()) {
                writeln!(text, "----- {}\n{}", headers.replace('\n', "\n      "), without_keys(&body))
                    .unwrap();
            }
        } else if ["mvpnet/setup", "mvpnet/mvpnet-agent"].contains(&path.as_str()) {
            writeln!(text, "(a program)").unwrap();
        } else if path == "meta-data" {
            // The end of it follows from all the rest, the programs too.
            let (instance, rest) = contents.split_once('\n').unwrap();
            write!(text, "{}…\n{rest}", instance.trim_end_matches(|c: char| c.is_ascii_hexdigit())).unwrap();
        } else {
            writeln!(text, "{}", without_keys(contents).trim_end()).unwrap();
        }
    }
    text
}

fn without_keys(text: &str) -> String {
    let mut inside = false;
    let lines = text.lines().filter(|line| {
        let edge = line.trim_start().starts_with("-----") && line.contains("PRIVATE KEY");
        inside ^= edge;
        edge && inside || !edge && !inside
    });
    lines.map(|line| line.replace("-----BEGIN OPENSSH PRIVATE KEY-----", "(a private key)") + "\n").collect()
}
