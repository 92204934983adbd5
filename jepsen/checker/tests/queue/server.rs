//! The queue: what is settled, who holds what until when, and who may be given which message next.

use std::collections::{BTreeMap, BTreeSet};

use meridian_history::*;

use super::{Chance, LEASE_MS, MS, wall_ms};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Open,
    Acked,
    Expired,
    Dead,
    Passed,
}

pub(crate) struct Message {
    pub(crate) sent: Sent,
    pub(crate) fate: Fate,
    pub(crate) attempts: u32,
    not_before: u64,
    /// Given to somebody since the last seek.
    given: bool,
    /// Who was given it and has not refused it.
    with: BTreeSet<usize>,
    last: Option<usize>,
}

struct Lease {
    consumer: usize,
    until: u64,
}

/// Credit for some messages: the operation that asked, and by whom.
pub(crate) struct Credit {
    pub(crate) op: usize,
    pub(crate) consumer: usize,
    pub(crate) messages: u64,
}

pub(crate) struct Queue {
    pub(crate) rules: Subscribe,
    pub(crate) log: Vec<Message>,
    leases: BTreeMap<u64, Lease>,
    pub(crate) epochs: Epochs,
    pub(crate) owner: Option<usize>,
    owner_epoch: u64,
    index: u64,
    pub(crate) consumers: Vec<usize>,
    pub(crate) credits: Vec<Credit>,
    pub(crate) letters: Vec<DeadLetter>,
    skew_ms: i64,
    tells_leases: bool,
}

impl Queue {
    pub(crate) fn of(rules: Subscribe, chance: &mut Chance) -> Self {
        let epochs = Epochs { dispatch: 5, seek: 0, owner: None };
        Self {
            rules,
            log: Vec::new(),
            leases: BTreeMap::new(),
            epochs,
            owner: None,
            owner_epoch: 0,
            index: 5,
            consumers: Vec::new(),
            credits: Vec::new(),
            letters: Vec::new(),
            skew_ms: 0,
            tells_leases: chance.percent(50),
        }
    }

    fn entry(&mut self) -> u64 {
        self.index += 1;
        self.index
    }

    pub(crate) fn append(&mut self, messages: &[Sent]) -> u64 {
        let first = self.log.len() as u64;
        self.log.extend(messages.iter().map(|sent| Message {
            sent: sent.clone(),
            fate: Fate::Open,
            attempts: 0,
            not_before: 0,
            given: false,
            with: BTreeSet::new(),
            last: None,
        }));
        first
    }

    /// Another leader: leases end, clocks differ, and nobody was given anything as far as it knows.
    pub(crate) fn change_leader(&mut self, chance: &mut Chance) {
        self.leases.clear();
        self.epochs.dispatch = self.entry();
        self.skew_ms = chance.below(120) as i64 - 60;
        self.log.iter_mut().for_each(|message| message.last = None);
    }

    pub(crate) fn join(&mut self, consumer: usize) -> bool {
        if self.rules.kind == SubscriptionKind::Exclusive && !self.consumers.is_empty() {
            return false;
        }
        self.consumers.push(consumer);
        true
    }

    /// A consumer is gone; with some streams what it held counts as failed.
    pub(crate) fn remove(&mut self, now: u64, consumer: usize, counts: bool) {
        self.consumers.retain(|other| *other != consumer);
        self.credits.retain(|credit| credit.consumer != consumer);
        if self.owner == Some(consumer) {
            self.owner = None;
        }
        let held: Vec<u64> =
            self.leases.iter().filter(|(_, lease)| lease.consumer == consumer).map(|(o, _)| *o).collect();
        for offset in held {
            self.leases.remove(&offset);
            if counts {
                self.attempt_failed(now, offset, 20 * MS);
            }
        }
        for message in &mut self.log {
            message.last = message.last.filter(|last| *last != consumer);
        }
    }

    fn attempt_failed(&mut self, now: u64, offset: u64, backoff: u64) {
        self.entry();
        let message = &mut self.log[offset as usize];
        message.attempts += 1;
        message.not_before = now + backoff;
        if self.rules.attempts_max.is_some_and(|max| message.attempts >= max) {
            message.fate = Fate::Dead;
            self.letters.push(DeadLetter {
                partition: 0,
                offset: self.letters.len() as u64,
                id: self.log[offset as usize].sent.id.clone(),
                source: Source { partition: 0, log: "log".into(), offset },
            });
        }
    }

