//! A connection that passed, watched for as long as it lasts.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use meridian_model::NodeId;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::{Instant, Sleep};
use tonic::transport::server::Connected;

use super::Bounds;
use super::frames::Frames;
use super::layered::{Layered, OnRead};
use super::places::Place;
use crate::listen::Io;

/// Who is at the other end, and what it has under way. Every request carries it as an extension.
#[derive(Clone, Debug)]
pub(crate) struct Peer(Arc<Known>);

#[derive(Debug, Default)]
struct Known {
    /// The nodes it may speak for; none where nobody asked for a certificate.
    nodes: Option<Vec<NodeId>>,
    under_way: AtomicUsize,
    /// Requests begun, and those that ended.
    moves: AtomicU64,
}

impl Peer {
    /// Somebody without a certificate.
    pub(crate) fn unknown() -> Self {
        Self(Arc::default())
    }

    /// Somebody with a certificate.
    pub(crate) fn known(nodes: Vec<NodeId>) -> Self {
        Self(Arc::new(Known { nodes: Some(nodes), ..Known::default() }))
    }

    /// The nodes it may speak for, where that was proved at all.
    pub(crate) fn nodes(&self) -> Option<&[NodeId]> {
        self.0.nodes.as_deref()
    }

    /// A request of it is under way until the result is dropped.
    pub(crate) fn begin(&self) -> UnderWay {
        self.0.under_way.fetch_add(1, Ordering::Relaxed);
        self.0.moves.fetch_add(1, Ordering::Relaxed);
        UnderWay(self.clone())
    }
}

/// A request that is under way.
pub(crate) struct UnderWay(Peer);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.0.moves.fetch_add(1, Ordering::Relaxed);
        self.0.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The connection. It ends itself where the preface does not come in time, where nothing is asked for long, and
/// where too many frames carry nothing.
pub(crate) type Connection = Layered<Watched>;

/// Who watches it.
pub(crate) struct Watched {
    peer: Peer,
    watch: Watch,
    _place: Place,
}

impl Connection {
    pub(super) fn new(
        io: Box<dyn Io>,
        peer: Peer,
        place: Place,
        bounds: Bounds,
        greeted_by: Instant,
    ) -> Self {
        let alarm = Box::pin(tokio::time::sleep_until(greeted_by));
        let watch = Watch {
            bounds,
            frames: Frames::default(),
            alarm,
            moves: 0,
            second: Instant::now(),
            idle_frames: 0,
        };
        Self { io, hook: Watched { peer, watch, _place: place } }
    }
}

struct Watch {
    bounds: Bounds,
    frames: Frames,
    /// Until the preface is there: its deadline. Then: the next look whether anything is asked at all.
    alarm: Pin<Box<Sleep>>,
    /// Requests begun and ended at the last look.
    moves: u64,
    second: Instant,
    idle_frames: u32,
}

impl Watch {
    fn read(&mut self, bytes: &[u8]) -> io::Result<()> {
        let early = !self.frames.greeted();
        let frames = self.frames.read(bytes);
        let frames = frames.map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "this is no HTTP/2"))?;
        if early && self.frames.greeted() {
            self.alarm.as_mut().reset(Instant::now() + self.bounds.idle_max);
        }
        if frames == 0 {
            return Ok(());
        }
        let now = Instant::now();
        if now.duration_since(self.second) >= Duration::from_secs(1) {
            (self.second, self.idle_frames) = (now, 0);
        }
        self.idle_frames += frames;
        match self.idle_frames > self.bounds.control_frames_per_second_max {
            true => Err(io::Error::other("too many frames that carry nothing")),
            false => Ok(()),
        }
    }

    /// Whether it is time to hang up; otherwise wakes when it may be.
    fn poll_over(&mut self, cx: &mut Context<'_>, peer: &Peer) -> Poll<io::Result<()>> {
        while self.alarm.as_mut().poll(cx).is_ready() {
            if !self.frames.greeted() {
                return Poll::Ready(Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    "no HTTP/2 preface in time",
                )));
            }
            let moves = peer.0.moves.load(Ordering::Relaxed);
            if moves == self.moves && peer.0.under_way.load(Ordering::Relaxed) == 0 {
                return Poll::Ready(Ok(()));
            }
            self.moves = moves;
            self.alarm.as_mut().reset(Instant::now() + self.bounds.idle_max);
        }
        Poll::Pending
    }
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.hook.peer.clone()
    }
}

impl OnRead for Watched {
    fn poll_read(
        &mut self,
        io: &mut Box<dyn Io>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        match Pin::new(io).poll_read(cx, buf) {
            Poll::Ready(Ok(())) => Poll::Ready(self.watch.read(&buf.filled()[before..])),
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            // Nothing read and no error is the end of the stream: an idle connection ends as if its client had.
            Poll::Pending => self.watch.poll_over(cx, &self.peer),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

    use super::super::places::Places;
    use super::*;

    const IDLE: Duration = Duration::from_millis(600);

    /// A connection that has said its preface.
    async fn greeted() -> (DuplexStream, Connection, Peer) {
        let (mut client, server) = tokio::io::duplex(1_024);
        let bounds = Bounds {
            connections_max: 1,
            per_address_max: 1,
            handshake_max: IDLE,
            idle_max: IDLE,
            control_frames_per_second_max: 100,
        };
        let place = Places::new(bounds).take(None).expect("a place");
        let peer = Peer::unknown();
        let mut connection =
            Connection::new(Box::new(server), peer.clone(), place, bounds, Instant::now() + IDLE);
        client.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.expect("written");
        connection.read_exact(&mut [0; 24]).await.expect("read");
        (client, connection, peer)
    }

    #[tokio::test]
    async fn a_connection_is_idle_from_the_end_of_its_last_request() {
        let (_client, mut connection, peer) = greeted().await;
        let begun = Instant::now();
        let under_way = peer.begin();
        // It spans one look and ends just before the next.
        let working = tokio::spawn(async move {
            tokio::time::sleep(IDLE * 19 / 10).await;
            drop(under_way);
            Instant::now()
        });
        assert_eq!(connection.read(&mut [0; 9]).await.expect("no error"), 0, "hung up on");
        let (over, ended) = (Instant::now(), working.await.expect("runs"));
        assert!(over - ended >= IDLE, "{:?} after its end", over - ended);
        assert!(over - begun < IDLE * 6, "{:?}", over - begun);
    }
}
