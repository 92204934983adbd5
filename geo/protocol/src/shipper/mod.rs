//! The shipper of one origin log to one destination: reads, narrows, sends without waiting, resyncs when refused.
//!
//! It knows nothing that must survive it. Where to go on is the destination's watermark, asked for at each new
//! session; replies to an earlier session are not believed, so one lost frame costs one resync, however many frames
//! were behind it.

mod event;
mod exit;
mod packing;
mod source;
mod window;

use meridian_model::{LogId, Offset, limits};

pub use self::event::{Action, Event, Stopped};
use self::exit::Exit;
use self::packing::Packing;
pub use self::source::{Piece, Reading};
use self::window::Window;
use crate::chain::Head;
use crate::coverage::{Divergence, Refused};
use crate::frame::Item;
use crate::region::Region;
use crate::route::RouteEpoch;

/// What a shipper is made of.
#[derive(Clone, Debug)]
pub struct ShipperConfig {
    /// Whose messages.
    pub log: LogId,
    /// To whom.
    pub destination: Region,
    /// What begins below is older than the link.
    pub begin: Offset,
    /// Bytes on their way at most. One frame may always be.
    pub window_bytes: usize,
    /// Bytes of a frame, at most, as far as batches allow.
    pub frame_bytes: usize,
    /// The log is another region's: the destination may have more of it than is here.
    pub relays: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Phase {
    Disconnected,
    Asking,
    /// The head at [`Shipper::next`].
    Shipping(Head),
    Stopped,
}

/// The state of shipping one log to one destination. Lost with its node, and that does no harm.
#[derive(Clone, Debug)]
pub struct Shipper {
    log: LogId,
    exit: Exit,
    frame_bytes: usize,
    relays: bool,
    epoch: RouteEpoch,
    phase: Phase,
    connected: bool,
    session: u64,
    reading: bool,
    /// The offset after what was sent last.
    next: Offset,
    /// Unknown until a quorum has confirmed it.
    end: Option<Offset>,
    window: Window,
}

impl Shipper {
    /// Not connected. `session` must be higher than any that an earlier shipper of this log used on the same
    /// stream; a random number or a term will do.
    pub fn new(config: ShipperConfig, epoch: RouteEpoch, session: u64) -> Self {
        Self {
            log: config.log,
            exit: Exit { destination: config.destination, begin: config.begin },
            frame_bytes: config.frame_bytes.min(limits::GEO_FRAME_BYTES_MAX),
            relays: config.relays,
            epoch,
            phase: Phase::Disconnected,
            connected: false,
            session,
            reading: false,
            next: Offset(0),
            end: None,
            window: Window::new(config.window_bytes.min(limits::GEO_WINDOW_BYTES_MAX)),
        }
    }

    /// The destination's watermark as last heard.
    pub fn watermark(&self) -> Offset {
        self.window.watermark()
    }

    /// The offset after what was sent last.
    pub fn next(&self) -> Offset {
        self.next
    }

    /// The present session: replies to others are not believed.
    pub fn session(&self) -> u64 {
        self.session
    }

    /// Whether it waits for the destination or ships.
    pub fn is_running(&self) -> bool {
        !matches!(self.phase, Phase::Stopped | Phase::Disconnected)
    }

    /// Bytes on their way.
    pub fn inflight_bytes(&self) -> usize {
        self.window.bytes()
    }

    /// Takes an event.
    pub fn handle(&mut self, event: Event) -> Vec<Action> {
        match event {
            Event::Connected => {
                self.connected = true;
                self.ask()
            }
            Event::Disconnected => {
                self.connected = false;
                if self.phase != Phase::Stopped {
                    self.phase = Phase::Disconnected;
                }
                Vec::new()
            }
            Event::End(end) => {
                let first = self.end.is_none();
                self.end = Some(end);
                if first { self.ask() } else { self.read_more() }
            }
            Event::Silence if self.window.bytes() > 0 || self.phase == Phase::Asking => self.ask(),
            Event::Watermark { session, watermark, head } if self.is_present(session) => {
                self.heard(watermark, head)
            }
            Event::Refused { session, why } if self.is_present(session) => self.refused(why),
            Event::Read(reading) if self.reading && reading.session == self.session => self.ship(reading),
            Event::Route { epoch, ours } => self.rerouted(epoch, ours),
            Event::Silence | Event::Watermark { .. } | Event::Refused { .. } | Event::Read(_) => Vec::new(),
        }
    }

    fn is_present(&self, session: u64) -> bool {
        self.is_running() && (session == self.session || planted!(OldSessionBelieved))
    }

