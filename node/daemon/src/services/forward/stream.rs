//! The forwarded part of one publish stream: a stream to each leader, each partition in the client's order.
//!
//! One task decides where batches go, so that a batch never overtakes the one before it: relays give back to it
//! what must go elsewhere, and while a node has a batch of a partition that it may give back, the batches behind it
//! go the same way.

use std::collections::BTreeMap;
use std::sync::Arc;

use meridian_model::{GroupId, NodeId};
use meridian_proto::v1::PublishBatch;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::relay::{Answers, Fate, Passed, Relay, Returned, fail};
use super::{Forwarder, moved, unreachable};
use crate::routes::Routing;

/// Batches that wait for a slow leader.
const QUEUE: usize = 64;

/// The node that has batches of a partition which it may give back.
struct Way {
    node: NodeId,
    batches: usize,
}

/// The streams to the leaders, in the hands of the client's task.
pub(in super::super) struct ForwardedStream {
    forwarder: Arc<Forwarder>,
    routing: Arc<Routing>,
    topic: String,
    answers: Answers,
    relays: BTreeMap<NodeId, mpsc::Sender<Passed>>,
    ways: BTreeMap<u32, Way>,
    under_way: usize,
    /// One for each batch under way: bounded as these are, by their bytes.
    returns: (mpsc::UnboundedSender<Returned>, mpsc::UnboundedReceiver<Returned>),
}

impl ForwardedStream {
    pub(in super::super) fn new(
        forwarder: Arc<Forwarder>,
        routing: Arc<Routing>,
        topic: String,
        answers: Answers,
    ) -> Self {
        let (relays, ways) = (BTreeMap::new(), BTreeMap::new());
        Self {
            forwarder,
            routing,
            topic,
            answers,
            relays,
            ways,
            under_way: 0,
            returns: mpsc::unbounded_channel(),
        }
    }

    /// Sends a batch on; its answer comes to the client's stream. Waits while the leader is slow.
    pub(in super::super) async fn send(
        &mut self,
        (group, node): (GroupId, NodeId),
        batch: PublishBatch,
        share: Option<OwnedSemaphorePermit>,
    ) {
        let way = self.ways.entry(batch.partition).or_insert(Way { node, batches: 0 });
        way.batches += 1;
        self.under_way += 1;
        let node = way.node;
        self.pass(node, Passed { group, batch, _share: share, redirected: false }).await;
    }

    async fn pass(&mut self, node: NodeId, passed: Passed) {
        // A relay may have ended long ago, with the leader of that time: then another one begins.
        let Err(mpsc::error::SendError(passed)) = self.relay(node).send(passed).await else { return };
        self.relays.remove(&node);
        let Err(mpsc::error::SendError(passed)) = self.relay(node).send(passed).await else { return };
        self.relays.remove(&node);
        fail(&self.answers, passed.batch.correlation, unreachable(node)).await;
        let _ = self.returns.0.send(passed.returned(node, Fate::Lost));
    }

    fn relay(&mut self, node: NodeId) -> &mpsc::Sender<Passed> {
        self.relays.entry(node).or_insert_with(|| {
            let (batches, queue) = mpsc::channel(QUEUE);
            let relay = Relay {
                forwarder: Arc::clone(&self.forwarder),
                node,
                topic: self.topic.clone(),
                answers: self.answers.clone(),
                returns: self.returns.0.clone(),
                unanswered: BTreeMap::new(),
            };
            tokio::spawn(relay.run(queue));
            batches
        })
    }

    /// What comes back from a node, for [`ForwardedStream::go_on`]. Cancel safe; without end.
    pub(in super::super) async fn returned(&mut self) -> Returned {
        match self.returns.1.recv().await {
            Some(returned) => returned,
            // Never: the other end is here, too.
            None => std::future::pending().await,
        }
    }

    /// Goes on with a batch that came back.
    pub(in super::super) async fn go_on(&mut self, returned: Returned) {
        let Returned { partition, group, node, redirected, fate } = returned;
        match fate {
            Fate::Answered => self.under_way -= 1,
            Fate::Lost => {
                self.routing.failed(group, node);
                self.under_way -= 1;
            }
            Fate::Named(leader, passed) if leader == self.routing.own => {
                fail(&self.answers, passed.batch.correlation, moved()).await;
                self.under_way -= 1;
            }
            Fate::Named(leader, passed) => {
                self.routing.told(group, leader);
                // Queued there before anything behind it can be: only then the way is free.
                self.pass(leader, passed).await;
            }
        }
        if !redirected && let Some(way) = self.ways.get_mut(&partition) {
            way.batches -= 1;
            if way.batches == 0 {
                self.ways.remove(&partition);
            }
        }
    }

    /// The client has sent everything: waits until everything is answered, or it has gone.
    pub(in super::super) async fn finish(mut self) {
        while self.under_way > 0 {
            let answers = self.answers.clone();
            tokio::select! {
                returned = self.returned() => self.go_on(returned).await,
                () = answers.closed() => return,
            }
        }
    }
}
