//! Examining several hosts: on each this same program looks at itself, and when all are ready to answer they probe
//! each other.

use std::path::Path;
use std::thread;

use super::answer::{Closing, Host, Opening, Order, VERSION};
use super::examination::{Examination, Member};
use super::finding::{Finding, Verdict};
use super::machine::Machine;
use super::session::{PROBING, Session, SessionError};
use super::system::{System, quoted};
use super::table::{PROBES, PROGRAM, SAME_MPI};
use super::wanted::{Peer, Wanted};

mod advice;

/// A host that takes part, this one or another.
struct Part<'a> {
    /// What reports call it.
    label: String,
    wanted: &'a Wanted,
    /// What others call it.
    names: Vec<String>,
    /// None: it could not be asked.
    end: Option<(End, Opening)>,
    findings: Vec<Finding>,
}

/// What does the looking.
enum End {
    Here(Box<Host>),
    There(Session),
}

/// Looks at this host and at the others, and at what passes between them. Findings come by host, this one first.
pub fn examine(examination: &Examination) -> Vec<Finding> {
    let mut parts = open(examination);
    compare_mpis(&mut parts);
    let orders: Vec<Order> = (0..parts.len()).map(|at| order(&mut parts, at)).collect();
    thread::scope(|scope| {
        for (part, order) in parts.iter_mut().zip(&orders) {
            scope.spawn(|| part.probe(order));
        }
    });
    let mut findings: Vec<Finding> = parts.iter().flat_map(|part| part.findings.clone()).collect();
    advice::complete(&mut findings, &parts, &examination.here);
    findings
}

/// Lets all look at themselves, at the same time.
fn open(examination: &Examination) -> Vec<Part<'_>> {
    let Examination { here, here_names, others, program } = examination;
    let (here_end, sessions) = thread::scope(|scope| {
        let start = |member: &Member| Session::open(here, &member.login, &member.mvpnet, &member.wanted);
        let threads: Vec<_> = others.iter().map(|member| scope.spawn(move || start(member))).collect();
        let here = Host::open(&System::here(), here.clone());
        let joined = threads.into_iter().map(|thread| thread.join().expect("sessions do not panic"));
        (here, joined.collect::<Vec<_>>())
    });
    let (host, opening) = here_end;
    let machine = host.readings().machine.clone();
    let label = opening.name.clone();
    let mut findings = opening.findings.clone();
    let mut parts = Vec::new();
    for (member, session) in others.iter().zip(sessions) {
        let (end, verdict) = match session {
            Ok((session, opening)) => {
                let verdict = same_program(&opening, member, program, &machine);
                (Some((End::There(session), opening)), Some(verdict))
            }
            Err(why) => (None, no_answer(&why, member, program, &machine)),
        };
        findings.extend(verdict.map(|verdict| verdict.found(PROGRAM.0, &label, Some(&member.login))));
        let own = end.as_ref().map(|(_, opening)| opening.findings.clone()).unwrap_or_default();
        let findings = own.into_iter().map(|found| Finding { host: member.login.clone(), ..found }).collect();
        let names = member.names.clone();
        parts.push(Part { label: member.login.clone(), wanted: &member.wanted, names, end, findings });
    }
    let names = here_names.iter().chain([&label]).cloned().collect();
    let here = Part { label, wanted: here, names, end: Some((End::Here(Box::new(host)), opening)), findings };
    parts.insert(0, here);
    parts
}

fn same_program(opening: &Opening, member: &Member, program: &Path, machine: &Machine) -> Verdict {
    let there = &opening.doctor;
    if there == VERSION {
        return Verdict::ok(format!("{} there is of this version, {VERSION}", member.mvpnet));
    }
    let seen = format!("{} there is of version {there}, this is {VERSION}", member.mvpnet);
    Verdict::warning(seen, Some(bring(member, program, machine)))
}

/// None: what is wrong is ssh, of which its own check tells.
fn no_answer(why: &SessionError, member: &Member, program: &Path, machine: &Machine) -> Option<Verdict> {
    match why {
        SessionError::Unreachable(_) => None,
        SessionError::NoProgram(_) | SessionError::Broken { .. } => {
            Some(Verdict::failure(why.to_string(), Some(bring(member, program, machine))))
        }
        SessionError::Late { .. } => {
            let look = format!("ssh {} {} doctor", quoted(&member.login), quoted(&member.mvpnet));
            Some(Verdict::failure(why.to_string(), Some(look)))
        }
    }
}

