//! Faults planted on purpose, so that the tests can prove that they would see them.
//!
//! Without the feature `mutants` (and outside this crate's own tests) nothing of this is compiled:
//! `planted!` is the constant `false`.

#[cfg(any(test, feature = "mutants"))]
mod switch {
    use std::cell::Cell;

    /// A fault in the dispatcher.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Mutant {
        /// Some acks are confirmed and not settled.
        AckForgotten,
        /// An ack is confirmed before it is committed.
        ConfirmsEarly,
        /// An unknown outcome is taken for a commit.
        UnknownIsCommitted,
        /// What is settled is read and delivered again.
        RedeliversSettled,
        /// Every ack is taken, whoever owned the partition when the message was delivered.
        AcksUnfenced,
        /// An owner gets messages while its ownership is being committed.
        DeliversBeforeOwned,
        /// A new owner's deliveries carry the epoch of the one before.
        OwnerEpochKept,
        /// Deliveries carry an epoch that is over.
        DeliversOldEpoch,
        /// A message is given to somebody else while its lease goes on.
        DeliversTwice,
        /// Another consumer's message is acked.
        AcksForeign,
        /// A consumer may hold any number of messages.
        UnackedUnbounded,
        /// Credit is never used up.
        CreditNotSpent,
        /// Any number of holes is made.
        HolesUnbounded,
        /// A new message of a key goes to another consumer before the earlier ones are settled.
        KeyMovesEarly,
        /// Of the messages that wait for their key some are lost.
        ParkedLost,
        /// Delayed messages are delivered a moment early.
        DelayedEarly,
        /// Messages are delivered a moment after they expire.
        ExpiresLate,
        /// A message is dead one attempt early.
        DeadEarly,
        /// A failed attempt is not committed.
        AttemptNotCounted,
        /// A message is delivered again before its backoff is over.
        BackoffIgnored,
        /// A new dispatcher does not know of backoffs.
        BackoffForgotten,
        /// Consumers of an earlier dispatcher are not waited for.
        NoGrace,
        /// A consumer that holds messages is let go.
        DrainsEarly,
        /// Delayed messages are passed and the partition is not told.
        PassedUnnamed,
        /// The floor of the delayed lane passes what is not settled with it.
        FloorTooHigh,
        /// After an unknown outcome a failed attempt is named again, whether it counted or not.
        LooksAway,
        /// What is too much for one settlement is not settled from below.
        SettlesInDisorder,
        /// Delayed messages are acked as if they were of the main lane.
        AcksOtherLane,
    }

    impl Mutant {
        /// Every fault.
        pub const ALL: [Mutant; 28] = [
            Mutant::AckForgotten,
            Mutant::ConfirmsEarly,
            Mutant::UnknownIsCommitted,
            Mutant::RedeliversSettled,
            Mutant::AcksUnfenced,
            Mutant::DeliversBeforeOwned,
            Mutant::OwnerEpochKept,
            Mutant::DeliversOldEpoch,
            Mutant::DeliversTwice,
            Mutant::AcksForeign,
            Mutant::UnackedUnbounded,
            Mutant::CreditNotSpent,
            Mutant::HolesUnbounded,
            Mutant::KeyMovesEarly,
            Mutant::ParkedLost,
            Mutant::DelayedEarly,
            Mutant::ExpiresLate,
            Mutant::DeadEarly,
            Mutant::AttemptNotCounted,
            Mutant::BackoffIgnored,
            Mutant::BackoffForgotten,
            Mutant::NoGrace,
            Mutant::DrainsEarly,
            Mutant::PassedUnnamed,
            Mutant::FloorTooHigh,
            Mutant::LooksAway,
            Mutant::SettlesInDisorder,
            Mutant::AcksOtherLane,
        ];
    }

    thread_local! {
        static PLANTED: Cell<Option<Mutant>> = const { Cell::new(None) };
    }

    /// Runs `work` on this thread with the fault planted, and takes it out again.
    pub fn with_mutant<T>(mutant: Mutant, work: impl FnOnce() -> T) -> T {
        struct TakeOut;
        impl Drop for TakeOut {
            fn drop(&mut self) {
                PLANTED.set(None);
            }
        }
        PLANTED.set(Some(mutant));
        let _take_out = TakeOut;
        work()
    }

    pub(crate) fn is_planted(mutant: Mutant) -> bool {
        PLANTED.get() == Some(mutant)
    }
}

#[cfg(any(test, feature = "mutants"))]
pub(crate) use switch::is_planted;
#[cfg(any(test, feature = "mutants"))]
pub use switch::{Mutant, with_mutant};

#[cfg(any(test, feature = "mutants"))]
macro_rules! planted {
    ($fault:ident) => {
        $crate::planted::is_planted($crate::planted::Mutant::$fault)
    };
}

#[cfg(not(any(test, feature = "mutants")))]
macro_rules! planted {
    ($fault:ident) => {
        false
    };
}
