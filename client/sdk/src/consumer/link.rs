//! One stream to one node: its beginning, and what it carries until it ends.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use meridian_model::limits;
use meridian_proto::v1::subscribe_request::Request;
use meridian_proto::v1::subscribe_response::Response;
use meridian_proto::v1::subscribe_service_client::SubscribeServiceClient;
use meridian_proto::v1::{ErrorReason, Failure, SubscribeRequest, SubscribeResponse};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::ledger::Desk;
use super::task::Plan;
use crate::Error;
use crate::call::is_transport;

/// Requests between the task and the connection.
const OUTBOUND_MAX: usize = 16;
/// How long a consumer waits for its first partition before it counts as open without one.
const ARRIVAL_MAX: Duration = Duration::from_secs(2);
/// How long a node may take to end a stream that was ended here.
const FAREWELL: Duration = Duration::from_secs(1);

/// An open stream.
pub(super) struct Link {
    address: String,
    out: mpsc::Sender<SubscribeRequest>,
    inbound: Streaming<SubscribeResponse>,
}

/// Why a stream is over.
pub(super) enum End {
    /// The application wanted it, and everything that was said is answered, or had its time.
    Done,
    Failed(Error),
}

impl Link {
    /// Opens a stream and waits until the node says that it is open.
    pub(super) async fn open(plan: &Plan, desk: &Desk, address: &str) -> Result<Link, Error> {
        let channel = plan.channels.get(address).await?;
        let (holds, credit) = desk.ledger.lock().begin(Instant::now());
        let mut open = plan.settings.open(plan.consumer_id);
        (open.holds, open.credit_messages, open.credit_bytes) = (holds, credit.messages, credit.bytes);
        let (out, requests) = mpsc::channel(OUTBOUND_MAX);
        let first = SubscribeRequest { request: Some(Request::Open(open)) };
        out.try_send(first).map_err(|_| Error::nonsense("the stream's queue is full at its start"))?;
        let opening = async {
            let mut client =
                SubscribeServiceClient::new(channel).max_decoding_message_size(limits::RPC_BYTES_MAX);
            let mut inbound = client.subscribe(ReceiverStream::new(requests)).await?.into_inner();
            let opened = inbound.message().await?;
            Ok::<_, Status>((inbound, opened))
        };
        let (inbound, opened) = match timeout(plan.opening_max, opening).await {
            Ok(opened) => opened.map_err(|status| plan.failed(address, &status))?,
            Err(_) => {
                plan.channels.suspect(address);
                let why = format!("{address} did not open the stream in time");
                return Err(Failure::new(ErrorReason::Unavailable, why).into());
            }
        };
        match opened.and_then(|first| first.response) {
            Some(opened @ Response::Opened(_)) => plan.hear(desk, opened)?,
            Some(Response::Refused(refused)) => return Err(refused.failure.unwrap_or_default().into()),
            _ => return Err(Error::nonsense("a node did not begin the stream by opening it")),
        }
        let mut link = Link { address: address.to_string(), out, inbound };
        link.arrive(plan, desk).await?;
        Ok(link)
    }

    /// Waits a little until the first partition is there: what is wrong with a consumer shows only then.
    async fn arrive(&mut self, plan: &Plan, desk: &Desk) -> Result<(), Error> {
        let until = Instant::now() + plan.shared.config.attempt_timeout.min(ARRIVAL_MAX);
        while let Ok(received) = timeout_at(until, self.inbound.message()).await {
            let received = received.map_err(|status| plan.failed(&self.address, &status))?;
            let received = received.ok_or_else(|| gone("the node ended the stream"))?;
            let Some(response) = received.response else { continue };
            let named = matches!(response, Response::Source(_));
            plan.hear(desk, response)?;
            if named {
                break;
            }
        }
        Ok(())
    }

    /// Carries requests and answers until the stream ends, or is to end.
    pub(super) async fn serve(mut self, plan: &Plan, desk: &Arc<Desk>) -> End {
        let mut closing_at: Option<Instant> = None;
        loop {
            let full = self.out.capacity() == 0;
            let (silent_at, wake) = match next(plan, desk, &mut closing_at, full) {
                Next::Part => return self.part().await,
                Next::Say(request) => {
                    if self.out.try_send(SubscribeRequest { request: Some(*request) }).is_err() {
                        return End::Failed(gone("the connection is gone"));
                    }
                    // What has come is taken in before more is said: neither side waits for the other.
                    match self.inbound.message().now_or_never() {
                        Some(received) => match self.take(received, plan, desk) {
                            Some(end) => return end,
                            None => continue,
                        },
                        None => continue,
                    }
                }
                Next::Wait { silent_at, wake } => (silent_at, wake),
            };
            tokio::select! {
                received = self.inbound.message() => {
                    if let Some(end) = self.take(received, plan, desk) {
                        return end;
                    }
                }
                () = desk.news.notified() => {}
                permit = self.out.reserve(), if full => {
                    if permit.is_err() {
                        return End::Failed(gone("the connection is gone"));
                    }
                }
                () = tokio::time::sleep_until(wake) => {
                    if silent_at <= Instant::now() {
                        plan.channels.suspect(&self.address);
                        return End::Failed(gone("the node is silent"));
                    }
                }
            }
        }
    }

    fn take(
        &self,
        received: Result<Option<SubscribeResponse>, Status>,
        plan: &Plan,
        desk: &Arc<Desk>,
    ) -> Option<End> {
        match received {
            Ok(Some(SubscribeResponse { response: Some(response) })) => {
                plan.hear(desk, response).err().map(End::Failed)
            }
            Ok(Some(_)) => None,
            Ok(None) if desk.ledger.lock().is_drained() => Some(End::Done),
            Ok(None) => Some(End::Failed(gone("the node ended the stream"))),
            Err(status) => Some(End::Failed(plan.failed(&self.address, &status))),
        }
    }

    /// Says goodbye: what is held is given to others at once.
    async fn part(mut self) -> End {
        drop(self.out);
        let until = Instant::now() + FAREWELL;
        while let Ok(Ok(Some(_))) = timeout_at(until, self.inbound.message()).await {}
        End::Done
    }
}

/// What a stream's task does next.
enum Next {
    Say(Box<Request>),
    Wait { silent_at: Instant, wake: Instant },
    Part,
}

/// `full`: nothing can be sent at the moment.
fn next(plan: &Plan, desk: &Desk, closing_at: &mut Option<Instant>, full: bool) -> Next {
    let (mut ledger, now) = (desk.ledger.lock(), Instant::now());
    if ledger.is_drained() {
        return Next::Part;
    }
    let silent_at = ledger.silent_at();
    let mut wake = silent_at;
    if ledger.is_closing() {
        let until = *closing_at.get_or_insert(now + plan.opening_max);
        if ledger.is_answered() || until <= now {
            return Next::Part;
        }
        wake = wake.min(until);
    }
    if !full {
        if let Some(request) = ledger.next_request(now) {
            return Next::Say(Box::new(request));
        }
        wake = wake.min(ledger.next_due(now));
    }
    Next::Wait { silent_at, wake }
}

impl Plan {
    fn hear(&self, desk: &Desk, response: Response) -> Result<(), Error> {
        let wall_ms = self.shared.config.clock.now().0;
        desk.ledger.lock().hear(response, Instant::now(), wall_ms)
    }

    fn failed(&self, address: &str, status: &Status) -> Error {
        if is_transport(status) {
            self.channels.suspect(address);
        }
        Failure::from_status(status).into()
    }
}

fn gone(why: &str) -> Error {
    Failure::new(ErrorReason::Unavailable, why).into()
}
