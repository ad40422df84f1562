//! Frames per second of real time through the switches, between guests that do next to nothing.

use std::rc::Rc;
use std::time::Duration;

use mvpnet_sim::{Failure, Guest, LinkModel, Port, Sim};
use mvpnet_testbeds::bench::table::{Row, Table, Target};

use super::seconds;

/// How many frames a measurement is to see.
const FRAMES: u64 = 2_000_000;
/// Frames on their way from each rank at any time.
const WINDOW: usize = 4;
const MOST: u32 = 10_000;
const FRAME_LEN: usize = 60;
const LATENCY: Duration = Duration::from_micros(10);

/// Sends a frame to its neighbour for each frame that comes.
struct Relay {
    frame: Option<Rc<[u8]>>,
}

impl Guest for Relay {
    fn start(&mut self, port: &mut Port<'_>) {
        let world = port.world();
        let next = world.rank((port.rank().index() + 1) % world.size()).expect("taken modulo the size");
        let mut frame = [next.mac().octets(), port.rank().mac().octets()].concat();
        frame.extend([0x88, 0xb5]);
        frame.resize(FRAME_LEN, 0);
        let frame: Rc<[u8]> = frame.into();
        (0..WINDOW).for_each(|_| port.send_shared(frame.clone()));
        self.frame = Some(frame);
    }

    fn receive(&mut self, port: &mut Port<'_>, _: &[u8]) {
        port.send_shared(self.frame.clone().expect("it has started"));
    }
}

pub(super) fn measure(repetitions: usize) -> Result<Table, Failure> {
    let mut table = Table::new(
        "simulation",
        "Simulation: frames per second of real time, one core",
        "frames/s",
        &["ns/frame", "/10 ranks"],
    );
    let mut cost_of_ten = None;
    for ranks in [2, 10, 100, 1_000, MOST] {
        let rates = (0..repetitions).map(|_| rate(ranks)).collect::<Result<Vec<_>, _>>()?;
        let mut row = Row::new(format!("{ranks} ranks"), "mvpnet sim", rates);
        let cost = 1e9 / row.median.unwrap_or(f64::NAN);
        if ranks == 10 {
            cost_of_ten = Some(cost);
        }
        let ratio = cost_of_ten.map(|ten| format!("{:.2}", cost / ten)).unwrap_or_default();
        row.notes = vec![format!("{cost:.0}"), ratio];
        row.judge_value(Target::AtLeast(1e6));
        table.rows.push(row);
        if ranks == MOST {
            let mut row = Row::new("cost of a frame over that of 10", "mvpnet sim", Vec::new());
            row.judged = cost_of_ten.map(|ten| cost / ten);
            row.target = Some(Target::AtMost(2.0));
            table.rows.push(row);
        }
    }
    Ok(table)
}

fn rate(ranks: u32) -> Result<f64, Failure> {
    let mut sim = Sim::new(1, ranks).links(LinkModel::IDEAL.latency(LATENCY));
    for rank in 0..ranks {
        sim.guest(rank, || Relay { frame: None });
    }
    let rounds = FRAMES / (u64::from(ranks) * WINDOW as u64);
    sim.run_for(LATENCY)?; // everything is warm
    let before = sim.traffic().received.frames;
    let (took, ()) = seconds(|| sim.run_for(LATENCY * u32::try_from(rounds).unwrap_or(u32::MAX)))?;
    Ok((sim.traffic().received.frames - before) as f64 / took)
}