/// Whether the others have this host's MPI: one MPI's mpirun cannot start ranks of another's.
fn compare_mpis(parts: &mut [Part<'_>]) {
    let Some((here, others)) = parts.split_first_mut() else { return };
    let mpi = |part: &Part<'_>| part.end.as_ref()?.1.mpi.clone().filter(|_| part.wanted.mpi);
    let Some(own) = mpi(here) else { return };
    let Some((End::Here(host), _)) = &here.end else { return };
    let choose = host.readings().machine.as_root("update-alternatives --config mpirun");
    for part in others {
        let Some(theirs) = mpi(part) else { continue };
        let verdict = if own == theirs {
            Verdict::ok(format!("both have {own}"))
        } else {
            let command = format!("{choose}   # where both are installed");
            Verdict::warning(format!("{theirs} there, {own} here"), Some(command))
        };
        here.findings.push(verdict.found(SAME_MPI.0, &here.label, Some(&part.label)));
    }
}

/// How the program comes to a host.
fn bring(member: &Member, program: &std::path::Path, machine: &Machine) -> String {
    let (program, login) = (quoted(&program.display().to_string()), quoted(&member.login));
    let place = if member.mvpnet.contains('/') { member.mvpnet.as_str() } else { "/usr/local/bin/mvpnet" };
    let is_root = machine.is_root && !member.login.contains('@') || member.login.starts_with("root@");
    if is_root || member.mvpnet.contains('/') {
        return format!("scp {program} {login}:{}", quoted(place));
    }
    format!("scp {program} {login}:mvpnet && ssh -t {login} sudo install mvpnet {place}")
}

/// Whom a part is to probe. Of those that answer no probes a finding tells.
fn order(parts: &mut [Part<'_>], at: usize) -> Order {
    let Some((_, opening)) = &parts[at].end else { return Order { probe: Vec::new() } };
    let (name, label) = (opening.name.clone(), parts[at].label.clone());
    let mut probe = Vec::new();
    let mut unasked = Vec::new();
    for peer in parts[at].wanted.peers.iter().filter(|peer| peer.tunnel) {
        let theirs = parts.iter().find(|part| part.names.contains(&peer.name));
        match theirs.map(|part| &part.end) {
            // Not known or not asked, of which is told elsewhere.
            None | Some(None) => {}
            Some(Some((_, Opening { answers: Err(why), .. }))) => {
                let seen = format!("not probed: {why} on {}", peer.host());
                unasked.push(Verdict::warning(seen, None).found(PROBES[0].0, &label, Some(&peer.name)));
            }
            Some(Some(_)) => probe.push(peer.clone()),
        }
    }
    probe.extend(back(parts, at, &name));
    parts[at].findings.extend(unasked);
    Order { probe }
}

/// This host, for one that it probes and that does not know it as a peer: both ways are tried.
fn back(parts: &[Part<'_>], at: usize, name: &str) -> Option<Peer> {
    let (End::Here(here), Opening { answers: Ok(()), name: own, .. }) = parts.first()?.end.as_ref()? else {
        return None;
    };
    let knows_here =
        parts[at].wanted.peers.iter().any(|peer| parts[0].names.contains(&peer.name) || peer.name == *own);
    if at == 0 || knows_here || name == own {
        return None;
    }
    let to = parts[0].wanted.peers.iter().find(|peer| peer.tunnel && parts[at].names.contains(&peer.name))?;
    Some(Peer { name: own.clone(), address: Some(here.address_towards(to)?), tunnel: true, ssh: false })
}

impl Part<'_> {
    fn probe(&mut self, order: &Order) {
        if order.probe.is_empty() {
            return;
        }
        let found = match &mut self.end {
            None => return,
            Some((End::Here(host), _)) => Some(host.probe(order)),
            Some((End::There(session), _)) => {
                session.ask::<Closing>(order, PROBING).map(|closing| closing.probed)
            }
        };
        let lost = || {
            vec![Verdict::failure("gave no answer when it was to probe others", None).found(
                PROBES[0].0,
                &self.label,
                None,
            )]
        };
        let found = found.unwrap_or_else(lost);
        self.findings.extend(found.into_iter().map(|found| Finding { host: self.label.clone(), ..found }));
    }
}
