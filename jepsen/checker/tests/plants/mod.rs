//! Ways to break a correct history, one or more for each anomaly.

mod control;
mod log;
mod time;

use meridian_checker::AnomalyKind;
use meridian_history::*;

use crate::correct_log::{Chance, TOPIC};

/// Breaks a history in one place; false if this history offers no such place.
pub(crate) type Plant = fn(&mut Broken, &mut Chance) -> bool;

/// Every plant, with the anomaly that it must be found as.
pub(crate) const PLANTS: &[(AnomalyKind, &str, Plant)] = &[
    (AnomalyKind::FaultNeverInstalled, "every kill skipped", control::skip_the_fault),
    (AnomalyKind::Lost, "acked, then gone from every replica", log::lose),
    (AnomalyKind::Lost, "acked at another offset than it is at", log::misplace),
    (AnomalyKind::Unseen, "acked, then gone from one replica", log::hide),
    (AnomalyKind::Unseen, "a replica never serves its final scan", log::silence),
    (AnomalyKind::AbortedRead, "read although the publish failed", log::abort),
    (AnomalyKind::Phantom, "read although never sent", log::haunt),
    (AnomalyKind::Phantom, "read before it was sent", time::read_early),
    (AnomalyKind::BadCrc, "payload does not match its checksum", log::corrupt),
    (AnomalyKind::BadCrc, "other payload than was sent", log::falsify),
    (AnomalyKind::InconsistentOffset, "one reader sees another message", log::disagree),
    (AnomalyKind::ChainMismatch, "one replica has another head", log::fork_chain),
    (AnomalyKind::Duplicate, "stored twice", log::double),
    (AnomalyKind::SeqGap, "a producer's numbers jump", log::jump),
    (AnomalyKind::NonmonotonicSend, "a producer's numbers swapped", log::swap_sends),
    (AnomalyKind::Zombie, "a fenced epoch writes again", time::rise_again),
    (AnomalyKind::Zombie, "one epoch given twice", time::give_epoch_twice),
    (AnomalyKind::Zombie, "an append that was under way lands behind the fence", time::land_behind_fence),
    (AnomalyKind::Realtime, "sent after a higher offset was acked", time::send_late),
    (AnomalyKind::StaleEnd, "an end below what was acked", time::shrink_end),
    (AnomalyKind::PollSkip, "a message missing from a page", log::skip),
    (AnomalyKind::NonmonotonicPoll, "a page out of order", log::shuffle),
    (AnomalyKind::Resurrection, "a trimmed offset read again", time::resurrect),
    (AnomalyKind::Resurrection, "a final scan below its log start", time::resurrect_in_scan),
    (AnomalyKind::NoLegalOrder, "an ack at another offset", log::misplace_searched),
    (AnomalyKind::NoLegalOrder, "an end that never was", log::impossible_end),
    (AnomalyKind::WrongAnswer, "a value nobody wrote", control::invent_value),
    (AnomalyKind::WrongAnswer, "a name nobody made is listed", control::invent_name),
    (AnomalyKind::IndexOrder, "a later answer from an earlier index", control::go_back),
    (AnomalyKind::NotLinearizable, "a value nobody wrote", control::invent_value),
    (AnomalyKind::NotLinearizable, "a deleted name described", control::describe_deleted),
];

/// A history about to be broken.
pub(crate) struct Broken {
    pub(crate) ops: Vec<Op>,
}

/// A message that every final scan shows: partition, offset, identity.
pub(crate) type Final = (u32, u64, MessageId);

impl Broken {
    pub(crate) fn publishes(&mut self) -> impl Iterator<Item = (&mut Outcome, &mut Publish)> {
        self.ops.iter_mut().filter_map(|op| match &mut op.kind {
            Kind::Publish(call) => Some((&mut op.outcome, call)),
            _ => None,
        })
    }

    pub(crate) fn scans(&mut self) -> impl Iterator<Item = (&mut FinalRead, u32)> {
        self.ops.iter_mut().filter_map(|op| match &mut op.kind {
            Kind::FinalRead(call) => Some(call.partition).map(|partition| (call, partition)),
            _ => None,
        })
    }

    /// Every list of records anybody read, by partition.
    pub(crate) fn records(&mut self) -> impl Iterator<Item = (u32, &mut Vec<Seen>)> {
        self.ops.iter_mut().filter_map(|op| match &mut op.kind {
            Kind::Read(call) => call.page.as_mut().map(|page| (call.partition, &mut page.records)),
            Kind::FinalRead(call) => call.scan.as_mut().map(|scan| (call.partition, &mut scan.records)),
            _ => None,
        })
    }

    /// Sequenced messages in the final log.
    pub(crate) fn finals(&mut self) -> Vec<Final> {
        let mut all = Vec::new();
        for (call, partition) in self.scans() {
            let records = call.scan.iter().flat_map(|scan| &scan.records);
            all.extend(records.filter(|s| s.id.epoch > 0).map(|s| (partition, s.offset, s.id.clone())));
        }
        all.sort();
        all.dedup();
        all
    }

    /// The ones of these that were acked.
    pub(crate) fn acked_finals(&mut self) -> Vec<Final> {
        let mut acked = Vec::new();
        for (outcome, call) in self.publishes().filter(|(outcome, _)| **outcome == Outcome::Ok) {
            assert_eq!(*outcome, Outcome::Ok);
            acked.extend(call.messages.iter().map(|sent| (call.partition, sent.id.clone())));
        }
        let mut finals = self.finals();
        finals.retain(|(partition, _, id)| acked.contains(&(*partition, id.clone())));
        finals
    }

    /// Gives messages of one partition other ids, everywhere they were sent or seen.
    pub(crate) fn rename(&mut self, partition: u32, rename: impl Fn(&mut MessageId)) {
        for (_, call) in self.publishes().filter(|(_, call)| call.partition == partition) {
            call.messages.iter_mut().for_each(|sent| rename(&mut sent.id));
        }
        for (_, records) in self.records().filter(|(read, _)| *read == partition) {
            records.iter_mut().for_each(|seen| rename(&mut seen.id));
        }
    }

    /// Puts one more message at the end of every final scan of a partition.
    pub(crate) fn append(&mut self, partition: u32, id: &MessageId, crc: u32) -> u64 {
        let mut at = 0;
        for (call, _) in self.scans().filter(|(_, scanned)| *scanned == partition) {
            let Some(scan) = &mut call.scan else { continue };
            at = scan.end;
            scan.records.push(Seen::intact(at, id.clone(), crc));
            scan.end += 1;
        }
        at
    }

    /// Adds an operation that took from `from` to `to`.
    pub(crate) fn add(&mut self, from: u64, to: u64, kind: impl Into<Kind>) {
        let id = self.ops.len() as u64;
        let (outcome, complete_ns) = (Outcome::Ok, Some(to));
        let kind = kind.into();
        self.ops.push(Op { id, process: 77, invoke_ns: from, complete_ns, outcome, why: None, kind });
    }

    pub(crate) fn publish(partition: u32, id: MessageId, crc: u32, offset: u64) -> Publish {
        Publish {
            topic: TOPIC.into(),
            partition,
            producer: id.producer.clone(),
            epoch: id.epoch,
            first_sequence: id.sequence,
            sequenced: true,
            messages: vec![Sent { id, key: None, crc, times: Times::default() }],
            appended: Some(Appended::at(offset)),
        }
    }
}
