//! Producers that chose their name: each opening gets an epoch above all before it (LOG-6).

use meridian_model::{ProducerId, TopicName, name};
use serde::{Deserialize, Serialize};

use super::row::{Stored, join_key};
use super::{ControlDone, ControlMachine, ControlRefusal};
use crate::{Effect, Table};

/// A producer that chose its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedProducer {
    /// Where it writes.
    pub topic: TopicName,
    /// The name it chose.
    pub name: String,
    /// The epoch of its last opening.
    pub epoch: u32,
}

impl NamedProducer {
    /// The identity in its batches.
    pub fn id(&self) -> ProducerId {
        producer_id(&self.topic, &self.name)
    }
}

impl Stored for NamedProducer {
    const TABLE: Table = Table::NamedProducer;

    fn key(&self) -> Vec<u8> {
        join_key(&[self.topic.tenant(), self.topic.namespace(), self.topic.topic(), &self.name])
    }
}

/// The identity of a named producer: the first 16 bytes of BLAKE3 over the topic's resource name, a zero
/// byte, and the name.
pub fn producer_id(topic: &TopicName, name: &str) -> ProducerId {
    let mut hasher = blake3::Hasher::new();
    hasher.update(topic.resource().as_bytes());
    hasher.update(&[0]);
    hasher.update(name.as_bytes());
    let mut id = [0; 16];
    hasher.finalize_xof().fill(&mut id);
    ProducerId(id)
}

impl ControlMachine {
    pub(super) fn open_producer(
        &mut self,
        topic: &TopicName,
        name: &str,
        effects: &mut Vec<Effect>,
    ) -> Result<ControlDone, ControlRefusal> {
        name::check("producer", name)?;
        self.live_topic(topic)?;
        let key = (topic.clone(), name.to_owned());
        let last = match self.producers.get(&key) {
            Some(known) => known.epoch,
            None => {
                let have = self.producers.len();
                ControlRefusal::at_limit("named producers", have, self.bounds.producers_max)?;
                self.core.epoch_floor
            }
        };
        let epoch_max = self.bounds.epoch_max;
        let no_epoch =
            || ControlRefusal::Limit { what: "epochs of a producer".into(), max: u64::from(epoch_max) };
        let epoch = last
            .checked_add(u32::from(!planted!(EpochStays) || last == 0))
            .filter(|epoch| *epoch <= epoch_max)
            .ok_or_else(no_epoch)?;
        let opened = NamedProducer { topic: topic.clone(), name: name.to_owned(), epoch };
        effects.push(opened.put());
        let producer = opened.id();
        self.producers.insert(key, opened);
        Ok(ControlDone::ProducerOpened { producer, epoch })
    }

    /// Forgets the producers of a topic that is gone. Its epochs are not given again: a producer of an older
    /// topic of the same name must not pass for one of the new topic.
    pub(super) fn forget_producers_of(&mut self, topic: &TopicName, effects: &mut Vec<Effect>) {
        let gone: Vec<NamedProducer> = self.producers_of(topic).cloned().collect();
        for producer in gone {
            if !planted!(ForgetsFloor) {
                self.core.epoch_floor = self.core.epoch_floor.max(producer.epoch);
            }
            effects.push(producer.delete());
            self.producers.remove(&(producer.topic, producer.name));
        }
    }
}
