//! Libraries that one room alone may know, as `deny.toml` says. Holds also where cargo-deny is not installed.

use toml::{Table, Value};

use super::{House, Violation};

const DENY: &str = "deny.toml";

/// Libraries that must be confined: `deny.toml` must not forget them.
const CONFINED: [&str; 4] = ["openraft", "rocksdb", "porcupine-rs", "turmoil"];

pub(super) fn check(house: &House) -> Vec<Violation> {
    let Some(Ok(deny)) = house.text(DENY).map(toml::from_str::<Table>) else {
        return vec![Violation::new(DENY, 1, "is missing or does not parse")];
    };
    let walls = walls(&deny);
    let mut found = Vec::new();
    for confined in CONFINED.into_iter().filter(|name| !walls.iter().any(|(library, _)| library == name)) {
        found.push(Violation::new(DENY, 1, format!("[bans] must confine {confined} to its room")));
    }
    for (library, wrappers) in &walls {
        found.extend(find_outsiders(house, library, wrappers));
    }
    found
}

/// Each confined library, and who may use it.
fn walls(deny: &Table) -> Vec<(String, Vec<String>)> {
    let entries = deny.get("bans").and_then(|bans| bans.get("deny")?.as_array());
    let names = |value: &Value| -> Vec<String> {
        value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_string).collect()
    };
    let walls = entries.into_iter().flatten().filter_map(|entry| {
        let library = entry.get("crate").or_else(|| entry.get("name"))?.as_str()?;
        Some((library.to_string(), entry.get("wrappers").map(names).unwrap_or_default()))
    });
    walls.collect()
}

fn find_outsiders(house: &House, library: &str, wrappers: &[String]) -> Vec<Violation> {
    let outside = house.crates().iter().filter(|member| !wrappers.contains(&member.name));
    let users = outside.filter(|member| member.dependencies.iter().any(|used| used.name == library));
    users
        .map(|member| {
            let path = member.manifest_path();
            let line = house.line_of(&path, library);
            Violation::new(&path, line, format!("only {} may use {library}", wrappers.join(", ")))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const WALLS: &str = "[bans]\ndeny = [\n\
        { crate = \"openraft\", wrappers = [\"meridian-raft\"] },\n\
        { name = \"rocksdb\", wrappers = [\"meridian-storage\"] },\n\
        { crate = \"porcupine-rs\", wrappers = [] },\n\
        { crate = \"turmoil\", wrappers = [] },\n]\n";

    #[test]
    fn a_library_outside_its_room_is_found_even_in_tests() {
        let house = House::made_of([
            (DENY, WALLS),
            ("raft/Cargo.toml", "[package]\nname = \"meridian-raft\"\n[dependencies]\nopenraft = \"1\"\n"),
            ("node/Cargo.toml", "[package]\nname = \"node\"\n[dev-dependencies]\nrocksdb.workspace = true\n"),
        ]);
        let found: Vec<String> = check(&house).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["node/Cargo.toml:4: only meridian-storage may use rocksdb"]);
    }

    #[test]
    fn a_wall_that_was_taken_down_is_found() {
        let house = House::made_of([(DENY, &WALLS.replace("openraft", "closedraft"))]);
        assert!(check(&house)[0].message.contains("must confine openraft"));
        assert!(check(&House::made_of([]))[0].message.contains("missing"));
    }
}
