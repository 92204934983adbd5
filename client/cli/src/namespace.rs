//! `meridian namespace`.

use clap::Subcommand;
use meridian_model::name::DEFAULT;
use meridian_sdk::Client;
use serde_json::json;

use crate::{Console, Failure, GlobalArgs};

/// What can be done with namespaces.
#[derive(Clone, Debug, Subcommand)]
pub enum NamespaceCommand {
    /// Create a namespace
    Create {
        /// Its name: NAMESPACE, or TENANT/NAMESPACE
        name: String,
    },
    /// List the namespaces of a tenant
    List {
        /// The tenant
        #[arg(long, default_value = DEFAULT)]
        tenant: String,
    },
    /// Delete an empty namespace
    Delete {
        /// Its name: NAMESPACE, or TENANT/NAMESPACE
        name: String,
    },
}

pub(crate) async fn run(
    command: NamespaceCommand,
    client: &Client,
    global: &GlobalArgs,
    console: &mut Console,
) -> Result<(), Failure> {
    let admin = client.admin();
    let (human, json) = match command {
        NamespaceCommand::Create { name } => {
            let (tenant, namespace) = split(&name);
            let control_index = admin.create_namespace(tenant, namespace).await?;
            let json = json!({ "tenant": tenant, "namespace": namespace, "control_index": control_index });
            (format!("created namespace {tenant}/{namespace}"), json)
        }
        NamespaceCommand::Delete { name } => {
            let (tenant, namespace) = split(&name);
            let control_index = admin.delete_namespace(tenant, namespace).await?;
            let json = json!({ "tenant": tenant, "namespace": namespace, "control_index": control_index });
            (format!("deleted namespace {tenant}/{namespace}"), json)
        }
        NamespaceCommand::List { tenant } => {
            let namespaces = admin.list_namespaces(&tenant).await?;
            (namespaces.join("\n"), json!({ "tenant": tenant, "namespaces": namespaces }))
        }
    };
    Ok(console.result(global.output, &human, &json)?)
}

fn split(name: &str) -> (&str, &str) {
    name.split_once('/').unwrap_or((DEFAULT, name))
}
