//! Link models in words: `campus loss=1% rate=100Mbit/s`.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use super::{
    Burst, Jitter, LinkModel, PRESETS, Probability, ProbabilityError, UnitError, format_duration,
    parse_duration,
};

/// The names of all settings, with an example of each.
pub const SETTINGS: &[(&str, &str)] = &[
    ("latency", "10ms"),
    ("jitter", "1ms, normal:1ms or pareto:1ms"),
    ("rate", "10Gbit/s"),
    ("queue", "256KiB"),
    ("loss", "1%"),
    ("burst", "0.1%/25% or 0.1%/25%/100%: begin, end, loss in it"),
    ("duplicate", "0.1%"),
    ("reorder", "1%"),
    ("reorder-by", "5ms"),
    ("corrupt", "0.01%"),
    ("mtu", "1400"),
];

/// Why words describe no link.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum SettingError {
    /// There is no such setting.
    #[error("a link has no setting `{0}`; it has {names}", names = names(SETTINGS.iter().map(|s| s.0)))]
    UnknownSetting(String),
    /// There is no such preset.
    #[error("there is no link preset `{0}`; there are {names}", names = names(PRESETS.iter().map(|p| p.0)))]
    UnknownPreset(String),
    /// A preset after something else.
    #[error("the preset `{0}` must come first: what stands before it would be lost")]
    PresetNotFirst(String),
    /// A duration, rate or size that is none.
    #[error("{setting}: {source}")]
    Unit {
        /// The setting.
        setting: &'static str,
        /// What is wrong.
        source: UnitError,
    },
    /// A probability that is none.
    #[error("{setting}: {source}")]
    Probability {
        /// The setting.
        setting: &'static str,
        /// What is wrong.
        source: ProbabilityError,
    },
    /// Something else that is not written as it must be.
    #[error("{setting}: `{text}` is not understood: write it like {example}")]
    Text {
        /// The setting.
        setting: &'static str,
        /// What was given.
        text: String,
        /// What was expected.
        example: &'static str,
    },
}

fn names<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.collect::<Vec<_>>().join(", ")
}

/// A setting's name as the table has it, and its example.
fn setting(name: &str) -> Result<(&'static str, &'static str), SettingError> {
    let found = SETTINGS.iter().find(|(known, _)| *known == name);
    found.copied().ok_or_else(|| SettingError::UnknownSetting(name.to_owned()))
}

impl LinkModel {
    /// The preset of this name.
    pub fn preset(name: &str) -> Result<LinkModel, SettingError> {
        let found = PRESETS.iter().find(|(known, _)| *known == name);
        found.map(|(_, model)| *model).ok_or_else(|| SettingError::UnknownPreset(name.to_owned()))
    }

    /// Changes one setting, given by its name and value in words; see [`SETTINGS`].
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), SettingError> {
        let (setting, example) = setting(name)?;
        let unit = |source| SettingError::Unit { setting, source };
        let chance = || probability(setting, example, value);
        match setting {
            "latency" => self.latency = parse_duration(value).map_err(unit)?,
            "jitter" => self.jitter = jitter(value).map_err(unit)?,
            "rate" => self.rate = Some(value.parse().map_err(unit)?),
            "queue" => self.queue = value.parse().map_err(unit)?,
            "loss" => self.loss = chance()?,
            "burst" => self.burst = Some(burst(setting, example, value)?),
            "duplicate" => self.duplicate = chance()?,
            "reorder" => self.reorder = chance()?,
            "reorder-by" => self.reorder_by = parse_duration(value).map_err(unit)?,
            "corrupt" => self.corrupt = chance()?,
            "mtu" => {
                let mtu = value.parse().ok().filter(|mtu| *mtu > 0);
                let error = || SettingError::Text { setting, text: value.to_owned(), example };
                self.mtu = Some(mtu.ok_or_else(error)?);
            }
            _ => unreachable!("every setting of the table has an arm"),
        }
        Ok(())
    }

    /// The settings in which this differs from [`LinkModel::IDEAL`], as names and values that
    /// [`set`](LinkModel::set) reads.
    pub fn settings(&self) -> Vec<(&'static str, String)> {
        let mut all = Vec::new();
        let ideal = LinkModel::IDEAL;
        let mut differs = |differs: bool, name: &'static str, value: String| {
            if differs {
                all.push((name, value));
            }
        };
        differs(self.latency != ideal.latency, "latency", format_duration(self.latency));
        differs(self.jitter != ideal.jitter, "jitter", self.jitter.to_string());
        differs(self.rate.is_some(), "rate", self.rate.map_or(String::new(), |rate| rate.to_string()));
        differs(self.queue != ideal.queue, "queue", self.queue.to_string());
        differs(self.loss != ideal.loss, "loss", self.loss.to_string());
        differs(self.burst.is_some(), "burst", self.burst.map_or(String::new(), |burst| burst.to_string()));
        differs(self.duplicate != ideal.duplicate, "duplicate", self.duplicate.to_string());
        differs(self.reorder != ideal.reorder, "reorder", self.reorder.to_string());
        differs(self.reorder_by != ideal.reorder_by, "reorder-by", format_duration(self.reorder_by));
        differs(self.corrupt != ideal.corrupt, "corrupt", self.corrupt.to_string());
        differs(self.mtu.is_some(), "mtu", self.mtu.map_or(String::new(), |mtu| mtu.to_string()));
        all
    }
}

