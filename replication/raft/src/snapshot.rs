//! A snapshot on its way out or in.
//!
//! What it stands for is a segment boundary P; the tables it carries are as of some later Q. The receiver
//! reports P as applied, takes the entries after P through the log as usual, and serves nothing before Q.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use meridian_machine::Table;
use meridian_model::GroupId;
use meridian_proto::internal as pb;
use meridian_storage::engine::Range;
use meridian_storage::keys::{index, meta, state};
use meridian_storage::{Disk, Durability, EngineSnapshot, Family, WriteSet, WriterHandle};

use crate::types::{LogId, SnapshotMeta, StoredMembership, log_id};
use crate::wire::{self, Malformed};

/// Rows and bytes of one chunk.
const CHUNK_ROWS: usize = 4_096;
const CHUNK_BYTES: usize = 256 * 1024;

/// Bytes of a stored position.
const POSITION_BYTES: usize = 16;
/// Bytes of the group that every key begins with, and of the offset that follows in the index.
const GROUP_BYTES: usize = 8;
const OFFSET_BYTES: usize = 8;

/// The tag of an index row on the wire and in staging.
pub const INDEX_TAG: u8 = 0;

/// What openraft carries around.
pub enum SnapshotData {
    /// A frozen view to be sent.
    Outgoing(Outgoing),
    /// Received completely; the rows wait in the staging family.
    Received(Received),
}

/// A frozen view of one group.
pub struct Outgoing {
    group: GroupId,
    view: Arc<dyn EngineSnapshot>,
    disk: Disk,
    /// The position the tables are as of.
    pub tables_at: LogId,
}

/// A snapshot whose rows lie in staging.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// The position the tables are as of.
    pub tables_at: LogId,
}

/// One row of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotRow {
    /// [`INDEX_TAG`] or the table's tag.
    pub tag: u8,
    /// The key without its group.
    pub key: Bytes,
    /// The value.
    pub value: Bytes,
}

impl SnapshotRow {
    /// From the wire: a row that this build knows the place of.
    pub fn from_wire(row: pb::SnapshotRow) -> Result<Self, Malformed> {
        let tag = u8::try_from(row.table).map_err(|_| Malformed("snapshot row"))?;
        let known = match tag {
            INDEX_TAG => row.key.len() == OFFSET_BYTES && index::decode_row(&row.value).is_ok(),
            tag => Table::from_tag(tag).is_some(),
        };
        if !known {
            return Err(Malformed("snapshot row"));
        }
        Ok(Self { tag, key: row.key, value: row.value })
    }

    /// Its key while it waits in staging.
    pub fn staged(&self, group: GroupId) -> Vec<u8> {
        [&group.0.to_be_bytes()[..], &[self.tag], &self.key].concat()
    }
}

/// Where a row belongs that waits in staging under this key. `None` for a key that no row waits under.
pub fn place(staged: &[u8]) -> Option<(Family, Vec<u8>)> {
    let (group, rest) = staged.split_at_checked(GROUP_BYTES)?;
    match rest.split_first()? {
        (&INDEX_TAG, key) => Some((Family::Index, [group, key].concat())),
        _ => Some((Family::State, staged.to_vec())),
    }
}

