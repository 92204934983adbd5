//! Files stay small enough to be read at a sitting. (Functions are clippy's business: `too_many_lines`.)

use super::{House, Violation};

/// Lines above which a file is worth a second look.
const SOFT_LINES_MAX: usize = 400;
/// Lines above which a file must be split.
const HARD_LINES_MAX: usize = 600;

pub(super) fn check(house: &House) -> Vec<Violation> {
    house.rust().filter_map(|(path, text)| judge(path, text.lines().count())).collect()
}

fn judge(path: &str, lines: usize) -> Option<Violation> {
    let found =
        |max| Violation::new(path, lines, format!("{lines} lines, the most is {max}: split the file"));
    match lines {
        _ if lines > HARD_LINES_MAX => Some(found(HARD_LINES_MAX)),
        _ if lines > SOFT_LINES_MAX => Some(found(SOFT_LINES_MAX).warning()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::Weight;
    use super::*;

    #[test]
    fn a_long_file_is_warned_of_and_a_longer_one_refused() {
        let text = |lines: usize| "//! x\n".repeat(lines);
        let house = House::made_of([
            ("a/src/short.rs", &text(400)),
            ("a/src/long.rs", &text(401)),
            ("a/src/longer.rs", &text(601)),
            ("a/src/generated/x.rs", &text(9_000)),
        ]);
        let found: Vec<_> = check(&house).into_iter().map(|v| (v.path, v.weight)).collect();
        let expected =
            [("a/src/long.rs".to_string(), Weight::Warning), ("a/src/longer.rs".into(), Weight::Error)];
        assert_eq!(found, expected);
    }
}
