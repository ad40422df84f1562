//! Chances: a seeded generator and what is drawn from it, the same on every machine.

use std::fmt;
use std::time::Duration;

use rand::rngs::Xoshiro256PlusPlus;
use rand::{Rng, SeedableRng};

/// How likely something is: from never to always, in steps of 2⁻³².
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Probability(u64);

/// A number that is no probability.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error("{0} is not a probability: it must be between 0 and 1, or 0% and 100%")]
pub struct ProbabilityError(pub f64);

impl Probability {
    /// It never happens.
    pub const NEVER: Probability = Probability(0);
    /// It always happens.
    pub const ALWAYS: Probability = Probability(Probability::ONE);
    const ONE: u64 = 1 << 32;

    /// From 0, never, to 1, always.
    pub fn new(value: f64) -> Result<Probability, ProbabilityError> {
        if !(0.0..=1.0).contains(&value) {
            return Err(ProbabilityError(value));
        }
        Ok(Probability((value * Probability::ONE as f64).round() as u64))
    }

    /// This many percent, which must not be more than a hundred.
    pub const fn percent(percent: u32) -> Probability {
        assert!(percent <= 100, "more than a hundred percent");
        Probability((Probability::ONE * percent as u64 + 50) / 100)
    }

    /// This many parts per million, which must not be more than a million.
    pub const fn ppm(parts: u32) -> Probability {
        assert!(parts <= 1_000_000, "more than always");
        Probability((Probability::ONE * parts as u64 + 500_000) / 1_000_000)
    }

    /// From 0 to 1.
    pub fn value(self) -> f64 {
        self.0 as f64 / Probability::ONE as f64
    }
}

impl fmt::Display for Probability {
    /// In percent, with as many digits as tell it from its neighbours.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = (self.value() * 100.0 * 1e7).round() / 1e7;
        write!(f, "{percent}%")
    }
}

/// A seeded generator of chances. Nothing else in a simulation is random.
///
/// It is xoshiro256++, whose sequence is fixed by its definition, and the functions use integer arithmetic or
/// the IEEE 754 operations that have one result everywhere, so that a seed means the same on every machine.
#[derive(Clone, Debug)]
pub struct Chance(Xoshiro256PlusPlus);

impl Chance {
    /// Chances that follow from this seed alone.
    pub fn new(seed: u64) -> Chance {
        // SplitMix64's steps, as the generator's authors recommend for filling its state.
        let mut state = seed;
        let mut bytes = [0; 32];
        for chunk in bytes.chunks_exact_mut(8) {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            chunk.copy_from_slice(&scramble(state).to_le_bytes());
        }
        Chance(Xoshiro256PlusPlus::from_seed(bytes))
    }

    /// Chances for one part of something that has this seed: parts do not disturb each other.
    pub fn for_part(seed: u64, part: [u32; 2]) -> Chance {
        let part = u64::from(part[0]) << 32 | u64::from(part[1]);
        Chance::new(scramble(seed ^ scramble(part.wrapping_add(1))))
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Whether it happens this time. What never or always happens draws nothing.
    pub fn happens(&mut self, probability: Probability) -> bool {
        match probability {
            Probability::NEVER => false,
            Probability::ALWAYS => true,
            Probability(threshold) => self.bits() >> 32 < threshold,
        }
    }

    /// A number from 0 to `bound` - 1, or 0 if `bound` is.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.bits()) * u128::from(bound)) >> 64) as u64
    }

    /// A duration of less than `most`, all equally likely.
    pub fn duration_below(&mut self, most: Duration) -> Duration {
        Duration::from_nanos(self.below(nanos(most)))
    }

    /// The half above zero of a normal distribution with this standard deviation, at most six of it. The sum of
    /// twelve equal chances is normal enough and needs no logarithm.
    pub fn normal(&mut self, deviation: Duration) -> Duration {
        let deviation = nanos(deviation).min(u64::MAX / 12);
        let sum: u64 = (0..12).map(|_| self.below(deviation)).sum();
        Duration::from_nanos(sum.abs_diff(6 * deviation))
    }

    /// A duration with a long tail: Pareto with shape 2, from zero, capped at a hundred times `scale`.
    pub fn pareto(&mut self, scale: Duration) -> Duration {
        let uniform = (self.bits() >> 11) as f64 / (1_u64 << 53) as f64;
        let stretch = (1.0 / (1.0 - uniform).sqrt() - 1.0).min(100.0);
        Duration::from_nanos((nanos(scale) as f64 * stretch) as u64)
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// The output function of SplitMix64.
fn scramble(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_means_the_same_everywhere() {
        let mut chance = Chance::new(1);
        // xoshiro256++ seeded by SplitMix64 from 1, as its authors' C code prints it.
        assert_eq!(chance.bits(), 0xcfc5_d07f_6f03_c29b);
        assert_eq!(chance.bits(), 0xbf42_4132_963f_e08d);
    }

    #[test]
    fn probabilities_hold_on_the_whole() {
        let mut chance = Chance::new(7);
        let tenth = Probability::percent(10);
        let hits = (0..100_000).filter(|_| chance.happens(tenth)).count();
        assert!((9_500..10_500).contains(&hits), "{hits}");
        assert!(!chance.happens(Probability::NEVER) && chance.happens(Probability::ALWAYS));
    }

    #[test]
    fn parts_have_chances_of_their_own() {
        let [mut one, mut other] = [[0, 1], [1, 0]].map(|part| Chance::for_part(3, part));
        assert_ne!(one.bits(), other.bits());
    }

    #[test]
    fn jitter_has_the_size_that_it_is_given() {
        let mut chance = Chance::new(5);
        let unit = Duration::from_millis(1);
        let mut mean = |draw: fn(&mut Chance, Duration) -> Duration| {
            (0..10_000).map(|_| draw(&mut chance, unit).as_secs_f64()).sum::<f64>() / 10_000.0 * 1e3
        };
        // Means: uniform 1/2, half-normal √(2/π), Pareto(2) - 1 is 1, less what the cap takes.
        assert!((mean(Chance::duration_below) - 0.5).abs() < 0.02);
        assert!((mean(Chance::normal) - 0.798).abs() < 0.03);
        assert!((mean(Chance::pareto) - 1.0).abs() < 0.15);
    }

    #[test]
    fn what_is_no_probability_is_refused() {
        assert!(Probability::new(-0.1).is_err() && Probability::new(1.1).is_err());
        assert!(Probability::new(f64::NAN).is_err());
        assert_eq!(Probability::new(0.25).unwrap().to_string(), "25%");
        assert_eq!(Probability::new(0.0001).unwrap().to_string(), "0.01%");
    }
}