fn invalid(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

/// The last boundary that a trim left, with its membership, as stored.
pub(crate) fn boundary_of(stored: Option<Bytes>) -> Result<Option<(LogId, StoredMembership)>, io::Error> {
    stored.map(|bytes| decode_boundary(&bytes)).transpose()
}

/// Back from a stored boundary.
pub fn decode_boundary(bytes: &[u8]) -> Result<(LogId, StoredMembership), io::Error> {
    let (position, membership) = bytes.split_at_checked(POSITION_BYTES).ok_or_else(|| invalid("boundary"))?;
    let (term, index) = meta::decode_position(position).map_err(|_| invalid("boundary"))?;
    Ok((log_id(term, index), wire::decode_stored_membership(membership)?))
}

/// A boundary as stored.
pub fn encode_boundary(at: &LogId, membership: &StoredMembership) -> Vec<u8> {
    let mut bytes = meta::encode_position(crate::types::term_of(at), at.index);
    bytes.extend_from_slice(&wire::encode_stored_membership(membership));
    bytes
}

impl Outgoing {
    /// Freezes the group as it is on disk now. `None` while the log still begins at its first entry, unless
    /// `untrimmed`: then the snapshot stands for all that is applied.
    pub(crate) async fn take(
        group: GroupId,
        disk: &Disk,
        untrimmed: bool,
    ) -> Result<Option<(SnapshotMeta, Outgoing)>, io::Error> {
        let keep = disk.clone();
        let taken = disk.read(move |engine| {
            let view = Arc::clone(engine).snapshot();
            let boundary = view.get(Family::Meta, &meta::encode(group, meta::Fact::Boundary))?;
            let applied = view.get(Family::Meta, &meta::encode(group, meta::Fact::Applied))?;
            let tables_at = view.get(Family::Meta, &meta::encode(group, meta::Fact::TablesAt))?;
            let boundary = if untrimmed { boundary.or_else(|| applied.clone()) } else { boundary };
            Ok((view, boundary, tables_at.or(applied)))
        });
        let (view, boundary, tables_at) = taken.await?;
        let Some((boundary, membership)) = boundary_of(boundary)? else {
            let nothing = Outgoing { group, view, disk: keep, tables_at: log_id(0, 0) };
            return Ok(untrimmed.then(|| (SnapshotMeta::default(), nothing)));
        };
        let tables_at = tables_at.ok_or_else(|| invalid("a boundary without an applied position"))?;
        // Where the tables are not ahead they are as of `applied`, which begins with its position.
        let position = tables_at.get(..POSITION_BYTES).ok_or_else(|| invalid("applied"))?;
        let (term, at) = meta::decode_position(position).map_err(|_| invalid("applied"))?;
        let snapshot_meta = SnapshotMeta { last_log_id: Some(boundary), last_membership: membership };
        Ok(Some((snapshot_meta, Outgoing { group, view, disk: keep, tables_at: log_id(term, at) })))
    }

    /// The next rows after `after` (a family and a key), or nothing at the end.
    pub(crate) async fn chunk(&self, after: Cursor) -> Result<Option<(Vec<SnapshotRow>, Cursor)>, io::Error> {
        let (family, range) = match &after {
            Cursor::State(from) => (Family::State, self.range(state::all(self.group), from)),
            Cursor::Index(from) => (Family::Index, self.range(index::all(self.group), from)),
            Cursor::End => return Ok(None),
        };
        let view = Arc::clone(&self.view);
        let rows = self.disk.read(move |_| view.scan(family, &range, CHUNK_ROWS, CHUNK_BYTES)).await?;
        let next = match (rows.last(), &after) {
            (Some((key, _)), Cursor::State(_)) => Cursor::State(Some(key.clone())),
            (Some((key, _)), _) => Cursor::Index(Some(key.clone())),
            (None, Cursor::State(_)) => Cursor::Index(None),
            (None, _) => Cursor::End,
        };
        let rows = rows.into_iter().map(|(key, value)| match family {
            Family::State => SnapshotRow { tag: key[8], key: key.slice(9..), value },
            _ => SnapshotRow { tag: INDEX_TAG, key: key.slice(8..), value },
        });
        Ok(Some((rows.collect(), next)))
    }

    fn range(&self, all: Range, after: &Option<Bytes>) -> Range {
        match after {
            None => all,
            Some(key) => Range { from: [&key[..], &[0]].concat(), to: all.to },
        }
    }
}

/// How far a snapshot has been read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Cursor {
    /// State rows after this key.
    State(Option<Bytes>),
    /// Index rows after this key.
    Index(Option<Bytes>),
    /// Everything was read.
    End,
}

/// Collects the rows of an incoming snapshot in the staging family.
pub(crate) struct Staging {
    group: GroupId,
    writer: WriterHandle,
    rows: u64,
}

