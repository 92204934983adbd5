//! From the rooms' errors to the published ones.

use meridian_commitlog::{AppendError, ReadError};
use meridian_machine::control::ControlRefusal;
use meridian_model::{BatchError, Refusal};
use meridian_proto::v1::{ErrorReason, Failure};
use meridian_publish::{PublishError, Refused, RouteError};

use crate::control_plane::ControlError;

pub(super) fn of_route(error: &RouteError) -> Failure {
    let reason = match error {
        RouteError::NoTopic(_) => ErrorReason::NotFound,
        RouteError::NoPartition { .. } => ErrorReason::NotFound,
        RouteError::Deleting(_) => ErrorReason::TopicSealed,
        RouteError::NotReady => ErrorReason::Unavailable,
    };
    let field = matches!(error, RouteError::NoPartition { .. }).then_some("partition").unwrap_or("topic");
    Failure::new(reason, error.to_string()).with("field", field)
}

pub(super) fn of_refusal(refusal: &Refusal) -> Failure {
    let reason = match refusal {
        Refusal::SequenceGap { .. } => ErrorReason::SequenceGap,
        Refusal::PartialOverlap { .. } => ErrorReason::PartialOverlap,
        Refusal::DuplicateBeyondWindow => ErrorReason::DuplicateBeyondWindow,
        Refusal::UnknownProducer => ErrorReason::UnknownProducer,
        Refusal::StaleEpoch { .. } => ErrorReason::StaleEpoch,
        Refusal::TokenExpired => ErrorReason::TokenExpired,
        Refusal::TooManyProducers => ErrorReason::TooManyProducers,
        Refusal::Sealed => ErrorReason::TopicSealed,
        Refusal::DiskFull => ErrorReason::DiskFull,
        Refusal::Malformed => ErrorReason::CorruptBatch,
    };
    let failure = Failure::new(reason, refusal.to_string());
    match refusal {
        Refusal::SequenceGap { expected, .. } | Refusal::PartialOverlap { expected } => {
            failure.with("expected", expected)
        }
        Refusal::StaleEpoch { current, .. } => failure.with("current", current),
        _ => failure,
    }
}

pub(super) fn of_append(error: &AppendError) -> Failure {
    match error {
        AppendError::NotLeader { leader: Some(node) } => {
            Failure::new(ErrorReason::NotLeader, error.to_string()).with("node", node.0)
        }
        AppendError::NotLeader { leader: None } => {
            Failure::new(ErrorReason::Unavailable, "the partition has no leader at the moment; try again")
        }
        AppendError::Unavailable(_) => Failure::new(ErrorReason::Unavailable, error.to_string()),
        AppendError::Indeterminate(_) => Failure::new(ErrorReason::Indeterminate, error.to_string()),
        AppendError::Refused(refusal) => of_refusal(refusal),
    }
}

fn of_batch(error: &BatchError) -> Failure {
    let reason = match error {
        BatchError::Limit { .. } => ErrorReason::TooLarge,
        _ => ErrorReason::CorruptBatch,
    };
    Failure::new(reason, format!("batch: {error}")).with("field", "batch")
}

pub(super) fn of_publish(error: &PublishError) -> Failure {
    match error {
        PublishError::Unauthenticated => Failure::invalid("authorization", error),
        PublishError::Refused(Refused::Corrupt(error)) => of_batch(error),
        PublishError::Refused(Refused::Busy) => Failure::new(ErrorReason::Throttled, error.to_string()),
        PublishError::Route(error) => of_route(error),
        PublishError::Elsewhere { node, .. } => {
            Failure::new(ErrorReason::NotLeader, error.to_string()).with("node", node.0)
        }
        PublishError::Append(error) => of_append(error),
    }
}

pub(super) fn of_read(error: &ReadError) -> Failure {
    match error {
        ReadError::OutOfRange { start, end, .. } => Failure::new(ErrorReason::OutOfRange, error.to_string())
            .with("start", start)
            .with("end", end)
            .with("field", "offset"),
        ReadError::Unavailable(_) => Failure::new(ErrorReason::ReplicaUnavailable, error.to_string()),
        ReadError::Disk(_) => Failure::new(ErrorReason::ReplicaUnavailable, error.to_string()),
    }
}

pub(super) fn of_control(error: &ControlError) -> Failure {
    match error {
        ControlError::Unavailable(_) | ControlError::Foreign(_) => {
            Failure::new(ErrorReason::Unavailable, error.to_string())
        }
        ControlError::Indeterminate(_) => Failure::new(ErrorReason::Indeterminate, error.to_string()),
        ControlError::Refused { refusal, index } => of_control_refusal(refusal).with("control_index", index),
    }
}

fn of_control_refusal(refusal: &ControlRefusal) -> Failure {
    let said = refusal.to_string();
    match refusal {
        ControlRefusal::NotFound { .. } => Failure::new(ErrorReason::NotFound, said),
        ControlRefusal::AlreadyExists { .. } => Failure::new(ErrorReason::AlreadyExists, said),
        ControlRefusal::Invalid { field, why } => Failure::invalid(field, why),
        ControlRefusal::Conflict { .. } => Failure::new(ErrorReason::Conflict, said),
        ControlRefusal::Limit { .. } => Failure::new(ErrorReason::Limit, said),
        ControlRefusal::NotEnoughNodes { .. } | ControlRefusal::LastToLead { .. } => {
            Failure::new(ErrorReason::NotEnoughNodes, said)
        }
        ControlRefusal::NotFormed => Failure::new(ErrorReason::Unavailable, said),
    }
}
