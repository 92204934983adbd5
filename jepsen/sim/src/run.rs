//! One run: a region, its clients and its faults, from a seed to a verdict.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow};
use meridian_history::{Header, Memory, Recorder};
use turmoil::Sim;

use crate::nemesis::Nemesis;
use crate::node::Machine;
use crate::outcome::Outcome;
use crate::plan::{BOSS, CLIENTS, HOSTS, NODES, Plan};
use crate::plant::Plant;
use crate::trace::{Event, Trace};
use crate::witness::Witness;
use crate::workload::{Scene, Stage, supervise, work};
use crate::{interpose, outcome, trace};

const STEP: Duration = Duration::from_millis(1);
/// No run is longer than this, in virtual time; one that is has hung.
const LONGEST: Duration = Duration::from_secs(300);
/// How often somebody looks who leads, in steps.
const LOOK_EVERY: u64 = 10;

/// What to run.
#[derive(Debug, Clone)]
pub struct Spec {
    /// From which everything follows.
    pub seed: u64,
    /// How long faults and clients are at work, in virtual seconds.
    pub seconds: u64,
    /// A fault in the server itself, for runs that must fail.
    pub plant: Plant,
    /// Where the trace goes as text, beside its hash.
    pub trace: Option<PathBuf>,
    /// Where the history goes.
    pub history: Option<PathBuf>,
}

impl Spec {
    /// How long faults and clients are at work unless somebody says otherwise, in virtual seconds.
    pub const SECONDS: u64 = 15;

    /// A run of a correct server.
    pub fn new(seed: u64) -> Self {
        Self { seed, seconds: Self::SECONDS, plant: Plant::None, trace: None, history: None }
    }

    /// The same run with a fault in the server.
    #[must_use]
    pub fn planting(mut self, plant: Plant) -> Self {
        self.plant = plant;
        self
    }
}

/// What is known when the virtual time is over, before the history is judged.
pub(crate) struct Raw {
    pub(crate) hash: String,
    pub(crate) records: u64,
    pub(crate) history: Memory,
    pub(crate) faults: BTreeMap<&'static str, u64>,
    pub(crate) acked: u64,
    pub(crate) delivered: u64,
    pub(crate) trimmed: u64,
    pub(crate) expires: bool,
    pub(crate) elections: u64,
    pub(crate) virtual_time: Duration,
    pub(crate) problems: Vec<String>,
}

/// Runs on a thread of its own, so that nothing of an earlier run is left on it, and judges what came of it.
///
/// # Errors
/// If a file cannot be written, or the run panicked.
#[allow(clippy::disallowed_methods, reason = "how long a run takes in the real world is one of its figures")]
pub fn run(spec: &Spec) -> Result<Outcome> {
    let begun = std::time::Instant::now();
    let (name, inner) = (format!("seed-{}", spec.seed), spec.clone());
    let thread = std::thread::Builder::new().name(name).stack_size(32 << 20);
    let raw = thread.spawn(move || simulate(&inner))?.join();
    let raw = raw.map_err(|panic| anyhow!("seed {} panicked: {}", spec.seed, panic_text(&*panic)))??;
    if let Some(path) = &spec.history {
        std::fs::write(path, raw.history.bytes()).with_context(|| path.display().to_string())?;
    }
    outcome::judge(spec, raw, begun)
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default()
}

fn simulate(spec: &Spec) -> Result<Raw> {
    interpose::enter(spec.seed);
    trace::begin_step(0);
    meridian_raft::runtime::seed_thread(spec.seed);
    let trace = Arc::new(Trace::new(spec.trace.as_deref())?);
    let witness = Witness::new(Arc::clone(&trace));
    let plan = Arc::new(Plan::of(spec.seed, spec.seconds * 1_000, spec.plant));
    tracing::subscriber::with_default(witness, || match spec.plant {
        #[cfg(feature = "mutants")]
        Plant::Machine(mutant) => meridian_machine::with_mutant(mutant, || Run::new(plan, trace)?.finish()),
        _ => Run::new(plan, trace)?.finish(),
    })
}

/// The history's lines, which go into the trace as well.
struct TracedLines {
    memory: Memory,
    trace: Arc<Trace>,
}

impl io::Write for TracedLines {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.trace.record(Event::History, "history", data);
        self.memory.write(data)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.memory.flush()
    }
}

