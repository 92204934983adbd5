//! Every crate belongs to the workspace and inherits its lints, edition and oldest compiler.

use toml::{Table, Value};

use super::{Crate, House, Violation};

pub(super) fn check(house: &House) -> Vec<Violation> {
    let members = members(house);
    house.crates().iter().flat_map(|member| judge(house, member, &members)).collect()
}

fn members(house: &House) -> Vec<String> {
    let root: Option<Table> = house.text("Cargo.toml").and_then(|text| toml::from_str(text).ok());
    let listed = root.as_ref().and_then(|root| root.get("workspace")?.get("members")?.as_array());
    listed.into_iter().flatten().filter_map(Value::as_str).map(str::to_string).collect()
}

fn judge(house: &House, member: &Crate, members: &[String]) -> Vec<Violation> {
    let path = member.manifest_path();
    let mut found = Vec::new();
    if !members.contains(&member.folder) {
        found.push(Violation::new(&path, 1, "not a member of the workspace"));
    }
    if !inherits(member.manifest.get("lints")) {
        let line = house.line_of(&path, "[lints");
        found.push(Violation::new(&path, line, "must inherit the lints: `[lints] workspace = true`"));
    }
    for key in ["edition", "rust-version", "license", "publish"] {
        if !inherits(member.manifest.get("package").and_then(|package| package.get(key))) {
            let line = house.line_of(&path, key);
            found.push(Violation::new(&path, line, format!("must inherit `{key}.workspace = true`")));
        }
    }
    found
}

fn inherits(value: Option<&Value>) -> bool {
    value.and_then(|value| value.get("workspace")).and_then(Value::as_bool) == Some(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "[package]\nname = \"good\"\nedition.workspace = true\nrust-version.workspace = true\n\
        license.workspace = true\npublish.workspace = true\n[lints]\nworkspace = true\n";

    #[test]
    fn a_crate_that_does_not_inherit_is_found() {
        let own_lints = GOOD.replace(
            "workspace = true\n[lints]\nworkspace = true",
            "workspace = true\n[lints.rust]\nx = \"allow\"",
        );
        let own_edition = GOOD.replace("edition.workspace = true", "edition = \"2018\"");
        let house = House::made_of([
            ("Cargo.toml", "[workspace]\nmembers = [\"good\", \"lints\", \"edition\"]\n"),
            ("good/Cargo.toml", GOOD),
            ("lints/Cargo.toml", &own_lints),
            ("edition/Cargo.toml", &own_edition),
            ("stray/Cargo.toml", GOOD),
        ]);
        let found: Vec<String> = check(&house).iter().map(ToString::to_string).collect();
        assert_eq!(found.len(), 3, "{found:?}");
        assert!(found[0].starts_with("edition/Cargo.toml:3: must inherit `edition"), "{found:?}");
        assert!(found[1].starts_with("lints/Cargo.toml:7: must inherit the lints"), "{found:?}");
        assert!(found[2].starts_with("stray/Cargo.toml:1: not a member"), "{found:?}");
    }
}
