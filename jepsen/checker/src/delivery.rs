//! Exactly once, in order per key: what a demonstration claims, judged on what it read back.
//!
//! No times, no offsets: a list of what was published, and for each replica a list of what it returned.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
};

use serde::Serialize;

/// One record, as published or as read back.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Record {
    /// What tells it from every other record.
    pub id: String,
    /// Its ordering key.
    pub key: String,
}

impl Record {
    /// A record.
    pub fn new(id: impl Into<String>, key: impl Into<String>) -> Self {
        Self { id: id.into(), key: key.into() }
    }
}

/// How a replica's copy differs from what was published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "fault", rename_all = "snake_case")]
pub enum DeliveryFault {
    /// Published, not read back.
    Lost {
        /// Where.
        replica: String,
        /// What.
        record: Record,
    },
    /// Read back more than once.
    Doubled {
        /// Where.
        replica: String,
        /// What.
        record: Record,
        /// How often.
        times: u64,
    },
    /// Read back before a record of its key that was published earlier.
    OutOfOrder {
        /// Where.
        replica: String,
        /// What came too late.
        record: Record,
        /// What came before it and should not have.
        after: Record,
    },
    /// Read back, never published, or under another key than it was published with.
    Unexpected {
        /// Where.
        replica: String,
        /// What.
        record: Record,
    },
    /// Published under an id that another record has: the question is not well put.
    Ambiguous {
        /// What.
        record: Record,
    },
}

impl fmt::Display for DeliveryFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost { replica, record } => write!(f, "{replica}: {record} was lost"),
            Self::Doubled { replica, record, times } => write!(f, "{replica}: {record} came {times} times"),
            Self::OutOfOrder { replica, record, after } => {
                write!(f, "{replica}: {record} came after {after}, which was published later")
            }
            Self::Unexpected { replica, record } => write!(f, "{replica}: {record} was never published"),
            Self::Ambiguous { record } => write!(f, "{record} was published twice under one id"),
        }
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "record {} (key {})", self.id, self.key)
    }
}

/// The judgement of a read-back.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct DeliveryReport {
    /// Records published.
    pub published: u64,
    /// Keys among them.
    pub keys: u64,
    /// Replicas read back.
    pub replicas: u64,
    /// Everything that is wrong.
    pub faults: Vec<DeliveryFault>,
}

impl DeliveryReport {
    /// Whether every record is on every replica exactly once and in order, and there was something to find.
    pub fn is_pass(&self) -> bool {
        self.faults.is_empty() && self.published > 0 && self.replicas > 0
    }
}

impl fmt::Display for DeliveryReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { published, keys, replicas, faults } = self;
        writeln!(f, "{published} records of {keys} keys on {replicas} replicas: {} faults", faults.len())?;
        faults.iter().try_for_each(|fault| writeln!(f, "  {fault}"))
    }
}

/// Compares what was published, in the order of publishing per key, with what each replica returned.
///
/// Records of different keys may come in any order, so partitions can be read one after the other.
pub fn check_delivery(published: &[Record], read_back: &BTreeMap<String, Vec<Record>>) -> DeliveryReport {
    let mut faults = Vec::new();
    let mut place: HashMap<&str, usize> = HashMap::new();
    for (nth, record) in published.iter().enumerate() {
        if place.insert(&record.id, nth).is_some() {
            faults.push(DeliveryFault::Ambiguous { record: record.clone() });
        }
    }
    for (replica, records) in read_back {
        check_replica(replica, published, &place, records, &mut faults);
    }
    let keys: BTreeSet<&str> = published.iter().map(|record| record.key.as_str()).collect();
    DeliveryReport {
        published: published.len() as u64,
        keys: keys.len() as u64,
        replicas: read_back.len() as u64,
        faults,
    }
}

fn check_replica(
    replica: &str,
    published: &[Record],
    place: &HashMap<&str, usize>,
    records: &[Record],
    faults: &mut Vec<DeliveryFault>,
) {
    let replica = || replica.to_owned();
    let mut times = vec![0u64; published.len()];
    let mut latest: BTreeMap<&str, usize> = BTreeMap::new();
    for record in records {
        let nth = place.get(record.id.as_str()).copied().filter(|&nth| published[nth] == *record);
        let Some(nth) = nth else {
            faults.push(DeliveryFault::Unexpected { replica: replica(), record: record.clone() });
            continue;
        };
        times[nth] += 1;
        if times[nth] > 1 {
            continue;
        }
        let latest = latest.entry(&record.key).or_insert(nth);
        if nth < *latest {
            let (record, after) = (record.clone(), published[*latest].clone());
            faults.push(DeliveryFault::OutOfOrder { replica: replica(), record, after });
        }
        *latest = nth.max(*latest);
    }
    for (record, &times) in published.iter().zip(&times) {
        let record = || record.clone();
        match times {
            0 => faults.push(DeliveryFault::Lost { replica: replica(), record: record() }),
            1 => {}
            times => faults.push(DeliveryFault::Doubled { replica: replica(), record: record(), times }),
        }
    }
}
