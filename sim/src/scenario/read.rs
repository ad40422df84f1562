//! From TOML to scenarios.

use std::collections::BTreeMap;
use std::ops::Range;
use std::str::FromStr;

use mvpnet_settings::{Advice, Document, Fault, Lists, Table, one_of};
use mvpnet_switch::{RankListError, World};
use mvpnet_transports::link::{Change, LinkModel};

use super::check::Place;
use super::suggest;
use super::{Kind, Ranks, Scenario, ScenarioError, Targets, Traffic};

/// Where things stand in the text.
type Places = BTreeMap<Place, Range<usize>>;

impl Scenario {
    /// Reads a scenario. `file` is what errors call it.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong, with its line.
    pub fn parse(file: &str, source: &str) -> Result<Scenario, ScenarioError> {
        read(source).map_err(|fault| fault.locate(file, source))
    }
}

impl FromStr for Scenario {
    type Err = ScenarioError;

    fn from_str(source: &str) -> Result<Scenario, ScenarioError> {
        Scenario::parse("scenario", source)
    }
}

fn read(source: &str) -> Result<Scenario, Fault> {
    let document = Document::parse(source, Lists { what: "traffic", key: "traffic" })?;
    let places = &mut Places::new();
    let table = document.table("a scenario");
    table.knows(&["name", "about", "seed", "ranks", "duration", "mtu", "links", "traffic", "at"])?;
    let ranks = table.required("ranks", "write how many there are, like `ranks = 4`", Table::number)?;
    let duration = table.required(
        "duration",
        "write how much simulated time is to pass: `duration = \"10s\"`",
        Table::duration,
    )?;
    let mut scenario = Scenario::new(ranks.0, duration.0);
    keep(places, Place::Key("ranks"), &ranks.1);
    keep(places, Place::Key("duration"), &duration.1);
    scenario.name = table.text("name")?.map(|(name, _)| name).unwrap_or_default();
    scenario.about = table.text("about")?.map(|(about, _)| about).unwrap_or_default();
    scenario.seed = table.number("seed")?.map(|(seed, _)| seed);
    if let Some((mtu, span)) = table.number("mtu")? {
        scenario.mtu = mtu;
        keep(places, Place::Key("mtu"), &span);
    }
    if let Some((words, span)) = table.text("links")? {
        scenario.links = words
            .parse::<LinkModel>()
            .map_err(|error| Fault::at_word(source, &span, suggest::for_setting(&error)))?;
    }
    for (index, table) in table.tables("traffic", "traffic")?.into_iter().enumerate() {
        scenario.traffic.push(traffic(&table, index, places)?);
    }
    for (index, table) in table.tables("at", "a change")?.into_iter().enumerate() {
        scenario.changes.push(change(&table, index, scenario.ranks, places)?);
    }
    check(source, &scenario, places)?;
    Ok(scenario)
}

/// The model's own check, at the places that it names.
fn check(source: &str, scenario: &Scenario, places: &Places) -> Result<(), Fault> {
    let Err(invalid) = scenario.check() else { return Ok(()) };
    let whole = match invalid.place {
        Place::Traffic(index, _) => places.get(&Place::Traffic(index, "kind")),
        Place::Key(_) | Place::Change(..) => None,
    };
    let span = places.get(&invalid.place).or(whole).cloned().unwrap_or(0..0);
    let advice = Advice { word: invalid.word, message: invalid.message, suggestion: invalid.suggestion };
    Err(Fault::at_word(source, &span, advice))
}

