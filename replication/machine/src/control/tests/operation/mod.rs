//! Turns random bytes into changes that are interesting in the model's present state.

mod moves;
mod subscriptions;

use meridian_model::topology::{NodeRecord, Retention, Topic};
use meridian_model::{ClusterId, ReplicaId, TopicName, UnixMs};

use super::coverage::{Coverage, Met};
use super::model::{Model, request_id};
use super::{form, node};
use crate::control::{ControlChange, ControlCommand};

/// Random bytes, read one after another.
pub(super) struct Dice<'a>(std::slice::Iter<'a, u8>);

impl<'a> Dice<'a> {
    pub(super) fn of(bytes: &'a [u8]) -> Self {
        Self(bytes.iter())
    }

    fn roll(&mut self) -> u64 {
        self.0.next().copied().map_or(0, u64::from)
    }

    /// Below `n`.
    pub(super) fn below(&mut self, n: u64) -> u64 {
        self.roll() % n
    }

    fn pick<T>(&mut self, of: impl ExactSizeIterator<Item = T>) -> Option<T> {
        let mut of = of;
        let at = self.roll() as usize % of.len().max(1);
        of.nth(at)
    }
}

/// The command that these bytes mean now. `None`: an entry that is no command.
pub(super) fn command(dice: &mut Dice<'_>, model: &Model, met: &mut Coverage) -> Option<ControlCommand> {
    let stamp = UnixMs(match dice.below(16) {
        0 => model.stamp.saturating_sub(3),
        1..=3 => model.stamp,
        more => model.stamp + more,
    });
    let change = match (model.cluster.is_some(), dice.below(32)) {
        (_, 0) => {
            met.met(Met::OpSkip);
            return None;
        }
        (false, 1..=22) => forming(dice),
        (true, 1..=3) => asked_before(dice, model),
        (false, _) if !model.unheard.is_empty() && dice.below(2) == 0 => {
            dice.pick(model.unheard.iter()).cloned().unwrap_or_else(|| form(1))
        }
        _ => fresh(dice, model),
    };
    met.met(match change {
        ControlChange::Form { .. } => Met::OpForm,
        ControlChange::RegisterNode { .. } => Met::OpRegisterNode,
        ControlChange::CreateTenant { .. } => Met::OpCreateTenant,
        ControlChange::DeleteTenant { .. } => Met::OpDeleteTenant,
        ControlChange::CreateNamespace { .. } => Met::OpCreateNamespace,
        ControlChange::DeleteNamespace { .. } => Met::OpDeleteNamespace,
        ControlChange::CreateTopic { .. } => Met::OpCreateTopic,
        ControlChange::UpdateTopic { .. } => Met::OpUpdateTopic,
        ControlChange::AddPartitions { .. } => Met::OpAddPartitions,
        ControlChange::DeleteTopic { .. } => Met::OpDeleteTopic,
        ControlChange::FinishDelete { .. } => Met::OpFinishDelete,
        ControlChange::OpenProducer { .. } => Met::OpOpenProducer,
        ControlChange::TrimLog { .. } => Met::OpTrimLog,
        ControlChange::SetDuty { .. } => Met::OpSetDuty,
        ControlChange::ForgetNode { .. } => Met::OpForgetNode,
        ControlChange::MoveCopy { .. } => Met::OpMoveCopy,
        ControlChange::FinishMove { .. } => Met::OpFinishMove,
        ControlChange::PreferLeader { .. } => Met::OpPreferLeader,
        ControlChange::CreateSubscription { .. } => Met::OpCreateSubscription,
        ControlChange::UpdateSubscription { .. } => Met::OpUpdateSubscription,
        ControlChange::DeleteSubscription { .. } => Met::OpDeleteSubscription,
    });
    Some(ControlCommand { stamp, change })
}

/// Forming the cluster, well three times in eleven.
fn forming(dice: &mut Dice<'_>) -> ControlChange {
    let mut nodes: Vec<NodeRecord> = (1..=3).map(|n| node(n, 100 + u128::from(n))).collect();
    let mut name = "north".to_owned();
    match dice.below(11) {
        0 => name = bad_name(dice),
        1 => nodes.clear(),
        2 => nodes.extend((4..=9).map(|n| node(n, 100))),
        3 => nodes[2].node = nodes[0].node,
        4 => nodes[1].control_replica = nodes[0].control_replica,
        5 => nodes[0].control_replica = ReplicaId(u64::MAX / 2),
        6 => nodes[1].zone = "z".repeat(129),
        7 => nodes[2].addresses.client = "a".repeat(513),
        _ => {}
    }
    ControlChange::Form { cluster: ClusterId::from_u128(1), name, nodes }
}

fn bad_name(dice: &mut Dice<'_>) -> String {
    match dice.below(8) {
        0..=1 => String::new(),
        2 => "-a".into(),
        3 => "a/b".into(),
        4 => "a".repeat(129),
        _ => "a".repeat(1_100),
    }
}

