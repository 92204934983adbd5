//! How much a dispatcher may hold, and for how long.

use meridian_model::limits;

/// Bounds of one dispatcher. Times are in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DispatchBounds {
    /// Consumers of one subscription in one partition.
    pub consumers_max: usize,
    /// Messages that one consumer holds. Those it kept from before count, and are kept whatever the count.
    pub unacked_consumer_max: usize,
    /// Messages that all consumers hold.
    pub unacked_max: usize,
    /// Messages that are fetched and not delivered. Each lane is read on once it is half empty, one fetch at a time.
    pub window_messages_max: usize,
    /// Bytes of batches that one fetch asks for.
    pub fetch_bytes: usize,
    /// Settled ranges above the floor, as the partition counts them. At most what the partition has as its bound, as
    /// everything that it counts.
    pub settled_ranges_max: usize,
    /// Settled ranges of delayed messages above their floor, as the partition counts them.
    pub settled_delayed_max: usize,
    /// Messages with failed attempts, as the partition counts them.
    pub attempts_max: usize,
    /// Destinations that dead letters ever had, as the partition counts them.
    pub destinations_max: usize,
    /// What one settlement may name, as the partition counts it.
    pub settle_items_max: usize,
    /// Ranges of settled messages that are remembered, so that a second ack of them is confirmed.
    pub settled_known_ranges_max: usize,
    /// Requests of one consumer that wait for a commit.
    pub unconfirmed_max: usize,
    /// The most credit in messages.
    pub credit_messages_max: u64,
    /// The most credit in bytes.
    pub credit_bytes_max: u64,
    /// How long consumers have to come back before what they hold is delivered to others.
    pub grace_ms: u64,
    /// How long a consumer may be silent before it counts as gone.
    pub silence_ms: u64,
    /// How long a commit or a fetch that failed waits before it is tried again.
    pub retry_ms: u64,
}

impl Default for DispatchBounds {
    fn default() -> Self {
        Self {
            consumers_max: 1_000,
            unacked_consumer_max: 10_000,
            unacked_max: 50_000,
            window_messages_max: 16_384,
            fetch_bytes: 512 * 1024,
            settled_ranges_max: limits::SETTLED_RANGES_MAX,
            settled_delayed_max: limits::SETTLED_DELAYED_MAX,
            attempts_max: limits::ATTEMPTS_MAX,
            destinations_max: limits::DEAD_LETTER_DESTINATIONS_MAX,
            settle_items_max: limits::SETTLE_ITEMS_MAX,
            settled_known_ranges_max: 10_000,
            unconfirmed_max: 10_000,
            credit_messages_max: 1_000_000,
            credit_bytes_max: 1 << 32,
            grace_ms: 2_000,
            silence_ms: 30_000,
            retry_ms: 100,
        }
    }
}
