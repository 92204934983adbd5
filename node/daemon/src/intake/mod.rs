//! What clients are sending, counted before it is decoded: requests under way, and their bytes.
//!
//! Both counts cover the node, whatever connections the requests come over. At a bound the answer is
//! `RESOURCE_EXHAUSTED` with a time after which to try again. So it is for a message of which only a part comes:
//! it holds its bytes for no longer than a call may take.

mod body;
mod framing;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response};
use meridian_config::LimitsConfig;
use meridian_proto::v1::{ErrorReason, Failure};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::body::Body;
use tower::{Layer, Service};

pub(crate) use body::Held;
use body::{Metered, Occupied};

use crate::entrance::{Peer, UnderWay};

/// The counts of one node.
#[derive(Clone)]
pub(crate) struct Intake {
    requests: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
    /// From a message's first byte to its last.
    message_max: Duration,
}

/// A request's place among those under way.
pub(crate) struct Seat {
    _request: OwnedSemaphorePermit,
    _under_way: Option<UnderWay>,
}

impl Intake {
    pub(crate) fn new(limits: &LimitsConfig) -> Self {
        Self {
            requests: Arc::new(Semaphore::new(limits.requests_max.min(Semaphore::MAX_PERMITS))),
            bytes: Arc::new(Semaphore::new(limits.receiving_bytes)),
            message_max: Duration::from_millis(limits.request_ms_max),
        }
    }

    fn seat(&self, peer: Option<&Peer>) -> Option<Seat> {
        let request = Arc::clone(&self.requests).try_acquire_owned().ok()?;
        Some(Seat { _request: request, _under_way: peer.map(Peer::begin) })
    }
}

fn too_many() -> Failure {
    Failure::new(ErrorReason::Throttled, "this node has as many requests under way as it may; try again")
}

impl<S> Layer<S> for Intake {
    type Service = Metering<S>;

    fn layer(&self, inner: S) -> Metering<S> {
        Metering { intake: self.clone(), inner }
    }
}

/// The service behind the counts.
#[derive(Clone)]
pub(crate) struct Metering<S> {
    intake: Intake,
    inner: S,
}

type Answering<E> = Pin<Box<dyn Future<Output = Result<Response<Body>, E>> + Send>>;

impl<S> Service<Request<Body>> for Metering<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Answering<S::Error>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let Some(seat) = self.intake.seat(request.extensions().get::<Peer>()) else {
            return Box::pin(async { Ok(too_many().into_status().into_http()) });
        };
        let held = Held::new(Arc::clone(&self.intake.bytes));
        let (mut parts, body) = request.into_parts();
        parts.extensions.insert(held.clone());
        let body = Body::new(Metered::new(body, held, self.intake.message_max));
        let answer = self.inner.call(Request::from_parts(parts, body));
        Box::pin(async move { Ok(answer.await?.map(|body| Body::new(Occupied::new(body, seat)))) })
    }
}
