//! Memory that was freed goes back to the system once the process rests.
//!
//! glibc gives back only what lies above the last block in use, and after a burst of requests some small block lies
//! high: a hundred megabytes stayed resident after an attack of fifty connections, all of them free.

use std::time::Duration;

/// How often the process looks at itself.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Memory grown by so much since the last time is worth the walk through it, in bytes.
const GROWN_BYTES: u64 = 32 * 1024 * 1024;
/// A process that used less than a quarter of a core rests, in clock ticks of 10 ms between two looks.
const RESTING_TICKS: u64 = 125;

/// Allocates from few pools: glibc makes eight for each core, and what was freed in one serves no other. With as many
/// as there are cores nearly nobody waits, and a node under load takes a third less. To be called before any thread
/// is started.
pub(crate) fn share_pools() {
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
    limit_pools(i32::try_from(cores).unwrap_or(i32::MAX));
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn limit_pools(most: i32) {
    #[allow(unsafe_code)]
    // SAFETY: it takes no pointer, and no other thread runs yet.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, most);
    }
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn limit_pools(_most: i32) {}

/// Looks for as long as the process lives, in a thread of its own: giving back may take some milliseconds.
pub(crate) fn give_back_when_resting() {
    let look = || {
        let mut given_back_at = resident_bytes().unwrap_or_default();
        let mut used = used_ticks().unwrap_or_default();
        loop {
            std::thread::sleep(LOOK_EVERY);
            let (Some(now), Some(resident)) = (used_ticks(), resident_bytes()) else { return };
            let rests = now.saturating_sub(std::mem::replace(&mut used, now)) < RESTING_TICKS;
            given_back_at = given_back_at.min(resident);
            if rests && resident >= given_back_at + GROWN_BYTES {
                give_back();
                given_back_at = resident_bytes().unwrap_or(resident);
                tracing::debug!(before = resident, after = given_back_at, "gave memory back");
            }
        }
    };
    if let Err(error) = std::thread::Builder::new().name("memory".into()).spawn(look) {
        tracing::warn!(%error, "freed memory is not given back");
    }
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn give_back() {
    #[allow(unsafe_code)]
    // SAFETY: it takes no pointer, and locks whatever other threads may use.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Other allocators have ways of their own.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn give_back() {}

fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().trim_end_matches("kB").trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

/// Time in user and kernel mode. The name before it may hold anything, but no bracket after its own.
fn used_ticks() -> Option<u64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut next = || fields.next()?.parse::<u64>().ok();
    Some(next()? + next()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_knows_its_memory_and_its_work() {
        assert!(resident_bytes().is_some_and(|bytes| bytes > 1024 * 1024));
        let before = used_ticks().expect("of this process");
        let begun = std::time::Instant::now();
        while begun.elapsed() < Duration::from_millis(300) {
            std::hint::spin_loop();
        }
        assert!(used_ticks().expect("of this process") > before);
    }
}
