//! Running the system's own tools: short, blocking, with an error that says what was tried.

use std::fs::File;
use std::io::Write;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::syscall;

/// Runs a program to its end and returns what it printed.
///
/// # Errors
/// If it is missing or fails; the error holds the command and what it complained about.
pub fn run(program: &str, arguments: &[&str]) -> Result<String> {
    finish(Command::new(program).args(arguments), None)
}

/// The same with something to read.
///
/// # Errors
/// As [`run`].
pub fn feed(program: &str, arguments: &[&str], input: &str) -> Result<String> {
    finish(Command::new(program).args(arguments), Some(input))
}

/// The same within a network namespace, given by its file.
///
/// # Errors
/// As [`run`], or if the namespace is gone.
pub fn feed_within(
    netns: &std::path::Path,
    program: &str,
    arguments: &[&str],
    input: &str,
) -> Result<String> {
    let mut command = Command::new(program);
    command.args(arguments);
    let namespace = File::open(netns).with_context(|| format!("opening {}", netns.display()))?;
    syscall::tie(&mut command, Some(namespace), false);
    finish(&mut command, Some(input))
}

fn finish(command: &mut Command, input: Option<&str>) -> Result<String> {
    let stdin = if input.is_some() { Stdio::piped() } else { Stdio::null() };
    let mut child = command
        .stdin(stdin)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("starting {command:?}"))?;
    if let (Some(input), Some(mut pipe)) = (input, child.stdin.take()) {
        pipe.write_all(input.as_bytes()).with_context(|| format!("writing to {command:?}"))?;
    }
    let output = child.wait_with_output().with_context(|| format!("waiting for {command:?}"))?;
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr);
        bail!("{command:?}: {}: {}", output.status, complaint.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
