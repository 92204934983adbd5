//! Subscriptions between the wire and the model: kinds, rules, and where one begins.

use meridian_model::subscription::{Backoff, SubscriptionKind, SubscriptionRules};

use crate::v1::subscription_backoff::Growth;
use crate::v1::{self, Failure};

const FIRST_MS: u64 = 1_000;
const LONGEST_MS: u64 = 60_000;

/// The kind of a subscription.
pub fn kind(kind: i32) -> Result<SubscriptionKind, Failure> {
    use v1::SubscriptionKind as Wire;
    match Wire::try_from(kind) {
        Ok(Wire::Exclusive) => Ok(SubscriptionKind::Exclusive),
        Ok(Wire::Failover) => Ok(SubscriptionKind::Failover),
        Ok(Wire::Shared) => Ok(SubscriptionKind::Shared),
        Ok(Wire::KeyShared) => Ok(SubscriptionKind::KeyShared),
        Ok(Wire::Unspecified) | Err(_) => {
            Err(Failure::invalid("kind", "say exclusive, failover, shared or key-shared"))
        }
    }
}

/// The same on the wire.
pub fn kind_to_wire(kind: SubscriptionKind) -> v1::SubscriptionKind {
    match kind {
        SubscriptionKind::Exclusive => v1::SubscriptionKind::Exclusive,
        SubscriptionKind::Failover => v1::SubscriptionKind::Failover,
        SubscriptionKind::Shared => v1::SubscriptionKind::Shared,
        SubscriptionKind::KeyShared => v1::SubscriptionKind::KeyShared,
    }
}

/// What partitions know of a subscription; what is not said is as by default. Whether it makes sense the control group
/// decides.
pub fn rules(settings: &v1::SubscriptionSettings) -> Result<SubscriptionRules, Failure> {
    let defaults = SubscriptionRules::default();
    let backoff = settings.backoff.unwrap_or_default();
    let (first_ms, max_ms) = (backoff.first_ms.unwrap_or(FIRST_MS), backoff.max_ms.unwrap_or(LONGEST_MS));
    Ok(SubscriptionRules {
        kind: kind(settings.kind)?,
        lease_ms: settings.lease_ms.unwrap_or(defaults.lease_ms),
        backoff: match backoff.growth {
            Some(Growth::Linear(true)) => Backoff::Linear { step_ms: first_ms, max_ms },
            _ => Backoff::Exponential { first_ms, max_ms },
        },
        attempts_max: settings.attempts_max,
    })
}

/// The same on the wire, with nothing else of the settings.
pub fn rules_to_wire(rules: &SubscriptionRules) -> v1::SubscriptionSettings {
    let (growth, first_ms, max_ms) = match rules.backoff {
        Backoff::Linear { step_ms, max_ms } => (Growth::Linear(true), step_ms, max_ms),
        Backoff::Exponential { first_ms, max_ms } => (Growth::Exponential(true), first_ms, max_ms),
    };
    let backoff =
        v1::SubscriptionBackoff { growth: Some(growth), first_ms: Some(first_ms), max_ms: Some(max_ms) };
    v1::SubscriptionSettings {
        kind: kind_to_wire(rules.kind) as i32,
        lease_ms: Some(rules.lease_ms),
        backoff: Some(backoff),
        attempts_max: rules.attempts_max,
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_come_back_from_the_wire_as_they_went() {
        use SubscriptionKind::{Exclusive, Failover, KeyShared, Shared};
        let linear = Backoff::Linear { step_ms: 7, max_ms: 70 };
        let doubled = Backoff::Exponential { first_ms: 8, max_ms: 80 };
        for (kind, backoff, attempts_max) in [
            (Exclusive, linear, None),
            (Failover, doubled, Some(3)),
            (Shared, linear, Some(1)),
            (KeyShared, doubled, None),
        ] {
            let sent = SubscriptionRules { kind, lease_ms: 900, backoff, attempts_max };
            assert_eq!(rules(&rules_to_wire(&sent)).as_ref(), Ok(&sent));
        }
    }

    #[test]
    fn what_is_not_said_is_as_by_default_but_the_kind_must_be_said() {
        let shared =
            v1::SubscriptionSettings { kind: v1::SubscriptionKind::Shared as i32, ..Default::default() };
        assert_eq!(rules(&shared), Ok(SubscriptionRules::default()));
        for unknown in [0, 9, -1] {
            let refused = rules(&v1::SubscriptionSettings { kind: unknown, ..Default::default() });
            assert_eq!(refused.map_err(|why| why.metadata["field"].clone()), Err("kind".to_string()));
        }
    }
}
