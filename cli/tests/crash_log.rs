//! The log of a whole process. One test only: a process can start its log once.

use mvpnet_cli::logs::{self, Level, LogFilter, RankLog};

#[test]
fn a_panic_of_any_thread_leaves_the_last_lines_of_every_rank() {
    let dir = tempfile::tempdir().unwrap();
    let log = |rank| RankLog {
        rank,
        job: None,
        dir: dir.path().join("logs"),
        to_file: rank == 1,
        level: Level::Err,
        filter: LogFilter::default(),
        buffer_bytes: 4096,
    };
    let guard = logs::start(&[log(0), log(1)], Level::Off).unwrap();
    assert!(logs::start(&[log(2)], Level::Off).is_err(), "a second start");

    let rank_1 = std::thread::spawn(|| {
        tracing::info_span!("rank", rank = 1).in_scope(|| {
            tracing::debug!("what led to it");
            panic!("on purpose");
        });
    });
    tracing::debug!("what another rank did");
    assert!(rank_1.join().is_err());
    // Its memory may have been empty when the other thread panicked.
    let _ = guard.crash(Some(0), "the test ends");

    let read = |name: &str| std::fs::read_to_string(dir.path().join("logs").join(name)).unwrap();
    let of_1 = read("mvpnet.1.log");
    assert!(of_1.contains("panicked at") && of_1.contains("\n\ton purpose\n"), "{of_1}");
    assert!(of_1.contains(" DBG   rank 1 crash_log: what led to it\n"), "{of_1}");
    assert!(read("mvpnet.0.crash.log").contains(" DBG   rank 0 crash_log: what another rank did\n"));
    assert!(!dir.path().join("logs/mvpnet.1.crash.log").exists());
}
