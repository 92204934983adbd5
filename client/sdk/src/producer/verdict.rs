//! What an unsuccessful answer to a batch means.

use std::time::Duration;

use meridian_proto::v1::{ErrorReason, Failure};

use crate::Error;

/// Refusals that pass by themselves when a node is behind are believed after so many repetitions.
const SOFT_REFUSALS_MAX: u32 = 5;

/// Why a copy of a batch was not acked.
#[derive(Clone, Debug)]
pub(super) enum Trouble {
    /// A node answered.
    Refused(Error),
    /// The connection ended, or the answer is overdue: anything may have happened.
    Lost(Error),
}

/// What to do about the oldest batch, and so about all of them.
#[derive(Debug)]
pub(super) enum Verdict {
    /// Send the same again, after a pause of at least `after`.
    Again {
        after: Duration,
        /// Ask anew who leads, and take another connection.
        reroute: bool,
        /// Counts against the refusals that are expected to pass.
        soft: bool,
    },
    /// The cluster does not know this identity, so nothing of it is stored: take a new one.
    Renew,
    /// It is stored; where is no longer known.
    StoredSomewhere(Error),
    /// A newer epoch exists.
    Fenced { current_epoch: Option<u32>, error: Error },
    /// It will never be stored.
    Refused(Error),
    /// Nothing for this topic will ever be stored.
    TopicGone(Error),
}

impl Verdict {
    pub(super) fn again_at_once() -> Self {
        Verdict::Again { after: Duration::ZERO, reroute: false, soft: false }
    }

    pub(super) fn is_soft(&self) -> bool {
        matches!(self, Verdict::Again { soft: true, .. } | Verdict::Renew)
    }
}

impl Trouble {
    pub(super) fn refused(failure: Failure) -> Self {
        Trouble::Refused(failure.into())
    }

    /// It never left, so its outcome is known: try another connection.
    pub(super) fn unsent() -> Self {
        Self::refused(Failure::new(
            ErrorReason::NotLeader,
            "the publish stream ended before this batch was sent",
        ))
    }

    pub(super) fn lost(failure: Failure) -> Self {
        Trouble::Lost(failure.into())
    }

    pub(super) fn error(&self) -> &Error {
        match self {
            Trouble::Refused(error) | Trouble::Lost(error) => error,
        }
    }

    /// Whether this copy may be in the log all the same. `UNAVAILABLE` counts: a node that forwarded the batch
    /// and lost its answer may say so.
    pub(super) fn may_be_stored(&self) -> bool {
        use ErrorReason::*;
        match self {
            Trouble::Lost(_) => true,
            Trouble::Refused(error) => matches!(
                error.refusal(),
                None | Some(Unavailable | ReplicaUnavailable | Indeterminate | Internal | Unspecified)
            ),
        }
    }

    /// The meaning for the oldest batch. `as_head`: nothing unanswered was before it when it was sent.
    pub(super) fn judge(&self, as_head: bool, soft_refusals: u32) -> Verdict {
        use ErrorReason::*;
        let (error, refused) = match self {
            Trouble::Refused(error @ Error::Refused(refused)) => (error, refused),
            _ => return Verdict::Again { after: Duration::ZERO, reroute: true, soft: false },
        };
        let after = refused.retry_after;
        let believed = soft_refusals >= SOFT_REFUSALS_MAX;
        match refused.reason {
            NotLeader => Verdict::Again { after: Duration::ZERO, reroute: true, soft: false },
            Unavailable | ReplicaUnavailable | Indeterminate | Internal | Protocol | Unspecified => {
                Verdict::Again { after, reroute: true, soft: false }
            }
            Throttled | DiskFull | TooManyProducers => Verdict::Again { after, reroute: false, soft: false },
            // A batch before it was refused and is acked by now.
            SequenceGap if !as_head => Verdict::again_at_once(),
            // A node that has just begun to lead, or has not heard of the topic, may be behind.
            SequenceGap | NotFound if !believed => {
                Verdict::Again { after: Duration::from_millis(50), reroute: true, soft: true }
            }
            UnknownProducer | TokenExpired if !believed => Verdict::Renew,
            DuplicateBeyondWindow => Verdict::StoredSomewhere(error.clone()),
            StaleEpoch => {
                let current_epoch = refused.number("current").and_then(|epoch| u32::try_from(epoch).ok());
                Verdict::Fenced { current_epoch, error: error.clone() }
            }
            TopicSealed | NotFound => Verdict::TopicGone(error.clone()),
            _ => Verdict::Refused(error.clone()),
        }
    }
}
