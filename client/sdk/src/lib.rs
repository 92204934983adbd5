//! The Rust client of Meridian: publish exactly once per log, read without gap or repeat, consume until acked,
//! administer.
//!
//! ```no_run
//! # async fn demo() -> Result<(), meridian_sdk::Error> {
//! use meridian_sdk::{Client, ClientConfig, Item, Message, Start};
//!
//! let client = Client::connect(ClientConfig::new(["127.0.0.1:7171"])).await?;
//! let producer = client.producer("flights").build().await?;
//! let delivery = producer.send(Message::new("hello").with_key("SFO")).await?;
//! println!("stored at offset {}", delivery.await?.offset);
//!
//! let mut reader = client.reader("flights").start(Start::Earliest).open().await?;
//! while let Some(item) = reader.next().await {
//!     if let Item::Record(record) = item? {
//!         println!("{} {:?}", record.offset, record.body);
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! All time is [`tokio::time`], all connections come from a [`Connector`], all randomness from
//! [`ClientConfig::seed`]: a simulation can own the three of them.
#![forbid(unsafe_code)]

mod address;
pub mod admin;
mod backoff;
mod call;
mod channels;
mod client;
mod config;
mod connector;
pub mod consumer;
mod error;
mod log;
mod metadata;
mod once;
pub mod producer;
mod random;
pub mod reader;
mod tls;

pub use admin::Admin;
pub use client::Client;
pub use config::{ClientConfig, SystemClock};
pub use connector::{ConnectError, Connector, TcpConnector, default_endpoint};
pub use consumer::{Consumer, ConsumerBuilder};
pub use error::{Error, Refused};
pub use log::LogInfo;
pub use metadata::{PartitionRoute, TopicRoute};
pub use once::PublishedOnce;
pub use producer::{Delivery, Producer, ProducerBuilder, Receipt};
pub use reader::{BatchItem, BatchReader, Item, Reader, ReaderBuilder, Record, Start};
pub use tls::{ClientCertificate, ClientTls};

pub use meridian_model::{
    Batch, Clock, Codec, GroupId, LogId, Message, MessageId, NodeId, Offset, ProducerId, SubscriptionId,
    TopicName, UnixMs,
    subscription::{Backoff, SubscriptionKind, SubscriptionRules},
    topology::Retention,
};
pub use meridian_proto::v1::ErrorReason as Reason;
