//! The folder `mvpnet/` of the volume: the guest's script and what it puts into place.

use std::fmt::Write;

use mvpnet_switch::{Rank, UlaPrefix};

use crate::documents::{CLUSTER_NIC, authorized_keys};
use crate::{Cluster, JobKeys, keys, names};

/// The folder's name. A user's own folder of this name is refused.
pub(crate) const FOLDER: &str = "mvpnet";

const SETUP: &str = include_str!("guest/setup.sh");
const AGENT: &str = include_str!("agent/mvpnet-agent");
const AGENT_CALL: &str = "/usr/local/bin/mvpnet-rsh";

/// Its files by name.
pub(crate) fn files(cluster: &Cluster, job: &JobKeys, rank: Rank) -> Vec<(&'static str, String)> {
    let mut files = vec![
        ("setup", SETUP.to_owned()),
        ("config", config(cluster, rank)),
        ("hosts", names::hosts(cluster)),
        ("hosts.mpi", names::hosts_mpi(cluster)),
        ("hosts.openmpi", names::hosts_openmpi(cluster)),
        ("hosts.mpich", names::hosts_mpich(cluster)),
        ("known_hosts", keys::guest_known_hosts(job, cluster.world)),
        ("ssh_config", ssh_config()),
        ("sshd_config", "PermitRootLogin prohibit-password\nUseDNS no\n".to_owned()),
        ("environment", environment(cluster, |name, value| format!("{name}={value}\n"))),
        ("profile", environment(cluster, |name, value| format!("export {name}='{value}'\n"))),
        ("openmpi", openmpi(cluster)),
        ("prte", prte(cluster)),
        ("id_ed25519", job.user_private()),
        ("id_ed25519.pub", format!("{}\n", job.user_public())),
        ("authorized_keys", lines(authorized_keys(cluster, job))),
        ("shares", shares(cluster)),
    ];
    if cluster.exec {
        files.push(("mvpnet-agent", AGENT.to_owned()));
    }
    files
}

/// What the script has to know. All values are checked to be words without quotes, see [`Cluster`].
fn config(cluster: &Cluster, rank: Rank) -> String {
    let mpi = cluster.mpi_user.as_ref();
    let nfs = cluster.nfs.as_ref();
    let values = [
        ("JOB", cluster.job.clone().unwrap_or_default()),
        ("WSIZE", cluster.world.size().to_string()),
        ("RANK", rank.to_string()),
        ("NAME", rank.host_name()),
        ("LOGIN", cluster.user.clone()),
        ("LOGIN_UID", cluster.user_id.map(|uid| uid.to_string()).unwrap_or_default()),
        ("MPI_USER", mpi.map(|mpi| mpi.name.clone()).unwrap_or_default()),
        ("MPI_UID", mpi.map(|mpi| mpi.uid.to_string()).unwrap_or_default()),
        ("NFS", nfs.map(|path| path.display().to_string()).unwrap_or_default()),
        ("PROXY", cluster.proxy.clone().unwrap_or_default()),
        ("EXEC", u8::from(cluster.exec).to_string()),
    ];
    values.iter().fold(String::new(), |mut text, (name, value)| {
        // A quote in a job's name ends the word, and a quote of the other kind brings it back.
        let value = value.replace('\'', r#"'"'"'"#);
        writeln!(text, "{name}='{value}'").expect("a String takes everything");
        text
    })
}

/// How guests reach guests: nothing asks, and nothing is believed that known_hosts does not say.
fn ssh_config() -> String {
    let prefix = UlaPrefix::default().address().to_string();
    let names: String = (0..10).map(|digit| format!("n{digit}* ")).collect();
    let keys: String = ["mvpnet", "ed25519", "ecdsa", "rsa"]
        .map(|name| format!("    IdentityFile ~/.ssh/id_{name}\n"))
        .concat();
    // `Host *` at the end: what stands below it in the same file is meant for all again.
    format!(
        "Host {names}10.* {}:*\n    StrictHostKeyChecking yes\n    UpdateHostKeys no\n    CheckHostIP no\n    \
         PreferredAuthentications publickey\n    ConnectTimeout 120\n    LogLevel ERROR\n{keys}Host *\n",
        prefix.trim_end_matches(':')
    )
}

fn environment(cluster: &Cluster, line: impl Fn(&str, &str) -> String) -> String {
    // MPICH asks UCX or libfabric for an interface; both would take the one whose address all guests share.
    let mut values = vec![
        ("UCX_NET_DEVICES", CLUSTER_NIC),
        ("FI_TCP_IFACE", CLUSTER_NIC),
        ("HYDRA_IFACE", CLUSTER_NIC),
        // Open MPI 5 starts processes by PRRTE, which packages keep its file at various places for.
        ("PRTE_MCA_oob_tcp_if_include", "10.0.0.0/8"),
        ("PRTE_MCA_prte_if_include", "10.0.0.0/8"),
        // It would take rsh.
        ("PDSH_RCMD_TYPE", "ssh"),
    ];
    if cluster.exec {
        values.extend([
            ("HYDRA_LAUNCHER", "ssh"),
            ("HYDRA_LAUNCHER_EXEC", AGENT_CALL),
            ("PRTE_MCA_plm_ssh_agent", AGENT_CALL),
        ]);
    }
    if let Some(proxy) = &cluster.proxy {
        let direct = "localhost,127.0.0.1,::1,10.0.0.0/8,192.168.1.2";
        for (name, value) in [("http_proxy", proxy.as_str()), ("https_proxy", proxy), ("no_proxy", direct)] {
            values.push((name, value));
        }
        values.extend([("HTTP_PROXY", proxy.as_str()), ("HTTPS_PROXY", proxy), ("NO_PROXY", direct)]);
    }
    values.iter().map(|(name, value)| line(name, value)).collect()
}

fn openmpi(cluster: &Cluster) -> String {
    let mut text = "btl_tcp_if_include = 10.0.0.0/8\noob_tcp_if_include = 10.0.0.0/8\npml = ob1\n".to_owned();
    if cluster.exec {
        writeln!(text, "plm_rsh_agent = {AGENT_CALL}").expect("a String takes everything");
    }
    text
}

fn prte(cluster: &Cluster) -> String {
    let mut text = "oob_tcp_if_include = 10.0.0.0/8\nprte_if_include = 10.0.0.0/8\n".to_owned();
    if cluster.exec {
        writeln!(text, "plm_ssh_agent = {AGENT_CALL}").expect("a String takes everything");
    }
    text
}

fn shares(cluster: &Cluster) -> String {
    lines(cluster.shares.iter().map(|share| format!("{} {}", share.tag, share.guest_dir.display())))
}

fn lines(lines: impl IntoIterator<Item = String>) -> String {
    lines.into_iter().map(|line| line + "\n").collect()
}
