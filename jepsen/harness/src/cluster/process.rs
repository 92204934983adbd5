//! A node's process: its own group, dead when the harness dies, its words in a log file.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{OnceLock, mpsc};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};

use crate::{run, syscall, wait};

/// How long the kernel may take to end a process that was killed.
const REAP_MAX: Duration = Duration::from_secs(10);
/// Bytes of the log's end that an error quotes.
const TAIL_BYTES: usize = 2_000;

/// A running process.
#[derive(Debug)]
pub struct Process {
    child: Child,
}

/// How a process ended.
#[derive(Debug, Clone)]
pub struct Exit {
    /// Its exit code; none if a signal ended it.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
}

impl Exit {
    fn of(status: ExitStatus) -> Self {
        Self { code: status.code(), signal: status.signal() }
    }
}

impl Process {
    /// Starts `meridian serve` in a network namespace, if one is given.
    ///
    /// # Errors
    /// If the program cannot be started.
    pub fn serve(config: &Path, log: &Path, netns: Option<&Path>, env: &[(String, String)]) -> Result<Self> {
        let out = OpenOptions::new().create(true).append(true).open(log);
        let out = out.with_context(|| format!("opening {}", log.display()))?;
        let program = binary()?;
        let mut command = Command::new(&program);
        command.arg("serve").arg("--config").arg(config).process_group(0).stdin(Stdio::null());
        command.stdout(out.try_clone()?).stderr(out).envs(env.iter().map(|(k, v)| (k, v)));
        let netns = netns.map(|file| File::open(file).with_context(|| format!("opening {}", file.display())));
        syscall::tie(&mut command, netns.transpose()?, true);
        let child = spawn(command).with_context(|| format!("starting {}", program.display()))?;
        Ok(Self { child })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it runs; how it ended if not.
    pub fn exit(&mut self) -> Option<Exit> {
        self.child.try_wait().ok().flatten().map(Exit::of)
    }

    /// SIGKILL, and gone when this returns.
    ///
    /// # Errors
    /// If it does not go away.
    pub fn kill(&mut self) -> Result<()> {
        let _ = self.child.kill();
        wait::until_blocking("a killed process to end", REAP_MAX, || self.exit()).map(drop)
    }

    /// Any other signal.
    ///
    /// # Errors
    /// If the process is gone.
    pub fn signal(&self, signal: i32) -> io::Result<()> {
        syscall::signal(self.pid(), signal)
    }

    /// Whether it is stopped.
    pub fn is_stopped(&self) -> bool {
        run::state(self.pid()) == Some('T')
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.kill();
        forget_clock(self.pid());
    }
}

/// Removes what libfaketime keeps in shared memory for a process that was killed.
pub(crate) fn forget_clock(pid: u32) {
    for name in [format!("faketime_shm_{pid}"), format!("sem.faketime_sem_{pid}")] {
        let _ = fs::remove_file(Path::new("/dev/shm").join(name));
    }
}

/// The program under test: `MERIDIAN_BIN`, or the one beside this program.
///
/// # Errors
/// If there is none.
pub fn binary() -> Result<PathBuf> {
    if let Some(chosen) = std::env::var_os("MERIDIAN_BIN") {
        return Ok(chosen.into());
    }
    let own = std::env::current_exe()?;
    let beside = own.ancestors().skip(1).take(3).map(|folder| folder.join("meridian"));
    let found = beside.into_iter().find(|file| file.is_file());
    found.context("no `meridian` beside this program: cargo build -p meridian-daemon, or set MERIDIAN_BIN")
}

/// How long ago the program under test was built.
///
/// # Errors
/// As [`binary`].
pub fn binary_age() -> Result<Duration> {
    let built = fs::metadata(binary()?)?.modified()?;
    Ok(SystemTime::now().duration_since(built).unwrap_or_default())
}

/// The end of a log file.
pub fn tail(log: &Path) -> String {
    let text = fs::read(log).unwrap_or_default();
    let from = text.len().saturating_sub(TAIL_BYTES);
    String::from_utf8_lossy(&text[from..]).into_owned()
}

type Request = (Command, mpsc::Sender<io::Result<Child>>);

/// Starts a process from a thread that lives as long as the harness: the kernel ends a tied child together
/// with the thread that started it, and threads of a runtime come and go.
fn spawn(command: Command) -> io::Result<Child> {
    static SPAWNER: OnceLock<mpsc::Sender<Request>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (requests, queue) = mpsc::channel::<Request>();
        std::thread::spawn(move || {
            for (mut command, answer) in queue {
                let _ = answer.send(command.spawn());
            }
        });
        requests
    });
    let (answer, child) = mpsc::channel();
    let gone = || io::Error::other("the spawning thread is gone");
    spawner.send((command, answer)).map_err(|_| gone())?;
    child.recv().map_err(|_| gone())?
}
