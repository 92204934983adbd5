//! Durations, counted in a histogram with three significant digits.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

/// The longest duration told apart from longer ones.
const LONGEST_NS: u64 = 3_600_000_000_000;

/// A histogram of nanoseconds.
pub(crate) struct Latency(Histogram<u64>);

/// What a histogram comes to, in microseconds.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Percentiles {
    pub(crate) count: u64,
    pub(crate) mean_us: f64,
    pub(crate) p50_us: f64,
    pub(crate) p90_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) p99_9_us: f64,
    pub(crate) max_us: f64,
}

impl Latency {
    pub(crate) fn new() -> Self {
        #[expect(clippy::expect_used, reason = "constant bounds, which a test makes")]
        Self(Histogram::new_with_bounds(1, LONGEST_NS, 3).expect("sound bounds"))
    }

    pub(crate) fn record(&mut self, took: Duration) {
        self.0.saturating_record((took.as_nanos() as u64).max(1));
    }

    pub(crate) fn percentiles(&self) -> Percentiles {
        let us = |ns: u64| ns as f64 / 1e3;
        let at = |quantile| us(self.0.value_at_quantile(quantile));
        Percentiles {
            count: self.0.len(),
            mean_us: self.0.mean() / 1e3,
            p50_us: at(0.5),
            p90_us: at(0.9),
            p99_us: at(0.99),
            p99_9_us: at(0.999),
            max_us: us(self.0.max()),
        }
    }
}

impl Percentiles {
    /// All of them in one cell, in milliseconds.
    pub(crate) fn in_words(&self) -> String {
        let ms = |us: f64| format!("{:.3}", us / 1e3);
        format!(
            "p50 {}  p90 {}  p99 {}  p99.9 {}  max {} ms",
            ms(self.p50_us),
            ms(self.p90_us),
            ms(self.p99_us),
            ms(self.p99_9_us),
            ms(self.max_us)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_what_was_recorded() {
        let mut latency = Latency::new();
        (1..=1000).for_each(|ms| latency.record(Duration::from_millis(ms)));
        latency.record(Duration::from_secs(1_000_000));
        let found = latency.percentiles();
        assert_eq!(found.count, 1001);
        assert!((found.p50_us / 501_000.0 - 1.0).abs() < 0.002, "{found:?}");
        assert!((found.p99_us / 991_000.0 - 1.0).abs() < 0.002, "{found:?}");
        assert!(found.max_us >= 3.59e9, "beyond the longest counts as the longest: {found:?}");
    }
}
