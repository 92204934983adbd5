//! The state of a correct cluster: logs with dedup and fences, lagging replicas, and a map of metadata.

use std::collections::BTreeMap;

use meridian_history::*;

use super::{REPLICAS, chance::Chance};

#[derive(Default)]
pub(crate) struct Partition {
    log: Vec<Sent>,
    start: u64,
    /// Next sequence per producer and epoch.
    next: BTreeMap<(String, u64), u64>,
    replicas: [Replica; 3],
}

#[derive(Default, Clone, Copy)]
struct Replica {
    applied: u64,
    start: u64,
}

pub(crate) struct Cluster {
    pub partitions: Vec<Partition>,
    epochs: BTreeMap<String, u64>,
    names: BTreeMap<String, String>,
    raft_index: u64,
}

impl Cluster {
    pub(crate) fn new(partitions: usize) -> Self {
        let partitions = (0..partitions).map(|_| Partition::default()).collect();
        Self { partitions, epochs: BTreeMap::new(), names: BTreeMap::new(), raft_index: 0 }
    }

    /// Applies an operation and answers it; false if it was refused.
    pub(crate) fn apply(&mut self, kind: &mut Kind, chance: &mut Chance) -> bool {
        match kind {
            Kind::Publish(call) => {
                call.appended = self.publish(call);
                return call.appended.is_some();
            }
            Kind::OpenProducer(call) => {
                let epoch = self.epochs.entry(call.producer.clone()).or_default();
                *epoch += 1;
                call.epoch = Some(*epoch);
            }
            Kind::Read(call) => {
                let max = 1 + chance.below(6);
                call.page = Some(self.partition(call.partition).read(call.node.as_deref(), call.from, max));
            }
            Kind::EndOffset(call) => call.end = Some(self.partition(call.partition).log.len() as u64),
            Kind::LogStart(call) => {
                call.start = Some(self.partition(call.partition).view(call.node.as_deref()).start);
            }
            Kind::Chain(call) => call.at = Some(self.partition(call.partition).chain(&call.replica)),
            Kind::FinalRead(call) => {
                let partition = self.partition(call.partition);
                let view = partition.view(Some(&call.replica));
                let page = partition.read(Some(&call.replica), view.start, u64::MAX);
                let (start, end) = (view.start, view.applied);
                call.scan = Some(Scan { start, end, records: page.records, skips: page.skips });
            }
            Kind::Fault(call) => call.effect = Some(FaultEffect::Installed),
            Kind::Control(call) => call.answer = Some(self.control(call)),
            other => unreachable!("nobody here does {}", other.name()),
        }
        true
    }

    fn partition(&self, partition: u32) -> &Partition {
        &self.partitions[partition as usize]
    }

    fn publish(&mut self, call: &Publish) -> Option<Appended> {
        let fence = self.epochs.get(&call.producer).copied().unwrap_or_default();
        let partition = &mut self.partitions[call.partition as usize];
        if call.sequenced {
            if call.epoch < fence {
                return None;
            }
            let next = partition.next.entry((call.producer.clone(), call.epoch)).or_default();
            if call.first_sequence < *next {
                let first = partition.log.iter().position(|sent| sent.id == call.messages[0].id)?;
                return Some(Appended::already_at(first as u64));
            }
            if call.first_sequence > *next {
                return None;
            }
            *next += call.messages.len() as u64;
        }
        let first = partition.log.len() as u64;
        partition.log.extend(call.messages.iter().cloned());
        Some(Appended::at(first))
    }

    fn control(&mut self, call: &Control) -> (ControlAnswer, u64) {
        self.raft_index += u64::from(call.op.is_write());
        let value = call.value.clone().unwrap_or_default();
        let held = self.names.get(&call.key).cloned();
        let answer = match (call.op, held) {
            (ControlOp::List, _) => {
                let names = self.names.keys().filter(|name| name.starts_with(&call.key));
                ControlAnswer::Names(names.cloned().collect())
            }
            (ControlOp::Create, Some(_)) => ControlAnswer::Exists,
            (ControlOp::Create, None) | (ControlOp::Update, Some(_)) => {
                self.names.insert(call.key.clone(), value);
                ControlAnswer::Done
            }
            (_, None) => ControlAnswer::Missing,
            (ControlOp::Describe, Some(held)) => ControlAnswer::Value(held),
            (ControlOp::Delete, Some(_)) => {
                self.names.remove(&call.key);
                ControlAnswer::Done
            }
        };
        (answer, self.raft_index)
    }

    /// Lets replicas catch up somewhat, and sometimes trims.
    pub(crate) fn tick(&mut self, chance: &mut Chance) {
        for partition in &mut self.partitions {
            let end = partition.log.len() as u64;
            if chance.percent(6) {
                partition.start += chance.below((end - partition.start) / 2 + 1);
            }
            for replica in &mut partition.replicas {
                replica.applied += chance.below(end - replica.applied + 1);
                if chance.percent(50) && replica.applied >= partition.start {
                    replica.start = partition.start;
                }
            }
        }
    }

    /// All replicas hold what the leader holds.
    pub(crate) fn converge(&mut self) {
        for partition in &mut self.partitions {
            let all = Replica { applied: partition.log.len() as u64, start: partition.start };
            partition.replicas = [all; 3];
        }
    }
}

impl Partition {
    fn view(&self, node: Option<&str>) -> Replica {
        match REPLICAS.iter().position(|replica| Some(*replica) == node) {
            Some(at) => self.replicas[at],
            None => Replica { applied: self.log.len() as u64, start: self.start },
        }
    }

    fn read(&self, node: Option<&str>, from: u64, max: u64) -> Page {
        let view = self.view(node);
        let first = from.max(view.start);
        let trimmed = Skip { from, to: first, reason: SkipReason::Trimmed };
        let skips = if first > from { vec![trimmed] } else { vec![] };
        let records = (first..view.applied.min(first.saturating_add(max))).map(|offset| {
            let sent = &self.log[offset as usize];
            Seen { key: sent.key.clone(), ..Seen::intact(offset, sent.id.clone(), sent.crc) }
        });
        Page { records: records.collect(), skips }
    }

    fn chain(&self, replica: &str) -> ChainHead {
        let offset = self.view(Some(replica)).applied;
        let covered = self.log.iter().take(offset as usize);
        let head = covered.fold(7u64, |head, sent| head.wrapping_mul(31).wrapping_add(u64::from(sent.crc)));
        ChainHead { offset, head: format!("{head:016x}") }
    }
}
