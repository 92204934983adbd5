//! Where messages without a key go: to one partition for about a batch, then to another.

use meridian_model::{Message, hash};
use parking_lot::Mutex;

use crate::random::Random;

/// The partition that keyless messages go to at the moment.
#[derive(Debug, Default)]
pub(super) struct Sticky(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    partition: u32,
    bytes_left: usize,
}

impl Sticky {
    /// The partition for this message.
    pub(super) fn route(
        &self,
        message: &Message,
        partitions: u32,
        batch_bytes: usize,
        random: &Random,
    ) -> u32 {
        if let Some(key) = &message.key {
            return hash::partition_of(key, partitions);
        }
        let mut state = self.0.lock();
        if state.bytes_left == 0 || state.partition >= partitions {
            state.partition = random.below(u64::from(partitions)) as u32;
            state.bytes_left = batch_bytes;
        }
        state.bytes_left = state.bytes_left.saturating_sub(message.size_bytes().max(1));
        state.partition
    }
}
