//! Wall-clock time as a port, and the quorum time that protects against a clock that jumps.
//!
//! The state machine never reads a clock: the leader stamps each command. What a stamp may be is decided
//! here, from the clocks that the voters of a group report to each other.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::limits::CLOCK_SKEW_MS_MAX;

/// Milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UnixMs(pub u64);

impl UnixMs {
    /// This time plus `ms`, saturating.
    pub fn plus_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// This time minus `ms`, saturating at the epoch.
    pub fn minus_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_sub(ms))
    }
}

impl fmt::Display for UnixMs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}ms", self.0)
    }
}

/// The wall clock, injected: real in the daemon, simulated in tests.
pub trait Clock: Send + Sync + 'static {
    /// Now, as this node believes.
    fn now(&self) -> UnixMs;
}

/// What the voters of a group say about the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuorumTime {
    /// The majority-th highest clock: a majority of voters is at or past it.
    pub upper: UnixMs,
    /// The lowest clock of the freshest majority: what destroys data uses this one.
    pub lower: UnixMs,
    /// Whether the majority's clocks are too far apart for anything to be destroyed.
    pub spread_too_wide: bool,
}

impl QuorumTime {
    /// From the fresh clocks of the voters (own clock included). `None` without a majority of `voters`.
    pub fn of(mut clocks: Vec<UnixMs>, voters: usize) -> Option<QuorumTime> {
        let majority = voters / 2 + 1;
        if clocks.len() < majority {
            return None;
        }
        clocks.sort_unstable_by(|a, b| b.cmp(a));
        let upper = clocks[majority - 1];
        // Any majority of the clocks bounds the truth; the tightest one says how far we can trust it.
        let (lower, spread) = clocks
            .windows(majority)
            .map(|w| (w[majority - 1], w[0].0 - w[majority - 1].0))
            .min_by_key(|(_, spread)| *spread)?;
        Some(QuorumTime { upper, lower, spread_too_wide: spread > CLOCK_SKEW_MS_MAX })
    }

    /// The stamp a leader may give: never before the last stamp, never far past the quorum's time.
    pub fn stamp(&self, last: UnixMs, own: UnixMs) -> UnixMs {
        last.max(own.min(self.upper.plus_ms(CLOCK_SKEW_MS_MAX)))
    }

    /// The clock that age trim and expiry may use, or `None` while the voters disagree too much.
    pub fn destructive(&self) -> Option<UnixMs> {
        (!self.spread_too_wide).then_some(self.lower)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const YEAR_MS: u64 = 365 * 24 * 3600 * 1000;

    #[test]
    fn a_leader_a_year_ahead_cannot_stamp_a_year_ahead() {
        let t = UnixMs(1_000_000_000_000);
        let quorum = QuorumTime::of(vec![t.plus_ms(YEAR_MS), t, t.plus_ms(3)], 3).expect("a majority");
        assert!(quorum.stamp(t, t.plus_ms(YEAR_MS)) <= t.plus_ms(CLOCK_SKEW_MS_MAX + 3));
    }

    #[test]
    fn a_clock_a_year_ahead_does_not_move_the_destructive_clock() {
        let t = UnixMs(1_000_000_000_000);
        let quorum = QuorumTime::of(vec![t.plus_ms(YEAR_MS), t, t.plus_ms(3)], 3).expect("a majority");
        assert_eq!(quorum.destructive(), Some(t));
    }

    #[test]
    fn two_clocks_that_disagree_freeze_destruction() {
        let t = UnixMs(1_000_000_000_000);
        let quorum = QuorumTime::of(vec![t.plus_ms(YEAR_MS), t], 3).expect("a majority");
        assert_eq!(quorum.destructive(), None);
    }

    #[test]
    fn a_minority_of_clocks_is_no_time() {
        assert_eq!(QuorumTime::of(vec![UnixMs(5)], 3), None);
    }

    #[test]
    fn stamps_never_go_back() {
        let t = UnixMs(1_000);
        let quorum = QuorumTime::of(vec![t, t, t], 3).expect("a majority");
        assert_eq!(quorum.stamp(UnixMs(9_999), t), UnixMs(9_999));
    }
}
