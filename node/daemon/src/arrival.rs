//! What a call that failed says of whether the other node has heard it.

use std::error::Error as _;

use tonic::Status;

/// Whether there was no connection to send it on.
pub(crate) fn never_sent(status: &Status) -> bool {
    let first: &(dyn std::error::Error + 'static) = status;
    std::iter::successors(Some(first), |error| (*error).source())
        .any(|error| error.downcast_ref::<tonic::ConnectError>().is_some())
}

/// Whether the other node said this. What a connection says when it breaks carries the error that broke it; its code
/// may be any.
pub(crate) fn is_answer(status: &Status) -> bool {
    status.source().is_none()
}
