//! SUB-6, dead letters: a message is dead if and only if its committed attempts reached the limit, exactly once.
//!
//! `dlq-duplicate`: one message at two places of the dead-letter topic. `dlq-wrong`: delivered beyond the limit;
//! dead without a limit; not what is at the offset it says it is from; dead earlier than its attempts can have
//! failed, or after its ack was confirmed; or refused for the last time, with confirmation, and not dead.
//!
//! How early a message can be dead follows from the highest attempt that was recorded: that one can have failed
//! by a nack, by its lease, or with its consumer's stream; each further one takes a nack or a lease. Where some
//! consumer crashed or was cut off, attempts can have failed with it that nobody recorded: then a message can be
//! dead as soon as its highest recorded attempt was sent. After a seek that may have led to a message it is tried
//! anew, so its times prove nothing and it may be dead once more.
//!
//! Not seen here: a message that is dead one attempt early, if there was time for that attempt on its way to a
//! consumer that never recorded it; and messages that should be dead because of leases alone (a drain that
//! leaves them behind breaks SUB-1).

use std::collections::{BTreeMap, BTreeSet, HashMap};

use meridian_history::{DeadLetter, Op, OpId, Outcome, Parting};

use crate::{
    anomaly::AnomalyKind,
    findings::Findings,
    sub_acks::Acks,
    sub_spans::Moments,
    sub_view::{Handed, Lane, Subscription, end_ns},
};

/// Dead letters of one partition by the offset they are from, with who saw them.
type Letters<'a> = BTreeMap<u64, Vec<(&'a Op, &'a DeadLetter)>>;

pub(crate) fn check(
    subscription: &Subscription<'_>,
    healed_ns: u64,
    tolerance_ns: u64,
    findings: &mut Findings,
) {
    let mut letters: BTreeMap<u32, Letters<'_>> = BTreeMap::new();
    for (op, letter) in subscription.letters() {
        findings.count("messages with times or attempts", 1);
        findings.count("dead letters", 1);
        let of_lane = letters.entry(letter.source.partition).or_default();
        of_lane.entry(letter.source.offset).or_default().push((op, letter));
    }
    let none = BTreeMap::new();
    for (partition, lane) in &subscription.lanes {
        let letters = letters.get(partition).unwrap_or(&none);
        Judge::of(subscription, lane, tolerance_ns).judge(letters, healed_ns, findings);
    }
}

struct Judge<'s, 'a> {
    subscription: &'s Subscription<'a>,
    lane: &'s Lane<'a>,
    acks: Acks<'a>,
    /// The highest attempt of each message, and the first delivery of it.
    last: HashMap<u64, &'s Handed<'a>>,
    nacks: HashMap<u64, Moments>,
    streams: HashMap<&'a str, Moments>,
    /// Whether attempts may have failed that nobody recorded.
    cut_off: bool,
    tolerance_ns: u64,
}

impl<'s, 'a> Judge<'s, 'a> {
    fn of(subscription: &'s Subscription<'a>, lane: &'s Lane<'a>, tolerance_ns: u64) -> Self {
        let mut last: HashMap<u64, &Handed<'_>> = HashMap::new();
        for handed in &lane.handed {
            let known = last.entry(handed.what.offset).or_insert(handed);
            if known.what.attempt < handed.what.attempt {
                *known = handed;
            }
        }
        let mut nacks: HashMap<u64, Vec<&Op>> = HashMap::new();
        lane.nacks.iter().for_each(|(op, call)| nacks.entry(call.offset).or_default().push(op));
        let mut streams: HashMap<&str, Vec<&Op>> = HashMap::new();
        subscription.joins.iter().for_each(|(op, call)| streams.entry(&call.consumer).or_default().push(op));
        subscription.parts.iter().for_each(|(op, call)| streams.entry(&call.consumer).or_default().push(op));
        let joined: BTreeSet<&str> = subscription.joins.iter().map(|(_, j)| j.consumer.as_str()).collect();
        Self {
            subscription,
            lane,
            acks: Acks::of(lane),
            last,
            nacks: nacks.into_iter().map(|(offset, ops)| (offset, Moments::of(ops))).collect(),
            streams: streams.into_iter().map(|(who, ops)| (who, Moments::of(ops))).collect(),
            cut_off: joined.len() < subscription.joins.len()
                || subscription.parts.iter().any(|(_, part)| part.how != Parting::Left),
            tolerance_ns,
        }
    }

    fn judge(&self, letters: &Letters<'_>, healed_ns: u64, findings: &mut Findings) {
        let Some(rules) = self.subscription.rules() else { return };
        if let Some(max) = rules.attempts_max {
            self.find_beyond(max, findings);
            self.find_missing(max, letters, healed_ns, findings);
        }
        for (&offset, seen) in letters {
            self.find_copies(offset, seen, findings);
            for (op, letter) in seen {
                if let Some(why) = self.wrong(offset, op, letter, rules.attempts_max, rules.lease_ms) {
                    self.flag(offset, &[op.id], why, findings);
                    break;
                }
            }
        }
    }

    fn flag(&self, offset: u64, ops: &[OpId], why: &str, findings: &mut Findings) {
        findings.flag(AnomalyKind::DlqWrong, &self.lane.name, ops, || format!("{offset} {why}"));
    }

