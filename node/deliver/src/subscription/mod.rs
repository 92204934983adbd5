//! One subscription in one partition: who gets which message, and what is settled. Pure: events in, actions out.
//!
//! Time comes with each event, and identities with events or from counters; there is no clock, no randomness and no
//! input or output. What must survive a change of leaders is committed through [`Action::Settle`] and
//! [`Action::Own`]; everything else is here and may be lost.
//!
//! Who drives dispatchers reads a partition's log once for all of them and hands each what it fetched, without bodies
//! ([`Event::Fetched`], [`Event::Due`]); puts the settlements of all of them into one round, and hands each its own
//! outcome under the token it gave ([`Event::Committed`], [`Event::CommitFailed`]); and hands in the time with whatever
//! happens, or with a tick when [`Action::WakeAt`] says so. A message costs a few steps in ordered maps, whatever the
//! number of messages and of holes; only consumers that come and go, seeks and trims are looked at as a whole.

mod action;
mod bounds;
mod event;
mod kind;
mod message;
mod refusal;
mod state;
mod step;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use meridian_commitlog::{LogBounds, Mandate, Standing};
use meridian_model::subscription::{Attempts, SubscriptionRules};
use meridian_model::{ConsumerId, LogId, Offset, Place, SubscriptionId, UnixMs};

pub use action::{Action, Delivery, Revoked, Stopped};
pub use bounds::DispatchBounds;
pub use event::{BatchMeta, Event, Join, KeyRange, Leaving, MessageMeta, Said};
use kind::Kind;
pub use refusal::Refusal;
use state::{
    Claims, Consumers, DelayedLedger, DelayedReader, InFlight, Known, Leases, Ledger, Pending, Places,
    Redelivery, Seat, Window,
};

/// Names what a dispatcher asked to be committed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Token(pub u64);

/// Names a read that a dispatcher asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct FetchId(pub u64);

/// Under what a message was delivered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Epochs {
    /// The dispatcher.
    pub dispatch: u64,
    /// The ownership. Zero for kinds without owners.
    pub owner: u64,
    /// The place.
    pub seek: u64,
}

/// The dispatcher of one subscription in one partition.
///
/// Whoever drives it carries out its actions in their order, and tells it what came of them. Answers of fetches and
/// commits that it does not wait for any more are ignored. What a consumer said is confirmed only once it is
/// committed; a consumer that is refused keeps its stream, unless it was refused to join.
#[derive(Debug)]
pub struct Dispatcher {
    bounds: DispatchBounds,
    subscription: SubscriptionId,
    rules: SubscriptionRules,
    epochs: Epochs,
    /// Where the log began, and where it ended when this dispatcher began: nothing beyond was delivered by others.
    log: LogBounds,
    /// The owner from before, who is waited for while there is grace.
    owner_before: Option<ConsumerId>,
    /// The partition has an owner, and its epoch is known. Without, nothing can be settled for owned kinds.
    owner_known: bool,
    now: UnixMs,
    /// Nothing is delivered until then: consumers of an earlier dispatcher say what they hold.
    grace_until: Option<UnixMs>,
    /// The grace ends with this event: whoever was waited for is here.
    grace_ends: bool,
    consumers: Consumers,
    /// Those that drain.
    drains: BTreeSet<Seat>,
    kind: Kind,
    window: Window,
    delayed: DelayedReader,
    leases: Leases,
    redelivery: Redelivery,
    claims: Claims,
    main_ledger: Ledger,
    delayed_ledger: DelayedLedger,
    /// Settled in this dispatch, as far as it is remembered.
    known: Known,
    /// Settled by acks from before this dispatch, unread.
    unseen: Places,
    /// Failed attempts that are committed, of messages that are not settled.
    attempts: BTreeMap<Place, Attempts>,
    dead_letters_to: Option<LogId>,
    outbox_room: usize,
    /// Where dead letters were ever sent: there may be so many.
    destinations: BTreeSet<LogId>,
    /// Delayed messages below are not delivered.
    delayed_from: Offset,
    /// The floor of the delayed lane that the partition was told last.
    delayed_told: Place,
    pending: Pending,
    in_flight: Option<InFlight>,
    /// A commit, a fetch or a naming failed: none is tried before.
    retry_at: Option<UnixMs>,
    /// For which delayed message the stamp was asked to move last, and when.
    stamp_asked: Option<(UnixMs, UnixMs)>,
    /// The outcome of the settlement in flight is not known: a new dispatch was asked for.
    beginning: Option<Token>,
    /// It asked to be dropped.
    stopped: bool,
    /// When a consumer, or what it claims, counts as gone.
    watch_at: Option<UnixMs>,
    woken_at: Option<UnixMs>,
    numbers: u64,
}

