//! openraft's network, over the lanes.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures::stream::{FuturesOrdered, unfold};
use futures::{FutureExt, Stream, StreamExt, select_biased};
use meridian_model::{GroupId, NodeId};
use meridian_proto::internal as pb;
use openraft::RaftMetrics;
use openraft::async_runtime::WatchReceiver;
use openraft::base::{BoxFuture, BoxStream};
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{RPCOption, RaftNetworkFactory, v2::RaftNetworkV2};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendError, StreamAppendResult,
    TransferLeaderError, TransferLeaderRequest, TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::type_config::alias::WatchReceiverOf;
use openraft::type_config::alias::{SnapshotOf, VoteOf};
use prost::Message;
use tokio::sync::oneshot;

use super::lane::{Lane, LaneKind, NoAnswer};
use super::links::Links;
use super::snapshot_client;
use crate::quiet::Quiet;
use crate::snapshot::SnapshotData;
use crate::types::{LogId, ReplicaNode, TypeConfig, term_of};
use crate::wire::{self, entry_parts, position_from_wire, position_to_wire, vote_from_wire, vote_to_wire};

/// Appends of one group that may be unanswered on a lane.
const WINDOW_CALLS: usize = 32;
/// How long an append may go unanswered.
const APPEND_PATIENCE: Duration = Duration::from_secs(5);

type C = TypeConfig;

/// Makes the network clients of one group.
#[derive(Clone)]
pub struct GroupNetwork {
    links: Arc<Links>,
    group: GroupId,
    quiet: Quiet,
    standing: Standing,
}

/// Who votes in the group, once it runs.
pub(crate) type Standing = Arc<OnceLock<WatchReceiverOf<C, RaftMetrics<C>>>>;

impl GroupNetwork {
    /// The network of `group`.
    pub(crate) fn new(links: Arc<Links>, group: GroupId, quiet: Quiet, standing: Standing) -> Self {
        Self { links, group, quiet, standing }
    }

    fn client(&self, target: u64, node: &ReplicaNode, kind: LaneKind) -> PeerClient {
        let lane = self.links.lane(node.node, kind);
        let urgent = self.links.lane(node.node, LaneKind::Urgent);
        PeerClient {
            links: Arc::clone(&self.links),
            group: self.group,
            quiet: self.quiet.clone(),
            standing: Arc::clone(&self.standing),
            target,
            node: node.node,
            lane,
            urgent,
        }
    }
}

impl RaftNetworkFactory<C> for GroupNetwork {
    type Network = PeerClient;

    async fn new_client(&mut self, target: u64, node: &ReplicaNode) -> PeerClient {
        self.client(target, node, LaneKind::Bulk)
    }

    async fn new_heartbeat_client(&mut self, target: u64, node: &ReplicaNode) -> PeerClient {
        self.client(target, node, LaneKind::Urgent)
    }
}

/// One group's way to one replica.
pub struct PeerClient {
    links: Arc<Links>,
    group: GroupId,
    quiet: Quiet,
    standing: Standing,
    target: u64,
    node: NodeId,
    lane: Arc<Lane>,
    urgent: Arc<Lane>,
}

impl PeerClient {
    fn call(&self, body: pb::call::Body) -> pb::Call {
        pb::Call { id: 0, group: self.group.0, to_replica: self.target, body: Some(body) }
    }

    fn append_call(&self, request: &AppendEntriesRequest<C>) -> pb::Call {
        let entries = request.entries.iter().map(|entry| {
            let (kind, payload) = entry_parts(entry);
            pb::LogEntry {
                term: term_of(&entry.log_id),
                index: entry.log_id.index,
                kind: kind as u32,
                payload,
            }
        });
        self.call(pb::call::Body::Append(pb::AppendCall {
            vote: Some(vote_to_wire(&request.vote)),
            prev: request.prev_log_id.as_ref().map(position_to_wire),
            commit: request.leader_commit.as_ref().map(position_to_wire),
            quiet: self.quiet.is_set() && request.entries.is_empty(),
            entries: entries.collect(),
        }))
    }

