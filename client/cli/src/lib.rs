//! The commands of the `meridian` binary that talk to a cluster.
//!
//! Exit codes: 0 done, 1 failed, 2 wrong usage or argument, 3 the cluster is unavailable or too slow.
#![forbid(unsafe_code)]

mod console;
mod failure;
mod global;
mod namespace;
mod node;
mod publish;
mod read;
mod status;
mod subscribe;
mod subscription;
mod table;
mod tenant;
mod topic;
pub mod units;

use std::process::ExitCode;

use clap::Subcommand;

pub use console::Console;
pub use failure::Failure;
pub use global::{GlobalArgs, Output};

/// The client commands, to be flattened into a larger command line.
#[derive(Clone, Debug, Subcommand)]
pub enum ClientCommand {
    /// Create, list, describe, change and delete topics
    #[command(subcommand)]
    Topic(topic::TopicCommand),
    /// Create, list, describe, change, move and delete subscriptions of topics
    #[command(subcommand)]
    Subscription(subscription::SubscriptionCommand),
    /// Create, list and delete tenants
    #[command(subcommand)]
    Tenant(tenant::TenantCommand),
    /// Create, list and delete namespaces of a tenant
    #[command(subcommand)]
    Namespace(namespace::NamespaceCommand),
    /// Publish messages, one for each line
    Publish(publish::PublishArgs),
    /// Read messages
    Read(read::ReadArgs),
    /// Consume a subscription and print its messages
    Subscribe(subscribe::SubscribeArgs),
    /// Take some messages of a subscription, to be acked by their ids
    Pull(subscribe::pull::PullArgs),
    /// Ack messages that were pulled
    Ack(subscribe::pull::SettleArgs),
    /// Give messages that were pulled back: they are delivered again
    Nack(subscribe::pull::SettleArgs),
    /// Let a node lead nothing, so that it can be restarted without a failed publish
    Drain(node::NodeArgs),
    /// Move every copy off a node and forget it
    Decommission(node::NodeArgs),
    /// Show the cluster, its nodes and its topics
    Status(status::StatusArgs),
}

/// Runs a command on the standard streams. Errors are printed, in words or as JSON, and become the exit code.
pub async fn run(command: ClientCommand, global: GlobalArgs) -> ExitCode {
    let mut console = Console::standard();
    ExitCode::from(run_on(command, global, &mut console).await)
}

/// Runs a command on the given console and returns the exit code.
pub async fn run_on(command: ClientCommand, global: GlobalArgs, console: &mut Console) -> u8 {
    let outcome = execute(command, &global, console).await.and_then(|()| Ok(console.flush()?));
    match outcome {
        Ok(()) => 0,
        Err(failure) => {
            let _ = console.flush();
            failure.print(global.output, console);
            failure.exit_code()
        }
    }
}

async fn execute(command: ClientCommand, global: &GlobalArgs, console: &mut Console) -> Result<(), Failure> {
    let client = global.connect().await?;
    match command {
        ClientCommand::Topic(command) => topic::run(command, &client, global, console).await,
        ClientCommand::Subscription(command) => subscription::run(command, &client, global, console).await,
        ClientCommand::Tenant(command) => tenant::run(command, &client, global, console).await,
        ClientCommand::Namespace(command) => namespace::run(command, &client, global, console).await,
        ClientCommand::Publish(args) => Box::pin(publish::run(args, &client, global, console)).await,
        ClientCommand::Read(args) => Box::pin(read::run(args, &client, console, global)).await,
        ClientCommand::Subscribe(args) => Box::pin(subscribe::run(args, &client, global, console)).await,
        ClientCommand::Pull(args) => subscribe::pull::pull(args, &client, global, console).await,
        ClientCommand::Ack(args) => subscribe::pull::ack(args, &client, global, console).await,
        ClientCommand::Nack(args) => subscribe::pull::nack(args, &client, global, console).await,
        ClientCommand::Drain(args) => node::drain(args, &client, global, console).await,
        ClientCommand::Decommission(args) => node::decommission(args, &client, global, console).await,
        ClientCommand::Status(args) => status::run(args, &client, global, console).await,
    }
}
