//! The seed of a run: its own, or a given one.

pub use meridian_workload::Chance;

/// A seed from the operating system, for runs that were not given one.
pub fn fresh_seed() -> u64 {
    rand::random::<u32>().into()
}

/// The seed in `MERIDIAN_JEPSEN_SEED`, or a fresh one.
pub fn seed_from_environment() -> u64 {
    std::env::var("MERIDIAN_JEPSEN_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or_else(fresh_seed)
}
