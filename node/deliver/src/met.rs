//! What a run of random commands has met: a check says nothing about a case that never occurred.

/// The things that can be met, and a count for each.
macro_rules! met {
    ($($name:ident),* $(,)?) => {
        /// An operation, or a condition under which one was met.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Met { $($name),* }

        const ALL: &[Met] = &[$(Met::$name),*];

        /// How often each was met.
        #[derive(Clone, Debug)]
        pub(super) struct Coverage(Vec<u64>);

        impl Default for Coverage {
            fn default() -> Self {
                Self(vec![0; ALL.len()])
            }
        }

        impl Coverage {
            pub(super) fn met(&mut self, met: Met) {
                self.0[met as usize] += 1;
            }

            pub(super) fn and(mut self, other: Self) -> Self {
                self.0.iter_mut().zip(other.0).for_each(|(count, more)| *count += more);
                self
            }

            pub(super) fn rarer_than(&self, least: u64) -> Vec<String> {
                let rare = ALL.iter().filter(|m| self.0[**m as usize] < least);
                rare.map(|m| format!("{m:?}: {}", self.0[*m as usize])).collect()
            }
        }

        impl std::fmt::Display for Coverage {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                ALL.iter().try_for_each(|m| writeln!(f, "{:>10}  {m:?}", self.0[*m as usize]))
            }
        }
    };
}
