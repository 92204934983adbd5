//! Three regions, the network between them, and what the origin did.

use std::collections::BTreeMap;

use bytes::Bytes;
use meridian_model::batch::Batch;
use meridian_model::{BatchBuilder, BatchHeader, Codec, LogId, Message, Offset, ProducerId, UnixMs};

use super::coverage::{Coverage as Counts, Met};
use super::image::Image;
use super::receiver::Receiver;
use crate::chain::Head;
use crate::coverage::Refused;
use crate::frame::Frame;
use crate::region::Region;
use crate::route::{RouteChange, RouteEpoch};
use crate::shipper::{Action, Event, Shipper, ShipperConfig, Stopped};

/// Bytes on their way at most, and bytes of a frame: a few batches.
pub(super) const WINDOW_BYTES: usize = 1_500;
const FRAME_BYTES: usize = 700;

pub(super) fn region(name: &str) -> Region {
    Region::parse(name).expect("a name")
}

/// Who ships to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Leg {
    OriginToHop,
    OriginToDestination,
    HopToDestination,
}

pub(super) const LEGS: [Leg; 3] = [Leg::OriginToHop, Leg::OriginToDestination, Leg::HopToDestination];

impl Leg {
    pub(super) fn upstream(self) -> Region {
        region(if self == Leg::HopToDestination { "h" } else { "o" })
    }

    fn destination(self) -> Region {
        region(if self == Leg::OriginToHop { "h" } else { "d" })
    }
}

/// Something on its way.
#[derive(Clone)]
pub(super) struct Packet {
    pub(super) leg: Leg,
    pub(super) log: LogId,
    pub(super) session: u64,
    pub(super) body: Body,
}

#[derive(Clone)]
pub(super) enum Body {
    Ask,
    Frame(Bytes),
    Watermark(Offset, Head),
    Refused(Refused),
}

/// One log of the origin, and the route of its messages to the destination.
pub(super) struct Origin {
    pub(super) image: Image,
    /// What it held before its disks were rolled back.
    pub(super) before: Option<Image>,
    pub(super) deleted: bool,
    /// Below, messages belong to an older log.
    pub(super) base: Offset,
    pub(super) rule: bool,
    pub(super) change: Option<RouteChange>,
}

pub(super) struct World {
    pub(super) now: UnixMs,
    pub(super) origins: Vec<Origin>,
    pub(super) hop: Receiver,
    pub(super) destination: Receiver,
    pub(super) shippers: BTreeMap<(Leg, LogId), Shipper>,
    pub(super) stopped: BTreeMap<(Leg, LogId), Stopped>,
    pub(super) network: Vec<Packet>,
    pub(super) sessions: u64,
    pub(super) made: u64,
}

impl World {
    pub(super) fn new() -> Self {
        let mut world = Self {
            now: UnixMs(1_000),
            origins: Vec::new(),
            hop: Receiver::new("h"),
            destination: Receiver::new("d"),
            shippers: BTreeMap::new(),
            stopped: BTreeMap::new(),
            network: Vec::new(),
            sessions: 0,
            made: 0,
        };
        world.add_log(Image::new(LogId::from_u128(1)), Offset(0));
        world.open_all();
        world
    }

    pub(super) fn add_log(&mut self, image: Image, base: Offset) {
        let (before, change) = (None, None);
        self.origins.push(Origin { image, before, deleted: false, base, rule: false, change });
    }

    /// The receivers let in every log that exists.
    pub(super) fn open_all(&mut self) {
        for origin in self.origins.iter().filter(|origin| !origin.deleted) {
            for receiver in [&mut self.hop, &mut self.destination] {
                let opened =
                    receiver.coverage.open(origin.image.log, region("o"), region("o"), RouteEpoch(1));
                assert_eq!(opened, Ok(()));
            }
        }
    }

    pub(super) fn newest(&mut self) -> &mut Origin {
        self.origins.last_mut().expect("there always is one")
    }

    /// A batch that never was before.
    pub(super) fn batch(&mut self, count: usize, expire_at: UnixMs) -> Batch {
        self.made += 1;
        let producer = ProducerId::from_u128(u128::from(self.made));
        let mut builder = BatchBuilder::new(Codec::None).producer(producer, 1, 0);
        (0..count).for_each(|n| builder.push(&Message::new(vec![n as u8; 5])));
        let built = builder.build().expect("a batch");
        let header = BatchHeader { expire_at, ..built.header().clone() };
        let mut bytes = Vec::new();
        header.encode(&mut bytes);
        bytes.extend_from_slice(&built.bytes()[built.header().header_bytes()..]);
        Batch::trust(Bytes::from(bytes)).expect("a batch")
    }

    pub(super) fn receiver(&mut self, leg: Leg) -> &mut Receiver {
        if leg == Leg::OriginToHop { &mut self.hop } else { &mut self.destination }
    }

    /// What a leg reads from; `None` while its region has nothing of the log.
    pub(super) fn source(&self, leg: Leg, log: LogId) -> Option<&Image> {
        match leg {
            Leg::HopToDestination => self.hop.images.get(&log),
            _ => self.origins.iter().map(|origin| &origin.image).find(|image| image.log == log),
        }
    }

