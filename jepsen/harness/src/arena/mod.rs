//! One test: a cluster, its clients, its faults, its history; and the evidence, if it fails.

mod clients_log;
mod judged;
mod plan;

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use meridian_checker::{Options, Promise};
use meridian_history::{Header, History, MonotonicClock, Recorder};
use meridian_sdk::Retention;
use meridian_sdk::admin::NewTopic;
use tokio::sync::{Mutex as AsyncMutex, MutexGuard as AsyncMutexGuard};

use crate::chance::Chance;
use crate::cluster::{Cluster, binary, binary_age};
use crate::fault::Faults;
use crate::probe;
use crate::run::Run;
use crate::wait;
use crate::workload::{Counts, Looked, Rescan, Spec, Workload, rescan};

pub use judged::Judged;
pub use plan::{Plan, count, large_run, power_can_be_cut};

/// How long clients may take to finish, and replicas to converge, after everything is healed.
const HEALED_MAX: Duration = Duration::from_secs(90);
/// How long a topic may take to get its leaders.
const LEADERS_MAX: Duration = Duration::from_secs(30);

/// One run at a time: two clusters on a small machine would measure each other.
static EXCLUSIVE: AsyncMutex<()> = AsyncMutex::const_new(());

/// What clients did that have finished in a region where everything is healed.
#[derive(Debug)]
pub struct Worked {
    topic: String,
    partitions: u32,
    counts: Counts,
    revived: u32,
}

/// A test under way. Dropped before [`Arena::finish`], it keeps everything as evidence and says where.
#[derive(Debug)]
pub struct Arena {
    plan: Plan,
    begun: Instant,
    /// The cluster.
    pub cluster: Arc<Cluster>,
    /// The hand that puts faults in.
    pub faults: Faults,
    /// The history.
    pub recorder: Recorder,
    run: Arc<Run>,
    recoveries: Mutex<Vec<Duration>>,
    acked: u64,
    searched: u64,
    finished: bool,
    _alone: AsyncMutexGuard<'static, ()>,
}

impl Arena {
    /// Probes the machine, makes and starts the cluster, begins the history.
    ///
    /// # Errors
    /// If the machine lacks what the plan needs, or the cluster does not form.
    pub async fn open(plan: Plan) -> Result<Self> {
        let alone = EXCLUSIVE.lock().await;
        let begun = Instant::now();
        probe::require(&plan.needs)?;
        let run = Arc::new(Run::begin(plan.name)?);
        let header = Header::new(Some(plan.seed))
            .with_option("name", plan.name)
            .with_option("setup", format!("{:?}", plan.setup))
            .with_option("binary", binary()?.display())
            .with_option("binary_age_s", binary_age()?.as_secs());
        clients_log::write_to(&run.folder().join("clients.log"))?;
        let out = File::create(run.folder().join("history.jsonl"))?;
        let recorder = Recorder::new(out, &header, MonotonicClock::start())?;
        say(&format!("{}: seed {} in {}", plan.name, plan.seed, run.folder().display()));
        let evidence = Evidence(Some(run.clone()));
        let cluster = Cluster::start(run.clone(), plan.setup.clone()).await?;
        evidence.not_needed();
        let faults = Faults::new(cluster.clone(), recorder.clone());
        Ok(Self {
            plan,
            begun,
            cluster,
            faults,
            recorder,
            run,
            recoveries: Mutex::default(),
            acked: 0,
            searched: 0,
            finished: false,
            _alone: alone,
        })
    }

    /// The choices of this test, by label.
    pub fn chance(&self, label: &str) -> Chance {
        Chance::new(self.plan.seed).fork(label)
    }

    /// Creates a topic and waits until each partition has a leader.
    ///
    /// # Errors
    /// If it cannot be created or a partition stays without a leader.
    pub async fn topic(&self, name: &str, partitions: u32, retention: Retention) -> Result<()> {
        self.new_topic(NewTopic { retention, ..NewTopic::new(name, partitions) }).await
    }

