//! A part of a settle command in bytes: its epochs, then each list with its length in front.

use meridian_model::subscription::{DeadLetter, DelayedRange, DelayedSettlement, Nack, Settlement};
use meridian_model::{LogId, Offset, OffsetRange, SubscriptionId, UnixMs};

use super::SettlePart;
use super::subscription_codec::{put_place, put_u64, read_place};
use crate::wire::{OutOfBytes, Reader, put_flag, put_list, put_option_u64};

/// A part that decides nothing: two ids, two options, nine empty lists, and the absent floor.
pub(super) const PART_BYTES_MIN: usize = 8 + 8 + 9 + 9 + 9 * 4 + 1 + 16;

pub(super) fn write_part(out: &mut Vec<u8>, part: &SettlePart) {
    put_u64(out, part.id.0);
    put_u64(out, part.seek_epoch);
    put_option_u64(out, part.owner_epoch);
    let Settlement { cumulative, acked, expired, nacked, dead, delayed } = &part.settlement;
    put_option_u64(out, cumulative.map(|offset| offset.0));
    put_list(out, acked, put_range);
    put_list(out, expired, put_range);
    put_list(out, nacked, put_nack);
    put_list(out, dead, put_dead);
    put_list(out, &delayed.passed, put_range);
    put_list(out, &delayed.acked, put_delayed_range);
    put_list(out, &delayed.expired, put_delayed_range);
    put_list(out, &delayed.nacked, |out, (deliver_at, nack)| {
        put_u64(out, deliver_at.0);
        put_nack(out, nack);
    });
    put_list(out, &delayed.dead, |out, (deliver_at, letter)| {
        put_u64(out, deliver_at.0);
        put_dead(out, letter);
    });
    put_flag(out, delayed.floor.is_some());
    put_place(out, &delayed.floor.unwrap_or_default());
}

pub(super) fn read_part(reader: &mut Reader<'_>) -> Result<SettlePart, OutOfBytes> {
    Ok(SettlePart {
        id: SubscriptionId(reader.u64()?),
        seek_epoch: reader.u64()?,
        owner_epoch: reader.option_u64()?,
        settlement: Settlement {
            cumulative: reader.option_u64()?.map(Offset),
            acked: reader.list(16, read_range)?,
            expired: reader.list(16, read_range)?,
            nacked: reader.list(16, read_nack)?,
            dead: reader.list(24, read_dead)?,
            delayed: read_delayed(reader)?,
        },
    })
}

fn read_delayed(reader: &mut Reader<'_>) -> Result<DelayedSettlement, OutOfBytes> {
    Ok(DelayedSettlement {
        passed: reader.list(16, read_range)?,
        acked: reader.list(24, read_delayed_range)?,
        expired: reader.list(24, read_delayed_range)?,
        nacked: reader.list(24, |reader| Ok((UnixMs(reader.u64()?), read_nack(reader)?)))?,
        dead: reader.list(32, |reader| Ok((UnixMs(reader.u64()?), read_dead(reader)?)))?,
        floor: match (reader.flag()?, read_place(reader)?) {
            (true, floor) => Some(floor),
            (false, zero) if zero == Default::default() => None,
            (false, _) => return Err(OutOfBytes),
        },
    })
}

fn put_range(out: &mut Vec<u8>, range: &OffsetRange) {
    put_u64(out, range.from.0);
    put_u64(out, range.to.0);
}

/// One that ends before it begins is none.
fn read_range(reader: &mut Reader<'_>) -> Result<OffsetRange, OutOfBytes> {
    let (from, to) = (Offset(reader.u64()?), Offset(reader.u64()?));
    if to < from {
        return Err(OutOfBytes);
    }
    Ok(OffsetRange { from, to })
}

fn put_delayed_range(out: &mut Vec<u8>, delayed: &DelayedRange) {
    put_u64(out, delayed.deliver_at.0);
    put_range(out, &delayed.range);
}

fn read_delayed_range(reader: &mut Reader<'_>) -> Result<DelayedRange, OutOfBytes> {
    Ok(DelayedRange { deliver_at: UnixMs(reader.u64()?), range: read_range(reader)? })
}

fn put_nack(out: &mut Vec<u8>, nack: &Nack) {
    put_u64(out, nack.offset.0);
    put_u64(out, nack.not_before.0);
}

fn read_nack(reader: &mut Reader<'_>) -> Result<Nack, OutOfBytes> {
    Ok(Nack { offset: Offset(reader.u64()?), not_before: UnixMs(reader.u64()?) })
}

fn put_dead(out: &mut Vec<u8>, letter: &DeadLetter) {
    put_u64(out, letter.offset.0);
    out.extend_from_slice(&letter.destination.0);
}

fn read_dead(reader: &mut Reader<'_>) -> Result<DeadLetter, OutOfBytes> {
    Ok(DeadLetter { offset: Offset(reader.u64()?), destination: LogId(reader.array()?) })
}
