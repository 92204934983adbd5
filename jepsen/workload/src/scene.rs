//! What every client of a workload holds: the topic, the history, the figures so far, and the manner of work.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use meridian_history::Recorder;
use meridian_model::hash;

use crate::chance::Chance;
use crate::tally::Tally;

/// Keys of each partition. Several, so that consumers can share a partition by its keys.
const KEYS_PARTITION: u64 = 5;

/// How clients work.
#[derive(Debug, Clone)]
pub struct Manner {
    /// The pause between two messages or batches of one producer.
    pub message_pause_ms: u64,
    /// The pause between two pages of one reader.
    pub page_pause_ms: u64,
    /// The pause between two operations of one administrator.
    pub control_pause_ms: u64,
    /// The largest filler of a message, in bytes.
    pub filler_bytes_max: u64,
    /// Whether a client of the SDK that could not be opened is opened again, as where nodes are still forming
    /// their region. Elsewhere it is an error that the application sees.
    pub opens_again: bool,
    /// Whose turn it is, of so many partitions; none: any of them at any time.
    pub turn: Option<fn(u32) -> u32>,
    /// Whether a copy that is asked today may be gone at the end: nobody asks single copies for their hash chain
    /// then, since only those that can be scanned at the end bear witness.
    pub copies_move: bool,
    /// A planted fault: ends are asked of one replica where a quorum should confirm them.
    pub unconfirmed_ends: bool,
}

/// Shared by all clients of a workload.
#[derive(Debug)]
pub struct Scene {
    /// The topic they work on.
    pub topic: String,
    /// Its partitions.
    pub partitions: u32,
    /// The history.
    pub recorder: Recorder,
    /// The figures.
    pub tally: Tally,
    /// How they work.
    pub manner: Manner,
    over: AtomicBool,
    next: AtomicU64,
}

impl Scene {
    /// A scene whose logical clients and sessions are numbered from `first` on.
    pub fn new(topic: &str, partitions: u32, recorder: Recorder, manner: Manner, first: u64) -> Self {
        Self {
            topic: topic.to_owned(),
            partitions,
            recorder,
            tally: Tally::default(),
            manner,
            over: AtomicBool::new(false),
            next: AtomicU64::new(first),
        }
    }

    /// The number of a logical client or a session, never given twice.
    pub fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// From now on clients only finish what they have begun.
    pub fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    /// Whether the work is over.
    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// A pause of a client.
    pub(crate) async fn pause(&self, ms: u64) {
        tokio::time::sleep(Duration::from_millis(ms)).await;
    }

    /// A partition to work on.
    pub fn any_partition(&self, chance: &mut Chance) -> u32 {
        let any = chance.between(0, u64::from(self.partitions) - 1) as u32;
        self.manner.turn.map_or(any, |turn| turn(self.partitions))
    }

    /// One of the keys that belong to a partition, in turn.
    pub fn key_of(&self, partition: u32, nth: u64) -> String {
        let keys = (0_u32..).map(|n| format!("key-{n}"));
        let mut fitting = keys.filter(|key| hash::partition_of(key.as_bytes(), self.partitions) == partition);
        fitting.nth((nth % KEYS_PARTITION) as usize).unwrap_or_default()
    }
}
