//! The keys that a job makes for itself: all follow from one secret, so that ranks need to agree on 32 octets only.

use std::fmt;
use std::sync::{Arc, RwLock};

use mvpnet_switch::Rank;
use sha2::{Digest, Sha256};
use ssh_key::private::{Ed25519Keypair, KeypairData};
use ssh_key::{LineEnding, PrivateKey};

use super::KeyError;

/// 32 octets from which all keys of a job follow. Whoever has them can enter its guests.
#[derive(Clone, PartialEq, Eq)]
pub struct JobSecret([u8; 32]);

/// How many pairs the guests' sshd have between them. Above, ranks share: with sixteen thousand of them a rank would make
/// keys for half a second. Guests that share one trust each other anyway, since all have the users' pair.
const HOST_KEYS: u32 = 1024;

/// The keys of a job: one pair for its users, and one for each guest's sshd (from 1024 guests on, some have the same).
#[derive(Clone)]
pub struct JobKeys {
    secret: JobSecret,
    user: PrivateKey,
    /// The public keys of the guests' sshd as far as they have been asked for, by rank: every seed has all of them.
    hosts: Arc<RwLock<Vec<String>>>,
}

impl JobSecret {
    /// From 32 octets of the system's randomness.
    pub fn new(octets: [u8; 32]) -> Self {
        Self(octets)
    }

    /// As 64 hexadecimal digits.
    pub fn to_hex(&self) -> String {
        self.0.iter().map(|octet| format!("{octet:02x}")).collect()
    }

    /// From 64 hexadecimal digits.
    pub fn from_hex(text: &str) -> Result<Self, KeyError> {
        let text = text.trim();
        // The text is not repeated: it is a secret, or nearly one.
        let error = || KeyError("the job's secret is 64 hexadecimal digits".to_owned());
        if text.len() != 64 || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(error());
        }
        let mut octets = [0; 32];
        for (octet, digits) in octets.iter_mut().zip(text.as_bytes().chunks(2)) {
            let digits = str::from_utf8(digits).map_err(|_| error())?;
            *octet = u8::from_str_radix(digits, 16).map_err(|_| error())?;
        }
        Ok(Self(octets))
    }

    /// 32 octets for one purpose. The secret has a fixed length, so no two purposes share an input.
    fn derive(&self, purpose: &str, number: u32) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(b"mvpnet seed 1\0");
        hash.update(self.0);
        hash.update(number.to_be_bytes());
        hash.update(purpose);
        hash.finalize().into()
    }
}

impl fmt::Debug for JobSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JobSecret(…)")
    }
}

impl fmt::Debug for JobKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JobKeys").field("user", &self.user_public()).finish_non_exhaustive()
    }
}

impl JobKeys {
    /// The keys that follow from a secret. Nothing is random: all ranks come to the same.
    pub fn of(secret: &JobSecret) -> Self {
        let user = pair(secret.derive("user", 0), "mvpnet-job");
        Self { secret: secret.clone(), user, hosts: Arc::default() }
    }

    /// The users' private key, in OpenSSH's format.
    pub fn user_private(&self) -> String {
        private_text(&self.user)
    }

    /// The users' public key, a line.
    pub fn user_public(&self) -> String {
        public_text(&self.user)
    }

    /// The private key of a guest's sshd.
    pub fn host_private(&self, rank: Rank) -> String {
        private_text(&self.host(rank.index()))
    }

    /// The public key of a guest's sshd.
    pub fn host_public(&self, rank: Rank) -> String {
        format!("{} {}", self.host_key(rank), rank.host_name())
    }

    /// The public key of a guest's sshd, without comment.
    pub(crate) fn host_key(&self, rank: Rank) -> String {
        let index = (rank.index() % HOST_KEYS) as usize;
        // Whoever panicked with the lock held left complete lines behind.
        let known = self.hosts.read().unwrap_or_else(|poisoned| poisoned.into_inner()).get(index).cloned();
        known.unwrap_or_else(|| public_text(&self.host(rank.index())))
    }

    /// Makes the public keys of the first `count` ranks known, which [`JobKeys::host_key`] then only looks up.
    pub(crate) fn prepare_hosts(&self, count: u32) {
        let count = count.min(HOST_KEYS);
        let known = self.hosts.read().unwrap_or_else(|poisoned| poisoned.into_inner()).len();
        if known < count as usize {
            let mut hosts = self.hosts.write().unwrap_or_else(|poisoned| poisoned.into_inner());
            let first = u32::try_from(hosts.len()).unwrap_or(count);
            hosts.extend((first..count).map(|index| public_text(&self.host(index))));
        }
    }

