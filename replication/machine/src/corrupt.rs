//! Why stored rows are not a machine's state.

use crate::Table;
use crate::wire::OutOfBytes;

/// More than any index, offset, id, count or sum of bytes ever gets to.
const COUNT_MAX: u64 = u64::MAX / 2;

/// The rows do not make a state that this build could have written. Never repaired by guessing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CorruptState {
    /// There are rows, but not the one with the machine's scalars.
    #[error("the core row is missing")]
    NoCore,
    /// The rows were written by a newer build.
    #[error("state format {0} is not known to this build")]
    Version(u8),
    /// The rows belong to another history of the partition.
    #[error("the rows belong to another log")]
    OtherLog,
    /// A number that nothing was ever counted up to.
    #[error("a row of table {table:?} is damaged: nothing was ever counted up to one of its numbers")]
    Uncountable {
        /// Its table.
        table: Table,
    },
    /// A row that does not decode, or contradicts another.
    #[error("a row of table {table:?} is damaged: {why}")]
    Row {
        /// Its table.
        table: Table,
        /// What is wrong with it.
        why: &'static str,
    },
}

impl CorruptState {
    pub(crate) fn row(table: Table, why: &'static str) -> Self {
        CorruptState::Row { table, why }
    }

    /// Refuses numbers that nothing was ever counted up to, and on which counting could not go on.
    pub(crate) fn countable(table: Table, numbers: impl IntoIterator<Item = u64>) -> Result<(), Self> {
        match numbers.into_iter().all(|number| number < COUNT_MAX) {
            true => Ok(()),
            false => Err(CorruptState::Uncountable { table }),
        }
    }

    /// For `map_err` on a reader.
    pub(crate) fn length(table: Table) -> impl Fn(OutOfBytes) -> Self {
        move |OutOfBytes| CorruptState::Row { table, why: "length or flag" }
    }
}
