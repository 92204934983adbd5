//! What can happen to a batch on its way.

use meridian_proto::v1::ErrorReason;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    Pass,
    /// Stored, but the connection breaks before the ack.
    BreakAfterStore,
    /// The connection breaks before anything happens.
    BreakBeforeStore,
    /// Stored, but the answer is "outcome unknown".
    UnknownAfterStore,
    UnknownBeforeStore,
    /// The leadership moves to the next node; the answer redirects.
    Move,
    /// Refused for this reason; not stored.
    Refuse(ErrorReason),
    /// Neither stored nor answered.
    Silence,
    /// Stored, never answered.
    SilenceAfterStore,
}

/// Draws faults, the same for the same seed.
pub struct Dice {
    state: u64,
    /// Faults in a thousand batches.
    per_mille: u64,
}

impl Dice {
    pub fn new(seed: u64, per_mille: u64) -> Self {
        Self { state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1, per_mille }
    }

    pub fn roll(&mut self) -> Fault {
        if self.next() % 1000 >= self.per_mille {
            return Fault::Pass;
        }
        match self.next() % 8 {
            0 => Fault::BreakAfterStore,
            1 => Fault::BreakBeforeStore,
            2 => Fault::UnknownAfterStore,
            3 => Fault::UnknownBeforeStore,
            4 => Fault::Move,
            5 => Fault::Refuse(ErrorReason::Throttled),
            6 => Fault::Refuse(ErrorReason::Unavailable),
            _ => Fault::Refuse(ErrorReason::NotLeader),
        }
    }

    /// xorshift64.
    fn next(&mut self) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state >> 11
    }
}
