//! One step of a schedule: what random bytes mean in the present state.

use meridian_model::{LogId, Offset, UnixMs};

use super::TAPE;
use super::coverage::{Coverage as Counts, Met};
use super::image::Image;
use super::oracle;
use super::world::{Body, LEGS, Leg, Packet, World, region};
use crate::chain::{Head, Leaf};
use crate::coverage::Refused;
use crate::frame::{Frame, Item, Shipped, Skip, SkipReason};
use crate::region::{RegionSet, Stamp};
use crate::route::{RouteChange, RouteEpoch};
use crate::shipper::Event;
use crate::tests::dice::Dice;

const MESSAGES_MAX: u64 = 60;
const LOGS_MAX: usize = 4;
/// Packets on their way at most: older ones are lost.
const PACKETS_MAX: usize = 40;

pub(super) fn step(world: &mut World, bytes: &[u8; TAPE], counts: &mut Counts) -> Result<(), String> {
    let mut dice = Dice::new(bytes);
    while world.network.len() > PACKETS_MAX {
        world.network.remove(0);
    }
    match dice.roll() {
        0..=44 => publish(world, &mut dice, counts),
        45..=119 => {
            for _ in 0..3 {
                deliver(world, &mut dice, counts)?;
            }
        }
        120..=159 => {
            counts.met(Met::OpApply);
            let receiver = if dice.one_in(3) { &mut world.hop } else { &mut world.destination };
            let replies: Vec<Packet> = (0..=dice.below(3))
                .map(|_| receiver.apply(counts))
                .collect::<Result<Vec<_>, _>>()?
                .into_iter()
                .flatten()
                .collect();
            world.network.extend(replies);
        }
        160..=189 => tell(world, &mut dice, counts)?,
        190..=195 => {
            counts.met(Met::OpShipperCrash);
            let (leg, log) = pick(world, &mut dice);
            world.start(leg, log, counts)?;
        }
        196..=199 => {
            counts.met(Met::OpReceiverCrash);
            let receiver = if dice.one_in(3) { &mut world.hop } else { &mut world.destination };
            let survive = dice.below(receiver.proposed.len() + 1);
            (survive..receiver.proposed.len()).for_each(|_| counts.met(Met::ProposalLost));
            receiver.proposed.truncate(survive);
        }
        200..=204 => {
            counts.met(Met::OpDisconnect);
            let (leg, log) = pick(world, &mut dice);
            world.event(leg, log, Event::Disconnected, counts)?;
            world.event(leg, log, Event::Connected, counts)?;
        }
        205..=208 => {
            counts.met(Met::OpSilence);
            let (leg, log) = pick(world, &mut dice);
            world.event(leg, log, Event::Silence, counts)?;
        }
        209..=220 => trim(world, &mut dice, counts),
        221..=226 => {
            counts.met(Met::OpTimePasses);
            world.now = world.now.plus_ms(1 + dice.below(60) as u64);
        }
        227..=244 => route(world, &mut dice, counts)?,
        245..=249 => history(world, &mut dice, counts),
        250..=251 => forge(world, &mut dice, counts)?,
        _ => other_history(world, &mut dice, counts)?,
    }
    Ok(())
}

fn pick(world: &World, dice: &mut Dice<'_>) -> (Leg, LogId) {
    let origin = &world.origins[world.origins.len() - 1 - dice.below(world.origins.len().min(2))];
    (LEGS[dice.below(3)], origin.image.log)
}

fn publish(world: &mut World, dice: &mut Dice<'_>, counts: &mut Counts) {
    counts.met(Met::OpPublish);
    let (o, h, d) = (region("o"), region("h"), region("d"));
    let set = |roll: usize| match roll {
        0 => RegionSet::only([&o, &d]),
        1 => RegionSet::only([&o, &h]),
        2 => RegionSet::only([&o]),
        _ => RegionSet::Everywhere,
    };
    let stamp = Stamp { regions: set(dice.below(8)), allowed: set(dice.below(12)) };
    let expires = if dice.one_in(4) { world.now.plus_ms(1 + dice.below(50) as u64) } else { UnixMs(0) };
    let (count, now) = (1 + dice.below(6).saturating_sub(3), world.now);
    let batch = world.batch(count, expires);
    let origin = world.newest();
    if origin.rule && oracle::goes(&stamp, &d) && !oracle::goes(&stamp, &h) {
        counts.met(Met::PublishRefusedByRule);
    } else if origin.image.end().0 < MESSAGES_MAX && !origin.deleted {
        origin.image.append(now, stamp, batch);
    }
}

fn deliver(world: &mut World, dice: &mut Dice<'_>, counts: &mut Counts) -> Result<(), String> {
    counts.met(Met::OpDeliver);
    if world.network.is_empty() {
        return Ok(());
    }
    // Mostly in order: then windows get far.
    let at = if dice.below(4) < 3 { 0 } else { dice.below(world.network.len()) };
    let is_frame = matches!(world.network[at].body, Body::Frame(_));
    match dice.below(10) {
        0 => {
            counts.met(if is_frame { Met::FrameDropped } else { Met::ReplyDropped });
            world.network.remove(at);
            return Ok(());
        }
        1 if is_frame => damage(&world.network[at].clone(), dice, counts),
        2..=3 => {
            if is_frame {
                counts.met(Met::FrameRepeated);
            }
            let packet = world.network[at].clone();
            return world.arrive(packet, counts);
        }
        _ if is_frame && at > 0 => counts.met(Met::FrameReordered),
        _ => {}
    }
    let packet = world.network.remove(at);
    world.arrive(packet, counts)
}

