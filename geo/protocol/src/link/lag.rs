//! How far a destination is behind an origin: in messages, in bytes, and in seconds of the origin's own clock.
//!
//! Clocks of two regions are never subtracted. The origin's heartbeats say "at this time by my clock my log ended
//! here"; the lag is the time between the last of them that is covered and the newest one. So it is exact to one
//! heartbeat, and an idle origin does not look late when it begins again.

use std::collections::VecDeque;

use meridian_model::{Offset, UnixMs, limits};

/// What an origin says of its log, now and then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    /// By the origin's clock.
    pub at: UnixMs,
    /// The committed end.
    pub end: Offset,
    /// Bytes of all batches below the end, since the log began.
    pub bytes: u64,
}

/// How far behind, as of the newest heartbeat.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lag {
    /// Offsets that are neither stored nor skipped.
    pub messages: u64,
    /// Their bytes, to within what one heartbeat covers.
    pub bytes: u64,
    /// Milliseconds by the origin's clock, an upper bound. What happened since the newest heartbeat is not in it:
    /// see [`LagMeter::silent_ms`].
    pub ms: u64,
}

/// Heartbeats of one origin log, and the watermark here.
#[derive(Clone, Debug, Default)]
pub struct LagMeter {
    /// In order of time; the first is the last that is covered, if any is.
    samples: VecDeque<Heartbeat>,
    covered: bool,
    watermark: Offset,
    /// By the local clock.
    heard_ms: Option<u64>,
}

impl LagMeter {
    /// Nothing heard yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A heartbeat came; `now_ms` is a local monotonic clock. One that is older than the newest, or says less, came
    /// late and is no news.
    pub fn heard(&mut self, now_ms: u64, beat: Heartbeat) {
        if self.samples.back().is_some_and(|newest| beat.at <= newest.at || beat.end < newest.end) {
            return;
        }
        self.heard_ms = Some(now_ms);
        self.samples.push_back(beat);
        if self.samples.len() > limits::GEO_LAG_SAMPLES_MAX {
            // Every second one goes, but neither the first nor the newest: the bound grows coarser, not wrong.
            let (mut at, last) = (0, self.samples.len() - 1);
            self.samples.retain(|_| {
                at += 1;
                at == 1 || at > last || at % 2 == 1
            });
        }
        self.settle();
    }

    /// The watermark rose.
    pub fn reached(&mut self, watermark: Offset) {
        self.watermark = self.watermark.max(watermark);
        self.settle();
    }

    /// How far behind; `None` before the first heartbeat.
    pub fn lag(&self) -> Option<Lag> {
        let (first, newest) = (self.samples.front()?, self.samples.back()?);
        if newest.end <= self.watermark {
            return Some(Lag::default());
        }
        Some(Lag {
            messages: newest.end.0 - self.watermark.0,
            bytes: newest.bytes.saturating_sub(if self.covered { first.bytes } else { 0 }),
            ms: newest.at.0 - first.at.0,
        })
    }

    /// For how long nothing was heard, in local milliseconds: what came into the log since is unknown (GEO-7).
    pub fn silent_ms(&self, now_ms: u64) -> Option<u64> {
        self.heard_ms.map(|at| now_ms.saturating_sub(at))
    }

    /// How many heartbeats are kept.
    pub fn samples(&self) -> usize {
        self.samples.len()
    }

    /// Keeps of the covered samples only the last.
    fn settle(&mut self) {
        while self.samples.get(1).is_some_and(|second| second.end <= self.watermark) {
            self.samples.pop_front();
        }
        self.covered = self.samples.front().is_some_and(|first| first.end <= self.watermark);
    }
}
