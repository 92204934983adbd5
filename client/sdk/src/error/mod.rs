//! The one error type: what went wrong, whether a retry can help, what to do next.

mod hint;
mod refused;

use std::time::Duration;

use meridian_model::batch::BatchError;
use meridian_model::{LogId, Offset};
use meridian_proto::v1::{ErrorReason, Failure};

pub use refused::Refused;

/// Why an operation of the client failed. Cheap to clone: one failure may end many deliveries.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An argument is wrong; nothing was sent.
    #[error("{field}: {message}")]
    Invalid {
        /// Which argument.
        field: &'static str,
        /// What is wrong with it.
        message: String,
    },
    /// The cluster refused. For a message: it was not stored.
    #[error(transparent)]
    Refused(Box<Refused>),
    /// None of the known nodes can be reached.
    #[error("cannot connect to {}: {why}", addresses.join(", "))]
    Connect {
        /// Whom the client tried.
        addresses: Vec<String>,
        /// What the last of them met.
        why: String,
    },
    /// No success in time. For a message: it was not stored and never will be.
    #[error("{what}: no success within {}{}", human(*after), because(last))]
    Timeout {
        /// What was tried.
        what: String,
        /// How long.
        after: Duration,
        /// What the last attempt met.
        last: Option<Box<Error>>,
    },
    /// The outcome is unknown: it may have taken effect, or do so shortly. For a message: whoever sends it
    /// again may store it twice; whoever does not may lose it. Reading the end of the log tells.
    #[error("{what}: the outcome is unknown{}", because(last))]
    Indeterminate {
        /// What was tried.
        what: String,
        /// What the last attempt met.
        last: Option<Box<Error>>,
    },
    /// Another producer of the same name has taken over; this one can never write again.
    #[error("producer {name:?} is fenced: another producer of this name has opened the topic")]
    Fenced {
        /// The producer's name.
        name: String,
        /// The epoch in force, where known.
        current_epoch: Option<u32>,
    },
    /// Bytes that a node served are not the batch that was published.
    #[error("{topic} partition {partition} offset {offset}: {source}")]
    Corrupt {
        /// The topic.
        topic: String,
        /// The partition.
        partition: u32,
        /// The first offset of the batch.
        offset: Offset,
        /// What is wrong with the bytes.
        source: BatchError,
    },
    /// A node left offsets out without saying that retention removed them.
    #[error("{topic} partition {partition}: offset {expected} should follow, {got} came")]
    Gap {
        /// The topic.
        topic: String,
        /// The partition.
        partition: u32,
        /// The offset that follows what was read.
        expected: Offset,
        /// The offset that came.
        got: Offset,
    },
    /// The partition has another history than when the reading began: the topic was made anew or restored.
    #[error("{topic} partition {partition}: its log was {was}, now it is {now}")]
    LogChanged {
        /// The topic.
        topic: String,
        /// The partition.
        partition: u32,
        /// The history that was read.
        was: LogId,
        /// The history that is there now.
        now: LogId,
    },
    /// The producer or consumer was closed before; nothing was sent.
    #[error("it was closed before")]
    Closed,
}

impl Error {
    /// A wrong argument.
    pub(crate) fn invalid(field: &'static str, message: impl ToString) -> Self {
        Error::Invalid { field, message: message.to_string() }
    }

    /// A node's answer that does not make sense.
    pub(crate) fn nonsense(message: impl Into<String>) -> Self {
        Failure::new(ErrorReason::Internal, message).into()
    }

    /// A short, stable, upper-case name: the published reason where the cluster refused, otherwise one of
    /// `INVALID_ARGUMENT`, `CONNECT`, `TIMEOUT`, `INDETERMINATE`, `STALE_EPOCH`, `CORRUPT_BATCH`, `GAP`,
    /// `LOG_CHANGED`, `CLOSED`.
    pub fn reason(&self) -> &'static str {
        match self {
            Error::Invalid { .. } => "INVALID_ARGUMENT",
            Error::Refused(refused) => refused.reason_name(),
            Error::Connect { .. } => "CONNECT",
            Error::Timeout { .. } => "TIMEOUT",
            Error::Indeterminate { .. } => "INDETERMINATE",
            Error::Fenced { .. } => "STALE_EPOCH",
            Error::Corrupt { .. } => "CORRUPT_BATCH",
            Error::Gap { .. } => "GAP",
            Error::LogChanged { .. } => "LOG_CHANGED",
            Error::Closed => "CLOSED",
        }
    }

    /// Whether the same operation may succeed later without anybody changing it. An indeterminate publish is
    /// not retryable: a second try may store the message twice.
    pub fn retryable(&self) -> bool {
        match self {
            Error::Refused(refused) => refused.retryable,
            Error::Connect { .. } | Error::Timeout { .. } => true,
            _ => false,
        }
    }

    /// Whether the cluster, rather than the request, is the trouble: not reachable, no leader, too slow.
    pub fn is_unavailable(&self) -> bool {
        match self {
            Error::Connect { .. } | Error::Timeout { .. } | Error::Indeterminate { .. } => true,
            Error::Refused(refused) => matches!(
                refused.reason,
                ErrorReason::Unavailable | ErrorReason::NotLeader | ErrorReason::ReplicaUnavailable
            ),
            _ => false,
        }
    }

    /// What the caller can do next, in one plain sentence.
    pub fn hint(&self) -> String {
        hint::of(self)
    }

    /// The published reason, where the cluster refused.
    pub fn refusal(&self) -> Option<ErrorReason> {
        match self {
            Error::Refused(refused) => Some(refused.reason),
            _ => None,
        }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        Error::Refused(Box::new(failure.into()))
    }
}

fn because(last: &Option<Box<Error>>) -> String {
    last.as_ref().map_or_else(String::new, |error| format!(" (last: {error})"))
}

fn human(duration: Duration) -> String {
    match duration.as_millis() {
        ms if ms % 1000 == 0 => format!("{} s", ms / 1000),
        ms => format!("{ms} ms"),
    }
}
