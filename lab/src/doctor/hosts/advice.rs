//! What is better advised with the findings of both ends at hand: a port that does not answer is mended where a rule
//! drops.

use std::path::Path;

use super::super::finding::{Finding, Status};
use super::super::system::quoted;
use super::super::table::PROBES;
use super::super::wanted::Wanted;
use super::Part;

/// The check whose advice lets datagrams pass.
const FIREWALL: &str = "firewall";
/// The check of an image, which may be here and not there.
const IMAGE: &str = "image";

/// Completes what the hosts advise, each by itself, with what is known of all.
pub(super) fn complete(findings: &mut [Finding], parts: &[Part<'_>], here: &Wanted) {
    mend_probes(findings, parts, here);
    let Some((own, others)) = parts.split_first() else { return };
    for found in findings.iter_mut().filter(|found| found.check == IMAGE && found.status == Status::Failure) {
        let part = others.iter().find(|part| part.label == found.host);
        let image = part.and_then(|part| part.wanted.image.as_ref()).filter(|image| image.is_file());
        if let Some(image) = image {
            found.mend = Some(copied(image, &found.host, &own.label));
        }
    }
}

/// How an image that is here comes to another host.
fn copied(image: &Path, host: &str, here: &str) -> String {
    let (path, host) = (quoted(&image.display().to_string()), quoted(host));
    let dir = quoted(&image.parent().unwrap_or(image).display().to_string());
    format!("ssh {host} mkdir -p {dir} && scp {path} {host}:{path}   # on {here}")
}

/// Puts the mending command of a firewall that drops into probes that fail because of it.
fn mend_probes(findings: &mut [Finding], parts: &[Part<'_>], here: &Wanted) {
    let blocked: Vec<(String, String)> = findings
        .iter()
        .filter(|found| found.check == FIREWALL && found.status != Status::Ok)
        .filter_map(|found| Some((found.host.clone(), found.mend.clone()?)))
        .collect();
    let of = |host: &str| blocked.iter().find(|(at, _)| at == host).map(|(_, mend)| mend.clone());
    for found in
        findings.iter_mut().filter(|found| found.check == PROBES[0].0 && found.status == Status::Failure)
    {
        let far = found.peer.as_ref().and_then(|peer| parts.iter().find(|part| part.names.contains(peer)));
        let far = far.and_then(|part| Some(on(here, &part.label, &of(&part.label)?)));
        let mends: Vec<String> = of(&found.host).into_iter().chain(far).collect();
        if !mends.is_empty() {
            found.mend = Some(mends.join(" && "));
        }
    }
}

/// A command to be typed here, for another host.
fn on(here: &Wanted, host: &str, mend: &str) -> String {
    let is_default = here.ssh == Wanted::SSH;
    let ssh = match (is_default, mend.starts_with("sudo ")) {
        // sudo may ask for a password.
        (true, true) => "ssh -t".to_owned(),
        (true, false) => "ssh".to_owned(),
        (false, _) => here.ssh.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" "),
    };
    // Plain words are the same to ssh, which joins them for a shell, and to commands that run them as they are.
    let is_plain = mend.split(' ').all(|word| quoted(word) == word);
    let mend = if is_plain { mend.to_owned() } else { quoted(mend) };
    format!("{ssh} {} {mend}", quoted(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_that_is_here_is_copied_there() {
        let command = copied(Path::new("/images/a.img"), "server2", "server1");
        let expected =
            "ssh server2 mkdir -p /images && scp /images/a.img server2:/images/a.img   # on server1";
        assert_eq!(command, expected);
    }

    #[test]
    fn a_command_for_another_host_goes_by_ssh() {
        let here = Wanted::default();
        assert_eq!(on(&here, "server2", "sudo ufw allow 4789/udp"), "ssh -t server2 sudo ufw allow 4789/udp");
        assert_eq!(on(&here, "server2", "a && b"), "ssh server2 'a && b'");
        let enter = Wanted { ssh: vec!["/x/enter".into(), "--name".into(), "d".into()], ..here };
        assert_eq!(on(&enter, "server2", "nft x"), "/x/enter --name d server2 nft x");
    }
}
