//! What the partitions of this node keep of their subscriptions, behind the port of `commitlog`.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use meridian_commitlog::{
    CursorError, CursorRefusal, Cursors, DelayedPage, Glance, Mandate, Settled, Standing, Tail,
};
use meridian_machine::command::{Command, SettlePart, StartAt, SubscriptionCommand};
use meridian_machine::partition::{PartitionMachine, PartitionReply, SettleOutcome, SubscriptionView};
use meridian_model::limits::DEAD_LETTERS_MAX;
use meridian_model::subscription::Settlement;
use meridian_model::{ConsumerId, GroupId, Offset, Place, SubscriptionId, UnixMs};

use crate::delayed_index;
use crate::group::Group;
use crate::proposer::ProposeError;
use crate::registry::Registry;
use crate::types::Reply;

/// How long a command waits for a quorum's word. Then nobody knows.
const COMMAND_MAX: Duration = Duration::from_secs(10);

impl From<ProposeError> for CursorError {
    fn from(error: ProposeError) -> Self {
        match error {
            ProposeError::NotLeader { leader } => CursorError::NotLeader { leader },
            ProposeError::Unavailable(why) => CursorError::Unavailable(why),
            ProposeError::Indeterminate(why) => CursorError::Indeterminate(why),
        }
    }
}

impl Registry {
    /// The group, where this node leads it.
    fn led(&self, group: GroupId) -> Result<Arc<Group>, CursorError> {
        let group = self.get(group).ok_or(CursorError::NotLeader { leader: None })?;
        match group.is_leader() {
            true => Ok(group),
            false => Err(CursorError::NotLeader { leader: group.leader() }),
        }
    }
}

fn look<R>(
    group: &Group,
    id: SubscriptionId,
    look: impl FnOnce(&PartitionMachine, SubscriptionView<'_>) -> R,
) -> Result<R, CursorError> {
    let seen = group.view().partition(|machine| machine.subscription(id).map(|sub| look(machine, sub)));
    seen.flatten().ok_or(CursorError::Refused(CursorRefusal::Unknown))
}

fn outbox_room(sub: &SubscriptionView<'_>) -> usize {
    let letters: usize = sub.outbox().map(|(_, destination)| destination.letters.len()).sum();
    DEAD_LETTERS_MAX.saturating_sub(letters)
}

fn standing(machine: &PartitionMachine, sub: SubscriptionView<'_>) -> Standing {
    Standing {
        subscription: sub.id(),
        rules: sub.rules().clone(),
        dispatch_epoch: machine.dispatch_epoch(),
        dispatched_before: true,
        owner: sub.owner(),
        owner_epoch: sub.owner_epoch(),
        seek_epoch: sub.seek_epoch(),
        floor: sub.floor(),
        settled: sub.settled().iter().collect(),
        delayed_floor: sub.delayed_floor(),
        delayed_settled: Default::default(),
        attempts: Default::default(),
        dead_letters_to: None,
        outbox_room: outbox_room(&sub),
        stamp: machine.last_stamp(),
    }
}

impl Group {
    async fn command(
        &self,
        command: impl FnOnce(UnixMs) -> SubscriptionCommand,
    ) -> Result<PartitionReply, CursorError> {
        let command = Command::from(command(self.stamp()));
        match self.propose(&command, COMMAND_MAX).await? {
            (_, Reply::Partition(PartitionReply::SubscriptionRefused(refusal))) => Err(refused(refusal)),
            (_, Reply::Partition(reply)) => Ok(reply),
            (_, other) => Err(CursorError::Indeterminate(format!("answered with {other}"))),
        }
    }
}

#[async_trait]
impl Cursors for Registry {
    fn tail(&self, group: GroupId) -> Result<Tail, CursorError> {
        let group = self.led(group)?;
        let delayed = group.view().partition(|machine| machine.delayed_messages());
        let applied = group.view().applied();
        match applied.catching_up {
            true => Err(CursorError::Unavailable("it is catching up".into())),
            false => Ok(Tail {
                start: applied.start,
                end: applied.end,
                stamp: applied.stamp,
                delayed_messages: delayed.unwrap_or_default(),
            }),
        }
    }

    fn glance(&self, group: GroupId, id: SubscriptionId) -> Result<Glance, CursorError> {
        look(&*self.led(group)?, id, |_, sub| Glance {
            seek_epoch: sub.seek_epoch(),
            rules_at: sub.control_index(),
            outbox_room: outbox_room(&sub),
        })
    }

    fn standing(&self, group: GroupId, id: SubscriptionId) -> Result<Standing, CursorError> {
        look(&*self.led(group)?, id, standing)
    }

    async fn begin_dispatch(&self, group: GroupId, id: SubscriptionId) -> Result<Standing, CursorError> {
        let group = self.led(group)?;
        let before = look(&group, id, |machine, _| machine.dispatch_epoch() > 0)?;
        match group.command(|stamp| SubscriptionCommand::BeginDispatch { stamp }).await? {
            PartitionReply::DispatchBegun { epoch } => {
                let standing = look(&group, id, standing)?;
                Ok(Standing { dispatch_epoch: epoch, dispatched_before: before, ..standing })
            }
            other => Err(unexpected(&other)),
        }
    }

    async fn settle(
        &self,
        group: GroupId,
        mandate: Mandate,
        settlement: Settlement,
    ) -> Result<Settled, CursorError> {
        let group = self.led(group)?;
        let id = mandate.subscription;
        let owned = look(&group, id, |_, sub| sub.rules().kind.is_owned())?;
        let part = SettlePart {
            id,
            seek_epoch: mandate.seek_epoch,
            owner_epoch: owned.then_some(mandate.owner_epoch),
            settlement,
        };
        let (stamp, outcome) = group.settler().settle(part).await?;
        match outcome {
            SettleOutcome::Applied => {
                Ok(Settled { stamp, outbox_room: look(&group, id, |_, sub| outbox_room(&sub))? })
            }
            SettleOutcome::Refused(refusal) => Err(refused(refusal)),
        }
    }

    async fn own(
        &self,
        group: GroupId,
        id: SubscriptionId,
        consumer: ConsumerId,
    ) -> Result<u64, CursorError> {
        let group = self.led(group)?;
        let own = |stamp| SubscriptionCommand::Own { stamp, id, owner: Some(consumer) };
        match group.command(own).await? {
            PartitionReply::Owned { epoch } => Ok(epoch),
            other => Err(unexpected(&other)),
        }
    }

    async fn seek(&self, group: GroupId, id: SubscriptionId, to: Offset) -> Result<Standing, CursorError> {
        let group = self.led(group)?;
        let delayed_before = delayed_index::rank(&group, to).await?;
        let to = StartAt::Offset { offset: to, delayed_before };
        match group.command(|stamp| SubscriptionCommand::Seek { stamp, id, to }).await? {
            PartitionReply::Sought { .. } => look(&group, id, standing),
            other => Err(unexpected(&other)),
        }
    }

    async fn delayed(
        &self,
        group: GroupId,
        from: Place,
        through: UnixMs,
        bytes: usize,
    ) -> Result<DelayedPage, CursorError> {
        delayed_index::page(&*self.led(group)?, from, through, bytes).await
    }
}

fn unexpected(reply: &PartitionReply) -> CursorError {
    CursorError::Indeterminate(format!("answered with {reply:?}"))
}
