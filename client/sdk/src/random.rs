//! The client's only source of randomness: seeded, so that a simulation repeats.

use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// Shared by everything one client makes.
#[derive(Debug)]
pub(crate) struct Random(Mutex<StdRng>);

impl Random {
    /// From a seed, or from the operating system.
    pub(crate) fn new(seed: Option<u64>) -> Self {
        Self(Mutex::new(StdRng::seed_from_u64(seed.unwrap_or_else(rand::random))))
    }

    /// A number below `bound`; 0 where the bound is 0.
    pub(crate) fn below(&self, bound: u64) -> u64 {
        if bound == 0 { 0 } else { self.0.lock().next_u64() % bound }
    }

    /// An id as nodes want it.
    pub(crate) fn bytes(&self) -> [u8; 16] {
        let mut rng = self.0.lock();
        (u128::from(rng.next_u64()) << 64 | u128::from(rng.next_u64())).to_be_bytes()
    }

    /// An id for one logical change, the same in each of its attempts.
    pub(crate) fn request_id(&self) -> String {
        let mut rng = self.0.lock();
        format!("{:016x}{:016x}", rng.next_u64(), rng.next_u64())
    }
}
