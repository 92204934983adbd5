//! What decoding costs in memory: an allocator that counts, for each thread.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// The system's allocator, counted.
struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
    static MOST: Cell<isize> = const { Cell::new(0) };
}

fn count(bytes: isize) {
    // A thread that ends frees what it held when nobody counts any more.
    let _ = HELD.try_with(|held| {
        held.set(held.get() + bytes);
        let _ = MOST.try_with(|most| most.set(most.get().max(held.get())));
    });
}

// Sound: every call is passed on to the system's allocator as it came. Counting allocates nothing.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // Old and new may be there at the same time.
        count(size as isize);
        count(-(layout.size() as isize));
        unsafe { System.realloc(pointer, layout, size) }
    }
}

/// Does the work, and says how many bytes this thread held at most beyond what it held before.
pub fn most_held<R>(work: impl FnOnce() -> R) -> (R, usize) {
    let before = HELD.get();
    MOST.set(before);
    let done = work();
    (done, MOST.get().saturating_sub(before).max(0) as usize)
}

/// Does the work, and panics if it held more than `bytes_max`.
pub fn within<R>(bytes_max: usize, work: impl FnOnce() -> R) -> R {
    let (done, held) = most_held(work);
    assert!(held <= bytes_max, "held {held} bytes, {bytes_max} are enough");
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_freed_again_counts_too() {
        let ((), held) = most_held(|| {
            drop(vec![0u8; 10_000]);
            drop(vec![0u8; 4_000]);
        });
        assert!((10_000..14_000).contains(&held), "{held}");
    }

    #[test]
    #[should_panic(expected = "held")]
    fn too_much_is_noticed() {
        within(1_000, || vec![0u8; 2_000]);
    }
}