    /// Octets that are another rank's or job's for no other rank or job, and tell nothing of the keys.
    pub(crate) fn fingerprint(&self, rank: Rank) -> [u8; 32] {
        self.secret.derive("instance", rank.index())
    }

    fn host(&self, index: u32) -> PrivateKey {
        pair(self.secret.derive("host", index % HOST_KEYS), "")
    }
}

fn pair(seed: [u8; 32], comment: &str) -> PrivateKey {
    let pair = KeypairData::Ed25519(Ed25519Keypair::from_seed(&seed));
    PrivateKey::new(pair, comment).expect("an ed25519 pair is a private key")
}

fn private_text(key: &PrivateKey) -> String {
    key.to_openssh(LineEnding::LF).expect("an unencrypted key has a text").to_string()
}

fn public_text(key: &PrivateKey) -> String {
    key.public_key().to_openssh().expect("a public key has a text")
}

#[cfg(test)]
mod tests {
    use mvpnet_switch::World;

    use super::*;
    use crate::AuthorizedKey;

    fn rank(index: u32) -> Rank {
        World::new(5000).unwrap().rank(index).unwrap()
    }

    #[test]
    fn a_secret_is_64_digits_and_back() {
        let secret = JobSecret::new(std::array::from_fn(|index| index as u8 * 7));
        assert_eq!(JobSecret::from_hex(&secret.to_hex()), Ok(secret.clone()));
        assert_eq!(JobSecret::from_hex(&format!("{}\n", secret.to_hex().to_uppercase())), Ok(secret));
        for text in
            ["", "00", &"0".repeat(63), &"0".repeat(65), &"g".repeat(64), &"+0".repeat(32), &"é".repeat(32)]
        {
            assert!(JobSecret::from_hex(text).is_err(), "{text}");
        }
    }

    #[test]
    fn every_rank_comes_to_the_same_keys() {
        let [one, other] = [(); 2].map(|()| JobKeys::of(&JobSecret::new([1; 32])));
        assert_eq!(one.user_private(), other.user_private());
        assert_eq!(one.host_private(rank(3)), other.host_private(rank(3)));
        // What a job of an earlier version has put into its guests opens them still.
        insta::assert_snapshot!(format!("{}\n{}", one.user_public(), one.host_public(rank(3))));
    }

    #[test]
    fn no_two_purposes_jobs_or_ranks_share_a_key() {
        let jobs = [1, 2].map(|octet| JobKeys::of(&JobSecret::new([octet; 32])));
        let mut lines: Vec<String> = jobs
            .iter()
            .flat_map(|job| [job.user_public(), job.host_key(rank(0)), job.host_key(rank(1))])
            .map(|line| line.split(' ').nth(1).unwrap().to_owned())
            .collect();
        lines.sort();
        lines.dedup();
        assert_eq!(lines.len(), 6);
    }

    #[test]
    fn public_keys_are_authorized_keys() {
        let job = JobKeys::of(&JobSecret::new([1; 32]));
        for line in [job.user_public(), job.host_public(rank(99))] {
            assert_eq!(AuthorizedKey::parse(&line).unwrap().line(), line);
        }
    }

    #[test]
    fn keys_that_were_prepared_are_those_that_are_made_one_by_one() {
        let [prepared, fresh] = [(); 2].map(|()| JobKeys::of(&JobSecret::new([1; 32])));
        prepared.prepare_hosts(2);
        prepared.prepare_hosts(4);
        prepared.prepare_hosts(1);
        for index in 0..6 {
            assert_eq!(prepared.host_key(rank(index)), fresh.host_key(rank(index)));
        }
    }

    #[test]
    fn more_ranks_than_keys_share_them() {
        let [prepared, fresh] = [(); 2].map(|()| JobKeys::of(&JobSecret::new([1; 32])));
        prepared.prepare_hosts(5000);
        for index in [0, 1023, 1024, 1025, 4999] {
            assert_eq!(prepared.host_key(rank(index)), fresh.host_key(rank(index)));
            assert_eq!(fresh.host_key(rank(index)), fresh.host_key(rank(index % 1024)));
        }
        assert!(fresh.host_public(rank(1024)).ends_with(" n1024"));
    }

    #[test]
    fn nothing_that_is_printed_shows_the_secret() {
        let secret = JobSecret::new([0xab; 32]);
        let shown = format!("{secret:?} {:?}", JobKeys::of(&secret));
        assert!(!shown.contains("abab") && !shown.contains("171") && !shown.contains("PRIVATE"), "{shown}");
    }
}
