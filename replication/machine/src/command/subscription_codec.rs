//! The bytes of commands about subscriptions: after the prefix and the stamp, fields in little-endian.

use meridian_model::subscription::SubscriptionId;
use meridian_model::{ConsumerId, LogId, Offset, Place, UnixMs};

use super::subscription::{LiveDelayed, StartAt, SubscriptionCommand};
use super::{partition_prefix, rules_codec, settlement_codec};
use crate::wire::{OutOfBytes, Reader, put_flag, put_list, put_option_u64};

pub(super) const KIND_SET_SUBSCRIPTION: u8 = 6;
const KIND_DROP_SUBSCRIPTION: u8 = 7;
const KIND_BEGIN_DISPATCH: u8 = 8;
const KIND_OWN: u8 = 9;
const KIND_SETTLE: u8 = 10;
const KIND_SEEK: u8 = 11;
const KIND_MOVED: u8 = 12;
const KIND_SWEEP_DELAYED: u8 = 13;
pub(super) const KIND_TRIM_BACKLOG: u8 = 14;

impl SubscriptionCommand {
    fn kind(&self) -> u8 {
        match self {
            Self::SetSubscription { .. } => KIND_SET_SUBSCRIPTION,
            Self::DropSubscription { .. } => KIND_DROP_SUBSCRIPTION,
            Self::BeginDispatch { .. } => KIND_BEGIN_DISPATCH,
            Self::Own { .. } => KIND_OWN,
            Self::Settle { .. } => KIND_SETTLE,
            Self::Seek { .. } => KIND_SEEK,
            Self::Moved { .. } => KIND_MOVED,
            Self::SweepDelayed { .. } => KIND_SWEEP_DELAYED,
            Self::TrimBacklog { .. } => KIND_TRIM_BACKLOG,
        }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(96);
        out.extend_from_slice(&partition_prefix(self.kind()));
        put_u64(&mut out, self.stamp().0);
        match self {
            Self::SetSubscription { control_index, id, rules, start, .. } => {
                put_u64(&mut out, *control_index);
                put_u64(&mut out, id.0);
                rules_codec::write(rules, &mut out);
                put_start(&mut out, *start);
            }
            Self::DropSubscription { control_index, id, .. } => {
                put_u64(&mut out, *control_index);
                put_u64(&mut out, id.0);
            }
            Self::BeginDispatch { .. } => {}
            Self::Own { id, owner, .. } => {
                put_u64(&mut out, id.0);
                put_flag(&mut out, owner.is_some());
                out.extend_from_slice(&owner.unwrap_or_default().0);
            }
            Self::Settle { parts, .. } => put_list(&mut out, parts, settlement_codec::write_part),
            Self::Seek { id, to, .. } => {
                put_u64(&mut out, id.0);
                put_start(&mut out, *to);
            }
            Self::Moved { id, destination, through_sequence, .. } => {
                put_u64(&mut out, id.0);
                out.extend_from_slice(&destination.0);
                put_u64(&mut out, *through_sequence);
            }
            Self::SweepDelayed { batches, .. } => put_list(&mut out, batches, put_place),
            Self::TrimBacklog {
                before,
                keep_bytes,
                forget_producers_before,
                live_delayed,
                drop_backlog,
                ..
            } => {
                put_option_u64(&mut out, before.map(|t| t.0));
                put_option_u64(&mut out, *keep_bytes);
                put_option_u64(&mut out, forget_producers_before.map(|t| t.0));
                put_option_u64(&mut out, live_delayed.map(|live| live.as_of));
                put_u64(&mut out, live_delayed.map_or(0, |live| live.from.0));
                put_flag(&mut out, *drop_backlog);
            }
        }
        out
    }

