//! The conformance suite over `mpi`, run by every rank of an MPI job: `mpirun -n 3 mpi-conformance
//! [shm|auto|datagram|none]`.
//!
//! With `shm`, ranks of one host share memory; the other arguments say how ranks that send everything through MPI wake
//! each other; `deserted` and `killed` are about ranks that end in between. `tests/mpi.rs` starts it under every MPI that there is.

mod killed;

use std::process::ExitCode;
use std::time::Duration;

use mvpnet_transports::conformance::{self, Expectations, Rings};
use mvpnet_transports::mpi::{Bells, MpiConfig, MpiTransport, leftovers};
use mvpnet_transports::{FlowLimits, RecordKind, Transport};

/// How long the ranks may take to meet at the end.
const DRAIN: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    let way = std::env::args().nth(1);
    let shm = matches!(way.as_deref(), None | Some("shm" | "deserted" | "killed"));
    let bells = match way.as_deref() {
        None | Some("shm" | "auto" | "deserted" | "deserted-messages" | "killed") => Bells::Auto,
        Some("datagram") => Bells::Datagram,
        Some("none") => Bells::None,
        Some(other) => {
            eprintln!("mpi-conformance: unknown way to wake: {other}");
            return ExitCode::from(2);
        }
    };
    let mut transport = match MpiTransport::init(MpiConfig { bells, shm, ..MpiConfig::default() }) {
        Ok(transport) => transport,
        Err(error) => {
            eprintln!("mpi-conformance: {error}");
            return ExitCode::FAILURE;
        }
    };
    if way.as_deref() == Some("killed") {
        let micros = std::env::args().nth(2).and_then(|text| text.parse().ok()).unwrap_or(1000);
        let directory = std::env::args_os().nth(3).unwrap_or_else(|| ".".into());
        return killed::killed(transport, Duration::from_micros(micros), directory.as_ref());
    }
    if way.is_some_and(|way| way.starts_with("deserted")) {
        return deserted(transport);
    }
    let (rank, size) = (transport.me().index(), transport.world().size());
    let library = transport.library().lines().next().unwrap_or_default().to_owned();
    let all_near = transport.neighbours().len() == size as usize;
    let rings = match bells {
        Bells::Auto if all_near && shm => Rings::Surely,
        Bells::Auto if all_near => Rings::Mostly,
        _ => Rings::Perhaps,
    };
    let expectations = Expectations::new(FlowLimits::MESSAGES, rings);
    let result = conformance::run(&mut transport, &expectations, |name| {
        if rank == 0 {
            println!("{size} ranks: {name}");
        }
    });
    if rank == 0 && result.is_ok() {
        println!("{size} ranks conform over {library}; {:?}", transport.stats());
    }
    let leftovers = leftovers();
    // Where MPI hangs in its end, the process ends there, with this code.
    let report = transport.close(DRAIN, i32::from(result.is_err()));
    if let Err(failure) = result {
        eprintln!("mpi-conformance: {failure}");
        return ExitCode::FAILURE;
    }
    if !report.all_met || report.undelivered_bytes > 0 || report.unread_batches > 0 || report.error.is_some()
    {
        eprintln!("mpi-conformance: rank {rank}: {report:?}");
        return ExitCode::FAILURE;
    }
    if let Some(left) = leftovers.files.iter().find(|path| path.exists()) {
        eprintln!("mpi-conformance: rank {rank}: {} is left after MPI's end", left.display());
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// The last rank ends without closing. The others go on sending to it, and close.
fn deserted(mut transport: MpiTransport) -> ExitCode {
    let (me, size) = (transport.me(), transport.world().size());
    let Ok(last) = transport.world().rank(size - 1) else { return ExitCode::FAILURE };
    if me == last {
        std::process::exit(0);
    }
    let mut refused = 0;
    while refused < 100 {
        let sent = transport.send(last, RecordKind::Unicast, me, &[0; 1514]);
        // Full for good, or gone: both are right.
        refused += u32::from(sent.is_err());
        if let Err(error) = transport.progress() {
            println!("rank {me}: {error}");
        }
    }
    let report = transport.close(Duration::from_secs(1), 0);
    println!("rank {me}: {report:?}");
    ExitCode::SUCCESS
}
