//! Plants in when things happened: fences, real time, retention.

use meridian_history::*;

use super::{Broken, Final};
use crate::correct_log::{Chance, TOPIC};

/// After every client has stopped and before the fault heals.
const QUIET_NS: u64 = 7_000;

/// Openings that returned an epoch: producer, epoch, when they ended.
fn openings(history: &Broken) -> Vec<(String, u64, u64)> {
    let ok = history.ops.iter().filter(|op| op.is_ok());
    ok.filter_map(|op| match &op.kind {
        Kind::OpenProducer(call) => Some((call.producer.clone(), call.epoch?, op.complete_ns?)),
        _ => None,
    })
    .collect()
}

/// Appends a message of a fenced epoch, sent between these times, to the end of a partition.
fn append_fenced(
    history: &mut Broken,
    chance: &mut Chance,
    partition: u32,
    id: MessageId,
    from: u64,
    to: u64,
) {
    let crc = chance.next() as u32;
    let at = history.append(partition, &id, crc);
    history.add(from, to, Broken::publish(partition, id, crc, at));
}

pub(crate) fn rise_again(history: &mut Broken, chance: &mut Chance) -> bool {
    let fenced: Vec<_> = openings(history).into_iter().filter(|(_, epoch, _)| *epoch > 1).collect();
    let Some((producer, epoch, _)) = chance.pick(&fenced) else { return false };
    let id = MessageId::new(producer, epoch - 1, 500);
    append_fenced(history, chance, 0, id, QUIET_NS, QUIET_NS + 5);
    true
}

/// The zombie was sent before the fence, and nothing of its successor is in the log; but it lies above a
/// message of another producer that was sent after the fence was up.
pub(crate) fn land_behind_fence(history: &mut Broken, chance: &mut Chance) -> bool {
    history.add(1, 2, OpenProducer { topic: TOPIC.into(), producer: "old".into(), epoch: Some(1) });
    history.add(50, 60, OpenProducer { topic: TOPIC.into(), producer: "old".into(), epoch: Some(2) });
    append_fenced(history, chance, 1, MessageId::new("new", 1, 0), QUIET_NS, QUIET_NS + 5);
    append_fenced(history, chance, 1, MessageId::new("old", 1, 0), 40, QUIET_NS + 9);
    true
}

pub(crate) fn give_epoch_twice(history: &mut Broken, chance: &mut Chance) -> bool {
    let Some((producer, epoch, _)) = chance.pick(&openings(history)) else { return false };
    history.add(QUIET_NS, QUIET_NS + 5, OpenProducer { topic: TOPIC.into(), producer, epoch: Some(epoch) });
    true
}

/// Moves every attempt to send a message to these times.
fn resend_at(history: &mut Broken, partition: u32, id: &MessageId, from: u64, to: u64) {
    for op in &mut history.ops {
        let Kind::Publish(call) = &op.kind else { continue };
        if call.partition == partition && call.messages.iter().any(|sent| sent.id == *id) {
            op.invoke_ns = from;
            op.complete_ns = Some(to);
        }
    }
}

pub(crate) fn send_late(history: &mut Broken, chance: &mut Chance) -> bool {
    let acked = history.acked_finals();
    let Some((partition, offset, id)) = chance.pick(&acked) else { return false };
    // Anything acked at an offset beyond the batch it is in.
    let higher = acked.iter().any(|(other, above, _)| *other == partition && *above > offset + 5);
    if higher {
        resend_at(history, partition, &id, QUIET_NS, QUIET_NS + 5);
    }
    higher
}

pub(crate) fn read_early(history: &mut Broken, chance: &mut Chance) -> bool {
    let mut finals = history.finals();
    let read: Vec<(u32, MessageId)> = history
        .ops
        .iter()
        .filter_map(|op| match &op.kind {
            Kind::Read(call) if op.is_ok() => Some((call.partition, call.page.as_ref()?)),
            _ => None,
        })
        .flat_map(|(partition, page)| page.records.iter().map(move |seen| (partition, seen.id.clone())))
        .collect();
    finals.retain(|(partition, _, id)| read.contains(&(*partition, id.clone())));
    let Some((partition, _, id)) = chance.pick(&finals) else { return false };
    resend_at(history, partition, &id, QUIET_NS, QUIET_NS + 5);
    true
}

pub(crate) fn shrink_end(history: &mut Broken, chance: &mut Chance) -> bool {
    let acked: Vec<Final> = history.acked_finals();
    let Some((partition, offset, _)) = chance.pick(&acked) else { return false };
    let end = EndOffset { topic: TOPIC.into(), partition, end: Some(offset) };
    history.add(QUIET_NS, QUIET_NS + 5, end);
    true
}

/// A partition that was trimmed after something below the trim had been read: partition, record, start.
fn trimmed(history: &mut Broken, chance: &mut Chance) -> Option<(u32, Seen, u64)> {
    let mut starts = Vec::new();
    for (call, partition) in history.scans() {
        starts.extend(call.scan.as_ref().map(|scan| (partition, scan.start)));
    }
    let (partition, start) = chance.pick(&starts)?;
    let records = history.records().filter(|(read, _)| *read == partition).flat_map(|(_, records)| records);
    let gone: Vec<Seen> = records.filter(|seen| seen.offset < start).map(|seen| seen.clone()).collect();
    Some((partition, chance.pick(&gone)?, start))
}

pub(crate) fn resurrect(history: &mut Broken, chance: &mut Chance) -> bool {
    let Some((partition, seen, start)) = trimmed(history, chance) else { return false };
    let node = chance.percent(50).then(|| "n2".to_owned());
    let topic = || TOPIC.to_owned();
    let start = LogStart { topic: topic(), partition, node: node.clone(), start: Some(start) };
    history.add(QUIET_NS, QUIET_NS + 5, start);
    let (from, page) = (seen.offset, Page { records: vec![seen], skips: vec![] });
    let read = Read { topic: topic(), partition, session: 900, node, from, page: Some(page) };
    history.add(QUIET_NS + 10, QUIET_NS + 15, read);
    true
}

pub(crate) fn resurrect_in_scan(history: &mut Broken, chance: &mut Chance) -> bool {
    let Some((partition, seen, start)) = trimmed(history, chance) else { return false };
    let start = LogStart { topic: TOPIC.to_owned(), partition, node: None, start: Some(start) };
    history.add(QUIET_NS, QUIET_NS + 5, start);
    let nth = chance.below(3) as usize;
    let scan = history.scans().filter(|(_, scanned)| *scanned == partition).nth(nth);
    let Some(scan) = scan.and_then(|(call, _)| call.scan.as_mut()) else { return false };
    scan.records.insert(0, seen);
    true
}
