//! The state machine of one group, on the shared engine.
//!
//! Applying changes memory and queues the effects, with the applied position, as one atomic write behind the
//! log's own writes. It never waits for the disk: what is lost in a crash is applied again from the log.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use futures::{Stream, StreamExt};
use meridian_machine::control::ControlMachine;
use meridian_machine::partition::PartitionMachine;
use meridian_machine::{Command, Effect, Row, Table};
use meridian_model::{GroupId, LogId as HistoryId};
use meridian_storage::engine::Range;
use meridian_storage::keys::{index, meta, state};
use meridian_storage::{Disk, Durability, Engine, Family, WriteSet, WriterHandle};
use openraft::storage::{EntryResponder, RaftSnapshotBuilder, RaftStateMachine, Snapshot};
use tokio::sync::watch;

use crate::digest;
use crate::log_store::LogStore;
use crate::snapshot::{Cursor, Installing, Outgoing, SnapshotData, Staging, boundary_of, encode_boundary};
use crate::types::{Entry, LogId, Payload, Reply, SnapshotMeta, StoredMembership, TypeConfig};
use crate::view::{GroupView, Machine};
use crate::wire;

/// Bytes of effects that are queued as one write.
const WRITE_BYTES: usize = 512 * 1024;

/// The machine of one replica, its durable image, and its readers' view.
pub struct MachineStore {
    group: GroupId,
    history: HistoryId,
    writer: WriterHandle,
    disk: Disk,
    view: Arc<GroupView>,
    applied: Option<LogId>,
    membership: StoredMembership,
    tables_at: Option<LogId>,
    /// The membership that held at each closed segment's end.
    boundaries: BTreeMap<u64, StoredMembership>,
    trimmed: watch::Sender<u64>,
    snapshot_untrimmed: bool,
    /// The entry just applied is one after which replicas compare their tables.
    digest_due: bool,
}

/// All rows of a group's state, in key order.
fn load_rows(engine: &Arc<dyn Engine>, group: GroupId) -> Result<Vec<Row>, io::Error> {
    let mut range: Range = state::all(group);
    let mut rows = Vec::new();
    loop {
        let part = engine.scan(Family::State, &range, 4_096, usize::MAX)?;
        let Some((last, _)) = part.last() else { return Ok(rows) };
        range.from = [&last[..], &[0]].concat();
        for (key, value) in part {
            let (_, table, key) = state::decode(&key).map_err(invalid)?;
            rows.push(Row { table, key: key.to_vec(), value: value.to_vec() });
        }
    }
}