    /// Applies what a client said and answers it; false: refused.
    pub(crate) fn apply(&mut self, now: u64, consumer: usize, kind: &mut Kind, chance: &mut Chance) -> bool {
        match kind {
            Kind::Ack(call) => {
                call.settled = self.ack(consumer, call);
                call.settled.is_some()
            }
            Kind::Nack(call) => {
                let held = self.holds(consumer, call.offset, &call.by);
                if held {
                    self.leases.remove(&call.offset);
                    self.log[call.offset as usize].with.remove(&consumer);
                    self.attempt_failed(now, call.offset, (20 + chance.below(80)) * MS);
                    call.settled = Some(Settled { index: Some(self.index) });
                }
                held
            }
            Kind::Extend(call) => {
                let held = self.holds(consumer, call.offset, &call.by);
                if held && let Some(lease) = self.leases.get_mut(&call.offset) {
                    lease.until = lease.until.max(now + LEASE_MS * MS);
                    call.extended = Some(Done {});
                }
                held
            }
            Kind::Seek(call) => {
                let Place::Offset(to) = call.to else { return false };
                call.sought = Some(self.seek(to));
                true
            }
            _ => false,
        }
    }

    fn holds(&self, consumer: usize, offset: u64, by: &Holder) -> bool {
        let lease = self.leases.get(&offset).is_some_and(|lease| lease.consumer == consumer);
        lease && by.epochs == self.epochs
    }

    fn ack(&mut self, consumer: usize, call: &Ack) -> Option<Settled> {
        let epochs = call.by.epochs;
        let fenced = self.rules.kind.is_owned() && epochs.owner != self.epochs.owner;
        if fenced || epochs.seek != self.epochs.seek {
            return None;
        }
        let offsets: Vec<u64> = match &call.of {
            AckOf::Single(offset) => vec![*offset],
            AckOf::Batch(offsets) => offsets.clone(),
            AckOf::Cumulative(end) => {
                let with = (0..*end).filter(|o| self.log[*o as usize].with.contains(&consumer));
                with.collect()
            }
        };
        let open = |queue: &Self, offset: &u64| queue.log[*offset as usize].fate == Fate::Open;
        let any = offsets.iter().any(|offset| open(self, offset));
        for offset in offsets {
            if open(self, &offset) {
                self.log[offset as usize].fate = Fate::Acked;
                self.leases.remove(&offset);
            }
        }
        let index = any.then(|| self.entry());
        Some(Settled { index })
    }

    fn seek(&mut self, to: u64) -> Sought {
        self.entry();
        self.epochs.seek += 1;
        self.leases.clear();
        for (message, offset) in self.log.iter_mut().zip(0..) {
            (message.attempts, message.not_before, message.given) = (0, 0, false);
            (message.last, message.with) = (None, BTreeSet::new());
            message.fate = match message.fate {
                _ if offset >= to => Fate::Open,
                Fate::Open => Fate::Passed,
                fate => fate,
            };
        }
        Sought { position: to, epoch: self.epochs.seek }
    }

    fn leader_ms(&self, now: u64) -> u64 {
        wall_ms(now).saturating_add_signed(self.skew_ms)
    }

    /// Ends leases and lives whose time has come; says which leases.
    pub(crate) fn pass_time(&mut self, now: u64) -> Vec<(usize, u64, Epochs)> {
        let over: Vec<u64> = self.leases.iter().filter(|(_, l)| l.until <= now).map(|(o, _)| *o).collect();
        let mut told = Vec::new();
        for offset in over {
            if let Some(lease) = self.leases.remove(&offset) {
                told.push((lease.consumer, offset, self.epochs));
                self.attempt_failed(now, offset, 20 * MS);
            }
        }
        let leader_ms = self.leader_ms(now);
        for (message, offset) in self.log.iter_mut().zip(0u64..) {
            let old = message.sent.times.expire_at_ms.is_some_and(|at| leader_ms > at);
            if message.fate == Fate::Open && old && !self.leases.contains_key(&offset) {
                message.fate = Fate::Expired;
            }
        }
        told
    }

    /// Names an owner, if one is needed and there is somebody.
    fn own(&mut self, chance: &mut Chance) {
        if self.rules.kind.is_owned() && self.owner.is_none() && !self.consumers.is_empty() {
            self.entry();
            self.owner = chance.pick(&self.consumers);
            self.owner_epoch += 1;
            self.epochs.owner = Some(self.owner_epoch);
            self.leases.clear();
        }
    }

