//! The requests that are on their way: which number means what.

use std::collections::BTreeMap;

use super::claims::{Claim, Topic};
use super::fate::Waiter;
use super::hold::Slot;

/// A request that its answer will name by number.
#[derive(Debug)]
pub(super) enum Said {
    Claims { topic: Topic, claims: Vec<Claim> },
    Seek { waiter: Waiter },
}

/// Numbers and what they mean. Bounded: each partition has at most one request of each kind under each set of epochs
/// on its way, and seeks are bounded apart.
#[derive(Debug, Default)]
pub(super) struct Book {
    last: u64,
    open: BTreeMap<u64, Said>,
}

impl Book {
    /// A number for what is about to be said. Numbers begin at one and rise, over all streams.
    pub(super) fn say(&mut self, said: Said) -> u64 {
        self.last += 1;
        self.open.insert(self.last, said);
        self.last
    }

    /// An answer came. `None`: to something that was given up, or never said.
    pub(super) fn answered(&mut self, request: u64) -> Option<Said> {
        self.open.remove(&request)
    }

    /// The stream broke: nothing will be answered.
    pub(super) fn lose_all(&mut self) -> Vec<Said> {
        std::mem::take(&mut self.open).into_values().collect()
    }

    /// A partition is away: nothing about it will be answered.
    pub(super) fn lose(&mut self, slot: Slot) -> Vec<Said> {
        let of_slot = |said: &Said| matches!(said, Said::Claims { topic: (of, ..), .. } if *of == slot);
        let lost: Vec<u64> =
            self.open.iter().filter(|(_, said)| of_slot(said)).map(|(request, _)| *request).collect();
        lost.into_iter().filter_map(|request| self.open.remove(&request)).collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::super::claims::Verb;
    use super::super::hold::Epochs;
    use super::*;

    fn about(slot: u32) -> Said {
        let topic = (Slot(slot), Epochs::default(), Verb::Ack);
        Said::Claims { topic, claims: Vec::new() }
    }

    #[test]
    fn an_answer_finds_what_it_answers_once() {
        let mut book = Book::default();
        let (first, second) = (book.say(about(1)), book.say(about(2)));
        assert_eq!((first, second), (1, 2));
        assert!(matches!(book.answered(2), Some(Said::Claims { topic: (Slot(2), ..), .. })));
        assert!(book.answered(2).is_none() && book.answered(99).is_none());
    }

    #[test]
    fn what_is_lost_with_a_partition_is_no_more_than_what_was_said_about_it() {
        let mut book = Book::default();
        for slot in [1, 2, 1] {
            book.say(about(slot));
        }
        book.say(Said::Seek { waiter: Waiter::nobody() });
        assert_eq!((book.lose(Slot(1)).len(), book.lose_all().len()), (2, 2));
        assert!(book.is_empty());
        assert_eq!(book.say(about(1)), 5, "numbers go on rising");
    }
}
