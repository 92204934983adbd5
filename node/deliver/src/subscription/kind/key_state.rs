//! What is known of a key while some message of it is not settled.

use std::collections::VecDeque;

use super::{KeyChange, Message, Seat};

/// A key with messages that are not settled.
#[derive(Debug, Default)]
pub(super) struct KeyState {
    /// Who has its messages. `None`: whoever had them is gone.
    pub(super) holder: Option<Seat>,
    held: u32,
    deciding: u32,
    loose: u32,
    /// Some message was with another consumer before. New ones wait until it is delivered again or settled.
    pub(super) moved: bool,
    /// New messages that wait for the earlier ones.
    pub(super) parked: VecDeque<Message>,
}

impl KeyState {
    pub(super) fn change(&mut self, change: KeyChange) {
        let less = |count: &mut u32| *count = count.saturating_sub(1);
        match change {
            KeyChange::Taken(seat) => {
                self.holder.get_or_insert(seat);
                self.held += 1;
            }
            KeyChange::TakenAgain(seat) => {
                self.holder = Some(seat);
                self.held += 1;
                less(&mut self.loose);
            }
            KeyChange::Loosened => {
                self.loose += 1;
                less(&mut self.held);
            }
            KeyChange::HeldDecided => {
                self.deciding += 1;
                less(&mut self.held);
            }
            KeyChange::LooseDecided => {
                self.deciding += 1;
                less(&mut self.loose);
            }
            KeyChange::DecidedLoose => {
                self.loose += 1;
                less(&mut self.deciding);
            }
            KeyChange::Settled => less(&mut self.deciding),
            KeyChange::ReadLoose => {
                self.loose += 1;
                // Who had it is not known. Whoever holds the key holds it for another message, of the other lane perhaps.
                self.moved = true;
            }
            KeyChange::HeldGone => less(&mut self.held),
            KeyChange::LooseGone => less(&mut self.loose),
        }
        self.moved &= self.loose + self.deciding > 0;
    }

    /// Whether every message of the key is settled, as far as it was delivered.
    pub(super) fn is_over(&self) -> bool {
        self.held + self.deciding + self.loose == 0
    }

    /// Its consumer went.
    pub(super) fn orphan(&mut self) {
        self.holder = None;
        self.moved = self.loose + self.deciding > 0;
    }

    /// Whether a new message may go to this consumer, apart from those that are parked.
    pub(super) fn is_open_to(&self, seat: Seat) -> bool {
        if planted!(KeyMovesEarly) {
            return true;
        }
        self.holder == Some(seat) && !self.moved
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Found by a random schedule: the holder had got a delayed message, and then an earlier one was read that
    /// somebody else had acked, which was not committed.
    #[test]
    fn a_message_that_somebody_had_before_closes_its_key_even_to_who_holds_another() {
        let (mut state, holder) = (KeyState::default(), Seat(1));
        state.change(KeyChange::Taken(holder));
        assert!(state.is_open_to(holder));
        state.change(KeyChange::ReadLoose);
        state.change(KeyChange::LooseDecided);
        assert!(!state.is_open_to(holder), "it is not settled");
        state.change(KeyChange::Settled);
        assert!(state.is_open_to(holder));
    }
}
