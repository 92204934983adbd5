//! The control group as a node uses it: proposals find its leader, reads look at the applied state here.

mod belonging;

use std::sync::Arc;
use std::time::Duration;

use meridian_machine::Command;
use meridian_machine::command::CommandError;
use meridian_machine::control::{
    ControlChange, ControlCommand, ControlDone, ControlMachine, ControlRefusal, ControlReply,
};
use meridian_model::{GroupId, NodeId, UnixMs};
use meridian_proto::internal as pb;
use meridian_raft::network::Links;
use meridian_raft::{ClockBook, Group, ProposeError, Registry, Reply};
use tokio::time::Instant;

use crate::arrival::{is_answer, never_sent};

/// How long one attempt may take.
const ATTEMPT_MAX: Duration = Duration::from_secs(3);
const RETRY_AFTER: Duration = Duration::from_millis(50);

/// Why a change of metadata was not made, or may not have been.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ControlError {
    /// Refused, at this control index.
    #[error("{refusal}")]
    Refused {
        /// Why.
        refusal: ControlRefusal,
        /// When.
        index: u64,
    },
    /// No leader answered in time; nothing was proposed.
    #[error("the control group is not available: {0}")]
    Unavailable(String),
    /// Who was asked belongs to another cluster, and nobody else answered.
    #[error("another cluster answered: {0}")]
    Foreign(String),
    /// Proposed, and nobody knows the outcome. Repeat with the same request id.
    #[error("the outcome is unknown: {0}")]
    Indeterminate(String),
}

/// A change that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// The control index at which it took effect.
    pub index: u64,
    /// What it came to.
    pub done: ControlDone,
}

/// The way to the control group.
pub struct ControlPlane {
    own: NodeId,
    cluster_name: String,
    registry: Arc<Registry>,
    links: Arc<Links>,
}

enum Attempt {
    Reply(ControlReply),
    /// Certainly not proposed; somebody else may lead.
    NotLeader(Option<NodeId>),
    Failed(ControlError),
}

/// What became of a change that a peer was asked to propose. It answers Unavailable only before it proposes.
fn of_proposal(status: &tonic::Status) -> ControlError {
    let why = status.message().into();
    match status.code() {
        _ if never_sent(status) => ControlError::Unavailable(why),
        _ if !is_answer(status) => ControlError::Indeterminate(why),
        tonic::Code::Unknown => ControlError::Indeterminate(why),
        tonic::Code::FailedPrecondition => ControlError::Foreign(why),
        _ => ControlError::Unavailable(why),
    }
}

impl ControlPlane {
    /// The control plane of node `own` of the cluster of this name.
    pub fn new(own: NodeId, cluster_name: &str, registry: Arc<Registry>, links: Arc<Links>) -> Arc<Self> {
        Arc::new(Self { own, cluster_name: cluster_name.into(), registry, links })
    }

    /// The peers' clocks.
    pub(crate) fn clocks(&self) -> &ClockBook {
        self.links.clocks()
    }

    /// The replica here, if it runs.
    pub fn group(&self) -> Option<Arc<Group>> {
        self.registry.get(GroupId::CONTROL)
    }

    /// How many nodes hold the control state, or will. 0 while no replica runs here.
    pub(crate) fn member_count(&self) -> usize {
        self.group().map_or(0, |group| {
            let (voters, learners) = group.members();
            voters.len() + learners.len()
        })
    }

    /// Whether this node leads the control group.
    pub fn is_leader(&self) -> bool {
        self.group().is_some_and(|group| group.is_leader())
    }

    /// Looks at the applied state here. `None` while the replica does not run or is catching up.
    pub fn look<R>(&self, look: impl FnOnce(&ControlMachine) -> R) -> Option<R> {
        let group = self.group()?;
        match group.view().applied().catching_up {
            true => None,
            false => group.view().control(look),
        }
    }

