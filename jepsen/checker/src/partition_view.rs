//! One partition as the history shows it: attempts, sightings, positions, and the log they add up to.

use std::collections::BTreeMap;

use meridian_history::{Chain, EndOffset, FinalRead, LogStart, MessageId, Op, Outcome, Publish, Read, Seen};

use crate::{final_log::FinalLog, messages::Messages};

/// Everything the history says about one partition, in order of invocation.
#[derive(Debug)]
pub(crate) struct PartitionView<'a> {
    pub(crate) topic: &'a str,
    /// `topic[partition]`.
    pub(crate) name: String,
    pub(crate) publishes: Vec<(&'a Op, &'a Publish)>,
    pub(crate) reads: Vec<(&'a Op, &'a Read)>,
    pub(crate) scans: Vec<(&'a Op, &'a FinalRead)>,
    pub(crate) ends: Vec<(&'a Op, &'a EndOffset)>,
    pub(crate) starts: Vec<(&'a Op, &'a LogStart)>,
    pub(crate) chains: Vec<(&'a Op, &'a Chain)>,
    /// Every message sent.
    pub(crate) messages: Messages<'a>,
    /// What the offsets hold: the first intact sighting or ack of each.
    pub(crate) placed: BTreeMap<u64, &'a MessageId>,
    /// The last `ok` scan of each replica that began after the last heal.
    pub(crate) finals: BTreeMap<&'a str, FinalLog<'a>>,
    /// Replicas that were asked for a scan after the last heal and never gave one.
    pub(crate) silent: Vec<&'a str>,
}

/// A message that an ack vouches for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Acked<'a> {
    pub(crate) op: &'a Op,
    pub(crate) id: &'a MessageId,
    /// None only for a duplicate whose offset the server no longer knew.
    pub(crate) offset: Option<u64>,
}

impl<'a> PartitionView<'a> {
    pub(crate) fn new(topic: &'a str, partition: u32) -> Self {
        Self {
            topic,
            name: format!("{topic}[{partition}]"),
            publishes: Vec::new(),
            reads: Vec::new(),
            scans: Vec::new(),
            ends: Vec::new(),
            starts: Vec::new(),
            chains: Vec::new(),
            messages: Messages::default(),
            placed: BTreeMap::new(),
            finals: BTreeMap::new(),
            silent: Vec::new(),
        }
    }

    /// Derives messages, places and final logs once every operation is in; returns complaints.
    pub(crate) fn settle(&mut self, healed_ns: u64) -> Vec<String> {
        let mut complaints = Vec::new();
        for (op, call) in &self.publishes {
            self.messages.attempt(op, call, &mut complaints);
        }
        let seen = self.sightings().filter(|(_, seen)| seen.crc_ok).map(|(_, seen)| (seen.offset, &seen.id));
        let acked = self.acks().filter_map(|ack| Some((ack.offset?, ack.id)));
        let places: Vec<(u64, &'a MessageId)> = seen.chain(acked).collect();
        for (offset, id) in places {
            self.messages.found_at(id, offset);
            self.placed.entry(offset).or_insert(id);
        }
        for (op, call) in self.scans.iter().filter(|(op, _)| op.invoke_ns >= healed_ns) {
            if let (true, Some(scan)) = (op.is_ok(), &call.scan) {
                self.finals.insert(&call.replica, FinalLog::of(op, &call.replica, scan));
            }
        }
        let asked = self.scans.iter().filter(|(op, _)| op.invoke_ns >= healed_ns);
        let asked = asked.map(|(_, call)| call.replica.as_str());
        self.silent = asked.filter(|replica| !self.finals.contains_key(replica)).collect();
        self.silent.sort_unstable();
        self.silent.dedup();
        complaints
    }

    /// Every message any read or scan brought, intact or not. A failed read brought nothing.
    pub(crate) fn sightings(&self) -> impl Iterator<Item = (&'a Op, &'a Seen)> + use<'a, '_> {
        let pages = self.reads.iter().filter_map(|&(op, call)| Some((op, &call.page.as_ref()?.records)));
        let scans = self.scans.iter().filter_map(|&(op, call)| Some((op, &call.scan.as_ref()?.records)));
        let all = pages.chain(scans).filter(|(op, _)| op.outcome != Outcome::Fail);
        all.flat_map(|(op, records)| records.iter().map(move |seen| (op, seen)))
    }

    /// Every message an `ok` publish acked, once per ack.
    pub(crate) fn acks(&self) -> impl Iterator<Item = Acked<'a>> + use<'a, '_> {
        let ok = self.publishes.iter().filter(|(op, _)| op.is_ok());
        let stored = ok.filter_map(|&(op, call)| Some((op, call, call.appended?)));
        stored.flat_map(|(op, call, appended)| {
            call.messages.iter().zip(0u64..).map(move |(sent, nth)| Acked {
                op,
                id: &sent.id,
                offset: appended.first_offset.map(|first| first.saturating_add(nth)),
            })
        })
    }
}