    /// Begins a session: nothing of what was sent or asked before counts any more.
    fn ask(&mut self) -> Vec<Action> {
        if self.phase == Phase::Stopped || !self.connected || self.end.is_none() {
            return Vec::new();
        }
        self.session += 1;
        self.phase = Phase::Asking;
        self.reading = false;
        self.window.clear();
        vec![Action::Ask { session: self.session }]
    }

    fn stop(&mut self, why: Stopped) -> Vec<Action> {
        self.phase = Phase::Stopped;
        self.reading = false;
        self.window.clear();
        vec![Action::Stop(why)]
    }

    fn heard(&mut self, watermark: Offset, head: Head) -> Vec<Action> {
        // A relay waits until it has caught up; then heads are compared.
        let end = self.end.unwrap_or(watermark);
        if watermark > end && !self.relays {
            return self.stop(Stopped::Ahead { watermark, end });
        }
        if self.phase == Phase::Asking {
            self.next = watermark;
            self.phase = Phase::Shipping(head);
        }
        self.window.arrived(watermark);
        self.read_more()
    }

    fn refused(&mut self, why: Refused) -> Vec<Action> {
        match why {
            Refused::Gap { .. } if planted!(RefusalIgnored) => Vec::new(),
            // Asked anew rather than taken from the refusal: one session, one place to go on from.
            Refused::Gap { .. } => self.ask(),
            Refused::Diverged(divergence) => self.stop(Stopped::Diverged(divergence)),
            // Which route is in force is for the control group to say.
            Refused::WrongRoute { .. } => self.stop(Stopped::NotUpstream),
            Refused::ForeignOrigin => self.stop(Stopped::Foreign),
            Refused::Residency { at } => self.stop(Stopped::Residency { at }),
            Refused::Oversized { bytes_max } if bytes_max < self.frame_bytes => {
                self.frame_bytes = bytes_max;
                self.ask()
            }
            Refused::Oversized { .. } => self.stop(Stopped::Oversized { at: self.window.watermark() }),
        }
    }

    fn rerouted(&mut self, epoch: RouteEpoch, ours: bool) -> Vec<Action> {
        if epoch < self.epoch || (epoch == self.epoch && self.phase != Phase::Stopped && ours) {
            return Vec::new();
        }
        self.epoch = epoch;
        if !ours {
            return self.stop(Stopped::NotUpstream);
        }
        self.phase = Phase::Disconnected;
        self.ask()
    }

    fn read_more(&mut self) -> Vec<Action> {
        let shipping = matches!(self.phase, Phase::Shipping(_));
        let room = self.window.room();
        if !shipping || self.reading || self.end.is_none_or(|end| self.next >= end) || room == 0 {
            return Vec::new();
        }
        self.reading = true;
        vec![Action::Read { session: self.session, from: self.next, bytes: room }]
    }

    fn ship(&mut self, reading: Reading) -> Vec<Action> {
        self.reading = false;
        let Phase::Shipping(head) = self.phase else {
            return Vec::new();
        };
        if let Some(ours) = reading.before.filter(|ours| *ours != head && !planted!(HeadNotCompared)) {
            return self.stop(Stopped::Diverged(Divergence { at: self.next, ours, theirs: head }));
        }
        if reading.pieces.is_empty() {
            // The source has less than was said. It says so again when it has more; asking on would be a hot loop.
            self.end = Some(self.next);
            return Vec::new();
        }
        let before = if planted!(SkipAlwaysVerified) { Some(head) } else { reading.before };
        let packing = Packing { log: self.log, epoch: self.epoch, frame_bytes: self.frame_bytes };
        let mut items: Vec<Item> =
            reading.pieces.into_iter().map(|piece| self.exit.item(piece, reading.expired_before)).collect();
        if let (None, Some(Item::Skip(first))) = (reading.before, items.first_mut()) {
            first.verified = planted!(SkipAlwaysVerified);
        }
        let frames = match packing.frames(self.next, before, items.into_iter()) {
            Ok(frames) => frames,
            Err(error) => return self.stop(Stopped::Source(error)),
        };
        if let Some(last) = frames.last() {
            self.next = last.to();
            self.phase = Phase::Shipping(last.after().unwrap_or(head));
        }
        let mut actions = Vec::with_capacity(frames.len() + 1);
        for frame in frames {
            self.window.sent(frame.to(), frame.bytes());
            actions.push(Action::Send { session: self.session, frame });
        }
        actions.extend(self.read_more());
        actions
    }
}
