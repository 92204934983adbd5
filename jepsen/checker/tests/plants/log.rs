//! Plants in what the log holds and what readers see.

use meridian_history::*;

use super::{Broken, Final};
use crate::correct_log::Chance;

fn remove(records: &mut Vec<Seen>, id: &MessageId) -> bool {
    let before = records.len();
    records.retain(|seen| seen.id != *id);
    records.len() < before
}

pub(crate) fn lose(history: &mut Broken, chance: &mut Chance) -> bool {
    let Some((partition, _, id)) = chance.pick(&history.acked_finals()) else { return false };
    for (call, _) in history.scans().filter(|(_, scanned)| *scanned == partition) {
        call.scan.iter_mut().for_each(|scan| assert!(remove(&mut scan.records, &id)));
    }
    true
}

/// Moves an ack of a message that the final log shows by one.
fn move_ack(history: &mut Broken, (partition, _, id): &Final) -> bool {
    let mut moved = false;
    for (outcome, call) in history.publishes().filter(|(_, call)| call.partition == *partition) {
        let about = call.messages.iter().any(|sent| sent.id == *id);
        if let (Outcome::Ok, true, Some(appended)) = (*outcome, about, &mut call.appended) {
            appended.first_offset = appended.first_offset.map(|first| first + 1);
            moved = true;
        }
    }
    moved
}

pub(crate) fn misplace(history: &mut Broken, chance: &mut Chance) -> bool {
    let acked = history.acked_finals();
    chance.pick(&acked).is_some_and(|message| move_ack(history, &message))
}

/// As `misplace`, on the partition that is searched.
pub(crate) fn misplace_searched(history: &mut Broken, chance: &mut Chance) -> bool {
    let mut acked = history.acked_finals();
    acked.retain(|(partition, ..)| *partition == 1);
    chance.pick(&acked).is_some_and(|message| move_ack(history, &message))
}

pub(crate) fn hide(history: &mut Broken, chance: &mut Chance) -> bool {
    let Some((partition, _, id)) = chance.pick(&history.acked_finals()) else { return false };
    let nth = chance.below(3) as usize;
    let Some((call, _)) = history.scans().filter(|(_, scanned)| *scanned == partition).nth(nth) else {
        return false;
    };
    call.scan.as_mut().is_some_and(|scan| remove(&mut scan.records, &id))
}

pub(crate) fn silence(history: &mut Broken, chance: &mut Chance) -> bool {
    let scans: Vec<usize> =
        (0..history.ops.len()).filter(|&at| matches!(history.ops[at].kind, Kind::FinalRead(_))).collect();
    let Some(at) = chance.pick(&scans) else { return false };
    history.ops[at].outcome = Outcome::Info;
    let Kind::FinalRead(call) = &mut history.ops[at].kind else { return false };
    call.scan = None;
    true
}

pub(crate) fn abort(history: &mut Broken, chance: &mut Chance) -> bool {
    let Some((partition, _, id)) = chance.pick(&history.finals()) else { return false };
    for (outcome, call) in history.publishes().filter(|(_, call)| call.partition == partition) {
        if call.messages.iter().any(|sent| sent.id == id) {
            *outcome = Outcome::Fail;
            call.appended = None;
        }
    }
    true
}

pub(crate) fn haunt(history: &mut Broken, chance: &mut Chance) -> bool {
    let id = MessageId::new("nobody", 1, chance.below(9));
    history.append(chance.below(2) as u32, &id, 1);
    true
}

fn some_record<'a>(history: &'a mut Broken, chance: &mut Chance) -> Option<&'a mut Seen> {
    let count = history.records().map(|(_, records)| records.len() as u64).sum();
    let nth = chance.below(count) as usize;
    history.records().flat_map(|(_, records)| records).nth(nth)
}

pub(crate) fn corrupt(history: &mut Broken, chance: &mut Chance) -> bool {
    some_record(history, chance).map(|seen| seen.crc_ok = false).is_some()
}