struct Run {
    sim: Sim<'static>,
    scene: Arc<Scene>,
    machines: Vec<Arc<Machine>>,
    nemesis: Nemesis,
    history: Memory,
    elections: BTreeSet<(u64, u64)>,
}

impl Run {
    fn new(plan: Arc<Plan>, trace: Arc<Trace>) -> Result<Self> {
        let mut header = Header::new(Some(plan.seed));
        for (name, value) in plan.options() {
            header = header.with_option(name, value);
        }
        let history = Memory::default();
        let lines = TracedLines { memory: history.clone(), trace: Arc::clone(&trace) };
        let recorder = Recorder::new(lines, &header, trace::now_ns)?;
        let scene = Scene::new(Arc::clone(&plan), recorder.clone(), Arc::clone(&trace));
        let mut sim = world(&plan);
        let machine = |place| Machine::new(place, Arc::clone(&plan), Arc::clone(&trace));
        let machines: Vec<Arc<Machine>> = (0..NODES).map(machine).collect();
        for (machine, host) in machines.iter().zip(HOSTS) {
            let machine = Arc::clone(machine);
            sim.host(host, move || Arc::clone(&machine).run());
        }
        for host in NODES..NODES + CLIENTS {
            sim.client(HOSTS[host], work(Arc::clone(&scene), host));
        }
        sim.client(HOSTS[BOSS], supervise(Arc::clone(&scene)));
        let nemesis = Nemesis::new(&plan, machines.clone(), recorder, trace);
        Ok(Self { sim, scene, machines, nemesis, history, elections: BTreeSet::new() })
    }

    fn finish(mut self) -> Result<Raw> {
        self.go();
        let Self { sim, scene, machines, nemesis, history, elections } = self;
        let virtual_time = sim.elapsed();
        machines.iter().for_each(|machine| machine.stopped());
        drop(sim);
        scene.clients.recorder.finish()?;
        let (hash, records) = scene.trace.finish();
        Ok(Raw {
            hash,
            records,
            history,
            faults: nemesis.installed().clone(),
            acked: scene.acked_so_far(),
            delivered: scene.delivered_so_far(),
            trimmed: scene.trimmed(),
            expires: scene.plan.expires_soon(),
            elections: elections.len() as u64,
            virtual_time,
            problems: scene.problems(),
        })
    }

    /// Steps until the run is over.
    fn go(&mut self) {
        let mut work_began = None;
        for step in 0_u64.. {
            let now = self.sim.elapsed();
            trace::begin_step(now.as_nanos() as u64);
            let stage = self.scene.stage();
            if stage == Stage::Done {
                return;
            }
            if stage == Stage::Working {
                let at = now - *work_began.get_or_insert_with(|| self.begin_work(now));
                self.nemesis.act(&mut self.sim, at.as_millis() as u64);
                if at.as_millis() as u64 >= self.scene.plan.work_ms {
                    self.scene.enter(Stage::Healed);
                }
            }
            if step % LOOK_EVERY == 0 {
                self.look_who_leads();
            }
            if let Err(error) = self.sim.step() {
                return self.scene.problem(format!("at {:.3} s: {error}", now.as_secs_f64()));
            }
            if now > LONGEST {
                return self.scene.problem(format!("still {stage:?} after {} s", LONGEST.as_secs()));
            }
        }
    }

    /// A planted lie begins with the work: before it there is nothing to lose but the cluster itself.
    fn begin_work(&self, now: Duration) -> Duration {
        if self.scene.plan.plant == Plant::LyingDisks {
            self.machines.iter().for_each(|machine| machine.begin_lying());
        }
        now
    }

    fn look_who_leads(&mut self) {
        for registry in self.machines.iter().filter_map(|machine| machine.registry()) {
            let led = registry.all().into_iter().filter(|group| group.is_leader());
            self.elections.extend(led.map(|group| (group.id().0, group.positions().0)));
        }
    }
}

fn world(plan: &Plan) -> Sim<'static> {
    let mut builder = turmoil::Builder::new();
    builder
        .rng_seed(plan.seed)
        .epoch(UNIX_EPOCH + Duration::from_secs(interpose::EPOCH_SECONDS))
        .tick_duration(STEP)
        .simulation_duration(LONGEST * 2)
        .min_message_latency(Duration::from_millis(plan.latency_ms.0))
        .max_message_latency(Duration::from_millis(plan.latency_ms.1))
        .tcp_capacity(4_096);
    if plan.random_order {
        builder.enable_random_order();
    }
    builder.build()
}