fn traffic(table: &Table<'_>, index: usize, places: &mut Places) -> Result<Traffic, Fault> {
    let suggestion = "write what is sent, like `kind = \"ping\"`";
    let (name, span) = table.required("kind", suggestion, Table::text)?;
    keep(places, Place::Traffic(index, "kind"), &span);
    let Some(keys) = keys_of(&name) else {
        let suggestion = one_of(&name, Kind::NAMES.iter().copied());
        return Err(Fault::new(span, format!("there is no traffic of the kind `{name}`"), suggestion));
    };
    let table = &table.called(format!("`{name}`"));
    table.knows(keys)?;
    let mut traffic = Traffic::new(kind(table, &name, index, places)?);
    if let Some((from, span)) = ranks::<Ranks>(table, "from")? {
        traffic.from = from;
        keep(places, Place::Traffic(index, "from"), &span);
    }
    if let Some((to, span)) = ranks::<Targets>(table, "to")? {
        traffic.to = to;
        keep(places, Place::Traffic(index, "to"), &span);
    }
    if let Some((start, span)) = table.duration("start")? {
        traffic.start = start;
        keep(places, Place::Traffic(index, "start"), &span);
    }
    if let Some((count, span)) = table.number("count")? {
        traffic.count = count;
        keep(places, Place::Traffic(index, "count"), &span);
    }
    if let Some((every, _)) = table.duration("every")? {
        traffic.every = every;
    }
    Ok(traffic)
}

/// The keys that traffic of a kind has.
fn keys_of(kind: &str) -> Option<&'static [&'static str]> {
    Some(match kind {
        "ping" => &["kind", "from", "to", "start", "count", "every", "timeout"],
        "tcp" => &["kind", "from", "to", "start", "count", "every", "bytes"],
        "udp" | "frames" => &["kind", "from", "to", "start", "count", "every", "len"],
        "broadcast" => &["kind", "from", "start", "count", "every", "len"],
        "boot" => &["kind", "from"],
        _ => return None,
    })
}

fn kind(table: &Table<'_>, name: &str, index: usize, places: &mut Places) -> Result<Kind, Fault> {
    let mut len = |example: &str| {
        let suggestion = format!("write how many bytes each has, like `len = {example}`");
        let (len, span) = table.required("len", &suggestion, Table::number)?;
        keep(places, Place::Traffic(index, "len"), &span);
        Ok(len)
    };
    Ok(match name {
        "ping" => Kind::Ping {
            timeout: table.duration("timeout")?.map_or(Kind::PING_TIMEOUT, |(timeout, _)| timeout),
        },
        "tcp" => {
            let suggestion = "write how many bytes a connection carries, like `bytes = \"1MiB\"`";
            Kind::Tcp { bytes: table.required("bytes", suggestion, Table::size)?.0 }
        }
        "udp" => Kind::Udp { len: len("1000")? },
        "frames" => Kind::Frames { len: len("1000")? },
        "broadcast" => Kind::Broadcast { len: len("64")? },
        _ => Kind::Boot,
    })
}

/// Ranks as text, or one of them as a number.
fn ranks<R: FromStr<Err = RankListError>>(
    table: &Table<'_>,
    key: &'static str,
) -> Result<Option<(R, Range<usize>)>, Fault> {
    let Some((text, span)) = table.text_or_number(key)? else { return Ok(None) };
    let ranks = text.parse().map_err(|error| {
        let mut advice = suggest::for_ranks(&error);
        if matches!(error, RankListError::Item { .. }) {
            advice.suggestion += if key == "to" { ", or `all` or `next`" } else { ", or `all`" };
        }
        table.fault_at(&span, advice)
    })?;
    Ok(Some((ranks, span)))
}

fn change(
    table: &Table<'_>,
    index: usize,
    ranks: u32,
    places: &mut Places,
) -> Result<(std::time::Duration, Change), Fault> {
    table.knows(&["time", "change"])?;
    let (time, span) =
        table.required("time", "write when it happens, like `time = \"2s\"`", Table::duration)?;
    keep(places, Place::Change(index, "time"), &span);
    let suggestion = "write what happens, like `change = \"partition 0 | 1\"`";
    let (words, span) = table.required("change", suggestion, Table::text)?;
    keep(places, Place::Change(index, "change"), &span);
    let change = words
        .parse::<Change>()
        .map_err(|error| table.fault_at(&span, suggest::for_change(&error, World::new(ranks).ok())))?;
    Ok((time, change))
}

fn keep(places: &mut Places, place: Place, span: &Range<usize>) {
    places.insert(place, span.clone());
}
