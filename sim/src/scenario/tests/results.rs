//! What comes of scenarios that are short enough to know it in advance.

use super::*;

fn report(text: &str) -> Report {
    let scenario: Scenario = text.parse().unwrap_or_else(|error| panic!("{error}"));
    scenario.run(1).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn pings_are_answered_after_twice_the_latency() {
    let report = report(
        "ranks = 3\nduration = \"10s\"\nlinks = \"latency=5ms\"\n[[traffic]]\nkind = \"ping\"\nto = \"next\"\ncount = 5\nevery = \"1s\"",
    );
    let row = &report.rows[0];
    assert_eq!((row.sent, row.received, row.lost, row.open), (15, 15, 0, 0));
    let ten = Duration::from_millis(10);
    assert_eq!(row.times, Some(Times { min: ten, avg: ten, max: ten }));
    assert_eq!(report.simulated, Duration::from_secs(10));
}

#[test]
fn pings_into_a_partition_are_lost() {
    let report = report(
        "ranks = 2\nduration = \"10s\"\n[[traffic]]\nkind = \"ping\"\nfrom = 0\nto = 1\ncount = 10\nevery = \"1s\"\n\
         [[at]]\ntime = \"2500ms\"\nchange = \"partition 0 | 1\"\n[[at]]\ntime = \"5500ms\"\nchange = \"heal\"",
    );
    let row = &report.rows[0];
    assert_eq!((row.sent, row.received, row.lost), (10, 7, 3), "{report}");
    assert_eq!(report.drops.get("partition"), Some(&3));
}

#[test]
fn a_transfer_is_intact_or_fails_and_says_so() {
    let transfer = "ranks = 2\nduration = \"100s\"\nlinks = \"latency=1ms loss=1%\"\n[[traffic]]\nkind = \"tcp\"\n\
                    from = 0\nto = 1\nbytes = \"100KiB\"\ncount = 3\n";
    let row = &report(transfer).rows[0];
    assert_eq!((row.sent, row.received, row.failed, row.damaged), (3, 3, 0, 0));
    assert_eq!(row.bytes, 3 * 100 * 1024);
    let crash = format!("{transfer}[[at]]\ntime = \"5ms\"\nchange = \"crash 1\"");
    let row = &report(&crash).rows[0];
    assert_eq!((row.sent, row.received, row.failed, row.open), (3, 0, 3, 0));
}

#[test]
fn many_may_connect_at_once() {
    let row = &report(
        "ranks = 33\nduration = \"60s\"\nlinks = \"cluster-10g\"\n[[traffic]]\nkind = \"tcp\"\nfrom = \"1-\"\nto = 0\nbytes = \"10KiB\"",
    ).rows[0];
    assert_eq!((row.sent, row.received), (32, 32), "{row:?}");
}

#[test]
fn datagrams_and_frames_are_told_apart_and_counted_once() {
    let report = report(
        "ranks = 3\nduration = \"1s\"\nlinks = \"latency=1ms duplicate=100%\"\n\
         [[traffic]]\nkind = \"udp\"\nfrom = 0\nto = \"1,2\"\nlen = 200\ncount = 10\nevery = \"1ms\"\n\
         [[traffic]]\nkind = \"frames\"\nfrom = 0\nto = \"1,2\"\nlen = 1000\ncount = 10\n\
         [[traffic]]\nkind = \"broadcast\"\nfrom = \"0,1\"\nlen = 60\ncount = 10\n",
    );
    let numbers: Vec<_> = report
        .rows
        .iter()
        .map(|row| (row.sent, row.expected, row.received, row.duplicates, row.lost))
        .collect();
    assert_eq!(numbers, [(20, 20, 20, 20, 0), (20, 20, 20, 20, 0), (20, 40, 40, 40, 0)], "{report}");
    assert_eq!(report.rows[1].bytes, 20_000);
}

#[test]
fn flipped_bits_are_found() {
    let report = report(
        "ranks = 2\nduration = \"1s\"\nlinks = \"corrupt=100%\"\n\
         [[traffic]]\nkind = \"frames\"\nfrom = 0\nto = 1\nlen = 1514\ncount = 100\n",
    );
    let row = &report.rows[0];
    assert_eq!(report.corrupted, 100);
    // The rest was hit in the header or the stamp: nobody can tell whose it was.
    assert!(row.received == 0 && row.damaged > 90 && row.damaged + row.lost == 100, "{report}");
}

#[test]
fn a_rank_that_restarts_goes_on_where_it_would_be() {
    let report = report(
        "ranks = 2\nduration = \"10s\"\n\
         [[traffic]]\nkind = \"ping\"\nfrom = 0\nto = 1\ncount = 10\nevery = \"1s\"\n\
         [[traffic]]\nkind = \"frames\"\nfrom = 0\nto = 1\nlen = 60\ncount = 10\nevery = \"1s\"\n\
         [[traffic]]\nkind = \"boot\"\n\
         [[at]]\ntime = \"2500ms\"\nchange = \"crash 0\"\n[[at]]\ntime = \"5500ms\"\nchange = \"restart 0\"",
    );
    for row in &report.rows[..2] {
        assert_eq!((row.sent, row.received), (7, 7), "{report}");
    }
    assert_eq!((report.rows[2].sent, report.rows[2].received), (2, 2));
}

#[test]
fn what_is_under_way_at_the_end_is_open() {
    let text = "ranks = 2\nduration = \"1s\"\nlinks = \"latency=600ms\"\n[[traffic]]\nkind = \"ping\"\nfrom = 0\nto = 1\ntimeout = \"5s\"";
    let row = &report(text).rows[0];
    assert_eq!((row.sent, row.received, row.lost, row.open), (1, 0, 0, 1));
}

#[test]
fn the_table_shows_what_there_is() {
    let report = report(
        "name = \"both\"\nranks = 2\nduration = \"10s\"\nlinks = \"latency=1ms rate=8Mbit/s\"\n\
         [[traffic]]\nkind = \"ping\"\nfrom = 0\nto = 1\ncount = 10\n\
         [[traffic]]\nkind = \"tcp\"\nfrom = 1\nto = 0\nbytes = \"1MiB\"\n\
         [[at]]\ntime = \"9s\"\nchange = \"heal\"",
    );
    insta::assert_snapshot!(report.to_string());
    insta::assert_snapshot!("json", report.to_json());
}

#[test]
fn the_same_seed_gives_the_same_report_and_another_another() {
    let scenario: Scenario =
        "ranks = 4\nduration = \"2s\"\nlinks = \"lossy-wan\"\n[[traffic]]\nkind = \"ping\"\ncount = 10"
            .parse()
            .unwrap();
    let json = |seed| scenario.run(seed).unwrap().to_json();
    assert_eq!(json(3), json(3));
    assert_ne!(json(3), json(4));
}

#[test]
fn the_page_needs_nothing_but_itself() {
    let scenario: Scenario =
        "name = \"<b>\"\nabout = \"R&D\"\nranks = 4\nduration = \"2s\"\nlinks = \"loss=5%\"\n\
                              [[traffic]]\nkind = \"ping\"\ncount = 20\nevery = \"50ms\"\n\
                              [[at]]\ntime = \"1s\"\nchange = \"partition 0,1 | 2,3\""
            .parse()
            .unwrap();
    let page = || {
        let mut run = scenario.prepare(1).unwrap();
        run.keep_history();
        run.run().unwrap().to_html(&scenario)
    };
    let html = page();
    assert_eq!(html, page());
    for part in ["&lt;b&gt;", "R&amp;D", "all<", "link-loss", "1 partition 0,1 | 2,3", "<td>240</td>"] {
        assert!(html.contains(part), "{part} is not in {html}");
    }
    for outside in ["http", "<script", "<link", "src=", "NaN", "inf"] {
        assert!(!html.contains(outside), "{outside} is in {html}");
    }
    for tag in ["svg", "section", "p", "g", "ol", "table"] {
        assert_eq!(
            html.matches(&format!("<{tag}>")).count() + html.matches(&format!("<{tag} ")).count(),
            html.matches(&format!("</{tag}>")).count(),
            "{tag}"
        );
    }
}