    /// Makes a change, wherever the leader is; waits until it is applied there and, where this node holds a
    /// replica, here. Repeating is safe with the same request id.
    pub async fn change(&self, change: ControlChange, patience: Duration) -> Result<Changed, ControlError> {
        let deadline = Instant::now() + patience;
        let (mut hint, mut foreign) = (None, None);
        let mut last = "no leader is known".to_string();
        loop {
            for node in self.candidates(hint.take()) {
                match self.attempt(node, &change).await {
                    Attempt::Reply(reply) => {
                        self.applied(reply.index, deadline).await;
                        let done = reply.result;
                        let done =
                            done.map_err(|refusal| ControlError::Refused { refusal, index: reply.index })?;
                        return Ok(Changed { index: reply.index, done });
                    }
                    Attempt::NotLeader(leader) => hint = hint.or(leader.filter(|leader| *leader != node)),
                    Attempt::Failed(error @ ControlError::Indeterminate(_)) => return Err(error),
                    Attempt::Failed(ControlError::Foreign(why)) => foreign = Some(why),
                    Attempt::Failed(error) => last = error.to_string(),
                }
            }
            if Instant::now() >= deadline {
                return Err(foreign.map_or(ControlError::Unavailable(last), ControlError::Foreign));
            }
            tokio::time::sleep(RETRY_AFTER).await;
        }
    }

    /// The leader, if one is believed in that lives; otherwise everybody, those that are lost last.
    fn candidates(&self, hint: Option<NodeId>) -> Vec<NodeId> {
        let leader = hint.or_else(|| self.group().and_then(|group| group.leader()));
        let signs = self.links.signs();
        match leader.filter(|leader| !signs.is_lost(*leader)) {
            Some(leader) => vec![leader],
            None => {
                let mut nodes = self.links.addresses().nodes();
                nodes.sort_by_key(|node| signs.is_lost(*node));
                nodes
            }
        }
    }

    async fn attempt(&self, node: NodeId, change: &ControlChange) -> Attempt {
        if node == self.own {
            return match self.propose_here(change.clone()).await {
                Ok(reply) => Attempt::Reply(reply),
                Err(ProposeError::NotLeader { leader }) => Attempt::NotLeader(leader),
                Err(ProposeError::Unavailable(why)) => Attempt::Failed(ControlError::Unavailable(why)),
                Err(ProposeError::Indeterminate(why)) => Attempt::Failed(ControlError::Indeterminate(why)),
            };
        }
        let command = Command::Control(ControlCommand { stamp: UnixMs(0), change: change.clone() });
        let request = pb::ProposeControlRequest {
            command: command.encode(),
            from_node: self.own.0,
            member_of: Some(self.membership()),
        };
        let Ok(mut client) = self.links.client(node) else { return Attempt::NotLeader(None) };
        match tokio::time::timeout(ATTEMPT_MAX, client.propose_control(request)).await {
            Err(_) => Attempt::Failed(ControlError::Indeterminate(format!("{node} did not answer in time"))),
            Ok(Err(status)) => Attempt::Failed(of_proposal(&status)),
            Ok(Ok(response)) => {
                let response = response.into_inner();
                if response.not_leader {
                    return Attempt::NotLeader(response.leader_node.map(NodeId));
                }
                match postcard::from_bytes(&response.reply) {
                    Ok(reply) => Attempt::Reply(reply),
                    Err(error) => Attempt::Failed(ControlError::Indeterminate(error.to_string())),
                }
            }
        }
    }

    /// Proposes on this node, which must lead. The stamp is set here.
    pub async fn propose_here(&self, change: ControlChange) -> Result<ControlReply, ProposeError> {
        let group = self.group().ok_or(ProposeError::NotLeader { leader: None })?;
        let command = Command::Control(ControlCommand { stamp: group.stamp(), change });
        match group.propose(&command, ATTEMPT_MAX).await? {
            (_, Reply::Control(reply)) => Ok(reply),
            (_, other) => {
                Err(ProposeError::Indeterminate(format!("a control command was answered with {other}")))
            }
        }
    }

