//! The same keys over six partitions and over many, in turn, at the highest rate.

use anyhow::{Context, Result, ensure};
use serde::Serialize;
use serde_json::Value;

use super::region::Region;
use crate::Story;
use crate::child;

const FEW: u32 = 6;
/// So many that every partition gets its share of them.
const KEYS: &str = "100000";
/// Messages a second of every turn.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Throughput {
    pub(super) few: Vec<f64>,
    pub(super) many: Vec<f64>,
    /// The reports of the loads, in the order in which they ran.
    pub(super) reports: Vec<Value>,
}

impl Throughput {
    /// The mean with many over the mean with few.
    pub(super) fn ratio(&self) -> f64 {
        mean(&self.many) / mean(&self.few)
    }
}

pub(super) fn mean(figures: &[f64]) -> f64 {
    figures.iter().sum::<f64>() / figures.len() as f64
}

pub(super) async fn measure(
    region: &Region,
    story: &Story,
    many: u32,
    seconds: u64,
    turns: u32,
) -> Result<Throughput> {
    let mut measured = Throughput { few: Vec::new(), many: Vec::new(), reports: Vec::new() };
    let (servers, duration) = (region.servers(), format!("{seconds}s"));
    let program = meridian_harness::cluster::binary()?;
    for turn in 1..=turns {
        for partitions in [FEW, many] {
            region.await_empty().await?;
            let count = partitions.to_string();
            let report = child::json(
                &program,
                &[
                    "bench",
                    "publish",
                    "--output",
                    "json",
                    "--server",
                    &servers,
                    "--partitions",
                    &count,
                    "--keys",
                    KEYS,
                    "--duration",
                    &duration,
                    "--warm-up",
                    "5s",
                ],
            )
            .await?;
            let errors = report["errors"].as_object();
            ensure!(errors.is_none_or(serde_json::Map::is_empty), "the load had errors: {errors:?}");
            let rate = report["messages_per_s"].as_f64().context("a load without a rate")?;
            story.say(format!("  turn {turn}: {partitions} partitions, {rate:.0} messages/s of 1 KiB"));
            if partitions == FEW { &mut measured.few } else { &mut measured.many }.push(rate);
            measured.reports.push(report);
        }
    }
    Ok(measured)
}
