//! A row of a result, as `--json` has it.

use serde_json::Value;

/// What came of one line of traffic.
#[derive(Debug)]
pub struct Row {
    pub sent: u64,
    pub expected: u64,
    pub received: u64,
    pub lost: u64,
    pub failed: u64,
    pub open: u64,
    pub damaged: u64,
    pub bytes: u64,
    pub min_ns: u64,
    pub max_ns: u64,
}

impl Row {
    pub fn of(json: &Value) -> Row {
        let number = |key: &str| json[key].as_u64().unwrap_or_else(|| panic!("{key} of {json}"));
        let time = |key: &str| json["times"][key].as_u64().unwrap_or_else(|| panic!("{key} of {json}"));
        Row {
            sent: number("sent"),
            expected: number("expected"),
            received: number("received"),
            lost: number("lost"),
            failed: number("failed"),
            open: number("open"),
            damaged: number("damaged"),
            bytes: number("bytes"),
            min_ns: time("min_ns"),
            max_ns: time("max_ns"),
        }
    }

    /// All of so many were sent and arrived.
    pub fn check_all_received(&self, count: u64) {
        assert_eq!((self.sent, self.received), (count, count), "{self:?}");
        assert_eq!(self.lost + self.failed + self.open + self.damaged, 0, "{self:?}");
    }
}

pub fn milliseconds(milliseconds: u64) -> u64 {
    milliseconds * 1_000_000
}

pub fn seconds(seconds: u64) -> u64 {
    milliseconds(seconds * 1000)
}
