//! What one consumer has in hand, and how it writes down what it says about it.

use std::sync::Arc;

use futures::FutureExt;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use meridian_history::{
    Ack, AckOf, Deliver, Delivery, Done, Epochs, Extend, Holder, LeaseEnd, Nack, Pending, Settled, Times,
};
use meridian_sdk::consumer::{Delivery as Given, Revoked, Settler};

use super::Queue;
use crate::oracle;
use crate::scene::Scene;

/// A consumer's view of its messages.
pub(super) struct Hand {
    scene: Arc<Scene>,
    queue: Arc<Queue>,
    name: String,
    settler: Settler,
    given: Vec<Given>,
    on_their_way: FuturesUnordered<BoxFuture<'static, ()>>,
}

impl Hand {
    pub(super) fn new(scene: Arc<Scene>, queue: Arc<Queue>, name: String, settler: Settler) -> Self {
        let (given, on_their_way) = (Vec::new(), FuturesUnordered::new());
        Self { scene, queue, name, settler, given, on_their_way }
    }

    /// A grant of credit for one message. The SDK grants by itself, but never for more messages than its queue has room
    /// for: the credit for a message was granted after so many before it were taken.
    pub(super) fn ask(&self) -> Pending<Deliver> {
        let (topic, subscription) = (self.scene.topic.clone(), self.queue.subscription.clone());
        let call = Deliver { topic, subscription, consumer: self.name.clone(), deliveries: None };
        self.scene.recorder.invoke(self.scene.number(), call)
    }

    /// A message came.
    pub(super) fn take(&mut self, asked: Pending<Deliver>, given: Given) {
        let seen = oracle::open(given.offset.0, given.key.as_deref(), &given.body);
        let deliver_at_ms = Some(given.deliver_at.0).filter(|at| *at > 0);
        let delivery = Delivery {
            partition: given.partition,
            log: given.log.to_string(),
            offset: given.offset.0,
            id: seen.id,
            key: seen.key,
            attempt: given.attempt,
            epochs: self.epochs(&given),
            times: Times { deliver_at_ms, expire_at_ms: None },
            lease_until_ms: self.queue.clocks_agree.then_some(given.lease_until.0),
            at_ms: self.queue.clock.now().0,
        };
        asked.ok(vec![delivery]);
        self.scene.tally.read(1);
        self.given.push(given);
    }

    fn epochs(&self, given: &Given) -> Epochs {
        let epochs = given.epochs();
        let owner = self.queue.kind.is_owned().then_some(epochs.owner);
        Epochs { dispatch: epochs.dispatch, seek: epochs.seek, owner }
    }

    fn holder(&self, given: &Given) -> Holder {
        Holder {
            topic: self.scene.topic.clone(),
            partition: given.partition,
            subscription: self.queue.subscription.clone(),
            consumer: self.name.clone(),
            epochs: self.epochs(given),
        }
    }

    pub(super) fn ack(&mut self, given: &Given) {
        let (by, of) = (self.holder(given), AckOf::Single(given.offset.0));
        let pending = self.scene.recorder.invoke(self.scene.number(), Ack { by, of, settled: None });
        self.acked(pending, self.settler.ack(given));
    }

    /// Everything in hand of the message's partition up to it, as far as it was delivered under the same circumstances.
    pub(super) fn ack_with_all_before(&mut self, given: &Given) {
        let before = |other: &&Given| {
            other.partition == given.partition && other.offset <= given.offset && !other.is_revoked()
        };
        let alike = self.given.iter().filter(before).all(|other| other.epochs() == given.epochs());
        if !alike {
            return self.ack(given);
        }
        let offsets = self.given.iter().filter(before).map(|other| other.offset.0).collect();
        let (by, of) = (self.holder(given), AckOf::Batch(offsets));
        let pending = self.scene.recorder.invoke(self.scene.number(), Ack { by, of, settled: None });
        self.acked(pending, self.settler.ack_cumulative(given));
    }

    fn acked(&mut self, pending: Pending<Ack>, settling: meridian_sdk::consumer::Settling) {
        let ending = async move {
            match settling.await {
                Ok(()) => pending.ok(Settled { index: None }),
                // It may have been said twice, and only the second time refused.
                Err(error) => pending.info(error.to_string()),
            }
        };
        self.on_their_way.push(ending.boxed());
    }

    pub(super) fn nack(&mut self, given: &Given) {
        let (by, offset, attempt) = (self.holder(given), given.offset.0, given.attempt);
        let call = Nack { by, offset, attempt, settled: None };
        let pending = self.scene.recorder.invoke(self.scene.number(), call);
        let settling = self.settler.nack(given);
        let ending = async move {
            match settling.await {
                Ok(()) => pending.ok(Settled { index: None }),
                Err(error) => pending.info(error.to_string()),
            }
        };
        self.on_their_way.push(ending.boxed());
        self.given.retain(|other| other.id() != given.id());
    }

    pub(super) fn extend(&mut self, given: &Given) {
        let call = Extend { by: self.holder(given), offset: given.offset.0, extended: None };
        let pending = self.scene.recorder.invoke(self.scene.number(), call);
        let settling = self.settler.extend(given);
        let ending = async move {
            match settling.await {
                Ok(()) => pending.ok(Done {}),
                Err(error) => pending.info(error.to_string()),
            }
        };
        self.on_their_way.push(ending.boxed());
    }

    /// Takes in what is known of what was said, and writes down what was lost.
    pub(super) fn look(&mut self) {
        while let Some(Some(())) = self.on_their_way.next().now_or_never() {}
        let over = self.given.extract_if(.., |given| given.is_revoked());
        let lost: Vec<Given> = over.filter(|given| given.revoked() != Some(Revoked::Settled)).collect();
        for given in lost {
            let call = LeaseEnd { by: self.holder(&given), offset: given.offset.0, seen: None };
            self.scene.recorder.invoke(self.scene.number(), call).ok(Done {});
        }
    }

    /// Waits for the answers to everything that was said.
    pub(super) async fn finish(&mut self) {
        while self.on_their_way.next().await.is_some() {}
        self.look();
    }

    /// Messages of which nothing was said, or no answer has come.
    pub(super) fn len(&self) -> usize {
        self.given.len()
    }
}
