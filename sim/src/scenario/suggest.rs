//! What to write instead of ranks, links and changes that are not understood.

use mvpnet_settings::{Advice, for_unit, one_of};
use mvpnet_switch::{RankListError, World};
use mvpnet_transports::link::{ChangeError, PRESETS, SETTINGS, SettingError};

/// The verbs of changes.
const VERBS: &[&str] = &["link", "access", "partition", "heal", "crash", "restart", "pause", "resume"];

pub(super) fn for_ranks(error: &RankListError) -> Advice {
    match error {
        RankListError::Item { list, item } => Advice::new(
            Some(item),
            format!("the rank list `{list}` names no rank at `{item}`"),
            "write it like 0,3,7-9 or 5- or -5",
        ),
        RankListError::Backwards { item, .. } => {
            Advice::new(Some(item), error.to_string(), "write the lower rank first")
        }
        RankListError::TooLarge { item, .. } => {
            Advice::new(Some(item), error.to_string(), format!("write less than {}", World::MAX_SIZE))
        }
    }
}

pub(super) fn for_setting(error: &SettingError) -> Advice {
    let example = |name: &str| {
        let found = SETTINGS.iter().find(|(known, _)| *known == name);
        let example = found.map_or("…", |(_, example)| example.split([',', ' ']).next().unwrap_or(example));
        format!("write it like `{name}={example}`")
    };
    match error {
        SettingError::UnknownSetting(name) => Advice::new(
            Some(name),
            format!("a link has no setting `{name}`"),
            one_of(name, SETTINGS.iter().map(|(name, _)| *name)),
        ),
        SettingError::UnknownPreset(name) => Advice::new(
            Some(name),
            format!("there is no link preset `{name}`"),
            one_of(name, PRESETS.iter().map(|(name, _)| *name)),
        ),
        SettingError::PresetNotFirst(name) => Advice::new(
            Some(name),
            error.to_string(),
            format!("write `{name}` first, and what differs from it after it"),
        ),
        SettingError::Unit { setting, source } => {
            let advice = for_unit(source);
            Advice { message: format!("{setting}: {}", advice.message), ..advice }
        }
        SettingError::Probability { setting, .. } => {
            Advice::new(Some(setting), error.to_string(), example(setting))
        }
        SettingError::Text { setting, text, .. } => {
            Advice::new(Some(text), format!("{setting}: `{text}` is not understood"), example(setting))
        }
    }
}

pub(super) fn for_change(error: &ChangeError, world: Option<World>) -> Advice {
    match error {
        ChangeError::Unknown(verb) => Advice::new(
            Some(verb),
            format!("`{verb}` is no change to a network"),
            one_of(verb, VERBS.iter().copied()),
        ),
        ChangeError::Ranks(error) => for_ranks(error),
        ChangeError::Setting(error) => for_setting(error),
        ChangeError::Outside { rank, .. } => Advice::new(
            Some(&rank.to_string()),
            format!("there is no rank {rank}"),
            world.map_or_else(|| "write a smaller number".to_owned(), inside),
        ),
        ChangeError::OneGroup => Advice::new(
            None,
            "a partition has at least two groups",
            "name the other side too: `partition 0,1 | 2,3`",
        ),
        ChangeError::TwoGroups(rank) => {
            Advice::new(None, error.to_string(), format!("leave rank {rank} out of one of them"))
        }
        ChangeError::NoPairs => Advice::new(
            None,
            "`link` needs to know which",
            "write it like `link 0<->1 loss=1%`, `link 2 campus` (all of rank 2) or `link all campus`",
        ),
        ChangeError::NoRanks(verb) => Advice::new(
            None,
            format!("`{verb}` needs ranks after it"),
            format!("write it like `{verb} 0,2-5`"),
        ),
        ChangeError::TooMuch(words) => {
            Advice::new(Some(words), "`heal` stands alone", "write `heal`: it ends the whole partition")
        }
    }
}

/// Which ranks there are.
pub(super) fn inside(world: World) -> String {
    match world.size() {
        1 => "the only rank is 0: write more in `ranks`".to_owned(),
        size => format!("write 0 to {}, or more in `ranks`", size - 1),
    }
}
