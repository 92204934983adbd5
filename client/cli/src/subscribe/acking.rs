//! Acks that are on their way.

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use meridian_sdk::consumer::Settling;

use super::Lost;

/// Acks on their way at once.
const ON_THEIR_WAY_MAX: usize = 4_096;

/// Waits for acks and remembers those that were refused.
#[derive(Default)]
pub(super) struct Acking {
    on_their_way: FuturesUnordered<Settling>,
    lost: Lost,
}

impl Acking {
    pub(super) fn add(&mut self, settling: Settling) {
        self.on_their_way.push(settling);
    }

    /// Waits while too many are on their way. Cancellation safe.
    pub(super) async fn make_room(&mut self) {
        while self.on_their_way.len() >= ON_THEIR_WAY_MAX {
            self.one().await;
        }
    }

    /// Waits for all; the first that was refused, and how many were.
    pub(super) async fn finish(mut self) -> Lost {
        while !self.on_their_way.is_empty() {
            self.one().await;
        }
        self.lost
    }

    async fn one(&mut self) {
        if let Some(Err(error)) = self.on_their_way.next().await {
            match &mut self.lost {
                Some((count, _)) => *count += 1,
                None => self.lost = Some((1, error)),
            }
        }
    }
}
