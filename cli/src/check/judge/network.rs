//! The ways between guests: ssh without a question, and packets of full length.

use super::{Guest, fine_or, listed, name, read};
use crate::check::finding::{Finding, Status};
use crate::check::readings::{PathReading, SshReading};

/// Whether guests reach each other by ssh. `check` is the check's name, `who` logs in. Where no sshd runs at all, that
/// is a failure only if ssh `must` be there.
pub(in crate::check) fn ssh(
    check: &'static str,
    who: &str,
    must: bool,
    guests: &[Guest<Vec<SshReading>>],
) -> Vec<Finding> {
    let all: Vec<(String, &SshReading)> = read(guests)
        .flat_map(|(rank, readings)| readings.iter().map(move |reading| (name(rank), reading)))
        .collect();
    if !must && !all.is_empty() && all.iter().all(|(_, reading)| reading.refused) {
        return vec![Finding::of_all(
            check,
            Status::NotChecked,
            "no sshd runs in the guests (--ssh wants one)",
        )];
    }
    let mut found: Vec<Finding> = guests
        .iter()
        .filter_map(|guest| {
            Some(Finding::of(check, &name(guest.rank), Status::Failed, guest.read.as_ref().err()?))
        })
        .collect();
    for (guest, reading) in &all {
        let ends = (guest.as_str(), reading.peer.as_str());
        let said = if reading.said.is_empty() { "nothing was said".to_owned() } else { reading.said.clone() };
        match reading.code {
            Some(0) if reading.said.is_empty() => {}
            Some(0) => found.push(
                Finding::between(check, ends, Status::Warning, format!("as {who}, ssh says: {said}"))
                    .mended_by(format!(
                        "look closer: mvpnet exec -u {who} {} 'ssh -v {} true'",
                        rank_of(guest),
                        reading.peer
                    )),
            ),
            Some(code) => found.push(
                Finding::between(check, ends, Status::Failed, format!("as {who}: {said} (exit code {code})"))
                    .mended_by(format!(
                        "look closer: mvpnet exec -u {who} {} 'ssh -v {} true'",
                        rank_of(guest),
                        reading.peer
                    )),
            ),
            None if reading.refused => {
                found.push(Finding::between(check, ends, Status::Failed, said).mended_by(format!(
                    "start it: mvpnet exec {} 'systemctl restart ssh || systemctl restart sshd'",
                    rank_of(&reading.peer)
                )))
            }
            None => found.push(Finding::between(
                check,
                ends,
                Status::Failed,
                format!("as {who}: no answer in time {said}"),
            )),
        }
    }
    let slowest = all.iter().max_by(|one, other| one.1.seconds.total_cmp(&other.1.seconds));
    if let (false, Some((guest, reading))) =
        (found.iter().any(|finding| finding.status == Status::Failed), slowest)
    {
        let seen = format!(
            "as {who} from guest to guest, {} ways, without a question; the slowest is {guest} → {} with {:.1} s",
            all.len(),
            reading.peer,
            reading.seconds
        );
        found.insert(0, Finding::of_all(check, Status::Ok, seen));
    }
    fine_or(found, || Finding::of_all(check, Status::NotChecked, "there are no two guests"))
}

/// Whether packets as long as the MTU pass, and longer ones are not sent.
pub(in crate::check) fn paths(guests: &[Guest<Vec<PathReading>>]) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut mtus: Vec<(u32, Vec<String>)> = Vec::new();
    let mut ways = 0;
    for Guest { rank, read } in guests {
        let guest = name(*rank);
        let readings = match read {
            Ok(readings) => readings,
            Err(why) => {
                found.push(Finding::of("mtu", &guest, Status::Failed, why));
                continue;
            }
        };
        if let Some(first) = readings.first() {
            match mtus.iter_mut().find(|(mtu, _)| *mtu == first.mtu) {
                Some((_, guests)) => guests.push(guest.clone()),
                None => mtus.push((first.mtu, vec![guest.clone()])),
            }
        }
        ways += readings.len();
        found.extend(readings.iter().filter_map(|reading| path(&guest, reading)));
    }
    if mtus.len() > 1 {
        let each: Vec<String> =
            mtus.iter().map(|(mtu, guests)| format!("{mtu} in {}", listed(guests))).collect();
        let seen = format!("guests have different MTUs: {}", each.join("; "));
        let mend = "the longer packets are lost: take the MTU from DHCP or the seed (--mtu) in all of them";
        found.push(Finding::of_all("mtu", Status::Failed, seen).mended_by(mend));
    }
    fine_or(found, || match mtus.first() {
        Some((mtu, _)) => Finding::of_all(
            "mtu",
            Status::Ok,
            format!(
                "packets of {mtu} bytes pass on all {ways} ways, longer ones are refused where they begin"
            ),
        ),
        None => Finding::of_all("mtu", Status::NotChecked, "there are no two guests"),
    })
}

fn path(guest: &str, reading: &PathReading) -> Option<Finding> {
    let PathReading { peer, mtu, small, full, over } = reading;
    let ends = (guest, peer.as_str());
    let of =
        |status, seen: String, mend: &str| Some(Finding::between("mtu", ends, status, seen).mended_by(mend));
    if small != "answered" {
        let seen = format!("ping gets no answer ({small})");
        return of(
            Status::Failed,
            seen,
            "is its interface up? mvpnet exec GUEST 'ip addr; ip route; nft list ruleset'",
        );
    }
    if full != "answered" {
        let seen = format!("short packets pass, but none of {mtu} bytes, its MTU ({full})");
        return of(
            Status::Failed,
            seen,
            "something on the way carries less: start the job with a smaller --mtu, or see `mvpnet doctor`",
        );
    }
    if over == "answered" {
        let seen = format!("a packet of {} bytes passes although the MTU is {mtu}", mtu + 1);
        return of(
            Status::Warning,
            seen,
            "a guest cuts or announces packets otherwise than the others expect",
        );
    }
    None
}

fn rank_of(guest: &str) -> String {
    guest.trim_start_matches('n').parse::<u32>().map_or_else(|_| guest.to_owned(), |rank| rank.to_string())
}
