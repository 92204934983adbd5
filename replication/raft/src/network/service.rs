//! The receiving end of the lanes: finds the group a call is for and answers it.
//!
//! Appends of one group keep their order within a stream; everything else is answered as it comes.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures::stream::{FuturesOrdered, FuturesUnordered};
use futures::{Stream, StreamExt};
use meridian_model::{GroupId, NodeId, ReplicaId};
use meridian_proto::internal as pb;
use openraft::async_runtime::WatchReceiver;
use openraft::raft::{AppendEntriesResponse, TransferLeaderRequest, VoteRequest, VoteResponse};
use pb::{answer, append_answer, call};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Response, Status, Streaming};

use super::links::Links;
use super::{PROTOCOL_VERSION, snapshot_service};
use crate::clock_book::DiskState;
use crate::group::Group;
use crate::registry::Registry;
use crate::types::{AppendRequest, TypeConfig, Vote};
use crate::wire::{append_from_wire, position_from_wire, position_to_wire, vote_from_wire, vote_to_wire};

/// Appends of one group that may be under way on one stream.
const GROUP_CALLS: usize = 64;
/// Answers that may wait to be sent.
const ANSWERS: usize = 1_024;

/// Answers the calls of peers. The daemon mounts it on the raft listener.
#[derive(Clone)]
pub struct RaftService {
    own: NodeId,
    registry: Arc<Registry>,
    links: Arc<Links>,
    backlog_bytes_max: u64,
}

/// For which nodes the other end of a connection may speak.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Speaker {
    /// Any: nobody was asked for a certificate.
    Believed,
    /// Those that its certificate names.
    Proved(Vec<NodeId>),
}

impl Speaker {
    /// Refuses whoever claims to be a node that its certificate does not name.
    pub fn check(&self, claimed: u64) -> Result<(), Status> {
        match self {
            Speaker::Proved(nodes) if !nodes.contains(&NodeId(claimed)) => {
                let named: Vec<String> = nodes.iter().map(ToString::to_string).collect();
                let why = format!(
                    "you say that you are node-{claimed}; your certificate says {}",
                    named.join(", ")
                );
                tracing::warn!(
                    claimed,
                    certificate = named.join(", "),
                    "a node speaks for another one: refused"
                );
                Err(Status::permission_denied(why))
            }
            _ => Ok(()),
        }
    }
}

/// The answers of an exchange.
pub type ExchangeStream = Pin<Box<dyn Stream<Item = Result<pb::ExchangeResponse, Status>> + Send>>;

impl RaftService {
    /// The service of node `own`, where appends wait while the writer is behind by more than so many bytes.
    pub fn new(own: NodeId, registry: Arc<Registry>, links: Arc<Links>, backlog_bytes_max: u64) -> Self {
        Self { own, registry, links, backlog_bytes_max }
    }

    fn greet(&self, from_node: u64, to_node: u64, cluster_id: &[u8], version: u32) -> Result<(), Status> {
        let own_cluster = self.links.addresses().cluster();
        if self.links.addresses().is_fenced(NodeId(from_node)) {
            let why = "this node was given up by an unsafe recovery: give it an empty data folder to let it join again";
            return Err(Status::permission_denied(why));
        }
        if to_node != self.own.0 {
            return Err(Status::failed_precondition(format!("this is {}, not node-{to_node}", self.own)));
        }
        if !cluster_id.is_empty()
            && !own_cluster.is_nil()
            && *cluster_id != own_cluster.0
            && cluster_id != [0; 16]
        {
            return Err(Status::failed_precondition("this node belongs to another cluster"));
        }
        match version == PROTOCOL_VERSION {
            true => Ok(()),
            false => Err(Status::failed_precondition(format!(
                "protocol {version}, this node speaks {PROTOCOL_VERSION}"
            ))),
        }
    }

    /// Runs one multiplexed stream.
    pub async fn exchange(
        &self,
        speaker: &Speaker,
        mut requests: Streaming<pb::ExchangeRequest>,
    ) -> Result<Response<ExchangeStream>, Status> {
        let first = requests.message().await?.ok_or_else(|| Status::cancelled("nothing came"))?;
        let (clock_ms, disk) = (first.clock_ms, disk_of(&first));
        let hello = first.hello.ok_or_else(|| Status::invalid_argument("a stream begins with a hello"))?;
        speaker.check(hello.from_node)?;
        self.greet(hello.from_node, hello.to_node, &hello.cluster_id, hello.protocol_version)?;
        let from = NodeId(hello.from_node);
        self.links.heard(from, clock_ms, disk);
        let (answers, outgoing) = mpsc::channel(ANSWERS);
        let exchange =
            Exchange { service: self.clone(), from, answers, beats: Vec::new(), groups: BTreeMap::new() };
        tokio::spawn(exchange.run(requests));
        let clocks = Arc::clone(self.links.clocks());
        let frames = ReceiverStream::new(outgoing).ready_chunks(256).map(move |answers| {
            let (clock_ms, disk) = (clocks.now().0, clocks.own_disk());
            let (disk_full, disk_stalled) = (disk.full, disk.stalled);
            Ok(pb::ExchangeResponse { answers, clock_ms, disk_full, disk_stalled })
        });
        Ok(Response::new(Box::pin(frames)))
    }

