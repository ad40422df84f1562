//! Sizes as those write them who start virtual machines: `512M`, `4G`, in powers of two. Rates, times and the sizes
//! of links are in `mvpnet_transports::link`.

const KIB: u64 = 1 << 10;

/// `4096`, `512M`, `4GiB`: bytes, those without a unit in `plain`. None if it is no size or too large for one.
pub fn binary_size(text: &str, plain: u64) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number = text[..digits].parse::<u64>().ok()?;
    let unit = match text[digits..].to_ascii_lowercase().as_str() {
        "" => plain,
        "b" => 1,
        "k" | "kb" | "kib" => KIB,
        "m" | "mb" | "mib" => KIB.pow(2),
        "g" | "gb" | "gib" => KIB.pow(3),
        "t" | "tb" | "tib" => KIB.pow(4),
        _ => return None,
    };
    number.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_a_whole_number_with_a_unit_or_in_the_plain_one() {
        for (text, bytes) in [
            ("7", Some(7 * 1024)),
            ("7b", Some(7)),
            ("2K", Some(2048)),
            ("1GiB", Some(1 << 30)),
            ("3t", Some(3 << 40)),
            ("", None),
            ("G", None),
            ("1.5G", None),
            ("-1", None),
            ("1 G", None),
            ("99999999999T", None),
        ] {
            assert_eq!(binary_size(text, 1024), bytes, "{text}");
        }
    }
}
