//! The names in a certificate.

use meridian_model::NodeId;
use rustls::pki_types::CertificateDer;
use webpki::EndEntityCert;

/// What every node's name ends in, after its cluster's name.
const SUFFIX: &str = ".meridian";

/// The DNS name by which nodes of `cluster` know a node.
pub fn node_name(node: NodeId, cluster: &str) -> String {
    format!("node-{}.{}{SUFFIX}", node.0, cluster.to_ascii_lowercase())
}

/// The DNS names in a certificate.
pub(super) fn all_in(certificate: &CertificateDer<'_>) -> Vec<String> {
    let parsed = EndEntityCert::try_from(certificate);
    parsed.map_or_else(|_| Vec::new(), |parsed| parsed.valid_dns_names().map(str::to_string).collect())
}

/// The nodes of `cluster` that a certificate names.
pub(super) fn nodes_in(certificate: &CertificateDer<'_>, cluster: &str) -> Vec<NodeId> {
    let nodes = all_in(certificate).into_iter().filter_map(|name| {
        let name = name.to_ascii_lowercase();
        let id = name.strip_prefix("node-")?.split_once('.')?.0.parse().ok().map(NodeId)?;
        (name == node_name(id, cluster)).then_some(id)
    });
    nodes.collect()
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    fn certificate(names: &[&str]) -> CertificateDer<'static> {
        let names: Vec<String> = names.iter().map(|name| name.to_string()).collect();
        let params = CertificateParams::new(names).expect("names");
        params.self_signed(&KeyPair::generate().expect("a key")).expect("signed").der().clone()
    }

    #[test]
    fn a_certificate_names_its_nodes_and_no_others() {
        let shown = certificate(&["m1.example", "node-7.blue.meridian", "NODE-8.Blue.Meridian"]);
        assert_eq!(nodes_in(&shown, "blue"), [NodeId(7), NodeId(8)]);
        assert_eq!(nodes_in(&shown, "green"), []);
        let tricks = ["node-07.blue.meridian", "node-+7.blue.meridian", "node-7.blue.meridian.example"];
        assert_eq!(nodes_in(&certificate(&tricks), "blue"), []);
        assert_eq!(nodes_in(&certificate(&["node-1.a.b.meridian"]), "a.b"), [NodeId(1)]);
    }
}
