//! The `meridian` binary as its users meet it: as processes, through its command line and its listeners.

mod attacks;
mod authority;
mod dev;
mod founders;
mod process;
mod readers;
mod serve;
mod strangers;
mod subscriptions;
mod tls;
mod victim;
mod watching;
mod wire;
