//! What an application says about its messages, from whichever task.

use std::sync::Arc;

use tokio::time::Instant;

use super::claims::Verb;
use super::delivery::Delivery;
use super::fate::Settling;
use super::ledger::Desk;
use super::settings::start_to_wire;
use super::sources::Lag;
use crate::Start;

/// Acks and refuses messages of one consumer. Cheap to clone. What is said together travels together.
#[derive(Clone, Debug)]
pub struct Settler {
    desk: Arc<Desk>,
}

impl Settler {
    pub(super) fn new(desk: Arc<Desk>) -> Self {
        Self { desk }
    }

    /// The message is done: once this resolves it is not delivered again, to nobody, until a seek. An ack whose answer is
    /// lost is repeated.
    pub fn ack(&self, delivery: &Delivery) -> Settling {
        self.say(Verb::Ack, delivery)
    }

    /// The message is done, and so is everything of its partition before it that the application has taken and not
    /// refused. Messages that still wait here are not meant.
    pub fn ack_cumulative(&self, delivery: &Delivery) -> Settling {
        let settling = self.desk.ledger.lock().ack_up_to(&delivery.hold);
        self.desk.news.notify_one();
        settling
    }

    /// The message was not done: an attempt has failed, and it is delivered again after the backoff. Where the answer is
    /// lost nobody knows whether the attempt counts: [`crate::Error::Indeterminate`]; it is delivered again all the same.
    pub fn nack(&self, delivery: &Delivery) -> Settling {
        self.say(Verb::Nack, delivery)
    }

    /// The message takes longer: its lease begins anew.
    pub fn extend(&self, delivery: &Delivery) -> Settling {
        self.say(Verb::Extend, delivery)
    }

    fn say(&self, verb: Verb, delivery: &Delivery) -> Settling {
        let settling = self.desk.ledger.lock().say(verb, &delivery.hold);
        self.desk.news.notify_one();
        settling
    }

    pub(super) fn seek(&self, only: Option<(&str, u32)>, to: Start) -> Settling {
        let settling = self.desk.ledger.lock().seek(only, start_to_wire(to));
        self.desk.news.notify_one();
        settling
    }

    pub(super) fn drain(&self) -> Settling {
        let settling = self.desk.ledger.lock().drain();
        self.desk.news.notify_one();
        settling
    }

    pub(super) fn close(&self) {
        self.desk.ledger.lock().close();
        self.desk.news.notify_one();
    }

    pub(super) fn lag(&self) -> Vec<Lag> {
        self.desk.ledger.lock().lag()
    }

    pub(super) fn last_heard(&self) -> Instant {
        self.desk.ledger.lock().last_heard()
    }

    /// The application takes a message. `false`: it is held no longer.
    pub(super) fn take(&self, delivery: &Delivery) -> bool {
        let mut ledger = self.desk.ledger.lock();
        let held = ledger.take(delivery);
        let due = ledger.is_credit_due();
        drop(ledger);
        if due {
            self.desk.news.notify_one();
        }
        held
    }
}
