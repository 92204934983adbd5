//! What was acked, and what each replica holds: compared message by message.

use std::collections::BTreeMap;

use meridian_model::{NodeId, Offset, ProducerId};
use meridian_proto::v1::PublishAck;
use meridian_sdk::admin::TopicInfo;
use meridian_sdk::{Item, LogInfo, Record, Start};

use crate::cluster::Region;
use crate::patience::until;
use crate::producer::body;

/// Whose message it is: producer, epoch, sequence.
pub(crate) type Name = (ProducerId, u32, u64);

/// Acked messages by offset, with their size.
#[derive(Default)]
pub(crate) struct Ledger {
    acked: BTreeMap<u64, (Name, usize)>,
}

impl Ledger {
    /// Notes an ack of `count` messages from `first` on.
    pub(crate) fn note(
        &mut self,
        sender: &crate::producer::Sender,
        first: u64,
        ack: &PublishAck,
        bytes: usize,
    ) {
        for at in 0..u64::from(ack.count) {
            let name = (sender.producer, sender.epoch, first + at);
            let before = self.acked.insert(ack.base_offset + at, (name, bytes));
            assert!(before.is_none_or(|before| before.0 == name), "one offset, one message (LOG-4)");
        }
    }

    /// Takes over what another ledger noted.
    pub(crate) fn extend(&mut self, other: Ledger) {
        for (offset, named) in other.acked {
            let before = self.acked.insert(offset, named);
            assert!(before.is_none_or(|before| before.0 == named.0), "one offset, one message (LOG-4)");
        }
    }

    /// Acked messages.
    pub(crate) fn len(&self) -> usize {
        self.acked.len()
    }

    /// LOG-1 and LOG-4: from the log start on, what was acked is there, at its offset, with its bytes.
    pub(crate) fn check(&self, log: &LogInfo, records: &[Record]) -> usize {
        let held: BTreeMap<u64, &Record> = records.iter().map(|record| (record.offset.0, record)).collect();
        let kept = self.acked.range(log.start.0..);
        let mut checked = 0;
        for (offset, (name, bytes)) in kept {
            let record = held.get(offset).unwrap_or_else(|| panic!("{offset} was acked and is lost (LOG-1)"));
            assert_eq!((record.producer, record.epoch, record.sequence), *name, "offset {offset} (LOG-4)");
            assert_eq!(record.body, body(name.2, *bytes), "offset {offset}: other bytes (LOG-3)");
            checked += 1;
        }
        checked
    }

    /// The same for one message.
    pub(crate) fn check_one(&self, record: &Record) {
        let (name, bytes) = &self.acked[&record.offset.0];
        assert_eq!((record.producer, record.epoch, record.sequence), *name, "{} (LOG-4)", record.offset);
        assert_eq!(record.body, body(name.2, *bytes), "{}: other bytes (LOG-3)", record.offset);
    }

    /// How many acked messages are missing. For negative controls.
    pub(crate) fn lost(&self, log: &LogInfo, records: &[Record]) -> usize {
        let holds = |offset: &u64, name: &Name| {
            let name_of = |record: &Record| (record.producer, record.epoch, record.sequence);
            records.iter().any(|record| record.offset.0 == *offset && name_of(record) == *name)
        };
        let kept = self.acked.range(log.start.0..);
        kept.filter(|(offset, (name, _))| !holds(offset, name)).count()
    }
}

/// Everything a replica holds. LOG-8: offsets are dense from the log start on.
pub(crate) async fn replica_holds(region: &Region, topic: &TopicInfo, node: u64) -> (LogInfo, Vec<Record>) {
    let client = region.client();
    let name = topic.name.resource();
    let log = client.get_log_of_replica(&name, 0, NodeId(node)).await.expect("the replica answers");
    let reader = client.reader(name).partition(0).start(Start::Earliest).replica(NodeId(node));
    let mut reader = reader.open().await.expect("opens");
    let mut records = Vec::new();
    while let Some(item) = reader.next().await {
        match item.expect("reads") {
            Item::Record(record) => records.push(record),
            Item::Skipped { from, to, .. } => panic!("{from}..{to} was skipped although nothing is trimmed"),
        }
    }
    for (record, offset) in records.iter().zip(log.start.0..) {
        assert_eq!(record.offset, Offset(offset), "a hole (LOG-8)");
    }
    assert_eq!(records.len() as u64, log.end.0 - log.start.0, "exactly what is retained");
    (log, records)
}

/// Waits until the replicas on all running nodes stand at the same place, and returns it.
pub(crate) async fn agreed(region: &Region, topic: &TopicInfo) -> LogInfo {
    let client = region.client();
    let name = topic.name.resource();
    until("all replicas stand at the same place", async || {
        let mut logs = Vec::new();
        for node in region.running() {
            logs.push(client.get_log_of_replica(&name, 0, NodeId(node)).await.ok()?);
        }
        let place = |log: &LogInfo| (log.start, log.end, log.log, log.chain_head.clone(), log.bytes);
        let same = logs.windows(2).all(|pair| place(&pair[0]) == place(&pair[1]));
        same.then(|| logs.swap_remove(0))
    })
    .await
}
