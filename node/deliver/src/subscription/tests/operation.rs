//! Turns random bytes into what happens next.

use meridian_model::{Offset, Place, UnixMs};

use super::answers::Outcome;
use super::coverage::Met;
use super::judge::ensure;
use super::world::{BATCH_MAX, World};
use crate::subscription::{Event, Join, Leaving};

/// Random bytes, read one after another.
pub(super) struct Dice<'a>(pub(super) std::slice::Iter<'a, u8>);

impl Dice<'_> {
    pub(super) fn roll(&mut self) -> u64 {
        self.0.next().copied().map_or(0, u64::from)
    }

    /// Below `n`.
    pub(super) fn below(&mut self, n: u64) -> u64 {
        self.roll() % n.max(1)
    }
}

/// What these bytes mean now.
pub(super) fn step(cell: &super::run::Cell, world: &mut World<'_>) -> Result<(), String> {
    let mut dice = Dice(cell.iter());
    match dice.roll() {
        0..=25 => append(&mut dice, world),
        26..=37 => join(&mut dice, world),
        38..=40 => leave(&mut dice, world),
        41..=42 => drain(&mut dice, world),
        43..=60 => credit(&mut dice, world),
        61..=124 => super::speech::say(&mut dice, world),
        125..=148 | 249.. => super::bad::say(&mut dice, world),
        149..=180 => {
            let fails = dice.below(10) == 0;
            world.answer_read(fails).map(drop)
        }
        181..=212 => {
            let outcome = match dice.below(8) {
                0 => Outcome::Unavailable,
                1 => Outcome::UnknownApplied,
                2 => Outcome::UnknownLost,
                3 => Outcome::UnknownLimbo,
                _ => Outcome::Committed,
            };
            let applies = dice.below(2) == 0;
            let _ = world.answer_commit(outcome)? || world.answer_begin(applies)?;
            let owned =
                [Outcome::Unavailable, Outcome::UnknownApplied, Outcome::UnknownLost, Outcome::Committed];
            world.answer_own(owned[dice.below(4) as usize]).map(drop)
        }
        213..=215 => seek(&mut dice, world),
        216 => trim(&mut dice, world),
        217..=221 => change_leader(&mut dice, world),
        222..=223 => world.begin_for_another(),
        224..=227 => {
            world.met.met(Met::OpOutbox);
            world.replica.move_letters(world.now, 1 + dice.below(2) as usize);
            world.outbox()
        }
        _ => {
            world.met.met(Met::OpTick);
            world.now += match dice.below(10) {
                0..=5 => 1 + dice.below(6),
                6..=8 => 5 + dice.below(40),
                _ => 60 + dice.below(180),
            };
            world.tell(Event::Tick)
        }
    }
}

/// The leader changes, and some consumers are back at once, with what they hold and what they have done.
fn change_leader(dice: &mut Dice<'_>, world: &mut World<'_>) -> Result<(), String> {
    let connected = |number: &usize| world.clients[*number].connected;
    let back: Vec<usize> = (0..world.clients.len()).filter(connected).collect();
    world.change_leader(dice.below(2) == 0)?;
    for number in back {
        let (returns, done) = (dice.below(4) > 0, dice.below(4) > 0);
        if returns {
            rejoin(number, world)?;
        }
        let first = world.clients[number].holds.iter().next().map(|(offset, hold)| (*offset, hold.under));
        if let Some((offset, under)) = first.filter(|_| done && world.clients[number].connected) {
            super::speech::ack(number, under, &[offset], world)?;
        }
    }
    Ok(())
}