    /// The call, when its turn comes: entries for a member that does not vote yet go at the pace of copies.
    async fn paced_append(&self, request: &AppendEntriesRequest<C>) -> pb::Call {
        let call = self.append_call(request);
        if !request.entries.is_empty() && !self.target_votes() {
            self.links.pace().pass(call.encoded_len()).await;
        }
        call
    }

    fn target_votes(&self) -> bool {
        self.standing.get().is_none_or(|metrics| {
            let metrics = metrics.borrow_watched();
            metrics.membership_config.membership().voter_ids().any(|id| id == self.target)
        })
    }

    fn vote_call(rpc: &VoteRequest<C>) -> pb::VoteCall {
        pb::VoteCall {
            vote: Some(vote_to_wire(&rpc.vote)),
            last: rpc.last_log_id.as_ref().map(position_to_wire),
            leadership_transfer: rpc.leadership_transfer,
        }
    }

    async fn ask_vote(
        &self,
        body: pb::call::Body,
        option: RPCOption,
    ) -> Result<VoteResponse<C>, RPCError<C>> {
        let answer = self.urgent.call(self.call(body), option.hard_ttl()).await.map_err(unreachable)?;
        match answer.body {
            Some(pb::answer::Body::Vote(answer)) => Ok(VoteResponse {
                vote: vote_from_wire(answer.vote).map_err(broken)?,
                vote_granted: answer.granted,
                last_log_id: answer.last.map(position_from_wire),
            }),
            other => Err(unexpected(other)),
        }
    }
}

fn unreachable(error: NoAnswer) -> RPCError<C> {
    RPCError::Unreachable(Unreachable::new(&error))
}

fn broken(error: wire::Malformed) -> RPCError<C> {
    RPCError::Network(NetworkError::new(&error))
}

fn unexpected(body: Option<pb::answer::Body>) -> RPCError<C> {
    let why = match body {
        Some(pb::answer::Body::Unavailable(answer)) => answer.why,
        _ => "an answer to another question".to_string(),
    };
    RPCError::Unreachable(Unreachable::new(&std::io::Error::other(why)))
}

type Answered = Result<StreamAppendResult<C>, RPCError<C>>;
type Receiver = oneshot::Receiver<Result<pb::Answer, NoAnswer>>;

async fn await_append(receiver: Receiver, prev: Option<LogId>, last: Option<LogId>) -> Answered {
    let answer = match tokio::time::timeout(APPEND_PATIENCE, receiver).await {
        Ok(Ok(answer)) => answer.map_err(unreachable)?,
        _ => {
            return Err(RPCError::Unreachable(Unreachable::new(&std::io::Error::other(
                "an append got no answer",
            ))));
        }
    };
    use pb::append_answer::Result as Outcome;
    match answer.body {
        Some(pb::answer::Body::Append(answer)) => match answer.result {
            Some(Outcome::Matched(matched)) => Ok(Ok(matched.through.map(position_from_wire).or(last))),
            Some(Outcome::Conflict(conflict)) => {
                let at = conflict.at.map(position_from_wire).or(prev);
                at.map(|at| Err(StreamAppendError::Conflict(at))).ok_or_else(|| unexpected(None))
            }
            Some(Outcome::HigherVote(vote)) => {
                Ok(Err(StreamAppendError::HigherVote(vote_from_wire(Some(vote)).map_err(broken)?)))
            }
            None => Err(unexpected(None)),
        },
        other => Err(unexpected(other)),
    }
}

