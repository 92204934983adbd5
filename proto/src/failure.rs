//! One error model for every RPC: a published reason, details, a retry hint. In a stream it travels as
//! [`Failure`], elsewhere as a gRPC status that carries `ErrorInfo`, `RetryInfo` and `BadRequest`.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::v1::{ErrorReason, Failure};

/// The `domain` of every `ErrorInfo`.
pub const DOMAIN: &str = "meridian";

impl Failure {
    /// A failure with this reason; whether a retry can help follows from the reason.
    pub fn new(reason: ErrorReason, message: impl Into<String>) -> Self {
        let retry_after_ms = match reason {
            ErrorReason::Unavailable | ErrorReason::ReplicaUnavailable | ErrorReason::Indeterminate => 100,
            ErrorReason::Throttled => 50,
            ErrorReason::ConsumerPresent => 1_000,
            ErrorReason::DiskFull | ErrorReason::TooManyProducers => 5_000,
            _ => 0,
        };
        let retryable = retry_after_ms > 0 || reason == ErrorReason::NotLeader;
        Failure {
            reason: reason as i32,
            message: message.into(),
            retryable,
            retry_after_ms,
            metadata: BTreeMap::new(),
        }
    }

    /// The same failure with a named detail.
    pub fn with(mut self, name: &str, value: impl ToString) -> Self {
        self.metadata.insert(name.to_string(), value.to_string());
        self
    }

    /// A wrong field of a request.
    pub fn invalid(field: &str, why: impl ToString) -> Self {
        Self::new(ErrorReason::InvalidArgument, format!("{field}: {}", why.to_string())).with("field", field)
    }

    /// As a gRPC status.
    pub fn into_status(self) -> Status {
        let reason = self.reason();
        let mut details = ErrorDetails::new();
        if let Some(field) = self.metadata.get("field") {
            details.set_bad_request(vec![tonic_types::FieldViolation::new(field, &self.message)]);
        }
        if self.retry_after_ms > 0 {
            details.set_retry_info(Some(Duration::from_millis(self.retry_after_ms)));
        }
        details.set_error_info(
            short_name(reason),
            DOMAIN,
            self.metadata.into_iter().collect::<HashMap<_, _>>(),
        );
        Status::with_error_details(code_of(reason), self.message, details)
    }

    /// Back from a gRPC status. A status that Meridian did not make becomes `UNAVAILABLE` where the
    /// connection failed and `INTERNAL` otherwise.
    pub fn from_status(status: &Status) -> Self {
        Self::told_by(status).unwrap_or_else(|| {
            let reason = match status.code() {
                Code::Unavailable | Code::Cancelled | Code::DeadlineExceeded | Code::Unknown => {
                    ErrorReason::Unavailable
                }
                Code::ResourceExhausted => ErrorReason::Throttled,
                Code::OutOfRange | Code::InvalidArgument => ErrorReason::InvalidArgument,
                _ => ErrorReason::Internal,
            };
            Failure::new(reason, status.message())
        })
    }

    /// Back from a gRPC status, if Meridian made it.
    pub fn told_by(status: &Status) -> Option<Self> {
        let info = status.get_details_error_info().filter(|info| info.domain == DOMAIN)?;
        let reason = ErrorReason::from_str_name(&format!("ERROR_REASON_{}", info.reason));
        let mut failure = Failure::new(reason.unwrap_or(ErrorReason::Internal), status.message());
        failure.metadata = info.metadata.into_iter().collect();
        if let Some(delay) = status.get_details_retry_info().and_then(|retry| retry.retry_delay) {
            failure.retry_after_ms = delay.as_millis() as u64;
        }
        Some(failure)
    }
}

impl From<Failure> for Status {
    fn from(failure: Failure) -> Self {
        failure.into_status()
    }
}

/// The reason as `ErrorInfo` spells it: without its prefix.
pub fn short_name(reason: ErrorReason) -> &'static str {
    reason.as_str_name().trim_start_matches("ERROR_REASON_")
}

fn code_of(reason: ErrorReason) -> Code {
    match reason {
        ErrorReason::InvalidArgument | ErrorReason::CorruptBatch | ErrorReason::TooLarge => {
            Code::InvalidArgument
        }
        ErrorReason::NotFound => Code::NotFound,
        ErrorReason::AlreadyExists => Code::AlreadyExists,
        ErrorReason::Conflict | ErrorReason::StaleEpoch | ErrorReason::StaleDelivery => Code::Aborted,
        ErrorReason::Limit
        | ErrorReason::Throttled
        | ErrorReason::DiskFull
        | ErrorReason::TooManyProducers => Code::ResourceExhausted,
        ErrorReason::NotLeader | ErrorReason::Unavailable | ErrorReason::ReplicaUnavailable => {
            Code::Unavailable
        }
        ErrorReason::Indeterminate => Code::Unknown,
        ErrorReason::NotEnoughNodes
        | ErrorReason::SequenceGap
        | ErrorReason::PartialOverlap
        | ErrorReason::DuplicateBeyondWindow
        | ErrorReason::UnknownProducer
        | ErrorReason::TokenExpired
        | ErrorReason::TopicSealed
        | ErrorReason::NotHeld
        | ErrorReason::LeaseEnded
        | ErrorReason::OtherKind
        | ErrorReason::ConsumerPresent
        | ErrorReason::Protocol => Code::FailedPrecondition,
        ErrorReason::OutOfRange => Code::OutOfRange,
        ErrorReason::Internal | ErrorReason::Unspecified => Code::Internal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_survives_the_trip_through_a_status() {
        for number in 1..=25 {
            let reason = ErrorReason::try_from(number).expect("a published reason");
            let sent = Failure::new(reason, "why").with("node", 3);
            let got = Failure::from_status(&sent.clone().into_status());
            assert_eq!(got, sent, "{reason:?}");
        }
    }

    #[test]
    fn a_wrong_field_is_named_twice() {
        let status = Failure::invalid("topic", "the name is empty").into_status();
        assert_eq!(status.code(), Code::InvalidArgument);
        let bad = status.get_details_bad_request().expect("BadRequest");
        assert_eq!(bad.field_violations[0].field, "topic");
    }
}
