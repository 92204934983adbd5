//! Every numbered promise is written down, decided by a checker, and shown by a test.
//!
//! `docs/invariants.md` has a section `## LOG-1: ...` for each number, with a line `- Checker:` that names a
//! source file, and a list `- Tests:` of `file.rs::test_name`. The checker, and at least one file of tests,
//! must mention the number.

use std::collections::BTreeMap;

use super::{House, Violation};

const PAGE: &str = "docs/invariants.md";
/// Where the checker spells the numbers it decides.
const PROMISES: &str = "jepsen/checker/src/promise.rs";
/// Numbers that there must be, whatever the checker says.
const NUMBERS: [&str; 10] =
    ["LOG-1", "LOG-2", "LOG-3", "LOG-4", "LOG-5", "LOG-6", "LOG-7", "LOG-8", "LOG-9", "CTL-1"];

/// One section of the page: the line of its heading, and its lines with their numbers.
#[derive(Default)]
struct Section<'a> {
    line: usize,
    lines: Vec<(usize, &'a str)>,
}

pub(super) fn check(house: &House) -> Vec<Violation> {
    let Some(page) = house.text(PAGE) else {
        return vec![Violation::new(PAGE, 1, "is missing")];
    };
    let sections = sections(page);
    let mut found = Vec::new();
    for number in numbers(house) {
        match sections.get(number.as_str()) {
            None => found.push(Violation::new(PAGE, 1, format!("has no section `## {number}: ...`"))),
            Some(section) => found.extend(judge(house, &number, section)),
        }
    }
    found
}

/// The fixed numbers, and any other that the checker knows.
fn numbers(house: &House) -> Vec<String> {
    let mut numbers: Vec<String> = NUMBERS.map(str::to_string).to_vec();
    let quoted = house.text(PROMISES).unwrap_or_default().split('"').skip(1).step_by(2);
    for code in quoted {
        let (family, digits) = code.split_once('-').unwrap_or_default();
        let is_number = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        if is_number && !family.is_empty() && !numbers.iter().any(|known| known == code) {
            numbers.push(code.to_string());
        }
    }
    numbers
}

fn sections(page: &str) -> BTreeMap<&str, Section<'_>> {
    let mut sections: BTreeMap<&str, Section<'_>> = BTreeMap::new();
    let mut current = "";
    for (line, number) in page.lines().zip(1..) {
        if let Some(heading) = line.strip_prefix("## ") {
            current = heading.split(':').next().unwrap_or_default().trim();
            sections.insert(current, Section { line: number, lines: Vec::new() });
        } else if let Some(section) = sections.get_mut(current) {
            section.lines.push((number, line));
        }
    }
    sections
}

fn judge(house: &House, number: &str, section: &Section<'_>) -> Vec<Violation> {
    let mut found = Vec::new();
    let checkers = named(section, "- Checker:");
    let tests = named(section, "- Tests:");
    for (what, names) in [("checker", &checkers), ("test", &tests)] {
        if names.is_empty() {
            found.push(Violation::new(PAGE, section.line, format!("{number} names no {what}")));
        }
    }
    for (line, path) in &checkers {
        match house.text(path) {
            None => found.push(Violation::new(PAGE, *line, format!("{path} does not exist"))),
            Some(text) if !mentions(text, number) => {
                found.push(Violation::new(path, 1, format!("should mention {number}, as {PAGE} says")));
            }
            Some(_) => {}
        }
    }
    let mut mentioned = tests.is_empty();
    for (line, test) in &tests {
        let (path, name) = test.split_once("::").unwrap_or((test, ""));
        let text = house.text(path).unwrap_or_default();
        if name.is_empty() || !text.contains(&format!("fn {name}(")) {
            found.push(Violation::new(PAGE, *line, format!("there is no test {test}")));
        }
        mentioned |= mentions(text, number);
    }
    if !mentioned {
        found.push(Violation::new(
            PAGE,
            section.line,
            format!("none of the tests of {number} mentions the number"),
        ));
    }
    found
}

