//! Faults planted on purpose, so that the tests can prove that they would see them.
//!
//! Without the feature `mutants` (and outside this crate's own tests) nothing of this is compiled:
//! `planted!` is the constant `false`.

#[cfg(any(test, feature = "mutants"))]
mod switch {
    use std::cell::Cell;

    /// A fault in the partition machine.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Mutant {
        /// A resent batch is stored a second time.
        StoresDuplicate,
        /// A batch that leaves a gap is stored.
        StoresAfterGap,
        /// The oldest batch of the window is forgotten one too early.
        WindowOneShort,
        /// A fence raises the epoch but keeps counting where the old one stopped.
        FenceKeepsSequence,
        /// A fence leaves the old epoch's batches in the window.
        FenceKeepsWindow,
        /// A named producer raises its epoch without a fence.
        AppendRaisesNamedEpoch,
        /// A fenced epoch still writes.
        StoresStaleEpoch,
        /// An expired token is accepted.
        TokenNeverExpires,
        /// A duplicate consumes offsets.
        DuplicateTakesOffsets,
        /// The chain does not cover the offset.
        ChainWithoutOffset,
        /// Age trim removes what is exactly as old as the cutoff.
        TrimsAtCutoff,
        /// Size trim removes one segment too many.
        TrimsBelowKeptBytes,
        /// A sealed partition stores.
        SealStores,
        /// A stamp may go back.
        StampGoesBack,
        /// Forgetting forgets named producers too.
        ForgetsNamed,
        /// An old policy replaces a newer one.
        OldPolicyWins,
        /// Of two batches of one producer in one entry only the first reaches the window's rows.
        LosesSecondRow,
    }

    impl Mutant {
        /// Every fault.
        pub const ALL: [Mutant; 17] = [
            Mutant::StoresDuplicate,
            Mutant::StoresAfterGap,
            Mutant::WindowOneShort,
            Mutant::FenceKeepsSequence,
            Mutant::FenceKeepsWindow,
            Mutant::AppendRaisesNamedEpoch,
            Mutant::StoresStaleEpoch,
            Mutant::TokenNeverExpires,
            Mutant::DuplicateTakesOffsets,
            Mutant::ChainWithoutOffset,
            Mutant::TrimsAtCutoff,
            Mutant::TrimsBelowKeptBytes,
            Mutant::SealStores,
            Mutant::StampGoesBack,
            Mutant::ForgetsNamed,
            Mutant::OldPolicyWins,
            Mutant::LosesSecondRow,
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
