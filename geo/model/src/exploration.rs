//! Exploring a model: every state that can be reached, and the shortest way to what must not be.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::hash::Hash;
use std::time::Instant;

use stateright::{Checker, Expectation, HasDiscoveries, Model};

/// What an exploration found.
#[derive(Debug)]
pub struct Explored {
    /// Distinct states.
    pub states: usize,
    /// Steps of the longest shortest way to a state.
    pub depth: usize,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// The shortest way, one step a line, to a state that breaks the property of this name.
    pub broken: BTreeMap<&'static str, Vec<String>>,
    /// What should be possible somewhere, and is nowhere.
    pub never: Vec<&'static str>,
}

/// Explores every state, or as many as it takes to break a property.
pub fn explore<M>(model: M) -> Explored
where
    M: Model + Send + Sync + 'static,
    M::State: Hash + Debug + Clone + PartialEq + Send + Sync,
    M::Action: Debug + Clone + PartialEq + Send + Sync,
{
    let started = Instant::now();
    let checker = model.checker().finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    let (mut broken, mut never) = (BTreeMap::new(), Vec::new());
    for property in checker.model().properties() {
        match (property.expectation, checker.discovery(property.name)) {
            (Expectation::Sometimes, None) => never.push(property.name),
            (Expectation::Sometimes, Some(_)) | (_, None) => {}
            (_, Some(path)) => {
                let steps = path.into_actions().iter().map(|action| format!("{action:?}")).collect();
                broken.insert(property.name, steps);
            }
        }
    }
    Explored {
        states: checker.unique_state_count(),
        depth: checker.max_depth(),
        seconds: started.elapsed().as_secs_f64(),
        broken,
        never,
    }
}
