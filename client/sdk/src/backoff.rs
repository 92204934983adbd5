//! How long to wait before the next attempt: doubling, bounded, with jitter.

use std::time::Duration;

use crate::random::Random;

const FIRST: Duration = Duration::from_millis(20);
const MOST: Duration = Duration::from_secs(1);
/// Where many wait for an election, which is over in about a second.
const MOST_BRISK: Duration = Duration::from_millis(200);

/// One row of attempts.
#[derive(Debug)]
pub(crate) struct Backoff {
    attempts: u32,
    most: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { attempts: 0, most: MOST }
    }
}

impl Backoff {
    /// With short pauses: for partitions that wait for a leader.
    pub(crate) fn brisk() -> Self {
        Self { most: MOST_BRISK, ..Self::default() }
    }

    /// The next pause: at least `hint` and up to a quarter more, so that those who were told the same do not come back
    /// together; without a hint, or where that is longer, between half and all of the doubled step.
    pub(crate) fn next(&mut self, hint: Duration, random: &Random) -> Duration {
        let step = FIRST.saturating_mul(1 << self.attempts.min(10)).min(self.most);
        self.attempts += 1;
        let half = (step / 2).as_micros() as u64;
        let spread = Duration::from_micros(random.below(hint.as_micros() as u64 / 4 + 1));
        (hint + spread).max(Duration::from_micros(half + random.below(half + 1)))
    }

    /// Attempts so far.
    pub(crate) fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Something worked: begin anew.
    pub(crate) fn reset(&mut self) {
        self.attempts = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_bound() {
        let random = Random::new(Some(7));
        let mut backoff = Backoff::default();
        let pauses: Vec<Duration> = (0..40).map(|_| backoff.next(Duration::ZERO, &random)).collect();
        assert!(pauses[0] <= FIRST && pauses[39] <= MOST && pauses[39] >= MOST / 2, "{pauses:?}");
        backoff.reset();
        assert!(backoff.next(Duration::ZERO, &random) <= FIRST);
    }

    #[test]
    fn two_that_are_told_the_same_come_back_apart_and_not_too_soon() {
        let hint = Duration::from_secs(1);
        let pauses = |seed| {
            let (random, mut backoff) = (Random::new(Some(seed)), Backoff::brisk());
            (0..20).map(|_| backoff.next(hint, &random)).collect::<Vec<_>>()
        };
        let (one, other) = (pauses(1), pauses(2));
        assert!(one.iter().all(|pause| (hint..=hint * 5 / 4).contains(pause)), "{one:?}");
        let apart = one.iter().zip(&other).filter(|(one, other)| one.abs_diff(**other) > hint / 50);
        assert!(apart.count() > 10, "{one:?}\n{other:?}");
    }
}
