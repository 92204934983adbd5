//! Faults planted on purpose, so that the tests can prove that they would see them.
//!
//! Without the feature `mutants` (and outside this crate's own tests) nothing of this is compiled:
//! `planted!` is the constant `false`.

#[cfg(any(test, feature = "mutants"))]
mod switch {
    use std::cell::Cell;

    /// A fault in one of the machines.
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
        /// Subscriptions: the floor of the main lane stays where it is.
        FloorStays,
        /// Subscriptions: a settled range is not written now and then.
        LosesSettledRow,
        /// Subscriptions: a seek keeps what was settled behind it.
        SeekKeepsSettled,
        /// Subscriptions: a seek does not raise its epoch.
        SeekEpochStays,
        /// Subscriptions: an ack from before a seek is applied.
        SeekEpochIgnored,
        /// Subscriptions: an ack of an earlier owner is applied.
        OwnerEpochIgnored,
        /// Subscriptions: a new owner does not raise the epoch.
        OwnerEpochStays,
        /// Subscriptions: a cumulative ack takes one message too many.
        CumulativeOneTooFar,
        /// Subscriptions: what was never delivered is settled.
        AcksBeyondEnd,
        /// Subscriptions: a delayed message is settled before its time.
        AcksBeforeDue,
        /// Subscriptions: a message becomes a dead letter before its last attempt.
        DiesEarly,
        /// Subscriptions: a message that is settled becomes a dead letter again.
        BuriesTwice,
        /// Subscriptions: a message that is settled is said to have failed.
        NackRevivesAttempts,
        /// Subscriptions: only the first failed attempt is written.
        LosesSecondAttempt,
        /// Subscriptions: a settlement passes the bounds.
        BoundsIgnored,
        /// Subscriptions: a dead letter that arrived stays on its way.
        MovesOneTooFew,
        /// Subscriptions: an empty outbox begins to count anew.
        MovedForgetsSequence,
        /// Subscriptions: old rules replace newer ones.
        OldRulesWin,
        /// Subscriptions: a trim takes what a subscription waits for.
        TrimsUnsettled,
        /// Subscriptions: a trim takes dead letters on their way.
        TrimsDeadLetters,
        /// Subscriptions: a bound of delayed messages from before a seek is believed.
        BelievesOldBound,
        /// Subscriptions: a backlog that was dropped is not recorded.
        DropNotRecorded,
        /// Subscriptions: rows of delayed batches go that are not below the start.
        SweepsLive,
        /// Control: a group id is given twice.
        ReusesGroup,
        /// Control: a deleted topic's epochs are given again.
        ForgetsFloor,
        /// Control: an opening gives the last epoch again.
        EpochStays,
        /// Control: the oldest request is forgotten one too early.
        ForgetsRequestEarly,
        /// Control: a repeated request is carried out again.
        RepeatActsAgain,
        /// Control: a tenant is answered with another one's request.
        RequestsCrossTenants,
        /// Control: "Not formed" is remembered as the answer.
        RemembersNotFormed,
        /// Control: the expected version is not compared.
        VersionIgnored,
        /// Control: a namespace with topics is deleted.
        DropsNamespaceInUse,
        /// Control: a node with a new disk keeps its copy of the control group.
        WipedKeepsReplica,
        /// Control: the copies on a disk that is gone stay as they are.
        WipedKeepsCopies,
        /// Control: a copy minted for a new disk counts as a founder.
        ReplacedFounds,
        /// Control: a topic that is not being deleted is removed.
        FinishesLive,
        /// Control: a changed topic is not written.
        LosesTopicRow,
        /// Control: a stamp of the control group may go back.
        ControlStampGoesBack,
        /// Control: a trim of the log that came late trims again.
        TrimsLogTwice,
        /// Control: a trim of the log leaves no segment for those behind.
        TrimsWholeLog,
        /// Control: the life of a node that left is let in again.
        GoneLifeReturns,
        /// Control: a node that is refused has left no longer.
        RefusedNodeBegins,
        /// Control: more nodes leave than the copies can do without.
        LeavesTooFew,
        /// Control: the last node that serves is drained.
        DrainsTheLast,
        /// Control: a node is drained that has the last copy on a node that serves.
        DrainsLastCopy,
        /// Control: a node is forgotten while a copy on its way out is there.
        ForgetsCopyOnItsWay,
        /// Control: new copies go to drained nodes though others are enough.
        PlacesOnDrained,
        /// Control: more copies of a partition move at a time than may.
        MovesTooMany,
        /// Control: a copy moves to where another copy of the partition is on its way out.
        MovesBack,
        /// Control: a copy on its way out is not written.
        LosesMoveRow,
        /// Control: a copy that moved in counts as a founder.
        MovedFounds,
        /// Control: a move ends for a copy that is not on its way out.
        FinishesOtherMove,
        /// Control: the moves of a deleted topic stay on the disk.
        KeepsMoveOfDeleted,
    }

    impl Mutant {
        /// Every fault in the partition machine.
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

        /// Every fault in a partition's subscriptions.
        pub const SUBSCRIPTION: [Mutant; 23] = [
            Mutant::FloorStays,
            Mutant::LosesSettledRow,
            Mutant::SeekKeepsSettled,
            Mutant::SeekEpochStays,
            Mutant::SeekEpochIgnored,
            Mutant::OwnerEpochIgnored,
            Mutant::OwnerEpochStays,
            Mutant::CumulativeOneTooFar,
            Mutant::AcksBeyondEnd,
            Mutant::AcksBeforeDue,
            Mutant::DiesEarly,
            Mutant::BuriesTwice,
            Mutant::NackRevivesAttempts,
            Mutant::LosesSecondAttempt,
            Mutant::BoundsIgnored,
            Mutant::MovesOneTooFew,
            Mutant::MovedForgetsSequence,
            Mutant::OldRulesWin,
            Mutant::TrimsUnsettled,
            Mutant::TrimsDeadLetters,
            Mutant::BelievesOldBound,
            Mutant::DropNotRecorded,
            Mutant::SweepsLive,
        ];

        /// Every fault in the control machine.
        pub const CONTROL: [Mutant; 30] = [
            Mutant::ReusesGroup,
            Mutant::ForgetsFloor,
            Mutant::EpochStays,
            Mutant::ForgetsRequestEarly,
            Mutant::RepeatActsAgain,
            Mutant::RequestsCrossTenants,
            Mutant::RemembersNotFormed,
            Mutant::VersionIgnored,
            Mutant::DropsNamespaceInUse,
            Mutant::WipedKeepsReplica,
            Mutant::WipedKeepsCopies,
            Mutant::ReplacedFounds,
            Mutant::FinishesLive,
            Mutant::LosesTopicRow,
            Mutant::ControlStampGoesBack,
            Mutant::TrimsLogTwice,
            Mutant::TrimsWholeLog,
            Mutant::GoneLifeReturns,
            Mutant::RefusedNodeBegins,
            Mutant::LeavesTooFew,
            Mutant::DrainsTheLast,
            Mutant::DrainsLastCopy,
            Mutant::ForgetsCopyOnItsWay,
            Mutant::PlacesOnDrained,
            Mutant::MovesTooMany,
            Mutant::MovesBack,
            Mutant::LosesMoveRow,
            Mutant::MovedFounds,
            Mutant::FinishesOtherMove,
            Mutant::KeepsMoveOfDeleted,
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
