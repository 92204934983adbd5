//! How fast copies are made: what goes to members that do not vote yet, and snapshots, shares so many bytes a second
//! of each sending node, whatever the number of copies. What a voter lacks is not held back: it is needed for quorums.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// What may go at once after a pause.
const BURST: Duration = Duration::from_millis(100);

/// A rate in bytes a second.
pub struct Pace {
    bytes_per_second: Option<u64>,
    /// When everything that was let through has gone, at this rate.
    gone_at: Mutex<Instant>,
}

impl Pace {
    /// So many bytes a second; 0 is as fast as it goes.
    pub fn new(bytes_per_second: u64) -> Self {
        let bytes_per_second = Some(bytes_per_second).filter(|rate| *rate > 0);
        Self { bytes_per_second, gone_at: Mutex::new(Instant::now()) }
    }

    /// Waits until what went before has gone. Whoever is cancelled while it waits has used its share.
    pub(super) async fn pass(&self, bytes: usize) {
        if let Some(rate) = self.bytes_per_second {
            let begins = self.reserve(Duration::from_secs_f64(bytes as f64 / rate as f64));
            tokio::time::sleep_until(begins).await;
        }
    }

    fn reserve(&self, takes: Duration) -> Instant {
        let now = Instant::now();
        let mut gone_at = self.gone_at.lock();
        let begins = (*gone_at).max(now.checked_sub(BURST).unwrap_or(now));
        *gone_at = begins + takes;
        begins
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn all_together_go_at_the_rate() {
        let (pace, began) = (Pace::new(1_000_000), Instant::now());
        let chunk = async || {
            for _ in 0..10 {
                pace.pass(100_000).await;
            }
        };
        tokio::join!(chunk(), chunk(), chunk());
        let took = began.elapsed();
        assert!(took >= Duration::from_millis(2_800) && took <= Duration::from_secs(3), "{took:?} for 3 MB");
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_saves_up_no_more_than_a_burst() {
        let pace = Pace::new(1_000_000);
        tokio::time::advance(Duration::from_secs(60)).await;
        let began = Instant::now();
        for _ in 0..11 {
            pace.pass(100_000).await;
        }
        assert!(began.elapsed() >= Duration::from_millis(900), "{:?} for 1.1 MB", began.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_rate_nothing_waits() {
        let began = Instant::now();
        Pace::new(0).pass(usize::MAX).await;
        assert_eq!(began.elapsed(), Duration::ZERO);
    }
}
