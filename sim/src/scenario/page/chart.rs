//! What happens over time: rates as lines, drops as stacked columns, changes as marks.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{COLOURS, Mark, escaped};
use crate::books::{History, SLOT};
use crate::scenario::lines::{short_rate, short_time};

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 240.0;
const LEFT: f64 = 78.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 20.0;
const BOTTOM: f64 = 24.0;
/// More points than these nobody sees.
const MOST_BINS: u64 = 240;
/// More lines neither.
const MOST_LINES: usize = 8;

/// The axis of time, in bins of whole slots.
struct Time {
    end: Duration,
    slots_per_bin: u64,
    bins: usize,
}

impl Time {
    fn new(end: Duration) -> Time {
        let slots = u64::try_from(end.as_nanos().div_ceil(SLOT.as_nanos())).unwrap_or(u64::MAX).max(1);
        let slots_per_bin = slots.div_ceil(MOST_BINS);
        Time { end, slots_per_bin, bins: slots.div_ceil(slots_per_bin) as usize }
    }

    /// The bin of a slot; what happens at the very end belongs to the last.
    fn bin(&self, slot: u64) -> usize {
        ((slot / self.slots_per_bin) as usize).min(self.bins - 1)
    }

    fn bin_seconds(&self) -> f64 {
        SLOT.as_secs_f64() * self.slots_per_bin as f64
    }

    fn x(&self, at: Duration) -> f64 {
        LEFT + (WIDTH - LEFT - RIGHT) * at.as_secs_f64() / self.end.as_secs_f64()
    }

    /// Where a bin begins.
    fn bin_x(&self, bin: usize) -> f64 {
        let at = Duration::from_secs_f64(self.bin_seconds() * bin as f64);
        self.x(at.min(self.end))
    }
}

/// Something with a value in each bin.
struct Series {
    name: String,
    colour: &'static str,
    values: Vec<f64>,
}

/// What came over the links: each of them if they are few, else their sum and those that carried most.
pub(super) fn rates(history: &History, end: Duration, marks: &[Mark]) -> String {
    let time = Time::new(end);
    let mut by_link: BTreeMap<[u32; 2], Vec<f64>> = BTreeMap::new();
    for ((link, slot), bytes) in &history.links {
        let values = by_link.entry(*link).or_insert_with(|| vec![0.0; time.bins]);
        values[time.bin(*slot)] += *bytes as f64 * 8.0 / time.bin_seconds();
    }
    let mut series: Vec<Series> = Vec::new();
    if by_link.len() > MOST_LINES {
        let sum = (0..time.bins).map(|bin| by_link.values().map(|values| values[bin]).sum()).collect();
        series.push(Series { name: "all".to_owned(), colour: "currentColor", values: sum });
    }
    series.extend(busiest(by_link).into_iter().zip(COLOURS).map(|(([from, to], values), colour)| Series {
        name: format!("{from} → {to}"),
        colour,
        values,
    }));
    let most = series.iter().flat_map(|series| &series.values).copied().fold(0.0, f64::max);
    let scale = Scale::new(most, |rate| short_rate(rate as u64));
    let lines: String = series.iter().map(|series| line(&time, &scale, series)).collect();
    framed(&time, &scale, &lines, marks) + &key(&series)
}

/// Those that carried most, in the order of their ranks.
fn busiest(by_link: BTreeMap<[u32; 2], Vec<f64>>) -> Vec<([u32; 2], Vec<f64>)> {
    let total = |values: &[f64]| values.iter().sum::<f64>();
    let mut links: Vec<_> = by_link.into_iter().collect();
    links.sort_by(|(one, a), (other, b)| total(b).total_cmp(&total(a)).then(one.cmp(other)));
    links.truncate(MOST_LINES);
    links.sort_by_key(|(link, _)| *link);
    links
}

/// What was dropped, by reason, each upon the other.
pub(super) fn drops(history: &History, end: Duration, marks: &[Mark]) -> String {
    if history.drops.is_empty() {
        return "<p>Nothing.</p>".to_owned();
    }
    let time = Time::new(end);
    let mut by_reason = BTreeMap::new();
    for ((reason, slot), count) in &history.drops {
        let values: &mut Vec<f64> = by_reason.entry(*reason).or_insert_with(|| vec![0.0; time.bins]);
        values[time.bin(*slot)] += *count as f64 / time.bin_seconds();
    }
    let series: Vec<Series> = by_reason
        .into_iter()
        .zip(COLOURS.iter().cycle())
        .map(|((reason, values), colour)| Series { name: reason.name().to_owned(), colour, values })
        .collect();
    let sum = |bin: usize| series.iter().map(|series| series.values[bin]).sum::<f64>();
    let scale = Scale::new((0..time.bins).map(sum).fold(0.0, f64::max), |rate| format!("{rate:.0}/s"));
    let columns: String = (0..time.bins).map(|bin| column(&time, &scale, &series, bin)).collect();
    framed(&time, &scale, &columns, marks) + &key(&series)
}

