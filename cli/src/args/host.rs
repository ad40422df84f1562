//! Defaults that come from the host: search domains and the login name.

use std::path::Path;

use super::slurm::Portion;

/// What the host says where flags say nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostDefaults {
    /// DNS search domains.
    pub domains: Vec<String>,
    /// Who runs the job.
    pub user: Option<String>,
    /// What a batch system gives to the ranks of this host.
    pub portion: Option<Portion>,
}

impl HostDefaults {
    /// Reads them from /etc/resolv.conf and from the environment. What cannot be read is left out.
    pub fn read() -> Self {
        let resolv_conf = std::fs::read(Path::new("/etc/resolv.conf")).unwrap_or_default();
        let of_process = || nix::unistd::User::from_uid(nix::unistd::getuid()).ok().flatten();
        let named = ["USER", "LOGNAME"].iter().find_map(|name| std::env::var(name).ok());
        Self {
            domains: search_domains(&String::from_utf8_lossy(&resolv_conf)),
            user: named.filter(|name| !name.is_empty()).or_else(|| of_process().map(|user| user.name)),
            portion: None,
        }
    }
}

/// The search domains of a resolv.conf(5): those of its last `search` or `domain` line.
pub fn search_domains(resolv_conf: &str) -> Vec<String> {
    let mut domains = Vec::new();
    for line in resolv_conf.lines() {
        let mut words = line.split_whitespace();
        // A keyword starts its line, and `;` or `#` in the first column is a comment.
        match words.next().filter(|_| !line.starts_with(char::is_whitespace)) {
            Some("search") => domains = words.map(str::to_owned).collect(),
            Some("domain") => domains = words.take(1).map(str::to_owned).collect(),
            _ => {}
        }
    }
    // The root alone searches nothing, and qemu would pass on what is no name.
    domains.retain(|domain| is_domain(domain) && domain != ".");
    domains
}

fn is_domain(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_search_or_domain_line_counts() {
        for (text, domains) in [
            ("", vec![]),
            ("nameserver 10.0.0.1\n", vec![]),
            ("domain a.org\nsearch b.org c.org\n", vec!["b.org", "c.org"]),
            ("search b.org c.org\ndomain a.org x\n", vec!["a.org"]),
            ("search\tb.org \n# search d.org\n;search e.org\n", vec!["b.org"]),
            ("searching b.org\n search d.org", vec![]),
            ("search a.org\nsearch\n", vec![]),
            ("search .\n", vec![]),
            ("search a,b c.org", vec!["c.org"]),
        ] {
            assert_eq!(search_domains(text), domains, "{text:?}");
        }
    }
}
