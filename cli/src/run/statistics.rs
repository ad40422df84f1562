//! The counters of all ranks as text: `RANK.NAME=VALUE` a line, then the least, mean and greatest of each
//! that is not zero everywhere.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use mvpnet_node::job::CounterList;

/// The text of a global statistics file, for ranks that are numbered from `first` on.
pub fn render(first: u32, ranks: &[CounterList]) -> String {
    let mut text = String::new();
    let mut by_name: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    for (rank, counters) in (first..).zip(ranks) {
        for (name, value) in counters {
            let _ = writeln!(text, "{rank}.{name}={value}");
            by_name.entry(name).or_default().push(*value);
        }
    }
    for (name, values) in by_name {
        let (least, greatest) = (values.iter().min().copied(), values.iter().max().copied());
        if let (Some(least), Some(greatest @ 1..)) = (least, greatest) {
            let mean = values.iter().map(|value| u128::from(*value)).sum::<u128>() / values.len() as u128;
            let _ = writeln!(text, "min/mean/max.{name}={least}/{mean}/{greatest}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_counter_of_every_rank_is_listed_and_summed_up() {
        let ranks = vec![
            vec![("a".to_owned(), 1), ("b".to_owned(), 0)],
            vec![("a".to_owned(), 4), ("b".to_owned(), 0)],
        ];
        assert_eq!(render(0, &ranks), "0.a=1\n0.b=0\n1.a=4\n1.b=0\nmin/mean/max.a=1/2/4\n");
        assert!(render(4, &ranks).starts_with("4.a=1\n"));
    }
}
