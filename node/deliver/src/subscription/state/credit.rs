//! Credit of a consumer, in messages and bytes.

/// How much may still be delivered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::subscription) struct Credit {
    messages: u64,
    /// Below zero after a message that was larger than what was left: every message can be delivered some day.
    bytes: i64,
}

impl Credit {
    pub(in crate::subscription) fn is_left(&self) -> bool {
        self.messages > 0 && self.bytes > 0
    }

    /// Adds credit, unless that is more than the most.
    pub(in crate::subscription) fn grant(&mut self, messages: u64, bytes: u64, max: (u64, u64)) -> bool {
        let sum = self.messages.saturating_add(messages);
        let room = i128::from(max.1) - i128::from(self.bytes);
        if sum > max.0 || i128::from(bytes) > room {
            return false;
        }
        self.messages = sum;
        // Not above the most, which is far from the ends of the type.
        self.bytes = self.bytes.saturating_add(i64::try_from(bytes).unwrap_or(i64::MAX));
        true
    }

    pub(in crate::subscription) fn spend(&mut self, bytes: u32) {
        if planted!(CreditNotSpent) {
            return;
        }
        self.messages = self.messages.saturating_sub(1);
        self.bytes -= i64::from(bytes);
    }
}