impl Dispatcher {
    /// Goes on from what is applied behind the command that began this dispatch. `log` is read afterwards. `awaits`:
    /// there was an earlier dispatch, whose consumers have the grace to come back before anything is delivered.
    pub fn new(
        standing: Standing,
        log: LogBounds,
        bounds: DispatchBounds,
        now: UnixMs,
        awaits: bool,
    ) -> Self {
        let epochs = Epochs {
            dispatch: standing.dispatch_epoch,
            owner: standing.owner_epoch,
            seek: standing.seek_epoch,
        };
        let grace = awaits && !planted!(NoGrace);
        let main_ledger =
            Ledger::new(standing.floor.max(log.start), &standing.settled, bounds.settled_ranges_max);
        let next = main_ledger.next_undecided(log.start);
        Self {
            subscription: standing.subscription,
            epochs,
            log,
            owner_before: standing.owner,
            owner_known: standing.owner.is_some(),
            now,
            grace_until: grace.then(|| now.plus_ms(bounds.grace_ms)),
            grace_ends: false,
            consumers: Consumers::default(),
            drains: BTreeSet::new(),
            kind: Kind::new(standing.rules.kind),
            window: Window::new(next, log.end, bounds.window_messages_max),
            delayed: DelayedReader::new(standing.delayed_floor, standing.stamp),
            leases: Leases::default(),
            redelivery: Redelivery::default(),
            claims: Claims::default(),
            main_ledger,
            delayed_ledger: DelayedLedger::new(&standing.delayed_settled, bounds.settled_delayed_max),
            known: Known::new(bounds.settled_known_ranges_max),
            unseen: Places::default(),
            attempts: standing.attempts,
            dead_letters_to: None,
            outbox_room: standing.outbox_room,
            destinations: standing.destinations.into_iter().collect(),
            delayed_from: standing.delayed_from,
            delayed_told: standing.delayed_floor,
            pending: Pending::default(),
            in_flight: None,
            retry_at: None,
            stamp_asked: None,
            beginning: None,
            stopped: false,
            watch_at: None,
            woken_at: None,
            numbers: 0,
            rules: standing.rules,
            bounds,
        }
    }

    /// Takes an event in, and adds what is to be done to `out`. Time that goes back is ignored.
    pub fn handle(&mut self, now: UnixMs, event: Event, out: &mut Vec<Action>) {
        if self.stopped {
            return;
        }
        self.now = self.now.max(now);
        match event {
            Event::Joined(join) => self.joined(&join, out),
            Event::Left(consumer, leaving) => self.consumer_left(consumer, leaving),
            Event::Draining(consumer) => self.draining(consumer, out),
            Event::Heartbeat(consumer) => drop(self.heard(consumer, None, out)),
            Event::Credit { consumer, messages, bytes } => self.credit(consumer, messages, bytes, out),
            Event::Ack(said) => self.acked(said, out),
            Event::AckCumulative(said) => self.acked_cumulative(&said, out),
            Event::Nack(said) => self.nacked(said, out),
            Event::Extend(said) => self.extended(&said, out),
            Event::Seek { consumer, request, to } => self.seek(consumer, request, to, out),
            Event::Fetched { fetch, batches } => self.fetched(fetch, &batches, out),
            Event::Due { fetch, batches, next, due_next } => self.due(fetch, &batches, next, due_next),
            Event::FetchFailed(fetch) => self.fetch_failed(fetch),
            Event::TailMoved { end, stamp, delayed } => self.tail_moved(end, stamp, delayed),
            Event::Committed { token, stamp, outbox_room } => self.committed(token, stamp, outbox_room, out),
            Event::CommitFailed(token, error) => self.commit_failed(token, error, out),
            Event::Owned(token, epoch) => self.owned(token, epoch),
            Event::OwnFailed(token, error) => self.own_failed(token, &error, out),
            Event::Begun { token, standing } => self.begun(token, *standing, out),
            Event::Sought(standing) => self.sought(*standing, out),
            Event::Outbox { room, to } => (self.outbox_room, self.dead_letters_to) = (room, to),
            Event::Trimmed(start) => self.trimmed(start, out),
            Event::Tick => {}
        }
        self.pass_time(out);
        self.name_owner(out);
        self.deliver(out);
        self.drain(out);
        self.flush(out);
        self.fetch(out);
        self.wake(out);
    }

    /// The epochs now.
    pub fn epochs(&self) -> Epochs {
        self.epochs
    }

    fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    fn mandate(&self) -> Mandate {
        Mandate {
            subscription: self.subscription,
            seek_epoch: self.epochs.seek,
            owner_epoch: self.rules.kind.is_owned().then_some(self.epochs.owner),
        }
    }
}
