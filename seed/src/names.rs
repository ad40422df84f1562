//! Who is called what: the hosts file of the guests, and the host files of the MPIs.

use std::fmt::Write;

use mvpnet_switch::UlaPrefix;

use crate::Cluster;

/// What guests have in /etc/hosts: the size of the world, then every rank by both of its addresses.
pub(crate) fn hosts(cluster: &Cluster) -> String {
    let world = cluster.world;
    let mut text = String::with_capacity(world.size() as usize * 56);
    write_line(&mut text, format_args!("#wsize: {}", world.size()));
    for rank in world.ranks() {
        write_line(&mut text, format_args!("{} {}", rank.ipv4(), rank.host_name()));
    }
    // All of IPv4 first: who looks up one address per name takes the first that fits.
    for rank in world.ranks() {
        write_line(&mut text, format_args!("{} {}", rank.ula(UlaPrefix::default()), rank.host_name()));
    }
    text
}

/// /etc/hosts.mpi: a name a line, which every MPI understands.
pub(crate) fn hosts_mpi(cluster: &Cluster) -> String {
    lines(cluster, |name, _| name)
}

/// /etc/hosts.openmpi: as many slots as the guest has vCPUs.
pub(crate) fn hosts_openmpi(cluster: &Cluster) -> String {
    lines(cluster, |name, vcpus| format!("{name} slots={vcpus}"))
}

/// /etc/hosts.mpich: the same in the words of Hydra.
pub(crate) fn hosts_mpich(cluster: &Cluster) -> String {
    lines(cluster, |name, vcpus| format!("{name}:{vcpus}"))
}

fn lines(cluster: &Cluster, line: impl Fn(String, u32) -> String) -> String {
    let ranks = cluster.world.ranks().zip(&cluster.vcpus);
    ranks.fold(String::new(), |mut text, (rank, vcpus)| {
        write_line(&mut text, format_args!("{}", line(rank.host_name(), *vcpus)));
        text
    })
}

fn write_line(text: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(text, "{line}").expect("a String takes everything");
}