    /// Takes a snapshot in.
    pub async fn send_snapshot(
        &self,
        speaker: &Speaker,
        parts: Streaming<pb::SendSnapshotRequest>,
    ) -> Result<Response<pb::SendSnapshotResponse>, Status> {
        let check = |begin: &pb::SnapshotBegin| {
            speaker.check(begin.from_node)?;
            self.greet(begin.from_node, self.own.0, &begin.cluster_id, PROTOCOL_VERSION)
        };
        Ok(Response::new(snapshot_service::receive(&self.registry, parts, check).await?))
    }
}

fn disk_of(said: &pb::ExchangeRequest) -> DiskState {
    DiskState { full: said.disk_full, stalled: said.disk_stalled }
}

/// A heartbeat: its group, the id of its call, and what it says.
type Beat = (Arc<Group>, u64, AppendRequest);

struct Exchange {
    service: RaftService,
    from: NodeId,
    answers: mpsc::Sender<pb::Answer>,
    /// The heartbeats of the frame at hand.
    beats: Vec<Beat>,
    /// Where entries of a group go, and the copy that takes them: its id may get another copy on this node.
    groups: BTreeMap<GroupId, (Weak<Group>, Queue)>,
}

type Queue = mpsc::Sender<(u64, AppendRequest)>;

impl Exchange {
    async fn run(mut self, mut requests: Streaming<pb::ExchangeRequest>) {
        let _open = self.service.links.signs().opened(self.from);
        while let Ok(Some(request)) = requests.message().await {
            self.service.links.heard(self.from, request.clock_ms, disk_of(&request));
            // A pulse is answered with one, so that both ends know of each other.
            if request.calls.is_empty() && self.answers.send(pb::Answer::default()).await.is_err() {
                return;
            }
            for call in request.calls {
                let id = call.id;
                if let Err(why) = self.dispatch(call).await {
                    let unavailable = answer::Body::Unavailable(pb::Unavailable { why });
                    if self.answers.send(pb::Answer { id, body: Some(unavailable) }).await.is_err() {
                        return;
                    }
                }
            }
            self.answer_beats();
        }
    }

    /// All heartbeats of a frame together: answers then share a frame, too. None waits for another one.
    fn answer_beats(&mut self) {
        if self.beats.is_empty() {
            return;
        }
        let (beats, answers) = (std::mem::take(&mut self.beats), self.answers.clone());
        tokio::spawn(async move {
            let mut answered: FuturesUnordered<_> = beats.into_iter().map(beat).collect();
            while let Some(answer) = answered.next().await {
                if answers.send(answer).await.is_err() {
                    return;
                }
            }
        });
    }

    async fn dispatch(&mut self, call: pb::Call) -> Result<(), String> {
        let id = call.id;
        let group = self.service.registry.get(GroupId(call.group));
        let group = group.ok_or_else(|| format!("group-{} does not run here", call.group))?;
        if group.replica().0 != call.to_replica {
            return Err(format!("{} is {}, not replica-{}", group.id(), group.replica(), call.to_replica));
        }
        match call.body {
            Some(call::Body::Append(append)) => {
                group.heard_leader(append.quiet);
                let request = append_from_wire(append).map_err(|error| error.to_string())?;
                self.append(group, id, request).await
            }
            Some(call::Body::Vote(vote)) => self.vote(group, id, vote, false),
            Some(call::Body::PreVote(vote)) => self.vote(group, id, vote, true),
            Some(call::Body::Transfer(transfer)) => self.transfer(group, id, transfer),
            None => Err("an empty call".into()),
        }
    }

