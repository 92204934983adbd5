//! A partition, its consumers and one dispatcher after another, in a time of their own.

use std::collections::VecDeque;

use meridian_commitlog::{CursorError, CursorRefusal, Mandate};
use meridian_model::subscription::{Settlement, SubscriptionKind, SubscriptionRules};
use meridian_model::{ConsumerId, Offset, Place, UnixMs};

use super::client::{Client, Hold, Sent};
use super::coverage::{Coverage, Met};
use super::judge::{Judge, Scene, ensure};
use super::replica::Replica;
use crate::subscription::{
    Action, Delivery, DispatchBounds, Dispatcher, Event, FetchId, Refusal, Revoked, Token,
};

/// A read that was asked for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Read {
    Main(FetchId, Offset),
    Delayed(FetchId, Place, UnixMs),
}

/// Everything.
pub(super) struct World<'m> {
    pub(super) bounds: DispatchBounds,
    pub(super) kind: SubscriptionKind,
    pub(super) now: u64,
    pub(super) replica: Replica,
    pub(super) dispatcher: Dispatcher,
    pub(super) clients: Vec<Client>,
    pub(super) reads: VecDeque<Read>,
    pub(super) commit: Option<(Token, Mandate, Settlement)>,
    /// Proposed, and its outcome is not known: it may be applied before the next dispatch begins.
    pub(super) limbo: Option<(Mandate, Settlement)>,
    pub(super) own: Option<(Token, ConsumerId)>,
    pub(super) begin: Option<Token>,
    pub(super) judge: Judge,
    pub(super) met: &'m mut Coverage,
    /// What the last event brought.
    pub(super) refusals: Vec<(ConsumerId, Option<u64>, Refusal)>,
}

impl<'m> World<'m> {
    pub(super) fn new(
        rules: SubscriptionRules,
        bounds: DispatchBounds,
        clients: usize,
        met: &'m mut Coverage,
    ) -> Self {
        let (kind, now) = (rules.kind, 1_000);
        let mut replica = Replica::new(rules, &bounds, now, OUTBOX);
        let standing = replica.begin(now);
        let dispatcher = Dispatcher::new(standing, replica.bounds(), bounds.clone(), UnixMs(now), false);
        let client = |number: usize| Client { id: id(number), ..Client::default() };
        World {
            bounds,
            kind,
            now,
            replica,
            dispatcher,
            clients: (0..clients).map(client).collect(),
            reads: VecDeque::new(),
            commit: None,
            limbo: None,
            own: None,
            begin: None,
            judge: Judge::default(),
            met,
            refusals: Vec::new(),
        }
    }

    /// Lets the dispatcher handle an event, and does what it says.
    pub(super) fn tell(&mut self, event: Event) -> Result<(), String> {
        self.tell_about(event, |_, _| {})
    }

    /// The same; `before` looks at the refusals before anything else happens.
    pub(super) fn tell_about(
        &mut self,
        event: Event,
        before: impl FnOnce(&mut Self, &[(ConsumerId, Option<u64>, Refusal)]),
    ) -> Result<(), String> {
        self.miss_the_lost();
        // Written down only where something is wrong: that takes longer than everything else.
        let said = event.clone();
        let mut out = Vec::new();
        self.dispatcher.handle(UnixMs(self.now), event, &mut out);
        let refused = |action: &Action| match action {
            Action::Refuse { consumer, request, refusal } => Some((*consumer, *request, *refusal)),
            _ => None,
        };
        self.refusals = out.iter().filter_map(refused).collect();
        let refusals = self.refusals.clone();
        before(self, &refusals);
        for action in out {
            let doing = action.clone();
            self.act(action).map_err(|why| format!("at {}: {said:?}: {doing:?}: {why}", self.now))?;
        }
        self.within_bounds().map_err(|why| format!("at {}: {said:?}: {why}", self.now))
    }

