//! Nodes that want into a region they do not belong to: refused in words, and the region stays as it is.

use std::time::Duration;

use crate::authority::Authority;
use crate::founders::Founders;

/// Some rounds of asking to be let in.
const TRIES: Duration = Duration::from_secs(3);

#[test]
fn a_node_with_the_disk_of_another_cluster_is_not_let_in_though_names_and_numbers_fit() {
    let region = Founders::new();
    let first = [1, 2, 3].map(|id| region.start(id, "twin", &[1, 2, 3], ""));
    region.await_members(1, &[1, 2, 3], &[]);
    first.into_iter().for_each(|node| assert_eq!(node.stop(), Some(0)));
    // The same machines form a region anew, and one disk of the old one was forgotten.
    for id in [1, 2] {
        std::fs::remove_dir_all(region.data(id)).expect("removed");
    }
    let _second = [1, 2].map(|id| region.start(id, "twin", &[1, 2], ""));
    region.await_members(1, &[1, 2], &[]);
    let stranger = region.start(3, "twin", &[1, 2, 3], "");
    let said = stranger.says("not let in");
    for words in ["another cluster", "twin", "cluster.nodes", "empty data folder"] {
        assert!(said.contains(words), "{words}: {said}");
    }
    assert_eq!(region.members(1, &[]), [1, 2]);
    drop(stranger);
    std::fs::remove_dir_all(region.data(3)).expect("removed");
    let _third = region.start(3, "twin", &[1, 2, 3], "");
    region.await_members(1, &[1, 2, 3], &[]);
}

#[test]
fn a_node_of_another_clusters_name_waits_and_says_what_to_check() {
    let region = Founders::new();
    let _first = region.start(1, "blue", &[1], "");
    region.await_members(1, &[1], &[]);
    let stranger = region.start(2, "green", &[1], "");
    let said = stranger.says("waiting for the cluster");
    for words in ["blue", "green", "cluster.name"] {
        assert!(said.contains(words), "{words}: {said}");
    }
    std::thread::sleep(TRIES);
    assert_eq!(region.members(1, &[]), [1]);
}

#[test]
fn a_node_with_a_certificate_of_another_authority_waits_and_says_why() {
    let region = Founders::new();
    let ours = Authority::new(region.folder.path(), "ours");
    let theirs = Authority::new(region.folder.path(), "theirs");
    let ca = ours.ca.display().to_string();
    let with = ["--tls-ca", ca.as_str()];
    let first = region.start(1, "blue", &[1], &ours.node(1, "blue").section(&ours.ca));
    region.await_members(1, &[1], &with);
    // It trusts the region; the region does not trust it.
    let stranger = region.start(2, "blue", &[1], &theirs.node(2, "blue").section(&ours.ca));
    let said = stranger.says("waiting for the cluster");
    assert!(
        said.contains("refused this node's certificate") && said.contains("check tls.certificate"),
        "{said}"
    );
    assert!(first.says("connection refused").contains("certificate"));
    std::thread::sleep(TRIES);
    assert_eq!(region.members(1, &with), [1]);
    drop(stranger);
    // The region trusts it; it does not trust the region.
    let stranger = region.start(2, "blue", &[1], &ours.node(2, "blue").section(&theirs.ca));
    let said = stranger.says("waiting for the cluster");
    assert!(said.contains("its certificate is refused") && said.contains("check tls.ca"), "{said}");
    assert_eq!(region.members(1, &with), [1]);
    drop(stranger);
    let _second = region.start(2, "blue", &[1], &ours.node(2, "blue").section(&ours.ca));
    region.await_members(1, &[1, 2], &with);
}