/// Rust files, or tests in them, in the item that begins with `label`: all names between backticks with `.rs`.
fn named<'a>(section: &Section<'a>, label: &str) -> Vec<(usize, &'a str)> {
    let mut names = Vec::new();
    let mut inside = false;
    for (number, line) in &section.lines {
        inside =
            if line.starts_with("- ") { line.starts_with(label) } else { inside && line.starts_with("  ") };
        if inside {
            let quoted = line.split('`').skip(1).step_by(2);
            names.extend(quoted.filter(|name| name.contains(".rs")).map(|name| (*number, name)));
        }
    }
    names
}

/// Whether the text has the number, as `LOG-1` or, in code, as `Promise::Log1`.
fn mentions(text: &str, number: &str) -> bool {
    let (family, digits) = number.split_once('-').unwrap_or((number, ""));
    let head = family.chars().next().unwrap_or_default();
    let variant = format!("Promise::{head}{}{digits}", family[head.len_utf8()..].to_ascii_lowercase());
    let whole = |needle: &str| {
        let mut ends = text.match_indices(needle).map(|(at, _)| text[at + needle.len()..].chars().next());
        ends.any(|next| next.is_none_or(|next| !next.is_ascii_digit()))
    };
    whole(number) || whole(&variant)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page() -> String {
        let section = |number: &str| {
            format!(
                "## {number}: a promise\n\nWords.\n\n- Checker: `c.rs`\n- Tests:\n  - `t.rs::shown`\n  - `u.rs::too`\n\n"
            )
        };
        NUMBERS.map(section).concat()
    }

    fn found(page: &str, checker: &str) -> Vec<String> {
        let tests = format!("//! {}, Promise::Ctl1.\nfn shown() {{}}\n", NUMBERS[..9].join(", "));
        let house =
            House::made_of([(PAGE, page), ("c.rs", checker), ("t.rs", &tests), ("u.rs", "fn too() {}\n")]);
        check(&house).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_page_whose_names_hold_passes() {
        assert_eq!(found(&page(), &NUMBERS.join(" ")), Vec::<String>::new());
    }

    #[test]
    fn a_number_without_a_section_is_found() {
        let without = page().replace("## LOG-7:", "## LOG-77:");
        assert_eq!(
            found(&without, &NUMBERS.join(" ")),
            [format!("{PAGE}:1: has no section `## LOG-7: ...`")]
        );
    }

    #[test]
    fn a_checker_or_test_that_is_missing_is_found() {
        let all = NUMBERS.join(" ");
        let gone = found(&page().replacen("`c.rs`", "`gone.rs`", 1), &all);
        assert_eq!(gone, [format!("{PAGE}:5: gone.rs does not exist")]);
        let renamed = found(&page().replacen("t.rs::shown", "t.rs::hidden", 1), &all);
        assert_eq!(renamed, [format!("{PAGE}:7: there is no test t.rs::hidden")]);
        let none = found(&page().replacen("- Checker: `c.rs`\n", "", 1), &all);
        assert_eq!(none, [format!("{PAGE}:1: LOG-1 names no checker")]);
    }

    #[test]
    fn a_file_that_does_not_mention_its_number_is_found() {
        let silent = found(&page(), &NUMBERS.join(" ").replace("LOG-9", "LOG-99"));
        assert_eq!(silent, ["c.rs:1: should mention LOG-9, as docs/invariants.md says"]);
        let vague = found(&page().replacen("  - `t.rs::shown`\n", "", 1), &NUMBERS.join(" "));
        assert_eq!(vague, [format!("{PAGE}:1: none of the tests of LOG-1 mentions the number")]);
    }

    #[test]
    fn a_promise_that_the_checker_adds_needs_a_section_too() {
        let house =
            House::made_of([(PAGE, "x\n"), (PROMISES, "Self::Sub1 => \"SUB-1\", Self::X => \"LOG-WGL\",")]);
        let found: Vec<String> = check(&house).iter().map(ToString::to_string).collect();
        assert_eq!(found.len(), NUMBERS.len() + 1);
        assert!(found[10].contains("SUB-1"), "{found:?}");
    }
}
