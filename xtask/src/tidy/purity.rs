//! Crates that must not know a runtime, a disk or a clock, and crates that a simulation must be able to own.
//!
//! Pure crates depend on none of [`IMPURE`]. Both kinds carry a `clippy.toml` of their own that bans clocks and
//! maps without an order; an inner `clippy.toml` replaces the root's, so the root's thresholds are repeated.

use toml::{Table, Value};

use super::{Crate, House, Violation};

/// Runtimes, networks, engines, randomness.
const IMPURE: [&str; 12] = [
    "tokio",
    "tokio-stream",
    "tokio-util",
    "tonic",
    "tonic-prost",
    "prost",
    "hyper-util",
    "rocksdb",
    "openraft",
    "openraft-rt",
    "rand",
    "turmoil",
];

/// Folders of crates with no dependency on [`IMPURE`].
const PURE: [&str; 6] =
    ["model", "replication/machine", "geo/protocol", "node/deliver", "jepsen/history", "jepsen/checker"];

/// Folders of crates where clocks and unordered maps are banned: the pure ones that decide what is stored, and
/// those that run inside the simulator. The checker may measure its own time and look things up by hash.
const DETERMINISTIC: [&str; 9] = [
    "model",
    "replication/machine",
    "geo/protocol",
    "replication/storage",
    "replication/raft",
    "jepsen/history",
    "jepsen/workload",
    "node/publish",
    "node/deliver",
];

const BANNED_METHODS: [&str; 2] = ["std::time::Instant::now", "std::time::SystemTime::now"];
const BANNED_TYPES: [&str; 2] = ["std::collections::HashMap", "std::collections::HashSet"];

pub(super) fn check(house: &House) -> Vec<Violation> {
    let crates = |folders: &'static [&'static str]| {
        house.crates().iter().filter(move |member| folders.contains(&member.folder.as_str()))
    };
    let impure = crates(&PURE).flat_map(|member| find_impure(house, member));
    impure.chain(crates(&DETERMINISTIC).flat_map(|member| find_unbanned(house, member))).collect()
}

fn find_impure(house: &House, member: &Crate) -> Vec<Violation> {
    let path = member.manifest_path();
    let used = member.dependencies.iter().filter(|used| !used.dev && IMPURE.contains(&used.name.as_str()));
    used.map(|used| {
        let message = format!("{} is pure: it must not use {}", member.name, used.name);
        Violation::new(&path, house.line_of(&path, &used.name), message)
    })
    .collect()
}

fn find_unbanned(house: &House, member: &Crate) -> Vec<Violation> {
    let path = format!("{}/clippy.toml", member.folder);
    let Some(text) = house.text(&path) else {
        return vec![Violation::new(
            &path,
            1,
            format!("{} needs a clippy.toml that bans clocks", member.name),
        )];
    };
    let Ok(table) = toml::from_str::<Table>(text) else {
        return vec![Violation::new(&path, 1, "does not parse")];
    };
    let mut found = Vec::new();
    for (key, paths) in [("disallowed-methods", BANNED_METHODS), ("disallowed-types", BANNED_TYPES)] {
        let banned = banned_paths(&table, key);
        let missing = paths.into_iter().filter(|path| !banned.contains(path));
        found.extend(missing.map(|missing| Violation::new(&path, 1, format!("`{key}` must name {missing}"))));
    }
    let root: Table =
        house.text("clippy.toml").and_then(|text| toml::from_str(text).ok()).unwrap_or_default();
    for (key, value) in root.iter().filter(|(key, value)| table.get(*key) != Some(value)) {
        found.push(Violation::new(
            &path,
            1,
            format!("must repeat `{key} = {value}` of the root's clippy.toml"),
        ));
    }
    found
}

fn banned_paths<'a>(table: &'a Table, key: &str) -> Vec<&'a str> {
    let entries = table.get(key).and_then(Value::as_array).into_iter().flatten();
    entries.filter_map(|entry| entry.as_str().or_else(|| entry.get("path")?.as_str())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODEL: &str = "[package]\nname = \"meridian-model\"\n[dependencies]\nbytes = \"1\"\n";
    const BANS: &str = "too-many-lines-threshold = 70\n\
        disallowed-methods = [{ path = \"std::time::Instant::now\" }, \"std::time::SystemTime::now\"]\n\
        disallowed-types = [\"std::collections::HashMap\", \"std::collections::HashSet\"]\n";
    const ROOT: (&str, &str) = ("clippy.toml", "too-many-lines-threshold = 70\n");

    fn found(manifest: &str, bans: &str) -> Vec<String> {
        let house = House::made_of([ROOT, ("model/Cargo.toml", manifest), ("model/clippy.toml", bans)]);
        check(&house).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_pure_crate_passes() {
        assert_eq!(found(MODEL, BANS), Vec::<String>::new());
        // What only its tests use does not make it impure.
        assert_eq!(found(&format!("{MODEL}[dev-dependencies]\ntokio = \"1\"\n"), BANS), Vec::<String>::new());
    }

    #[test]
    fn a_runtime_in_a_pure_crate_is_found() {
        assert_eq!(
            found(&format!("{MODEL}tokio.workspace = true\n"), BANS),
            ["model/Cargo.toml:5: meridian-model is pure: it must not use tokio"]
        );
    }

    #[test]
    fn a_ban_that_is_missing_or_a_threshold_that_is_lost_is_found() {
        let lifted = found(MODEL, &BANS.replace("std::collections::HashSet", "std::rc::Rc"));
        assert!(lifted[0].contains("must name std::collections::HashSet"), "{lifted:?}");
        let lost = found(MODEL, &BANS.replace("70", "700"));
        assert!(lost[0].contains("must repeat `too-many-lines-threshold = 70`"), "{lost:?}");
        let house = House::made_of([ROOT, ("model/Cargo.toml", MODEL)]);
        assert!(check(&house)[0].message.contains("needs a clippy.toml"));
    }
}
