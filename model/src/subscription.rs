//! A subscription: its kind, its rules, and what is decided about its messages.

use serde::{Deserialize, Serialize};

use crate::ranges::OffsetRange;
use crate::{LogId, Offset, UnixMs};

/// One life of a subscription: the control index at which it was created. Created anew it has another one, so
/// what was meant for the old life is refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SubscriptionId(pub u64);

impl std::fmt::Display for SubscriptionId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "subscription-{}", self.0)
    }
}

/// Who gets which message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum SubscriptionKind {
    /// One consumer gets everything; a second one is refused.
    Exclusive,
    /// One consumer for each partition gets everything; the others stand by, by priority.
    Failover,
    /// Each message goes to one of the consumers.
    Shared,
    /// Each key goes to one of the consumers, and moves only after its earlier messages are settled.
    KeyShared,
}

impl SubscriptionKind {
    /// Whether one consumer owns the partition, so that acks of an earlier owner are fenced.
    pub fn is_owned(self) -> bool {
        matches!(self, SubscriptionKind::Exclusive | SubscriptionKind::Failover)
    }
}

/// How long a message that was refused by its consumer waits before it is delivered again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Backoff {
    /// `step_ms` after the first attempt, twice that after the second, never more than `max_ms`.
    Linear {
        /// Added with each attempt.
        step_ms: u64,
        /// The longest wait.
        max_ms: u64,
    },
    /// `first_ms` after the first attempt, doubled with each, never more than `max_ms`.
    Exponential {
        /// After the first attempt.
        first_ms: u64,
        /// The longest wait.
        max_ms: u64,
    },
}

impl Backoff {
    /// How long to wait after so many attempts (from 1).
    pub fn after(self, attempts: u32) -> u64 {
        let attempts = attempts.max(1);
        match self {
            Backoff::Linear { step_ms, max_ms } => step_ms.saturating_mul(u64::from(attempts)).min(max_ms),
            Backoff::Exponential { first_ms, max_ms } => {
                let doubled = 1u64.checked_shl(attempts - 1).unwrap_or(u64::MAX);
                first_ms.saturating_mul(doubled).min(max_ms)
            }
        }
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Backoff::Exponential { first_ms: 1_000, max_ms: 60_000 }
    }
}

/// The rules of a subscription, as every partition of its topic knows them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubscriptionRules {
    /// Who gets which message.
    pub kind: SubscriptionKind,
    /// How long a consumer may hold a message without a word, in milliseconds.
    pub lease_ms: u64,
    /// When a refused message is delivered again.
    pub backoff: Backoff,
    /// After so many attempts a message goes to the dead-letter topic. `None`: it is tried for ever.
    pub attempts_max: Option<u32>,
}

impl Default for SubscriptionRules {
    fn default() -> Self {
        Self {
            kind: SubscriptionKind::Shared,
            lease_ms: 30_000,
            backoff: Backoff::default(),
            attempts_max: None,
        }
    }
}

/// Where a message stands in what a subscription delivers: delayed ones in order of time, then of offset. In the
/// main lane the time is zero, so places there are in order of offsets, and before every delayed one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Place {
    /// When the message is due; zero for a message of the main lane.
    pub deliver_at: UnixMs,
    /// Which message.
    pub offset: Offset,
}

impl Place {
    /// In the main lane.
    pub fn main(offset: Offset) -> Self {
        Self { deliver_at: UnixMs(0), offset }
    }

    /// Whether it is one of the delayed lane.
    pub fn is_delayed(self) -> bool {
        self.deliver_at > UnixMs(0)
    }
}

/// An attempt that failed: a consumer refused the message, or its lease ran out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nack {
    /// Which message.
    pub offset: Offset,
    /// Not to be delivered again before this.
    pub not_before: UnixMs,
}

/// A message that leaves for another topic after its last attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// Which message.
    pub offset: Offset,
    /// The history of the partition that it goes to.
    pub destination: LogId,
}

/// Delayed messages that lie next to each other and have the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DelayedRange {
    /// When they were to be delivered, as their batch says.
    pub deliver_at: UnixMs,
    /// Which messages.
    pub range: OffsetRange,
}

/// What is decided about delayed messages. Whoever makes it has read their rows: the partition cannot, and believes
/// which message has which time. A wrong time settles nothing that exists: the message is delivered again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DelayedSettlement {
    /// Delayed messages that the reader of the main lane came across, in order: settled there and pending here.
    /// Named before, or in the same settlement as, an ack that goes past them.
    pub passed: Vec<OffsetRange>,
    /// Acked.
    pub acked: Vec<DelayedRange>,
    /// Too old to be delivered: settled, and counted apart.
    pub expired: Vec<DelayedRange>,
    /// Attempts that failed, each with the time of its message.
    pub nacked: Vec<(UnixMs, Nack)>,
    /// Attempts that were the last, each with the time of its message.
    pub dead: Vec<(UnixMs, DeadLetter)>,
    /// Every message before this place is settled, by this settlement or before: nothing before it needs to be
    /// remembered. Believed; a message that it passes over wrongly stays in the backlog's number, and a seek
    /// brings it back.
    pub floor: Option<Place>,
}

/// What is decided about messages of one subscription in one partition. Committed as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settlement {
    /// Everything in the main lane below is acked. Delayed messages are not meant: those that a consumer had and
    /// meant too are named in `delayed`.
    pub cumulative: Option<Offset>,
    /// Acked one by one or in ranges.
    pub acked: Vec<OffsetRange>,
    /// Too old to be delivered: settled, and counted apart.
    pub expired: Vec<OffsetRange>,
    /// Attempts that failed.
    pub nacked: Vec<Nack>,
    /// Attempts that were the last.
    pub dead: Vec<DeadLetter>,
    /// Of the delayed lane.
    pub delayed: DelayedSettlement,
}

impl Settlement {
    /// How many ranges, nacks and dead letters it names.
    pub fn items(&self) -> usize {
        let main = self.acked.len() + self.expired.len() + self.nacked.len() + self.dead.len();
        let delayed = &self.delayed;
        main + delayed.passed.len()
            + delayed.acked.len()
            + delayed.expired.len()
            + delayed.nacked.len()
            + delayed.dead.len()
    }

    /// Whether nothing is decided.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Attempts of one message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempts {
    /// How many failed.
    pub count: u32,
    /// Not to be delivered again before this.
    pub not_before: UnixMs,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_grows_to_its_bound_and_no_further() {
        let linear = Backoff::Linear { step_ms: 100, max_ms: 250 };
        assert_eq!([1, 2, 3, u32::MAX].map(|n| linear.after(n)), [100, 200, 250, 250]);
        let doubling = Backoff::Exponential { first_ms: 100, max_ms: 1_000 };
        assert_eq!([1, 2, 4, 5, u32::MAX].map(|n| doubling.after(n)), [100, 200, 800, 1_000, 1_000]);
    }
}
