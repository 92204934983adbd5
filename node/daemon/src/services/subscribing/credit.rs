//! One consumer's credit, spread over the partitions that it is attached to.
//!
//! A dispatcher delivers only what it was granted. Each partition is granted an equal part of what the consumer
//! takes, but at least one message while there is any credit at all, so that no idle partition keeps a busy one
//! waiting. What comes beyond the credit for that reason waits here.

use std::collections::BTreeMap;

/// Messages that one partition is granted at most.
const MESSAGES_MAX: u64 = 2_048;
/// Bytes that one partition is granted at least, while there is credit: a message may be that large.
const BYTES_MIN: u64 = 64 * 1024;
/// Bytes that one partition is granted at most.
const BYTES_MAX: u64 = 16 * 1024 * 1024;
/// The most credit that a consumer may have.
pub(super) const CREDIT_MESSAGES_MAX: u64 = 1_000_000;
pub(super) const CREDIT_BYTES_MAX: u64 = 1 << 32;

/// Messages and bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Amount {
    pub(super) messages: u64,
    pub(super) bytes: u64,
}

/// What the consumer takes, and what partitions were granted of it.
#[derive(Debug, Default)]
pub(super) struct Credit {
    /// Below zero where the last message took more than was left.
    messages: i64,
    bytes: i64,
    granted: BTreeMap<u32, Amount>,
}

impl Credit {
    /// The consumer takes more. `false`: more than it may, and nothing is changed.
    pub(super) fn add(&mut self, more: Amount) -> bool {
        if more.messages > CREDIT_MESSAGES_MAX || more.bytes > CREDIT_BYTES_MAX {
            return false;
        }
        let (messages, bytes) = (self.messages + more.messages as i64, self.bytes + more.bytes as i64);
        let within = messages <= CREDIT_MESSAGES_MAX as i64 && bytes <= CREDIT_BYTES_MAX as i64;
        if within {
            (self.messages, self.bytes) = (messages, bytes);
        }
        within
    }

    /// Whether the consumer takes anything.
    pub(super) fn is_left(&self) -> bool {
        self.messages > 0 && self.bytes > 0
    }

    /// Something was sent to the consumer.
    pub(super) fn spend(&mut self, spent: Amount) {
        self.messages = self.messages.saturating_sub_unsigned(spent.messages);
        self.bytes = self.bytes.saturating_sub_unsigned(spent.bytes);
    }

    /// A partition is attached: nothing is granted to it yet.
    pub(super) fn attached(&mut self, source: u32) {
        self.granted.insert(source, Amount::default());
    }

    /// A partition is attached no more; what it was granted is forgotten.
    pub(super) fn detached(&mut self, source: u32) {
        self.granted.remove(&source);
    }

    /// Something came from a partition.
    pub(super) fn came(&mut self, source: u32, amount: Amount) {
        if let Some(granted) = self.granted.get_mut(&source) {
            granted.messages = granted.messages.saturating_sub(amount.messages);
            granted.bytes = granted.bytes.saturating_sub(amount.bytes);
        }
    }

    /// What is to be granted now.
    pub(super) fn grants(&mut self) -> Vec<(u32, Amount)> {
        if !self.is_left() || self.granted.is_empty() {
            return Vec::new();
        }
        let partitions = self.granted.len() as u64;
        let messages = (self.messages as u64 / partitions).clamp(1, MESSAGES_MAX);
        let bytes = (self.bytes as u64 / partitions).clamp(BYTES_MIN, BYTES_MAX);
        let mut grants = Vec::new();
        for (source, granted) in &mut self.granted {
            // Granted in few, large steps.
            if granted.messages <= messages / 2 || granted.bytes <= bytes / 2 {
                let more = Amount {
                    messages: messages.saturating_sub(granted.messages),
                    bytes: bytes.saturating_sub(granted.bytes),
                };
                granted.messages += more.messages;
                granted.bytes += more.bytes;
                grants.push((*source, more));
            }
        }
        grants
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn amount(messages: u64, bytes: u64) -> Amount {
        Amount { messages, bytes }
    }

    #[test]
    fn each_partition_is_granted_an_equal_part_in_large_steps() {
        let mut credit = Credit::default();
        (0..4).for_each(|source| credit.attached(source));
        assert_eq!(credit.grants(), []);
        assert!(credit.add(amount(1_000, 4 << 20)));
        assert_eq!(credit.grants(), (0..4).map(|source| (source, amount(250, 1 << 20))).collect::<Vec<_>>());
        credit.came(1, amount(100, 1_000));
        credit.spend(amount(100, 1_000));
        assert_eq!(credit.grants(), [], "half of it is left");
        credit.came(1, amount(45, 1_000));
        credit.spend(amount(45, 1_000));
        let [(1, more)] = credit.grants()[..] else { panic!("one grant") };
        assert_eq!(more.messages, 855 / 4 - 105);
    }

    #[test]
    fn every_partition_may_send_while_there_is_any_credit() {
        let mut credit = Credit::default();
        (0..100).for_each(|source| credit.attached(source));
        assert!(credit.add(amount(3, 1)));
        assert_eq!(credit.grants().len(), 100);
        credit.came(7, amount(1, 10));
        credit.spend(amount(3, 10));
        assert_eq!(credit.grants(), [], "there is none left");
        assert!(!credit.is_left());
    }

    #[test]
    fn too_much_credit_is_refused_and_changes_nothing() {
        let mut credit = Credit::default();
        assert!(credit.add(amount(5, 5)));
        assert!(!credit.add(amount(CREDIT_MESSAGES_MAX, 0)));
        assert!(!credit.add(amount(0, u64::MAX)));
        assert!(credit.is_left());
        credit.spend(amount(5, 9));
        assert!(!credit.is_left());
        assert!(credit.add(amount(1, 4)));
        assert!(!credit.is_left(), "a message that took more than was left is paid for");
        assert!(credit.add(amount(0, 1)));
        assert!(credit.is_left());
    }
}
