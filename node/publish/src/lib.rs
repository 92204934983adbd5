//! Publishing, as one sentence: authenticate, admit, route, append.
#![forbid(unsafe_code)]

mod admission;
mod authentication;
mod routing;
mod sentence;

pub use admission::{Admission, Admitted, Health, Refused};
pub use authentication::{Anonymous, Authenticate, Caller, Credential};
pub use routing::{Leader, Route, RouteError, Routes};
pub use sentence::{Outcome, PublishError, Published, Publisher};
