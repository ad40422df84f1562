//! Severities: the eight of syslog, and how `tracing`'s five are placed among them.
//!
//! | event | severity |
//! | --- | --- |
//! | `error!` | `ERR` |
//! | `warn!` | `WARN` |
//! | `info!` | `INFO` |
//! | `debug!` | `DBG` |
//! | `trace!` | `TRACE` |
//!
//! An event that is meant as one of the other four says so in a field named `severity`, with one of the
//! names below in any case: `error!(severity = "CRIT", "…")`, `info!(severity = "NOTE", "…")`. The field
//! may only refine its macro's level: `EMERG`, `ALERT` and `CRIT` under `error!`, `NOTE` under `info!`;
//! anything else in it is ignored.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// A severity of an event, or the threshold up to which events are taken. The order is that of syslog
/// (RFC 5424 section 6.2.1): what is graver is smaller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// As a threshold: nothing at all. No event has it.
    Off,
    /// The host is unusable.
    Emerg,
    /// Somebody must act at once.
    Alert,
    /// The job is lost.
    Crit,
    /// Something that was asked for did not work.
    Err,
    /// Something is wrong, the job goes on.
    Warn,
    /// Normal, but worth a remark.
    Note,
    /// What goes on.
    Info,
    /// For those who look for a fault.
    Dbg,
    /// Every step; may slow the job down.
    Trace,
}

/// A text is not the name of a level.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{0}` is not a level: EMERG, ALERT, CRIT, ERR, WARN, NOTE, INFO, DBG, TRACE or OFF")]
pub struct LevelError(pub String);

impl Level {
    /// All of them, the gravest first, `OFF` before all.
    pub const ALL: [Self; 10] = [
        Self::Off,
        Self::Emerg,
        Self::Alert,
        Self::Crit,
        Self::Err,
        Self::Warn,
        Self::Note,
        Self::Info,
        Self::Dbg,
        Self::Trace,
    ];

    /// The name as it stands in log lines.
    pub fn name(self) -> &'static str {
        match self {
            Self::Off => "OFF",
            Self::Emerg => "EMERG",
            Self::Alert => "ALERT",
            Self::Crit => "CRIT",
            Self::Err => "ERR",
            Self::Warn => "WARN",
            Self::Note => "NOTE",
            Self::Info => "INFO",
            Self::Dbg => "DBG",
            Self::Trace => "TRACE",
        }
    }

    /// As a threshold: whether an event of severity `event` is taken.
    pub fn admits(self, event: Self) -> bool {
        event <= self
    }

    /// The severity of an event whose macro's level is `level` and whose `severity` field says `named`.
    pub fn of_event(level: &tracing::Level, named: Option<Self>) -> Self {
        match (*level, named) {
            (tracing::Level::ERROR, Some(grave @ (Self::Emerg | Self::Alert | Self::Crit))) => grave,
            (tracing::Level::INFO, Some(Self::Note)) => Self::Note,
            (tracing::Level::ERROR, _) => Self::Err,
            (tracing::Level::WARN, _) => Self::Warn,
            (tracing::Level::INFO, _) => Self::Info,
            (tracing::Level::DEBUG, _) => Self::Dbg,
            (tracing::Level::TRACE, _) => Self::Trace,
        }
    }

    /// The gravest severity that an event of the macro level `level` can have: decides, before the event
    /// happens, whether a call site can matter.
    pub fn gravest_of(level: &tracing::Level) -> Self {
        match *level {
            tracing::Level::ERROR => Self::Emerg,
            tracing::Level::INFO => Self::Note,
            other => Self::of_event(&other, None),
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Level {
    type Err = LevelError;

    /// Syslog's names, those of `tracing`, and the usual long ones, in any case.
    fn from_str(text: &str) -> Result<Self, LevelError> {
        Ok(match text.to_ascii_lowercase().as_str() {
            "off" | "none" => Self::Off,
            "emerg" | "emergency" | "panic" => Self::Emerg,
            "alert" => Self::Alert,
            "crit" | "critical" => Self::Crit,
            "err" | "error" => Self::Err,
            "warn" | "warning" => Self::Warn,
            "note" | "notice" => Self::Note,
            "info" => Self::Info,
            "dbg" | "debug" | "dbg0" | "dbg1" | "dbg2" | "dbg3" => Self::Dbg,
            "trace" => Self::Trace,
            _ => return Err(LevelError(text.to_owned())),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_reads_back_in_any_case() {
        for level in Level::ALL {
            assert_eq!(level.name().parse(), Ok(level));
            assert_eq!(level.name().to_lowercase().parse(), Ok(level));
        }
        assert_eq!("Error".parse(), Ok(Level::Err));
        assert_eq!("DBG2".parse(), Ok(Level::Dbg));
        assert_eq!("loud".parse::<Level>(), Err(LevelError("loud".to_owned())));
    }

    #[test]
    fn a_threshold_takes_what_is_as_grave_or_graver() {
        assert!(Level::Crit.admits(Level::Emerg) && Level::Crit.admits(Level::Crit));
        assert!(!Level::Crit.admits(Level::Err));
        assert!(Level::ALL[1..].iter().all(|event| !Level::Off.admits(*event)));
    }

    #[test]
    fn a_severity_field_refines_its_macro_only() {
        let error = tracing::Level::ERROR;
        assert_eq!(Level::of_event(&error, Some(Level::Crit)), Level::Crit);
        assert_eq!(Level::of_event(&error, Some(Level::Dbg)), Level::Err);
        assert_eq!(Level::of_event(&tracing::Level::INFO, Some(Level::Note)), Level::Note);
        assert_eq!(Level::of_event(&tracing::Level::DEBUG, Some(Level::Emerg)), Level::Dbg);
    }

    #[test]
    fn no_event_is_graver_than_its_macro_allows() {
        for macro_level in ["error", "warn", "info", "debug", "trace"] {
            let macro_level = macro_level.parse::<tracing::Level>().unwrap();
            for named in Level::ALL {
                assert!(
                    Level::gravest_of(&macro_level) <= Level::of_event(&macro_level, Some(named)),
                    "{macro_level} {named}"
                );
            }
        }
    }
}