fn invalid(error: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

fn restore(group: GroupId, history: HistoryId, rows: Vec<Row>) -> Result<Machine, io::Error> {
    Ok(match group.is_control() {
        true => Machine::Control(Box::new(ControlMachine::restore(rows).map_err(invalid)?)),
        false => Machine::Partition(Box::new(PartitionMachine::restore(history, rows).map_err(invalid)?)),
    })
}

/// The rows of a group's machine, for whoever looks at a stopped node.
pub(crate) fn stored_rows(engine: &Arc<dyn Engine>, group: GroupId) -> Result<Vec<Row>, io::Error> {
    Ok(split_boundaries(load_rows(engine, group)?)?.0)
}

type Boundaries = BTreeMap<u64, StoredMembership>;

/// Splits off the rows that are ours, not the machine's.
fn split_boundaries(rows: Vec<Row>) -> Result<(Vec<Row>, Boundaries), io::Error> {
    let (ours, machine): (Vec<Row>, Vec<Row>) =
        rows.into_iter().partition(|row| row.table == Table::BoundaryMembership);
    let mut boundaries = Boundaries::new();
    for row in ours {
        let index: [u8; 8] = row.key.as_slice().try_into().map_err(invalid)?;
        boundaries.insert(u64::from_be_bytes(index), wire::decode_stored_membership(&row.value)?);
    }
    Ok((machine, boundaries))
}

impl MachineStore {
    /// Opens the machine of `group` from what is stored; finishes a snapshot that a crash interrupted.
    pub async fn open(
        group: GroupId,
        history: HistoryId,
        writer: WriterHandle,
        disk: Disk,
        log: LogStore,
    ) -> Result<Self, io::Error> {
        let fact = |fact| meta::encode(group, fact);
        let key = fact(meta::Fact::Installing);
        if let Some(bytes) = disk.read(move |engine| engine.get(Family::Meta, &key)).await? {
            Installing::decode(bytes)?.run(group, &writer, &disk).await?;
        }
        let keys = [fact(meta::Fact::Applied), fact(meta::Fact::TablesAt)];
        let facts = disk.read(move |engine| {
            Ok((engine.get(Family::Meta, &keys[0])?, engine.get(Family::Meta, &keys[1])?))
        });
        let (applied, tables_at) = facts.await?;
        let (applied, membership) = match boundary_of(applied)? {
            Some((at, membership)) => (Some(at), membership),
            None => (None, StoredMembership::default()),
        };
        let tables_at = match tables_at {
            Some(bytes) => Some(decode_position(&bytes)?),
            None => None,
        };
        let rows = disk.read(move |engine| Ok(load_rows(engine, group))).await??;
        let (rows, boundaries) = split_boundaries(rows)?;
        let machine = restore(group, history, rows)?;
        let view = Arc::new(GroupView::new(group, disk.clone(), log, machine, tables_at.is_some()));
        view.publish(applied.map(|id| id.index), &[], tables_at.is_some());
        let trimmed = watch::Sender::new(0);
        Ok(Self {
            group,
            history,
            writer,
            disk,
            view,
            applied,
            membership,
            tables_at,
            boundaries,
            trimmed,
            snapshot_untrimmed: false,
            digest_due: false,
        })
    }

    /// Also answers with a snapshot where nothing was trimmed: openraft's suite wants one. A replica that
    /// installed such a snapshot would lack messages, so groups never do this.
    pub fn with_untrimmed_snapshots(mut self) -> Self {
        self.snapshot_untrimmed = true;
        self
    }

    /// The view that readers hold.
    pub fn view(&self) -> Arc<GroupView> {
        Arc::clone(&self.view)
    }

    /// Changes whenever a trim left a new start boundary: time to snapshot and purge.
    pub fn trims(&self) -> watch::Receiver<u64> {
        self.trimmed.subscribe()
    }

    /// Applies one entry to memory; what is to be written is added to `set`.
    fn apply_entry(&mut self, entry: Entry, set: &mut WriteSet) -> Result<Reply, io::Error> {
        let at = wire::at_of(&entry.log_id);
        if let Payload::Membership(membership) = &entry.payload {
            self.membership = StoredMembership::new(Some(entry.log_id), membership.clone());
        }
        self.applied = Some(entry.log_id);
        let mut effects = Vec::new();
        let mut reply = Reply::Nothing;
        // The tables may be ahead of the log, from a snapshot: then only position and membership are tracked.
        let skipping = self.tables_at.is_some_and(|tables_at| entry.log_id <= tables_at);
        if !skipping {
            reply = self.run_machine(at, &entry.payload, &mut effects)?;
        }
        if self.tables_at.is_some_and(|tables_at| entry.log_id >= tables_at) {
            self.tables_at = None;
            set.delete(Family::Meta, meta::encode(self.group, meta::Fact::TablesAt));
        }
        for effect in &effects {
            self.write_effect(effect, set);
        }
        self.view.publish(Some(entry.log_id.index), &effects, self.tables_at.is_some());
        Ok(reply)
    }

    fn run_machine(
        &self,
        at: meridian_machine::At,
        payload: &Payload,
        effects: &mut Vec<Effect>,
    ) -> Result<Reply, io::Error> {
        let command = match payload {
            Payload::Normal(command) => Some(Command::decode(command.0.clone()).map_err(invalid)?),
            _ => None,
        };
        let bytes = match payload {
            Payload::Normal(command) => command.0.len() as u64,
            _ => 0,
        };
        self.view.change(|machine| match (machine, command) {
            (Machine::Partition(machine), Some(Command::Partition(command))) => {
                Ok(Reply::Partition(machine.apply(at, bytes, &command, effects)))
            }
            (Machine::Control(machine), Some(Command::Control(command))) => {
                Ok(Reply::Control(machine.apply(at, &command, effects)))
            }
            (Machine::Partition(machine), None) => {
                machine.skip(at, effects);
                Ok(Reply::Nothing)
            }
            (Machine::Control(machine), None) => {
                machine.skip(at, effects);
                Ok(Reply::Nothing)
            }
            _ => Err(io::Error::new(io::ErrorKind::InvalidData, "a command for another kind of group")),
        })
    }

    fn write_effect(&mut self, effect: &Effect, set: &mut WriteSet) {
        let group = self.group;
        match effect {
            Effect::Put(row) => {
                set.put(Family::State, state::encode(group, row.table, &row.key), row.value.clone());
            }
            Effect::Delete { table, key } => set.delete(Family::State, state::encode(group, *table, key)),
            Effect::Index { base, row } => {
                set.put(Family::Index, index::encode(group, *base), index::encode_row(row));
            }
            Effect::SegmentClosed { at } => {
                self.digest_due |= digest::is_due(at.index);
                self.boundaries.insert(at.index, self.membership.clone());
                let key = state::encode(group, Table::BoundaryMembership, &at.index.to_be_bytes());
                set.put(Family::State, key, wire::encode_stored_membership(&self.membership));
            }
            Effect::Trimmed { at, start } => {
                let membership = self.boundaries.get(&at.index).unwrap_or(&self.membership).clone();
                let stored = encode_boundary(&wire::log_id_of(*at), &membership);
                set.put(Family::Meta, meta::encode(group, meta::Fact::Boundary), stored);
                let later = self.boundaries.split_off(&at.index);
                for index in std::mem::replace(&mut self.boundaries, later).into_keys() {
                    set.delete(
                        Family::State,
                        state::encode(group, Table::BoundaryMembership, &index.to_be_bytes()),
                    );
                }
                set.delete_range(Family::Index, index::range(group, meridian_model::Offset(0), *start));
                self.trimmed.send_replace(at.index);
            }
        }
    }

    /// Queues what was collected, with the applied position.
    fn submit(&self, mut set: WriteSet) {
        let Some(applied) = self.applied else { return };
        let stored = encode_boundary(&applied, &self.membership);
        set.put(Family::Meta, meta::encode(self.group, meta::Fact::Applied), stored);
        let view = Arc::clone(&self.view);
        let end = view.applied().end;
        self.writer.submit(set, Durability::Ordered, move |result| {
            if result.is_ok() {
                view.flushed(end);
            }
        });
    }

    /// Freezes the tables as this entry leaves them; the digest itself is made beside the way of the messages.
    fn take_digest(&self) {
        let (frozen, disk, view, group) =
            (self.writer.freeze(), self.disk.clone(), Arc::clone(&self.view), self.group);
        tokio::spawn(async move {
            let Some(frozen) = frozen.await else { return };
            match digest::of(group, frozen, &disk).await {
                Ok(Some(digest)) => view.remember_digest(digest),
                Ok(None) => {}
                Err(error) => tracing::warn!(%group, %error, "the tables could not be read for a digest"),
            }
        });
    }

    fn builder(&self) -> SnapshotBuilder {
        SnapshotBuilder {
            group: self.group,
            writer: self.writer.clone(),
            disk: self.disk.clone(),
            untrimmed: self.snapshot_untrimmed,
        }
    }

    /// Puts another replica's frozen rows where a received snapshot would lie.
    async fn stage(&self, outgoing: &Outgoing) -> Result<(), io::Error> {
        let mut staging = Staging::begin(self.group, self.writer.clone()).await?;
        let mut cursor = Cursor::State(None);
        while let Some((rows, next)) = outgoing.chunk(cursor).await? {
            staging.add(rows).await?;
            cursor = next;
        }
        Ok(())
    }
}

type FullSnapshot = openraft::type_config::alias::SnapshotOf<TypeConfig, SnapshotData>;

fn decode_position(bytes: &Bytes) -> Result<LogId, io::Error> {
    let (term, index) = meta::decode_position(bytes).map_err(invalid)?;
    Ok(crate::types::log_id(term, index))
}

/// Builds the snapshot that makes openraft purge through the last trim's boundary.
pub struct SnapshotBuilder {
    group: GroupId,
    writer: WriterHandle,
    disk: Disk,
    untrimmed: bool,
}

impl SnapshotBuilder {
    async fn take(&self) -> Result<Option<FullSnapshot>, io::Error> {
        // What was applied in memory must be on disk, in order, before it is frozen.
        self.writer.write(WriteSet::default(), Durability::Ordered).await?;
        let taken = Outgoing::take(self.group, &self.disk, self.untrimmed).await?;
        Ok(taken.map(|(meta, outgoing)| Snapshot { meta, snapshot: SnapshotData::Outgoing(outgoing) }))
    }
}

impl RaftSnapshotBuilder<TypeConfig> for SnapshotBuilder {
    type SnapshotData = SnapshotData;

    async fn build_snapshot(&mut self) -> Result<FullSnapshot, io::Error> {
        let taken = self.take().await?;
        taken.ok_or_else(|| io::Error::other("a snapshot was asked for before anything was trimmed"))
    }
}

impl RaftStateMachine<TypeConfig> for MachineStore {
    type SnapshotData = SnapshotData;
    type SnapshotBuilder = SnapshotBuilder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        Ok((self.applied, self.membership.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> Result<(), io::Error>
    where
        S: Stream<Item = Result<EntryResponder<TypeConfig>, io::Error>> + Unpin + openraft::OptionalSend,
    {
        let mut set = WriteSet::default();
        while let Some(item) = entries.next().await {
            let (entry, responder) = item?;
            let reply = self.apply_entry(entry, &mut set)?;
            if let Some(responder) = responder {
                responder.send(reply);
            }
            let digest_due = std::mem::take(&mut self.digest_due);
            if digest_due || set.bytes() > WRITE_BYTES {
                self.submit(std::mem::take(&mut set));
            }
            if digest_due {
                self.take_digest();
            }
        }
        self.submit(set);
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> SnapshotBuilder {
        self.builder()
    }

    async fn install_snapshot(
        &mut self,
        snapshot_meta: &SnapshotMeta,
        data: SnapshotData,
    ) -> Result<(), io::Error> {
        let tables_at = match data {
            SnapshotData::Received(received) => received.tables_at,
            SnapshotData::Outgoing(outgoing) => {
                self.stage(&outgoing).await?;
                outgoing.tables_at
            }
        };
        // A snapshot of nothing changes nothing.
        let Some(boundary) = snapshot_meta.last_log_id else { return Ok(()) };
        let membership = snapshot_meta.last_membership.clone();
        let installing = Installing { boundary, membership, tables_at };
        installing.run(self.group, &self.writer, &self.disk).await?;
        let group = self.group;
        let rows = self.disk.read(move |engine| Ok(load_rows(engine, group))).await??;
        let (rows, boundaries) = split_boundaries(rows)?;
        let machine = restore(self.group, self.history, rows)?;
        self.boundaries = boundaries;
        self.applied = Some(boundary);
        self.membership = installing.membership;
        self.tables_at = (tables_at > boundary).then_some(tables_at);
        self.view.change(|current| *current = machine);
        self.view.reset_rows();
        self.view.publish(Some(boundary.index), &[], self.tables_at.is_some());
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<FullSnapshot>, io::Error> {
        let taken = self.builder().take().await?;
        Ok(taken.filter(|snapshot| snapshot.meta.last_log_id.is_some()))
    }
}
