//! One subscription in one partition: its dispatcher, and the ways to its consumers.

use std::collections::BTreeMap;

use meridian_deliver::subscription::Dispatcher;
use meridian_model::{ConsumerId, LogId, UnixMs};
use meridian_proto::v1::subscribe_response::Response;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::attached::{Arrival, Seat};

/// What may wait until a dispatcher has begun.
const WAITING_MAX: usize = 1_024;

/// The way to a consumer.
pub(crate) struct Consumer {
    pub(crate) seat: Seat,
    pub(crate) source: u32,
    pub(crate) batches: bool,
    pub(crate) answers: mpsc::Sender<Response>,
}

/// Whether there is a dispatcher.
pub(crate) enum State {
    /// Its first command is not committed yet. What consumers said waits.
    Beginning(Vec<Arrival>),
    Dispatching(Box<Dispatcher>),
}

/// A subscription that is served.
pub(crate) struct Served {
    /// Told from earlier ones of the same subscription.
    pub(crate) life: u64,
    pub(crate) state: State,
    pub(crate) consumers: BTreeMap<ConsumerId, Consumer>,
    pub(crate) wake_at: Option<UnixMs>,
    /// The control index of the rules that the dispatcher knows.
    pub(crate) rules_at: u64,
    /// Whether messages go to a dead-letter topic after their last attempt.
    pub(crate) buries: bool,
    /// Where the dispatcher believes that dead letters go.
    pub(crate) destination: Option<LogId>,
    /// The backlog that consumers were told of, and when.
    pub(crate) lag_told: Option<u64>,
    pub(crate) told_at: Option<Instant>,
    /// Since when nobody takes part.
    pub(crate) idle_since: Option<UnixMs>,
}

impl Served {
    pub(crate) fn new(life: u64) -> Self {
        Self {
            life,
            state: State::Beginning(Vec::new()),
            consumers: BTreeMap::new(),
            wake_at: None,
            rules_at: 0,
            buries: false,
            destination: None,
            lag_told: None,
            told_at: None,
            idle_since: None,
        }
    }

    /// Whether the arrival waits for the beginning. Otherwise it is given back.
    pub(crate) fn wait(&mut self, arrival: Arrival) -> Option<Arrival> {
        match &mut self.state {
            State::Dispatching(_) => Some(arrival),
            // What has no room is lost with the consumer's way: it comes again.
            State::Beginning(waiting) if waiting.len() >= WAITING_MAX => None,
            State::Beginning(waiting) => {
                waiting.push(arrival);
                None
            }
        }
    }

    /// The consumer, if this is its latest stream.
    pub(crate) fn seated(&self, seat: Seat) -> Option<&Consumer> {
        self.consumers.get(&seat.consumer).filter(|consumer| consumer.seat == seat)
    }

    /// A tick is to be sent at this time, at the latest.
    pub(crate) fn wake(&mut self, at: UnixMs) {
        self.wake_at = Some(self.wake_at.map_or(at, |before| before.min(at)));
    }
}
