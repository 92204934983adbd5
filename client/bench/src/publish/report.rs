//! What a run came to.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde::Serialize;

use super::load::Tally;
use super::verify::Verified;
use super::{CodecArg, PublishArgs};
use crate::BenchError;
use crate::latency::Percentiles;
use crate::table::Table;
use crate::units::Rate;

/// The report of one run. Rates and bytes are those of bodies, within the time that counts.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    topic: String,
    messages: String,
    codec: CodecArg,
    partitions: u32,
    /// How many keys the messages have; absent: none.
    keys: Option<u32>,
    producers: u32,
    /// Messages a second asked for; absent: as many as the cluster takes.
    rate: Option<f64>,
    in_flight: Option<u32>,
    buffer_bytes: usize,
    batch_bytes: usize,
    warm_up_s: f64,
    duration_s: f64,
    messages_per_s: f64,
    mb_per_s: f64,
    /// `intended`: from when a message was due. `service`: from the call that sent it.
    latency_from: &'static str,
    latency: Percentiles,
    /// Of the whole run, warm-up included.
    sent: u64,
    acked: u64,
    duplicates: u64,
    errors: BTreeMap<&'static str, u64>,
    /// How long after the end the last answer came.
    last_answer_s: f64,
    verified: Option<Verified>,
}

impl Report {
    pub(super) fn new(
        args: &PublishArgs,
        topic: &str,
        tally: &Tally,
        answered: Duration,
        verified: Option<Verified>,
    ) -> Self {
        let ledger = tally.ledger.lock();
        let per_second = |count: u64| count as f64 / args.duration.as_secs_f64().max(f64::MIN_POSITIVE);
        let (rate, latency_from) = match args.rate {
            Rate::Max => (None, "service"),
            Rate::PerSecond(rate) => (Some(rate), "intended"),
        };
        Self {
            topic: topic.into(),
            messages: match &args.file {
                Some(file) => format!("lines of {}", file.display()),
                None => format!("{} random bytes", args.size),
            },
            codec: args.codec(),
            partitions: args.partitions,
            keys: args.keys,
            producers: args.producers,
            rate,
            in_flight: args.in_flight,
            buffer_bytes: args.buffer,
            batch_bytes: args.batch,
            warm_up_s: args.warm_up.as_secs_f64(),
            duration_s: args.duration.as_secs_f64(),
            messages_per_s: per_second(tally.window_messages.load(Ordering::Relaxed)),
            mb_per_s: per_second(tally.window_bytes.load(Ordering::Relaxed)) / 1e6,
            latency_from,
            latency: tally.latency.lock().percentiles(),
            sent: tally.sent.load(Ordering::Relaxed),
            acked: ledger.acked,
            duplicates: ledger.duplicates,
            errors: ledger.errors.clone(),
            last_answer_s: answered.as_secs_f64(),
            verified,
        }
    }

    pub(super) fn table(&self) -> Table {
        let mut table = Table::default();
        let rate = self.rate.map_or("max".to_string(), |rate| format!("{rate:.0} messages/s"));
        table.row("messages", format!("{}, codec {:?}", self.messages, self.codec).to_lowercase());
        table.row(
            "asked for",
            format!("{rate}, {} producers, {} partitions", self.producers, self.partitions),
        );
        table.row(
            "throughput",
            format!(
                "{:.0} messages/s, {:.2} MB/s, over {:.0} s",
                self.messages_per_s, self.mb_per_s, self.duration_s
            ),
        );
        let from = match self.latency_from {
            "intended" => "latency from the intended send",
            _ => "service latency",
        };
        table.row(from, self.latency.in_words());
        let duplicates = match self.duplicates {
            0 => String::new(),
            some => format!(", {some} of them resent without effect"),
        };
        table.row("acknowledged", format!("{} of {} sent{duplicates}", self.acked, self.sent));
        for (reason, count) in &self.errors {
            table.row(format!("failed with {reason}"), count.to_string());
        }
        if let Some(found) = &self.verified {
            let verdict = if found.passed { "PASSED" } else { "FAILED" };
            table.row(
                "read back",
                format!(
                    "{verdict}: {} of {} acknowledged are right, in {:.1} s",
                    found.right, self.acked, found.seconds
                ),
            );
            table.row(
                "",
                format!(
                    "lost {}, wrong {}, doubly acknowledged {}, gaps {}, without ack {}",
                    found.lost, found.wrong, found.overlapping, found.gaps, found.unclaimed
                ),
            );
        }
        table
    }

    /// Whether one can be content: no error, and all there.
    pub(super) fn judge(&self) -> Result<(), BenchError> {
        let failed: u64 = self.errors.values().sum();
        match &self.verified {
            Some(found) if !found.passed => {
                Err(BenchError::Unsound("what was read back is not what was acknowledged".into()))
            }
            _ if failed > 0 => Err(BenchError::Unsound(format!("{failed} messages were not acknowledged"))),
            _ => Ok(()),
        }
    }
}
