//! Reading from the fake cluster.

use bytes::Bytes;
use meridian_proto::v1::read_request::Start;
use meridian_proto::v1::read_service_server::ReadService;
use meridian_proto::v1::*;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::{Node, State};

/// What the node says next on a read stream.
enum Step {
    Say(ReadResponse),
    Break,
    Wait,
    End,
}

impl Node {
    /// Where a read begins: its first offset, and what was skipped.
    fn begin(&self, request: &ReadRequest) -> Result<(u64, Option<OffsetRange>), Failure> {
        let mut state = self.cluster.state.lock();
        let down = state.down.clone();
        let partition = state.partition(&request.topic, request.partition)?;
        if let Some(node) = request.replica_node
            && node > self.cluster.addresses.len() as u64
        {
            return Err(Failure::new(ErrorReason::ReplicaUnavailable, "no copy there"));
        }
        if request.replica_node.is_none() && down.contains(&partition.leader) {
            return Err(Failure::new(ErrorReason::Unavailable, "no leader"));
        }
        let offset = match request.start {
            None | Some(Start::Earliest(_)) => partition.start,
            Some(Start::Latest(_)) => partition.end(),
            Some(Start::Offset(offset)) => offset,
            Some(Start::TimeMs(time)) => {
                let found = partition.batches.iter().find(|stored| stored.appended_at_ms >= time);
                found.map_or(partition.end(), |stored| stored.base)
            }
        };
        if offset < partition.start && !request.clamp || offset > partition.end() {
            return Err(Failure::new(ErrorReason::OutOfRange, format!("{offset} is outside the log")));
        }
        let start = partition.start;
        let skipped = (offset < start).then_some(OffsetRange { from: offset, to: start });
        Ok((offset.max(start), skipped))
    }

    fn step(&self, request: &ReadRequest, next: u64) -> Step {
        if self.alive().is_err() {
            return Step::Break;
        }
        let mut state = self.cluster.state.lock();
        let Ok(partition) = state.partition(&request.topic, request.partition) else { return Step::Break };
        let mut response = ReadResponse {
            log_start: partition.start,
            log_end: partition.end(),
            log_id: Bytes::copy_from_slice(&partition.log.0),
            next_offset: next,
            ..Default::default()
        };
        if next < partition.start {
            response.skipped = Some(OffsetRange { from: next, to: partition.start });
            response.next_offset = partition.start;
            return Step::Say(response);
        }
        let Some(stored) = partition.batches_from(next).into_iter().next() else {
            return if request.follow { Step::Wait } else { Step::End };
        };
        let count = stored.batch.header().count;
        response.next_offset = stored.base + u64::from(count);
        if request.format == ReadFormat::Messages as i32 {
            response.messages = (next.max(stored.base)..response.next_offset)
                .map(|offset| {
                    let message = partition.message_at(&stored, offset);
                    let (offset, appended_at_ms) = (offset, stored.appended_at_ms);
                    let properties = message.properties.into_iter().collect();
                    let (key, body) = (message.key, message.body);
                    StoredMessage { offset, appended_at_ms, key, properties, body, ..Default::default() }
                })
                .collect();
        } else {
            let batch = stored.served.unwrap_or_else(|| stored.batch.bytes().clone());
            let (base_offset, appended_at_ms) = (stored.base, stored.appended_at_ms);
            response.batches = vec![StoredBatch { base_offset, count, appended_at_ms, batch }];
        }
        Step::Say(response)
    }

    async fn serve(
        self,
        request: ReadRequest,
        begin: (u64, Option<OffsetRange>),
        out: mpsc::Sender<Result<ReadResponse, Status>>,
    ) {
        let mut changes = self.cluster.changes.subscribe();
        let (mut next, skipped) = begin;
        if let Some(skipped) = skipped {
            let log = self
                .cluster
                .with(|state| state.partition(&request.topic, request.partition).expect("there").log);
            let log_id = Bytes::copy_from_slice(&log.0);
            let response =
                ReadResponse { skipped: Some(skipped), next_offset: next, log_id, ..Default::default() };
            let _ = out.send(Ok(response)).await;
        }
        loop {
            match self.step(&request, next) {
                Step::Say(response) => {
                    next = response.next_offset;
                    if out.send(Ok(response)).await.is_err() {
                        return;
                    }
                    // A broken read has delivered one response before.
                    if self.cluster.with(State::take_read_break) {
                        let _ = out.send(Err(Status::unavailable("connection reset"))).await;
                        return;
                    }
                }
                Step::Break => {
                    let _ = out.send(Err(Status::unavailable("connection reset"))).await;
                    return;
                }
                Step::End => return,
                Step::Wait => tokio::select! {
                    _ = changes.changed() => {}
                    () = out.closed() => return,
                },
            }
        }
    }
}

#[tonic::async_trait]
impl ReadService for Node {
    type ReadStream = ReceiverStream<Result<ReadResponse, Status>>;

    async fn read(&self, request: Request<ReadRequest>) -> Result<Response<Self::ReadStream>, Status> {
        self.alive()?;
        let request = request.into_inner();
        let begin = self.begin(&request)?;
        let (out, responses) = mpsc::channel(2);
        tokio::spawn(self.clone().serve(request, begin, out));
        Ok(Response::new(ReceiverStream::new(responses)))
    }

    async fn get_log(&self, request: Request<GetLogRequest>) -> Result<Response<GetLogResponse>, Status> {
        self.alive()?;
        let request = request.into_inner();
        let mut state = self.cluster.state.lock();
        let partition = state.partition(&request.topic, request.partition)?;
        Ok(Response::new(GetLogResponse {
            log_start: partition.start,
            log_end: partition.end(),
            log_id: Bytes::copy_from_slice(&partition.log.0),
            chain_head: Bytes::from(vec![0; 32]),
            applied_index: 1,
            log_bytes: partition.batches.iter().map(|stored| stored.batch.bytes().len() as u64).sum(),
        }))
    }
}