impl RaftNetworkV2<C> for PeerClient {
    type SnapshotData = SnapshotData;

    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<C>,
        _option: RPCOption,
    ) -> Result<AppendEntriesResponse<C>, RPCError<C>> {
        let (prev, last) =
            (rpc.prev_log_id, rpc.entries.last().map(|entry| entry.log_id).or(rpc.prev_log_id));
        let receiver = self.lane.start(self.paced_append(&rpc).await).await.map_err(unreachable)?;
        Ok(match await_append(receiver, prev, last).await? {
            Ok(through) if through == last => AppendEntriesResponse::Success,
            Ok(through) => AppendEntriesResponse::PartialSuccess(through),
            Err(StreamAppendError::Conflict(_)) => AppendEntriesResponse::Conflict,
            Err(StreamAppendError::HigherVote(vote)) => AppendEntriesResponse::HigherVote(vote),
        })
    }

    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        _option: RPCOption,
    ) -> BoxFuture<'s, Result<BoxStream<'s, Answered>, RPCError<C>>>
    where
        S: Stream<Item = AppendEntriesRequest<C>> + openraft::OptionalSend + Unpin + 'static,
    {
        let window = FuturesOrdered::new();
        let state = Some((self, input.fuse(), window));
        let answers = unfold(state, |state| async move {
            let (client, mut input, mut window) = state?;
            loop {
                // The input is always polled before anything can fail, or openraft would spin.
                let full = window.len() >= WINDOW_CALLS;
                if window.is_empty() && input.is_done() {
                    return None;
                }
                let step = {
                    let request = next_unless(full, &mut input).fuse();
                    futures::pin_mut!(request);
                    select_biased! {
                        answer = window.select_next_some() => Step::Answer(answer),
                        request = request => Step::Request(request),
                    }
                };
                match step {
                    Step::Answer(answer) => {
                        let last = !matches!(answer, Ok(Ok(_)));
                        return Some((answer, (!last).then_some((client, input, window))));
                    }
                    Step::Request(None) => continue,
                    Step::Request(Some(request)) => {
                        let prev = request.prev_log_id;
                        let last = request.entries.last().map(|entry| entry.log_id).or(prev);
                        match client.lane.start(client.paced_append(&request).await).await {
                            Ok(receiver) => window.push_back(await_append(receiver, prev, last)),
                            Err(error) => return Some((Err(unreachable(error)), None)),
                        }
                    }
                }
            }
        });
        let answers: BoxStream<'s, Answered> = Box::pin(answers);
        Box::pin(async move { Ok(answers) })
    }

    async fn vote(&mut self, rpc: VoteRequest<C>, option: RPCOption) -> Result<VoteResponse<C>, RPCError<C>> {
        self.ask_vote(pb::call::Body::Vote(Self::vote_call(&rpc)), option).await
    }

    async fn pre_vote(
        &mut self,
        rpc: VoteRequest<C>,
        option: RPCOption,
    ) -> Result<VoteResponse<C>, RPCError<C>> {
        self.ask_vote(pb::call::Body::PreVote(Self::vote_call(&rpc)), option).await
    }

    async fn full_snapshot(
        &mut self,
        vote: VoteOf<C>,
        snapshot: SnapshotOf<C, SnapshotData>,
        cancel: impl Future<Output = ReplicationClosed> + openraft::OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<C>, StreamingError<C>> {
        let sending = snapshot_client::send(&self.links, self.group, self.target, self.node, vote, snapshot);
        tokio::select! {
            result = sending => result,
            closed = cancel => Err(StreamingError::Closed(closed)),
        }
    }

    async fn transfer_leader(
        &mut self,
        rpc: TransferLeaderRequest<C>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<C>, RPCError<C>> {
        let call = self.call(pb::call::Body::Transfer(pb::TransferCall {
            from_leader: Some(vote_to_wire(rpc.from_leader())),
            to_replica: *rpc.to_node_id(),
            last: rpc.last_log_id().map(position_to_wire),
        }));
        let answer = self.urgent.call(call, option.hard_ttl()).await.map_err(unreachable)?;
        match answer.body {
            Some(pb::answer::Body::Transfer(answer)) if answer.refused.is_empty() => Ok(Ok(())),
            Some(pb::answer::Body::Transfer(_)) => Ok(Err(TransferLeaderError::LogNotFlushed {
                expected: rpc.last_log_id().copied(),
                actual: None,
            })),
            other => Err(unexpected(other)),
        }
    }
}

enum Step {
    Answer(Answered),
    Request(Option<AppendEntriesRequest<C>>),
}

async fn next_unless<S>(full: bool, input: &mut futures::stream::Fuse<S>) -> Option<AppendEntriesRequest<C>>
where
    S: Stream<Item = AppendEntriesRequest<C>> + Unpin,
{
    match full || input.is_done() {
        true => std::future::pending().await,
        false => input.next().await,
    }
}