    /// Hands out a message if there is credit and something to hand out: the credit, and what.
    pub(crate) fn dispatch(&mut self, now: u64, chance: &mut Chance) -> Option<(Credit, Vec<Delivery>)> {
        self.own(chance);
        let start = chance.below(self.credits.len() as u64) as usize;
        for nth in 0..self.credits.len() {
            let at = (start + nth) % self.credits.len();
            let (consumer, max) = (self.credits[at].consumer, self.credits[at].messages);
            let mut given = Vec::new();
            while (given.len() as u64) < max
                && let Some(offset) = self.next_for(now, consumer)
            {
                given.push(self.hand(now, consumer, offset));
            }
            if !given.is_empty() {
                return Some((self.credits.swap_remove(at), given));
            }
        }
        None
    }

    fn next_for(&self, now: u64, consumer: usize) -> Option<u64> {
        let owned = self.rules.kind.is_owned();
        let mine = self.leases.values().filter(|lease| lease.consumer == consumer).count() as u64;
        let full = self.rules.unacked_consumer_max.is_some_and(|max| mine >= max)
            || self.rules.unacked_max.is_some_and(|max| self.leases.len() as u64 >= max);
        if full || !self.consumers.contains(&consumer) || owned && self.owner != Some(consumer) {
            return None;
        }
        // What was given before comes first, then what is new, in order.
        let mut offsets: Vec<u64> = (0..self.log.len() as u64).collect();
        offsets.sort_by_key(|offset| (!self.log[*offset as usize].given, *offset));
        offsets.into_iter().find(|offset| self.may_have(now, consumer, *offset))
    }

    fn may_have(&self, now: u64, consumer: usize, offset: u64) -> bool {
        let message = &self.log[offset as usize];
        let (leader_ms, times) = (self.leader_ms(now), message.sent.times);
        message.fate == Fate::Open
            && !self.leases.contains_key(&offset)
            && message.not_before <= now
            && times.deliver_at_ms.is_none_or(|at| at <= leader_ms)
            && times.expire_at_ms.is_none_or(|at| leader_ms <= at)
            && (self.rules.kind != SubscriptionKind::KeyShared || self.key_allows(consumer, offset))
    }

    fn key_allows(&self, consumer: usize, offset: u64) -> bool {
        let key = &self.log[offset as usize].sent.key;
        let hash = key.as_ref().map_or(0, |key| key.len() + usize::from(key.as_bytes()[1]));
        let mut all = self.consumers.clone();
        all.sort_unstable();
        if all[hash % all.len()] != consumer {
            return false;
        }
        let new = !self.log[offset as usize].given;
        let earlier = self.log.iter().zip(0u64..).filter(|(message, _)| message.sent.key == *key);
        earlier.filter(|(message, at)| message.fate == Fate::Open && *at != offset).all(|(message, at)| {
            let held = self.leases.get(&at).is_some_and(|lease| lease.consumer != consumer);
            let elsewhere = held || new && message.last.is_some_and(|last| last != consumer);
            let delayed = message.sent.times.deliver_at_ms.is_some();
            let skipped = at < offset && new && !message.given && !delayed;
            !elsewhere && !skipped
        })
    }

    fn hand(&mut self, now: u64, consumer: usize, offset: u64) -> Delivery {
        let (leader_ms, epochs) = (self.leader_ms(now), self.epochs);
        self.leases.insert(offset, Lease { consumer, until: now + LEASE_MS * MS });
        let message = &mut self.log[offset as usize];
        (message.given, message.last) = (true, Some(consumer));
        message.with.insert(consumer);
        Delivery {
            partition: 0,
            log: "log".into(),
            offset,
            id: message.sent.id.clone(),
            key: message.sent.key.clone(),
            attempt: message.attempts + 1,
            epochs,
            times: message.sent.times,
            lease_until_ms: self.tells_leases.then_some(leader_ms + LEASE_MS),
            at_ms: 0,
        }
    }

    /// Whether nothing is left to do.
    pub(crate) fn is_done(&self) -> bool {
        self.log.iter().all(|message| {
            let far = message.sent.times.deliver_at_ms.is_some_and(|at| at >= super::FAR_MS);
            message.fate != Fate::Open || far
        })
    }
}
