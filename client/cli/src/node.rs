//! `meridian drain` and `meridian decommission`: taking a node out, for a while or for good.

use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use meridian_model::NodeId;
use meridian_sdk::Client;
use meridian_sdk::admin::NodeInfo;
use serde_json::json;
use tokio::time::Instant;

use crate::{Console, Failure, GlobalArgs};

/// How long draining may take where no `--timeout` is given.
const DRAIN_MAX: Duration = Duration::from_secs(60);
/// How long moving every copy may take where no `--timeout` is given.
const MOVE_OUT_MAX: Duration = Duration::from_secs(3_600);
/// How often progress is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Options of `drain` and `decommission`.
#[derive(Clone, Debug, Args)]
pub struct NodeArgs {
    /// The number of the node
    node: u64,
    /// Take it back: the node serves again
    #[arg(long)]
    undo: bool,
}

enum Goal {
    LeadsNothing,
    IsGone,
}

/// What there is to tell of a node: how it ended, in words and as its duty.
struct Told {
    human: String,
    duty: &'static str,
    control_index: Option<u64>,
    took: Option<Duration>,
}

fn tell(node: NodeId, told: Told, global: &GlobalArgs, console: &mut Console) -> Result<(), Failure> {
    let mut json = json!({ "node": node.0, "duty": told.duty });
    if let Some(index) = told.control_index {
        json["control_index"] = index.into();
    }
    if let Some(took) = told.took {
        json["took_ms"] = (took.as_millis() as u64).into();
    }
    Ok(console.result(global.output, &format!("node {} {}", node.0, told.human), &json)?)
}

pub(crate) async fn drain(
    args: NodeArgs,
    client: &Client,
    global: &GlobalArgs,
    console: &mut Console,
) -> Result<(), Failure> {
    let node = NodeId(args.node);
    let control_index = Some(client.admin().drain_node(node, args.undo).await?);
    if args.undo {
        let told = Told { human: "serves again".into(), duty: "serving", control_index, took: None };
        return tell(node, told, global, console);
    }
    let within = global.timeout.unwrap_or(DRAIN_MAX);
    let took = wait(node, Goal::LeadsNothing, within, client, console).await?;
    let human = format!(
        "leads nothing after {:.1} s; stop it now, and let it serve again with `meridian drain {} --undo`",
        took.as_secs_f64(),
        node.0
    );
    tell(node, Told { human, duty: "draining", control_index, took: Some(took) }, global, console)
}

pub(crate) async fn decommission(
    args: NodeArgs,
    client: &Client,
    global: &GlobalArgs,
    console: &mut Console,
) -> Result<(), Failure> {
    let node = NodeId(args.node);
    if !args.undo && listed(client, node).await?.is_none() {
        let human = "is not in the cluster".into();
        return tell(node, Told { human, duty: "gone", control_index: None, took: None }, global, console);
    }
    let control_index = Some(client.admin().decommission_node(node, args.undo).await?);
    if args.undo {
        let told = Told { human: "stays".into(), duty: "serving", control_index, took: None };
        return tell(node, told, global, console);
    }
    let within = global.timeout.unwrap_or(MOVE_OUT_MAX);
    let took = wait(node, Goal::IsGone, within, client, console).await?;
    let human = format!("has left after {:.1} s; stop it now", took.as_secs_f64());
    tell(node, Told { human, duty: "gone", control_index, took: Some(took) }, global, console)
}

async fn listed(client: &Client, node: NodeId) -> Result<Option<NodeInfo>, Failure> {
    let cluster = client.admin().get_cluster(false).await?;
    Ok(cluster.nodes.into_iter().find(|info| info.node == node))
}

/// What is left to do. Asked of the node itself while it answers: it knows best what it leads.
async fn left(client: &Client, node: NodeId, goal: &Goal) -> Result<u64, Failure> {
    let Some(info) = listed(client, node).await? else { return Ok(0) };
    match goal {
        Goal::IsGone => Ok(info.copies.max(1)),
        Goal::LeadsNothing => {
            let own = client.admin().get_cluster_at(&info.client_address, true).await;
            // A node that does not answer leads nothing for long: the others elect.
            let Ok(own) = own else { return Ok(info.leads) };
            Ok(own.groups.iter().filter(|group| group.leader == Some(node)).count() as u64)
        }
    }
}

async fn wait(
    node: NodeId,
    goal: Goal,
    within: Duration,
    client: &Client,
    console: &mut Console,
) -> Result<Duration, Failure> {
    let begun = Instant::now();
    let mut bar: Option<ProgressBar> = None;
    let mut most = 0;
    loop {
        let left = left(client, node, &goal).await?;
        if left == 0 {
            bar.inspect(ProgressBar::finish_and_clear);
            return Ok(begun.elapsed());
        }
        most = most.max(left);
        if console.watched {
            let bar = bar.get_or_insert_with(|| new_bar(&goal));
            bar.set_length(most);
            bar.set_position(most - left);
        }
        if begun.elapsed() > within {
            bar.inspect(ProgressBar::finish_and_clear);
            let what = match goal {
                Goal::LeadsNothing => format!("leads {left} groups still"),
                Goal::IsGone => format!("carries {left} copies still"),
            };
            let message = format!("node {} {what} after {:.0} s", node.0, within.as_secs_f64());
            let hint = "it goes on: repeat the command to wait longer, with --undo to take it back".into();
            return Err(Failure::TooSlow { message, hint });
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn new_bar(goal: &Goal) -> ProgressBar {
    let what = match goal {
        Goal::LeadsNothing => "leaders handed over",
        Goal::IsGone => "copies moved",
    };
    let template = format!("{{bar:40}} {{pos}} of {{len}} {what}, {{elapsed}}");
    let style = ProgressStyle::with_template(&template);
    // The template is fixed; were it wrong, the plain bar would do.
    ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
