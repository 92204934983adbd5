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

/// By what name limits and logs shall know whoever shows this certificate: the first DNS or URI name, otherwise
/// the common name.
pub(super) fn caller(certificate: &CertificateDer<'_>) -> Option<String> {
    let parsed = EndEntityCert::try_from(certificate).ok()?;
    let alternative = parsed.valid_dns_names().next().or_else(|| parsed.valid_uri_names().next());
    alternative.map(str::to_string).or_else(|| common_name(parsed.subject()).map(str::to_string))
}

/// The common name in a subject (X.501): its attributes in DER, each a set of sequences of an id and a text.
fn common_name(mut subject: &[u8]) -> Option<&str> {
    const SET: u8 = 0x31;
    const SEQUENCE: u8 = 0x30;
    const COMMON_NAME: &[u8] = &[0x06, 0x03, 0x55, 0x04, 0x03];
    if let Some((SEQUENCE, inner, [])) = element(subject) {
        subject = inner;
    }
    while let Some((SET, mut set, rest)) = element(subject) {
        while let Some((SEQUENCE, attribute, others)) = element(set) {
            if let Some(value) = attribute.strip_prefix(COMMON_NAME) {
                return std::str::from_utf8(element(value)?.1).ok();
            }
            set = others;
        }
        subject = rest;
    }
    None
}

/// The tag and the content of the first DER element, and what follows it.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81 => (usize::from(*rest.first()?), &rest[1..]),
        0x82 => (usize::from(u16::from_be_bytes([*rest.first()?, *rest.get(1)?])), &rest[2..]),
        _ => return None,
    };
    (rest.len() >= length).then(|| (tag, &rest[..length], &rest[length..]))
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair};

    use super::*;

    fn certificate(names: &[&str], common: &str) -> CertificateDer<'static> {
        let names: Vec<String> = names.iter().map(|name| name.to_string()).collect();
        let mut params = CertificateParams::new(names).expect("names");
        params.distinguished_name.push(DnType::OrganizationName, "somebody");
        params.distinguished_name.push(DnType::CommonName, common);
        params.self_signed(&KeyPair::generate().expect("a key")).expect("signed").der().clone()
    }

    #[test]
    fn a_certificate_names_its_nodes_and_no_others() {
        let shown = certificate(&["m1.example", "node-7.blue.meridian", "NODE-8.Blue.Meridian"], "x");
        assert_eq!(nodes_in(&shown, "blue"), [NodeId(7), NodeId(8)]);
        assert_eq!(nodes_in(&shown, "green"), []);
        let tricks = ["node-07.blue.meridian", "node-+7.blue.meridian", "node-7.blue.meridian.example"];
        assert_eq!(nodes_in(&certificate(&tricks, "x"), "blue"), []);
        assert_eq!(nodes_in(&certificate(&["node-1.a.b.meridian"], "x"), "a.b"), [NodeId(1)]);
    }

    #[test]
    fn a_caller_is_known_by_its_alternative_name_or_its_common_name() {
        assert_eq!(caller(&certificate(&["billing.example"], "x")).as_deref(), Some("billing.example"));
        assert_eq!(caller(&certificate(&[], "billing")).as_deref(), Some("billing"));
    }

    #[test]
    fn a_cut_subject_names_nobody() {
        let whole = [0x31, 12, 0x30, 10, 0x06, 0x03, 0x55, 0x04, 0x03, 0x0c, 3, b'b', b'o', b'b'];
        assert_eq!(common_name(&whole), Some("bob"));
        for end in 0..whole.len() {
            assert_eq!(common_name(&whole[..end]), None, "{end}");
        }
    }
}
