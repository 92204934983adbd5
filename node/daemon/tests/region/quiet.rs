//! Groups where nothing happens: their leader stays in office without being asked, what comes is taken at once, and
//! whatever ends the quiet is noticed in time.

use std::time::{Duration, Instant};

use meridian_sdk::admin::TopicInfo;

use crate::cluster::{ELECTION_MS_MAX, NODES, Region};
use crate::patience::until;
use crate::producer::Sender;

/// No leader of a quiet group is replaced later than this: two of its beats and a half are missed first where only its
/// copy stops.
const REPLACED_MAX: Duration = Duration::from_secs(12);

struct Quiet {
    region: Region,
    topic: TopicInfo,
    sender: Sender,
    leader: u64,
}

impl Quiet {
    /// A region with one topic, whose group has taken one message and then rests.
    async fn start() -> Self {
        let region = Region::start().await;
        let topic = region.topic("quiet").await;
        region.make_leader(1, &topic).await;
        let sender = Sender::open(&region.address(1), &topic.name.resource(), "").await.expect("opens");
        let mut quiet = Self { region, topic, sender, leader: 1 };
        quiet.publish().await;
        quiet.rests().await;
        quiet
    }

    async fn publish(&mut self) {
        let batch = self.sender.batch(1, 64);
        let address = self.region.address(self.leader);
        self.sender.publish(&address, batch).await.expect("stored at the first try");
    }

    /// Waits until every replica that runs knows that the group is quiet, and the lease has run out.
    async fn rests(&self) {
        until("the group is quiet, and its leader's lease has run out", async || {
            let quiet =
                |node: &u64| self.region.group(*node, &self.topic).is_some_and(|group| group.is_quiet());
            let leader = self.region.group(self.leader, &self.topic)?;
            let unasked = leader.unanswered()? > Duration::from_millis(ELECTION_MS_MAX);
            (unasked && self.region.running().iter().all(quiet)).then_some(())
        })
        .await;
    }

    fn term(&self) -> u64 {
        self.region.group(self.leader, &self.topic).expect("it runs").positions().0
    }

    /// Waits until another leader takes what comes.
    async fn replaced(&mut self) -> Duration {
        let began = Instant::now();
        let old = self.leader;
        self.leader = until("another one leads", async || {
            let leads =
                |node: &u64| self.region.group(*node, &self.topic).is_some_and(|group| group.is_leader());
            self.region.running().into_iter().filter(|node| *node != old).find(leads)
        })
        .await;
        let took = began.elapsed();
        self.publish().await;
        took
    }
}

/// LOG-2: a quiet group is no slower to take a message than to be asked once whether it still has its leader.
#[tokio::test(flavor = "multi_thread")]
async fn a_quiet_group_takes_what_comes_at_the_first_try() {
    let mut quiet = Quiet::start().await;
    let term = quiet.term();
    for _ in 0..3 {
        quiet.publish().await;
        quiet.rests().await;
    }
    assert_eq!(quiet.term(), term, "nobody was elected meanwhile");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_comes_back_to_a_quiet_group_finds_its_leader_and_unseats_nobody() {
    let mut quiet = Quiet::start().await;
    let term = quiet.term();
    quiet.region.kill(2).await;
    quiet.region.start_node(2).await;
    until("the replica knows its leader", async || {
        quiet.region.group(2, &quiet.topic)?.leader().filter(|leader| leader.0 == 1)
    })
    .await;
    quiet.rests().await;
    assert_eq!(quiet.term(), term, "nobody was elected meanwhile");
    quiet.publish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quiet_group_whose_leader_dies_elects_another_one() {
    let mut quiet = Quiet::start().await;
    quiet.region.kill(1).await;
    let took = quiet.replaced().await;
    println!("another one led after {took:?}");
    assert!(took < REPLACED_MAX, "{took:?}");
}

/// The node lives and says so, but its copy of the group does not.
#[tokio::test(flavor = "multi_thread")]
async fn a_quiet_group_whose_leading_copy_stops_has_a_leader_again() {
    let quiet = Quiet::start().await;
    let group = quiet.region.group(1, &quiet.topic).expect("it runs");
    group.shutdown().await;
    let began = Instant::now();
    until("a leader takes what comes", async || {
        let batch = quiet.sender.batch_at(quiet.sender.next, 1, 64);
        for node in NODES {
            if quiet.sender.publish(&quiet.region.address(node), batch.clone()).await.is_ok() {
                return Some(());
            }
        }
        None
    })
    .await;
    println!("a leader took it after {:?}", began.elapsed());
    assert!(began.elapsed() < 2 * REPLACED_MAX, "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_leader_of_a_quiet_group_that_is_left_alone_says_so() {
    let mut quiet = Quiet::start().await;
    quiet.region.kill(2).await;
    quiet.region.kill(3).await;
    until("it no longer calls itself leader", async || {
        quiet.region.status(1, &quiet.topic).await?.leader.is_none().then_some(())
    })
    .await;
    let batch = quiet.sender.batch_at(quiet.sender.next, 1, 64);
    let address = quiet.region.address(1);
    let published = quiet.sender.publish(&address, batch);
    let refused = tokio::time::timeout(crate::producer::HANG, published).await.expect("it answers");
    assert!(refused.is_err_and(|failure| failure.retryable), "there is no quorum");
}
