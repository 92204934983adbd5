//! What stands between a listener and its server: how many may come, how long they may take to say who they are
//! and what they want, and how much noise they may make. The server behind sees only connections that passed.

mod connection;
mod farewell;
mod frames;
mod handshake;
mod layered;
mod places;
mod sniff;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{BoxStream, StreamExt};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;

pub(crate) use connection::{Connection, Peer, UnderWay};
pub(crate) use handshake::Greeter;

use crate::listen::{Accepted, Bound};
use farewell::Why;
use places::Places;

/// Connections that passed and that the server has not taken yet.
const PASSED: usize = 16;
/// How long to leave the listener alone when this process has no more files or memory.
const BREATH: Duration = Duration::from_millis(100);

/// The bounds of one listener.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Connections at once.
    pub(crate) connections_max: usize,
    /// The same from one address.
    pub(crate) per_address_max: usize,
    /// From accepting to a complete preface.
    pub(crate) handshake_max: Duration,
    /// Without any request.
    pub(crate) idle_max: Duration,
    /// Frames that carry nothing, within a second.
    pub(crate) control_frames_per_second_max: u32,
}

/// One listener's entrance.
pub(crate) struct Entrance {
    /// For logs: `client`, `raft`, `admin`.
    pub(crate) name: &'static str,
    pub(crate) bounds: Bounds,
    /// Says who connects. Absent: plaintext, and nobody knows.
    pub(crate) greeter: Option<Arc<dyn Greeter>>,
}

impl Entrance {
    /// The connections that pass. Ends when nobody takes them any more, and closes the listener then.
    pub(crate) fn open(self, bound: Bound) -> BoxStream<'static, io::Result<Connection>> {
        let (passed, connections) = mpsc::channel(PASSED);
        let door = Arc::new(Door {
            places: Places::new(self.bounds),
            refusals: Refusals::default(),
            entrance: self,
        });
        tokio::spawn(door.keep(bound.incoming, passed));
        ReceiverStream::new(connections).boxed()
    }
}

struct Door {
    entrance: Entrance,
    places: Arc<Places>,
    refusals: Refusals,
}

type Passed = mpsc::Sender<io::Result<Connection>>;

impl Door {
    async fn keep(self: Arc<Self>, mut incoming: BoxStream<'static, io::Result<Accepted>>, passed: Passed) {
        loop {
            let accepted = tokio::select! {
                accepted = incoming.next() => accepted,
                () = passed.closed() => return,
            };
            match accepted {
                Some(Ok(accepted)) => self.clone().meet(accepted, &passed).await,
                Some(Err(error)) if is_exhausted(&error) => {
                    self.refusals.note(self.entrance.name, None, &error.to_string());
                    tokio::time::sleep(BREATH).await;
                }
                // Gone before it was accepted.
                Some(Err(_)) => {}
                None => return,
            }
        }
    }

    /// Lets a connection through, or sends it away. What takes time is done elsewhere.
    async fn meet(self: Arc<Self>, accepted: Accepted, passed: &Passed) {
        let until = Instant::now() + self.entrance.bounds.handshake_max;
        let remote = accepted.remote;
        let place = match self.places.take(remote) {
            Ok(place) => place,
            Err(full) => {
                self.refusals.note(self.entrance.name, remote, full.why());
                if self.entrance.greeter.is_none() {
                    farewell::send_now(accepted.io, Why::Full(full));
                }
                return;
            }
        };
        let bounds = self.entrance.bounds;
        let Some(greeter) = self.entrance.greeter.clone() else {
            let connection = Connection::new(accepted.io, Peer::unknown(), place, bounds, until);
            // The server has stopped.
            let _ = passed.send(Ok(connection)).await;
            return;
        };
        let passed = passed.clone();
        tokio::spawn(async move {
            let greeted = tokio::time::timeout_at(until, handshake::meet(&*greeter, accepted.io)).await;
            match greeted {
                Ok(Ok((io, peer))) => {
                    let connection = Connection::new(io, peer, place, bounds, until);
                    let _ = passed.send(Ok(connection)).await;
                }
                Ok(Err(why)) => self.refusals.note(self.entrance.name, remote, &why),
                Err(_) => self.refusals.note(self.entrance.name, remote, "no TLS handshake in time"),
            }
        });
    }
}

/// Whether the process, rather than the connection, is the trouble: EMFILE, ENFILE, ENOMEM, ENOBUFS.
fn is_exhausted(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM | libc::ENOBUFS))
}

/// Says who was refused and why, but at most once a second: an attack must not fill the disk with its log.
#[derive(Default)]
struct Refusals(parking_lot::Mutex<(Option<Instant>, u64)>);

impl Refusals {
    fn note(&self, listener: &str, remote: Option<std::net::IpAddr>, why: &str) {
        let unsaid = {
            let mut said = self.0.lock();
            if said.0.is_some_and(|at| at.elapsed() < Duration::from_secs(1)) {
                said.1 += 1;
                return;
            }
            said.0 = Some(Instant::now());
            std::mem::take(&mut said.1)
        };
        let remote = remote.map_or_else(|| "?".to_string(), |remote| remote.to_string());
        tracing::warn!(listener, remote, why, others_since_last = unsaid, "connection refused");
    }
}
