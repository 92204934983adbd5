//! What a partition is known to hold, as far as subscriptions care: identity, key, times, and when it was sent.

use std::collections::HashMap;

use meridian_history::{MessageId, Op, Sent, Times};

use crate::{
    partition_view::PartitionView,
    sub_view::{Handed, Lane},
};

/// One message at its offset.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stored<'a> {
    pub(crate) id: &'a MessageId,
    pub(crate) key: Option<&'a str>,
    pub(crate) times: Times,
    /// When its first attempt began; zero if nobody recorded that.
    pub(crate) sent_ns: u64,
    /// When an ack of it had come.
    pub(crate) acked_ns: Option<u64>,
}

impl<'a> Lane<'a> {
    /// Brings together what producers, readers and consumers knew. The producer's word on times and keys counts:
    /// a server that changes them on the way must not excuse itself with that.
    pub(crate) fn learn(&mut self, view: Option<&PartitionView<'a>>) {
        if let Some(view) = view {
            self.learn_log(view);
        }
        for handed in &self.handed {
            let what = handed.what;
            let key = what.key.as_deref();
            let fresh = Stored { id: &what.id, key, times: what.times, sent_ns: 0, acked_ns: None };
            self.stored.entry(what.offset).or_insert(fresh);
        }
    }

    fn learn_log(&mut self, view: &PartitionView<'a>) {
        let mut sent: HashMap<&MessageId, (&'a Op, &'a Sent)> = HashMap::new();
        for &(op, call) in &view.publishes {
            for each in &call.messages {
                sent.entry(&each.id).or_insert((op, each));
            }
        }
        let mut acked: HashMap<&MessageId, u64> = HashMap::new();
        for ack in view.acks() {
            let at = ack.op.complete_ns.unwrap_or(u64::MAX);
            acked.entry(ack.id).and_modify(|known| *known = at.min(*known)).or_insert(at);
        }
        for (&offset, &id) in &view.placed {
            let (key, times, sent_ns) = match sent.get(id) {
                Some((op, each)) => (each.key.as_deref(), each.times, op.invoke_ns),
                None => (None, Times::default(), 0),
            };
            let acked_ns = acked.get(id).copied();
            self.stored.insert(offset, Stored { id, key, times, sent_ns, acked_ns });
        }
        let asked = view.starts.iter().filter_map(|(_, call)| call.start);
        let scanned = view.scans.iter().filter_map(|(_, call)| Some(call.scan.as_ref()?.start));
        self.trimmed = asked.chain(scanned).max().unwrap_or(0);
    }

    /// A message cannot have been sent to a consumer before this: it was asked for, and it was published.
    pub(crate) fn sent_after_ns(&self, handed: &Handed<'_>) -> u64 {
        let published = self.stored.get(&handed.what.offset).map_or(0, |stored| stored.sent_ns);
        handed.op.invoke_ns.max(published).min(handed.came_ns())
    }

    /// When a message may be delivered.
    pub(crate) fn times(&self, offset: u64) -> Times {
        self.stored.get(&offset).map_or_else(Times::default, |stored| stored.times)
    }
}
