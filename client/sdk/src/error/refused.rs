//! A refusal by the cluster.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use meridian_proto::failure::short_name;
use meridian_proto::v1::{ErrorReason, Failure};

/// What the cluster said when it refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The published reason.
    pub reason: ErrorReason,
    /// In words.
    pub message: String,
    /// Whether the same request may succeed later.
    pub retryable: bool,
    /// How long to wait before that. Zero: no hint.
    pub retry_after: Duration,
    /// Named details: `expected`, `current`, `node`, `address`, `field`.
    pub metadata: BTreeMap<String, String>,
}

impl Refused {
    /// The published reason without its prefix, such as `NOT_FOUND`.
    pub fn reason_name(&self) -> &'static str {
        short_name(self.reason)
    }

    /// A named detail as a number.
    pub fn number(&self, name: &str) -> Option<u64> {
        self.metadata.get(name).and_then(|value| value.parse().ok())
    }
}

impl From<Failure> for Refused {
    fn from(failure: Failure) -> Self {
        Refused {
            reason: failure.reason(),
            message: failure.message,
            retryable: failure.retryable,
            retry_after: Duration::from_millis(failure.retry_after_ms),
            metadata: failure.metadata.into_iter().collect(),
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.message.is_empty() {
            true => f.write_str(self.reason_name()),
            false => f.write_str(&self.message),
        }
    }
}

impl std::error::Error for Refused {}
