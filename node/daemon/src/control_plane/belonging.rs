//! To which cluster a node belongs: what is proposed for one is never done in another, wherever addresses lead.

use meridian_proto::internal::Membership;
use tonic::Status;

use super::ControlPlane;

impl ControlPlane {
    /// The cluster this node belongs to, as far as it knows.
    pub(crate) fn membership(&self) -> Membership {
        let formed = self.look(|machine| machine.cluster_id()).flatten();
        let known = formed.unwrap_or_else(|| self.links.addresses().cluster());
        let cluster_id = if known.is_nil() { Vec::new() } else { known.0.to_vec() };
        Membership { cluster_name: self.cluster_name.clone(), cluster_id: cluster_id.into() }
    }

    /// Refuses a node of another cluster. One that has not been told its cluster's id is known by the name alone.
    pub(crate) fn admit(&self, other: &Membership) -> Result<(), Status> {
        let own = self.membership();
        let both_know = !own.cluster_id.is_empty() && !other.cluster_id.is_empty();
        let why = match () {
            () if other.cluster_name != own.cluster_name => format!(
                "this is cluster {:?}, not {:?}; check cluster.name and cluster.nodes",
                own.cluster_name, other.cluster_name
            ),
            () if both_know && other.cluster_id != own.cluster_id => format!(
                "this is another cluster named {:?}, formed anew or elsewhere; check cluster.nodes, or give the \
                 node an empty data folder to let it join here",
                own.cluster_name
            ),
            () => return Ok(()),
        };
        Err(Status::failed_precondition(why))
    }
}
