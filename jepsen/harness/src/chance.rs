//! All randomness of a run, from one seed.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// A seeded source of choices. Every client of a run has one of its own, so that they do not disturb each other.
#[derive(Debug)]
pub struct Chance {
    seed: u64,
    rng: StdRng,
}

impl Chance {
    /// The choices of this seed.
    pub fn new(seed: u64) -> Self {
        Self { seed, rng: StdRng::seed_from_u64(seed) }
    }

    /// An independent source that depends only on the seed and the label.
    pub fn fork(&self, label: &str) -> Self {
        let hash = label.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Self::new(self.seed.rotate_left(17) ^ hash)
    }

    /// A number from `low` to `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        self.rng.random_range(low..=high.max(low))
    }

    /// True `percent` times in a hundred.
    pub fn percent(&mut self, percent: u64) -> bool {
        self.between(0, 99) < percent
    }

    /// One of them; the slice must not be empty.
    pub fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        let at = self.between(0, choices.len().saturating_sub(1) as u64);
        &choices[at as usize]
    }

    /// Printable bytes that do not compress to nothing.
    pub fn text(&mut self, bytes: usize) -> String {
        (0..bytes).map(|_| char::from(b'a' + (self.between(0, 25) as u8))).collect()
    }
}

/// A seed from the operating system, for runs that were not given one.
pub fn fresh_seed() -> u64 {
    rand::random::<u32>().into()
}

/// The seed in `MERIDIAN_JEPSEN_SEED`, or a fresh one.
pub fn seed_from_environment() -> u64 {
    std::env::var("MERIDIAN_JEPSEN_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or_else(fresh_seed)
}
