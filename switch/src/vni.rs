//! VXLAN network identifiers (RFC 7348 §5), one at a time. Several as people write them are a
//! [`VniList`](crate::VniList).

use std::fmt;
use std::str::FromStr;

/// A VXLAN network identifier: 24 bits.
///
/// Parsing is strict: decimal digits, without sign or leading zeros.
///
/// ```
/// use mvpnet_switch::Vni;
///
/// let vni: Vni = "40".parse()?;
/// assert_eq!(vni.plus(3).map(|vni| vni.to_string()).as_deref(), Some("43"));
/// assert!("16777216".parse::<Vni>().is_err());
/// # Ok::<(), mvpnet_switch::VniError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Vni(u32);

/// Why something is not a VXLAN network identifier.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VniError {
    /// The number does not fit into 24 bits.
    #[error("{0} is no VNI: those are 0 to {max}", max = Vni::MAX)]
    TooLarge(u32),
    /// The text is not a number, or one far beyond 24 bits.
    #[error("`{0}` is no VNI: those are 0 to {max}, in decimal digits", max = Vni::MAX)]
    Syntax(String),
}

impl Vni {
    /// The largest one.
    pub const MAX: Vni = Vni((1 << 24) - 1);

    /// The identifier with this number.
    pub const fn new(number: u32) -> Result<Vni, VniError> {
        if number <= Vni::MAX.0 { Ok(Vni(number)) } else { Err(VniError::TooLarge(number)) }
    }

    /// Its number.
    pub const fn value(self) -> u32 {
        self.0
    }

    /// The identifier `n` further on, if there is one.
    pub const fn plus(self, n: u32) -> Option<Vni> {
        match self.0.checked_add(n) {
            Some(number) if number <= Vni::MAX.0 => Some(Vni(number)),
            _ => None,
        }
    }
}

impl fmt::Display for Vni {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Vni {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Vni({})", self.0)
    }
}

impl FromStr for Vni {
    type Err = VniError;

    fn from_str(text: &str) -> Result<Vni, VniError> {
        let is_plain =
            text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
        let number = text.parse().ok().filter(|_| is_plain);
        Vni::new(number.ok_or_else(|| VniError::Syntax(text.to_owned()))?)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_identifier_has_24_bits() {
        assert_eq!(Vni::new(0xff_ffff), Ok(Vni::MAX));
        assert_eq!(Vni::new(0x100_0000), Err(VniError::TooLarge(0x100_0000)));
        assert_eq!(Vni::MAX.plus(0), Some(Vni::MAX));
        assert_eq!(Vni::MAX.plus(1), None);
        assert_eq!(Vni(1).plus(u32::MAX), None);
    }

    #[test]
    fn only_plain_decimal_numbers_are_read() {
        assert_eq!("0".parse(), Ok(Vni(0)));
        for text in ["", "+1", "-1", "01", "00", "0x28", " 40", "40 ", "4o", "99999999999", "16777216"] {
            let error = text.parse::<Vni>().unwrap_err().to_string();
            assert!(error.contains("0 to 16777215"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_back(number in 0..=Vni::MAX.0) {
            prop_assert_eq!(Vni(number).to_string().parse(), Ok(Vni(number)));
        }
    }
}
