//! The task of a consumer: a stream to some node, and another one when it breaks.

use std::sync::Arc;
use std::time::Duration;

use meridian_proto::v1::ErrorReason;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::Consumer;
use super::ledger::{Desk, Ledger};
use super::link::{End, Link};
use super::settings::Settings;
use crate::Error;
use crate::backoff::Backoff;
use crate::channels::Channels;
use crate::client::Shared;

/// What all streams of a consumer have in common.
pub(super) struct Plan {
    pub(super) shared: Arc<Shared>,
    /// Connections of its own: a consumer that falls behind holds back nobody else.
    pub(super) channels: Channels,
    pub(super) settings: Settings,
    pub(super) consumer_id: [u8; 16],
    /// How long a node may take to open a stream, and to answer what was said before the end.
    pub(super) opening_max: Duration,
}

/// Opens a consumer, at any node, and starts its task.
pub(super) async fn open(shared: Arc<Shared>, settings: Settings) -> Result<Consumer, Error> {
    let (ready, waiting) = mpsc::unbounded_channel();
    let ledger = Ledger::new(ready, settings.queue, settings.held_max, settings.extends, Instant::now());
    let desk = Desk::new(ledger);
    let consumer_id = settings.consumer_id.unwrap_or_else(|| shared.random.bytes());
    let config = &shared.config;
    let opening_max = config.attempt_timeout.max(config.operation_timeout / 2);
    let channels = shared.channels.separate();
    let deadline = Instant::now() + config.operation_timeout;
    let plan = Plan { channels, settings, consumer_id, opening_max, shared };
    let mut backoff = Backoff::default();
    let link = loop {
        let address = plan.channels.anyone();
        let error = match Link::open(&plan, &desk, &address).await {
            Ok(link) => break link,
            Err(error) => error,
        };
        plan.channels.turn();
        let present = error.refusal() == Some(ErrorReason::ConsumerPresent);
        let pause = backoff.next(retry_after(&error), &plan.shared.random);
        if present || !is_passing(&error, 0) {
            return Err(error);
        }
        if Instant::now() + pause >= deadline {
            return Err(too_long("subscribe", plan.shared.config.operation_timeout, error));
        }
        tokio::time::sleep(pause).await;
    };
    let task = tokio::spawn(run(plan, desk.clone(), link));
    Ok(Consumer::new(desk, waiting, task, consumer_id))
}

async fn run(plan: Plan, desk: Arc<Desk>, mut link: Link) {
    let mut backoff = Backoff::brisk();
    loop {
        let opened = Instant::now();
        let error = match link.serve(&plan, &desk).await {
            End::Done => return desk.ledger.lock().end(None),
            End::Failed(error) => error,
        };
        if opened.elapsed() > plan.shared.config.attempt_timeout {
            backoff.reset();
        }
        desk.ledger.lock().broken();
        link = match again(&plan, &desk, &mut backoff, error).await {
            Ok(Some(link)) => link,
            Ok(None) => return desk.ledger.lock().end(None),
            Err(error) => return desk.ledger.lock().end(Some(error)),
        };
    }
}

/// Another stream. `None`: the application wants none.
async fn again(
    plan: &Plan,
    desk: &Desk,
    backoff: &mut Backoff,
    mut error: Error,
) -> Result<Option<Link>, Error> {
    let broken = Instant::now();
    loop {
        let gone = {
            let ledger = desk.ledger.lock();
            ledger.is_drained() || (ledger.is_closing() && ledger.is_answered())
        };
        if gone {
            return Ok(None);
        }
        if !is_passing(&error, backoff.attempts()) {
            return Err(error);
        }
        let patience = match desk.ledger.lock().is_closing() {
            true => plan.opening_max,
            false => plan.settings.patience,
        };
        if broken.elapsed() >= patience {
            return Err(too_long("subscribe", patience, error));
        }
        let pause = backoff.next(retry_after(&error), &plan.shared.random);
        tracing::debug!(subscription = %plan.settings.subscription, %error, ?pause, "subscribing again");
        tokio::time::sleep(pause).await;
        plan.channels.turn();
        let address = plan.channels.anyone();
        match Link::open(plan, desk, &address).await {
            Ok(link) => return Ok(Some(link)),
            Err(met) => {
                desk.ledger.lock().broken();
                error = met;
            }
        }
    }
}

/// Whether trying again can help. What was there may be unknown for a moment to a node that has just started.
fn is_passing(error: &Error, attempts: u32) -> bool {
    match error {
        Error::Refused(refused) => {
            refused.retryable
                || refused.reason == ErrorReason::Protocol
                || (refused.reason == ErrorReason::NotFound && (1..5).contains(&attempts))
        }
        other => other.retryable(),
    }
}

fn retry_after(error: &Error) -> Duration {
    match error {
        Error::Refused(refused) => refused.retry_after,
        _ => Duration::ZERO,
    }
}

fn too_long(what: &str, after: Duration, last: Error) -> Error {
    Error::Timeout { what: what.into(), after, last: Some(Box::new(last)) }
}
