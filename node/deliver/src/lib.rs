//! Delivery: from the committed log to readers. For now reading sessions; subscriptions come to live here.
#![forbid(unsafe_code)]

mod session;

pub use session::{Page, ReadSession};
