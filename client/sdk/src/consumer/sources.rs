//! The partitions that messages come from, and what the present stream calls them.

use std::collections::BTreeMap;
use std::sync::Arc;

use meridian_model::{LogId, limits};
use meridian_proto::v1::{SourceState, SubscribeSource};

use super::hold::Slot;
use crate::Error;
use crate::metadata::log_id;

/// How far the subscription is behind in one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lag {
    /// The topic's resource name.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: u32,
    /// Messages that are not settled, those in consumers' hands included.
    pub backlog_messages: u64,
}

/// One partition.
#[derive(Clone, Debug)]
pub(super) struct Source {
    pub(super) topic: Arc<str>,
    pub(super) partition: u32,
    pub(super) log: LogId,
    pub(super) state: SourceState,
    wire: Option<u32>,
    backlog: Option<u64>,
}

/// What became of a partition that the node spoke of.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) slot: Slot,
    /// It has another history than before; this is what it was called then.
    pub(super) instead_of: Option<Slot>,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Sources {
    all: Vec<Source>,
    by_place: BTreeMap<(Arc<str>, u32), Slot>,
    by_wire: BTreeMap<u32, Slot>,
}

impl Sources {
    /// A new stream: names are given anew, and nobody is there yet.
    pub(super) fn begin(&mut self) {
        self.by_wire.clear();
        for source in &mut self.all {
            source.wire = None;
            if source.state == SourceState::Attached {
                source.state = SourceState::Detached;
            }
        }
    }

    /// The node names a partition, or says that its state is another one.
    pub(super) fn name(&mut self, told: &SubscribeSource) -> Result<Named, Error> {
        let place = (Arc::<str>::from(told.topic.as_str()), told.partition);
        let known = self.by_place.get(&place).copied();
        let log = match (told.log_id.is_empty(), known) {
            (true, Some(slot)) => self.get(slot).log,
            (true, None) => LogId::default(),
            (false, _) => log_id(&told.log_id)?,
        };
        let nobody = LogId::default();
        let same = |slot: &Slot| [log, nobody].contains(&self.get(*slot).log);
        let (slot, instead_of) = match known.filter(same) {
            Some(slot) => (slot, None),
            None => (self.add(place, log)?, known),
        };
        let source = &mut self.all[slot.0 as usize];
        (source.state, source.wire, source.log) = (told.state(), Some(told.source), log);
        self.by_wire.insert(told.source, slot);
        Ok(Named { slot, instead_of })
    }

    fn add(&mut self, place: (Arc<str>, u32), log: LogId) -> Result<Slot, Error> {
        if self.all.len() as u64 >= limits::GROUPS_MAX {
            return Err(Error::nonsense("a node named more partitions than a region has"));
        }
        let slot = Slot(self.all.len() as u32);
        let (topic, partition) = place.clone();
        let state = SourceState::Unspecified;
        self.all.push(Source { topic, partition, log, state, wire: None, backlog: None });
        self.by_place.insert(place, slot);
        Ok(slot)
    }

    /// What the present stream calls so.
    pub(super) fn called(&self, wire: u32) -> Option<Slot> {
        self.by_wire.get(&wire).copied()
    }

    /// What the present stream calls it, if it can be spoken to now.
    pub(super) fn wire(&self, slot: Slot) -> Option<u32> {
        let source = self.get(slot);
        source.wire.filter(|_| source.state == SourceState::Attached)
    }

    pub(super) fn get(&self, slot: Slot) -> &Source {
        &self.all[slot.0 as usize]
    }

    /// The partition of a topic.
    pub(super) fn find(&self, topic: &str, partition: u32) -> Option<Slot> {
        self.by_place.get(&(Arc::from(topic), partition)).copied()
    }

    pub(super) fn behind(&mut self, slot: Slot, backlog_messages: u64) {
        self.all[slot.0 as usize].backlog = Some(backlog_messages);
    }

    /// What is known of how far the subscription is behind.
    pub(super) fn lag(&self) -> Vec<Lag> {
        let known = self.by_place.values().map(|slot| self.get(*slot));
        let lag = known.filter_map(|source| {
            let backlog_messages = source.backlog?;
            Some(Lag { topic: source.topic.clone(), partition: source.partition, backlog_messages })
        });
        lag.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(source: u32, partition: u32, log: u8, state: SourceState) -> SubscribeSource {
        let log_id = vec![log; 16].into();
        SubscribeSource { source, topic: "t".into(), partition, state: state.into(), log_id, failure: None }
    }

    #[test]
    fn a_partition_keeps_its_slot_whatever_a_stream_calls_it() {
        let mut sources = Sources::default();
        let first = sources.name(&told(9, 0, 1, SourceState::Attached)).expect("named").slot;
        assert_eq!((sources.called(9), sources.wire(first)), (Some(first), Some(9)));
        sources.begin();
        assert_eq!((sources.called(9), sources.wire(first)), (None, None));
        assert_eq!(sources.name(&told(2, 0, 1, SourceState::Detached)).expect("named").slot, first);
        assert_eq!((sources.called(2), sources.wire(first)), (Some(first), None), "it is away");
        assert_eq!(sources.find("t", 0), Some(first));
    }

    #[test]
    fn another_history_is_another_partition() {
        let mut sources = Sources::default();
        let first = sources.name(&told(1, 0, 1, SourceState::Attached)).expect("named").slot;
        let second = sources.name(&told(1, 0, 2, SourceState::Attached)).expect("named");
        assert_eq!(second.instead_of, Some(first));
        sources.behind(second.slot, 7);
        let lag: Vec<u64> = sources.lag().iter().map(|lag| lag.backlog_messages).collect();
        assert_eq!(lag, [7]);
    }
}
