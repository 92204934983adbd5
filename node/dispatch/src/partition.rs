//! One partition: what arrives, what was waited for, and time, in one task.

mod acting;
mod arriving;
mod finishing;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use meridian_commitlog::{CursorError, Mandate, Tail};
use meridian_deliver::subscription::{Action, Event, Leaving, Token};
use meridian_model::subscription::Settlement;
use meridian_model::{ConsumerId, GroupId, LogId, SubscriptionId, UnixMs};
use meridian_proto::v1::SubscribeLag;
use meridian_proto::v1::subscribe_response::Response;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::attached::Arrival;
use crate::pages::Pages;
use crate::room::Room;
use crate::served::{Served, State};
use crate::steady::SteadyTime;
use crate::work::{For, Work};

/// How often leadership, the log's start and consumers that went are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How often consumers are told how far the subscription is behind.
const LAG_EVERY: Duration = Duration::from_secs(1);
/// How long a dispatcher without consumers stays: they may come back.
const IDLE_MS_MAX: u64 = 30_000;
/// What is taken in before anything is done.
const ARRIVALS_AT_ONCE: usize = 256;

/// A partition that is dispatched from.
pub(crate) struct Partition {
    room: Arc<Room>,
    group: GroupId,
    time: SteadyTime,
    arrivals: mpsc::Receiver<Arrival>,
    served: BTreeMap<SubscriptionId, Served>,
    pages: Pages,
    work: FuturesUnordered<Work>,
    /// Decided, and not proposed yet.
    to_settle: VecDeque<(For, Token, Mandate, Settlement)>,
    /// Whether a round of settlements is in flight.
    settling: bool,
    /// Subscriptions that were served here before.
    seen: BTreeSet<SubscriptionId>,
    /// Those that begin: whether consumers of an earlier dispatcher are waited for.
    awaits: BTreeMap<SubscriptionId, bool>,
    /// Not done yet, in order.
    actions: VecDeque<(SubscriptionId, Action)>,
    /// For consumers, in order for each.
    told: BTreeMap<(SubscriptionId, ConsumerId), Vec<Action>>,
    /// Emptied after each event.
    out: Vec<Action>,
    tail: Tail,
    lives: u64,
    look_at: Instant,
    over: bool,
}

impl Partition {
    pub(crate) fn new(room: Arc<Room>, group: GroupId, arrivals: mpsc::Receiver<Arrival>) -> Self {
        let pages = Pages::new(Arc::clone(&room.budget));
        let time = SteadyTime::new(Arc::clone(&room.clock));
        Self {
            room,
            group,
            time,
            arrivals,
            served: BTreeMap::new(),
            pages,
            work: FuturesUnordered::new(),
            to_settle: VecDeque::new(),
            settling: false,
            seen: BTreeSet::new(),
            awaits: BTreeMap::new(),
            actions: VecDeque::new(),
            told: BTreeMap::new(),
            out: Vec::new(),
            tail: Tail::default(),
            lives: 0,
            look_at: Instant::now() + LOOK_EVERY,
            over: false,
        }
    }

    /// Serves until the partition is led elsewhere, or nobody has come for a while.
    pub(crate) async fn run(mut self) {
        let mut arrived = Vec::with_capacity(ARRIVALS_AT_ONCE);
        self.look();
        while !self.over {
            let wake_at = self.wake_at();
            tokio::select! {
                count = self.arrivals.recv_many(&mut arrived, ARRIVALS_AT_ONCE) => {
                    self.over |= count == 0;
                    arrived.drain(..).for_each(|arrival| self.arrived(arrival));
                }
                Some(done) = self.work.next(), if !self.work.is_empty() => self.done(done),
                grown = self.room.log.wait_beyond(self.group, self.tail.end) => {
                    self.over |= grown.is_err();
                    self.look_at_tail();
                }
                () = tokio::time::sleep_until(wake_at) => self.pass_time(),
            }
            self.act().await;
        }
        // Whoever comes from now on is served by another task.
        let mut partitions = self.room.partitions.lock();
        self.arrivals.close();
        if partitions.get(&self.group).is_some_and(mpsc::Sender::is_closed) {
            partitions.remove(&self.group);
        }
    }

    fn now(&self) -> UnixMs {
        self.time.now()
    }

    fn wake_at(&self) -> Instant {
        let first = self.served.values().filter_map(|served| served.wake_at).min();
        let wait = first.map(|at| Duration::from_millis(at.0.saturating_sub(self.now().0)));
        wait.map_or(self.look_at, |wait| self.look_at.min(Instant::now() + wait))
    }

    /// Tells a dispatcher of something; what it wants done is done later, in order.
    fn event(&mut self, id: SubscriptionId, event: Event) {
        let now = self.now();
        let Some(Served { state: State::Dispatching(dispatcher), .. }) = self.served.get_mut(&id) else {
            return;
        };
        let mut out = std::mem::take(&mut self.out);
        dispatcher.handle(now, event, &mut out);
        self.actions.extend(out.drain(..).map(|action| (id, action)));
        self.out = out;
    }

    fn event_for_all(&mut self, event: impl Fn() -> Event) {
        let ids: Vec<SubscriptionId> = self.served.keys().copied().collect();
        ids.into_iter().for_each(|id| self.event(id, event()));
    }

