//! NATS JetStream with three replicas, on the same machine and disk.

mod load;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use async_nats::jetstream::stream;
use serde::Serialize;

use crate::child::{self, Server, free_ports};
pub(crate) use load::{Bodies, Shape};

const SERVERS: usize = 3;
const READY_MAX: Duration = Duration::from_secs(60);

/// A `nats-server` and how it treats the disk.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Variant {
    pub(crate) program: PathBuf,
    pub(crate) version: String,
    /// `sync_interval: always`: an ack waits for the disk. Otherwise the default: synced every two minutes.
    pub(crate) sync_always: bool,
}

/// What one load on it came to.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Outcome {
    pub(crate) messages: String,
    pub(crate) streams: usize,
    pub(crate) publishers: usize,
    pub(crate) window: usize,
    pub(crate) messages_per_s: f64,
    pub(crate) mb_per_s: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) errors: u64,
    pub(crate) servers_cpu_ns_per_byte: f64,
    pub(crate) client_cpu_ns_per_byte: f64,
}

impl Variant {
    /// Every way in which the servers found here are measured.
    pub(crate) fn found(named: &[PathBuf]) -> Vec<Variant> {
        let mut programs: Vec<PathBuf> = named.to_vec();
        if named.is_empty() {
            let path = std::env::var_os("PATH").unwrap_or_default();
            let own = std::env::home_dir().map(|home| home.join("go/bin"));
            let folders = std::env::split_paths(&path).chain(own).chain([PathBuf::from("/usr/sbin")]);
            programs.extend(folders.map(|folder| folder.join("nats-server")).filter(|file| file.is_file()));
        }
        let mut variants: Vec<Variant> = Vec::new();
        for program in programs {
            let Some(version) = version(&program) else { continue };
            if variants.iter().any(|variant| variant.version == version) {
                continue;
            }
            let knows_always = !["v1.", "v2.0.", "v2.9."].iter().any(|old| version.starts_with(old));
            variants.push(Variant { program: program.clone(), version: version.clone(), sync_always: false });
            if knows_always {
                variants.push(Variant { program, version, sync_always: true });
            }
        }
        variants
    }

    pub(crate) fn name(&self) -> String {
        let sync = if self.sync_always { "sync_interval always" } else { "default" };
        format!("NATS {}, {sync}", self.version)
    }
}

fn version(program: &Path) -> Option<String> {
    let output = Command::new(program).arg("--version").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    text.split_whitespace().last().map(str::to_string)
}

/// Three servers. Dropping it kills them.
pub(crate) struct Nats {
    servers: Vec<Server>,
    addresses: Vec<String>,
}

impl Nats {
    pub(crate) async fn start(variant: &Variant, folder: &Path) -> Result<Self> {
        let ports: [u16; SERVERS * 2] = free_ports()?;
        let (clients, routes) = ports.split_at(SERVERS);
        let peers: Vec<String> = routes.iter().map(|port| format!("\"nats://127.0.0.1:{port}\"")).collect();
        let mut servers = Vec::new();
        for number in 0..SERVERS {
            let own = folder.join(format!("nats-{}", number + 1));
            std::fs::create_dir_all(&own)?;
            let sync = if variant.sync_always { "sync_interval: always" } else { "" };
            let config = format!(
                "server_name: n{number}\nlisten: \"127.0.0.1:{}\"\n\
                 jetstream {{ store_dir: \"{}\", max_file_store: 40GB\n{sync} }}\n\
                 cluster {{ name: bench, listen: \"127.0.0.1:{}\", routes: [{}] }}\n",
                clients[number],
                own.join("data").display(),
                routes[number],
                peers.join(", ")
            );
            let file = own.join("nats.conf");
            std::fs::write(&file, config)?;
            let file = file.to_str().context("a path that is not UTF-8")?;
            servers.push(Server::start("nats-server", &variant.program, &["-c", file], &own.join("log"))?);
        }
        for (server, port) in servers.iter_mut().zip(clients) {
            let listens = || std::net::TcpStream::connect(("127.0.0.1", *port)).is_ok();
            server.until(READY_MAX, listens).await?;
        }
        let addresses = clients.iter().map(|port| format!("nats://127.0.0.1:{port}")).collect();
        Ok(Self { servers, addresses })
    }

    /// Makes streams, publishes to them in turn, and deletes them.
    pub(crate) async fn load(&self, shape: &Shape) -> Result<Outcome> {
        let client = async_nats::connect(&self.addresses).await?;
        let context = async_nats::jetstream::new(client);
        let mut names = Vec::new();
        for number in 0..shape.streams {
            let name = format!("bench-{number}");
            self.create(&context, &name).await?;
            names.push(name);
        }
        let cpu = || self.servers.iter().map(Server::cpu_s).sum::<f64>();
        let (servers_before, client_before) = (cpu(), child::own_cpu_s());
        let loaded = load::run(&self.addresses, shape, &names).await;
        let (servers, own) = (cpu() - servers_before, child::own_cpu_s() - client_before);
        for name in &names {
            context.delete_stream(name).await?;
        }
        let loaded = loaded?;
        Ok(Outcome {
            servers_cpu_ns_per_byte: servers * 1e9 / loaded.bytes_in_all as f64,
            client_cpu_ns_per_byte: own * 1e9 / loaded.bytes_in_all as f64,
            ..loaded.outcome
        })
    }

    /// The servers need a while to agree on who leads before a stream can be made.
    async fn create(&self, context: &async_nats::jetstream::Context, name: &str) -> Result<()> {
        let mut why = None;
        for _ in 0..60 {
            let config = stream::Config {
                name: name.into(),
                subjects: vec![name.into()],
                storage: stream::StorageType::File,
                num_replicas: SERVERS,
                ..stream::Config::default()
            };
            match context.create_stream(config).await {
                Ok(_) => return Ok(()),
                Err(error) => why = Some(error),
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        bail!("NATS makes no stream with three replicas: {why:?}")
    }

    pub(crate) async fn stop(self) -> Result<()> {
        for server in self.servers {
            server.stop().await?;
        }
        Ok(())
    }
}
