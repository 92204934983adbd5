//! A consumer's part in one partition.

use meridian_deliver::subscription::{Join, Leaving};
use meridian_model::ConsumerId;
use meridian_model::{GroupId, SubscriptionId};
use meridian_proto::v1::subscribe_request::Request;
use meridian_proto::v1::subscribe_response::Response;
use tokio::sync::mpsc;

/// Answers that may wait for a consumer. Messages are bounded by its credit.
pub(crate) const ANSWERS: usize = 4_096;

/// A consumer that wants to take part in a partition.
#[derive(Clone, Debug)]
pub struct Attach {
    /// The partition.
    pub group: GroupId,
    /// The subscription.
    pub subscription: SubscriptionId,
    /// Who, and what it wants.
    pub join: Join,
    /// What its stream calls the partition.
    pub source: u32,
    /// Whole batches instead of messages.
    pub batches: bool,
}

/// A stream of a consumer, told from its earlier ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Seat {
    pub(crate) subscription: SubscriptionId,
    pub(crate) consumer: ConsumerId,
    pub(crate) number: u64,
}

/// What comes to a partition.
#[derive(Debug)]
pub(crate) enum Arrival {
    Attach { seat: Seat, attach: Box<Attach>, answers: mpsc::Sender<Response> },
    Said { seat: Seat, request: Box<Request> },
    Left { seat: Seat, leaving: Leaving },
}

/// What a consumer says.
#[derive(Clone)]
pub struct Speaker {
    seat: Seat,
    arrivals: mpsc::Sender<Arrival>,
}

impl Speaker {
    /// Says something. `false`: the partition is not served here any more. Waits while too much was said. Cancel safe:
    /// then nothing was said.
    pub async fn say(&self, request: Request) -> bool {
        self.arrivals.send(Arrival::Said { seat: self.seat, request: Box::new(request) }).await.is_ok()
    }

    /// Leaves for good: what the consumer holds is delivered to others at once, and that is no attempt.
    pub async fn leave(self) {
        let left = Arrival::Left { seat: self.seat, leaving: Leaving::Closed };
        // Where nobody hears it, nothing is held any more.
        let _ = self.arrivals.send(left).await;
    }

    /// Is lost: what the consumer holds waits for it a while.
    pub fn lose(&self) {
        // Where there is no room, the partition notices by itself that nobody takes answers.
        let _ = self.arrivals.try_send(Arrival::Left { seat: self.seat, leaving: Leaving::Lost });
    }
}

/// A consumer that takes part. Dropped, it is lost, unless it left before.
pub struct Attached {
    speaker: Speaker,
    answers: mpsc::Receiver<Response>,
}

impl Attached {
    pub(crate) fn new(
        seat: Seat,
        arrivals: mpsc::Sender<Arrival>,
        answers: mpsc::Receiver<Response>,
    ) -> Self {
        Self { speaker: Speaker { seat, arrivals }, answers }
    }

    /// What the consumer says, for whoever hears it.
    pub fn speaker(&self) -> &Speaker {
        &self.speaker
    }

    /// The next answer. `None`: the partition is not served here any more. Cancel safe.
    pub async fn answer(&mut self) -> Option<Response> {
        self.answers.recv().await
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        self.speaker.lose();
    }
}
