//! The page of results: prose, and tables between markers that a run replaces by what it has measured.
//!
//! A table stands between `<!-- table: NAME -->` and `<!-- end -->`; the machine is a table too, `machine`. What a run has
//! not measured stays as it is.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, ensure};

use super::table::Table;

/// Puts tables into a page.
pub fn write(page: &Path, tables: &[Table]) -> anyhow::Result<()> {
    let mut text = fs::read_to_string(page).with_context(|| format!("cannot read {}", page.display()))?;
    text = replaced(&text, "machine", &format!("{}\n", machine()))?;
    for table in tables {
        text = replaced(&text, table.name, &table.markdown())?;
    }
    fs::write(page, text).with_context(|| format!("cannot write {}", page.display()))
}

/// The page with other text between the markers of a name.
fn replaced(page: &str, name: &str, text: &str) -> anyhow::Result<String> {
    const END: &str = "<!-- end -->";
    let begin = format!("<!-- table: {name} -->\n");
    let (before, rest) =
        page.split_once(&begin).with_context(|| format!("the page has no {:?}", begin.trim_end()))?;
    let (old, after) =
        rest.split_once(END).with_context(|| format!("the page has no {END:?} after table {name}"))?;
    ensure!(!old.contains("<!-- table:"), "the page has no {END:?} after table {name}");
    Ok(format!("{before}{begin}{text}{END}{after}"))
}

/// What all numbers depend on, in one line.
fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let first_line = |program: &str, words: &[&str]| {
        let said = Command::new(program).args(words).output();
        let text = said.map(|said| String::from_utf8_lossy(&said.stdout).into_owned()).unwrap_or_default();
        text.lines().find(|line| !line.trim().is_empty()).map(str::trim).unwrap_or("absent").to_owned()
    };
    let mpich = first_line("mpichversion", &[]);
    let mpich: Vec<&str> = mpich.split_whitespace().collect();
    let openmpi = first_line("mpirun.openmpi", &["--version"]);
    format!(
        "{cores} cores, Linux {}, {}, {}, Open MPI {}.",
        kernel.trim(),
        first_line("qemu-system-x86_64", &["--version"]).split(" (").next().unwrap_or_default(),
        mpich.join(" ").replace("Version:", "").replace("  ", " "),
        openmpi.split_whitespace().last().unwrap_or_default(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_takes_the_place_of_the_one_of_its_name() {
        let page = "one\n<!-- table: a -->\nold\n<!-- end -->\ntwo\n<!-- table: b -->\n<!-- end -->\n";
        let changed = replaced(page, "a", "| new |\n").unwrap();
        assert_eq!(changed, page.replace("old", "| new |"));
        assert!(replaced(page, "c", "").unwrap_err().to_string().contains("table: c"));
        assert!(replaced("<!-- table: a -->\n<!-- table: b -->\n<!-- end -->", "a", "").is_err());
    }
}
