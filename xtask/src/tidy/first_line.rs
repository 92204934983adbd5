//! Every Rust file begins by saying, in a sentence, what it is for.

use super::{House, Violation};

/// What stands in the first line of a file that nobody has written yet.
const PLACEHOLDERS: [&str; 3] = ["TBD", concat!("TO", "DO"), "..."];

pub(super) fn check(house: &House) -> Vec<Violation> {
    house.rust().filter_map(|(path, text)| judge(path, text)).collect()
}

fn judge(path: &str, text: &str) -> Option<Violation> {
    let first = text.lines().next().unwrap_or_default();
    let Some(says) = first.strip_prefix("//!") else {
        return Some(Violation::new(path, 1, "the first line must say what the file is for, after `//!`"));
    };
    let says = says.trim();
    let empty = says.is_empty() || PLACEHOLDERS.contains(&says);
    empty.then(|| Violation::new(path, 1, "the first line says nothing yet"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_does_not_introduce_itself_is_found() {
        let house = House::made_of([
            ("a/src/good.rs", "//! Counts apples.\n"),
            ("a/src/bare.rs", "use std::fmt;\n"),
            ("a/src/stub.rs", "//! TBD\n"),
            ("a/src/void.rs", ""),
            ("a/src/generated/x.rs", "// @generated\n"),
        ]);
        let found: Vec<String> = check(&house).into_iter().map(|violation| violation.path).collect();
        assert_eq!(found, ["a/src/bare.rs", "a/src/stub.rs", "a/src/void.rs"]);
    }
}