/// A request again, or its id for something else.
fn asked_before(dice: &mut Dice<'_>, model: &Model) -> ControlChange {
    let known = dice.pick(model.requests.iter()).map(|request| request.change.clone());
    match (dice.below(8), known) {
        (0..=1, _) if !model.unheard.is_empty() => {
            dice.pick(model.unheard.iter()).cloned().unwrap_or_else(|| form(1))
        }
        (2, _) if !model.forgotten.is_empty() => {
            dice.pick(model.forgotten.iter()).cloned().unwrap_or_else(|| form(1))
        }
        (0..=3, Some(known)) => known,
        (4..=5, Some(known)) => elsewhere(known),
        (_, Some(mut known)) => {
            let mut change = fresh(dice, model);
            if let (Some(id), Some(used)) = (request_id(&mut change), request_id(&mut known)) {
                id.clone_from(used);
            }
            change
        }
        (_, None) => fresh(dice, model),
    }
}

/// The same request about something else of the same tenant, where there is such a thing.
fn elsewhere(mut change: ControlChange) -> ControlChange {
    match &mut change {
        ControlChange::CreateNamespace { name, .. }
        | ControlChange::DeleteNamespace { name, .. }
        | ControlChange::OpenProducer { name, .. }
        | ControlChange::CreateSubscription { name, .. }
        | ControlChange::UpdateSubscription { name, .. }
        | ControlChange::DeleteSubscription { name, .. } => name.push('2'),
        ControlChange::CreateTopic { name, .. }
        | ControlChange::UpdateTopic { name, .. }
        | ControlChange::AddPartitions { name, .. }
        | ControlChange::DeleteTopic { name, .. } => {
            if let Ok(other) = TopicName::new(name.tenant(), name.namespace(), "elsewhere") {
                *name = other;
            }
        }
        _ => {}
    }
    change
}

fn fresh(dice: &mut Dice<'_>, model: &Model) -> ControlChange {
    let operation = dice.below(120);
    if (64..96).contains(&operation) {
        return moves::change(operation - 64, dice, model);
    }
    let request_id = match dice.below(32) {
        0 => "r".repeat(129),
        1..=15 => format!("r-{}", dice.roll()),
        _ => String::new(),
    };
    match operation {
        0 => form(1 + u128::from(dice.below(2))),
        1..=5 => register(dice, model),
        6..=9 => {
            let name = match dice.below(8) {
                0 => bad_name(dice),
                _ => format!("t{}", dice.below(5)),
            };
            ControlChange::CreateTenant { name, request_id }
        }
        10..=13 => {
            let name = match dice.below(8) {
                0 => "default".into(),
                1..=2 => tenant(dice, model),
                _ => dice
                    .pick(model.tenants.keys().filter(|t| *t != "default").collect::<Vec<_>>().into_iter())
                    .cloned()
                    .unwrap_or_else(|| "nobody".into()),
            };
            ControlChange::DeleteTenant { name, request_id }
        }
        14..=17 => {
            let tenant = tenant(dice, model);
            let name = match dice.below(6) {
                0 => bad_name(dice),
                _ => ["x", "y", "z"][dice.below(3) as usize].to_owned(),
            };
            ControlChange::CreateNamespace { tenant, name, request_id }
        }
        18..=21 => {
            let (tenant, name) = match dice.below(8) {
                0 => ("default".into(), "default".into()),
                1 => ("default".into(), "nowhere".into()),
                _ => {
                    let all: Vec<_> =
                        model.namespaces.keys().filter(|(t, n)| t != "default" || n != "default").collect();
                    dice.pick(all.into_iter())
                        .cloned()
                        .unwrap_or_else(|| ("default".into(), "nowhere".into()))
                }
            };
            ControlChange::DeleteNamespace { tenant, name, request_id }
        }
        96.. => subscriptions::change(operation - 96, dice, model, request_id),
        22..=61 => topic_change(operation, dice, model, request_id),
        _ => {
            let closed = model.log_closed.map_or(0, |at| at.index);
            ControlChange::TrimLog { closed: closed + u64::from(dice.below(3) == 0) }
        }
    }
}

