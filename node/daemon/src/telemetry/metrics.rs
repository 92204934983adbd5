//! `/metrics` in the Prometheus text format, and `/healthz`.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use meridian_model::GroupId;
use meridian_raft::{GroupParts, Registry};
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry as Metrics;

use crate::comparison::Comparison;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByGroup {
    group: u64,
    role: Role,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
enum Role {
    Leader,
    Follower,
}

/// Where the numbers come from: they are read when somebody asks.
#[derive(Clone)]
pub struct Source {
    /// The groups.
    pub registry: Arc<Registry>,
    /// The writer and the disk.
    pub parts: GroupParts,
    /// What came of comparing tables.
    pub comparison: Arc<Comparison>,
}

impl Source {
    fn text(&self) -> String {
        let mut metrics = Metrics::default();
        let simple = |metrics: &mut Metrics, name: &str, help: &str, value: i64| {
            let gauge: Gauge = Gauge::default();
            gauge.set(value);
            metrics.register(name, help, gauge);
        };
        let groups = self.registry.all();
        let leaders = groups.iter().filter(|group| group.is_leader()).count();
        simple(&mut metrics, "meridian_groups", "Replicas on this node", groups.len() as i64);
        simple(&mut metrics, "meridian_groups_led", "Replicas on this node that lead", leaders as i64);
        let quiet = groups.iter().filter(|group| group.is_leader() && group.is_quiet()).count();
        simple(&mut metrics, "meridian_groups_quiet", "Of those that lead, groups at rest", quiet as i64);
        let backlog = self.parts.writer.backlog_bytes() as i64;
        simple(&mut metrics, "meridian_writer_backlog_bytes", "Bytes queued for the disk", backlog);
        let disk = self.parts.disk.engine().disk_bytes() as i64;
        simple(&mut metrics, "meridian_disk_bytes", "Bytes of the engine's files", disk);
        let full = i64::from(self.parts.clocks.own_disk_full());
        simple(
            &mut metrics,
            "meridian_disk_at_watermark",
            "1 where publishing stopped for want of space",
            full,
        );
        let live: u64 = groups.iter().map(|group| group.view().applied().log_bytes).sum();
        simple(
            &mut metrics,
            "meridian_live_bytes",
            "Bytes of stored batches that retention keeps",
            live as i64,
        );
        let compared = self.comparison.compared() as i64;
        simple(&mut metrics, "meridian_state_compared", "Digests compared with other replicas", compared);
        let differing = self.comparison.differing().len() as i64;
        simple(&mut metrics, "meridian_state_differing", "Replicas elsewhere whose tables differ", differing);
        let damaged = self.parts.disk.damaged_groups().borrow().len() as i64;
        simple(&mut metrics, "meridian_groups_damaged", "Copies that stopped because of damage", damaged);
        self.by_group(&mut metrics, &groups);
        let mut text = String::new();
        match encode(&mut text, &metrics) {
            Ok(()) => text,
            Err(_) => String::new(),
        }
    }

    fn by_group(&self, metrics: &mut Metrics, groups: &[Arc<meridian_raft::Group>]) {
        let (ends, starts, bytes, applied, terms) = (
            Family::<ByGroup, Gauge>::default(),
            Family::<ByGroup, Gauge>::default(),
            Family::<ByGroup, Gauge>::default(),
            Family::<ByGroup, Gauge>::default(),
            Family::<ByGroup, Gauge>::default(),
        );
        for group in groups {
            let GroupId(id) = group.id();
            let role = if group.is_leader() { Role::Leader } else { Role::Follower };
            let label = ByGroup { group: id, role };
            let state = group.view().applied();
            ends.get_or_create(&label).set(state.end.0 as i64);
            starts.get_or_create(&label).set(state.start.0 as i64);
            bytes.get_or_create(&label).set(state.log_bytes as i64);
            applied.get_or_create(&label).set(state.index.unwrap_or(0) as i64);
            terms.get_or_create(&label).set(group.positions().0 as i64);
        }
        metrics.register("meridian_log_end", "Next offset", ends);
        metrics.register("meridian_log_start", "First offset kept", starts);
        metrics.register("meridian_log_bytes", "Bytes of stored batches", bytes);
        metrics.register("meridian_applied_index", "Last applied Raft index", applied);
        metrics.register("meridian_term", "Raft term", terms);
    }
}

/// The routes of the metrics listener.
pub fn router(source: Source) -> Router {
    Router::new()
        .route("/metrics", get(|State(source): State<Source>| async move { source.text() }))
        .route("/healthz", get(|| async { "ok\n" }))
        .with_state(source)
}
