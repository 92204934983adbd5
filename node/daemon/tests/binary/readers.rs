//! Readers that ask for much and take little: they hold what the node allows and no more, and others go on after them.

use std::time::Duration;

use meridian_proto::v1::read_service_client::ReadServiceClient;
use meridian_proto::v1::{ReadRequest, ReadResponse};
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};
use tonic_types::StatusExt;

use crate::victim::{Victim, client, request};

const CONNECTIONS: usize = 20;
const READERS_EACH: usize = 40;
/// Bytes that each of these readers takes, of messages of a megabyte.
const TAKEN: u32 = 1_000;
const BUDGET_KIB: u64 = 16 * 1024;

async fn read(channel: Channel) -> Result<Streaming<ReadResponse>, Status> {
    let mut client = ReadServiceClient::new(channel).max_decoding_message_size(16 << 20);
    Ok(client.read(ReadRequest { topic: "t".into(), ..ReadRequest::default() }).await?.into_inner())
}

async fn half_readers(address: &str) -> Vec<Streaming<ReadResponse>> {
    let mut readers = Vec::new();
    for _ in 0..CONNECTIONS {
        let endpoint = Channel::from_shared(format!("http://{address}")).expect("an address");
        let channel = endpoint.initial_stream_window_size(TAKEN).connect().await.expect("it listens");
        for _ in 0..READERS_EACH {
            readers.push(read(channel.clone()).await.expect("it begins"));
        }
    }
    readers
}

/// The first page of a reader with a window of the usual size.
async fn first_page(address: &str) -> Result<usize, Status> {
    let endpoint = Channel::from_shared(format!("http://{address}")).expect("an address");
    let mut pages = read(endpoint.connect().await.expect("it listens")).await?;
    Ok(pages.message().await?.map_or(0, |page| page.batches.len()))
}

#[test]
fn readers_that_stand_still_take_no_more_than_their_budget() {
    let victim = Victim::new(&format!("reading_bytes = {}", BUDGET_KIB * 1024));
    let address = victim.address();
    victim.runtime.block_on(async {
        let mut client = client(&address).await;
        for _ in 0..10 {
            client.publish(request(1_000_000)).await.expect("published");
        }
    });
    let before = victim.kib();
    let readers = victim.runtime.block_on(half_readers(&address));
    std::thread::sleep(Duration::from_secs(1));
    let grown = victim.kib().saturating_sub(before);
    let refused = victim.runtime.block_on(first_page(&address)).expect_err("there is no room");
    println!("{} readers that stand still took {grown} KiB, then: {}", readers.len(), refused.message());
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused:?}");
    assert!(refused.get_details_retry_info().is_some(), "{refused:?}");
    // What a page is read from and encoded into comes on top while it is on its way, and their streams.
    assert!(grown < 4 * BUDGET_KIB, "{grown} KiB");
    victim.runtime.block_on(async { drop(readers) });
    let mut tries = 0;
    while victim.runtime.block_on(first_page(&address)).is_err() {
        tries += 1;
        assert!(tries < 5, "nobody can read although nobody reads");
    }
    victim.survives("readers that stand still", 5 * BUDGET_KIB, ());
}
