//! Reading a replica from end to end once everything is healed, and comparing the replicas' hash chains.

use std::time::Duration;

use meridian_history::{FinalRead, Recorder, Scan, Skip, SkipReason};
use meridian_sdk::{Client, Error, Item, NodeId, Offset, Start};

use crate::bounds::chain;
use crate::oracle;
use crate::region::Region;

/// The logical client of all final scans.
const PROCESS: u64 = 2_000_000;
/// How long a replica may keep a scan waiting.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a scan found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scanned {
    /// The first offset that retention had left.
    pub start: u64,
    /// Messages read.
    pub messages: u64,
}

/// Asks a replica where its log begins and ends, reads all in between, and writes both down.
///
/// # Errors
/// In words, if it could not be read to its end; the history then says how far it was.
pub async fn scan(
    region: &impl Region,
    client: &Client,
    recorder: &Recorder,
    place: (&str, u32),
    node: u64,
) -> Result<Scanned, String> {
    let bounds = chain(region, recorder, PROCESS, place, node).await;
    let (topic, partition) = (place.0.to_owned(), place.1);
    let call = FinalRead { topic, partition, replica: region.name(node), scan: None };
    let pending = recorder.invoke(PROCESS, call);
    let bounds = match bounds {
        Ok(bounds) => bounds,
        Err(status) => {
            pending.fail(status.message());
            return Err(status.message().to_owned());
        }
    };
    let mut scan = Scan { start: bounds.log_start, end: bounds.log_end, ..Scan::default() };
    match fill(client, place, node, &mut scan).await {
        Ok(()) => {
            let found = Scanned { start: scan.start, messages: scan.records.len() as u64 };
            pending.ok(scan);
            Ok(found)
        }
        Err(error) => {
            let why = format!("after {} of {} messages: {error}", scan.records.len(), scan.end - scan.start);
            pending.partial(scan, &why);
            Err(why)
        }
    }
}

async fn fill(
    client: &Client,
    (topic, partition): (&str, u32),
    node: u64,
    scan: &mut Scan,
) -> Result<(), Error> {
    if scan.end == scan.start {
        return Ok(());
    }
    // From the start as it was told: what retention removes meanwhile is then told as skipped.
    let reader = client.reader(topic).partition(partition).start(Start::Offset(Offset(scan.start)));
    let reader = reader.replica(NodeId(node)).limit(scan.end - scan.start);
    let mut reader = reader.patience(PATIENCE).open().await?;
    while let Some(item) = reader.next().await {
        match item? {
            Item::Record(record) => {
                scan.records.push(oracle::open(record.offset.0, record.key.as_deref(), &record.body));
            }
            Item::Skipped { from, to, .. } => {
                scan.skips.push(Skip { from: from.0, to: to.0, reason: SkipReason::Trimmed });
            }
        }
    }
    Ok(())
}

/// Asks each of these replicas of a partition for its end and the head of its hash chain, writes that down, and
/// compares: once nothing is written any more they are the same. Returns how many were compared with each other;
/// one alone is compared with nothing.
///
/// # Errors
/// In words, if one does not answer, or two differ.
pub async fn agree(
    region: &impl Region,
    recorder: &Recorder,
    place: (&str, u32),
    nodes: &[u64],
) -> Result<u64, String> {
    let mut first: Option<(u64, u64, Vec<u8>)> = None;
    for &node in nodes {
        let (name, log) = (region.name(node), chain(region, recorder, PROCESS, place, node).await);
        let log = log.map_err(|status| format!("{name} told no chain head: {}", status.message()))?;
        let (end, head) = (log.log_end, log.chain_head.to_vec());
        let (other, other_end, other_head) = first.get_or_insert_with(|| (node, end, head.clone()));
        if (end, &head) != (*other_end, other_head) {
            let other = region.name(*other);
            return Err(format!(
                "the hash chains of {other} and {name} differ, or their ends: {other_end} and {end}"
            ));
        }
    }
    Ok(compared(nodes.len()))
}

fn compared(asked: usize) -> u64 {
    if asked < 2 { 0 } else { asked as u64 }
}

#[cfg(test)]
mod tests {
    use super::compared;

    #[test]
    fn a_lone_replica_is_compared_with_nothing() {
        assert_eq!([0, 1, 2, 3].map(compared), [0, 0, 2, 3]);
    }
}
