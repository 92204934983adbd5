//! Time and entropy of the operating system, as a thread that simulates sees them.
//!
//! Libraries that the nodes stand on ask the system itself: an HTTP server dates its answers, a hash map draws
//! its keys. On a thread that simulates, `clock_gettime` and `getrandom` answer from the simulation; on every
//! other thread of the process they are the system's. The symbols here take precedence over those of the C
//! library, which the standard library calls.
#![allow(unsafe_code)]

use std::cell::Cell;

/// Seconds since 1970 at which every simulation begins: January 2027.
pub(crate) const EPOCH_SECONDS: u64 = 1_800_000_000;
/// What the monotonic clock shows at the beginning, so that code may look back.
const MONOTONIC_SECONDS: u64 = 1_000_000;

thread_local! {
    static NOW_NS: Cell<Option<u64>> = const { Cell::new(None) };
    static ENTROPY: Cell<u64> = const { Cell::new(0) };
}

/// From now on this thread lives in a simulation: its clocks stand at its beginning, its entropy is the seed's.
///
/// Call it first of all on a fresh thread: what a thread has drawn before it keeps.
pub(crate) fn enter(seed: u64) {
    NOW_NS.set(Some(0));
    ENTROPY.set(seed);
}

/// Sets the clocks of this thread's simulation: nanoseconds since its beginning.
pub(crate) fn advance_to(elapsed_ns: u64) {
    NOW_NS.set(Some(elapsed_ns));
}

fn next_entropy() -> u64 {
    let next = ENTROPY.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
    ENTROPY.set(next);
    let mixed = (next ^ (next >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// The C library's `clock_gettime`.
///
/// # Safety
/// As there: `out` points to a `timespec`.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn clock_gettime(
    clock: libc::clockid_t,
    out: *mut libc::timespec,
) -> libc::c_int {
    let Ok(Some(elapsed_ns)) = NOW_NS.try_with(Cell::get) else {
        // SAFETY: the caller's promise, passed on.
        return unsafe { libc::syscall(libc::SYS_clock_gettime, clock, out) } as libc::c_int;
    };
    let base = match clock {
        libc::CLOCK_REALTIME | libc::CLOCK_REALTIME_COARSE => EPOCH_SECONDS,
        _ => MONOTONIC_SECONDS,
    };
    let seconds = base + elapsed_ns / 1_000_000_000;
    // SAFETY: the caller promises that `out` may be written.
    unsafe {
        (*out).tv_sec = seconds as libc::time_t;
        (*out).tv_nsec = (elapsed_ns % 1_000_000_000) as libc::c_long;
    }
    0
}

/// The C library's `getrandom`.
///
/// # Safety
/// As there: `out` points to `len` bytes.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn getrandom(
    out: *mut libc::c_void,
    len: libc::size_t,
    flags: libc::c_uint,
) -> libc::ssize_t {
    if !matches!(NOW_NS.try_with(Cell::get), Ok(Some(_))) {
        // SAFETY: the caller's promise, passed on.
        return unsafe { libc::syscall(libc::SYS_getrandom, out, len, flags) } as libc::ssize_t;
    }
    // SAFETY: the caller promises that `len` bytes at `out` may be written.
    let bytes = unsafe { std::slice::from_raw_parts_mut(out.cast::<u8>(), len) };
    for chunk in bytes.chunks_mut(8) {
        chunk.copy_from_slice(&next_entropy().to_le_bytes()[..chunk.len()]);
    }
    len as libc::ssize_t
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

    fn draw(seed: u64) -> (u64, u64) {
        let thread = std::thread::spawn(move || {
            super::enter(seed);
            use std::hash::{BuildHasher, RandomState};
            (rand::random(), RandomState::new().hash_one(1))
        });
        thread.join().expect("draws")
    }

    #[test]
    fn a_simulating_thread_has_the_clock_and_the_entropy_of_its_simulation() {
        let thread = std::thread::spawn(|| {
            super::enter(1);
            let (begun, since) = (Instant::now(), SystemTime::now().duration_since(UNIX_EPOCH));
            super::advance_to(1_500_000_000);
            (begun.elapsed(), since)
        });
        let (elapsed, since) = thread.join().expect("runs");
        assert_eq!(elapsed, Duration::from_millis(1_500));
        assert_eq!(since.ok(), Some(Duration::from_secs(super::EPOCH_SECONDS)));
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }

    #[test]
    fn other_threads_keep_the_system_s_clock() {
        let begun = Instant::now();
        std::thread::sleep(Duration::from_millis(5));
        assert!(begun.elapsed() >= Duration::from_millis(5));
        assert_ne!(rand::random::<u64>(), rand::random::<u64>());
    }
}
