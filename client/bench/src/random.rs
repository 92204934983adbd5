//! Random words that can be made again: SplitMix64 (Steele, Lea, Flood: "Fast Splittable Pseudorandom Number
//! Generators").

/// Steps between the words.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// The words that follow from a seed.
pub(crate) struct Words(u64);

impl Words {
    pub(crate) fn of(seed: u64) -> Self {
        Self(mix(seed))
    }

    pub(crate) fn next_word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GOLDEN);
        mix(self.0)
    }
}

pub(crate) fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
