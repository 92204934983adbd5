//! The two longest-held messages of different consumers, below each offset, in O(log n).

/// Until when, and by which consumer.
pub(crate) type HeldBy<'a> = (u64, &'a str, u64);

/// The longest held of all, and of all by another consumer.
#[derive(Debug, Clone, Copy, Default)]
struct BestTwo<'a> {
    first: Option<HeldBy<'a>>,
    second: Option<HeldBy<'a>>,
}

impl<'a> BestTwo<'a> {
    fn add(&mut self, held: HeldBy<'a>) {
        match self.first {
            None => self.first = Some(held),
            Some(first) if first.1 == held.1 => self.first = Some(first.max(held)),
            Some(first) if first.0 < held.0 => (self.first, self.second) = (Some(held), Some(first)),
            Some(_) => self.second = self.second.max(Some(held)),
        }
    }
}

/// Holders of messages by the rank of their offset (a binary indexed tree of prefix maxima).
#[derive(Debug)]
pub(crate) struct Holders<'a> {
    tree: Vec<BestTwo<'a>>,
}

impl<'a> Holders<'a> {
    pub(crate) fn of(ranks: usize) -> Self {
        Self { tree: vec![BestTwo::default(); ranks + 1] }
    }

    /// The message of this rank (from zero) is held.
    pub(crate) fn add(&mut self, rank: usize, held: HeldBy<'a>) {
        let mut at = rank + 1;
        while at < self.tree.len() {
            self.tree[at].add(held);
            at += at & at.wrapping_neg();
        }
    }

    /// The longest held message of a lower rank that another consumer holds.
    pub(crate) fn other_below(&self, rank: usize, consumer: &str) -> Option<HeldBy<'a>> {
        let mut at = rank;
        let mut best: Option<HeldBy<'a>> = None;
        while at > 0 {
            let two = &self.tree[at];
            let other = [two.first, two.second].into_iter().flatten().filter(|held| held.1 != consumer);
            best = best.max(other.max());
            at -= at & at.wrapping_neg();
        }
        best
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_held_of_another_is_found_below_and_only_below() {
        let mut holders = Holders::of(4);
        holders.add(0, (10, "a", 100));
        holders.add(1, (30, "b", 101));
        holders.add(2, (20, "b", 102));
        holders.add(3, (90, "c", 103));
        assert_eq!(holders.other_below(3, "b"), Some((10, "a", 100)));
        assert_eq!(holders.other_below(3, "a"), Some((30, "b", 101)));
        assert_eq!(holders.other_below(1, "a"), None);
        assert_eq!(holders.other_below(0, "z"), None);
    }
}
