//! Commands below a cargo that is running already.

use std::process::Command;

use crate::tidy::root;

/// A command in the folder of the workspace, without the running cargo's own variables: they would send a nested
/// cargo to other settings.
pub(crate) fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    command.current_dir(root());
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&*name);
        }
    }
    command
}
