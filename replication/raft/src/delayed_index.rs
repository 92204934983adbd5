//! The index of delayed messages by time: rows on disk that the machine writes and never reads.

use meridian_commitlog::{CursorError, DelayedPage};
use meridian_machine::Table;
use meridian_model::{Offset, Place, UnixMs};
use meridian_storage::engine::Range;
use meridian_storage::keys::state;
use meridian_storage::{Durability, Family, WriteSet};

use crate::group::Group;

/// Batches in one page.
const PAGE_BATCHES: usize = 256;

fn unavailable(error: impl std::fmt::Display) -> CursorError {
    CursorError::Unavailable(error.to_string())
}

fn malformed() -> CursorError {
    CursorError::Unavailable("a row of the index of delayed messages is malformed".into())
}

/// Rows of one table, from a key on, up to the end of the table.
fn rows_from(group: &Group, table: Table, key: &[u8]) -> Range {
    let end = Range::prefix(&state::encode(group.id(), table, &[]));
    Range { from: state::encode(group.id(), table, key), ..end }
}

/// Rows of one table below a key.
fn rows_below(group: &Group, table: Table, key: &[u8]) -> Range {
    let all = Range::prefix(&state::encode(group.id(), table, &[]));
    Range { to: state::encode(group.id(), table, key), ..all }
}

/// Waits until every row of what is applied can be read.
async fn written(group: &Group) -> Result<(), CursorError> {
    group.writer().write(WriteSet::default(), Durability::Ordered).await.map_err(unavailable)
}

/// The place of a batch's first message, and how many there are.
fn by_time(key: &[u8], value: &[u8]) -> Result<(Place, u32), CursorError> {
    let (_, _, key) = state::decode(key).map_err(|_| malformed())?;
    let (at, offset) = key.split_at_checked(8).ok_or_else(malformed)?;
    let at = u64::from_be_bytes(at.try_into().map_err(|_| malformed())?);
    let offset = u64::from_be_bytes(offset.try_into().map_err(|_| malformed())?);
    let messages = u32::from_le_bytes(value.try_into().map_err(|_| malformed())?);
    Ok((Place { deliver_at: UnixMs(at), offset: Offset(offset) }, messages))
}

fn key_of(place: Place) -> Vec<u8> {
    [place.deliver_at.0, place.offset.0].map(u64::to_be_bytes).concat()
}

/// Batches that are due, from a place on; the first may hold messages before it.
pub(crate) async fn page(
    group: &Group,
    from: Place,
    through: UnixMs,
    bytes: usize,
) -> Result<DelayedPage, CursorError> {
    written(group).await?;
    let behind = Place { offset: from.offset.plus(1), ..from };
    let below = rows_below(group, Table::DelayedByTime, &key_of(behind));
    let onward = rows_from(group, Table::DelayedByTime, &key_of(behind));
    let found = group.disk().read(move |engine| {
        let first = engine.last(Family::State, &below)?;
        Ok((first, engine.scan(Family::State, &onward, PAGE_BATCHES + 1, usize::MAX)?))
    });
    let (first, onward) = found.await.map_err(unavailable)?;
    let mut rows = Vec::with_capacity(onward.len() + 1);
    for (key, value) in first.iter().chain(&onward) {
        let (place, messages) = by_time(key, value)?;
        let reaches = place.deliver_at > from.deliver_at
            || (place.deliver_at == from.deliver_at && place.offset.plus(u64::from(messages)) > from.offset);
        if reaches {
            rows.push(place);
        }
    }
    let start = group.view().applied().start;
    let (mut page, mut total) = (DelayedPage::default(), 0);
    for (read, place) in rows.iter().enumerate() {
        if place.deliver_at > through {
            page.due_next = Some(place.deliver_at);
            return Ok(page);
        }
        if read >= PAGE_BATCHES || (total > 0 && total >= bytes) {
            page.next = Some(*place);
            return Ok(page);
        }
        // What retention took has a row for a while yet.
        if place.offset < start {
            continue;
        }
        match group.view().read(place.offset, 1).await {
            Ok(batches) => {
                total += batches.iter().map(|batch| batch.bytes.len()).sum::<usize>();
                page.batches.extend(batches.into_iter().take(1));
            }
            Err(meridian_commitlog::ReadError::OutOfRange { .. }) => {}
            Err(error) => return Err(unavailable(error)),
        }
    }
    Ok(page)
}