/// The axis of values, from nought to a round number.
struct Scale {
    top: f64,
    label: fn(f64) -> String,
}

impl Scale {
    fn new(most: f64, label: fn(f64) -> String) -> Scale {
        let mut decade = 1.0;
        while decade * 10.0 <= most {
            decade *= 10.0;
        }
        let steps = [1.0, 2.0, 4.0, 6.0, 8.0, 10.0];
        let top = steps.iter().map(|step| step * decade).find(|top| *top >= most).unwrap_or(most);
        Scale { top, label }
    }

    fn y(&self, value: f64) -> f64 {
        HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * value / self.top
    }
}

fn line(time: &Time, scale: &Scale, series: &Series) -> String {
    let points = series.values.iter().enumerate().map(|(bin, value)| {
        let y = scale.y(*value);
        format!("{:.1},{y:.1} {:.1},{y:.1}", time.bin_x(bin), time.bin_x(bin + 1))
    });
    let points = points.collect::<Vec<_>>().join(" ");
    let colour = series.colour;
    format!("<polyline points=\"{points}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\"/>\n")
}

fn column(time: &Time, scale: &Scale, series: &[Series], bin: usize) -> String {
    let (x, width) = (time.bin_x(bin), time.bin_x(bin + 1) - time.bin_x(bin));
    let (mut svg, mut below) = (String::new(), 0.0);
    for Series { colour, values, .. } in series.iter().filter(|series| series.values[bin] > 0.0) {
        let (bottom, top) = (scale.y(below), scale.y(below + values[bin]));
        below += values[bin];
        let height = bottom - top;
        svg += &format!(
            "<rect x=\"{x:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" fill=\"{colour}\"/>\n"
        );
    }
    svg
}

/// The drawing with its axes and marks.
fn framed(time: &Time, scale: &Scale, content: &str, marks: &[Mark]) -> String {
    let mut svg = format!("<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\">\n");
    let right = WIDTH - RIGHT;
    for quarter in 0..=4 {
        let value = scale.top * f64::from(quarter) / 4.0;
        let (y, label) = (scale.y(value), (scale.label)(value));
        svg += &format!(
            "<line x1=\"{LEFT}\" y1=\"{y:.1}\" x2=\"{right}\" y2=\"{y:.1}\" class=\"grid\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>\n",
            LEFT - 6.0,
            y + 4.0
        );
    }
    for tenth in (0..=10).step_by(2) {
        let at = time.end * tenth / 10;
        let (x, label) = (time.x(at), if tenth == 0 { "0".to_owned() } else { short_time(at) });
        let anchor = if tenth == 10 { "end" } else { "middle" };
        svg += &format!(
            "<text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{label}</text>\n",
            HEIGHT - 6.0
        );
    }
    svg += content;
    svg += &format!(
        "<line x1=\"{LEFT}\" y1=\"{0:.1}\" x2=\"{right}\" y2=\"{0:.1}\" class=\"axis\"/>\n",
        HEIGHT - BOTTOM
    );
    let all: String =
        marks.iter().enumerate().map(|(place, mark)| draw_mark(time, place, mark, marks)).collect();
    svg + &all + "</svg>\n"
}

/// A change: its number always, its words if there is room to the next.
fn draw_mark(time: &Time, place: usize, mark: &Mark, marks: &[Mark]) -> String {
    const PER_CHARACTER: f64 = 6.0;
    let x = time.x(mark.at);
    let room = marks.get(place + 1).map_or(WIDTH - RIGHT, |next| time.x(next.at)) - x;
    let words = escaped(&mark.label);
    let number = place + 1;
    let fits = |text: &str| text.chars().count() as f64 * PER_CHARACTER <= room;
    let text = match format!("{number} {}", mark.label) {
        long if fits(&long) => format!("{number} {words}"),
        _ if fits(&number.to_string()) => number.to_string(),
        _ => String::new(),
    };
    let bottom = HEIGHT - BOTTOM;
    format!(
        "<g><title>{words}</title><line x1=\"{x:.1}\" y1=\"{TOP}\" x2=\"{x:.1}\" y2=\"{bottom:.1}\" class=\"mark\"/>\
         <text x=\"{:.1}\" y=\"{:.1}\">{text}</text></g>\n",
        x + 2.0,
        TOP - 6.0
    )
}

fn key(series: &[Series]) -> String {
    let item = |series: &Series| {
        format!("<span class=\"key\" style=\"background:{}\"></span>{}", series.colour, escaped(&series.name))
    };
    format!("<p>{}</p>", series.iter().map(item).collect::<String>())
}
