//! The few system calls that need `unsafe`: between fork and exec, signals, the power switch of a filesystem.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// `_IOR('X', 125, u32)`: shut a filesystem down. ext4 and XFS know it.
const FS_IOC_SHUTDOWN: libc::c_ulong = 0x8004_587d;
/// Nothing that is still in memory is written, not even the journal: what a power loss does.
const SHUTDOWN_NO_LOG_FLUSH: u32 = 2;

/// The child dies when the thread that spawned it does, and lives in this network namespace.
pub(crate) fn tie(command: &mut Command, netns: Option<File>, dies_with_us: bool) {
    let prepare = move || {
        // SAFETY: prctl with these arguments touches no memory.
        if dies_with_us && unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) } != 0 {
            return Err(io::Error::last_os_error());
        }
        if let Some(netns) = &netns {
            // SAFETY: the descriptor is open, for the closure owns it.
            let entered = unsafe { libc::setns(netns.as_raw_fd(), libc::CLONE_NEWNET) };
            if entered != 0 {
                return Err(io::Error::last_os_error());
            }
        }
        Ok(())
    };
    // SAFETY: the closure makes two async-signal-safe system calls and neither allocates nor locks.
    unsafe { command.pre_exec(prepare) };
}

/// Sends a signal to one process.
pub(crate) fn signal(pid: u32, signal: i32) -> io::Result<()> {
    let pid = i32::try_from(pid).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    if pid <= 1 {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    // SAFETY: kill touches no memory; the pid is positive, so it names one process.
    match unsafe { libc::kill(pid, signal) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Cuts the power of the filesystem mounted here: from now on every write fails and nothing in memory is kept.
pub(crate) fn cut_power(mountpoint: &Path) -> io::Result<()> {
    let folder = File::open(mountpoint)?;
    let how = SHUTDOWN_NO_LOG_FLUSH;
    // SAFETY: the descriptor is open and the argument points to a u32 that outlives the call, as this ioctl wants.
    match unsafe { libc::ioctl(folder.as_raw_fd(), FS_IOC_SHUTDOWN, &raw const how) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Whether this process is root.
pub(crate) fn is_root() -> bool {
    // SAFETY: geteuid always succeeds and touches no memory.
    unsafe { libc::geteuid() == 0 }
}