    fn act(&mut self, action: Action) -> Result<(), String> {
        match action {
            Action::Fetch { fetch, from, .. } => self.reads.push_back(Read::Main(fetch, from)),
            Action::FetchDelayed { fetch, from, through, .. } => {
                self.reads.push_back(Read::Delayed(fetch, from, through));
            }
            Action::Deliver(delivery) => self.deliver(&delivery)?,
            Action::Settle { token, mandate, settlement } => {
                ensure(self.commit.is_none(), || "a second settlement in flight".into())?;
                self.look_at(&settlement);
                self.commit = Some((token, mandate, *settlement));
            }
            Action::Own { token, consumer } => self.own = Some((token, consumer)),
            Action::Begin(token) => self.begin = Some(token),
            Action::Confirm { consumer, request } => self.confirm(consumer, request)?,
            Action::Revoke { consumer, place, why } => self.revoke(consumer, place.offset.0, why)?,
            Action::DrainComplete(consumer) => {
                let has =
                    self.judge.held.values().any(|(holder, until)| *holder == consumer && *until > self.now);
                ensure(!has, || "SUB-4: drained, and still has messages".into())?;
                self.met.met(Met::DrainCompleted);
                self.client(consumer).disconnect();
            }
            Action::Disconnect(consumer) => {
                self.met.met(Met::Disconnected);
                self.judge.released_all(consumer, true);
                self.client(consumer).disconnect();
            }
            Action::Refuse { consumer, request: Some(request), refusal } => {
                use Refusal::{Foreign, LeaseEnded, NotHeld, TooManyHoles};
                // Those are about one message; whatever else it said stands.
                if !matches!(
                    refusal,
                    NotHeld { .. } | Foreign { .. } | LeaseEnded { .. } | TooManyHoles { .. }
                ) {
                    self.client(consumer).sent.remove(&request);
                }
            }
            Action::Seek { .. } | Action::Refuse { .. } | Action::WakeAt(_) => {}
            Action::Stop(why) => return Err(format!("stopped, though nobody else dispatches: {why:?}")),
        }
        Ok(())
    }

    fn deliver(&mut self, delivery: &Delivery) -> Result<(), String> {
        let again = self.judge.delivered.contains(&delivery.place.offset.0);
        let scene =
            Scene { now: self.now, replica: &self.replica, clients: &self.clients, bounds: &self.bounds };
        self.judge.delivery(delivery, &scene)?;
        self.met.met(if again { Met::DeliveredAgain } else { Met::DeliveredFirst });
        self.met.met(match self.kind {
            SubscriptionKind::Exclusive => Met::KindExclusive,
            SubscriptionKind::Failover => Met::KindFailover,
            SubscriptionKind::Shared => Met::KindShared,
            SubscriptionKind::KeyShared => Met::KindKeyShared,
        });
        if delivery.attempt > 1 {
            self.met.met(Met::DeliveredAfterAttempts);
        }
        let stored = self.replica.log[delivery.place.offset.0 as usize];
        if stored.is_delayed() {
            self.met.met(Met::DeliveredDelayed);
        }
        let client = self.client(delivery.consumer);
        client.messages -= 1;
        client.bytes -= i64::from(stored.bytes);
        client.holds.insert(delivery.place.offset.0, Hold { under: delivery.under });
        Ok(())
    }

    fn confirm(&mut self, consumer: ConsumerId, request: u64) -> Result<(), String> {
        let sent = self.client(consumer).sent.remove(&request);
        let sent: Sent = sent.ok_or("SUB-2: a confirmation of nothing")?;
        let scene =
            Scene { now: self.now, replica: &self.replica, clients: &self.clients, bounds: &self.bounds };
        self.judge.confirmation(&sent, &scene)?;
        if !sent.acked.is_empty() {
            self.met.met(Met::ConfirmedAck);
        }
        if !sent.nacked.is_empty() {
            self.met.met(Met::ConfirmedNack);
        }
        Ok(())
    }

    fn revoke(&mut self, consumer: ConsumerId, offset: u64, why: Revoked) -> Result<(), String> {
        let holder = self.judge.held.get(&offset).copied();
        let theirs = holder.is_some_and(|(holder, _)| holder == consumer);
        match why {
            Revoked::LeaseEnded => {
                self.met.met(Met::LeaseEnded);
                let early = holder.is_some_and(|(_, until)| theirs && until > self.now);
                ensure(!early, || "SUB-4: a lease that goes on".into())?;
                self.judge.released(offset, true);
                return Ok(());
            }
            Revoked::NotKept => {
                self.met.met(Met::NotKept);
                if theirs {
                    self.judge.released(offset, false);
                }
            }
            Revoked::Settled | Revoked::Sought | Revoked::Trimmed => {
                if theirs {
                    self.judge.released(offset, false);
                }
            }
        }
        self.client(consumer).holds.remove(&offset);
        Ok(())
    }

