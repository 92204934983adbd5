//! The partition: the real machine, and a list of the messages that it was given.

mod words;

use std::collections::BTreeMap;

use meridian_commitlog::{CursorRefusal, LogBounds, Mandate, Standing};
use meridian_machine::command::{
    AppendItem, PartitionCommand, PartitionPolicy, SettlePart, StartAt, SubscriptionCommand,
};
use meridian_machine::partition::{DelayedBatch, SettleOutcome, SmallBounds, SubscriptionView};
use meridian_machine::{At, Effect, PartitionMachine, PartitionReply, Table};
use meridian_model::subscription::{Attempts, Settlement, SubscriptionRules};
use meridian_model::{
    BatchBuilder, Codec, ConsumerId, LogId, Message, Offset, Place, SubscriptionId, UnixMs,
};

use crate::subscription::{BatchMeta, DispatchBounds, MessageMeta};

/// A message of the log, as it was sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stored {
    pub(super) key: u64,
    pub(super) bytes: u32,
    pub(super) base: u64,
    pub(super) appended_at: u64,
    pub(super) deliver_at: u64,
    pub(super) expire_at: u64,
}

impl Stored {
    pub(super) fn is_delayed(&self) -> bool {
        self.deliver_at > self.appended_at
    }
}

/// The partition and its one subscription.
pub(super) struct Replica {
    pub(super) rules: SubscriptionRules,
    machine: PartitionMachine,
    pub(super) log: Vec<Stored>,
    /// Rows of delayed batches, as the machine wrote them: the first message of each, and how many.
    delayed: BTreeMap<Place, u32>,
    outbox_max: usize,
    pub(super) to: Option<LogId>,
}

const ID: SubscriptionId = SubscriptionId(7);

impl Replica {
    pub(super) fn new(rules: SubscriptionRules, bounds: &DispatchBounds, now: u64, outbox: usize) -> Self {
        let small = SmallBounds {
            settled_ranges_max: bounds.settled_ranges_max,
            settled_delayed_max: bounds.settled_delayed_max,
            attempts_max: bounds.attempts_max,
            dead_letters_max: outbox,
            settle_items_max: bounds.settle_items_max,
        };
        let mut replica = Self {
            rules: rules.clone(),
            machine: PartitionMachine::with_small_bounds(LogId::from_u128(1), small),
            log: Vec::new(),
            delayed: BTreeMap::new(),
            outbox_max: outbox,
            to: Some(LogId::from_u128(9)),
        };
        let (stamp, control_index) = (UnixMs(now), 1);
        // Each batch is a segment of its own, so that any of them can be trimmed.
        let policy = PartitionPolicy { segment_bytes: 1_000, ..PartitionPolicy::default() };
        replica.apply(PartitionCommand::SetPolicy { stamp, control_index, policy });
        let start = StartAt::Earliest;
        replica.order(SubscriptionCommand::SetSubscription { stamp, control_index, id: ID, rules, start });
        replica
    }

    fn order(&mut self, command: SubscriptionCommand) -> PartitionReply {
        self.apply(PartitionCommand::Subscription(command))
    }

    fn apply(&mut self, command: PartitionCommand) -> PartitionReply {
        let mut effects = Vec::new();
        let at = At { term: 1, index: self.machine.last_applied().index + 1 };
        let bytes = if matches!(command, PartitionCommand::Append { .. }) { 1_000 } else { 1 };
        let reply = self.machine.apply(at, bytes, &command, &mut effects);
        for effect in effects {
            if let Effect::Put(row) = effect
                && row.table == Table::DelayedByTime
            {
                let batch = DelayedBatch::by_time(&row.key, &row.value).expect("a row of the machine's");
                self.delayed.insert(batch.first, batch.count);
            }
        }
        reply
    }

