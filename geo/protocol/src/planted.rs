//! Faults planted on purpose, so that the tests can prove that they would see them.
//!
//! Without the feature `mutants` (and outside this crate's own tests) nothing of this is compiled:
//! `planted!` is the constant `false`.

#[cfg(any(test, feature = "mutants"))]
mod switch {
    use std::cell::Cell;

    /// A fault in the protocol.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Mutant {
        /// What lies above the watermark is accepted, gap or not: Apache Pulsar #26113.
        MaximumMeansDuplicate,
        /// Heads are not compared.
        HeadNotCompared,
        /// A link that diverged goes on.
        HaltForgotten,
        /// Frames of any upstream and epoch are taken.
        RouteNotCompared,
        /// The ingress does not look at residency.
        ResidencyUnchecked,
        /// Skips are passed over, but not recorded.
        SkipsNotRecorded,
        /// The exit ships what is not for the destination.
        ShipsNarrowed,
        /// A refusal does not move the shipper back.
        RefusalIgnored,
        /// What arrives for an earlier session is taken for news.
        OldSessionBelieved,
        /// Skips with different reasons become one.
        MergesReasons,
        /// A shipper whose head is gone says nothing of it.
        SkipAlwaysVerified,
        /// The window is not looked at.
        WindowUnbounded,
        /// A route starts before what omits its hop has passed.
        BarrierIgnored,
        /// Acks: a lower epoch is joined.
        JoinsLowerEpoch,
        /// Acks: a higher epoch is joined to the lower one's acks.
        KeepsLowerSet,
        /// Acks: a part of a higher epoch is taken for all of it.
        AdoptsPart,
        /// Acks: epochs are compared by counter alone.
        CounterOnly,
        /// Acks: what was skipped is acked by a cumulative ack.
        CumulativeCoversSkips,
        /// Acks: a region that is not active acks.
        PassiveAcks,
        /// Acks: the digest does not cover holes.
        DigestOfEnds,
    }

    impl Mutant {
        /// Faults in shipping.
        pub const SHIPPING: [Mutant; 13] = [
            Mutant::MaximumMeansDuplicate,
            Mutant::HeadNotCompared,
            Mutant::HaltForgotten,
            Mutant::RouteNotCompared,
            Mutant::ResidencyUnchecked,
            Mutant::SkipsNotRecorded,
            Mutant::ShipsNarrowed,
            Mutant::RefusalIgnored,
            Mutant::OldSessionBelieved,
            Mutant::MergesReasons,
            Mutant::SkipAlwaysVerified,
            Mutant::WindowUnbounded,
            Mutant::BarrierIgnored,
        ];

        /// Faults in acks.
        pub const ACKS: [Mutant; 7] = [
            Mutant::JoinsLowerEpoch,
            Mutant::KeepsLowerSet,
            Mutant::AdoptsPart,
            Mutant::CounterOnly,
            Mutant::CumulativeCoversSkips,
            Mutant::PassiveAcks,
            Mutant::DigestOfEnds,
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
