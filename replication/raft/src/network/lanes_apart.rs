//! What crowds one lane to a node does not delay the other.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt};
use meridian_model::clock::Clock;
use meridian_model::{NodeId, UnixMs};
use meridian_proto::internal::peer_service_server::{PeerService, PeerServiceServer};
use meridian_proto::internal::{self as pb, answer, call};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Request, Response, Status, Streaming};

use super::TcpDial;
use super::lane::LaneKind;
use super::links::{AddressBook, Links};
use super::pace::Pace;
use crate::clock_book::ClockBook;
use crate::signs::Signs;

const PEER: NodeId = NodeId(2);
const ENTRY_BYTES: usize = 1024 * 1024;
const ENTRIES: usize = 64;

struct Stopped;

impl Clock for Stopped {
    fn now(&self) -> UnixMs {
        UnixMs(1)
    }
}

/// Answers votes at once. A stream on which entries come is never read again: the disk behind it is stuck.
struct StuckDisk;

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

async fn answer(mut requests: Streaming<pb::ExchangeRequest>, answers: mpsc::Sender<pb::Answer>) {
    while let Ok(Some(request)) = requests.message().await {
        for call in request.calls {
            if matches!(call.body, Some(call::Body::Append(_))) {
                std::future::pending::<()>().await;
            }
            let body = Some(answer::Body::Vote(pb::VoteAnswer::default()));
            drop(answers.send(pb::Answer { id: call.id, body }).await);
        }
    }
}

#[tonic::async_trait]
impl PeerService for StuckDisk {
    type AttachStream = Answers<pb::AttachResponse>;
    type ExchangeStream = Answers<pb::ExchangeResponse>;

    async fn attach(
        &self,
        _: Request<Streaming<pb::AttachRequest>>,
    ) -> Result<Response<Self::AttachStream>, Status> {
        Err(Status::unimplemented("not asked here"))
    }

    async fn exchange(
        &self,
        requests: Request<Streaming<pb::ExchangeRequest>>,
    ) -> Result<Response<Self::ExchangeStream>, Status> {
        let (answers, outgoing) = mpsc::channel(16);
        tokio::spawn(answer(requests.into_inner(), answers));
        let frames = ReceiverStream::new(outgoing)
            .map(|answer| Ok(pb::ExchangeResponse { answers: vec![answer], ..Default::default() }));
        Ok(Response::new(Box::pin(frames)))
    }

    async fn send_snapshot(
        &self,
        _: Request<Streaming<pb::SendSnapshotRequest>>,
    ) -> Result<Response<pb::SendSnapshotResponse>, Status> {
        Err(Status::unimplemented("not asked here"))
    }

    async fn probe(&self, _: Request<pb::ProbeRequest>) -> Result<Response<pb::ProbeResponse>, Status> {
        Err(Status::unimplemented("not asked here"))
    }

    async fn propose_control(
        &self,
        _: Request<pb::ProposeControlRequest>,
    ) -> Result<Response<pb::ProposeControlResponse>, Status> {
        Err(Status::unimplemented("not asked here"))
    }

    async fn read_control_index(
        &self,
        _: Request<pb::ReadControlIndexRequest>,
    ) -> Result<Response<pb::ReadControlIndexResponse>, Status> {
        Err(Status::unimplemented("not asked here"))
    }

    async fn fence(&self, _: Request<pb::FenceRequest>) -> Result<Response<pb::FenceResponse>, Status> {
        Err(Status::unimplemented("not asked here"))
    }

    async fn state_digests(
        &self,
        _: Request<pb::StateDigestsRequest>,
    ) -> Result<Response<pb::StateDigestsResponse>, Status> {
        Err(Status::unimplemented("not asked here"))
    }

    async fn get_standing(
        &self,
        _: Request<pb::GetStandingRequest>,
    ) -> Result<Response<pb::GetStandingResponse>, Status> {
        Err(Status::unimplemented("not asked here"))
    }

    async fn move_subscription(
        &self,
        _: Request<pb::MoveSubscriptionRequest>,
    ) -> Result<Response<pb::MoveSubscriptionResponse>, Status> {
        Err(Status::unimplemented("not asked here"))
    }
}

async fn links() -> Arc<Links> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let addresses = AddressBook::default();
    addresses.set(PEER, &listener.local_addr().expect("bound").to_string());
    let server = tonic::transport::Server::builder().add_service(PeerServiceServer::new(StuckDisk));
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    let clocks = ClockBook::new(NodeId(1), Arc::new(Stopped));
    let signs = Signs::new(Duration::from_millis(500));
    Links::new(NodeId(1), Arc::new(TcpDial), Arc::new(addresses), clocks, signs, Pace::new(0))
}

fn vote() -> pb::Call {
    pb::Call { id: 0, group: 1, to_replica: 2, body: Some(call::Body::Vote(pb::VoteCall::default())) }
}

fn append() -> pb::Call {
    let entry = pb::LogEntry { payload: Bytes::from(vec![7; ENTRY_BYTES]), ..Default::default() };
    let append = pb::AppendCall { entries: vec![entry], ..Default::default() };
    pb::Call { id: 0, group: 1, to_replica: 2, body: Some(call::Body::Append(append)) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_heartbeat_overtakes_the_megabytes_before_it() {
    let links = links().await;
    let (bulk, urgent) = (links.lane(PEER, LaneKind::Bulk), links.lane(PEER, LaneKind::Urgent));
    let crowd: Vec<_> = (0..ENTRIES).map(|_| bulk.start(append())).collect();
    let _waiting = futures::future::try_join_all(crowd).await.expect("queued");
    let asked = Instant::now();
    urgent.call(vote(), Duration::from_secs(2)).await.expect("answered");
    println!("{ENTRIES} MiB on one lane, an answer on the other after {:?}", asked.elapsed());
    // The control: behind the entries there is no answer.
    bulk.call(vote(), Duration::from_millis(500)).await.expect_err("the crowded lane is stuck");
}
