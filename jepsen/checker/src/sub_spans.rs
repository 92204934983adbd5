//! Moments that end something: when each can have happened, and the first that can have, after a given time.

use meridian_history::Op;

use crate::sub_view::effect_end_ns;

/// Operations of which each took effect, if it did, between its invocation and its end.
#[derive(Debug, Default)]
pub(crate) struct Moments {
    /// End, and the earliest invocation of those that end then or later; by end.
    by_end: Vec<(u64, u64)>,
}

impl Moments {
    pub(crate) fn of<'a>(ops: impl IntoIterator<Item = &'a Op>) -> Self {
        Self::between(ops.into_iter().map(|op| (op.invoke_ns, effect_end_ns(op))))
    }

    /// From pairs of the earliest and the latest time.
    pub(crate) fn between(pairs: impl IntoIterator<Item = (u64, u64)>) -> Self {
        let mut by_end: Vec<(u64, u64)> = pairs.into_iter().map(|(from, to)| (to, from)).collect();
        by_end.sort_unstable();
        for at in (1..by_end.len()).rev() {
            by_end[at - 1].1 = by_end[at - 1].1.min(by_end[at].1);
        }
        Self { by_end }
    }

    /// The earliest time at which one of those can have happened that can have happened after `since`.
    pub(crate) fn first_since(&self, since_ns: u64) -> Option<u64> {
        let at = self.by_end.partition_point(|(end, _)| *end < since_ns);
        self.by_end.get(at).map(|(_, from)| *from)
    }

    /// How many of those can have happened after `since`.
    pub(crate) fn count_since(&self, since_ns: u64) -> u64 {
        let at = self.by_end.partition_point(|(end, _)| *end < since_ns);
        (self.by_end.len() - at) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_since_is_the_earliest_of_those_that_had_not_ended() {
        let moments = Moments::between([(1, 3), (2, 9), (7, 8)]);
        let first = [0, 4, 9, 10].map(|since| moments.first_since(since));
        assert_eq!(first, [Some(1), Some(2), Some(2), None]);
        assert_eq!([0, 4, 9, 10].map(|since| moments.count_since(since)), [3, 2, 1, 0]);
        assert_eq!(Moments::default().first_since(0), None);
    }
}