    pub(super) fn view(&self) -> SubscriptionView<'_> {
        self.machine.subscription(ID).expect("was made")
    }

    pub(super) fn start(&self) -> u64 {
        self.machine.start().0
    }

    pub(super) fn end(&self) -> u64 {
        self.machine.end().0
    }

    pub(super) fn stamp(&self) -> u64 {
        self.machine.last_stamp().0
    }

    pub(super) fn dispatch_epoch(&self) -> u64 {
        self.machine.dispatch_epoch()
    }

    pub(super) fn outbox_room(&self) -> usize {
        let letters: usize = self.view().outbox().map(|(_, destination)| destination.letters.len()).sum();
        self.outbox_max - letters
    }

    /// Stores a batch. Returns when it is due, if it is delayed.
    pub(super) fn append(
        &mut self,
        now: u64,
        messages: &[(u64, u32)],
        deliver_at: u64,
        expire_at: u64,
    ) -> Option<u64> {
        let base = self.end();
        let batch = batch(messages.len(), UnixMs(deliver_at));
        let items = vec![AppendItem { batch, leaf: [0; 32], opened_at: UnixMs(now) }];
        self.apply(PartitionCommand::Append { stamp: UnixMs(now), items });
        let appended_at = self.stamp();
        for (key, bytes) in messages.iter().copied() {
            self.log.push(Stored { key, bytes, base, appended_at, deliver_at, expire_at });
        }
        assert_eq!(self.end(), self.log.len() as u64, "stored");
        let delayed = deliver_at > appended_at;
        assert_eq!(
            self.delayed.contains_key(&self.place(base)),
            delayed,
            "the machine finds the same delayed"
        );
        delayed.then_some(deliver_at)
    }

    pub(super) fn batch(&self, base: u64) -> BatchMeta {
        let first = self.log[base as usize];
        let rest = self.log[base as usize..].iter().take_while(|stored| stored.base == base);
        BatchMeta {
            base: Offset(base),
            appended_at: UnixMs(first.appended_at),
            deliver_at: UnixMs(first.deliver_at),
            expire_at: UnixMs(first.expire_at),
            messages: rest.map(|stored| MessageMeta { key_hash: stored.key, bytes: stored.bytes }).collect(),
        }
    }

    pub(super) fn bounds(&self) -> LogBounds {
        LogBounds { start: self.machine.start(), end: self.machine.end(), ..LogBounds::default() }
    }

    /// Places of delayed batches, in order, and how many messages each has.
    pub(super) fn delayed_batches(&self) -> impl Iterator<Item = (Place, u64)> {
        let rows = self.delayed.iter().map(|(first, count)| (*first, u64::from(*count)));
        rows.filter(|(first, count)| first.offset.0 + count > self.start())
    }

    /// Where a message stands: in the lane that delivers it.
    pub(super) fn place(&self, offset: u64) -> Place {
        let stored = self.log[offset as usize];
        let deliver_at = if stored.is_delayed() { UnixMs(stored.deliver_at) } else { UnixMs(0) };
        Place { deliver_at, offset: Offset(offset) }
    }

    /// Whether a message is still to be delivered, as the partition has it.
    pub(super) fn is_open(&self, offset: u64) -> bool {
        offset >= self.start() && !self.view().is_settled(self.place(offset))
    }

    pub(super) fn open(&self) -> impl Iterator<Item = u64> {
        (self.start()..self.end()).filter(|offset| self.is_open(*offset))
    }

    pub(super) fn attempts(&self, offset: u64) -> Attempts {
        self.view().attempts_of(self.place(offset))
    }

    pub(super) fn begin(&mut self, now: u64) -> Standing {
        self.order(SubscriptionCommand::BeginDispatch { stamp: UnixMs(now) });
        self.standing()
    }

    pub(super) fn own(&mut self, now: u64, consumer: ConsumerId) -> u64 {
        let owner = Some(consumer);
        match self.order(SubscriptionCommand::Own { stamp: UnixMs(now), id: ID, owner }) {
            PartitionReply::Owned { epoch } => epoch,
            reply => panic!("{reply:?}"),
        }
    }

    pub(super) fn seek(&mut self, now: u64, to: u64) -> Standing {
        let delayed_before = self.log[..to as usize].iter().filter(|stored| stored.is_delayed()).count();
        let to = StartAt::Offset { offset: Offset(to), delayed_before: delayed_before as u64 };
        let reply = self.order(SubscriptionCommand::Seek { stamp: UnixMs(now), id: ID, to });
        assert!(matches!(reply, PartitionReply::Sought { .. }), "{reply:?}");
        self.standing()
    }

    /// Removes the oldest batches; what was not settled of them is dropped.
    pub(super) fn trim(&mut self, now: u64, batches: usize) {
        let bytes = self.machine.segments().skip(batches).map(|segment| segment.bytes).sum();
        self.order(SubscriptionCommand::TrimBacklog {
            stamp: UnixMs(now),
            before: None,
            keep_bytes: Some(bytes),
            forget_producers_before: None,
            live_delayed: None,
            drop_backlog: true,
        });
    }

    /// Some dead letters arrive.
    pub(super) fn move_letters(&mut self, now: u64, most: usize) {
        let first = self.view().outbox().find_map(|(to, destination)| {
            let through = destination.letters.keys().take(most).next_back().copied()?;
            Some((to, through))
        });
        if let Some((destination, through_sequence)) = first {
            let stamp = UnixMs(now);
            self.order(SubscriptionCommand::Moved { stamp, id: ID, destination, through_sequence });
        }
    }

    /// Settles, or refuses.
    pub(super) fn settle(
        &mut self,
        now: u64,
        mandate: Mandate,
        settlement: &Settlement,
    ) -> Result<(), CursorRefusal> {
        let Mandate { subscription, seek_epoch, owner_epoch } = mandate;
        let settlement = settlement.clone();
        let part = SettlePart { id: subscription, seek_epoch, owner_epoch, settlement };
        match self.order(SubscriptionCommand::Settle { stamp: UnixMs(now), parts: vec![part] }) {
            PartitionReply::Settled(outcomes) => match outcomes[..] {
                [SettleOutcome::Applied] => Ok(()),
                [SettleOutcome::Refused(refusal)] => Err(words::refusal(refusal)),
                _ => panic!("one part, {outcomes:?}"),
            },
            reply => panic!("{reply:?}"),
        }
    }

    /// What stands, as the port says it.
    pub(super) fn standing(&self) -> Standing {
        words::standing(&self.view(), &self.machine, self.outbox_room())
    }
}

/// A batch of so many messages: what is in them is said elsewhere.
fn batch(count: usize, deliver_at: UnixMs) -> bytes::Bytes {
    thread_local! {
        static PLAIN: Vec<meridian_model::Batch> = (1..=super::world::BATCH_MAX).map(|count| {
            let mut builder = BatchBuilder::new(Codec::None);
            (0..count).for_each(|_| builder.push(&Message::new("a")));
            builder.build().expect("a batch")
        }).collect();
    }
    PLAIN.with(|plain| {
        let plain = &plain[count - 1];
        let (mut header, mut bytes) = (plain.header().clone(), Vec::new());
        header.deliver_at = deliver_at;
        header.encode(&mut bytes);
        bytes.extend_from_slice(&plain.bytes()[plain.header().header_bytes()..]);
        bytes.into()
    })
}
