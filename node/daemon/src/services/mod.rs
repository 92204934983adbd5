//! The gRPC services of a node. Each is thin: it speaks the wire and calls the rooms.

mod admin;
mod answers;
mod attach;
mod dead_letters;
mod forward;
mod metadata;
mod open_producer;
mod peer;
mod publish;
mod pulling;
mod read;
mod reading;
mod standing;
mod subscribe;
mod subscribing;

pub(crate) use admin::{Admin, Subscriptions};
pub(crate) use dead_letters::DeadLetters;
pub(crate) use forward::Forwarder;
pub(crate) use metadata::Metadata;
pub(crate) use open_producer::Producers;
pub(crate) use peer::Peer;
pub(crate) use publish::Publish;
pub(crate) use pulling::Pullers;
pub(crate) use read::Read;
pub(crate) use reading::Pages;
pub(crate) use standing::Standings;
pub(crate) use subscribe::Subscribe;
pub(crate) use subscribing::Ways;
