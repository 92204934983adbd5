//! Credit: how much more the node may send, so that what waits here stays within its bounds.

use meridian_model::limits;

/// Messages that a node may send beyond what it was granted: one frame, which may be a whole batch.
const BEYOND_MAX: u64 = limits::BATCH_MESSAGES_MAX as u64;

/// So many messages, and bytes of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Amount {
    pub(super) messages: u64,
    pub(super) bytes: u64,
}

impl Amount {
    /// One message that takes so many bytes in its batch.
    pub(super) fn one(bytes: u64) -> Self {
        Self { messages: 1, bytes }
    }
}

/// What a consumer has room for, what it has promised to take, and what waits.
#[derive(Debug)]
pub(super) struct Credit {
    max: Amount,
    /// Messages that are held and not settled, those that wait included.
    held_max: u64,
    granted_messages: u64,
    /// Below zero: the last message was larger than what was left.
    granted_bytes: i64,
    waiting: Amount,
}

impl Credit {
    pub(super) fn new(max: Amount, held_max: u64) -> Self {
        Self { max, held_max, granted_messages: 0, granted_bytes: 0, waiting: Amount::default() }
    }

    /// What a new stream begins with. What an earlier one was granted is void.
    pub(super) fn begin(&mut self, held: u64) -> Amount {
        (self.granted_messages, self.granted_bytes) = (0, 0);
        let room = self.room(held);
        self.grant(room)
    }

    /// What is to be granted now: all there is room for, once that is half of what there can be, or nothing is left
    /// to do.
    pub(super) fn due(&mut self, held: u64) -> Option<Amount> {
        self.is_due(held).then(|| self.grant(self.room(held)))
    }

    /// Whether something is to be granted now.
    pub(super) fn is_due(&self, held: u64) -> bool {
        let (room, idle) = (self.room(held), self.waiting.messages == 0);
        let messages = room.messages > 0
            && (room.messages >= self.max.messages.div_ceil(2) || (idle && self.granted_messages == 0));
        let bytes =
            room.bytes > 0 && (room.bytes >= self.max.bytes.div_ceil(2) || (idle && self.granted_bytes <= 0));
        messages || bytes
    }

    /// Messages came. `false`: far more than ever fitted.
    pub(super) fn arrived(&mut self, came: Amount) -> bool {
        self.granted_messages = self.granted_messages.saturating_sub(came.messages);
        self.granted_bytes = self.granted_bytes.saturating_sub_unsigned(came.bytes);
        self.waiting.messages += came.messages;
        self.waiting.bytes += came.bytes;
        self.waiting.messages <= self.max.messages.saturating_mul(4).saturating_add(BEYOND_MAX)
    }

    /// Messages wait no longer.
    pub(super) fn taken(&mut self, gone: Amount) {
        self.waiting.messages = self.waiting.messages.saturating_sub(gone.messages);
        self.waiting.bytes = self.waiting.bytes.saturating_sub(gone.bytes);
    }

    fn room(&self, held: u64) -> Amount {
        let waiting = self.max.messages.saturating_sub(self.waiting.messages);
        let messages = waiting.min(self.held_max.saturating_sub(held));
        let bytes = self.max.bytes.saturating_sub(self.waiting.bytes);
        Amount {
            messages: messages.saturating_sub(self.granted_messages),
            bytes: u64::try_from(bytes.cast_signed().saturating_sub(self.granted_bytes)).unwrap_or(0),
        }
    }

    fn grant(&mut self, more: Amount) -> Amount {
        self.granted_messages += more.messages;
        self.granted_bytes = self.granted_bytes.saturating_add_unsigned(more.bytes);
        more
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credit() -> Credit {
        let mut credit = Credit::new(Amount { messages: 10, bytes: 1_000 }, 100);
        assert_eq!(credit.begin(0), Amount { messages: 10, bytes: 1_000 });
        credit
    }

    #[test]
    fn more_is_granted_once_half_is_free() {
        let mut credit = credit();
        for held in 1..=10 {
            assert!(credit.arrived(Amount::one(10)));
            assert_eq!(credit.due(held), None, "everything waits");
        }
        for _ in 0..4 {
            credit.taken(Amount::one(10));
            assert_eq!(credit.due(10), None);
        }
        credit.taken(Amount::one(10));
        assert_eq!(credit.due(10), Some(Amount { messages: 5, bytes: 50 }));
        assert_eq!(credit.due(10), None, "once");
    }

    #[test]
    fn a_few_large_messages_are_bounded_by_their_bytes() {
        let mut credit = credit();
        assert!(credit.arrived(Amount::one(1_200)));
        assert_eq!(credit.due(1), None);
        credit.taken(Amount::one(1_200));
        assert_eq!(credit.due(1), Some(Amount { messages: 1, bytes: 1_200 }));
    }

    #[test]
    fn what_is_held_and_not_settled_is_bounded_too() {
        let mut credit = Credit::new(Amount { messages: 10, bytes: 1_000 }, 12);
        credit.begin(0);
        for _ in 0..10 {
            credit.arrived(Amount::one(1));
            credit.taken(Amount::one(1));
        }
        assert_eq!(credit.due(10).map(|more| more.messages), Some(2), "a little, when there is nothing else");
        credit.arrived(Amount { messages: 2, bytes: 2 });
        credit.taken(Amount { messages: 2, bytes: 2 });
        assert_eq!(credit.due(12), None);
        assert_eq!(credit.due(3).map(|more| more.messages), Some(9));
    }

    #[test]
    fn a_new_stream_begins_with_what_is_free_and_a_flood_is_noticed() {
        let mut credit = credit();
        credit.arrived(Amount { messages: 4, bytes: 400 });
        assert_eq!(credit.begin(4), Amount { messages: 6, bytes: 600 });
        assert!(credit.arrived(Amount { messages: BEYOND_MAX, bytes: 0 }));
        assert!(!credit.arrived(Amount { messages: 40, bytes: 0 }));
    }
}
