//! One call with its attempts: whom to ask, when to ask again, when to give up.

use std::time::Duration;

use futures::future::BoxFuture;
use meridian_proto::failure::DOMAIN;
use meridian_proto::v1::{ErrorReason, Failure};
use tokio::time::Instant;
use tonic::transport::Channel;
use tonic::{Response, Status};
use tonic_types::StatusExt;

use crate::Error;
use crate::backoff::Backoff;
use crate::channels::innermost;
use crate::client::Shared;

/// What may be done after an attempt whose outcome is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// Repeating has no further effect: reads, and changes with a request id.
    Safe,
    /// Repeating could do it twice: give up as [`Error::Indeterminate`].
    Unsafe,
}

/// A call to make.
pub(crate) struct Call<'a> {
    /// For errors: "create topic".
    pub(crate) what: &'a str,
    /// Whom to ask first, such as a leader. Absent: anyone.
    pub(crate) first: Option<String>,
    pub(crate) repeat: Repeat,
    /// Over all attempts.
    pub(crate) timeout: Duration,
    /// For one attempt.
    pub(crate) patience: Duration,
}

impl Shared {
    /// Makes the call at any node, with attempts until the operation timeout.
    pub(crate) async fn call<T, F>(&self, what: &str, attempt: F) -> Result<T, Error>
    where
        F: Fn(Channel) -> BoxFuture<'static, Result<Response<T>, Status>>,
    {
        self.call_as(self.usual(what, None), attempt).await
    }

    /// Makes a change that may wait for a whole group of nodes, so that one attempt gets more time.
    pub(crate) async fn change<T, F>(&self, what: &str, attempt: F) -> Result<T, Error>
    where
        F: Fn(Channel) -> BoxFuture<'static, Result<Response<T>, Status>>,
    {
        let usual = self.usual(what, None);
        let patience = usual.patience.max(usual.timeout / 2);
        self.call_as(Call { patience, ..usual }, attempt).await
    }

    /// A repeatable call with the configured bounds.
    pub(crate) fn usual<'a>(&self, what: &'a str, first: Option<String>) -> Call<'a> {
        let (timeout, patience) = (self.config.operation_timeout, self.config.attempt_timeout);
        Call { what, first, repeat: Repeat::Safe, timeout, patience }
    }

    /// Makes the call. Dropping the future abandons it; what was sent may still take effect.
    pub(crate) async fn call_as<T, F>(&self, call: Call<'_>, attempt: F) -> Result<T, Error>
    where
        F: Fn(Channel) -> BoxFuture<'static, Result<Response<T>, Status>>,
    {
        let deadline = Instant::now() + call.timeout;
        let mut backoff = Backoff::default();
        let mut next = call.first.clone();
        let mut unreachable = 0;
        loop {
            let address = next.take().unwrap_or_else(|| self.channels.anyone());
            let error =
                match self.attempt(&address, deadline.min(Instant::now() + call.patience), &attempt).await {
                    Ok(response) => return Ok(response),
                    Err(error) => error,
                };
            let known = self.channels.all().len();
            unreachable = if matches!(error, Error::Connect { .. }) { unreachable + 1 } else { 0 };
            let (again, hint) = judge(&error, call.repeat);
            if !again {
                return Err(match call.repeat == Repeat::Unsafe && is_unknown(&error) {
                    true => Error::Indeterminate { what: call.what.into(), last: Some(Box::new(error)) },
                    false => error,
                });
            }
            next = redirect(&error).filter(|_| backoff.attempts() < 8);
            let pause = match next.is_some() && backoff.attempts() == 0 {
                true => Duration::ZERO,
                false => backoff.next(hint, &self.random),
            };
            tracing::debug!(what = call.what, %address, %error, ?pause, "attempt failed");
            if Instant::now() + pause >= deadline {
                return Err(self.give_up(call, error, unreachable >= known));
            }
            tokio::time::sleep(pause).await;
        }
    }

    async fn attempt<T, F>(&self, address: &str, until: Instant, attempt: &F) -> Result<T, Error>
    where
        F: Fn(Channel) -> BoxFuture<'static, Result<Response<T>, Status>>,
    {
        let channel = self.channels.get(address).await?;
        match tokio::time::timeout_at(until, attempt(channel)).await {
            Ok(Ok(response)) => Ok(response.into_inner()),
            Ok(Err(status)) => {
                if is_transport(&status) {
                    self.channels.suspect(address);
                } else if Failure::from_status(&status).reason() == ErrorReason::Unavailable {
                    self.channels.turn();
                }
                let mut failure = Failure::from_status(&status);
                if Failure::told_by(&status).is_none() && std::error::Error::source(&status).is_some() {
                    // The connection says why better than what was made of it.
                    failure.message = innermost(&status);
                }
                Err(failure.into())
            }
            Err(_) => {
                self.channels.suspect(address);
                Err(Failure::new(ErrorReason::Unavailable, format!("{address} did not answer in time"))
                    .into())
            }
        }
    }

    fn give_up(&self, call: Call<'_>, last: Error, nobody: bool) -> Error {
        match last {
            Error::Connect { why, .. } if nobody => Error::Connect { addresses: self.channels.all(), why },
            last => {
                Error::Timeout { what: call.what.into(), after: call.timeout, last: Some(Box::new(last)) }
            }
        }
    }
}

/// Whether to try again, and the pause that was asked for.
fn judge(error: &Error, repeat: Repeat) -> (bool, Duration) {
    match error {
        Error::Connect { .. } => (true, Duration::ZERO),
        Error::Refused(refused) if is_unknown(error) => (repeat == Repeat::Safe, refused.retry_after),
        Error::Refused(refused) => (refused.retryable, refused.retry_after),
        _ => (false, Duration::ZERO),
    }
}

/// Whether the request may have taken effect although an error came.
fn is_unknown(error: &Error) -> bool {
    matches!(error.refusal(), Some(ErrorReason::Unavailable | ErrorReason::Indeterminate))
}

/// The leader's address, where a refusal names it.
pub(crate) fn redirect(error: &Error) -> Option<String> {
    match error {
        Error::Refused(refused) if refused.reason == ErrorReason::NotLeader => {
            refused.metadata.get("address").filter(|address| !address.is_empty()).cloned()
        }
        _ => None,
    }
}

/// Whether the connection, rather than a node, made this status.
pub(crate) fn is_transport(status: &Status) -> bool {
    status.get_details_error_info().is_none_or(|info| info.domain != DOMAIN)
        && Failure::from_status(status).reason() == ErrorReason::Unavailable
}
