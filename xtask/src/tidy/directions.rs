//! Which crate of the workspace may know which. The compiler forbids only circles; this table forbids the rest.

use super::house::Dependency;
use super::{Crate, House, Violation};

/// One crate, and the crates of the workspace that it may use. Tests may use them too.
type Permission = (&'static str, &'static [&'static str]);

/// Everything that is allowed. What is allowed need not be used.
const ALLOWED: &[Permission] = &[
    ("meridian-model", &[]),
    ("meridian-proto", &["meridian-model"]),
    ("meridian-commitlog", &["meridian-model"]),
    ("meridian-machine", &["meridian-model"]),
    ("meridian-storage", &["meridian-model", "meridian-machine"]),
    (
        "meridian-raft",
        &["meridian-model", "meridian-machine", "meridian-storage", "meridian-commitlog", "meridian-proto"],
    ),
    ("meridian-geo-model", &[]),
    ("meridian-geo-protocol", &["meridian-model"]),
    ("meridian-config", &["meridian-model", "meridian-raft"]),
    ("meridian-publish", &["meridian-model", "meridian-commitlog"]),
    ("meridian-deliver", &["meridian-model", "meridian-commitlog"]),
    ("meridian-dispatch", &["meridian-model", "meridian-commitlog", "meridian-deliver", "meridian-proto"]),
    (
        "meridian-daemon",
        &[
            "meridian-model",
            "meridian-proto",
            "meridian-commitlog",
            "meridian-machine",
            "meridian-storage",
            "meridian-raft",
            "meridian-publish",
            "meridian-config",
            "meridian-deliver",
            "meridian-dispatch",
            "meridian-sdk",
            "meridian-cli",
            "meridian-bench",
        ],
    ),
    ("meridian-sdk", &["meridian-model", "meridian-proto"]),
    ("meridian-cli", &["meridian-model", "meridian-proto", "meridian-sdk"]),
    ("meridian-bench", &["meridian-proto", "meridian-sdk", "meridian-cli"]),
    ("meridian-history", &["meridian-model"]),
    ("meridian-checker", &["meridian-history"]),
    ("meridian-workload", &["meridian-model", "meridian-proto", "meridian-sdk", "meridian-history"]),
    (
        "meridian-harness",
        &[
            "meridian-model",
            "meridian-proto",
            "meridian-sdk",
            "meridian-history",
            "meridian-checker",
            "meridian-workload",
        ],
    ),
    (
        "meridian-sim",
        &[
            "meridian-model",
            "meridian-proto",
            "meridian-commitlog",
            "meridian-machine",
            "meridian-storage",
            "meridian-raft",
            "meridian-publish",
            "meridian-deliver",
            "meridian-config",
            "meridian-daemon",
            "meridian-sdk",
            "meridian-history",
            "meridian-checker",
            "meridian-workload",
        ],
    ),
    (
        "meridian-demo",
        &["meridian-model", "meridian-sdk", "meridian-history", "meridian-checker", "meridian-harness"],
    ),
    ("meridian-compare", &["meridian-model", "meridian-sdk", "meridian-harness"]),
    (
        "meridian-fuzz",
        &[
            "meridian-model",
            "meridian-proto",
            "meridian-machine",
            "meridian-storage",
            "meridian-raft",
            "meridian-config",
        ],
    ),
    ("xtask", &[]),
];

/// What tests of a crate may use besides.
const ALLOWED_IN_TESTS: &[Permission] = &[
    // The dispatcher is proved against the partition that it will settle in, which it must not know.
    ("meridian-deliver", &["meridian-machine"]),
];

pub(super) fn check(house: &House) -> Vec<Violation> {
    house.crates().iter().flat_map(|member| judge(house, member)).collect()
}

fn judge(house: &House, member: &Crate) -> Vec<Violation> {
    let path = member.manifest_path();
    let Some((_, allowed)) = ALLOWED.iter().find(|(name, _)| *name == member.name) else {
        let message = format!("{} is not in the table of directions: say there what it may use", member.name);
        return vec![Violation::new(&path, house.line_of(&path, "name ="), message)];
    };
    let ours = |name: &str| house.crates().iter().any(|other| other.name == name);
    let tests =
        ALLOWED_IN_TESTS.iter().find(|(name, _)| *name == member.name).map_or(&[][..], |(_, uses)| uses);
    let may = |dependency: &Dependency| {
        let name = dependency.name.as_str();
        allowed.contains(&name) || name == member.name || (dependency.dev && tests.contains(&name))
    };
    let used = member.dependencies.iter().filter(|dependency| ours(&dependency.name) && !may(dependency));
    used.map(|dependency| dependency.name.as_str())
        .map(|name| {
            let message =
                format!("{} must not use {name}: the table of directions does not allow it", member.name);
            Violation::new(&path, house.line_of(&path, name), message)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dependency_against_the_direction_is_found() {
        let house = House::made_of([
            (
                "model/Cargo.toml",
                "[package]\nname = \"meridian-model\"\n[dependencies]\nmeridian-proto.workspace = true\n",
            ),
            (
                "proto/Cargo.toml",
                "[package]\nname = \"meridian-proto\"\n[dependencies]\nmeridian-model.workspace = true\nbytes = \"1\"\n",
            ),
            (
                "client/sdk/Cargo.toml",
                "[package]\nname = \"meridian-sdk\"\n[target.'cfg(unix)'.dev-dependencies]\n\
                 hidden = { package = \"meridian-storage\", path = \"x\" }\n",
            ),
            ("replication/storage/Cargo.toml", "[package]\nname = \"meridian-storage\"\n"),
            (
                "node/deliver/Cargo.toml",
                "[package]\nname = \"meridian-deliver\"\n[dev-dependencies]\nmeridian-machine.workspace = true\n",
            ),
            (
                "replication/machine/Cargo.toml",
                "[package]\nname = \"meridian-machine\"\n[dev-dependencies]\nmeridian-storage.workspace = true\n",
            ),
            ("new/Cargo.toml", "[package]\nname = \"meridian-new\"\n"),
        ]);
        let found: Vec<String> = check(&house).iter().map(ToString::to_string).collect();
        assert_eq!(found.len(), 4, "{found:?}");
        assert!(found[0].starts_with("client/sdk/Cargo.toml:4: meridian-sdk must not use meridian-storage"));
        assert!(found[1].starts_with("model/Cargo.toml:4: meridian-model must not use meridian-proto"));
        assert!(found[2].starts_with("new/Cargo.toml:2: meridian-new is not in the table"));
        assert!(found[3].contains("meridian-machine must not use meridian-storage"));
    }

    #[test]
    fn the_table_has_no_circle() {
        // Every crate may use only crates for which an order exists: peel off those that use nothing left.
        let mut left: Vec<&Permission> = ALLOWED.iter().collect();
        while !left.is_empty() {
            let names: Vec<&str> = left.iter().map(|(name, _)| *name).collect();
            let before = left.len();
            left.retain(|(_, uses)| uses.iter().any(|used| names.contains(used)));
            assert!(left.len() < before, "a circle among {names:?}");
        }
    }
}
