//! What clients have done so far, for waiting on progress and for the figures at the end.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Result;
use meridian_history::MessageId;
use serde::Serialize;

use crate::wait;

/// Counters that all clients of a workload share.
#[derive(Debug, Default)]
pub struct Tally {
    state: Mutex<Counts>,
}

/// The figures.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Counts {
    /// Messages acked.
    pub acked: u64,
    /// Messages read, each time they were read.
    pub read: u64,
    /// Attempts of the raw clients by how they ended: `ok`, `duplicate`, or the reason.
    pub attempts: BTreeMap<String, u64>,
    /// Attempts whose outcome is unknown.
    pub unknown: u64,
    /// Metadata answers.
    pub control: u64,
    /// Producers with a name of their own that were opened.
    pub openings: u64,
    /// Errors that the SDK let through to the application. A fault it should have hidden ends up here.
    pub sdk_errors: Vec<String>,
    /// Every acked message by partition and offset.
    #[serde(skip)]
    pub ledger: BTreeMap<(u32, u64), MessageId>,
}

impl Tally {
    /// A copy of the figures.
    pub fn counts(&self) -> Counts {
        self.state().clone()
    }

    /// Messages acked so far.
    pub fn acked(&self) -> u64 {
        self.state().acked
    }

    /// The acked messages of a partition from an offset on.
    pub fn acked_from(&self, partition: u32, offset: u64) -> BTreeMap<u64, MessageId> {
        let state = self.state();
        let range = state.ledger.range((partition, offset)..(partition + 1, 0));
        range.map(|((_, offset), id)| (*offset, id.clone())).collect()
    }

    /// Waits until this many more messages are acked.
    ///
    /// # Errors
    /// If they are not in time.
    pub async fn await_acks(&self, more: u64, within: Duration) -> Result<()> {
        let goal = self.acked() + more;
        let what = format!("{more} more acked messages");
        wait::until(&what, within, async || (self.acked() >= goal).then_some(())).await
    }

    /// Waits until this many more messages are read.
    ///
    /// # Errors
    /// If they are not in time.
    pub async fn await_reads(&self, more: u64, within: Duration) -> Result<()> {
        let goal = self.state().read + more;
        let what = format!("{more} more messages that are read");
        wait::until(&what, within, async || (self.state().read >= goal).then_some(())).await
    }

    /// Waits until a producer with a name of its own is opened, if none was so far: fencing is at work then.
    ///
    /// # Errors
    /// If none is in time.
    pub async fn await_opening(&self, within: Duration) -> Result<()> {
        wait::until("a named producer's opening", within, async || (self.state().openings > 0).then_some(()))
            .await
    }

    /// A producer with a name of its own is open.
    pub fn opened(&self) {
        self.state().openings += 1;
    }

    /// A message is acked.
    pub fn ack(&self, partition: u32, offset: u64, id: &MessageId) {
        let mut state = self.state();
        state.acked += 1;
        state.ledger.insert((partition, offset), id.clone());
    }

    /// An attempt of a raw client ended like this.
    pub fn attempt(&self, how: &str) {
        *self.state().attempts.entry(how.to_owned()).or_default() += 1;
    }

    /// An attempt ended, and nobody knows how.
    pub fn unknown(&self) {
        self.state().unknown += 1;
    }

    /// So many messages were read.
    pub fn read(&self, messages: usize) {
        self.state().read += messages as u64;
    }

    /// Metadata were answered.
    pub fn control(&self) {
        self.state().control += 1;
    }

    /// The SDK let an error through to the application.
    pub fn sdk_error(&self, what: &str, error: &meridian_sdk::Error) {
        self.state().sdk_errors.push(format!("{what}: {error}"));
    }

    fn state(&self) -> MutexGuard<'_, Counts> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
