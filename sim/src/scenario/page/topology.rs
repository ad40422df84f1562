//! Who sends to whom: ranks in a circle, and a line for each two of them that talk.

use std::collections::BTreeMap;
use std::f64::consts::TAU;

use mvpnet_switch::World;

use super::{COLOURS, escaped};
use crate::scenario::{Kind, Scenario, Traffic};

/// With more ranks than these, a drawing of them all shows nothing.
const MOST_DRAWN: u32 = 64;
/// Dots that stand for more ranks.
const DOTS: u32 = 48;

const SIZE: f64 = 440.0;
const RADIUS: f64 = 180.0;

/// The drawing, with its key.
pub(super) fn draw(scenario: &Scenario) -> String {
    let Ok(world) = World::new(scenario.ranks) else { return String::new() };
    let drawing = if scenario.ranks <= MOST_DRAWN { all(scenario, world) } else { summary(scenario) };
    let key = scenario.traffic.iter().map(key).collect::<Vec<_>>().join("<br>\n");
    let links = escaped(&scenario.links.to_string());
    format!(
        "<svg viewBox=\"0 0 {SIZE} {SIZE}\" style=\"max-width:28rem\" role=\"img\">\n{drawing}</svg>\n\
         <p>{key}</p>\n<p class=\"quiet\">All links: {links}</p>"
    )
}

fn colour(kind: &Kind) -> &'static str {
    let place = Kind::NAMES.iter().position(|name| *name == kind.name());
    COLOURS[place.unwrap_or(0) % COLOURS.len()]
}

/// One line of traffic in words.
fn key(traffic: &Traffic) -> String {
    let to = if traffic.kind.has_targets() { format!(" → {}", traffic.to) } else { String::new() };
    let (kind, from) = (traffic.kind.name(), &traffic.from);
    let times = if traffic.count == 1 { String::new() } else { format!(", {} times", traffic.count) };
    format!(
        "<span class=\"key\" style=\"background:{}\"></span>{kind} {from}{to}{times}",
        colour(&traffic.kind)
    )
}

fn place(rank: u32, ranks: u32, radius: f64) -> (f64, f64) {
    let angle = TAU * f64::from(rank) / f64::from(ranks) - TAU / 4.0;
    (SIZE / 2.0 + radius * angle.cos(), SIZE / 2.0 + radius * angle.sin())
}

/// Two ranks that talk, the lower first, and by what.
fn pairs(scenario: &Scenario, world: World) -> BTreeMap<(u32, u32), &'static str> {
    let mut pairs = BTreeMap::new();
    for traffic in scenario.traffic.iter().filter(|traffic| !matches!(traffic.kind, Kind::Boot)) {
        for from in traffic.from.of(world) {
            for to in traffic.to.of(from, world) {
                pairs.entry((from.min(to), from.max(to))).or_insert(colour(&traffic.kind));
            }
        }
    }
    pairs
}

fn all(scenario: &Scenario, world: World) -> String {
    let ranks = scenario.ranks;
    let pairs = pairs(scenario, world);
    // Many lines are each drawn fainter.
    let opacity = (30.0 / (pairs.len().max(1) as f64)).clamp(0.06, 0.8);
    let mut svg = String::new();
    for ((one, other), colour) in &pairs {
        let ((x1, y1), (x2, y2)) = (place(*one, ranks, RADIUS), place(*other, ranks, RADIUS));
        svg += &format!(
            "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" stroke=\"{colour}\" \
             stroke-width=\"1.5\" opacity=\"{opacity:.2}\"/>\n"
        );
    }
    for rank in 0..ranks {
        let ((x, y), (text_x, text_y)) = (place(rank, ranks, RADIUS), place(rank, ranks, RADIUS + 16.0));
        svg += &format!(
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"5\" fill=\"currentColor\"/>\
             <text x=\"{text_x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{rank}</text>\n",
            text_y + 4.0
        );
    }
    svg
}

fn summary(scenario: &Scenario) -> String {
    let mut svg = String::new();
    for dot in 0..DOTS {
        let ((x, y), centre) = (place(dot, DOTS, RADIUS), SIZE / 2.0);
        svg += &format!(
            "<line x1=\"{x:.1}\" y1=\"{y:.1}\" x2=\"{centre:.1}\" y2=\"{centre:.1}\" class=\"grid\"/>\
             <circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\" fill=\"currentColor\"/>\n"
        );
    }
    let centre = SIZE / 2.0;
    svg += &format!(
        "<circle cx=\"{centre:.1}\" cy=\"{centre:.1}\" r=\"56\" fill=\"{}\"/>\
         <text x=\"{centre:.1}\" y=\"{:.1}\" text-anchor=\"middle\" style=\"fill:#fff;font-size:15px\">{} ranks</text>\n",
        COLOURS[0],
        centre + 5.0,
        scenario.ranks
    );
    svg
}
