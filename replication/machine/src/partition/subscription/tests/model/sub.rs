//! One subscription of the model.

use std::collections::{BTreeMap, BTreeSet};

use meridian_model::subscription::SubscriptionRules;
use meridian_model::{ConsumerId, LogId};

use super::super::coverage::{Coverage, Met};
use crate::partition::SubscriptionRefusal;

/// A time, zero in the main lane, and an offset.
pub(in super::super) type At = (u64, u64);

/// Where a subscription begins or goes on.
pub(super) struct Start {
    pub(super) at: u64,
    /// Delayed messages before it, as the command says.
    pub(super) rank: u64,
    /// As it is.
    pub(super) true_rank: u64,
    pub(super) floor: At,
}

#[derive(Clone, Debug)]
pub(in super::super) struct Sub {
    pub(in super::super) control_index: u64,
    pub(in super::super) rules: SubscriptionRules,
    pub(in super::super) seek_epoch: u64,
    pub(in super::super) owner: Option<ConsumerId>,
    pub(in super::super) owner_epoch: u64,
    pub(in super::super) floor: u64,
    /// Offsets settled in the main lane, above the floor.
    pub(in super::super) main: BTreeSet<u64>,
    /// Delayed messages that the partition knows to be settled in the main lane.
    pub(in super::super) passed: u64,
    /// The same, as it is: with those that nobody named.
    pub(in super::super) passed_truly: u64,
    pub(in super::super) from: u64,
    pub(in super::super) before: u64,
    pub(in super::super) delayed_floor: At,
    /// Delayed messages that were named as settled, from the floor on.
    pub(in super::super) delayed: BTreeSet<At>,
    /// How many were named, since it began here.
    pub(in super::super) named: u64,
    /// Whether all of these exist, and what was said to be settled before the floor was.
    pub(in super::super) honest: bool,
    pub(in super::super) is_exact: bool,
    pub(in super::super) attempts: BTreeMap<At, (u32, u64)>,
    /// Every dead letter ever sent to a destination, and how many of them arrived.
    pub(in super::super) sent: BTreeMap<LogId, (Vec<At>, u64)>,
    pub(in super::super) expired: u64,
    pub(in super::super) dropped: Option<(u64, u64)>,
    pub(in super::super) dropped_messages: u64,
}

impl Sub {
    pub(super) fn new(control_index: u64, rules: SubscriptionRules, start: Start) -> Self {
        let mut sub = Self {
            control_index,
            rules,
            seek_epoch: 0,
            owner: None,
            owner_epoch: 0,
            floor: 0,
            main: BTreeSet::new(),
            passed: 0,
            passed_truly: 0,
            from: 0,
            before: 0,
            delayed_floor: (0, 0),
            delayed: BTreeSet::new(),
            named: 0,
            honest: true,
            is_exact: true,
            attempts: BTreeMap::new(),
            sent: BTreeMap::new(),
            expired: 0,
            dropped: None,
            dropped_messages: 0,
        };
        sub.begin(start);
        sub
    }

    fn begin(&mut self, start: Start) {
        (self.floor, self.from, self.before) = (start.at, start.at, start.rank);
        (self.passed, self.passed_truly) = (start.rank, start.true_rank);
        self.delayed_floor = start.floor;
        (self.named, self.honest, self.is_exact) = (0, start.rank == start.true_rank, true);
        self.main.clear();
        self.delayed.clear();
        self.attempts.clear();
    }

    pub(super) fn seek(&mut self, start: Start, met: &mut Coverage) {
        if !self.main.is_empty() || !self.delayed.is_empty() {
            met.met(Met::SoughtWithRanges);
        }
        if !self.attempts.is_empty() {
            met.met(Met::SoughtWithAttempts);
        }
        self.begin(start);
        self.seek_epoch += 1;
    }

    pub(super) fn change(
        &mut self,
        control_index: u64,
        rules: &SubscriptionRules,
        met: &mut Coverage,
    ) -> Result<(), SubscriptionRefusal> {
        if control_index < self.control_index {
            met.met(Met::ChangeStale);
            return Err(SubscriptionRefusal::StaleControl { current: self.control_index });
        }
        met.met(Met::Changed);
        if rules.kind != self.rules.kind {
            met.met(Met::ChangedKind);
            (self.owner, self.owner_epoch) = (None, self.owner_epoch + 1);
        }
        (self.control_index, self.rules) = (control_index, rules.clone());
        Ok(())
    }

    pub(in super::super) fn is_settled(&self, (due, offset): At) -> bool {
        match due {
            0 => offset < self.floor || self.main.contains(&offset),
            _ => {
                let at = (due, offset);
                offset < self.from || at < self.delayed_floor || self.delayed.contains(&at)
            }
        }
    }

    /// Settles one offset of the main lane. Whether it was not.
    pub(super) fn settle_main(&mut self, offset: u64, is_delayed: bool) -> bool {
        if self.is_settled((0, offset)) {
            return false;
        }
        self.main.insert(offset);
        self.passed_truly += u64::from(is_delayed);
        while self.main.remove(&self.floor) {
            self.floor += 1;
        }
        self.attempts.remove(&(0, offset));
        true
    }

    /// Settles one delayed message. Whether it was not.
    pub(super) fn settle_delayed(&mut self, at: At) -> bool {
        if self.is_settled(at) {
            return false;
        }
        self.delayed.insert(at);
        self.named += 1;
        self.attempts.remove(&at);
        true
    }

    pub(super) fn moved(
        &mut self,
        to: LogId,
        through: u64,
        met: &mut Coverage,
    ) -> Result<u64, SubscriptionRefusal> {
        let sent = self.sent.get_mut(&to).filter(|(sent, _)| through < sent.len() as u64);
        let Some((sent, arrived)) = sent else {
            met.met(Met::MovedNeverSent);
            return Err(SubscriptionRefusal::NeverSent);
        };
        met.met(match () {
            () if through < *arrived => Met::MovedAgain,
            () if through + 1 == sent.len() as u64 => Met::MovedAll,
            () => Met::MovedSome,
        });
        *arrived = (*arrived).max(through + 1);
        Ok(sent.len() as u64 - *arrived)
    }

    /// Dead letters that have not arrived: where each goes, its sequence, and its place.
    pub(in super::super) fn letters(&self) -> impl Iterator<Item = (LogId, u64, At)> {
        self.sent.iter().flat_map(|(to, (sent, arrived))| {
            let left = sent.iter().zip(0..).skip(*arrived as usize);
            left.map(move |(at, sequence)| (*to, sequence, *at))
        })
    }

    pub(in super::super) fn on_their_way(&self) -> usize {
        self.letters().count()
    }

    /// Ranges that the settled offsets of the main lane make.
    pub(in super::super) fn main_ranges(&self) -> Vec<(u64, u64)> {
        ranges(self.main.iter().map(|offset| (0, *offset)))
            .into_iter()
            .map(|(_, from, to)| (from, to))
            .collect()
    }

    /// Ranges that the settled delayed messages make, by time.
    pub(in super::super) fn delayed_ranges(&self) -> Vec<(u64, u64, u64)> {
        ranges(self.delayed.iter().copied())
    }
}

fn ranges(settled: impl Iterator<Item = At>) -> Vec<(u64, u64, u64)> {
    let mut ranges: Vec<(u64, u64, u64)> = Vec::new();
    for (due, offset) in settled {
        match ranges.last_mut() {
            Some((last, _, to)) if (*last, *to) == (due, offset) => *to += 1,
            _ => ranges.push((due, offset, offset + 1)),
        }
    }
    ranges
}