impl Staging {
    /// Begins anew: what an earlier attempt left is removed.
    pub(crate) async fn begin(group: GroupId, writer: WriterHandle) -> Result<Self, io::Error> {
        let mut set = WriteSet::default();
        set.delete_range(Family::Staging, Range::prefix(&group.0.to_be_bytes()));
        writer.write(set, Durability::Ordered).await?;
        Ok(Self { group, writer, rows: 0 })
    }

    /// Adds rows. Waits for the writer: the sender is slowed down by it.
    pub(crate) async fn add(&mut self, rows: Vec<SnapshotRow>) -> Result<(), io::Error> {
        let mut set = WriteSet::default();
        for row in rows {
            set.put(Family::Staging, row.staged(self.group), row.value.to_vec());
            self.rows += 1;
        }
        Ok(self.writer.write(set, Durability::Ordered).await?)
    }

    /// Rows so far.
    pub(crate) fn rows(&self) -> u64 {
        self.rows
    }
}

/// What must be known to finish moving a snapshot into place, also after a crash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Installing {
    pub(crate) boundary: LogId,
    pub(crate) membership: StoredMembership,
    pub(crate) tables_at: LogId,
}

impl Installing {
    fn encode(&self) -> Vec<u8> {
        let mut bytes = meta::encode_position(crate::types::term_of(&self.tables_at), self.tables_at.index);
        bytes.extend_from_slice(&encode_boundary(&self.boundary, &self.membership));
        bytes
    }

    /// Back from the stored fact.
    pub(crate) fn decode(bytes: Bytes) -> Result<Self, io::Error> {
        let (position, rest) = bytes.split_at_checked(POSITION_BYTES).ok_or_else(|| invalid("installing"))?;
        let (term, at) = meta::decode_position(position).map_err(|_| invalid("installing"))?;
        let (boundary, membership) = decode_boundary(rest)?;
        Ok(Self { boundary, membership, tables_at: log_id(term, at) })
    }

    /// Moves the rows from staging into place. Repeatable: a crash at any point is followed by another run.
    pub(crate) async fn run(
        &self,
        group: GroupId,
        writer: &WriterHandle,
        disk: &Disk,
    ) -> Result<(), io::Error> {
        let mut set = WriteSet::default();
        set.put(Family::Meta, meta::encode(group, meta::Fact::Installing), self.encode());
        writer.write(set, Durability::Synced).await?;
        let mut set = WriteSet::default();
        set.delete_range(Family::State, state::all(group));
        set.delete_range(Family::Index, index::all(group));
        writer.write(set, Durability::Ordered).await?;
        let mut range = Range::prefix(&group.0.to_be_bytes());
        loop {
            let part = range.clone();
            let rows =
                disk.read(move |engine| engine.scan(Family::Staging, &part, CHUNK_ROWS, CHUNK_BYTES)).await?;
            let Some((last, _)) = rows.last() else { break };
            range.from = [&last[..], &[0]].concat();
            let mut set = WriteSet::default();
            for (key, value) in rows {
                let (family, key) = place(&key).ok_or_else(|| invalid("a row in staging"))?;
                set.put(family, key, value.to_vec());
            }
            writer.write(set, Durability::Ordered).await?;
        }
        let mut set = WriteSet::default();
        let put = |set: &mut WriteSet, fact, value| set.put(Family::Meta, meta::encode(group, fact), value);
        put(&mut set, meta::Fact::Applied, encode_boundary(&self.boundary, &self.membership));
        put(&mut set, meta::Fact::Boundary, encode_boundary(&self.boundary, &self.membership));
        let tables_at = meta::encode_position(crate::types::term_of(&self.tables_at), self.tables_at.index);
        match self.tables_at > self.boundary {
            true => put(&mut set, meta::Fact::TablesAt, tables_at),
            false => set.delete(Family::Meta, meta::encode(group, meta::Fact::TablesAt)),
        }
        set.delete(Family::Meta, meta::encode(group, meta::Fact::Installing));
        set.delete_range(Family::Staging, Range::prefix(&group.0.to_be_bytes()));
        Ok(writer.write(set, Durability::Synced).await?)
    }
}