/// A damaged copy of a frame is never taken for one: the stream is cut, or a bit flips that nobody else noticed.
fn damage(packet: &Packet, dice: &mut Dice<'_>, counts: &mut Counts) {
    let Body::Frame(bytes) = &packet.body else {
        return;
    };
    let at = (dice.roll() * 256 + dice.roll()) % bytes.len();
    if dice.one_in(2) {
        counts.met(Met::FrameCut);
        assert!(Frame::decode(&bytes.slice(..at)).is_err(), "a frame that was cut at {at}");
        return;
    }
    counts.met(Met::FrameFlipped);
    let mut damaged = bytes.to_vec();
    damaged[at] ^= 1 << dice.below(8);
    let whole = Frame::decode(bytes).and_then(|frame| Ok(frame.verify()?));
    let flipped = Frame::decode(&damaged.into()).and_then(|frame| Ok(frame.verify()?));
    assert_ne!(flipped, whole, "a bit of byte {at} says nothing");
}

/// Ends and routes become known.
fn tell(world: &mut World, dice: &mut Dice<'_>, counts: &mut Counts) -> Result<(), String> {
    counts.met(Met::OpTell);
    if dice.one_in(2) {
        world.open_all();
    }
    let (leg, log) = pick(world, dice);
    if !world.shippers.contains_key(&(leg, log)) {
        return world.start(leg, log, counts);
    }
    world.tell_route(leg, log, counts)?;
    world.tell_end(leg, log, counts)
}

fn trim(world: &mut World, dice: &mut Dice<'_>, counts: &mut Counts) {
    counts.met(Met::OpTrim);
    let hop = dice.one_in(3);
    let log = world.newest().image.log;
    let image = match hop {
        true => world.hop.images.get_mut(&log),
        false => Some(&mut world.newest().image),
    };
    let Some(image) = image else {
        return;
    };
    let places: Vec<Offset> =
        image.boundaries().into_iter().filter(|at| *at >= image.start).take(4).collect();
    image.start = places[dice.below(places.len())];
    // Heads are kept longer than bytes, but not for ever.
    if dice.below(8) > 0 {
        image.heads_from = image.start;
    }
}

fn route(world: &mut World, dice: &mut Dice<'_>, counts: &mut Counts) -> Result<(), String> {
    counts.met(Met::OpRoute);
    let (o, h, d) = (region("o"), region("h"), region("d"));
    let log = world.newest().image.log;
    let Some(row) = world.destination.coverage.row(log) else {
        return Ok(());
    };
    let (straight, epoch, watermark) = (row.upstream == o, row.epoch, row.watermark);
    let origin = world.newest();
    match (&mut origin.change, straight) {
        (None, true) if origin.rule => {
            counts.met(Met::Relaxed);
            origin.rule = false;
        }
        (None, true) => {
            counts.met(Met::Announced);
            let omits = |item: &&Item| match item {
                Item::Batch(shipped) => oracle::goes(&shipped.stamp, &d) && !oracle::goes(&shipped.stamp, &h),
                Item::Skip(_) => false,
            };
            let barrier = origin.image.items.iter().rev().find(omits).map_or(Offset(0), |i| i.range().to);
            let mut change = RouteChange::new(log, h, RouteEpoch(epoch.0 + 1));
            change.ruled(barrier);
            (origin.rule, origin.change) = (true, Some(change));
        }
        (Some(change), _) => {
            if change.start(watermark).is_err() {
                counts.met(Met::EpochWaits);
                return Ok(());
            }
            counts.met(Met::EpochStartsOverHop);
            let (upstream, epoch) = (change.upstream().clone(), change.epoch());
            origin.change = None;
            if world.hop.watermark(log) < watermark {
                counts.met(Met::HopBehindDestination);
            }
            let started = world.destination.coverage.reroute(log, upstream, epoch);
            started.map_err(|error| error.to_string())?;
        }
        (None, false) if dice.one_in(5) => {
            counts.met(Met::EpochStartsStraight);
            let started = world.destination.coverage.reroute(log, o, RouteEpoch(epoch.0 + 1));
            started.map_err(|error| error.to_string())?;
        }
        (None, false) => {}
    }
    Ok(())
}

