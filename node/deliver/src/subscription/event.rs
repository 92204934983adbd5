//! What a dispatcher is told.

use meridian_commitlog::{CursorError, SeekTo, Standing};
use meridian_model::subscription::{DelayedRange, SubscriptionKind};
use meridian_model::{ConsumerId, Offset, Place, UnixMs};

use super::{Epochs, FetchId, Token};

/// Key hashes that a consumer wants, both ends included: the upper 16 bits of the hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyRange {
    /// The first.
    pub first: u16,
    /// The last.
    pub last: u16,
}

/// A consumer that wants messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Join {
    /// Who. One that is known already reconnects: its earlier stream counts no longer.
    pub consumer: ConsumerId,
    /// The kind of subscription it believes in.
    pub kind: SubscriptionKind,
    /// Failover: the lowest of those who wait takes over.
    pub priority: u32,
    /// Key-shared: the keys it wants. Empty: keys are spread over all consumers.
    pub ranges: Vec<KeyRange>,
    /// Messages that it holds from before, and keeps if it may, as their deliveries named them.
    pub holds: Vec<Place>,
    /// The seek epoch under which they were delivered. Those from before a seek are not kept.
    pub seek_epoch: u64,
}

/// How a consumer went away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leaving {
    /// It said so: what it holds is delivered to others at once, and that is no attempt.
    Closed,
    /// Its stream broke: it has the grace to come back, then its leases end.
    Lost,
}

/// A message that was fetched, without its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageMeta {
    /// The hash of its key. Zero: it has none.
    pub key_hash: u64,
    /// What it costs of the credit in bytes.
    pub bytes: u32,
}

/// A batch that was fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchMeta {
    /// The offset of its first message.
    pub base: Offset,
    /// The stamp of its append.
    pub appended_at: UnixMs,
    /// Not to be delivered before. Zero: at once.
    pub deliver_at: UnixMs,
    /// Not to be delivered after. Zero: it never expires.
    pub expire_at: UnixMs,
    /// Its messages.
    pub messages: Vec<MessageMeta>,
}

/// What a consumer says about messages it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said<T> {
    /// Who.
    pub consumer: ConsumerId,
    /// Its own number for this, given back in the answer.
    pub request: u64,
    /// The epochs that stood on the deliveries.
    pub under: Epochs,
    /// About which messages.
    pub about: T,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A consumer came, or came back.
    Joined(Join),
    /// A consumer went.
    Left(ConsumerId, Leaving),
    /// A consumer wants no more messages, and leaves when those it holds are settled.
    Draining(ConsumerId),
    /// A sign of life. So is everything else a consumer says.
    Heartbeat(ConsumerId),
    /// More may be delivered to a consumer.
    Credit {
        /// To whom.
        consumer: ConsumerId,
        /// So many more messages.
        messages: u64,
        /// And so many more bytes.
        bytes: u64,
    },
    /// These are done. As deliveries named them: in the main lane the time is zero.
    Ack(Said<Vec<DelayedRange>>),
    /// Everything of the main lane that was delivered below this is done. Owned kinds only. Delayed messages are not
    /// meant: they are acked by their places.
    AckCumulative(Said<Offset>),
    /// These were not done.
    Nack(Said<Vec<Place>>),
    /// These take longer: their leases begin anew.
    Extend(Said<Vec<Place>>),
    /// A consumer wants the subscription to go on elsewhere.
    Seek {
        /// Who.
        consumer: ConsumerId,
        /// Its own number for this.
        request: u64,
        /// Where to.
        to: SeekTo,
    },
    /// What [`Action::Fetch`](super::Action::Fetch) asked for.
    Fetched {
        /// Which fetch.
        fetch: FetchId,
        /// Whole batches, in order, without a hole.
        batches: Vec<BatchMeta>,
    },
    /// What [`Action::FetchDelayed`](super::Action::FetchDelayed) asked for.
    Due {
        /// Which fetch.
        fetch: FetchId,
        /// Whole batches in the order of their places.
        batches: Vec<BatchMeta>,
        /// Where the next page begins. `None`: that was everything due.
        next: Option<Place>,
        /// When the first one beyond is due.
        due_next: Option<UnixMs>,
    },
    /// A fetch failed. It is asked for again.
    FetchFailed(FetchId),
    /// The log grew.
    TailMoved {
        /// Where it ends.
        end: Offset,
        /// The latest stamp that is applied.
        stamp: UnixMs,
        /// When the first of the new delayed messages is due.
        delayed: Option<UnixMs>,
    },
    /// A settlement is applied.
    Committed {
        /// Which.
        token: Token,
        /// The stamp of its entry.
        stamp: UnixMs,
        /// Dead letters for which there is room now.
        outbox_room: usize,
    },
    /// A settlement failed, perhaps.
    CommitFailed(Token, CursorError),
    /// An owner is named, under this epoch.
    Owned(Token, u64),
    /// An owner is not named, perhaps.
    OwnFailed(Token, CursorError),
    /// A dispatch has begun in the partition: this is what stands behind it.
    Begun {
        /// Whose [`Action::Begin`](super::Action::Begin) this answers: one that came before the dispatch was proposed.
        /// `None`: it was begun for another subscription.
        token: Option<Token>,
        /// What stands.
        standing: Box<Standing>,
    },
    /// The subscription was moved to another place.
    Sought(Box<Standing>),
    /// There is room for so many dead letters, and this is where they go.
    Outbox {
        /// So many.
        room: usize,
        /// Their destination. `None`: that is not known, and they wait.
        to: Option<meridian_model::LogId>,
    },
    /// Retention removed what lies below this.
    Trimmed(Offset),
    /// Time passed.
    Tick,
}
