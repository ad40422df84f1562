//! Volumes as wholes: their documents, and their images as other programs see them.

use std::fs;
use std::path::PathBuf;

use mvpnet_switch::World;

use super::*;
use crate::{AuthorizedKey, JobSecret};

pub(crate) fn plain(size: u32) -> Cluster {
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEN0oZVtcsVvlKnX2Lz7zvJmr4AbyvbnCbcc0S7Zc2SB alice@laptop";
    Cluster {
        world: World::new(size).unwrap(),
        job: Some("demo".to_owned()),
        mtu: 1500,
        user: "alice".to_owned(),
        authorized_keys: vec![AuthorizedKey::parse(key).unwrap()],
        vcpus: vec![2; size as usize],
        mpi_user: None,
        nfs: None,
        shares: Vec::new(),
        packages: Vec::new(),
        proxy: None,
        run: Vec::new(),
        domains: Vec::new(),
        exec: true,
    }
}

pub(crate) fn keys() -> JobKeys {
    JobKeys::of(&JobSecret::new([7; 32]))
}

#[test]
fn dump() {
    let Some(out) = std::env::var_os("MVPNET_DUMP") else { return };
    let out = PathBuf::from(out);
    let cluster = plain(2);
    let rank = cluster.world.rank(1).unwrap();
    let volume = volume(&cluster, &keys(), rank, &UserFiles::default()).unwrap();
    for (path, contents) in &volume.files {
        let path = out.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, contents).unwrap();
    }
    fs::write(out.join("image"), volume.image().unwrap()).unwrap();
}
