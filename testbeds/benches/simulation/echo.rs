//! The same echo over TCP on this simulation and on turmoil: messages per second of real time.

mod on_mvpnet;
mod on_turmoil;

use mvpnet_testbeds::bench::table::{Row, Table, Target};

use super::seconds;

/// Clients, each with a connection of its own to the one server.
const CLIENTS: u32 = 8;
/// Messages that each client sends, one after the answer to the other.
const MESSAGES: u32 = 5_000;
const MESSAGE_LEN: usize = 64;

type Error = Box<dyn std::error::Error>;

/// Runs the workload once.
type Run = fn() -> Result<(), Error>;

pub(super) fn measure(repetitions: usize) -> Result<Table, Error> {
    let mut table = Table::new(
        "simulation-echo",
        format!("Echo of {MESSAGE_LEN} bytes over TCP, {CLIENTS} clients: messages per second of real time"),
        "messages/s",
        &["lines of test", "/turmoil"],
    );
    let contestants: [(&str, Run, &str); 2] = [
        ("turmoil", on_turmoil::run, include_str!("echo/on_turmoil.rs")),
        ("mvpnet sim", on_mvpnet::run, include_str!("echo/on_mvpnet.rs")),
    ];
    let mut rates = [const { Vec::new() }; 2];
    for _ in 0..repetitions {
        for (rates, (_, run, _)) in rates.iter_mut().zip(&contestants) {
            let (took, ()) = seconds(run)?;
            rates.push(f64::from(CLIENTS * MESSAGES) / took);
        }
    }
    let mut of_turmoil = None;
    for (rates, (name, _, source)) in rates.into_iter().zip(contestants) {
        let mut row = Row::new("echo", name, rates);
        let median = row.median.unwrap_or(f64::NAN);
        let ratio = median / *of_turmoil.get_or_insert(median);
        row.notes = vec![lines(source).to_string(), format!("{ratio:.2}")];
        if name != "turmoil" {
            row.judged = Some(ratio);
            row.target = Some(Target::AtLeast(1.0));
        }
        table.rows.push(row);
    }
    Ok(table)
}

/// Lines of code, without comments and blank lines.
fn lines(source: &str) -> usize {
    source.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("//")).count()
}
