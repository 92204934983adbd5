//! Processes that never outlive this one.

use std::fs::{File, read_to_string};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tokio::process::{Child, Command};

/// Clock ticks a second, as the kernel counts them in `/proc` on every platform we know.
const TICKS_PER_S: f64 = 100.0;
const EVERY: Duration = Duration::from_millis(20);

/// A server. Dropping it kills it; so does the end of this process, however it comes.
pub(crate) struct Server {
    child: Child,
    name: String,
    log: std::path::PathBuf,
}

impl Server {
    /// Starts a program whose words go to a log file. Must be called from the main thread: the kernel ends the
    /// child together with the thread that started it.
    pub(crate) fn start(name: &str, program: &Path, args: &[&str], log: &Path) -> Result<Self> {
        let out = File::create(log).with_context(|| format!("making {}", log.display()))?;
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).arg(program).args(args);
        command.stdin(std::process::Stdio::null()).stdout(out.try_clone()?).stderr(out).kill_on_drop(true);
        let child = command.spawn().context("starting setpriv (package util-linux)")?;
        Ok(Self { child, name: name.into(), log: log.into() })
    }

    /// Waits until `ready` says so. Fails when the process ends instead.
    pub(crate) async fn until(&mut self, within: Duration, ready: impl Fn() -> bool) -> Result<()> {
        let began = Instant::now();
        while !ready() {
            if let Some(status) = self.child.try_wait()? {
                bail!("{} ended with {status}:\n{}", self.name, self.tail());
            }
            if began.elapsed() > within {
                bail!("{} did not come up in {} s:\n{}", self.name, within.as_secs(), self.tail());
            }
            tokio::time::sleep(EVERY).await;
        }
        Ok(())
    }

    fn tail(&self) -> String {
        let text = read_to_string(&self.log).unwrap_or_default();
        text.lines().rev().take(10).collect::<Vec<_>>().into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    /// CPU seconds it has used.
    pub(crate) fn cpu_s(&self) -> f64 {
        self.child.id().map_or(0.0, cpu_s_of)
    }

    /// Ends it and waits until it is gone.
    pub(crate) async fn stop(mut self) -> Result<()> {
        self.child.kill().await.with_context(|| format!("ending {}", self.name))
    }
}

/// CPU seconds that a process has used, in user and system mode.
pub(crate) fn cpu_s_of(pid: u32) -> f64 {
    cpu_s(&format!("/proc/{pid}/stat"), 11).unwrap_or(0.0)
}

/// CPU seconds of this process.
pub(crate) fn own_cpu_s() -> f64 {
    cpu_s("/proc/self/stat", 11).unwrap_or(0.0)
}

/// CPU seconds of children of this process that have ended.
pub(crate) fn ended_children_cpu_s() -> f64 {
    cpu_s("/proc/self/stat", 13).unwrap_or(0.0)
}

/// Two fields of a `stat` file, user and system time, counted from the state on.
fn cpu_s(file: &str, first: usize) -> Option<f64> {
    let text = read_to_string(file).ok()?;
    let (_, fields) = text.rsplit_once(')')?;
    let ticks = fields.split_whitespace().skip(first).take(2).map(|field| field.parse::<f64>());
    Some(ticks.collect::<Result<Vec<_>, _>>().ok()?.iter().sum::<f64>() / TICKS_PER_S)
}

/// Runs a command to its end and returns what it printed, as JSON. Where it fails after printing its result, as
/// a load with errors does, the result is returned all the same.
pub(crate) async fn json(program: &Path, args: &[&str]) -> Result<serde_json::Value> {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program).args(args).kill_on_drop(true);
    let output = command.output().await.context("starting setpriv (package util-linux)")?;
    serde_json::from_slice(&output.stdout).with_context(|| {
        format!("{} {}: {}", program.display(), args.join(" "), String::from_utf8_lossy(&output.stderr))
    })
}

/// Ports on loopback that nobody has at the moment.
pub(crate) fn free_ports<const N: usize>() -> Result<[u16; N]> {
    let listeners: Vec<_> =
        (0..N).map(|_| std::net::TcpListener::bind("127.0.0.1:0")).collect::<Result<_, _>>()?;
    let mut ports = [0; N];
    for (port, listener) in ports.iter_mut().zip(&listeners) {
        *port = listener.local_addr()?.port();
    }
    Ok(ports)
}
