//! Our cloud-config: the accounts, the keys, and the start of the guest's own script. What is larger is on the volume:
//! cloud-init takes its time to read YAML.

use mvpnet_switch::Rank;
use serde::Serialize;

use crate::{Cluster, JobKeys, SeedError, Volume, yaml};

/// The first line of each.
const HEADER: &str = "#cloud-config\n";

#[derive(Serialize)]
struct CloudConfig {
    users: Vec<User>,
    ssh_authorized_keys: Vec<String>,
    disable_root: bool,
    ssh_deletekeys: bool,
    ssh_keys: SshKeys,
    no_ssh_fingerprints: bool,
    preserve_hostname: bool,
    prefer_fqdn_over_hostname: bool,
    manage_etc_hosts: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    apt: Option<Apt>,
    #[serde(skip_serializing_if = "Option::is_none")]
    package_update: Option<bool>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    packages: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    runcmd: Vec<String>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum User {
    Default(&'static str),
    Named(Account),
}

#[derive(Serialize)]
struct Account {
    name: String,
    gecos: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    primary_group: Option<String>,
    shell: &'static str,
    lock_passwd: bool,
    sudo: &'static str,
    ssh_authorized_keys: Vec<String>,
}

#[derive(Serialize)]
struct SshKeys {
    ed25519_private: String,
    ed25519_public: String,
}

#[derive(Serialize)]
struct Apt {
    http_proxy: String,
    https_proxy: String,
}

#[derive(Serialize)]
struct EarlyConfig {
    bootcmd: Vec<&'static str>,
    final_message: &'static str,
}

/// Copies our folder of the volume to a private place and runs its script. The volume may be on any disk.
const BOOTCMD: &str = r#"( umask 077; d=/run/mvpnet/seed; [ -d /run ] || d=/var$d; m=$d.volume
  mkdir -p "$m" && chmod 755 "${d%/*}" && rm -rf "$d" &&
  { v=$(findfs LABEL=CIDATA 2>/dev/null) || v=$(blkid -l -o device -t LABEL=CIDATA 2>/dev/null) || v=/dev/iso9660/CIDATA; } &&
  { mount -t iso9660 -o ro "$v" "$m" || mount -t cd9660 -o ro "$v" "$m"; } 2>/dev/null &&
  mkdir "$d" && cp "$m"/mvpnet/* "$d" && umount "$m" && sh "$d/setup" boot
) || echo 'mvpnet: the seed could not be read from the volume CIDATA' >&2
"#;

/// Who gets in, and by which keys.
pub(crate) fn cloud_config(cluster: &Cluster, keys: &JobKeys, rank: Rank) -> Result<String, SeedError> {
    let authorized = authorized_keys(cluster, keys);
    let account = |name: &str| Account {
        name: name.to_owned(),
        gecos: "mvpnet",
        uid: None,
        primary_group: None,
        shell: "/bin/bash",
        lock_passwd: true,
        sudo: "ALL=(ALL) NOPASSWD:ALL",
        ssh_authorized_keys: authorized.clone(),
    };
    let mut users = vec![User::Default("default")];
    // Root is there, and gets the keys that stand for all.
    if cluster.user != "root" {
        users.push(User::Named(account(&cluster.user)));
    }
    if let Some(mpi) = &cluster.mpi_user {
        let primary_group = Some(mpi.name.clone());
        users.push(User::Named(Account { uid: Some(mpi.uid), primary_group, ..account(&mpi.name) }));
    }
    let document = CloudConfig {
        users,
        ssh_authorized_keys: authorized.clone(),
        disable_root: false,
        ssh_deletekeys: true,
        ssh_keys: SshKeys {
            ed25519_private: keys.host_private(rank),
            ed25519_public: keys.host_public(rank),
        },
        no_ssh_fingerprints: true,
        preserve_hostname: false,
        prefer_fqdn_over_hostname: false,
        manage_etc_hosts: false,
        apt: cluster.proxy.clone().map(|proxy| Apt { http_proxy: proxy.clone(), https_proxy: proxy }),
        package_update: (!cluster.packages.is_empty()).then_some(true),
        packages: cluster.packages.clone(),
        runcmd: cluster.run.clone(),
    };
    Ok(format!("{HEADER}{}", yaml::text_of(&document)?))
}

/// What runs before and after everything else. A document of its own, because it is merged in another way.
pub(crate) fn early_config() -> Result<String, SeedError> {
    // The line break keeps it apart from what the user's own message says.
    let document = EarlyConfig { bootcmd: vec![BOOTCMD], final_message: Volume::FINAL_MESSAGE };
    Ok(format!("{HEADER}{}", yaml::text_of(&document)?))
}

/// The keys of the host's user, and the job's.
pub(crate) fn authorized_keys(cluster: &Cluster, keys: &JobKeys) -> Vec<String> {
    let lines = cluster.authorized_keys.iter().map(|key| key.line().to_owned());
    lines.chain([keys.user_public()]).collect()
}