pub(super) fn append(dice: &mut Dice<'_>, world: &mut World<'_>) -> Result<(), String> {
    world.met.met(Met::OpAppend);
    let count = 1 + dice.below(BATCH_MAX as u64);
    let messages: Vec<(u64, u32)> =
        (0..count).map(|_| (key(dice.below(5)), 10 + dice.below(90) as u32)).collect();
    let stamp = world.now.max(world.replica.stamp());
    let manner = dice.below(8);
    let deliver_at = match manner {
        0..=2 => {
            world.met.met(Met::OpAppendDelayed);
            stamp + 1 + dice.below(30)
        }
        _ => 0,
    };
    let expire_at = match manner {
        2 | 3 => {
            world.met.met(Met::OpAppendExpiring);
            stamp + dice.below(80)
        }
        _ => 0,
    };
    let delayed = world.replica.append(world.now, &messages, deliver_at, expire_at).map(UnixMs);
    let (end, stamp) = (Offset(world.replica.end()), UnixMs(world.replica.stamp()));
    world.tell(Event::TailMoved { end, stamp, delayed })
}

/// Zero is no key; the others lie far apart.
fn key(number: u64) -> u64 {
    if number == 0 { 0 } else { meridian_model::hash::key_hash(&number.to_be_bytes()) }
}

pub(super) fn join(dice: &mut Dice<'_>, world: &mut World<'_>) -> Result<(), String> {
    let number = dice.below(world.clients.len() as u64) as usize;
    let keeps = dice.below(4) > 0;
    let client = &mut world.clients[number];
    client.priority = dice.below(3) as u32;
    if !keeps {
        client.holds.clear();
    }
    rejoin_with(number, dice.below(2) == 0, world)
}

/// A consumer comes, or comes back with what it holds.
pub(super) fn rejoin(number: usize, world: &mut World<'_>) -> Result<(), String> {
    rejoin_with(number, false, world)
}

/// A message that another consumer has.
fn held_by_another(id: meridian_model::ConsumerId, world: &World<'_>) -> Option<u64> {
    let others = world.judge.held.iter().filter(|(_, (holder, until))| *holder != id && *until > world.now);
    others.map(|(offset, _)| *offset).find(|offset| world.dispatcher.is_held(Offset(*offset)))
}

/// `covets`: it says that it holds another one's message, too.
fn rejoin_with(number: usize, covets: bool, world: &mut World<'_>) -> Result<(), String> {
    let client = &world.clients[number];
    let (id, again) = (client.id, client.connected || client.lost_at.is_some());
    let seek_epoch = client.holds.values().map(|hold| hold.under.seek).max().unwrap_or_default();
    let of_epoch = client.holds.iter().filter(|(_, hold)| hold.under.seek == seek_epoch);
    let holds =
        of_epoch.map(|(offset, _)| world.replica.place(*offset)).take(world.bounds.unacked_consumer_max);
    let mut holds: Vec<Place> = holds.collect();
    if covets && let Some(other) = held_by_another(id, world) {
        holds.push(world.replica.place(other));
    }
    let (priority, ranges) = (client.priority, client.ranges.clone());
    let join = Join {
        consumer: id,
        kind: world.kind,
        priority,
        ranges: ranges.clone(),
        holds: holds.clone(),
        seek_epoch,
    };
    let mut let_in = true;
    let owner = world.kind.is_owned() && world.replica.view().owner() == Some(id);
    world.tell_about(Event::Joined(join), |world, refusals| {
        if let Some((.., refusal)) = refusals.iter().find(|(consumer, ..)| *consumer == id) {
            use crate::subscription::Refusal::{OwnerPresent, RangeTaken, TooManyConsumers};
            match refusal {
                TooManyConsumers { .. } => world.met.met(Met::TooManyConsumers),
                OwnerPresent => world.met.met(Met::BadSecondExclusive),
                RangeTaken => world.met.met(Met::BadRange),
                _ => {}
            }
            let_in = false;
            return;
        }
        world.met.met(if again { Met::OpRejoin } else { Met::OpJoin });
        if !ranges.is_empty() {
            world.met.met(Met::StickyRanges);
        }
        if owner {
            world.judge.grace_until = 0;
        }
        let stale = seek_epoch != world.replica.view().seek_epoch();
        let had = world.judge.held.iter().filter(|(_, (holder, _))| *holder == id);
        let kept = |offset: &u64| !stale && holds.iter().any(|place| place.offset.0 == *offset);
        let lost: Vec<u64> = had.map(|(offset, _)| *offset).filter(|offset| !kept(offset)).collect();
        lost.into_iter().for_each(|offset| world.judge.released(offset, false));
        let client = world.client(id);
        client.connected = true;
        client.lost_at = None;
        client.draining = false;
        (client.messages, client.bytes) = (0, 0);
    })?;
    let client = &world.clients[number];
    let kept: Vec<u64> =
        holds.iter().map(|place| place.offset.0).filter(|o| let_in && client.holds.contains_key(o)).collect();
    for offset in kept {
        let until = world.now + world.replica.rules.lease_ms;
        let known = world.judge.held.insert(offset, (id, until));
        let mine = known.is_none_or(|(holder, _)| holder == id);
        ensure(mine || !again, || format!("SUB-4: {offset} kept by {id:?} and held by {known:?}"))?;
        world.met.met(if known.is_some() { Met::KeptOverReconnect } else { Met::KeptOverLeaders });
        world.judge.last_holder.insert(offset, id);
    }
    Ok(())
}