    /// The same with everything said.
    ///
    /// # Errors
    /// As [`Arena::topic`].
    pub async fn new_topic(&self, topic: NewTopic) -> Result<()> {
        let (name, partitions) = (topic.name.clone(), topic.partitions);
        // A seed makes request ids, and two requests must not share one.
        let seed = self.chance(&name).between(0, u64::MAX);
        self.cluster.client(seed)?.admin().create_topic(topic).await?;
        for partition in 0..partitions {
            self.cluster.await_leader(&name, partition, LEADERS_MAX).await?;
        }
        Ok(())
    }

    /// Sets clients to work on a topic.
    pub fn workload(&self, topic: &str, partitions: u32, spec: &Spec) -> Workload {
        let chance = self.chance("workload");
        Workload::start(self.cluster.clone(), self.recorder.clone(), topic, partitions, spec, &chance)
    }

    /// Waits until clients make progress again, and notes how long that took since `since`.
    ///
    /// # Errors
    /// If they do not in time.
    pub async fn recovered(&self, workload: &Workload, since: Instant) -> Result<Duration> {
        workload.tally().await_acks(20, HEALED_MAX).await?;
        let took = since.elapsed();
        self.recoveries.lock().unwrap_or_else(PoisonError::into_inner).push(took);
        Ok(took)
    }

    /// Starts a damaged node as often as it takes until its replica holds everything that is acked.
    /// Returns how often it ended by itself.
    ///
    /// # Errors
    /// If it serves wrong bytes, or does not become whole in time.
    pub async fn await_whole(&self, workload: &Workload, id: u64, within: Duration) -> Result<u32> {
        let begun = Instant::now();
        let mut exits = 0;
        loop {
            if !self.cluster.node(id)?.is_running() {
                exits += 1;
                if self.cluster.start_node(id).await.is_err() {
                    ensure!(begun.elapsed() < within, "node {id} does not stay up");
                    continue;
                }
            }
            let looked = workload.look_at(id, &mut Looked::default(), Duration::from_secs(10)).await;
            match looked {
                Ok(_) => return Ok(exits),
                Err(error) if error.to_string().contains("wrong bytes") => return Err(error),
                Err(error) if begun.elapsed() >= within => return Err(error),
                Err(_) => {}
            }
        }
    }

    /// Runs `meridian recover` for a node that is down.
    ///
    /// # Errors
    /// With what it said, if it refuses.
    pub fn recover(&self, id: u64, options: &[&str]) -> Result<String> {
        self.offline("recover", id, options)
    }

    /// Runs a command of `meridian` on the data of a node that is down.
    ///
    /// # Errors
    /// With what it said, if it refuses.
    pub fn offline(&self, command: &str, id: u64, options: &[&str]) -> Result<String> {
        let config = self.cluster.node(id)?.file("toml");
        let (binary, config) = (binary()?.display().to_string(), config.display().to_string());
        crate::shell::run(&binary, &[&[command, "--config", &config], options].concat())
    }

    /// Waits until every partition has so many voters and nobody is still catching up.
    ///
    /// # Errors
    /// If one has not in time.
    pub async fn await_voters(&self, topic: &str, partitions: u32, voters: usize) -> Result<()> {
        for partition in 0..partitions {
            let what = format!("{voters} voters in {topic}[{partition}]");
            wait::until(&what, HEALED_MAX, async || {
                let (_, group) = self.cluster.leader(topic, partition).await.ok()?;
                (group.voter_nodes.len() == voters && group.learner_nodes.is_empty()).then_some(())
            })
            .await?;
        }
        Ok(())
    }

    /// Heals everything, lets the clients finish, rescans every replica, and has the history judged.
    ///
    /// # Errors
    /// If a node does not come back or a client does not finish; what the replicas hold is for the judge.
    pub async fn conclude(&mut self, workload: Workload, options: &Options) -> Result<Judged> {
        let worked = self.heal(workload, options).await?;
        self.examine(worked, options).await
    }

    /// Heals everything and lets the clients finish.
    ///
    /// # Errors
    /// If a node does not come back or a client does not finish.
    pub async fn heal(&mut self, workload: Workload, options: &Options) -> Result<Worked> {
        if self.plan.setup.placement == crate::net::Placement::Namespaces {
            self.cluster.network().cut(&[])?;
        }
        let revived = self.cluster.revive().await?;
        let (topic, partitions) = (workload.topic().to_owned(), workload.partitions());
        if options.demanded.contains(&Promise::Log6) {
            // A short run may have had its openings in the way of its faults; healed, they succeed.
            workload.tally().await_opening(HEALED_MAX).await?;
        }
        let stopped = workload.stop(HEALED_MAX).await;
        if stopped.is_err() {
            std::fs::write(self.run.folder().join("testimony.txt"), self.cluster.testimony(&topic).await)?;
        }
        let counts = stopped?;
        self.acked += counts.acked;
        Ok(Worked { topic, partitions, counts, revived })
    }

