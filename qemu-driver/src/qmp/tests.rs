//! The client against a monitor that the tests play.

use tokio::io::{AsyncBufReadExt, BufReader};

use super::*;

const SOON: Duration = Duration::from_secs(10);
const GREETING: &str = r#"{"QMP": {"version": {}, "capabilities": ["oob"]}}"#;

/// qemu's end of a connection, played by the test.
struct Monitor(BufReader<UnixStream>);

impl Monitor {
    async fn says(&mut self, line: &str) {
        self.0.write_all(line.as_bytes()).await.unwrap();
        self.0.write_all(b"\r\n").await.unwrap();
    }

    async fn hears(&mut self) -> Value {
        let mut line = String::new();
        self.0.read_line(&mut line).await.unwrap();
        serde_json::from_str(&line).unwrap()
    }

    async fn negotiates(&mut self) {
        self.says(GREETING).await;
        let id = self.hears().await["id"].clone();
        self.says(&json!({ "return": {}, "id": id }).to_string()).await;
    }
}

fn connected() -> (Qmp, Monitor) {
    let (ours, theirs) = StdUnixStream::pair().unwrap();
    theirs.set_nonblocking(true).unwrap();
    (Qmp::start(ours).unwrap(), Monitor(BufReader::new(UnixStream::from_std(theirs).unwrap())))
}

#[tokio::test]
async fn commands_wait_for_negotiation_and_answers_find_their_command() {
    let (qmp, mut monitor) = connected();
    let first = tokio::spawn({
        let qmp = qmp.clone();
        async move { qmp.query_status().await }
    });
    monitor.negotiates().await;
    qmp.ready(SOON).await.unwrap();
    let asked = monitor.hears().await;
    assert_eq!(asked["execute"], "query-status");
    let second = tokio::spawn({
        let qmp = qmp.clone();
        async move { qmp.execute("x", json!({ "a": 1 })).await }
    });
    let also_asked = monitor.hears().await;
    assert_eq!(also_asked["arguments"]["a"], 1);
    monitor
        .says(&json!({ "error": { "class": "C", "desc": "no x" }, "id": also_asked["id"] }).to_string())
        .await;
    monitor.says(&json!({ "return": { "status": "running" }, "id": asked["id"] }).to_string()).await;
    assert_eq!(second.await.unwrap().unwrap_err().to_string(), "qemu refused `x`: no x");
    assert_eq!(first.await.unwrap().unwrap(), "running");
}

#[tokio::test]
async fn events_reach_subscribers_and_the_shutdown_cause_is_kept() {
    let (qmp, mut monitor) = connected();
    let mut events = qmp.events();
    monitor.negotiates().await;
    monitor.says(r#"{"event": "POWERDOWN", "timestamp": {}}"#).await;
    monitor.says(r#"{"event": "SHUTDOWN", "data": {"guest": true, "reason": "guest-shutdown"}}"#).await;
    assert_eq!(events.recv().await.unwrap().name, "POWERDOWN");
    assert_eq!(events.recv().await.unwrap().data["reason"], "guest-shutdown");
    assert_eq!(qmp.state().shutdown, Some(ShutdownCause::Guest));
    drop(monitor);
    qmp.closed().await;
    assert!(matches!(qmp.system_powerdown().await, Err(QmpError::Closed)));
    assert!(matches!(qmp.ready(SOON).await, Err(QmpError::Closed)));
}

#[tokio::test]
async fn garbage_is_skipped() {
    let (qmp, mut monitor) = connected();
    for line in ["", "}{", "[]", "null", "{\"return\": {}, \"id\": 77}", "{\"event\": 3}", "\u{fffd}\0"] {
        monitor.says(line).await;
    }
    monitor.0.write_all(&[0xff, 0xfe, b'\n']).await.unwrap();
    monitor.negotiates().await;
    qmp.ready(SOON).await.unwrap();
}

#[tokio::test]
async fn a_line_without_end_closes_the_connection() {
    let (qmp, mut monitor) = connected();
    let endless = vec![b'x'; 2 * MAX_LINE];
    let _ = monitor.0.write_all(&endless).await;
    qmp.closed().await;
}

#[tokio::test(start_paused = true)]
async fn silence_is_an_error_after_a_time() {
    let (qmp, _monitor) = connected();
    let error = qmp.ready(Duration::from_secs(2)).await.unwrap_err().to_string();
    assert_eq!(error, "qemu's monitor did not answer `qmp_capabilities` within 2 s");
    assert!(matches!(qmp.quit().await, Err(QmpError::Silent { .. })));
}
