//! Why a partition refuses a batch. Typed, replicated, and the same in every replica.

use serde::{Deserialize, Serialize};

use crate::Offset;

/// A definite refusal: the batch was not stored and got no offset.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// The sequence does not follow the last one stored.
    #[error("sequence gap: expected {expected}, got {got}; resend from the expected sequence")]
    SequenceGap {
        /// The only sequence that can be stored next.
        expected: u64,
        /// What came.
        got: u64,
    },
    /// Part of the batch is stored already, part is not: the producer changed a batch it had sent.
    #[error(
        "the batch overlaps sequences stored before (next is {expected}); a batch must be resent unchanged"
    )]
    PartialOverlap {
        /// The next sequence that can be stored.
        expected: u64,
    },
    /// Stored before, but so long ago that its offset is no longer known.
    #[error("duplicate beyond the dedup window: stored before, its offset is no longer known")]
    DuplicateBeyondWindow,
    /// The partition has never heard of this producer, or has forgotten it, and the sequence is not 0.
    #[error("unknown producer: open the producer again and start at sequence 0")]
    UnknownProducer,
    /// A newer epoch of this producer exists.
    #[error("fenced: epoch {got} is older than {current}; another producer of this name has taken over")]
    StaleEpoch {
        /// The epoch in force.
        current: u32,
        /// What came.
        got: u32,
    },
    /// The token that opening returned is older than the dedup horizon.
    #[error("the producer was opened too long ago; open it again")]
    TokenExpired,
    /// The partition remembers as many producers as it may.
    #[error("too many producers in this partition; try again when idle ones have expired")]
    TooManyProducers,
    /// The topic is being deleted.
    #[error("the topic is being deleted")]
    Sealed,
    /// The bytes are not a batch of this format. Admission refuses these first.
    #[error("the bytes are not a batch")]
    Malformed,
    /// The partition's disk is at its watermark.
    #[error("the disk is at its watermark; retention or an operator must free space")]
    DiskFull,
}

impl Refusal {
    /// The reason as published in `ErrorInfo.reason`.
    pub fn reason(&self) -> &'static str {
        match self {
            Refusal::SequenceGap { .. } => "SEQUENCE_GAP",
            Refusal::PartialOverlap { .. } => "PARTIAL_OVERLAP",
            Refusal::DuplicateBeyondWindow => "DUPLICATE_BEYOND_WINDOW",
            Refusal::UnknownProducer => "UNKNOWN_PRODUCER",
            Refusal::StaleEpoch { .. } => "STALE_EPOCH",
            Refusal::TokenExpired => "TOKEN_EXPIRED",
            Refusal::TooManyProducers => "TOO_MANY_PRODUCERS",
            Refusal::Sealed => "TOPIC_SEALED",
            Refusal::Malformed => "CORRUPT_BATCH",
            Refusal::DiskFull => "DISK_FULL",
        }
    }
}

/// What became of one batch of an entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AppendOutcome {
    /// Stored at these offsets by this entry.
    Stored {
        /// The offset of its first message.
        base: Offset,
    },
    /// Stored by an earlier entry, at these offsets.
    Duplicate {
        /// The offset of its first message.
        base: Offset,
    },
    /// Not stored.
    Refused(Refusal),
}
