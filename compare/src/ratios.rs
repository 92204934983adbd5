//! What the figures are worth, as ratios: absolute ones belong to a machine and a minute.

use serde::Serialize;
use serde_json::Value;

use crate::cluster::Load;
use crate::report::Compared;

/// A ratio and what it should be.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Ratio {
    pub(crate) name: String,
    pub(crate) value: f64,
    /// At least this, or, for latencies, at most.
    pub(crate) target: Option<Target>,
    pub(crate) met: Option<bool>,
}

#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Target {
    AtLeast(f64),
    AtMost(f64),
}

impl Ratio {
    pub(crate) fn new(name: impl Into<String>, value: f64, target: Option<Target>) -> Self {
        // What could not be measured is not met.
        let met = target.map(|target| match target {
            Target::AtLeast(bound) => value >= bound,
            Target::AtMost(bound) => value <= bound,
        });
        Self { name: name.into(), value, target, met }
    }
}

/// All ratios. The floor is the better of before and after: what the machine can do, not what it did once.
pub(crate) fn all(
    before: &Value,
    after: &Value,
    loads: &[(&'static str, Load)],
    compared: &[Compared],
) -> Vec<Ratio> {
    let load = |name: &str, pointer: &str| {
        loads.iter().find(|(own, _)| *own == name).map_or(f64::NAN, |(_, load)| load.figure(pointer))
    };
    let one =
        |floor: &Value, pointer: &str| floor.pointer(pointer).and_then(Value::as_f64).unwrap_or(f64::NAN);
    let fastest = |pointer: &str| one(before, pointer).max(one(after, pointer));
    let shortest = |pointer: &str| one(before, pointer).min(one(after, pointer));
    let mut ratios = vec![
        Ratio::new(
            "1 KiB: bytes over a third of what the storage engine takes in synced 512 KiB writes",
            load("1 KiB", "/mb_per_s") / (fastest("/store/1/mb_per_s") / 3.0),
            Some(Target::AtLeast(0.7)),
        ),
        Ratio::new(
            "one at a time: p50 over one fdatasync and two loopback round trips (each p50)",
            load("one at a time", "/latency/p50_us")
                / (shortest("/disk/append_sync/p50_us") + 2.0 * shortest("/loopback/round_trip/p50_us")),
            Some(Target::AtMost(3.0)),
        ),
        Ratio::new(
            "half rate: p99 over the storage engine's synced p99 at the same bytes a second",
            load("half rate", "/latency/p99_us") / one(after, "/paced/latency/p99_us"),
            Some(Target::AtMost(3.0)),
        ),
    ];
    for (name, target) in [("1 KiB", 2.0), ("128 B", 8.0), ("flights", 15.0)] {
        for nats in compared {
            let best = nats.best(name);
            // Only the default is a target: it does not wait for the disk, which Meridian does.
            let target = (!nats.variant.sync_always).then_some(Target::AtLeast(target));
            let value = load(name, "/messages_per_s") / best;
            ratios.push(Ratio::new(
                format!("{name}: messages/s over {}", nats.variant.name()),
                value,
                target,
            ));
        }
    }
    for nats in compared {
        let name = format!("one at a time: p50 over {}", nats.variant.name());
        ratios.push(Ratio::new(name, load("one at a time", "/latency/p50_us") / nats.one_at_a_time(), None));
    }
    ratios
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_measured_is_not_met() {
        assert_eq!(Ratio::new("a", f64::NAN, Some(Target::AtMost(3.0))).met, Some(false));
        assert_eq!(Ratio::new("a", f64::NAN, Some(Target::AtLeast(0.1))).met, Some(false));
        assert_eq!(Ratio::new("a", 2.0, Some(Target::AtMost(3.0))).met, Some(true));
        assert_eq!(Ratio::new("a", 2.0, None).met, None);
    }
}
