//! gRPC over loopback: the publish stream as it is, answered by a server that does nothing with a batch.

use std::time::{Duration, Instant};

use bytes::Bytes;
use meridian_proto::v1::publish_service_client::PublishServiceClient;
use meridian_proto::v1::publish_service_server::{PublishService, PublishServiceServer};
use meridian_proto::v1::publish_stream_request::Request as Ask;
use meridian_proto::v1::publish_stream_response::Response as Answer;
use meridian_proto::v1::{
    OpenProducerRequest, OpenProducerResponse, PublishAck, PublishBatch, PublishBatchAck, PublishRequest,
    PublishResponse, PublishStreamRequest, PublishStreamResponse,
};
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::transport::Server;
use tonic::{Request, Response, Status, Streaming};

use crate::BenchError;
use crate::failure::local;
use crate::latency::{Latency, Percentiles};

/// What a connection of a client may have unread at a node, by default.
const WINDOW_BYTES: u32 = 1024 * 1024;
/// Bytes of a small frame.
const SMALL: usize = 64;
/// Bytes of a large frame: a full batch.
const LARGE: usize = 512 * 1024;
/// Large frames on their way: as many as a node's credit lets through.
const LARGE_IN_FLIGHT: usize = 32;

/// The network's floor.
#[derive(Debug, Serialize)]
pub(super) struct LoopbackFloor {
    /// A small frame there, its answer back.
    pub(super) round_trip: Percentiles,
    /// Large frames one way.
    pub(super) stream_mb_per_s: f64,
}

/// Acks what comes, at once.
struct Echo;

#[tonic::async_trait]
impl PublishService for Echo {
    async fn open_producer(
        &self,
        _: Request<OpenProducerRequest>,
    ) -> Result<Response<OpenProducerResponse>, Status> {
        Err(Status::unimplemented("this server only measures"))
    }

    async fn publish(&self, _: Request<PublishRequest>) -> Result<Response<PublishResponse>, Status> {
        Err(Status::unimplemented("this server only measures"))
    }

    type PublishStreamStream = ReceiverStream<Result<PublishStreamResponse, Status>>;

    async fn publish_stream(
        &self,
        request: Request<Streaming<PublishStreamRequest>>,
    ) -> Result<Response<Self::PublishStreamStream>, Status> {
        let mut batches = request.into_inner();
        let (answers, stream) = mpsc::channel(LARGE_IN_FLIGHT);
        tokio::spawn(async move {
            while let Ok(Some(PublishStreamRequest { request: Some(Ask::Batch(batch)) })) =
                batches.message().await
            {
                let ack =
                    PublishBatchAck { correlation: batch.correlation, ack: Some(PublishAck::default()) };
                let answer = PublishStreamResponse { response: Some(Answer::Ack(ack)) };
                if answers.send(Ok(answer)).await.is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

pub(super) async fn measure(each: Duration) -> Result<LoopbackFloor, BenchError> {
    let listener = TcpListener::bind("127.0.0.1:0").await.map_err(local("listen on loopback"))?;
    let address = listener.local_addr().map_err(local("listen on loopback"))?;
    let server = Server::builder()
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .add_service(PublishServiceServer::new(Echo))
        .serve_with_incoming(TcpListenerStream::new(listener));
    let server = tokio::spawn(server);
    let outcome = Box::pin(both(&address.to_string(), each)).await;
    server.abort();
    outcome
}

async fn both(address: &str, each: Duration) -> Result<LoopbackFloor, BenchError> {
    let failed = |error: String| BenchError::Local(format!("loopback gRPC: {error}"));
    let endpoint = meridian_sdk::default_endpoint(address).map_err(|error| failed(error.to_string()))?;
    let channel = endpoint.connect().await.map_err(|error| failed(error.to_string()))?;
    let mut client = PublishServiceClient::new(channel);
    let (frames, stream) = mpsc::channel(1);
    let answers = client.publish_stream(ReceiverStream::new(stream)).await;
    let mut answers = answers.map_err(|status| failed(status.to_string()))?.into_inner();
    let broken = || failed("the stream ended".into());
    let (small, large) = (Bytes::from(vec![3; SMALL]), Bytes::from(vec![3; LARGE]));

    let (mut latency, begin) = (Latency::new(), Instant::now());
    while begin.elapsed() < each {
        let began = Instant::now();
        frames.send(frame(&small)).await.map_err(|_| broken())?;
        answers.message().await.map_err(|status| failed(status.to_string()))?.ok_or_else(broken)?;
        latency.record(began.elapsed());
    }

    let (begin, mut in_flight, mut bytes) = (Instant::now(), 0, 0u64);
    while begin.elapsed() < each {
        if in_flight < LARGE_IN_FLIGHT {
            frames.send(frame(&large)).await.map_err(|_| broken())?;
            in_flight += 1;
        } else {
            answers.message().await.map_err(|status| failed(status.to_string()))?.ok_or_else(broken)?;
            in_flight -= 1;
            bytes += LARGE as u64;
        }
    }
    let stream_mb_per_s = bytes as f64 / begin.elapsed().as_secs_f64() / 1e6;
    Ok(LoopbackFloor { round_trip: latency.percentiles(), stream_mb_per_s })
}

fn frame(batch: &Bytes) -> PublishStreamRequest {
    let batch = PublishBatch { batch: batch.clone(), ..PublishBatch::default() };
    PublishStreamRequest { request: Some(Ask::Batch(batch)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn both_directions_are_measured() {
        let floor = measure(Duration::from_millis(500)).await.unwrap();
        assert!(floor.round_trip.count > 0 && floor.stream_mb_per_s > 0.0, "{floor:?}");
    }
}
