//! The rules of a subscription in bytes: the same in a command and in a row. 31 bytes.

use meridian_model::subscription::{Backoff, SubscriptionKind, SubscriptionRules};

use crate::wire::{OutOfBytes, Reader, put_flag};

/// Bytes: kind 1, lease 8, backoff 1 + 8 + 8, attempts 1 + 4.
pub(crate) fn write(rules: &SubscriptionRules, out: &mut Vec<u8>) {
    out.push(match rules.kind {
        SubscriptionKind::Exclusive => 0,
        SubscriptionKind::Failover => 1,
        SubscriptionKind::Shared => 2,
        SubscriptionKind::KeyShared => 3,
    });
    let (tag, first, max) = match rules.backoff {
        Backoff::Linear { step_ms, max_ms } => (0, step_ms, max_ms),
        Backoff::Exponential { first_ms, max_ms } => (1, first_ms, max_ms),
    };
    out.extend_from_slice(&rules.lease_ms.to_le_bytes());
    out.push(tag);
    out.extend_from_slice(&first.to_le_bytes());
    out.extend_from_slice(&max.to_le_bytes());
    put_flag(out, rules.attempts_max.is_some());
    out.extend_from_slice(&rules.attempts_max.unwrap_or(0).to_le_bytes());
}

pub(crate) fn read(reader: &mut Reader<'_>) -> Result<SubscriptionRules, OutOfBytes> {
    let kind = match reader.u8()? {
        0 => SubscriptionKind::Exclusive,
        1 => SubscriptionKind::Failover,
        2 => SubscriptionKind::Shared,
        3 => SubscriptionKind::KeyShared,
        _ => return Err(OutOfBytes),
    };
    let lease_ms = reader.u64()?;
    let backoff = match (reader.u8()?, reader.u64()?, reader.u64()?) {
        (0, step_ms, max_ms) => Backoff::Linear { step_ms, max_ms },
        (1, first_ms, max_ms) => Backoff::Exponential { first_ms, max_ms },
        _ => return Err(OutOfBytes),
    };
    let attempts_max = match (reader.flag()?, reader.u32()?) {
        (true, most) => Some(most),
        (false, 0) => None,
        (false, _) => return Err(OutOfBytes),
    };
    Ok(SubscriptionRules { kind, lease_ms, backoff, attempts_max })
}