    /// A shipper without memory, connected, that knows the route and the end.
    pub(super) fn start(&mut self, leg: Leg, log: LogId, counts: &mut Counts) -> Result<(), String> {
        self.sessions += 1_000;
        let config = ShipperConfig {
            log,
            destination: leg.destination(),
            begin: Offset(0),
            window_bytes: WINDOW_BYTES,
            frame_bytes: FRAME_BYTES + if self.sessions.is_multiple_of(3_000) { 400 } else { 0 },
            relays: leg == Leg::HopToDestination,
        };
        self.stopped.remove(&(leg, log));
        self.shippers.insert((leg, log), Shipper::new(config, RouteEpoch(0), self.sessions));
        self.tell_route(leg, log, counts)?;
        self.event(leg, log, Event::Connected, counts)?;
        self.tell_end(leg, log, counts)
    }

    pub(super) fn tell_route(&mut self, leg: Leg, log: LogId, counts: &mut Counts) -> Result<(), String> {
        let Some(row) = self.receiver(leg).coverage.row(log) else {
            return Ok(());
        };
        let (epoch, ours) = (row.epoch, row.upstream == leg.upstream());
        self.event(leg, log, Event::Route { epoch, ours }, counts)
    }

    pub(super) fn tell_end(&mut self, leg: Leg, log: LogId, counts: &mut Counts) -> Result<(), String> {
        let end = self.source(leg, log).map_or(Offset(0), Image::end);
        self.event(leg, log, Event::End(end), counts)
    }

    /// Gives a shipper an event, and does what it asks for. Reading is local and never fails.
    pub(super) fn event(
        &mut self,
        leg: Leg,
        log: LogId,
        event: Event,
        counts: &mut Counts,
    ) -> Result<(), String> {
        let Some(shipper) = self.shippers.get_mut(&(leg, log)) else {
            return Ok(());
        };
        let mut todo = std::collections::VecDeque::from(shipper.handle(event));
        while let Some(action) = todo.pop_front() {
            match action {
                Action::Ask { session } => self.network.push(Packet { leg, log, session, body: Body::Ask }),
                Action::Read { session, from, bytes } => {
                    let image = self.source(leg, log).ok_or("asked to read what is not there")?;
                    let reading = image.read(session, from, bytes, self.now);
                    let shipper = self.shippers.get_mut(&(leg, log)).ok_or("no shipper")?;
                    todo.extend(shipper.handle(Event::Read(reading)));
                }
                Action::Send { session, frame } => {
                    self.send(leg, session, &frame, counts);
                }
                Action::Stop(why) => {
                    match why {
                        Stopped::Diverged(_) => counts.met(Met::StoppedDiverged),
                        Stopped::Ahead { .. } => counts.met(Met::StoppedAhead),
                        Stopped::Source(error) if !self.changed_its_past(log) => {
                            return Err(format!("{leg:?}: {error}"));
                        }
                        _ => {}
                    }
                    self.stopped.insert((leg, log), why);
                }
            }
        }
        let shipper = self.shippers.get(&(leg, log)).ok_or("no shipper")?;
        // One frame and what one reading was too long may be beyond the window.
        if shipper.inflight_bytes() > WINDOW_BYTES + 2 * FRAME_BYTES {
            return Err(format!("{leg:?}: {} bytes on their way", shipper.inflight_bytes()));
        }
        Ok(())
    }

    /// A log that was rolled back may have a batch where another one ended before: that makes no frame.
    fn changed_its_past(&self, log: LogId) -> bool {
        self.origins.iter().any(|origin| origin.image.log == log && origin.before.is_some())
    }

    fn send(&mut self, leg: Leg, session: u64, frame: &Frame, counts: &mut Counts) {
        let mut bytes = Vec::new();
        frame.encode(&mut bytes);
        let is_frame = |packet: &&Packet| packet.leg == leg && matches!(packet.body, Body::Frame(_));
        if self.network.iter().any(|packet| is_frame(&packet) && packet.session == session) {
            counts.met(Met::Pipelined);
        }
        let body = Body::Frame(Bytes::from(bytes));
        self.network.push(Packet { leg, log: frame.log(), session, body });
    }

    /// A packet arrives, whole.
    pub(super) fn arrive(&mut self, packet: Packet, counts: &mut Counts) -> Result<(), String> {
        let Packet { leg, log, session, body } = packet;
        match body {
            Body::Ask => {
                let answer = self.receiver(leg).answer(leg, log, session);
                self.network.push(answer);
            }
            Body::Frame(bytes) => {
                let reply = self.receiver(leg).take(leg, session, &bytes, counts)?;
                self.network.extend(reply);
            }
            Body::Watermark(watermark, head) => {
                self.reply(leg, log, session, Event::Watermark { session, watermark, head }, counts)?;
            }
            Body::Refused(why) => {
                self.reply(leg, log, session, Event::Refused { session, why }, counts)?;
            }
        }
        Ok(())
    }

    /// A reply reaches a shipper: of its present session, or of one that must not matter any more.
    fn reply(
        &mut self,
        leg: Leg,
        log: LogId,
        session: u64,
        event: Event,
        counts: &mut Counts,
    ) -> Result<(), String> {
        let gap = matches!(&event, Event::Refused { why: Refused::Gap { .. }, .. });
        let state =
            |world: &Self| world.shippers.get(&(leg, log)).map(|s| (s.session(), s.next(), s.is_running()));
        let before = state(self);
        self.event(leg, log, event, counts)?;
        let after = state(self);
        match (before, after) {
            (Some(before), after) if before.0 != session => {
                counts.met(Met::ReplyOfOldSession);
                if after != Some(before) {
                    return Err(format!("{leg:?}: a reply of an old session moved {before:?} to {after:?}"));
                }
            }
            (Some(before), Some(after)) if gap && before.2 && after.0 == before.0 => {
                return Err(format!("{leg:?}: a gap was reported and nothing asked anew"));
            }
            _ => {}
        }
        Ok(())
    }
}
