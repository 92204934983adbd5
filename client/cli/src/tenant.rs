//! `meridian tenant`.

use clap::Subcommand;
use meridian_sdk::Client;
use serde_json::json;

use crate::{Console, Failure, GlobalArgs};

/// What can be done with tenants.
#[derive(Clone, Debug, Subcommand)]
pub enum TenantCommand {
    /// Create a tenant
    Create {
        /// Its name
        name: String,
    },
    /// List all tenants
    List,
    /// Delete an empty tenant
    Delete {
        /// Its name
        name: String,
    },
}

pub(crate) async fn run(
    command: TenantCommand,
    client: &Client,
    global: &GlobalArgs,
    console: &mut Console,
) -> Result<(), Failure> {
    let admin = client.admin();
    let (human, json) = match command {
        TenantCommand::Create { name } => {
            let control_index = admin.create_tenant(&name).await?;
            (format!("created tenant {name}"), json!({ "tenant": name, "control_index": control_index }))
        }
        TenantCommand::Delete { name } => {
            let control_index = admin.delete_tenant(&name).await?;
            (format!("deleted tenant {name}"), json!({ "tenant": name, "control_index": control_index }))
        }
        TenantCommand::List => {
            let tenants = admin.list_tenants().await?;
            (tenants.join("\n"), json!({ "tenants": tenants }))
        }
    };
    Ok(console.result(global.output, &human, &json)?)
}
