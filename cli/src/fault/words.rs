//! From the words of a command line to changes. Each argument may be a whole change, or one word of it: an
//! argument that begins with the name of a change begins a change.

use mvpnet_transports::link::{Change, ChangeError};

const VERBS: &[&str] = &["link", "access", "partition", "heal", "crash", "restart", "pause", "resume"];

/// The changes that these arguments describe.
pub(super) fn changes(words: &[String]) -> Result<Vec<Change>, String> {
    let mut texts: Vec<String> = Vec::new();
    for word in words {
        let begins = word.split_whitespace().next().is_some_and(|first| VERBS.contains(&first));
        match texts.last_mut() {
            Some(text) if !begins => {
                text.push(' ');
                text.push_str(word);
            }
            _ => texts.push(word.clone()),
        }
    }
    texts.iter().map(|text| text.parse().map_err(|error| explain(text, &error))).collect()
}

fn explain(text: &str, error: &ChangeError) -> String {
    match error {
        ChangeError::OneGroup => {
            format!("{error}; quote it, for a shell takes | for itself: mvpnet fault '{text} | …'")
        }
        // It names the change itself.
        ChangeError::Unknown(_) => error.to_string(),
        _ => format!("{text}: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &[&str]) -> Result<Vec<String>, String> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        Ok(changes(&words)?.iter().map(Change::to_string).collect())
    }

    #[test]
    fn changes_may_be_quoted_or_not() {
        for words in [
            &["partition 0 | 1", "link 0<->1 loss=1%", "heal"][..],
            &["partition", "0", "|", "1", "link", "0<->1", "loss=1%", "heal"],
        ] {
            assert_eq!(read(words).unwrap(), ["partition 0 | 1", "link 0<->1 loss=1%", "heal"]);
        }
    }

    #[test]
    fn what_is_wrong_is_said_with_what_was_typed() {
        for (words, says) in [
            (&["explode"][..], "`explode` is no change to a network"),
            (&["partition", "0,1"], "a shell takes | for itself: mvpnet fault 'partition 0,1 | …'"),
            (&["link", "0<->1", "los=1%"], "link 0<->1 los=1%: a link has no setting `los`"),
            (&["heal", "now"], "heal now: `heal` stands alone"),
            (&["pause"], "pause: `pause` needs ranks"),
        ] {
            let error = read(words).unwrap_err();
            assert!(error.contains(says), "{words:?}: {error}");
        }
    }
}
