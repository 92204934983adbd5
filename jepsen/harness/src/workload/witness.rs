//! Looking at one replica while the work goes on: does it hold every message that was acked so far?

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use meridian_history::{Page, Read, Seen};
use meridian_sdk::{Client, Error, Item, NodeId, Offset, Start};
use meridian_workload::{Whose, oracle};

use super::Workload;
use crate::wait;

/// How long a replica may keep a look waiting.
const PATIENCE: Duration = Duration::from_secs(10);

/// How far a replica has been looked at, by partition. One for each life of a replica's data.
#[derive(Debug, Default)]
pub struct Looked {
    next: BTreeMap<u32, u64>,
    session: u64,
}

impl Workload {
    /// Waits until a replica has all that is acked now, reads what is new since the last look, and compares.
    /// Returns how many messages were compared.
    ///
    /// # Errors
    /// If the replica does not catch up in time, serves other bytes, or holds something else.
    pub async fn look_at(&self, id: u64, looked: &mut Looked, within: Duration) -> Result<u64> {
        let client = self.cluster.client(id)?;
        let mut compared = 0;
        for partition in 0..self.scene.partitions {
            let from = looked.next.get(&partition).copied().unwrap_or_default();
            let acked = self.scene.tally.acked_from(partition, from);
            let Some((&last, _)) = acked.last_key_value() else { continue };
            self.await_end(id, partition, last + 1, within).await?;
            if looked.session == 0 {
                looked.session = self.scene.number();
            }
            let session = looked.session * 1_000 + u64::from(partition);
            let records = self.fetch(&client, id, partition, session, from..last + 1).await?;
            let held: BTreeMap<u64, &Seen> = records.iter().map(|seen| (seen.offset, seen)).collect();
            for (offset, id_acked) in &acked {
                let seen = held.get(offset);
                let seen =
                    seen.with_context(|| format!("node {id} lacks {id_acked} at {partition}:{offset}"))?;
                ensure!(seen.crc_ok, "node {id} serves damaged bytes at {partition}:{offset}");
                ensure!(
                    seen.id == *id_acked,
                    "node {id} has {} at {partition}:{offset}, not {id_acked}",
                    seen.id
                );
                compared += 1;
            }
            looked.next.insert(partition, last + 1);
        }
        Ok(compared)
    }

    async fn await_end(&self, id: u64, partition: u32, end: u64, within: Duration) -> Result<()> {
        let (cluster, topic) = (&self.cluster, &self.scene.topic);
        let mut last = String::new();
        let what = format!("node {id} to have {topic}[{partition}] up to {end}");
        let caught_up = wait::until(&what, within, async || {
            match cluster.log(id, topic, partition, Whose::Replica(id)).await {
                Ok(log) if log.log_end >= end => Some(()),
                Ok(log) => {
                    last = format!("it ends at {}", log.log_end);
                    None
                }
                Err(status) => {
                    last = status.message().to_owned();
                    None
                }
            }
        });
        caught_up.await.map_err(|error| error.context(last))
    }

    async fn fetch(
        &self,
        client: &Client,
        id: u64,
        partition: u32,
        session: u64,
        range: std::ops::Range<u64>,
    ) -> Result<Vec<Seen>> {
        let call = Read {
            topic: self.scene.topic.clone(),
            partition,
            session,
            node: Some(format!("node-{id}")),
            from: range.start,
            page: None,
        };
        let pending = self.scene.recorder.invoke(session, call);
        let reader = client.reader(&self.scene.topic).partition(partition).replica(NodeId(id));
        let start = Start::Offset(Offset(range.start));
        let opened = reader.start(start).limit(range.end - range.start).patience(PATIENCE).open().await;
        let mut records = Vec::new();
        let mut outcome = Ok(());
        match opened {
            Err(error) => outcome = Err(error),
            Ok(mut reader) => {
                while let Some(item) = reader.next().await {
                    match item {
                        Ok(Item::Record(record)) => {
                            records.push(oracle::open(record.offset.0, record.key.as_deref(), &record.body));
                        }
                        Ok(Item::Skipped { from, to, .. }) => bail!("node {id} skipped {from} to {to}"),
                        Err(error) => {
                            outcome = Err(error);
                            break;
                        }
                    }
                }
            }
        }
        let page = Page { records: records.clone(), skips: Vec::new() };
        match outcome {
            Ok(()) => {
                pending.ok(page);
                Ok(records)
            }
            Err(error) => {
                pending.partial(page, error.to_string());
                ensure!(!is_wrong_bytes(&error), "node {id} served wrong bytes: {error}");
                Err(error.into())
            }
        }
    }
}

/// A node may refuse to serve; what it serves must be what was published.
fn is_wrong_bytes(error: &Error) -> bool {
    matches!(error, Error::Corrupt { .. } | Error::Gap { .. } | Error::LogChanged { .. })
}
