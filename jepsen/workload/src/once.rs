//! One attempt over the wire, and what its answer means: done, refused for certain, or unknown.

use std::future::Future;
use std::time::Duration;

use meridian_proto::v1::{ErrorReason, Failure};
use tonic::{Response, Status};

/// How an attempt ended that brought no answer.
#[derive(Debug)]
pub(crate) enum Unanswered {
    /// Refused: it did not take effect and never will.
    Refused(Failure),
    /// It may have taken effect, may yet, or may never.
    Unknown(String),
}

impl Unanswered {
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::Refused(failure) => meridian_proto::failure::short_name(failure.reason()),
            Self::Unknown(_) => "unknown",
        }
    }

    pub(crate) fn why(&self) -> String {
        match self {
            Self::Refused(failure) => format!("{}: {}", self.reason(), failure.message),
            Self::Unknown(why) => why.clone(),
        }
    }

    pub(crate) fn refusal(&self) -> Option<ErrorReason> {
        match self {
            Self::Refused(failure) => Some(failure.reason()),
            Self::Unknown(_) => None,
        }
    }
}

/// Waits for one answer.
pub(crate) async fn attempt<T>(
    patience: Duration,
    call: impl Future<Output = Result<Response<T>, Status>>,
) -> Result<T, Unanswered> {
    match tokio::time::timeout(patience, call).await {
        Ok(Ok(response)) => Ok(response.into_inner()),
        Ok(Err(status)) => Err(judge(&status)),
        Err(_) => Err(Unanswered::Unknown(format!("no answer within {} ms", patience.as_millis()))),
    }
}

/// Only a refusal that names a reason other than trouble on the way is definite. A connection that could not be
/// made is told from one that broke by nothing that could be relied on, so both are unknown.
fn judge(status: &Status) -> Unanswered {
    use ErrorReason::{Indeterminate, Internal, ReplicaUnavailable, Unavailable, Unspecified};
    let failure = Failure::from_status(status);
    match failure.reason() {
        Unavailable | ReplicaUnavailable | Indeterminate | Internal | Unspecified => {
            Unanswered::Unknown(format!("{:?}: {}", status.code(), status.message()))
        }
        _ => Unanswered::Refused(failure),
    }
}