fn history(world: &mut World, dice: &mut Dice<'_>, counts: &mut Counts) {
    counts.met(Met::OpHistory);
    let more = world.origins.len() < LOGS_MAX;
    let id = LogId::from_u128(world.origins.len() as u128 + 1);
    let origin = world.newest();
    let places: Vec<Offset> =
        origin.image.boundaries().into_iter().filter(|at| *at >= origin.image.start).collect();
    let kept = places[places.len() - 1 - dice.below(places.len().min(4))];
    match dice.below(7) {
        0..=2 if origin.before.is_none() && kept < origin.image.end() => {
            counts.met(Met::RolledBack);
            origin.before = Some(origin.image.clone());
            origin.image.items.retain(|item| item.range().to <= kept);
            for _ in 0..dice.below(4) {
                let (now, batch) = (world.now, world.batch(1, UnixMs(0)));
                world.newest().image.append(now, Stamp::default(), batch);
            }
        }
        3..=4 if more && origin.before.is_none() => {
            counts.met(Met::Restored);
            // Sealed where the backup ends. What the new log has of the old one, it does not ship.
            origin.before = Some(origin.image.clone());
            origin.image.items.retain(|item| item.range().to <= kept);
            origin.change = None;
            let mut restored = Image::new(id);
            let range = meridian_model::OffsetRange::new(Offset(0), kept);
            if !range.is_empty() {
                let skip =
                    Skip { range, reason: SkipReason::BeforeLink, after: Head::initial(id), verified: true };
                restored.items.push(Item::Skip(skip));
            }
            world.add_log(restored, kept);
        }
        5 if more => {
            counts.met(Met::Recreated);
            origin.deleted = true;
            let log = origin.image.log;
            for receiver in [&mut world.hop, &mut world.destination] {
                receiver.coverage.close(log);
            }
            world.add_log(Image::new(id), Offset(0));
        }
        _ => {}
    }
}

/// An upstream with other policies, or none, ships what must not be here, or too much at once.
fn forge(world: &mut World, dice: &mut Dice<'_>, counts: &mut Counts) -> Result<(), String> {
    counts.met(Met::OpForge);
    let log = world.newest().image.log;
    let Some(row) = world.destination.coverage.row(log).filter(|row| row.halted.is_none()) else {
        return Ok(());
    };
    let (upstream, epoch, base, head) = (row.upstream.clone(), row.epoch, row.watermark, row.head);
    let oversized = dice.one_in(2);
    let allowed = if oversized { RegionSet::Everywhere } else { RegionSet::only([&region("o")]) };
    let stamp = Stamp { regions: RegionSet::Everywhere, allowed };
    let batch = world.batch(if oversized { 60 } else { 1 }, UnixMs(0));
    let after = head.after(base, &Leaf::of(batch.bytes()));
    let shipped = Shipped { base, appended_at: world.now, stamp, batch, after };
    let frame = Frame::new(log, epoch, base, Some(head), vec![Item::Batch(shipped)]);
    let frame = frame.map_err(|error| error.to_string())?;
    let admitted = world.destination.coverage.admit(&upstream, &frame, super::receiver::ENTRY_BYTES);
    match (oversized, admitted) {
        (true, Err(Refused::Oversized { .. })) => counts.met(Met::RefusedOversized),
        (false, Err(Refused::Residency { .. })) => counts.met(Met::RefusedResidency),
        (_, other) => return Err(format!("what must not be here: {other:?}")),
    }
    Ok(())
}

/// A frame of one of the histories of a log that changed its past comes late, and fits the watermark.
fn other_history(world: &mut World, dice: &mut Dice<'_>, counts: &mut Counts) -> Result<(), String> {
    counts.met(Met::OpOtherHistory);
    let Some(origin) = world.origins.iter().rev().find(|origin| origin.before.is_some()) else {
        return Ok(());
    };
    let log = origin.image.log;
    let image = origin.before.as_ref().filter(|_| dice.below(3) > 0).unwrap_or(&origin.image);
    let Some(row) = world.destination.coverage.row(log) else {
        return Ok(());
    };
    let first = image.items.iter().find(|item| item.range().from == row.watermark);
    let (before, item) = match (first, image.head_at(row.watermark)) {
        (Some(Item::Batch(shipped)), Some(before)) if oracle::goes(&shipped.stamp, &region("d")) => {
            (before, Item::Batch(shipped.clone()))
        }
        (Some(item @ Item::Batch(_)), Some(before)) => {
            let (range, after) = (item.range(), item.after());
            (before, Item::Skip(Skip { range, reason: SkipReason::Narrowed, after, verified: true }))
        }
        // Or one that nobody has seen, of an upstream that was itself rolled back.
        _ if dice.one_in(3) => {
            let range = meridian_model::OffsetRange::one(row.watermark);
            let (before, after) = (Head([0x5a; 32]), Head([0x5b; 32]));
            (before, Item::Skip(Skip { range, reason: SkipReason::Narrowed, after, verified: true }))
        }
        _ => return Ok(()),
    };
    let frame = Frame::new(log, row.epoch, row.watermark, Some(before), vec![item]);
    let frame = frame.map_err(|error| error.to_string())?;
    let leg = if row.upstream == region("h") { Leg::HopToDestination } else { Leg::OriginToDestination };
    let mut bytes = Vec::new();
    frame.encode(&mut bytes);
    // At the front: it arrives before the watermark has moved on.
    world.network.insert(0, Packet { leg, log, session: 0, body: Body::Frame(bytes.into()) });
    Ok(())
}
