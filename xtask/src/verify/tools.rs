//! Tools that a stage may need and a machine may lack.

use std::process::{Command, Stdio};

/// Whether a cargo subcommand, such as `cargo-deny`, answers.
pub(super) fn is_there(tool: &str) -> bool {
    let asked = Command::new(tool).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    asked.is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_that_nobody_has_is_not_there() {
        assert!(is_there("cargo"));
        assert!(!is_there("cargo-no-such-tool-as-this"));
    }
}
