//! SUB-1: every message is delivered to each subscription until it is acked.
//!
//! Judged in the end: after a drain, and by what is said to be settled. A message that belongs to the
//! subscription and was left behind, or settled, although no ack can have covered it, is `undelivered`; a
//! confirmed ack that is not among what is settled is an `ack-hole`. An ack of unknown outcome may have
//! happened, so it explains both that a message is settled and that it is not.
//!
//! Excused: what may have expired, what is in the dead-letter topic, what retention was allowed to drop, what
//! a seek may have passed over, delayed messages that were not due. Acks from before a seek that led to or
//! below a message count no longer.
//!
//! Not seen here: which consumer should have got a message and how soon; messages nobody knows the offset
//! of; in a subscription that began at the end or at a time, messages from before it that nobody got.

use std::collections::HashSet;

use meridian_history::{Drained, Op, OpId, Place, SettledState};

use crate::{
    anomaly::AnomalyKind,
    findings::Findings,
    index::Index,
    options::Options,
    sub_acks::Acks,
    sub_stored::Stored,
    sub_view::{Lane, Subscription, effect_end_ns, end_ns},
};

pub(crate) fn check(index: &Index<'_>, options: &Options) -> Findings {
    let mut findings = Findings::of("messages owed to subscriptions");
    let tolerance_ms = u64::try_from(options.clock_tolerance.as_millis()).unwrap_or(u64::MAX);
    for subscription in index.subscriptions.all.values() {
        for (&partition, lane) in &subscription.lanes {
            let dead = subscription.letters().filter(|(_, letter)| letter.source.partition == partition);
            let dead = dead.map(|(_, letter)| letter.source.offset).collect();
            let given = lane.handed.iter().map(|handed| handed.what.offset).collect();
            let acks = Acks::of(lane);
            let drain = lane.drains.iter().rfind(|(op, _)| op.is_ok() && op.invoke_ns >= index.healed_ns);
            let drain = drain.and_then(|(op, call)| Some((*op, call.drained?)));
            let last = lane.finals.iter().rfind(|(op, _)| op.is_ok() && op.invoke_ns >= index.healed_ns);
            let last = last.and_then(|(op, call)| Some((*op, call.state.as_ref()?)));
            let end = End { subscription, lane, acks, dead, given, drain, last, tolerance_ms };
            end.judge(&mut findings);
        }
    }
    findings
}

