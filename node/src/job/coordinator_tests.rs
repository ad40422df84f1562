//! A job's course, told by what the ranks report.

use super::*;

fn hello(host: &str) -> Report {
    Report::Hello { host: host.into(), problem: None, takes: Offloads::ALL }
}

fn bad_hello(text: &str, usage: bool) -> Report {
    let problem = Some(Problem { text: text.into(), usage, of_job: false });
    Report::Hello { host: "h0".into(), problem, takes: Offloads::ALL }
}

fn ready() -> Report {
    Report::Phase(Phase::Ready { ssh_port: 2200 })
}

fn orders(actions: &[Action]) -> Vec<Order> {
    actions
        .iter()
        .filter_map(|a| if let Action::Order(order) = a { Some(order.clone()) } else { None })
        .collect()
}

fn running(world: u32, has_application: bool) -> Coordinator {
    let mut job = Coordinator::new(world, has_application);
    for rank in 0..world {
        job.report(rank, hello("h0"));
    }
    for rank in 0..world {
        job.report(rank, ready());
    }
    job
}

fn all_done(job: &mut Coordinator, world: u32) -> Vec<Action> {
    (0..world).flat_map(|rank| job.report(rank, Report::Done { counters: Vec::new() })).collect()
}

#[test]
fn guests_start_when_every_rank_is_there_and_the_fullest_host_is_counted() {
    let mut job = Coordinator::new(3, false);
    assert_eq!(job.report(0, hello("h0")), vec![]);
    assert_eq!(job.report(2, hello("h1")), vec![]);
    let actions = job.report(1, hello("h1"));
    assert_eq!(
        orders(&actions),
        vec![Order::Start { fullest_host_ranks: 2, briefing: None, offloads: Offloads::ALL }]
    );
}

#[test]
fn a_problem_of_all_ranks_is_explained_once_and_no_guest_starts() {
    let mut job = Coordinator::new(2, true);
    job.report(0, bad_hello("no such image", true));
    let actions = job.report(1, bad_hello("no such image", true));
    let problem = Problem { text: "no such image".into(), usage: true, of_job: false };
    assert_eq!(actions[0], Action::Explain { ranks: vec![0, 1], problem });
    assert_eq!(orders(&actions), vec![Order::Finish { exit_code: 2 }]);
}

#[test]
fn a_problem_of_one_rank_names_it() {
    let mut job = Coordinator::new(2, true);
    job.report(0, hello("h0"));
    let actions = job.report(1, bad_hello("no room", false));
    assert!(matches!(&actions[0], Action::Explain { ranks, .. } if ranks == &vec![1]));
    assert_eq!(orders(&actions), vec![Order::Finish { exit_code: 1 }]);
}

#[test]
fn the_application_starts_when_all_are_ready_and_its_code_is_the_jobs() {
    let mut job = Coordinator::new(2, true);
    job.report(0, hello("h0"));
    job.report(1, hello("h0"));
    assert!(!job.report(1, ready()).contains(&Action::StartApplication));
    assert!(job.report(0, ready()).contains(&Action::StartApplication));
    let actions = job.application_over(7);
    assert!(matches!(orders(&actions)[0], Order::Shutdown { hurry: false, .. }));
    assert_eq!(orders(&all_done(&mut job, 2)), vec![Order::Finish { exit_code: 7 }]);
}

#[test]
fn a_guest_that_does_not_come_up_ends_the_job_with_one() {
    let mut job = Coordinator::new(2, true);
    job.report(0, hello("h0"));
    job.report(1, hello("h0"));
    job.report(0, ready());
    let failure = Failure { why: "no banner in 90 s".into(), console: vec!["panic".into()] };
    let actions = job.report(1, Report::Failed(failure.clone()));
    assert_eq!(actions[0], Action::Lament { rank: 1, failure });
    assert!(matches!(orders(&actions)[0], Order::Shutdown { .. }));
    assert_eq!(orders(&all_done(&mut job, 2)), vec![Order::Finish { exit_code: 1 }]);
}

#[test]
fn the_job_ends_when_the_last_guest_is_off() {
    let mut job = running(2, false);
    assert_eq!(orders(&job.report(0, Report::Phase(Phase::Off))), vec![]);
    let actions = job.report(1, Report::Phase(Phase::Off));
    assert!(matches!(orders(&actions)[0], Order::Shutdown { .. }));
    assert_eq!(orders(&all_done(&mut job, 2)), vec![Order::Finish { exit_code: 0 }]);
}

#[test]
fn an_application_that_the_job_ended_is_waited_for() {
    let mut job = running(1, true);
    let actions = job.report(0, Report::ShutdownWanted { by: "SIGTERM".into(), hurry: false });
    assert!(actions.contains(&Action::StopApplication { hurry: false }));
    assert_eq!(all_done(&mut job, 1), vec![]);
    assert_eq!(orders(&job.application_over(143)), vec![Order::Finish { exit_code: 143 }]);
}

#[test]
fn only_a_more_urgent_request_is_passed_on_again() {
    let mut job = running(1, false);
    let wanted = |hurry| Report::ShutdownWanted { by: "SIGINT".into(), hurry };
    assert_eq!(orders(&job.report(0, wanted(false))).len(), 1);
    assert_eq!(orders(&job.report(0, wanted(false))).len(), 0);
    assert_eq!(orders(&job.report(0, wanted(true))).len(), 1);
    assert_eq!(orders(&job.report(0, wanted(true))).len(), 0);
}

#[test]
fn the_first_cause_gives_the_code() {
    let mut job = running(2, true);
    job.application_over(0);
    let failure = Failure { why: "killed".into(), console: Vec::new() };
    job.report(1, Report::Failed(failure));
    assert_eq!(orders(&all_done(&mut job, 2)), vec![Order::Finish { exit_code: 0 }]);
}

#[test]
fn a_report_from_outside_the_world_is_ignored() {
    assert_eq!(Coordinator::new(1, false).report(1, ready()), vec![]);
}

#[test]
fn guests_may_leave_to_others_what_every_rank_takes() {
    let mut job = Coordinator::new(3, false);
    let takes = |checksum, segmentation| Report::Hello {
        host: "h0".into(),
        problem: None,
        takes: Offloads { checksum, segmentation },
    };
    job.report(0, takes(true, true));
    job.report(1, takes(true, false));
    let actions = job.report(2, takes(true, true));
    let offloads = orders(&actions).into_iter().find_map(|order| match order {
        Order::Start { offloads, .. } => Some(offloads),
        _ => None,
    });
    assert_eq!(offloads, Some(Offloads { checksum: true, segmentation: false }));
}
