//! Consumers of one subscription: they are given messages, ack, refuse, hesitate, come and go, and write all of it
//! down, so that the SUB checkers can judge a run.
//!
//! They work through the consumer of the SDK, which hides broken streams from them. So the histories say only what an
//! application can know: an ack that ended in an error is of unknown outcome, a message is lost when the SDK says so, and
//! a consumer counts as gone from when its node was last heard.

mod drain;
mod hand;
mod life;

use std::sync::Arc;

use meridian_history::{Done, Place, Subscribe, SubscriptionKind};
use meridian_model::{Clock, Offset, UnixMs};
use meridian_sdk::consumer::{Consumer, Kind, RedeliveryBackoff};
use meridian_sdk::{Client, ConsumerBuilder, Error, Start};

use crate::chance::Chance;
use crate::region::Region;
use crate::scene::Scene;

pub use drain::{dead_letters, drain, final_state};
pub use life::consume;

/// One subscription, and how its consumers behave.
#[derive(Clone)]
pub struct Queue {
    /// Its name.
    pub subscription: String,
    /// Who gets which message.
    pub kind: SubscriptionKind,
    /// How long a consumer may hold a message without a word, in milliseconds.
    pub lease_ms: u64,
    /// How long a refused message waits at first and at most, in milliseconds.
    pub backoff_ms: (u64, u64),
    /// After so many failed attempts a message goes to the topic that is named.
    pub dead_letters: Option<(u32, String)>,
    /// Where it begins.
    pub start: Place,
    /// Messages that may be on their way to one consumer.
    pub credit: u64,
    /// The habits of its consumers.
    pub habits: Habits,
    /// The wall clock of the recording machine.
    pub clock: Arc<dyn Clock>,
    /// Whether the nodes' clocks agree with it: what they say about the ends of leases is written down then.
    pub clocks_agree: bool,
}

/// What consumers do with messages, in percent; the rest is acked.
#[derive(Debug, Clone, Copy)]
pub struct Habits {
    /// Refused.
    pub nack: u64,
    /// Held without a word until the lease ends.
    pub silence: u64,
    /// Acked after more time was asked for.
    pub extend: u64,
    /// Owners: acked together with everything before.
    pub cumulative: u64,
    /// How long a consumer stays at least and at most, in milliseconds.
    pub stay_ms: (u64, u64),
}

impl Default for Habits {
    fn default() -> Self {
        Self { nack: 8, silence: 3, extend: 8, cumulative: 25, stay_ms: (500, 5_000) }
    }
}

impl Queue {
    /// As histories have it. Other bounds than the server's own are not set.
    fn call(&self, scene: &Scene) -> Subscribe {
        Subscribe {
            topic: scene.topic.clone(),
            subscription: self.subscription.clone(),
            kind: self.kind,
            lease_ms: self.lease_ms,
            attempts_max: self.dead_letters.as_ref().map(|(attempts, _)| *attempts),
            dead_letter: self.dead_letters.as_ref().map(|(_, topic)| topic.clone()),
            start: self.start,
            unacked_consumer_max: None,
            unacked_max: None,
            made: None,
        }
    }

    fn builder(&self, scene: &Scene, client: &Client) -> ConsumerBuilder {
        let kind = match self.kind {
            SubscriptionKind::Exclusive => Kind::Exclusive,
            SubscriptionKind::Failover => Kind::Failover,
            SubscriptionKind::Shared => Kind::Shared,
            SubscriptionKind::KeyShared => Kind::KeyShared,
        };
        let builder = client.consumer([scene.topic.clone()]).subscription(&self.subscription).kind(kind);
        builder.queue_messages_max(self.credit)
    }

    async fn open(
        &self,
        scene: &Scene,
        region: &impl Region,
        chance: &mut Chance,
    ) -> Result<Consumer, Error> {
        self.builder(scene, &region.client(chance.any())?).open().await
    }
}

/// Makes the subscription, until that has worked or the work is over.
pub async fn subscribe(scene: &Scene, region: &impl Region, queue: &Queue, chance: &mut Chance) {
    while !scene.is_over() {
        let pending = scene.recorder.invoke(scene.number(), queue.call(scene));
        match make(scene, region, queue, chance).await {
            Ok(consumer) => {
                pending.ok(Done {});
                return consumer.close().await;
            }
            Err(error) => pending.info(error.to_string()),
        }
        scene.pause(50).await;
    }
}

async fn make(
    scene: &Scene,
    region: &impl Region,
    queue: &Queue,
    chance: &mut Chance,
) -> Result<Consumer, Error> {
    let client = region.client(chance.any())?;
    let start = match queue.start {
        Place::Earliest => Start::Earliest,
        Place::Latest => Start::Latest,
        Place::Offset(offset) => Start::Offset(Offset(offset)),
        Place::Time(time) => Start::Time(UnixMs(time)),
    };
    let mut builder = queue.builder(scene, &client).create(true).start(start);
    let [lease, first, most] =
        [queue.lease_ms, queue.backoff_ms.0, queue.backoff_ms.1].map(std::time::Duration::from_millis);
    builder = builder.lease(lease).backoff(RedeliveryBackoff { first, most, doubles: true });
    if let Some((attempts, topic)) = &queue.dead_letters {
        builder = builder.dead_letters(*attempts, topic);
    }
    builder.open().await
}
