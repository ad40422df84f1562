//! A report as one HTML page: drawings in SVG, nothing to load, no script. The same report gives the same bytes.

mod chart;
mod topology;

use std::fmt::Write as _;
use std::time::Duration;

use mvpnet_transports::link::format_duration;

use super::{Report, Scenario};
use crate::books::History;

/// Colours that are told apart on white and on black, also by the colour-blind (Okabe and Ito).
const COLOURS: [&str; 8] =
    ["#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9", "#999999", "#b8a800"];

const STYLE: &str = "\
:root{color-scheme:light dark}\
body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}\
h1{font-size:1.5rem;margin-bottom:0}h2{font-size:1.1rem;margin-top:2rem}\
table{border-collapse:collapse;font-variant-numeric:tabular-nums}\
th,td{padding:.15rem .7rem;border-bottom:1px solid #8884;text-align:right}\
th.text,td.text{text-align:left}\
svg{width:100%;height:auto}svg text{font:11px system-ui,sans-serif;fill:currentColor}\
.axis,.grid{stroke:currentColor;stroke-width:1}.grid{opacity:.15}\
.mark{stroke:currentColor;stroke-dasharray:3 3;opacity:.6}\
.key{display:inline-block;width:.8em;height:.8em;margin:0 .3em 0 1em}\
ol{columns:2}footer,.quiet{opacity:.7}pre{overflow-x:auto}";

impl Report {
    /// A page that shows who talks to whom, what arrives when, what is dropped when, and the results. It wants a
    /// history; see [`Run::keep_history`](super::Run::keep_history).
    pub fn to_html(&self, scenario: &Scenario) -> String {
        let name = if self.scenario.is_empty() { "scenario" } else { &self.scenario };
        let mut page = String::new();
        page += "<!DOCTYPE html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n";
        page += "<meta name=\"viewport\" content=\"width=device-width\">\n";
        page += &format!("<title>{}</title>\n<style>{STYLE}</style>\n", escaped(name));
        page += &format!("<h1>{}</h1>\n", escaped(name));
        let (ranks, seed, time) = (self.ranks, self.seed, format_duration(self.simulated));
        page += &format!("<p class=\"quiet\">{ranks} ranks, seed {seed}, {time} of simulated time</p>\n");
        if !scenario.about.is_empty() {
            page += &format!("<p>{}</p>\n", escaped(&scenario.about));
        }
        page += &section("Results", &self.results());
        page += &section("Who sends to whom", &topology::draw(scenario));
        page += &self.charts(scenario);
        page += &section("The scenario", &format!("<pre>{}</pre>", escaped(&scenario.to_string())));
        page += &format!("<footer>mvpnet {}</footer>\n</html>\n", env!("CARGO_PKG_VERSION"));
        page
    }

    fn results(&self) -> String {
        let mut html = String::from("<table>\n");
        for (place, row) in self.table().iter().enumerate() {
            let tag = if place == 0 { "th" } else { "td" };
            html += "<tr>";
            for (cell, is_text) in row {
                let class = if *is_text { " class=\"text\"" } else { "" };
                html += &format!("<{tag}{class}>{}</{tag}>", escaped(cell));
            }
            html += "</tr>\n";
        }
        let drops: Vec<String> =
            self.drops.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
        let drops = if drops.is_empty() { "none".to_owned() } else { drops.join(", ") };
        let (sent, received) = (self.sent.frames, self.received.frames);
        // Writing to a string does not fail.
        let _ = write!(html, "</table>\n<p>Frames: {sent} sent, {received} received. Drops: {drops}.");
        if self.duplicated + self.corrupted > 0 {
            let _ = write!(html, " Faults: {} duplicated, {} corrupted.", self.duplicated, self.corrupted);
        }
        html + "</p>"
    }

    fn charts(&self, scenario: &Scenario) -> String {
        const NOTHING: &History =
            &History { links: std::collections::BTreeMap::new(), drops: std::collections::BTreeMap::new() };
        let history = self.history.as_ref().unwrap_or(NOTHING);
        let marks = marks(scenario, self.simulated);
        let mut html = section("Rates of the links", &chart::rates(history, self.simulated, &marks));
        html += &section("Dropped", &chart::drops(history, self.simulated, &marks));
        if !marks.is_empty() {
            let items =
                |mark: &Mark| format!("<li>{}: {}</li>\n", format_duration(mark.at), escaped(&mark.label));
            let items: String = marks.iter().map(items).collect();
            html += &section("What changes when", &format!("<ol>\n{items}</ol>"));
        }
        html
    }
}

/// A change, on the axis of time.
struct Mark {
    at: Duration,
    label: String,
}

fn marks(scenario: &Scenario, end: Duration) -> Vec<Mark> {
    let changes = scenario.changes.iter().filter(|(at, _)| *at <= end);
    let mut marks: Vec<Mark> =
        changes.map(|(at, change)| Mark { at: *at, label: change.to_string() }).collect();
    marks.sort_by_key(|mark| mark.at);
    marks
}

fn section(title: &str, content: &str) -> String {
    format!("<section>\n<h2>{title}</h2>\n{content}\n</section>\n")
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
