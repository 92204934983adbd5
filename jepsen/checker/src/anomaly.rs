//! The ways a promise can be broken, each with the name it is known by.

use std::fmt;

use meridian_history::OpId;
use serde::{Serialize, Serializer};

use crate::promise::Promise;

macro_rules! anomalies {
    ($($(#[$doc:meta])* $kind:ident = $name:literal of $promise:ident),+ $(,)?) => {
        /// A way to break a promise.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum AnomalyKind {
            $($(#[$doc])* $kind,)+
        }

        impl AnomalyKind {
            /// Every kind.
            pub const ALL: &'static [Self] = &[$(Self::$kind),+];

            /// The name it is known by.
            pub fn name(self) -> &'static str {
                match self { $(Self::$kind => $name,)+ }
            }

            /// The promise it breaks.
            pub fn promise(self) -> Promise {
                match self { $(Self::$kind => Promise::$promise,)+ }
            }
        }
    };
}

anomalies! {
    /// A fault the run planned never took effect, so surviving it was not shown.
    FaultNeverInstalled = "fault-never-installed" of Run,
    /// Acked, at or above the log start, and on no replica in the end.
    Lost = "lost" of Log1,
    /// Acked, and missing from a replica after heal.
    Unseen = "unseen" of Log2,
    /// Read although every attempt to send it failed.
    AbortedRead = "aborted-read" of Log3,
    /// Read although nobody had sent it.
    Phantom = "phantom" of Log3,
    /// Read with other bytes than were sent.
    BadCrc = "bad-crc" of Log3,
    /// Two messages at one offset.
    InconsistentOffset = "inconsistent-offset" of Log4,
    /// Two hash chain heads at one offset.
    ChainMismatch = "chain-mismatch" of Log4,
    /// One sequenced message at two offsets.
    Duplicate = "duplicate" of Log5,
    /// A sequence that was passed over.
    SeqGap = "seq-gap" of Log5,
    /// A later sequence at a lower offset.
    NonmonotonicSend = "nonmonotonic-send" of Log5,
    /// A lower epoch wrote after a higher one had taken over.
    Zombie = "zombie" of Log6,
    /// A later append at a lower offset.
    Realtime = "realtime" of Log7,
    /// An end offset below what was already there.
    StaleEnd = "stale-end" of Log7,
    /// A session jumped over offsets without saying so.
    PollSkip = "poll-skip" of Log8,
    /// A session went back.
    NonmonotonicPoll = "nonmonotonic-poll" of Log8,
    /// An offset below an observed log start was read again.
    Resurrection = "resurrection" of Log9,
    /// The search found no legal order of a partition's operations.
    NoLegalOrder = "no-legal-order" of LogSearch,
    /// A metadata answer that contradicts the state at its Raft index.
    WrongAnswer = "wrong-answer" of Ctl1,
    /// A metadata operation that came later in time but earlier in the Raft log.
    IndexOrder = "index-order" of Ctl1,
    /// The search found no legal order of the operations on a name.
    NotLinearizable = "not-linearizable" of Ctl1,
    /// Settled, or left behind by a drain, although no consumer can have acked it.
    Undelivered = "undelivered" of Sub1,
    /// A confirmed ack that is missing from what is settled in the end.
    AckHole = "ack-hole" of Sub1,
    /// Delivered again after its ack was confirmed.
    RedeliveredAfterAck = "redelivered-after-ack" of Sub2,
    /// Two owners at a time.
    SplitOwnership = "split-ownership" of Sub3,
    /// An ack of an owner was confirmed after its successor had begun.
    ZombieAck = "zombie-ack" of Sub3,
    /// One message in two possessions.
    DoublePossession = "double-possession" of Sub4,
    /// More messages held than the subscription allows.
    BoundExceeded = "bound-exceeded" of Sub4,
    /// A key out of order, or with a new consumer before the earlier one was done.
    KeyReorder = "key-reorder" of Sub5,
    /// Delivered before its time.
    Early = "early" of Sub6,
    /// Delivered although it had expired.
    LateExpired = "late-expired" of Sub6,
    /// Dead before its last attempt failed, or alive after it.
    DlqWrong = "dlq-wrong" of Sub6,
    /// Twice in the dead-letter topic.
    DlqDuplicate = "dlq-duplicate" of Sub6,
}

impl fmt::Display for AnomalyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl Serialize for AnomalyKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// One broken promise, with what is needed to find it in the history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Anomaly {
    /// What kind it is.
    pub kind: AnomalyKind,
    /// Where: `topic[partition]`, a topic's name, or a fault.
    pub place: String,
    /// The operations that show it.
    pub ops: Vec<OpId>,
    /// What happened, in words.
    pub detail: String,
}
