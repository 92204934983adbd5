//! What a consumer holds, has said and was told. Pure: time comes in, requests and deliveries go out.
//!
//! The application and the stream's task share it. The application takes messages from the queue and says things about
//! them; the task asks what to send next and hands in what the node says.

mod hearing;
mod saying;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use meridian_proto::v1::HeldMessages;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::book::{Book, Said};
use super::claims::{Claim, Claims, Verb};
use super::credit::{Amount, Credit};
use super::delivery::Delivery;
use super::fate::{Waiter, in_doubt};
use super::held::Held;
use super::hold::Revoked;
use super::sources::{Lag, Sources};
use crate::Error;

/// Until a node says how long it listens to nothing.
const SILENCE: Duration = Duration::from_secs(30);
/// Signs of life in the longest silence.
const HEARTBEATS: u32 = 3;

/// What the application gets.
pub(super) type Ready = mpsc::UnboundedSender<Result<Delivery, Error>>;

/// How far an orderly end has come.
#[derive(Debug, Default)]
struct Drain {
    wanted: bool,
    said: bool,
    done: bool,
    waiting: Vec<Waiter>,
}

/// The state of a consumer.
#[derive(Debug)]
pub(super) struct Ledger {
    sources: Sources,
    held: Held,
    claims: Claims,
    book: Book,
    credit: Credit,
    /// Bounded by credit.
    ready: Option<Ready>,
    seeks: Vec<saying::Seek>,
    drain: Drain,
    closing: bool,
    extends: bool,
    /// Of the node, and what follows from it.
    silence: Duration,
    said_at: Instant,
    heard_at: Instant,
    /// When the present stream began, if nothing was heard on it.
    listens_since: Instant,
    claims_max: usize,
    /// Why it is over.
    over: Option<Error>,
}

impl Ledger {
    /// `extends`: leases are extended as long as messages are held.
    pub(super) fn new(ready: Ready, room: Amount, held_max: u64, extends: bool, now: Instant) -> Self {
        Self {
            sources: Sources::default(),
            held: Held::default(),
            claims: Claims::default(),
            book: Book::default(),
            credit: Credit::new(room, held_max),
            ready: Some(ready),
            seeks: Vec::new(),
            drain: Drain::default(),
            closing: false,
            extends,
            silence: SILENCE,
            said_at: now,
            heard_at: now,
            listens_since: now,
            claims_max: held_max.saturating_mul(4) as usize,
            over: None,
        }
    }

    /// What the next stream begins with: what is held from before, and the first credit.
    pub(super) fn begin(&mut self, now: Instant) -> (Vec<HeldMessages>, Amount) {
        self.sources.begin();
        (self.said_at, self.listens_since) = (now, now);
        let holds = self.held.ranges().into_iter().map(|((slot, seek_epoch), ranges)| {
            let source = self.sources.get(slot);
            HeldMessages { topic: source.topic.to_string(), partition: source.partition, seek_epoch, ranges }
        });
        let holds = holds.collect();
        let credit = if self.drain.wanted || self.closing {
            Amount::default()
        } else {
            self.credit.begin(self.held.len())
        };
        self.drain.said = false;
        (holds, credit)
    }

    /// The stream broke: what was said and not answered is said again where that is safe.
    pub(super) fn broken(&mut self) {
        for said in self.book.lose_all() {
            self.lost(said);
        }
        self.sources.begin();
        if self.drain.wanted && self.held.is_empty() {
            self.drained();
        }
    }

    /// An answer will not come.
    fn lost(&mut self, said: Said) {
        match said {
            Said::Seek { waiter } => waiter.settle(Err(in_doubt())),
            Said::Claims { topic, claims } if topic.2 == Verb::Nack => {
                // Said twice, it could count twice.
                for claim in claims {
                    self.held.revoke((topic.0, claim.offset), Revoked::NotKept);
                    claim.waiter.settle(Err(in_doubt()));
                }
                self.claims.free(topic);
            }
            Said::Claims { topic, claims } => {
                self.claims.again(topic, claims, None);
                self.claims.free(topic);
            }
        }
    }

    /// The end, for this reason or, without one, because the application wanted it.
    pub(super) fn end(&mut self, error: Option<Error>) {
        let ready = self.ready.take();
        if let Some(error) = &error
            && let Some(ready) = ready
        {
            let _ = ready.send(Err(error.clone()));
        }
        self.over = Some(error.unwrap_or(Error::Closed));
        let left = self.book.lose_all();
        drop(left);
        self.claims = Claims::default();
        self.seeks.clear();
        let outcome = self.over.clone().filter(|_| !self.drain.done);
        for waiter in self.drain.waiting.drain(..) {
            waiter.settle(outcome.clone().map_or(Ok(()), Err));
        }
    }

    /// The application takes a message. `false`: it is held no longer, and not to be seen.
    pub(super) fn take(&mut self, delivery: &Delivery) -> bool {
        self.credit.taken(Amount::one(delivery.cost_bytes));
        self.held.give(&delivery.hold)
    }

    /// Whether the task has something to send because of what was taken.
    pub(super) fn is_credit_due(&mut self) -> bool {
        !self.drain.wanted && self.credit.is_due(self.held.len())
    }

    /// What is known of how far the subscription is behind.
    pub(super) fn lag(&self) -> Vec<Lag> {
        self.sources.lag()
    }

    /// Whether everything that was said is answered.
    pub(super) fn is_answered(&self) -> bool {
        self.claims.len() == 0 && self.book.is_empty() && self.seeks.is_empty()
    }

    pub(super) fn close(&mut self) {
        self.closing = true;
    }

    pub(super) fn is_closing(&self) -> bool {
        self.closing
    }

    pub(super) fn is_drained(&self) -> bool {
        self.drain.done
    }

    /// When the node counts as gone, if it says nothing.
    pub(super) fn silent_at(&self) -> Instant {
        self.heard_at.max(self.listens_since) + self.silence
    }

    /// When something is to be said, if nothing else happens.
    pub(super) fn next_due(&self, now: Instant) -> Instant {
        let heartbeat = self.said_at + self.silence / HEARTBEATS;
        let due = [self.claims.next_due(now), self.held.next_extension(), Some(heartbeat)];
        due.into_iter().flatten().min().unwrap_or(heartbeat)
    }

    pub(super) fn last_heard(&self) -> Instant {
        self.heard_at
    }

    fn drained(&mut self) {
        self.drain.done = true;
        self.drain.waiting.drain(..).for_each(|waiter| waiter.settle(Ok(())));
    }

    fn forget(&mut self, claims: Vec<Claim>, why: &Error) {
        claims.into_iter().for_each(|claim| claim.waiter.settle(Err(why.clone())));
    }
}

/// The ledger and the bell that tells the stream's task to look at it.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) ledger: parking_lot::Mutex<Ledger>,
    pub(super) news: tokio::sync::Notify,
}

impl Desk {
    pub(super) fn new(ledger: Ledger) -> Arc<Self> {
        Arc::new(Self { ledger: parking_lot::Mutex::new(ledger), news: tokio::sync::Notify::new() })
    }
}