fn probability(
    setting: &'static str,
    example: &'static str,
    text: &str,
) -> Result<Probability, SettingError> {
    let error = || SettingError::Text { setting, text: text.to_owned(), example };
    let trimmed = text.trim();
    let (number, whole) = match trimmed.strip_suffix('%') {
        Some(number) => (number.trim_end(), 100.0),
        None => (trimmed, 1.0),
    };
    let value: f64 = number.parse().map_err(|_| error())?;
    Probability::new(value / whole).map_err(|source| SettingError::Probability { setting, source })
}

fn jitter(text: &str) -> Result<Jitter, UnitError> {
    match text.split_once(':') {
        Some(("normal", deviation)) => Ok(Jitter::Normal(parse_duration(deviation)?)),
        Some(("pareto", scale)) => Ok(Jitter::Pareto(parse_duration(scale)?)),
        Some(("uniform", most)) => Ok(Jitter::Uniform(parse_duration(most)?)),
        _ => match parse_duration(text)? {
            std::time::Duration::ZERO => Ok(Jitter::None),
            most => Ok(Jitter::Uniform(most)),
        },
    }
}

fn burst(setting: &'static str, example: &'static str, text: &str) -> Result<Burst, SettingError> {
    let parts =
        text.split('/').map(|part| probability(setting, example, part)).collect::<Result<Vec<_>, _>>()?;
    match parts[..] {
        [begin, end] => Ok(Burst { begin, end, loss: Probability::ALWAYS }),
        [begin, end, loss] => Ok(Burst { begin, end, loss }),
        _ => Err(SettingError::Text { setting, text: text.to_owned(), example }),
    }
}

impl FromStr for LinkModel {
    type Err = SettingError;

    /// Words separated by blanks: the name of a preset if any, then settings as `name=value`.
    fn from_str(words: &str) -> Result<LinkModel, SettingError> {
        let mut model = LinkModel::IDEAL;
        for (place, word) in words.split_whitespace().enumerate() {
            match word.split_once('=') {
                Some((name, value)) => model.set(name, value)?,
                None if place == 0 => model = LinkModel::preset(word)?,
                None => {
                    LinkModel::preset(word)?;
                    return Err(SettingError::PresetNotFirst(word.to_owned()));
                }
            }
        }
        Ok(model)
    }
}

impl fmt::Display for LinkModel {
    /// As [`FromStr`] reads it: a preset's name if it is one, else its settings; `ideal` if it has none.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((name, _)) = PRESETS.iter().find(|(_, model)| model == self) {
            return f.write_str(name);
        }
        for (place, (name, value)) in self.settings().iter().enumerate() {
            let blank = if place == 0 { "" } else { " " };
            write!(f, "{blank}{name}={value}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Jitter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Jitter::None => f.write_str("0s"),
            Jitter::Uniform(most) => f.write_str(&format_duration(*most)),
            Jitter::Normal(deviation) => write!(f, "normal:{}", format_duration(*deviation)),
            Jitter::Pareto(scale) => write!(f, "pareto:{}", format_duration(*scale)),
        }
    }
}

impl fmt::Display for Burst {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.begin, self.end, self.loss)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_as_the_same() {
        let words = "latency=10ms jitter=normal:1ms rate=8Mbit/s queue=64KiB loss=1% burst=0.1%/25%/100% \
                     duplicate=0.1% reorder=2% reorder-by=5ms corrupt=0.01% mtu=1400";
        let model: LinkModel = words.parse().unwrap();
        assert_eq!(model.to_string(), words);
        for (name, preset) in PRESETS {
            assert_eq!(preset.to_string(), *name);
            assert_eq!(name.parse(), Ok(*preset));
        }
    }

    #[test]
    fn every_setting_of_the_table_can_be_set() {
        for (name, example) in SETTINGS {
            let value = example.split([',', ' ', ':']).next().unwrap();
            assert_eq!(LinkModel::default().set(name, value), Ok(()), "{name}={value}");
        }
    }

    #[test]
    fn settings_follow_a_preset_and_change_it() {
        let model: LinkModel = "campus loss=1%".parse().unwrap();
        assert_eq!(model, LinkModel::CAMPUS.loss(Probability::percent(1)));
    }

    #[test]
    fn what_is_not_understood_is_said() {
        for (words, message) in [
            ("lag=1ms", "a link has no setting `lag`; it has latency, jitter"),
            ("moon", "there is no link preset `moon`; there are ideal, same-host"),
            ("loss=1% campus", "the preset `campus` must come first"),
            ("loss=-1%", "loss: -0.01 is not a probability"),
            ("latency=-1ms", "latency: `-1ms` is not a duration"),
            ("burst=1%", "burst: `1%` is not understood"),
            ("mtu=0", "mtu: `0` is not understood"),
        ] {
            let error = words.parse::<LinkModel>().unwrap_err().to_string();
            assert!(error.starts_with(message), "{words}: {error}");
        }
    }
}
