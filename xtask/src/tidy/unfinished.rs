//! Nothing is left for later in code that is committed: no stubs that panic, no tests switched off.

use super::{House, Violation};

/// What gives it away, and what is wrong with it.
const SIGNS: [(&str, &str); 4] = [
    (concat!("todo", "!("), "finish it, or return a typed error"),
    (concat!("unimplemented", "!("), "finish it, or return a typed error"),
    (concat!("#[ig", "nore"), "a test that does not run proves nothing: run it or remove it"),
    (concat!("FIX", "ME"), "fix it"),
];

pub(super) fn check(house: &House) -> Vec<Violation> {
    house.rust().flat_map(|(path, text)| judge(path, text)).collect()
}

fn judge(path: &str, text: &str) -> Vec<Violation> {
    let mut found = Vec::new();
    for (line, number) in text.lines().zip(1..) {
        for (sign, advice) in SIGNS.iter().filter(|(sign, _)| line.contains(sign)) {
            found.push(Violation::new(path, number, format!("`{sign}`: {advice}")));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sign_is_found_on_its_line() {
        let text: String = SIGNS.iter().map(|(sign, _)| format!("fn f() {{}}\n    {sign}\n")).collect();
        let house = House::made_of([("a/src/lib.rs", &text), ("a/src/good.rs", "//! Finished.\n")]);
        let lines: Vec<usize> = check(&house).iter().map(|violation| violation.line).collect();
        assert_eq!(lines, [2, 4, 6, 8]);
    }
}