    /// `reader` stands after the stamp; `kind` is one of ours.
    pub(super) fn decode(kind: u8, stamp: UnixMs, reader: &mut Reader<'_>) -> Result<Self, OutOfBytes> {
        Ok(match kind {
            KIND_SET_SUBSCRIPTION => Self::SetSubscription {
                stamp,
                control_index: reader.u64()?,
                id: SubscriptionId(reader.u64()?),
                rules: rules_codec::read(reader)?,
                start: read_start(reader)?,
            },
            KIND_DROP_SUBSCRIPTION => Self::DropSubscription {
                stamp,
                control_index: reader.u64()?,
                id: SubscriptionId(reader.u64()?),
            },
            KIND_BEGIN_DISPATCH => Self::BeginDispatch { stamp },
            KIND_OWN => Self::Own { stamp, id: SubscriptionId(reader.u64()?), owner: read_owner(reader)? },
            KIND_SETTLE => {
                let least = settlement_codec::PART_BYTES_MIN;
                Self::Settle { stamp, parts: reader.list(least, settlement_codec::read_part)? }
            }
            KIND_SEEK => Self::Seek { stamp, id: SubscriptionId(reader.u64()?), to: read_start(reader)? },
            KIND_MOVED => Self::Moved {
                stamp,
                id: SubscriptionId(reader.u64()?),
                destination: LogId(reader.array()?),
                through_sequence: reader.u64()?,
            },
            KIND_SWEEP_DELAYED => {
                Self::SweepDelayed { stamp, batches: reader.list(PLACE_BYTES, read_place)? }
            }
            KIND_TRIM_BACKLOG => Self::TrimBacklog {
                stamp,
                before: reader.option_u64()?.map(UnixMs),
                keep_bytes: reader.option_u64()?,
                forget_producers_before: reader.option_u64()?.map(UnixMs),
                live_delayed: read_live_delayed(reader)?,
                drop_backlog: reader.flag()?,
            },
            _ => return Err(OutOfBytes),
        })
    }
}

const PLACE_BYTES: usize = 16;

pub(super) fn put_u64(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_le_bytes());
}

pub(super) fn put_place(out: &mut Vec<u8>, place: &Place) {
    put_u64(out, place.deliver_at.0);
    put_u64(out, place.offset.0);
}

pub(super) fn read_place(reader: &mut Reader<'_>) -> Result<Place, OutOfBytes> {
    Ok(Place { deliver_at: UnixMs(reader.u64()?), offset: Offset(reader.u64()?) })
}

fn read_live_delayed(reader: &mut Reader<'_>) -> Result<Option<LiveDelayed>, OutOfBytes> {
    match (reader.option_u64()?, reader.u64()?) {
        (Some(as_of), from) => Ok(Some(LiveDelayed { as_of, from: Offset(from) })),
        (None, 0) => Ok(None),
        (None, _) => Err(OutOfBytes),
    }
}

/// A presence byte, then the id, which is nil where absent.
pub(crate) fn read_owner(reader: &mut Reader<'_>) -> Result<Option<ConsumerId>, OutOfBytes> {
    match (reader.flag()?, ConsumerId(reader.array()?)) {
        (true, owner) => Ok(Some(owner)),
        (false, nobody) if nobody.is_nil() => Ok(None),
        (false, _) => Err(OutOfBytes),
    }
}

fn put_start(out: &mut Vec<u8>, start: StartAt) {
    let (tag, offset, delayed_before) = match start {
        StartAt::Earliest => (0, 0, 0),
        StartAt::Latest => (1, 0, 0),
        StartAt::Offset { offset, delayed_before } => (2, offset.0, delayed_before),
    };
    out.push(tag);
    put_u64(out, offset);
    put_u64(out, delayed_before);
}

fn read_start(reader: &mut Reader<'_>) -> Result<StartAt, OutOfBytes> {
    match (reader.u8()?, reader.u64()?, reader.u64()?) {
        (0, 0, 0) => Ok(StartAt::Earliest),
        (1, 0, 0) => Ok(StartAt::Latest),
        (2, offset, delayed_before) => Ok(StartAt::Offset { offset: Offset(offset), delayed_before }),
        _ => Err(OutOfBytes),
    }
}
