//! Files that people write and the program reads whole: scenarios, labs.

use std::io::ErrorKind;
use std::path::Path;

/// The text of `file`, which is to be `what` ("a scenario"); else what is wrong with it. `command` explains how to
/// write one.
pub fn text_of(file: &Path, what: &str, command: &str) -> Result<String, String> {
    let shown = file.display();
    std::fs::read_to_string(file).map_err(|error| match error.kind() {
        ErrorKind::NotFound => {
            format!("{shown}: there is no such file\n`{command}` shows {what} to begin with")
        }
        ErrorKind::IsADirectory => format!("{shown} is a directory, not {what}: name the file itself"),
        ErrorKind::InvalidData => format!("{shown} is not text, let alone {what}"),
        _ => format!("{shown}: {error}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_cannot_be_read_is_told_apart_from_others() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("lab.toml");
        let problem = |file: &Path| text_of(file, "a lab", "mvpnet lab --help").unwrap_err();
        let absent = "lab.toml: there is no such file\n`mvpnet lab --help` shows a lab to begin with";
        assert!(problem(&file).ends_with(absent), "{}", problem(&file));
        assert!(problem(dir.path()).ends_with(" is a directory, not a lab: name the file itself"));
        std::fs::write(&file, b"name = \"\xff\"").unwrap();
        assert!(problem(&file).ends_with("lab.toml is not text, let alone a lab"));
        std::fs::write(&file, "name").unwrap();
        assert_eq!(text_of(&file, "a lab", "").unwrap(), "name");
    }
}