fn leave(dice: &mut Dice<'_>, world: &mut World<'_>) -> Result<(), String> {
    let Some(number) = connected(dice, world) else { return Ok(()) };
    let (id, closed) = (world.clients[number].id, dice.below(3) == 0);
    let client = &mut world.clients[number];
    if closed {
        world.met.met(Met::OpClose);
        client.disconnect();
        client.holds.clear();
        world.judge.released_all(id, false);
        world.tell(Event::Left(id, Leaving::Closed))
    } else {
        world.met.met(Met::OpLose);
        client.disconnect();
        client.lost_at = Some(world.now);
        world.tell(Event::Left(id, Leaving::Lost))
    }
}

fn drain(dice: &mut Dice<'_>, world: &mut World<'_>) -> Result<(), String> {
    let Some(number) = connected(dice, world) else { return Ok(()) };
    world.met.met(Met::OpDrain);
    world.clients[number].draining = true;
    let id = world.clients[number].id;
    world.tell(Event::Draining(id))
}

pub(super) fn credit(dice: &mut Dice<'_>, world: &mut World<'_>) -> Result<(), String> {
    let Some(number) = connected(dice, world) else { return Ok(()) };
    world.met.met(Met::OpCredit);
    let (messages, bytes) = (1 + dice.below(12), 20 + 8 * dice.below(100));
    grant(number, messages, bytes, world)
}

pub(super) fn grant(number: usize, messages: u64, bytes: u64, world: &mut World<'_>) -> Result<(), String> {
    let client = &mut world.clients[number];
    if client.messages + messages > world.bounds.credit_messages_max
        || client.bytes + bytes as i64 > world.bounds.credit_bytes_max as i64
    {
        return Ok(());
    }
    client.messages += messages;
    client.bytes += bytes as i64;
    let consumer = client.id;
    world.tell(Event::Credit { consumer, messages, bytes })
}

fn seek(dice: &mut Dice<'_>, world: &mut World<'_>) -> Result<(), String> {
    world.met.met(Met::OpSeek);
    if world.commit.is_some() {
        world.met.met(Met::SoughtWithSettlementInFlight);
    }
    let (start, end) = (world.replica.start(), world.replica.end());
    let to = start + dice.roll() * (end - start) / 255;
    let standing = world.replica.seek(world.now, to);
    world.judge.sought();
    world.tell(Event::Sought(Box::new(standing)))?;
    match dice.below(4) {
        0 => Ok(()),
        _ => world.answer_commit(Outcome::Committed).map(drop),
    }
}

fn trim(dice: &mut Dice<'_>, world: &mut World<'_>) -> Result<(), String> {
    world.met.met(Met::OpTrim);
    world.replica.trim(world.now, 1 + dice.below(3) as usize);
    world.tell(Event::Trimmed(Offset(world.replica.start())))
}

pub(super) fn connected(dice: &mut Dice<'_>, world: &World<'_>) -> Option<usize> {
    let all: Vec<usize> =
        (0..world.clients.len()).filter(|number| world.clients[*number].connected).collect();
    let pick = dice.roll() as usize;
    (!all.is_empty()).then(|| all[pick % all.len()])
}
