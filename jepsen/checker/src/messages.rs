//! Every message ever handed to a partition, with the fate of all attempts to send it.

use std::collections::HashMap;

use meridian_history::{MessageId, Op, Outcome, Publish};

/// One message over all its attempts.
#[derive(Debug)]
pub(crate) struct Message<'a> {
    pub(crate) id: &'a MessageId,
    pub(crate) crc: u32,
    /// False if the producer is at-least-once: then it may be stored more than once, in any order.
    pub(crate) sequenced: bool,
    /// When its first attempt began.
    pub(crate) invoke_ns: u64,
    /// First attempt.
    pub(crate) op: u64,
    /// Whether every attempt definitely failed.
    pub(crate) failed: bool,
    /// The lowest offset it was acked or read at.
    pub(crate) offset: Option<u64>,
}

/// The messages of one partition.
#[derive(Debug, Default)]
pub(crate) struct Messages<'a> {
    all: Vec<Message<'a>>,
    by_id: HashMap<&'a MessageId, usize>,
}

impl<'a> Messages<'a> {
    /// Takes in one attempt; attempts come in order of invocation. Complains about a changed payload.
    pub(crate) fn attempt(&mut self, op: &'a Op, call: &'a Publish, complaints: &mut Vec<String>) {
        let failed = op.outcome == Outcome::Fail;
        for sent in &call.messages {
            let Some(&known) = self.by_id.get(&sent.id) else {
                self.by_id.insert(&sent.id, self.all.len());
                self.all.push(Message {
                    id: &sent.id,
                    crc: sent.crc,
                    sequenced: call.sequenced,
                    invoke_ns: op.invoke_ns,
                    op: op.id,
                    failed,
                    offset: None,
                });
                continue;
            };
            let message = &mut self.all[known];
            message.failed &= failed;
            if message.crc != sent.crc || message.sequenced != call.sequenced {
                complaints.push(format!("op {}: {} was sent again as something else", op.id, sent.id));
            }
        }
    }

    /// Notes that a message was acked or read at an offset.
    pub(crate) fn found_at(&mut self, id: &MessageId, offset: u64) {
        if let Some(&known) = self.by_id.get(id) {
            let known = &mut self.all[known].offset;
            *known = Some(known.map_or(offset, |lowest| lowest.min(offset)));
        }
    }

    pub(crate) fn get(&self, id: &MessageId) -> Option<&Message<'a>> {
        self.by_id.get(id).map(|&known| &self.all[known])
    }

    /// In order of first attempt.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &Message<'a>> {
        self.all.iter()
    }
}
