//! Scenarios as texts and back, what is said about wrong ones, and what comes of right ones.

mod errors;
mod results;

use std::time::Duration;

use mvpnet_switch::RankList;
use mvpnet_transports::link::{BitRate, ByteSize, Change, LinkModel, PRESETS, Pairs, Probability};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;

fn durations() -> impl Strategy<Value = Duration> {
    prop_oneof![(0u64..100).prop_map(Duration::from_secs), (1u64..99_999_999).prop_map(Duration::from_nanos)]
}

fn rank_lists() -> impl Strategy<Value = RankList> {
    vec(0u32..8, 1..4).prop_map(RankList::of)
}

fn models() -> impl Strategy<Value = LinkModel> {
    (select(PRESETS), 0u32..101, proptest::option::of(1u32..500), 0u64..9_000).prop_map(
        |((_, model), loss, rate, queue)| {
            let model = model.loss(Probability::percent(loss)).queue(ByteSize::new(queue));
            rate.map_or(model, |rate| model.rate(BitRate::mbps(rate)))
        },
    )
}

fn kinds() -> impl Strategy<Value = Kind> {
    prop_oneof![
        (1u64..9_999).prop_map(|ms| Kind::Ping { timeout: Duration::from_millis(ms) }),
        (0u64..99_999_999).prop_map(|bytes| Kind::Tcp { bytes: ByteSize::new(bytes) }),
        (28u32..1473).prop_map(|len| Kind::Udp { len }),
        (42u32..1515).prop_map(|len| Kind::Frames { len }),
        (42u32..1515).prop_map(|len| Kind::Broadcast { len }),
        Just(Kind::Boot),
    ]
}

prop_compose! {
    fn traffic()(
        kind in kinds(),
        from in prop_oneof![Just(Ranks::All), rank_lists().prop_map(Ranks::Only)],
        to in prop_oneof![Just(Targets::All), Just(Targets::Next), rank_lists().prop_map(Targets::Only)],
        start in durations(),
        count in 1u64..1_000_000,
        every in durations(),
    ) -> Traffic {
        let once = kind == Kind::Boot;
        Traffic {
            kind,
            from,
            to: if kind.has_targets() { to } else { Targets::All },
            start: if once { Duration::ZERO } else { start },
            count: if once { 1 } else { count },
            every: if once { Duration::ZERO } else { every },
        }
    }
}

fn changes() -> impl Strategy<Value = Change> {
    prop_oneof![
        (rank_lists(), models()).prop_map(|(ranks, model)| Change::Link(Pairs::At(ranks), model)),
        models().prop_map(|model| Change::Link(Pairs::All, model)),
        (rank_lists(), models()).prop_map(|(ranks, model)| Change::Access(ranks, model)),
        (0u32..4, 4u32..8)
            .prop_map(|(one, other)| Change::Partition(vec![RankList::of([one]), RankList::of([other])])),
        Just(Change::Heal),
        rank_lists().prop_map(Change::Crash),
        rank_lists().prop_map(Change::Restart),
        rank_lists().prop_map(Change::Pause),
        rank_lists().prop_map(Change::Resume),
    ]
}

prop_compose! {
    fn scenarios()(
        name in ".{0,12}",
        about in ".{0,40}",
        seed in proptest::option::of(any::<u64>()),
        ranks in 8u32..10_000,
        duration in durations(),
        mtu in 1500u32..9001,
        links in models(),
        traffic in vec(traffic(), 0..4),
        changes in vec((durations(), changes()), 0..4),
    ) -> Scenario {
        Scenario { name, about, seed, ranks, duration, mtu, links, traffic, changes }
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read_as_the_same(scenario in scenarios()) {
        // The text knows nothing of what may be: that is asked after it was read.
        let valid = scenario.check();
        match scenario.to_string().parse::<Scenario>() {
            Ok(read) => prop_assert_eq!(read, scenario),
            Err(error) => {
                prop_assert!(valid.is_err(), "{}\n{}", error, scenario);
                prop_assert_eq!(error.message, valid.unwrap_err().message);
            }
        }
    }

    #[test]
    fn no_text_is_too_strange(text in "(ranks|duration|traffic|at|kind|=|\\[\\[|\\]\\]|\n|\"|é|[ -~]){0,40}") {
        if let Err(error) = text.parse::<Scenario>() {
            prop_assert!(!error.suggestion.is_empty());
            let _ = error.to_string();
        }
    }
}

#[test]
fn a_scenario_is_short() {
    let scenario = Scenario {
        name: "a \"name\"".to_owned(),
        seed: Some(7),
        links: LinkModel::CLUSTER_10G.loss(Probability::percent(1)),
        traffic: vec![
            Traffic {
                count: 5,
                every: Duration::from_millis(100),
                ..Traffic::new(Kind::Ping { timeout: Kind::PING_TIMEOUT })
            },
            Traffic {
                to: Targets::Next,
                from: Ranks::Only(RankList::of([0, 2])),
                ..Traffic::new(Kind::Frames { len: 60 })
            },
        ],
        changes: vec![(Duration::from_secs(2), "partition 0,1 | 2,3".parse().unwrap())],
        ..Scenario::new(4, Duration::from_secs(10))
    };
    insta::assert_snapshot!(scenario.to_string());
}

#[test]
fn every_kind_has_its_name_and_its_keys() {
    for name in Kind::NAMES {
        let text = format!("ranks = 2\nduration = \"1s\"\n[[traffic]]\nkind = \"{name}\"\n");
        let text = match *name {
            "tcp" => text + "bytes = \"1B\"",
            "udp" | "frames" | "broadcast" => text + "len = 100",
            _ => text,
        };
        assert_eq!(text.parse::<Scenario>().unwrap().traffic[0].kind.name(), *name);
    }
}
