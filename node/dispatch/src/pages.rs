//! Batches of one partition that were read lately, decoded at most once for all who want them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use meridian_commitlog::StoredBatch;
use meridian_deliver::subscription::{BatchMeta, MessageMeta};
use meridian_model::{Batch, BatchError, Message, Offset, batch};

/// Bytes of batches that a partition keeps, however many there are.
const PARTITION_BYTES_MIN: usize = 256 * 1024;
/// Bytes of batches that a partition keeps at most.
const PARTITION_BYTES_MAX: usize = 16 * 1024 * 1024;

/// What the partitions of a node may keep together.
pub struct PageBudget {
    kept: AtomicUsize,
    bytes_max: usize,
}

impl PageBudget {
    /// So many bytes of batches, as stored and as decoded, and a little for each partition.
    pub fn new(bytes_max: usize) -> Self {
        Self { kept: AtomicUsize::new(0), bytes_max }
    }

    fn is_spent(&self) -> bool {
        self.kept.load(Ordering::Relaxed) > self.bytes_max
    }
}

/// A batch, and its messages once somebody wanted them.
pub(crate) struct Opened {
    pub(crate) stored: StoredBatch,
    batch: Batch,
    /// Key hash and raw length of each message.
    table: Vec<(u64, u32)>,
    pub(crate) producer: Bytes,
    messages: OnceLock<Result<Vec<Message>, BatchError>>,
}

impl Opened {
    fn open(stored: StoredBatch) -> Result<Self, BatchError> {
        let batch = Batch::trust(stored.bytes.clone())?;
        let table = batch::table(&batch).collect();
        let producer = Bytes::copy_from_slice(&batch.header().producer.0);
        Ok(Self { stored, batch, table, producer, messages: OnceLock::new() })
    }

    pub(crate) fn base(&self) -> Offset {
        self.stored.base
    }

    pub(crate) fn end(&self) -> Offset {
        self.stored.base.plus(u64::from(self.stored.count))
    }

    pub(crate) fn batch(&self) -> &Batch {
        &self.batch
    }

    /// Both the bytes as stored and as decoded: what is decoded later was counted from the beginning.
    fn bytes(&self) -> usize {
        let table = self.table.len() * size_of::<(u64, u32)>();
        self.stored.bytes.len() + self.batch.header().raw_bytes as usize + table
    }

    /// One of its messages.
    pub(crate) fn message(&self, offset: Offset) -> Result<&Message, BatchError> {
        let messages = self.messages.get_or_init(|| {
            self.batch.verify_payload()?;
            batch::decode_messages(&self.batch)
        });
        let messages = messages.as_ref().map_err(BatchError::clone)?;
        let at = offset.0.checked_sub(self.base().0).and_then(|at| messages.get(at as usize));
        at.ok_or(BatchError::Body("a message that is not in the batch"))
    }

    /// What a message takes of a consumer's credit in bytes.
    pub(crate) fn credit_bytes(&self, offset: Offset) -> u64 {
        let at = offset.0.checked_sub(self.base().0).and_then(|at| self.table.get(at as usize));
        at.map_or(0, |(_, bytes)| u64::from(*bytes))
    }

    /// What a dispatcher wants to know of it.
    pub(crate) fn meta(&self) -> BatchMeta {
        let header = self.batch.header();
        let message = |(key_hash, bytes): &(u64, u32)| MessageMeta { key_hash: *key_hash, bytes: *bytes };
        BatchMeta {
            base: self.base(),
            appended_at: self.stored.appended_at,
            deliver_at: header.deliver_at,
            expire_at: header.expire_at,
            messages: self.table.iter().map(message).collect(),
        }
    }
}

/// What one partition keeps. The oldest read goes first.
pub(crate) struct Pages {
    budget: Arc<PageBudget>,
    batches: BTreeMap<Offset, (u64, Arc<Opened>)>,
    /// By the order in which they were read.
    order: BTreeMap<u64, Offset>,
    read: u64,
    bytes: usize,
}

impl Pages {
    pub(crate) fn new(budget: Arc<PageBudget>) -> Self {
        Self { budget, batches: BTreeMap::new(), order: BTreeMap::new(), read: 0, bytes: 0 }
    }

    /// The batch that holds a message, if it is kept.
    pub(crate) fn holding(&self, offset: Offset) -> Option<&Arc<Opened>> {
        let (_, (_, opened)) = self.batches.range(..=offset).next_back()?;
        (offset < opened.end()).then_some(opened)
    }

    /// Batches from the one that holds `from` on, as far as they are kept without a hole, about `bytes` of them.
    pub(crate) fn run(&self, from: Offset, bytes: usize) -> Vec<Arc<Opened>> {
        let (mut next, mut total, mut run) = (from, 0, Vec::new());
        while let Some(opened) = self.holding(next)
            && (total == 0 || total + opened.stored.bytes.len() <= bytes)
        {
            total += opened.stored.bytes.len();
            next = opened.end();
            run.push(Arc::clone(opened));
        }
        run
    }

    /// Keeps a batch that was read.
    pub(crate) fn keep(&mut self, stored: StoredBatch) -> Result<Arc<Opened>, BatchError> {
        if let Some(opened) = self.holding(stored.base) {
            return Ok(Arc::clone(opened));
        }
        let opened = Arc::new(Opened::open(stored)?);
        self.read += 1;
        self.add(opened.bytes());
        self.order.insert(self.read, opened.base());
        self.batches.insert(opened.base(), (self.read, Arc::clone(&opened)));
        self.make_room();
        Ok(opened)
    }

    /// Forgets what the log no longer has.
    pub(crate) fn trim(&mut self, start: Offset) {
        while let Some((base, (_, opened))) = self.batches.first_key_value()
            && opened.end() <= start
        {
            let base = *base;
            self.forget(base);
        }
    }

    /// Forgets everything: nobody reads here at the moment.
    pub(crate) fn clear(&mut self) {
        self.batches.clear();
        self.order.clear();
        self.give_back(self.bytes);
    }

    fn make_room(&mut self) {
        let over = |pages: &Self| {
            pages.bytes > PARTITION_BYTES_MAX
                || (pages.budget.is_spent() && pages.bytes > PARTITION_BYTES_MIN)
        };
        while over(self)
            && self.batches.len() > 1
            && let Some((_, base)) = self.order.first_key_value()
        {
            let base = *base;
            self.forget(base);
        }
    }

    fn forget(&mut self, base: Offset) {
        if let Some((read, opened)) = self.batches.remove(&base) {
            self.order.remove(&read);
            self.give_back(opened.bytes());
        }
    }

    fn add(&mut self, bytes: usize) {
        self.bytes += bytes;
        self.budget.kept.fetch_add(bytes, Ordering::Relaxed);
    }

    fn give_back(&mut self, bytes: usize) {
        self.bytes -= bytes;
        self.budget.kept.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        self.clear();
    }
}