    /// Those who had their time to come back have nothing any more.
    fn miss_the_lost(&mut self) {
        for number in 0..self.clients.len() {
            let client = &self.clients[number];
            if client.lost_at.is_some_and(|lost| lost + self.bounds.grace_ms <= self.now) {
                let id = client.id;
                self.clients[number].lost_at = None;
                self.clients[number].disconnect();
                self.judge.released_all(id, true);
            }
        }
    }

    fn look_at(&mut self, settlement: &Settlement) {
        let parts = [
            !settlement.acked.is_empty() || !settlement.delayed.acked.is_empty(),
            !settlement.expired.is_empty() || !settlement.delayed.expired.is_empty(),
            !settlement.nacked.is_empty() || !settlement.delayed.nacked.is_empty(),
            !settlement.dead.is_empty() || !settlement.delayed.dead.is_empty(),
        ];
        match parts.into_iter().filter(|part| *part).count() {
            0 => self.met.met(Met::StampOnly),
            1 => {}
            _ => self.met.met(Met::SettlementOfSeveral),
        }
        let delayed = &settlement.delayed;
        let lane = [
            (!delayed.passed.is_empty(), Met::PassedNamed),
            (!delayed.acked.is_empty(), Met::DelayedAcked),
            (!delayed.nacked.is_empty(), Met::DelayedNacked),
            (!delayed.dead.is_empty(), Met::DelayedDead),
            (delayed.floor.is_some(), Met::FloorRaised),
            (settlement.items() == self.bounds.settle_items_max, Met::SettledInParts),
        ];
        lane.into_iter().filter(|(some, _)| *some).for_each(|(_, met)| self.met.met(met));
    }

    /// What is committed is checked against what was said, and applied.
    pub(super) fn apply(
        &mut self,
        mandate: Mandate,
        settlement: &Settlement,
    ) -> Result<Result<(), CursorError>, String> {
        let scene =
            Scene { now: self.now, replica: &self.replica, clients: &self.clients, bounds: &self.bounds };
        if mandate.seek_epoch == self.replica.view().seek_epoch() {
            self.judge.acks_are_true(settlement, &scene)?;
            self.judge.attempts_are_true(settlement, &scene)?;
        }
        let applied = self.replica.settle(self.now, mandate, settlement);
        // The dispatcher knows the partition's rules: of what may be refused only a seek can surprise it.
        ensure(matches!(applied, Ok(()) | Err(CursorRefusal::StaleSeek { .. })), || {
            format!("SUB-1: {settlement:?} is refused: {applied:?}")
        })?;
        if applied.is_ok() {
            let delayed = &settlement.delayed;
            let counts = [
                (!settlement.nacked.is_empty() || !delayed.nacked.is_empty(), Met::NackCommitted),
                (!settlement.dead.is_empty() || !delayed.dead.is_empty(), Met::DeadLettered),
                (!settlement.expired.is_empty() || !delayed.expired.is_empty(), Met::ExpiredSettled),
            ];
            counts.into_iter().filter(|(some, _)| *some).for_each(|(_, met)| self.met.met(met));
        }
        Ok(applied.map_err(CursorError::from))
    }

    fn within_bounds(&mut self) -> Result<(), String> {
        let (window, held) = self.dispatcher.sizes();
        let pages = 2 * super::answers::PAGE_BATCHES * BATCH_MAX;
        ensure(window <= self.bounds.window_messages_max / 2 + pages, || format!("{window} in the window"))?;
        let floor = self.dispatcher.floor();
        ensure(floor <= self.replica.end(), || format!("the floor {floor} is beyond the end"))?;
        if window >= self.bounds.window_messages_max {
            self.met.met(Met::WindowFull);
        }
        if self.dispatcher.is_held_back() {
            self.met.met(Met::HolesAtBound);
        }
        if held >= self.bounds.unacked_consumer_max {
            self.met.met(Met::ConsumerFull);
        }
        Ok(())
    }

    pub(super) fn client(&mut self, consumer: ConsumerId) -> &mut Client {
        let number = (0..self.clients.len()).find(|number| id(*number) == consumer);
        &mut self.clients[number.expect("one of the clients")]
    }
}

fn id(number: usize) -> ConsumerId {
    ConsumerId::from_u128(number as u128 + 1)
}

/// Dead letters on their way, at most.
const OUTBOX: usize = 2;
/// Messages of the largest batch here.
pub(super) const BATCH_MAX: usize = 4;
