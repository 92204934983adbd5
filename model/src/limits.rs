//! Every bound of the system, in one place, with its unit last. Where bounds relate, the compiler checks it.

/// The largest message body, key and properties together, that a publish may carry.
pub const MESSAGE_BYTES_MAX: usize = 1024 * 1024;
/// The largest batch, header included, stored size.
pub const BATCH_BYTES_MAX: usize = 2 * 1024 * 1024;
/// The largest batch once decompressed: what a reader must be ready to hold.
pub const BATCH_RAW_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Messages in one batch.
pub const BATCH_MESSAGES_MAX: u32 = 65_536;
/// Bytes of producer batches that the proposer puts into one Raft entry.
pub const ENTRY_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Producer batches in one Raft entry.
pub const ENTRY_BATCHES_MAX: usize = 1024;
/// Bytes of entries in one append frame between two nodes.
pub const FRAME_BYTES_MAX: usize = 1024 * 1024;
/// The largest gRPC message a node accepts on any listener.
pub const RPC_BYTES_MAX: usize = 8 * 1024 * 1024;

/// A key's length in bytes.
pub const KEY_BYTES_MAX: usize = 4 * 1024;
/// Properties of one message.
pub const PROPERTIES_MAX: usize = 64;
/// The length of a tenant, namespace, topic or producer name, in bytes.
pub const NAME_BYTES_MAX: usize = 128;
/// Regions that one batch may name.
pub const REGIONS_MAX: usize = 16;

/// Producers that one partition remembers. At the bound a new producer is refused; none is forgotten early.
pub const PRODUCERS_MAX: usize = 100_000;
/// Recent (sequence, offset) pairs of one producer in one partition: the dedup window, in batches.
/// A resend older than the window is refused with `DuplicateBeyondWindow`, never stored again.
pub const DEDUP_WINDOW_BATCHES: usize = 64;
/// Batches a producer may have in flight per partition: within the dedup window, so a resend is always known.
pub const PRODUCER_INFLIGHT_BATCHES_MAX: usize = 32;
/// How long a partition remembers a producer that made up its name, after its last batch.
pub const DEDUP_HORIZON_MS: u64 = 7 * 24 * 3600 * 1000;
/// Producers that one trim forgets: each may delete a row per batch of its window. The rest go with the next trim.
pub const PRODUCERS_FORGOTTEN_PER_TRIM_MAX: usize = 256;

/// Entry bytes after which a segment is closed: what retention can remove at once.
pub const SEGMENT_BYTES: u64 = 8 * 1024 * 1024;
/// Entries after which a segment is closed, whatever their size.
pub const SEGMENT_ENTRIES: u64 = 16_384;
/// The longest a segment stays open once it has messages, by append stamps, so that age retention is exact to it.
pub const SEGMENT_AGE_MS: u64 = 60_000;

/// Subscriptions of one partition. At the bound a new one is refused.
pub const SUBSCRIPTIONS_PARTITION_MAX: usize = 256;
/// Subscriptions that were dropped from one partition and whose last control index it remembers, so that a command
/// that comes late does not bring one back. The one dropped by the oldest control index is forgotten first.
pub const SUBSCRIPTIONS_DROPPED_MAX: usize = 1_024;
/// Settled ranges above the floor of the main lane, of one subscription in one partition: about 50 bytes of
/// memory and one row of 32 bytes each.
pub const SETTLED_RANGES_MAX: usize = 16_384;
/// Settled ranges above the floor of the delayed lane, of one subscription in one partition. As large.
pub const SETTLED_DELAYED_MAX: usize = 16_384;
/// Messages with failed attempts, of one subscription in one partition: about 60 bytes of memory and a row each.
pub const ATTEMPTS_MAX: usize = 16_384;
/// Dead letters of one subscription in one partition that have not arrived yet.
pub const DEAD_LETTERS_MAX: usize = 4_096;
/// Histories that one subscription in one partition ever sent dead letters to. Each keeps its sequence for ever.
pub const DEAD_LETTER_DESTINATIONS_MAX: usize = 64;
/// Settlements that one entry may carry.
pub const SETTLE_PARTS_MAX: usize = 1_024;
/// Ranges, nacks and dead letters that one settlement may name, together.
pub const SETTLE_ITEMS_MAX: usize = 4_096;
/// Delayed batches below the log's start whose rows one command removes.
pub const DELAYED_SWEPT_MAX: usize = 4_096;

