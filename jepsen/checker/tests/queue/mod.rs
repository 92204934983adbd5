//! A small reference queue and its clients: whatever they record is legal, and no checker may object.
//!
//! Time is a number of microseconds, chance is a seed, and what a client says takes effect at one instant.
//! Replies are lost, effects come late, leaders change and their clocks differ, streams break and are missed
//! later by either side, consumers crash with messages on their way to them.

#![allow(dead_code)]

mod chance;
mod clients;
mod server;
mod timeline;

pub(crate) use chance::Chance;
pub(crate) use timeline::history;

pub(crate) const TOPIC: &str = "orders";
pub(crate) const NAME: &str = "billing";
/// The wall clock at the start of a history.
pub(crate) const WALL_MS: u64 = 1_790_000_000_000;
/// A time that no history reaches.
pub(crate) const FAR_MS: u64 = WALL_MS + 1_000_000;
pub(crate) const MS: u64 = 1_000;
pub(crate) const LEASE_MS: u64 = 400;
pub(crate) const TOLERANCE_MS: u64 = 100;

/// The wall clock of the recording machine.
pub(crate) fn wall_ms(now: u64) -> u64 {
    WALL_MS + now / MS
}