    /// Rescans every replica, and has the history judged. Nothing is recorded after it.
    ///
    /// # Errors
    /// If no client can be made or the history is not whole.
    pub async fn examine(&mut self, worked: Worked, options: &Options) -> Result<Judged> {
        let Worked { topic, partitions, counts, revived } = worked;
        let scanned = rescan(&self.cluster, &self.recorder, &topic, partitions, HEALED_MAX).await?;
        let judged = self.judge(options, counts, scanned, revived)?;
        self.searched += judged.searched();
        Ok(judged)
    }

    fn judge(&self, options: &Options, counts: Counts, rescan: Rescan, revived: u32) -> Result<Judged> {
        self.recorder.finish()?;
        let history = self.history()?;
        let report = meridian_checker::check(&history, options);
        let judged = Judged { report, counts, rescan, faults: self.faults.counts(), revived };
        std::fs::write(self.run.folder().join("report.json"), serde_json::to_vec_pretty(&judged.to_json())?)?;
        std::fs::write(self.run.folder().join("report.txt"), judged.report.to_string())?;
        Ok(judged)
    }

    /// The history as it was written so far.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn history(&self) -> Result<History> {
        let file = self.run.folder().join("history.jsonl");
        let read = File::open(&file).with_context(|| format!("reading {}", file.display()))?;
        Ok(History::read(std::io::BufReader::new(read))?)
    }

    /// Where history, report and logs lie.
    pub fn folder(&self) -> PathBuf {
        self.run.folder().to_owned()
    }

    /// Keeps the folder even though the test passes.
    pub fn keep(&self) {
        self.run.keep();
    }

    /// The test is over and passed: prints its figures, removes its traces.
    pub fn finish(mut self) {
        self.finished = true;
        let faults: Vec<String> =
            self.faults.counts().iter().map(|(name, n)| format!("{name} {n}")).collect();
        let recoveries = self.recoveries.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let worst = recoveries.iter().max().map_or("-".into(), |d| format!("{:.2} s", d.as_secs_f64()));
        let mean = recoveries.iter().sum::<Duration>().as_secs_f64() / recoveries.len().max(1) as f64;
        say(&format!(
            "{}: passed; acked {}; searched {} operations; faults [{}]; recoveries {} (mean {mean:.2} s, worst {worst}); took {:.1} s of {} s",
            self.plan.name,
            self.acked,
            self.searched,
            faults.join(", "),
            recoveries.len(),
            self.begun.elapsed().as_secs_f64(),
            self.plan.budget.as_secs(),
        ));
    }

    /// Fails unless the judge found nothing wrong and no application saw an error.
    ///
    /// # Errors
    /// With the report.
    pub fn expect_pass(&self, judged: &Judged) -> Result<()> {
        ensure!(judged.report.is_pass(), "{}\n{:#?}", judged.report, judged.rescan.problems);
        ensure!(judged.rescan.chains > 1, "no hash chains were compared after the last scan");
        ensure!(judged.rescan.problems.is_empty(), "replicas: {:#?}", judged.rescan.problems);
        ensure!(judged.counts.sdk_errors.is_empty(), "applications saw {:#?}", judged.counts.sdk_errors);
        Ok(())
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        if !self.finished {
            drop(Evidence(Some(self.run.clone())));
        }
    }
}

/// Keeps a run's folder unless told that it is not needed.
struct Evidence(Option<Arc<Run>>);

impl Evidence {
    fn not_needed(mut self) {
        self.0 = None;
    }
}

impl Drop for Evidence {
    fn drop(&mut self) {
        if let Some(run) = &self.0 {
            run.keep();
            say(&format!(
                "FAILED: seed, configuration, logs, data and history are in {}",
                run.folder().display()
            ));
        }
    }
}

/// A line for people, past the capture of the test framework.
pub fn say(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}
