//! The budget of the searches: a time for each and a time for all; running out is never a yes.

use std::time::{Duration, Instant};

use porcupine_rs::{CheckResult, Model, Operation, check_operations_timeout};

use crate::options::Options;

/// Time left for searching.
#[derive(Debug)]
pub(crate) struct Budget {
    each: Duration,
    left: Duration,
}

/// What a search came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Searched {
    Legal,
    Illegal,
    OutOfTime,
}

impl Budget {
    pub(crate) fn of(options: &Options) -> Self {
        Self { each: options.search_each_max, left: options.search_total_max }
    }

    /// Looks for a legal order of `all`, first in an `easier` form.
    ///
    /// The easier form must be such that a legal order of it is one of `all`: typically it leaves out
    /// operations of unknown outcome that nobody saw the effect of, since they may come after everything
    /// else. Left in, ten of them can be ordered in millions of ways.
    pub(crate) fn search<M: Model>(&mut self, easier: &[Operation<M>], all: &[Operation<M>]) -> Searched {
        match self.search_one(easier) {
            Searched::Legal => Searched::Legal,
            Searched::Illegal | Searched::OutOfTime => self.search_one(all),
        }
    }

    /// Looks for a legal order of these.
    pub(crate) fn search_one<M: Model>(&mut self, operations: &[Operation<M>]) -> Searched {
        let allowed = self.each.min(self.left);
        if allowed.is_zero() {
            return Searched::OutOfTime;
        }
        let begun = Instant::now();
        let result = check_operations_timeout(operations, allowed);
        self.left = self.left.saturating_sub(begun.elapsed());
        match result {
            CheckResult::Ok => Searched::Legal,
            CheckResult::Illegal => Searched::Illegal,
            CheckResult::Unknown => Searched::OutOfTime,
        }
    }
}

/// A time of the history on the search's clock; no end is after every end.
pub(crate) fn moment(ns: Option<u64>) -> i64 {
    ns.and_then(|ns| i64::try_from(ns).ok()).unwrap_or(i64::MAX)
}