    fn pass_time(&mut self) {
        let now = self.now();
        let due = self.served.iter_mut().filter(|(_, served)| served.wake_at.is_some_and(|at| at <= now));
        let due: Vec<SubscriptionId> = due
            .map(|(id, served)| {
                served.wake_at = None;
                *id
            })
            .collect();
        due.into_iter().for_each(|id| self.event(id, Event::Tick));
        if self.look_at <= Instant::now() {
            self.look_at = Instant::now() + LOOK_EVERY;
            self.look();
        }
    }

    /// What no event tells: who leads, where the log begins, who has gone.
    fn look(&mut self) {
        self.follow_clock();
        self.look_at_tail();
        let gone = |served: &Served| {
            let closed = served.consumers.values().filter(|consumer| consumer.answers.is_closed());
            closed.map(|consumer| consumer.seat).collect::<Vec<_>>()
        };
        let gone: Vec<_> = self.served.values().flat_map(gone).collect();
        gone.into_iter().for_each(|seat| self.left(seat, Leaving::Lost));
        let ids: Vec<SubscriptionId> = self.served.keys().copied().collect();
        ids.into_iter().for_each(|id| self.look_at_subscription(id));
        let now = self.now();
        for served in self.served.values_mut() {
            let nobody = served.consumers.is_empty() && matches!(served.state, State::Dispatching(_));
            served.idle_since = nobody.then(|| served.idle_since.unwrap_or(now));
        }
        let stays = |served: &Served| served.idle_since.is_none_or(|since| since.plus_ms(IDLE_MS_MAX) > now);
        self.served.retain(|_, served| stays(served));
        // Nobody can come while the room is locked.
        if self.served.is_empty() && self.lives > 0 {
            let _nobody_comes = self.room.partitions.lock();
            self.over |= self.arrivals.is_empty();
            if self.over {
                self.arrivals.close();
            }
        }
    }

    /// Where the wall clock was set, delays go by it from then on, and leases begin anew.
    fn follow_clock(&mut self) {
        if let Some(ahead_ms) = self.time.follow() {
            tracing::warn!(group = %self.group, ahead_ms, "the clock was set: dispatching begins anew");
            let ids: Vec<SubscriptionId> = self.served.keys().copied().collect();
            ids.into_iter().for_each(|id| self.begin_anew(id));
        }
    }

    /// Consumers come again, and are awaited: what they hold stays theirs.
    fn begin_anew(&mut self, id: SubscriptionId) {
        self.served.remove(&id);
        self.seen.remove(&id);
    }

    /// What others changed: an operator sought, or gave it other rules, or deleted it.
    fn look_at_subscription(&mut self, id: SubscriptionId) {
        let Some(Served {
            state: State::Dispatching(dispatcher),
            rules_at,
            destination,
            buries,
            lag_told,
            told_at,
            ..
        }) = self.served.get_mut(&id)
        else {
            return;
        };
        let glance = match self.room.cursors.glance(self.group, id) {
            Ok(glance) => glance,
            Err(error) => {
                self.over |= matches!(error, CursorError::NotLeader { .. });
                self.served.remove(&id);
                return;
            }
        };
        let sought = glance.seek_epoch > dispatcher.epochs().seek;
        let ruled = glance.rules_at != *rules_at;
        if ruled {
            self.begin_anew(id);
            return;
        }
        let due = told_at.is_none_or(|at| at + LAG_EVERY <= Instant::now());
        let lag = (due && *lag_told != Some(glance.backlog_messages)).then_some(glance.backlog_messages);
        if lag.is_some() {
            (*lag_told, *told_at) = (lag, Some(Instant::now()));
        }
        let (before, to) =
            (*destination, buries.then(|| self.room.letterbox.destination(self.group, id)).flatten());
        if before != to {
            *destination = to;
            self.event(id, Event::Outbox { room: glance.outbox_room, to });
        }
        if let Some(backlog) = lag {
            self.tell_lag(id, backlog);
        }
        if sought && let Ok(standing) = self.room.cursors.standing(self.group, id) {
            self.event(id, Event::Sought(Box::new(standing)));
        }
    }

    fn tell_lag(&mut self, id: SubscriptionId, backlog_messages: u64) {
        let Some(served) = self.served.get(&id) else { return };
        let seats: Vec<_> =
            served.consumers.values().map(|consumer| (consumer.seat, consumer.source)).collect();
        for (seat, source) in seats {
            self.send(seat, Response::Lag(SubscribeLag { source, backlog_messages }));
        }
    }

    /// Where the dead letters of a subscription go, if it has any.
    fn destination(&self, id: SubscriptionId, buries: bool) -> Option<LogId> {
        buries.then(|| self.room.letterbox.destination(self.group, id)).flatten()
    }

    fn look_at_tail(&mut self) {
        let Ok(tail) = self.room.cursors.tail(self.group) else {
            self.over = true;
            return;
        };
        let before = std::mem::replace(&mut self.tail, tail);
        if tail.start > before.start {
            self.pages.trim(tail.start);
            self.event_for_all(|| Event::Trimmed(tail.start));
        }
        // When it is due is read from the index: that something may be is all that is known here.
        let delayed = (tail.delayed_messages > before.delayed_messages).then_some(tail.stamp);
        if tail != before {
            self.event_for_all(|| Event::TailMoved { end: tail.end, stamp: tail.stamp, delayed });
        }
    }
}