    /// A heartbeat is answered apart; entries queue up behind those of their group.
    async fn append(&mut self, group: Arc<Group>, id: u64, request: AppendRequest) -> Result<(), String> {
        if request.entries.is_empty() {
            self.beats.push((group, id, request));
            return Ok(());
        }
        while group.writer().backlog_bytes() > self.service.backlog_bytes_max {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let queue = self.queue_of(&group);
        if queue.send((id, request)).await.is_err() {
            self.groups.remove(&group.id());
            return Err("the group stopped".into());
        }
        Ok(())
    }

    fn queue_of(&mut self, group: &Arc<Group>) -> &Queue {
        let copy = Arc::downgrade(group);
        if self.groups.get(&group.id()).is_some_and(|(of, _)| !of.ptr_eq(&copy)) {
            self.groups.remove(&group.id());
        }
        let (_, queue) = self.groups.entry(group.id()).or_insert_with(|| {
            let (queue, requests) = mpsc::channel(GROUP_CALLS);
            tokio::spawn(append_in_order(copy.clone(), requests, self.answers.clone()));
            (copy, queue)
        });
        queue
    }

    fn vote(&self, group: Arc<Group>, id: u64, call: pb::VoteCall, pre: bool) -> Result<(), String> {
        let request: VoteRequest<TypeConfig> = VoteRequest {
            vote: vote_from_wire(call.vote).map_err(|error| error.to_string())?,
            last_log_id: call.last.map(position_from_wire),
            leadership_transfer: call.leadership_transfer,
        };
        let answers = self.answers.clone();
        let candidate = ReplicaId(request.vote.leader_id.voted_for);
        tokio::spawn(async move {
            let response = match pre {
                true if group.keeps_its_leader(candidate) => Ok(kept(&group, request.vote).await),
                true => group.raft().pre_vote(request).await,
                false => group.raft().vote(request).await,
            };
            let body = match response {
                Ok(response) => answer::Body::Vote(pb::VoteAnswer {
                    vote: Some(vote_to_wire(&response.vote)),
                    granted: response.vote_granted,
                    last: response.last_log_id.as_ref().map(position_to_wire),
                }),
                Err(error) => answer::Body::Unavailable(pb::Unavailable { why: error.to_string() }),
            };
            let _ = answers.send(pb::Answer { id, body: Some(body) }).await;
        });
        Ok(())
    }

    fn transfer(&self, group: Arc<Group>, id: u64, call: pb::TransferCall) -> Result<(), String> {
        let vote: Vote = vote_from_wire(call.from_leader).map_err(|error| error.to_string())?;
        let request = TransferLeaderRequest::new(vote, call.to_replica, call.last.map(position_from_wire));
        let answers = self.answers.clone();
        tokio::spawn(async move {
            let refused = match group.raft().handle_transfer_leader(request).await {
                Ok(Ok(())) => String::new(),
                Ok(Err(error)) => error.to_string(),
                Err(error) => error.to_string(),
            };
            let body = Some(answer::Body::Transfer(pb::TransferAnswer { refused }));
            let _ = answers.send(pb::Answer { id, body }).await;
        });
        Ok(())
    }
}

/// No vote: the leader of a quiet group is in office. Where it is here it says so to everybody.
async fn kept(group: &Group, vote: Vote) -> VoteResponse<TypeConfig> {
    if group.is_leader() {
        // A replica that stops says nothing.
        let _ = group.raft().trigger().heartbeat().await;
    }
    let own = group.raft().metrics().borrow_watched().vote;
    tracing::debug!(group = %group.id(), %vote, "no vote: the group is quiet and its leader is there");
    VoteResponse::new(own, None, false)
}

async fn beat((group, id, request): Beat) -> pb::Answer {
    append_now(&group, id, request).await
}

async fn append_in_order(
    group: Weak<Group>,
    mut requests: mpsc::Receiver<(u64, AppendRequest)>,
    answers: mpsc::Sender<pb::Answer>,
) {
    let mut running = FuturesOrdered::new();
    loop {
        tokio::select! {
            biased;
            request = requests.recv(), if running.len() < GROUP_CALLS => match request {
                Some((id, request)) => running.push_back(append_to(group.clone(), id, request)),
                None => return,
            },
            Some(answer) = running.next() => {
                if answers.send(answer).await.is_err() {
                    return;
                }
            }
        }
    }
}

async fn append_to(group: Weak<Group>, id: u64, request: AppendRequest) -> pb::Answer {
    match group.upgrade() {
        Some(group) => append_now(&group, id, request).await,
        None => {
            let why = "the group stopped".into();
            pb::Answer { id, body: Some(answer::Body::Unavailable(pb::Unavailable { why })) }
        }
    }
}

async fn append_now(group: &Group, id: u64, request: AppendRequest) -> pb::Answer {
    let prev = request.prev_log_id;
    let last = request.entries.last().map(|entry| entry.log_id).or(prev);
    let result = match group.raft().append_entries(request).await {
        Ok(AppendEntriesResponse::Success) => matched(last.as_ref().map(position_to_wire)),
        Ok(AppendEntriesResponse::PartialSuccess(through)) => matched(through.as_ref().map(position_to_wire)),
        Ok(AppendEntriesResponse::Conflict) => {
            append_answer::Result::Conflict(pb::AppendConflict { at: prev.as_ref().map(position_to_wire) })
        }
        Ok(AppendEntriesResponse::HigherVote(vote)) => append_answer::Result::HigherVote(vote_to_wire(&vote)),
        Err(error) => {
            let body = Some(answer::Body::Unavailable(pb::Unavailable { why: error.to_string() }));
            return pb::Answer { id, body };
        }
    };
    pb::Answer { id, body: Some(answer::Body::Append(pb::AppendAnswer { result: Some(result) })) }
}

fn matched(through: Option<pb::LogPosition>) -> append_answer::Result {
    append_answer::Result::Matched(pb::AppendMatched { through })
}
