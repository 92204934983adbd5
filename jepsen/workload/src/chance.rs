//! All choices of a run, from one seed.

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

/// A seeded source of choices. Every part of a run has one of its own, so that they do not disturb each other.
#[derive(Debug)]
pub struct Chance {
    seed: u64,
    rng: SmallRng,
}

impl Chance {
    /// The choices of this seed.
    pub fn new(seed: u64) -> Self {
        Self { seed, rng: SmallRng::seed_from_u64(seed) }
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

    /// Any number.
    pub fn any(&mut self) -> u64 {
        self.rng.random()
    }

    /// True `percent` times in a hundred.
    pub fn percent(&mut self, percent: u64) -> bool {
        self.between(0, 99) < percent
    }

    /// One of them; the slice must not be empty.
    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.between(0, choices.len().saturating_sub(1) as u64) as usize]
    }

    /// Letters that do not compress to nothing.
    pub fn text(&mut self, bytes: usize) -> String {
        (0..bytes).map(|_| char::from(b'a' + (self.between(0, 25) as u8))).collect()
    }
}
