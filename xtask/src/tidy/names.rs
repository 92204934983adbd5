//! No drawers for odds and ends: a name says what lies inside.

use super::{House, Violation};

/// Names of files and folders that say nothing.
const BANNED: [&str; 9] =
    ["util", "utils", "helper", "helpers", "common", "misc", "manager", "managers", "stuff"];

pub(super) fn check(house: &House) -> Vec<Violation> {
    house.files().filter_map(|(path, _)| judge(path)).collect()
}

fn judge(path: &str) -> Option<Violation> {
    let stem = |part: &str| part.split('.').next().unwrap_or_default().to_ascii_lowercase();
    let banned = path.split('/').map(stem).find(|part| BANNED.contains(&part.as_str()))?;
    Some(Violation::new(path, 1, format!("`{banned}` says nothing: name what lies inside")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drawers_are_found_as_files_and_as_folders() {
        let house = House::made_of([
            ("a/src/lease.rs", "//! x\n"),
            ("a/src/utils.rs", "//! x\n"),
            ("a/src/common/mod.rs", "//! x\n"),
            ("docs/Misc.md", "x\n"),
            ("a/src/topic_manager.rs", "//! x\n"),
        ]);
        let found: Vec<String> = check(&house).into_iter().map(|violation| violation.path).collect();
        assert_eq!(found, ["a/src/common/mod.rs", "a/src/utils.rs", "docs/Misc.md"]);
    }
}
