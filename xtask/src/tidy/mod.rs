//! The rules of the house that neither the compiler nor clippy knows. One rule, one file.
//!
//! A rule is a pure function from the [`House`] to its violations, so every rule is tested with violations
//! planted in a house of a few made-up files.

mod directions;
mod first_line;
mod house;
mod invariants;
mod lints;
mod names;
mod places;
mod purity;
mod size;
mod unfinished;
mod violation;
mod wrappers;

use anyhow::{Result, bail};

pub(crate) use house::{Crate, House, root};
pub(crate) use violation::{Violation, Weight};

/// A rule: its name, and what it finds.
type Rule = (&'static str, fn(&House) -> Vec<Violation>);

/// Every rule, in the order of the report.
const RULES: &[Rule] = &[
    ("first-line", first_line::check),
    ("size", size::check),
    ("names", names::check),
    ("lints", lints::check),
    ("directions", directions::check),
    ("purity", purity::check),
    ("wrappers", wrappers::check),
    ("invariants", invariants::check),
    ("places", places::check),
    ("unfinished", unfinished::check),
];

/// Prints every violation as `path:line: message`, and fails if one of them is an error.
pub(crate) fn run() -> Result<()> {
    let house = House::open(&root())?;
    let (mut errors, mut warnings) = (0, 0);
    for (name, check) in RULES {
        for violation in check(&house) {
            match violation.weight {
                Weight::Error => errors += 1,
                Weight::Warning => warnings += 1,
            }
            println!("{violation} [{name}]");
        }
    }
    let (files, rules) = (house.files().count(), RULES.len());
    println!("tidy: {errors} violations, {warnings} warnings; {rules} rules over {files} files");
    match errors {
        0 => Ok(()),
        _ => bail!("the house is not tidy"),
    }
}