fn topic_change(operation: u64, dice: &mut Dice<'_>, model: &Model, request_id: String) -> ControlChange {
    match operation {
        22..=32 => create(dice, model, request_id),
        33..=37 => {
            let (name, version) = topic(dice, model, 1);
            let expected_version = version_of(dice, version);
            let retention = match dice.below(12) {
                0 => Retention { age_ms: None, bytes: Some(0) },
                1 => Retention { age_ms: Some(0), bytes: None },
                more => Retention { age_ms: Some(more), bytes: None },
            };
            ControlChange::UpdateTopic { name, retention, expected_version, request_id }
        }
        38..=45 => {
            let (name, _) = topic(dice, model, 1);
            let present = model.topics.get(&name).map_or(1, |t| t.partitions.len() as u32);
            let total = match dice.below(8) {
                0 => 0,
                1 => model.bounds.topic_partitions_max + 1,
                2..=3 => present.saturating_sub(1).max(1),
                4 => present,
                more => (present + more as u32 - 4).min(model.bounds.topic_partitions_max),
            };
            ControlChange::AddPartitions { name, total, seed: u128::from(dice.roll()), request_id }
        }
        46..=48 => ControlChange::DeleteTopic { name: topic(dice, model, 2).0, request_id },
        49..=53 => {
            let (name, version) = topic(dice, model, 7);
            ControlChange::FinishDelete { name, expected_version: version_of(dice, version) }
        }
        _ => {
            let name = match dice.below(12) {
                0 => bad_name(dice),
                _ => format!("p{}", dice.below(3)),
            };
            ControlChange::OpenProducer { topic: topic(dice, model, 0).0, name, request_id }
        }
    }
}

fn register(dice: &mut Dice<'_>, model: &Model) -> ControlChange {
    if let Some(record) = moves::returning(dice, model) {
        return ControlChange::RegisterNode { record };
    }
    let number = match dice.below(4) {
        0 => moves::unused(model),
        _ => 1 + dice.below(7),
    };
    let mut record = match model.nodes.get(&number) {
        Some(known) => known.clone(),
        None => node(number, 100 + u128::from(number)),
    };
    match dice.below(10) {
        0 => record.zone = "z".repeat(129),
        1 => record.addresses.raft = "a".repeat(513),
        2..=3 => record.incarnation = node(1, u128::from(dice.roll())).incarnation,
        4..=6 => record.addresses.client = format!("moved:{}", dice.roll()),
        // What a node says of its copy of the control group is not asked.
        _ => record.control_replica = ReplicaId(77),
    }
    ControlChange::RegisterNode { record }
}

fn tenant(dice: &mut Dice<'_>, model: &Model) -> String {
    match dice.below(6) {
        0 => "nobody".into(),
        _ => dice.pick(model.tenants.keys()).cloned().unwrap_or_else(|| "default".into()),
    }
}

/// A topic's name and version: one that there is, if there is one. So often of 8 one that is being deleted.
fn topic(dice: &mut Dice<'_>, model: &Model, deleting_of_8: u64) -> (TopicName, u64) {
    let deleting = dice.below(8) < deleting_of_8;
    let preferred: Vec<&Topic> = model.topics.values().filter(|t| t.deleting == deleting).collect();
    let found = match dice.below(12) {
        0 => None,
        1 => dice.pick(model.topics.values()),
        _ => dice.pick(preferred.iter().copied()).or(model.topics.values().next()),
    };
    found.map_or_else(|| (super::topic("nothing"), 0), |t| (t.name.clone(), t.version))
}

fn version_of(dice: &mut Dice<'_>, version: u64) -> Option<u64> {
    match dice.below(8) {
        0..=2 => None,
        3..=5 => Some(version),
        _ => Some(version + 1),
    }
}

/// One fewer than the copies of a new partition: more often few, so that there are nodes to move to.
fn copies(dice: &mut Dice<'_>, nodes: u32) -> u32 {
    let roll = dice.roll() as u32;
    (roll % nodes.max(1)).min(roll / 16 % nodes.max(1))
}

fn create(dice: &mut Dice<'_>, model: &Model, request_id: String) -> ControlChange {
    let (tenant, namespace) = match dice.below(8) {
        0 => ("default".to_owned(), "nowhere".to_owned()),
        1..=3 => ("default".to_owned(), "default".to_owned()),
        _ => dice.pick(model.namespaces.keys()).cloned().unwrap_or_default(),
    };
    let topic = ["a", "b", "c"][dice.below(3) as usize];
    let name = TopicName::new(&tenant, &namespace, topic).unwrap_or_else(|_| super::topic("a"));
    let nodes = model.nodes.len() as u32;
    let (mut partitions, mut replication) = (1, 1 + copies(dice, nodes));
    let mut retention = Retention { age_ms: None, bytes: Some(7) };
    match dice.below(24) {
        0..=1 => partitions = 0,
        2..=3 => partitions = model.bounds.topic_partitions_max + 1,
        4 => retention.bytes = Some(0),
        5 => retention.age_ms = Some(0),
        6..=7 => replication = 0,
        8..=10 => replication = nodes + 1,
        11..=13 => partitions = model.bounds.topic_partitions_max,
        14 => partitions = 2,
        15..=16 => replication = nodes,
        _ => {}
    }
    let seed = u128::from(dice.roll());
    ControlChange::CreateTopic { name, partitions, replication, retention, seed, request_id }
}