/// How far a stamp may be past the quorum's time, and how far voters' clocks may be apart before
/// nothing is destroyed by age.
pub const CLOCK_SKEW_MS_MAX: u64 = 5_000;
/// How old a peer's reported clock may be to count.
pub const CLOCK_FRESH_MS: u64 = 10_000;

/// Partitions of one topic.
pub const TOPIC_PARTITIONS_MAX: u32 = 1_024;
/// Tenants of one region.
pub const TENANTS_MAX: usize = 1_000;
/// Namespaces of one region.
pub const NAMESPACES_MAX: usize = 10_000;
/// Topics of one region.
pub const TOPICS_MAX: usize = 10_000;
/// Partitions of one region.
pub const GROUPS_MAX: u64 = 100_000;
/// Nodes of one region.
pub const NODES_MAX: usize = 64;
/// One address of a node, `host:port`, in bytes.
pub const ADDRESS_BYTES_MAX: usize = 512;
/// Producer names whose epoch the control group keeps.
pub const NAMED_PRODUCERS_MAX: usize = 100_000;
/// Remembered request ids of metadata changes. An id may have [`NAME_BYTES_MAX`] bytes.
pub const REQUEST_IDS_MAX: usize = 4_096;
/// Entries of the control group's own log after which a segment is closed and the one before the last dropped:
/// the log holds at most twice as many, and what comes while its leader looks.
pub const CONTROL_SEGMENT_ENTRIES: u64 = 1_024;
/// The same in bytes of entries.
pub const CONTROL_SEGMENT_BYTES: u64 = 8 * 1024 * 1024;

/// Encoded bytes of one frame between regions: it is applied as one entry.
pub const GEO_FRAME_BYTES_MAX: usize = 3 * 1024 * 1024;
/// Batches and skips in one frame between regions.
pub const GEO_FRAME_ITEMS_MAX: usize = 4_096;
/// Bytes of frames on their way to one destination from one origin log.
pub const GEO_WINDOW_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Origin logs that one partition remembers the coverage of, deleted and restored ones included.
pub const GEO_ORIGINS_MAX: usize = 1_024;
/// Ranges of acked offsets of one replicated subscription in one partition, over all origin logs.
pub const GEO_ACK_RANGES_MAX: usize = 16_384;
/// Samples of an origin's clock and end that are kept to tell a lag in seconds.
pub const GEO_LAG_SAMPLES_MAX: usize = 256;

const _: () = assert!(MESSAGE_BYTES_MAX < BATCH_BYTES_MAX);
const _: () = assert!(BATCH_BYTES_MAX <= ENTRY_BYTES_MAX);
const _: () = assert!(ENTRY_BYTES_MAX + 64 * 1024 < RPC_BYTES_MAX);
const _: () = assert!(PRODUCER_INFLIGHT_BATCHES_MAX * 2 <= DEDUP_WINDOW_BATCHES);
const _: () = assert!(CLOCK_SKEW_MS_MAX < CLOCK_FRESH_MS);
const _: () = assert!(BATCH_BYTES_MAX + 64 * 1024 < GEO_FRAME_BYTES_MAX);
const _: () = assert!(GEO_FRAME_BYTES_MAX <= ENTRY_BYTES_MAX);
const _: () = assert!(GEO_FRAME_BYTES_MAX < GEO_WINDOW_BYTES_MAX);
// What one settlement may name can be settled, from nothing.
const _: () = assert!(SETTLE_ITEMS_MAX <= SETTLED_RANGES_MAX && SETTLE_ITEMS_MAX <= SETTLED_DELAYED_MAX);
const _: () = assert!(SETTLE_ITEMS_MAX <= ATTEMPTS_MAX && SETTLE_ITEMS_MAX <= DEAD_LETTERS_MAX);
// An item is at most 32 bytes on the wire: one settlement fits into an entry.
const _: () = assert!(SETTLE_ITEMS_MAX * 32 < ENTRY_BYTES_MAX);
const _: () = assert!(DELAYED_SWEPT_MAX * 16 < ENTRY_BYTES_MAX);