    fn find_beyond(&self, max: u32, findings: &mut Findings) {
        for handed in self.lane.handed.iter().filter(|handed| handed.what.attempt > max) {
            self.flag(handed.what.offset, &[handed.op.id], "was delivered beyond its last attempt", findings);
        }
    }

    fn find_copies(&self, offset: u64, seen: &[(&Op, &DeadLetter)], findings: &mut Findings) {
        let places: BTreeSet<(u32, u64)> =
            seen.iter().map(|(_, letter)| (letter.partition, letter.offset)).collect();
        let anew = self.lane.seeks.iter().filter(|(op, call)| {
            let position = call.sought.map_or(0, |sought| sought.position);
            op.outcome != Outcome::Fail && position <= offset
        });
        if places.len() > 1 + anew.count() {
            let ops: Vec<OpId> = seen.iter().map(|(op, _)| op.id).collect();
            findings.flag(AnomalyKind::DlqDuplicate, &self.lane.name, &ops, || {
                format!("{offset} is in the dead-letter topic at {places:?}")
            });
        }
    }

    fn wrong(
        &self,
        offset: u64,
        op: &Op,
        letter: &DeadLetter,
        max: Option<u32>,
        lease_ms: u64,
    ) -> Option<&'static str> {
        let Some(max) = max else { return Some("is dead, but there is no limit of attempts") };
        let stored = self.lane.stored.get(&offset);
        if stored.is_some_and(|stored| *stored.id != letter.id) {
            return Some("is another message than the dead letter that names it");
        }
        if self.last.get(&offset).is_some_and(|handed| handed.what.log != letter.source.log) {
            return Some("is from another log than its dead letter says");
        }
        if self.lane.seeks.iter().any(|(_, call)| call.sought.is_none_or(|to| to.position <= offset)) {
            return None;
        }
        let dead = self.dead_after_ns(offset, max, lease_ms).saturating_sub(self.tolerance_ns);
        if end_ns(op) < dead {
            return Some("is dead before its attempts can have failed");
        }
        let acks = self.acks.confirmed.get(&offset);
        let acked = acks.into_iter().flatten().any(|ack| ack.known_ns() < dead);
        acked.then_some("is dead although its ack was confirmed")
    }

    /// When its last attempt can have failed at the earliest.
    fn dead_after_ns(&self, offset: u64, max: u32, lease_ms: u64) -> u64 {
        let lease_ns = lease_ms.saturating_mul(1_000_000);
        let Some(handed) = self.last.get(&offset) else {
            let sent = self.lane.stored.get(&offset).map_or(0, |stored| stored.sent_ns);
            let leases = if self.cut_off { 0 } else { u64::from(max) };
            return sent.saturating_add(lease_ns.saturating_mul(leases));
        };
        let since = self.lane.sent_after_ns(handed);
        if self.cut_off {
            // Another delivery of this attempt may have failed with a consumer that never recorded it.
            return since;
        }
        let nacks = self.nacks.get(&offset);
        let stream = self.streams.get(handed.consumer).and_then(|moments| moments.first_since(since));
        let first = nacks.and_then(|moments| moments.first_since(since)).into_iter().chain(stream).min();
        // A refusal that was long under way may have hit a later attempt than it meant.
        let refused = nacks.map_or(0, |moments| moments.count_since(since)) + u64::from(stream.is_some());
        let failed = u64::from(max.saturating_sub(handed.what.attempt)) + 1;
        let leases = failed.saturating_sub(refused);
        let by_lease = since.saturating_add(lease_ns.saturating_mul(leases));
        first.map_or(by_lease, |first| by_lease.max(first.min(since.saturating_add(lease_ns))))
    }

    /// What was refused for the last time, before a drain after which the dead letters were read to their end.
    fn find_missing(&self, max: u32, letters: &Letters<'_>, healed_ns: u64, findings: &mut Findings) {
        let read = self.subscription.dead.iter().rfind(|(op, _)| op.is_ok()).map(|(op, _)| *op);
        let before = |op: &Op| op.is_ok() && read.is_some_and(|read| op.precedes(read));
        let drains = self.lane.drains.iter();
        let drain = drains.rev().find(|(op, _)| before(op) && op.invoke_ns >= healed_ns);
        let last = self.lane.nacks.iter().filter(|(op, call)| op.is_ok() && call.attempt == max);
        for (op, call) in last {
            findings.count("last attempts refused", 1);
            let offset = call.offset;
            let dropped = self.lane.finals.iter().filter_map(|(_, last)| last.state.as_ref());
            let excused = self.acks.may_be_acked_in(offset).is_some()
                || !self.lane.seeks.is_empty()
                || self.lane.times(offset).expire_at_ms.is_some()
                || dropped.into_iter().any(|state| state.is_dropped(offset));
            match drain {
                None => {
                    findings.doubt(format!("{}: no drain before its dead letters were read", self.lane.name))
                }
                Some((drain, _)) if op.precedes(drain) && !excused && !letters.contains_key(&offset) => {
                    self.flag(
                        offset,
                        &[op.id, drain.id],
                        "was refused for the last time, and is not dead",
                        findings,
                    );
                }
                Some(_) => {}
            }
        }
    }
}
