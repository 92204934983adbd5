//! Installs the planned faults when their time comes and takes them out again.

use std::collections::BTreeMap;
use std::sync::Arc;

use meridian_history::{Fault as FaultCall, FaultEffect, FaultPhase, Recorder};
use turmoil::Sim;

use crate::fault::{Fault, Planned};
use crate::links::Links;
use crate::node::Machine;
use crate::plan::{HOSTS, Plan};
use crate::trace::{Event, Trace};

/// The logical client under which faults are recorded.
const PROCESS: u64 = 1_000_000;

/// The one that breaks things.
pub(crate) struct Nemesis {
    planned: Vec<Planned>,
    active: Vec<Planned>,
    links: Links,
    machines: Vec<Arc<Machine>>,
    recorder: Recorder,
    trace: Arc<Trace>,
    installed: BTreeMap<&'static str, u64>,
}

impl Nemesis {
    pub(crate) fn new(
        plan: &Plan,
        machines: Vec<Arc<Machine>>,
        recorder: Recorder,
        trace: Arc<Trace>,
    ) -> Self {
        let mut planned = plan.faults.clone();
        planned.reverse();
        let links = Links::new(plan.latency_ms);
        Self { planned, active: Vec::new(), links, machines, recorder, trace, installed: BTreeMap::new() }
    }

    /// How often each kind of fault was installed.
    pub(crate) fn installed(&self) -> &BTreeMap<&'static str, u64> {
        &self.installed
    }

    /// Does what is due, so many milliseconds after the work began.
    pub(crate) fn act(&mut self, sim: &mut Sim<'_>, at_ms: u64) {
        while let Some(at) = self.active.iter().position(|planned| planned.end_ms <= at_ms) {
            let healed = self.active.remove(at);
            self.heal(sim, &healed.fault);
        }
        while let Some(planned) = self.planned.pop_if(|planned| planned.begin_ms <= at_ms) {
            self.install(sim, planned);
        }
    }

    fn install(&mut self, sim: &mut Sim<'_>, planned: Planned) {
        let fault = planned.fault.clone();
        let pending = self.recorder.invoke(PROCESS, call(&fault, FaultPhase::Installed));
        self.trace.record(
            Event::Fault,
            "boss",
            format!("install {} {}", fault.name(), fault.target()).as_bytes(),
        );
        self.active.push(planned);
        // Silence before death: the system of a node without power closes no connection.
        self.follow_links(sim);
        for node in fault.stops() {
            sim.crash(HOSTS[node]);
            self.machines[node].stopped();
        }
        match &fault {
            Fault::PowerLoss { nodes, kept_writes } => {
                nodes.iter().for_each(|node| self.machines[*node].lose_power(*kept_writes));
            }
            Fault::Wipe { node } => self.machines[*node].wipe(),
            Fault::ClockJump { node, by_ms } => self.machines[*node].jump_clock(*by_ms),
            _ => {}
        }
        *self.installed.entry(fault.name()).or_default() += 1;
        pending.ok(FaultEffect::Installed);
    }

    fn heal(&mut self, sim: &mut Sim<'_>, fault: &Fault) {
        let pending = self.recorder.invoke(PROCESS, call(fault, FaultPhase::Healed));
        self.trace.record(
            Event::Fault,
            "boss",
            format!("heal {} {}", fault.name(), fault.target()).as_bytes(),
        );
        self.follow_links(sim);
        if let Fault::ClockJump { node, by_ms } = fault {
            self.machines[*node].jump_clock(-by_ms);
        }
        for node in fault.stops() {
            sim.bounce(HOSTS[node]);
        }
        pending.ok(FaultEffect::Installed);
    }

    fn follow_links(&mut self, sim: &Sim<'_>) {
        let active: Vec<&Fault> = self.active.iter().map(|planned| &planned.fault).collect();
        self.links.follow(sim, &active);
    }
}

fn call(fault: &Fault, phase: FaultPhase) -> FaultCall {
    FaultCall { name: fault.name().to_owned(), target: fault.target(), phase, effect: None }
}
