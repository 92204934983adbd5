//! A consumer, as it sees itself.

use std::collections::BTreeMap;

use meridian_model::ConsumerId;

use crate::subscription::{Epochs, KeyRange};

/// A message that it holds, as far as it knows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hold {
    pub(super) under: Epochs,
}

/// What it said and awaits an answer for.
#[derive(Clone, Debug, Default)]
pub(super) struct Sent {
    pub(super) acked: Vec<u64>,
    /// Messages, and the attempts that were committed then.
    pub(super) nacked: Vec<(u64, u32)>,
    pub(super) seek_epoch: u64,
}

/// A consumer.
#[derive(Clone, Debug, Default)]
pub(super) struct Client {
    pub(super) id: ConsumerId,
    pub(super) connected: bool,
    /// Its stream broke then.
    pub(super) lost_at: Option<u64>,
    pub(super) draining: bool,
    pub(super) priority: u32,
    pub(super) ranges: Vec<KeyRange>,
    pub(super) holds: BTreeMap<u64, Hold>,
    pub(super) sent: BTreeMap<u64, Sent>,
    pub(super) messages: u64,
    pub(super) bytes: i64,
    pub(super) requests: u64,
}

impl Client {
    /// Forgets its stream. What it holds it still holds.
    pub(super) fn disconnect(&mut self) {
        self.connected = false;
        self.draining = false;
        self.sent.clear();
        (self.messages, self.bytes) = (0, 0);
    }
}