/// How a subscription ended in one partition.
struct End<'s, 'a> {
    subscription: &'s Subscription<'a>,
    lane: &'s Lane<'a>,
    acks: Acks<'a>,
    /// Offsets of messages that are in the dead-letter topic.
    dead: HashSet<u64>,
    /// Offsets of messages that somebody got.
    given: HashSet<u64>,
    drain: Option<(&'a Op, Drained)>,
    last: Option<(&'a Op, &'a SettledState)>,
    tolerance_ms: u64,
}

impl End<'_, '_> {
    fn judge(&self, findings: &mut Findings) {
        let owed = self.lane.stored.iter().filter(|(offset, stored)| self.is_owed(**offset, stored));
        let owed: Vec<(u64, &Stored<'_>)> = owed.map(|(offset, stored)| (*offset, stored)).collect();
        findings.count("messages owed to subscriptions", owed.len() as u64);
        if self.drain.is_none() && !owed.is_empty() {
            findings.doubt(format!("{}: never drained after the last heal", self.lane.name));
        }
        if self.last.is_none() && !self.acks.confirmed.is_empty() {
            findings.doubt(format!("{}: nobody asked what is settled in the end", self.lane.name));
        }
        for (offset, stored) in owed {
            if !self.acks_missing(offset) {
                findings.count("messages that were or may have been acked", 1);
            } else if let Some((op, how)) = self.gone(offset, stored) {
                self.flag(offset, stored, op, how, findings);
            }
        }
        self.find_holes(findings);
    }

    fn flag(&self, offset: u64, stored: &Stored<'_>, op: OpId, how: &str, findings: &mut Findings) {
        let rules = self.subscription.rules();
        let read = self.subscription.dead.iter().any(|(op, _)| op.is_ok());
        if rules.is_some_and(|rules| rules.attempts_max.is_some()) && !read {
            findings.doubt(format!("{}: nobody read its dead letters to their end", self.lane.name));
            return;
        }
        findings.flag(AnomalyKind::Undelivered, &self.lane.name, &[op], || {
            let met = if self.given.contains(&offset) { "was delivered, never acked" } else { "never came" };
            format!("{} at {offset} {met}, and {how}", stored.id)
        });
    }

    /// Whether the subscription begins at or before this message, for certain.
    fn is_owed(&self, offset: u64, stored: &Stored<'_>) -> bool {
        let Some((op, rules)) = self.subscription.made else { return false };
        if self.given.contains(&offset) {
            return true;
        }
        let later = stored.sent_ns > effect_end_ns(op);
        let there = later || (op.is_ok() && offset >= self.lane.trimmed);
        match rules.start {
            Place::Earliest => there,
            Place::Offset(first) => there && offset >= first,
            Place::Latest | Place::Time(_) => later,
        }
    }

    /// Whether no ack that counts can have covered a message.
    fn acks_missing(&self, offset: u64) -> bool {
        let Some(seek) = self.acks.may_be_acked_in(offset) else { return true };
        let ended = self.drain.map(|(op, _)| op).or(self.last.map(|(op, _)| op));
        let before = |op: &Op| ended.is_some_and(|end| op.is_ok() && op.precedes(end));
        let back = self.lane.seeks.iter().filter(|(op, _)| before(op));
        let back = back.filter_map(|(_, call)| call.sought).filter(|sought| sought.position <= offset);
        back.map(|sought| sought.epoch).max().is_some_and(|since| seek < since)
    }

    /// Who says that an unacked message is settled, and how; none if it may rightly be, or is not.
    fn gone(&self, offset: u64, stored: &Stored<'_>) -> Option<(OpId, &'static str)> {
        if self.dead.contains(&offset) || self.passed_over(offset) {
            return None;
        }
        if self.last.is_some_and(|(_, state)| state.is_dropped(offset)) {
            return None;
        }
        if let Some((op, drained)) = self.drain
            && !self.may_expire(stored, drained.at_ms)
        {
            let due = stored.times.deliver_at_ms.is_none_or(|at| at + self.tolerance_ms < drained.at_ms);
            let acked = stored.acked_ns.is_some_and(|at| at < op.invoke_ns);
            if due && (offset < drained.through || acked) {
                return Some((op.id, "the drain left it behind"));
            }
        }
        let (op, state) = self.last?;
        let wrong = state.is_settled(offset) && !self.may_expire(stored, state.at_ms);
        wrong.then_some((op.id, "it counts as settled"))
    }

    fn may_expire(&self, stored: &Stored<'_>, at_ms: u64) -> bool {
        stored.times.expire_at_ms.is_some_and(|expire| expire <= at_ms.saturating_add(self.tolerance_ms))
    }

    /// Whether a seek may have left a message below it.
    fn passed_over(&self, offset: u64) -> bool {
        self.lane.seeks.iter().any(|(_, call)| match (call.sought, call.to) {
            (Some(sought), _) => sought.position > offset,
            (None, Place::Offset(to)) => to > offset,
            (None, Place::Earliest) => false,
            (None, Place::Latest | Place::Time(_)) => true,
        })
    }

    fn find_holes(&self, findings: &mut Findings) {
        let Some((last, state)) = self.last else { return };
        for (&offset, acks) in &self.acks.confirmed {
            let before = acks.iter().filter(|ack| end_ns(ack.op) < last.invoke_ns);
            let Some(ack) = before.max_by_key(|ack| ack.seek) else { continue };
            findings.count("confirmed acks looked up", 1);
            if !state.is_settled(offset) && !self.lane.may_unsettle(offset, ack.seek, last) {
                findings.flag(AnomalyKind::AckHole, &self.lane.name, &[ack.op.id, last.id], || {
                    format!("the ack of {offset} was confirmed, but it is not settled in the end")
                });
            }
        }
    }
}

impl Lane<'_> {
    /// Whether a seek after this seek epoch may have led to or below a message, before `by` ended.
    pub(crate) fn may_unsettle(&self, offset: u64, epoch: u64, by: &Op) -> bool {
        self.seeks.iter().filter(|(op, _)| op.invoke_ns <= end_ns(by)).any(|(_, call)| match call.sought {
            Some(sought) => sought.epoch > epoch && sought.position <= offset,
            None => match call.to {
                Place::Offset(to) => to <= offset,
                Place::Earliest | Place::Time(_) => true,
                // What was settled before lies below the end.
                Place::Latest => false,
            },
        })
    }
}
