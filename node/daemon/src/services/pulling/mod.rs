//! `Pull`, `Acknowledge` and `ModifyDeadline`: consumers of clients without streams. Each pull is a consumer of its own,
//! on the node that was asked; the ids it gives out tell where it is.

mod ack_id;
mod puller;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use meridian_model::{ConsumerId, NodeId};
use meridian_proto::v1::{ErrorReason, Failure, PulledMessage};
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use self::ack_id::AckId;
pub(super) use self::puller::Verdict;
use self::puller::{Order, Puller};
use super::subscribing::{Consumer, Subscribing};

/// Pulls of this node whose messages are not settled.
const PULLERS_MAX: usize = 10_000;
/// Messages of one pull.
pub(super) const MESSAGES_MAX: u32 = 1_000;
/// Bytes of one pull, unless a single message has more.
const BYTES_MAX: u64 = 4 * 1024 * 1024;
/// The longest wait.
pub(super) const WAIT_MAX: Duration = Duration::from_secs(30);
/// Messages that one call may name.
const NAMED_MAX: usize = 4_096;
/// Orders and answers that may wait.
const QUEUE: usize = 64;

/// The pulls of this node whose messages are not settled.
#[derive(Clone, Default)]
pub(crate) struct Pullers(Arc<Mutex<BTreeMap<ConsumerId, mpsc::Sender<Order>>>>);

/// Messages that a call names, by the node that knows them.
pub(super) type Named = BTreeMap<NodeId, Vec<(u32, AckId)>>;

/// What a call names; those that are no ids are refused at once.
pub(super) fn named(ack_ids: &[Bytes]) -> Result<(Named, BTreeMap<u32, Failure>), Failure> {
    if ack_ids.len() > NAMED_MAX {
        return Err(Failure::invalid(
            "ack_ids",
            format!("{} are named, at most {NAMED_MAX} may be", ack_ids.len()),
        ));
    }
    let (mut by_node, mut refused) = (Named::new(), BTreeMap::new());
    for (place, id) in (0..).zip(ack_ids) {
        match AckId::decode(id) {
            Some(id) => by_node.entry(id.node).or_default().push((place, id)),
            None => drop(refused.insert(place, Failure::invalid("ack_ids", "not an id that Pull gave out"))),
        }
    }
    Ok((by_node, refused))
}

/// The ids again, for another node.
pub(super) fn wire(ids: &[(u32, AckId)]) -> Vec<Bytes> {
    ids.iter().map(|(_, id)| id.encode()).collect()
}

fn unknown() -> Failure {
    let why = "the message was pulled too long ago, or its node was started again: it is delivered again";
    Failure::new(ErrorReason::LeaseEnded, why)
}

impl Pullers {
    /// Pulls for a consumer that nobody else knows.
    pub(super) async fn pull(
        &self,
        node: NodeId,
        consumer: Consumer,
        messages_max: u32,
        wait: Duration,
    ) -> Result<Vec<PulledMessage>, Status> {
        if self.0.lock().len() >= PULLERS_MAX {
            let why = "too many messages that were pulled from this node are not settled";
            return Err(Failure::new(ErrorReason::Throttled, why).into());
        }
        let id = consumer.id;
        let (requests, asked) = mpsc::channel(QUEUE);
        let (answers, answered) = mpsc::channel(QUEUE);
        let credit = (u64::from(messages_max), BYTES_MAX);
        let subscribing = Subscribing::new(consumer, credit, answers)?;
        tokio::spawn(subscribing.run(ReceiverStream::new(asked)));
        let mut puller = Puller::new((id, node), requests, answered);
        let pulled = puller.pull(messages_max as usize, wait).await?;
        if !pulled.is_empty() {
            let (orders, ordered) = mpsc::channel(QUEUE);
            self.0.lock().insert(id, orders);
            let pullers = self.clone();
            tokio::spawn(async move {
                puller.serve(ordered).await;
                pullers.0.lock().remove(&id);
            });
        }
        Ok(pulled)
    }

    /// Says what is to become of messages that were pulled here. Returns the refused ones.
    pub(super) async fn order(&self, verdict: Verdict, ids: Vec<(u32, AckId)>) -> Vec<(u32, Failure)> {
        let mut by_consumer: BTreeMap<ConsumerId, Vec<(u32, AckId)>> = BTreeMap::new();
        ids.into_iter().for_each(|(place, id)| by_consumer.entry(id.consumer).or_default().push((place, id)));
        let orders = by_consumer.into_iter().map(|(consumer, ids)| {
            let puller = self.0.lock().get(&consumer).cloned();
            async move {
                let places: Vec<u32> = ids.iter().map(|(place, _)| *place).collect();
                let lost = || places.iter().map(|place| (*place, unknown())).collect();
                let Some(puller) = puller else { return lost() };
                let (refused, told) = oneshot::channel();
                match puller.send(Order { verdict, ids, refused }).await {
                    Ok(()) => told.await.unwrap_or_else(|_| lost()),
                    Err(_) => lost(),
                }
            }
        });
        let refused: Vec<Vec<(u32, Failure)>> = futures::future::join_all(orders).await;
        refused.into_iter().flatten().collect()
    }
}