pub(crate) fn falsify(history: &mut Broken, chance: &mut Chance) -> bool {
    some_record(history, chance).map(|seen| seen.crc ^= 1).is_some()
}

/// One of several sightings of an offset shows another message of the same partition.
pub(crate) fn disagree(history: &mut Broken, chance: &mut Chance) -> bool {
    let finals = history.finals();
    let Some((partition, offset, id)) = chance.pick(&finals) else { return false };
    let others: Vec<Final> =
        finals.into_iter().filter(|(p, _, other)| *p == partition && *other != id).collect();
    let Some((_, _, other)) = chance.pick(&others) else { return false };
    let mut seen = history.records().filter(|(read, _)| *read == partition).flat_map(|(_, records)| records);
    seen.find(|seen| seen.offset == offset).map(|seen| seen.id = other).is_some()
}

pub(crate) fn fork_chain(history: &mut Broken, _: &mut Chance) -> bool {
    // The last chain heads are all taken at the end of the log, after heal.
    let last = history.ops.iter_mut().rev().find_map(|op| match &mut op.kind {
        Kind::Chain(call) => call.at.as_mut(),
        _ => None,
    });
    last.map(|at| at.head = "0bad".to_owned()).is_some()
}

pub(crate) fn double(history: &mut Broken, chance: &mut Chance) -> bool {
    let Some((partition, _, id)) = chance.pick(&history.finals()) else { return false };
    let seen = history.records().flat_map(|(_, records)| records).find(|seen| seen.id == id);
    let Some(crc) = seen.map(|seen| seen.crc) else { return false };
    history.append(partition, &id, crc);
    true
}

pub(crate) fn jump(history: &mut Broken, chance: &mut Chance) -> bool {
    let Some((partition, _, from)) = chance.pick(&history.finals()) else { return false };
    history.rename(partition, |id| {
        let same = id.producer == from.producer && id.epoch == from.epoch;
        id.sequence += if same && id.sequence >= from.sequence { 1_000 } else { 0 };
    });
    true
}

pub(crate) fn swap_sends(history: &mut Broken, chance: &mut Chance) -> bool {
    let finals = history.finals();
    let Some((partition, _, one)) = chance.pick(&finals) else { return false };
    let other = finals.into_iter().map(|(p, _, id)| (p, id)).find(|(p, id)| {
        *p == partition && id.producer == one.producer && id.epoch == one.epoch && *id != one
    });
    let Some((_, other)) = other else { return false };
    history.rename(partition, |id| {
        if *id == one {
            *id = other.clone();
        } else if *id == other {
            *id = one.clone();
        }
    });
    true
}

fn some_page<'a>(history: &'a mut Broken, chance: &mut Chance, least: usize) -> Option<&'a mut Vec<Seen>> {
    let mut pages: Vec<&mut Vec<Seen>> = history
        .ops
        .iter_mut()
        .filter_map(|op| match &mut op.kind {
            Kind::Read(call) => call.page.as_mut().map(|page| &mut page.records),
            _ => None,
        })
        .filter(|records| records.len() >= least)
        .collect();
    let at = chance.below(pages.len() as u64) as usize;
    (at < pages.len()).then(|| pages.swap_remove(at))
}

pub(crate) fn skip(history: &mut Broken, chance: &mut Chance) -> bool {
    let at = chance.below(2) as usize;
    some_page(history, chance, 3).map(|records| records.remove(at)).is_some()
}

pub(crate) fn shuffle(history: &mut Broken, chance: &mut Chance) -> bool {
    some_page(history, chance, 2).map(|records| records.swap(0, 1)).is_some()
}

pub(crate) fn impossible_end(history: &mut Broken, _: &mut Chance) -> bool {
    let ends = history.ops.iter_mut().filter_map(|op| match &mut op.kind {
        Kind::EndOffset(call) if call.partition == 1 && op.outcome == Outcome::Ok => call.end.as_mut(),
        _ => None,
    });
    let mut ends: Vec<&mut u64> = ends.collect();
    ends.pop().map(|end| *end += 100_000).is_some()
}
