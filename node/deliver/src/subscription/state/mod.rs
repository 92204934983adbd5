//! What a dispatcher holds in memory, each part on its own.

mod claims;
mod consumers;
mod credit;
mod delayed;
mod delayed_ledger;
mod known;
mod lease;
mod ledger;
mod loose;
mod pending;
mod places;
mod window;

pub(super) use claims::Claims;
pub(super) use consumers::{Consumers, Seat};
pub(super) use credit::Credit;
pub(super) use delayed::DelayedReader;
pub(super) use delayed_ledger::DelayedLedger;
pub(super) use known::Known;
pub(super) use lease::{Held, Leases};
pub(super) use ledger::Ledger;
pub(super) use loose::{Redelivery, Waits};
pub(super) use pending::{DELAYED_FIRST, InFlight, Pending, Request};
pub(super) use places::{Places, main, one};
pub(super) use window::Window;