    /// Serves a peer's proposal.
    pub async fn serve(
        &self,
        request: pb::ProposeControlRequest,
    ) -> Result<pb::ProposeControlResponse, tonic::Status> {
        request.member_of.as_ref().map_or(Ok(()), |other| self.admit(other))?;
        let change = match Command::decode(request.command) {
            Ok(Command::Control(command)) => command.change,
            Ok(Command::Partition(_)) => {
                return Err(tonic::Status::invalid_argument("not a control command"));
            }
            Err(error) => return Err(bad(error)),
        };
        match self.propose_here(change).await {
            Ok(reply) => {
                let reply =
                    postcard::to_stdvec(&reply).map_err(|error| tonic::Status::unknown(error.to_string()))?;
                Ok(pb::ProposeControlResponse { reply: reply.into(), ..Default::default() })
            }
            Err(ProposeError::NotLeader { leader }) => Ok(pb::ProposeControlResponse {
                not_leader: true,
                leader_node: leader.map(|node| node.0),
                ..Default::default()
            }),
            Err(ProposeError::Unavailable(why)) => Err(tonic::Status::unavailable(why)),
            Err(ProposeError::Indeterminate(why)) => Err(tonic::Status::unknown(why)),
        }
    }

    /// Waits until this node's replica has applied through `index`, at most until the deadline.
    async fn applied(&self, index: u64, deadline: Instant) {
        let Some(group) = self.group() else { return };
        let mut applied = group.view().watch();
        let caught_up = applied.wait_for(|applied| applied.index >= Some(index) && !applied.catching_up);
        // Behind is no error: whoever reads here next sees the change a little later.
        let _ = tokio::time::timeout_at(deadline, caught_up).await;
    }

    /// Waits until what is applied here is the newest, as confirmed by the leader and a quorum; returns its
    /// index. What was changed before this call is seen after it.
    pub async fn linearizable(&self, patience: Duration) -> Result<u64, ControlError> {
        let deadline = Instant::now() + patience;
        let mut hint = None;
        loop {
            for node in self.candidates(hint.take()) {
                match self.read_index(node).await {
                    Ok(index) => {
                        self.applied(index, deadline).await;
                        let applied = self.group().and_then(|group| group.view().applied().index);
                        if applied >= Some(index) {
                            return Ok(index);
                        }
                    }
                    Err(leader) => hint = hint.or(leader.filter(|leader| *leader != node)),
                }
            }
            if Instant::now() >= deadline {
                return Err(ControlError::Unavailable(
                    "no leader confirmed by a quorum answered in time".into(),
                ));
            }
            tokio::time::sleep(RETRY_AFTER).await;
        }
    }

    async fn read_index(&self, node: NodeId) -> Result<u64, Option<NodeId>> {
        if node == self.own {
            let group = self.group().ok_or(None)?;
            let applied = group.linearizable(ATTEMPT_MAX).await.map_err(|_| group.leader())?;
            return Ok(applied.index.unwrap_or(0));
        }
        let mut client = self.links.client(node).map_err(|_| None)?;
        let request =
            pb::ReadControlIndexRequest { from_node: self.own.0, member_of: Some(self.membership()) };
        let answer = tokio::time::timeout(ATTEMPT_MAX, client.read_control_index(request)).await;
        let answer = answer.map_err(|_| None)?.map_err(|_| None)?.into_inner();
        match answer.not_leader {
            true => Err(answer.leader_node.map(NodeId)),
            false => Ok(answer.index),
        }
    }

    /// Serves a peer's question for the read index.
    pub async fn serve_read_index(
        &self,
        request: pb::ReadControlIndexRequest,
    ) -> Result<pb::ReadControlIndexResponse, tonic::Status> {
        request.member_of.as_ref().map_or(Ok(()), |other| self.admit(other))?;
        Ok(match self.read_index(self.own).await {
            Ok(index) => pb::ReadControlIndexResponse { index, ..Default::default() },
            Err(leader) => pb::ReadControlIndexResponse {
                not_leader: true,
                leader_node: leader.map(|node| node.0),
                ..Default::default()
            },
        })
    }
}

fn bad(error: CommandError) -> tonic::Status {
    tonic::Status::invalid_argument(error.to_string())
}
