//! What a dispatcher wants done.

use meridian_commitlog::{CursorRefusal, Mandate, SeekTo};
use meridian_model::subscription::Settlement;
use meridian_model::{ConsumerId, Offset, Place, UnixMs};

use super::{Epochs, FetchId, Refusal, Token};

/// A message on its way to a consumer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// To whom.
    pub consumer: ConsumerId,
    /// Which message, as whatever is said about it must name it.
    pub place: Place,
    /// Which attempt, from 1. Only those that failed and are committed count.
    pub attempt: u32,
    /// When the lease ends, without an ack, a nack or an extension.
    pub lease_until: UnixMs,
    /// To be given back with whatever is said about it.
    pub under: Epochs,
}

/// Why a consumer holds a message no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revoked {
    /// Its lease ended, which counts as an attempt.
    LeaseEnded,
    /// An ack from before a change of leaders settled it.
    Settled,
    /// The subscription was moved to another place.
    Sought,
    /// Retention removed it.
    Trimmed,
    /// It was held before, and is given to others by now.
    NotKept,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Read the log.
    Fetch {
        /// To be named in the answer.
        fetch: FetchId,
        /// The batch that holds this one comes first.
        from: Offset,
        /// About so many bytes of batches.
        bytes: usize,
    },
    /// Read the index of delayed messages.
    FetchDelayed {
        /// To be named in the answer.
        fetch: FetchId,
        /// The first place that is wanted.
        from: Place,
        /// Nothing that is due later.
        through: UnixMs,
        /// About so many bytes of batches.
        bytes: usize,
    },
    /// Send a message.
    Deliver(Delivery),
    /// Commit a settlement, together with those of other subscriptions. There is one at a time for each. An empty one
    /// only moves the stamp.
    Settle {
        /// To be named in the answer.
        token: Token,
        /// On whose behalf.
        mandate: Mandate,
        /// What is decided. Boxed, because there is one in a round and a delivery for each message.
        settlement: Box<Settlement>,
    },
    /// Commit who owns the partition.
    Own {
        /// To be named in the answer.
        token: Token,
        /// The owner.
        consumer: ConsumerId,
    },
    /// Begin a new dispatch and tell what stands: the outcome of a settlement is not known. To be tried until it
    /// succeeds, or another node leads.
    Begin(Token),
    /// Move the subscription to another place, tell what stands then, and answer the consumer.
    Seek {
        /// Who asked.
        consumer: ConsumerId,
        /// Its number.
        request: u64,
        /// Where to.
        to: SeekTo,
    },
    /// What a consumer said is done: durable, unless it was about leases.
    Confirm {
        /// To whom.
        consumer: ConsumerId,
        /// Its number.
        request: u64,
    },
    /// What a consumer asked is refused. Its stream goes on, unless it asked to join.
    Refuse {
        /// To whom.
        consumer: ConsumerId,
        /// Its number, where it gave one.
        request: Option<u64>,
        /// Why.
        refusal: Refusal,
    },
    /// Tell a consumer that it holds a message no longer.
    Revoke {
        /// Whom.
        consumer: ConsumerId,
        /// Which message.
        place: Place,
        /// Why.
        why: Revoked,
    },
    /// Tell a consumer that it holds nothing any more and may go. It is forgotten here.
    DrainComplete(ConsumerId),
    /// Close the stream of a consumer that was silent for too long. It is forgotten here.
    Disconnect(ConsumerId),
    /// Send a tick at this time, at the latest.
    WakeAt(UnixMs),
    /// Drop this dispatcher: it will do nothing more.
    Stop(Stopped),
}

/// Why a dispatcher stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// Another node leads the partition.
    NotLeader,
    /// The partition refuses what cannot be refused to somebody who knows it: the subscription is gone, or has other
    /// rules, or another owner. Where it is still there, a new dispatcher goes on from what stands.
    Refused(CursorRefusal),
}
