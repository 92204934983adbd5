//! From refusals to the published reasons.

use meridian_commitlog::CursorError;
use meridian_deliver::subscription::Refusal;
use meridian_proto::v1::{ErrorReason, Failure};

/// What a consumer is told.
pub(crate) fn of_refusal(refusal: &Refusal) -> Failure {
    let reason = match refusal {
        Refusal::OtherKind { .. } => ErrorReason::OtherKind,
        Refusal::OwnerPresent | Refusal::NotOwner => ErrorReason::ConsumerPresent,
        Refusal::TooManyConsumers { .. } | Refusal::TooManyHeld { .. } | Refusal::TooManyHoles { .. } => {
            ErrorReason::Limit
        }
        Refusal::RangeTaken | Refusal::RangesMixed => ErrorReason::Conflict,
        Refusal::UnknownConsumer => ErrorReason::Unavailable,
        Refusal::CreditOverflow { .. } | Refusal::CumulativeShared => ErrorReason::InvalidArgument,
        Refusal::NotHeld { .. }
        | Refusal::Foreign { .. }
        | Refusal::UnknownEpoch { .. }
        | Refusal::NotDue { .. } => ErrorReason::NotHeld,
        Refusal::LeaseEnded { .. } => ErrorReason::LeaseEnded,
        Refusal::StaleOwner { .. } | Refusal::StaleSeek { .. } => ErrorReason::StaleDelivery,
        Refusal::SeekOutside { .. } => ErrorReason::OutOfRange,
        Refusal::Busy { .. } => ErrorReason::Throttled,
    };
    let failure = Failure::new(reason, refusal.to_string());
    match refusal {
        Refusal::CreditOverflow { .. } => failure.with("field", "credit"),
        Refusal::CumulativeShared => failure.with("field", "cumulative"),
        Refusal::SeekOutside { start, end, .. } => failure.with("start", start).with("end", end),
        Refusal::StaleOwner { current, .. } | Refusal::StaleSeek { current, .. } => {
            failure.with("current", current)
        }
        _ => failure,
    }
}

/// Why a partition cannot be dispatched from.
pub(crate) fn of_cursor(error: &CursorError) -> Failure {
    Failure::new(ErrorReason::Unavailable, error.to_string())
}
