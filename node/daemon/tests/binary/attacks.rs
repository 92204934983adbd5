//! A server under attack: each attack is refused or bounded, costs little memory, and a publish still works.
//!
//! The bounds on memory are of the whole process, before and after, attackers still connected.

use std::io::Write;
use std::time::{Duration, Instant};

use meridian_model::UnixMs;
use meridian_proto::requests::pack;
use meridian_proto::v1::publish_service_client::PublishServiceClient;
use meridian_proto::v1::publish_stream_request::Request as Sent;
use meridian_proto::v1::{PlainMessage, PlainMessages, PublishBatch, PublishOpen, PublishStreamRequest};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;
use tonic::transport::Channel;
use tonic_types::StatusExt;

use crate::victim::{Victim, client, request};
use crate::wire::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PING, RST_STREAM, call, connect, end_of, field,
    frame, silent,
};

/// Memory that is not needed any more has gone back to the system by then.
const GIVEN_BACK_MAX: Duration = Duration::from_secs(20);
/// What an attack may cost, where nothing else is said.
const KIB_MAX: u64 = 32 * 1024;
const PUBLISH: &str = "/meridian.v1.PublishService/Publish";
const PUBLISH_STREAM: &str = "/meridian.v1.PublishService/PublishStream";
/// `ENHANCE_YOUR_CALM` (RFC 9113, section 7).
const CALM: u32 = 0xb;

#[test]
fn fifty_thousand_half_open_streams() {
    let victim = Victim::new("");
    let mut stream = connect(&victim.address());
    let head = call(PUBLISH);
    let mut opened = 0;
    for number in 0..50_000u32 {
        if stream.write_all(&frame(HEADERS, END_HEADERS, number * 2 + 1, &head)).is_err() {
            break;
        }
        opened += 1;
    }
    let ended = end_of(&mut stream, Duration::from_secs(3));
    println!("{opened} of 50000 streams written on one connection: {ended:?}");
    assert!(ended.resets > 0 || ended.goaway == Some(CALM) || ended.closed, "{ended:?}");
    victim.survives("half-open streams on one connection", KIB_MAX, stream);
}

#[test]
fn half_open_streams_on_many_connections_take_no_more_than_the_node_allows() {
    let victim = Victim::new("requests_max = 2000\nclient_connections_per_address_max = 64");
    let head = call(PUBLISH_STREAM);
    let mut attackers = Vec::new();
    for _ in 0..50 {
        let mut stream = connect(&victim.address());
        let frames: Vec<u8> =
            (0..1_000u32).flat_map(|number| frame(HEADERS, END_HEADERS, number * 2 + 1, &head)).collect();
        let _ = stream.write_all(&frames);
        attackers.push(stream);
    }
    std::thread::sleep(Duration::from_secs(1));
    let address = victim.address();
    let refused = victim
        .runtime
        .block_on(async { client(&address).await.publish(request(5)).await })
        .expect_err("full");
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused:?}");
    assert!(refused.get_details_retry_info().is_some(), "{refused:?}");
    let grown = victim.kib().saturating_sub(victim.kib_before);
    println!(
        "50000 half-open streams on 50 connections: memory grew by {grown} KiB, then {}",
        refused.message()
    );
    assert!(grown < 4 * KIB_MAX, "{grown} KiB");
    drop(attackers);
    let begun = Instant::now();
    while victim.kib().saturating_sub(victim.kib_before) > KIB_MAX && begun.elapsed() < GIVEN_BACK_MAX {
        std::thread::sleep(Duration::from_millis(100));
    }
    println!("the memory was given back after {:?}", begun.elapsed());
    victim.survives("the same, once they have gone", KIB_MAX, ());
}

#[test]
fn two_thousand_idle_connections() {
    let victim = Victim::new("client_connections_max = 600\nidle_ms_max = 3000");
    let mut idle: Vec<_> = (0..2_000).map(|_| connect_or_not(&victim.address())).collect();
    std::thread::sleep(Duration::from_millis(500));
    let refused = idle.iter_mut().flatten().filter_map(|stream| {
        let ended = end_of(stream, Duration::from_millis(1));
        ended.closed.then_some(ended)
    });
    let refused: Vec<_> = refused.collect();
    let told = refused.iter().filter(|ended| ended.goaway == Some(CALM)).count();
    println!("2000 idle connections from one address: {} hung up on, {told} of them told why", refused.len());
    assert!(refused.len() >= 2_000 - 256, "{}", refused.len());
    let grown = victim.kib().saturating_sub(victim.kib_before);
    assert!(grown < KIB_MAX, "{grown} KiB");
    // Those that were let in are sent away when they have asked for nothing long enough.
    let begun = Instant::now();
    for stream in idle.iter_mut().flatten() {
        let ended = end_of(stream, Duration::from_secs(10).saturating_sub(begun.elapsed()));
        assert!(ended.closed, "after {:?}", begun.elapsed());
    }
    println!("the idle ones gone after {:?}", begun.elapsed());
    victim.survives("idle connections", KIB_MAX, idle);
}

fn connect_or_not(address: &str) -> Option<std::net::TcpStream> {
    let stream = silent(address);
    stream.set_read_timeout(Some(Duration::from_millis(20))).expect("set");
    let said = [crate::wire::PREFACE, &frame(crate::wire::SETTINGS, 0, 0, &[])].concat();
    // Hung up on before it said anything: it is still read for what it was told.
    let _ = (&stream).write_all(&said);
    Some(stream)
}

#[test]
fn half_open_connections() {
    let victim = Victim::new("handshake_ms_max = 1000");
    let mut silent: Vec<_> = (0..200).map(|_| silent(&victim.address())).collect();
    for stream in silent.iter_mut().skip(100) {
        stream.write_all(b"PRI * HT").expect("sent");
    }
    let begun = Instant::now();
    for stream in &mut silent {
        let ended = end_of(stream, Duration::from_secs(8).saturating_sub(begun.elapsed()));
        assert!(ended.closed, "after {:?}", begun.elapsed());
    }
    println!("200 half-open connections gone after {:?}", begun.elapsed());
    assert!(begun.elapsed() < Duration::from_secs(5));
    victim.survives("half-open connections", KIB_MAX, silent);
}

/// Sends this over and over until the connection ends.
fn flood(victim: &Victim, name: &str, opening: &[u8], piece: &[u8], pieces: usize) {
    let mut stream = connect(&victim.address());
    stream.write_all(opening).expect("sent");
    let begun = Instant::now();
    let mut sent = 0;
    while sent < pieces && stream.write_all(piece).is_ok() {
        sent += 1;
    }
    let ended = end_of(&mut stream, Duration::from_secs(5));
    println!("{name}: {sent} pieces written in {:?}: {ended:?}", begun.elapsed());
    assert!(ended.closed || ended.goaway.is_some(), "{name}: {ended:?}");
    victim.survives(name, KIB_MAX, stream);
}

#[test]
fn a_flood_of_pings_and_of_settings() {
    let victim = Victim::new("");
    flood(&victim, "PING flood", &[], &frame(PING, 0, 0, &[7; 8]), 200_000);
    let pong = frame(PING, 1, 0, &[7; 8]);
    flood(&victim, "flood of PING answers to nothing", &[], &pong, 200_000);
    flood(&victim, "SETTINGS flood", &[], &frame(crate::wire::SETTINGS, 0, 0, &[]), 200_000);
    flood(&victim, "flood of unknown frames", &[], &frame(0xee, 0, 0, &[7; 8]), 200_000);
}

#[test]
fn rapid_reset() {
    let victim = Victim::new("");
    let head = call(PUBLISH);
    let mut stream = connect(&victim.address());
    let mut sent = 0;
    for number in 0..50_000u32 {
        let id = number * 2 + 1;
        let pair = [frame(HEADERS, END_HEADERS, id, &head), frame(RST_STREAM, 0, id, &8u32.to_be_bytes())];
        if stream.write_all(&pair.concat()).is_err() {
            break;
        }
        sent += 1;
    }
    let ended = end_of(&mut stream, Duration::from_secs(5));
    println!("rapid reset: {sent} of 50000 written: {ended:?}");
    assert!(ended.closed || ended.goaway == Some(CALM), "{ended:?}");
    victim.survives("rapid reset", KIB_MAX, stream);
}

#[test]
fn a_flood_of_continuations_and_of_empty_data() {
    let victim = Victim::new("");
    let opening = frame(HEADERS, 0, 1, &call(PUBLISH));
    let more = frame(CONTINUATION, 0, 1, &field("x-more", &"x".repeat(1_000)));
    flood(&victim, "CONTINUATION flood", &opening, &more, 50_000);
    let empty = frame(CONTINUATION, 0, 1, &[]);
    flood(&victim, "flood of empty CONTINUATIONs", &opening, &empty, 500_000);
    let opening = frame(HEADERS, END_HEADERS, 1, &call(PUBLISH));
    flood(&victim, "empty DATA flood", &opening, &frame(DATA, 0, 1, &[]), 500_000);
}

#[test]
fn thirty_kilobytes_of_headers_are_refused() {
    let victim = Victim::new("");
    let mut stream = connect(&victim.address());
    let head = [call(PUBLISH), field("x-large", &"x".repeat(30_000))].concat();
    let (first, rest) = head.split_at(16_000);
    let frames = [frame(HEADERS, END_STREAM, 1, first), frame(CONTINUATION, END_HEADERS, 1, rest)].concat();
    stream.write_all(&frames).expect("sent");
    let ended = end_of(&mut stream, Duration::from_secs(1));
    println!("30 KB of headers: {ended:?}");
    assert!(ended.refusals + ended.resets > 0 || ended.goaway.is_some() || ended.closed, "{ended:?}");
    victim.survives("30 KB of headers", KIB_MAX, stream);
    let address = victim.address();
    let status = victim.runtime.block_on(async {
        let mut call = tonic::Request::new(request(5));
        call.metadata_mut().insert("x-large", "x".repeat(30_000).parse().expect("ASCII"));
        client(&address).await.publish(call).await
    });
    println!("30 KB of headers, said well: {status:?}");
    status.expect_err("refused");
}

#[test]
fn messages_too_large_or_without_sense_are_refused_with_their_code() {
    let victim = Victim::new("");
    let address = victim.address();
    for megabytes in [5, 9, 60] {
        let sent =
            victim.runtime.block_on(async { client(&address).await.publish(request(megabytes << 20)).await });
        let status = sent.expect_err("refused");
        println!("a message of {megabytes} MiB: {:?}: {}", status.code(), status.message());
        assert!(matches!(status.code(), Code::InvalidArgument | Code::OutOfRange), "{status:?}");
    }
    for (path, streamed) in [(PUBLISH, false), (PUBLISH_STREAM, true)] {
        let status = victim.runtime.block_on(garbage(&address, path));
        println!("no protobuf, streamed {streamed}: {:?}: {}", status.code(), status.message());
        assert_eq!(status.code(), Code::Internal, "{status:?}");
    }
    victim.survives("messages too large or without sense", KIB_MAX, ());
}

/// Sends bytes that are no protobuf, well framed.
async fn garbage(address: &str, path: &str) -> tonic::Status {
    let stream = tokio::net::TcpStream::connect(address).await.expect("it listens");
    let (mut sender, connection) = h2::client::handshake(stream).await.expect("HTTP/2");
    tokio::spawn(connection);
    let request = http::Request::post(format!("http://{address}{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())
        .expect("a request");
    let (answer, mut body) = sender.send_request(request, false).expect("sent");
    body.send_data([&[0, 0, 0, 0, 64][..], &[0xff; 64]].concat().into(), true).expect("sent");
    let mut answer = answer.await.expect("answered");
    if let Some(status) = tonic::Status::from_header_map(answer.headers()) {
        return status;
    }
    while let Some(data) = answer.body_mut().data().await {
        data.expect("sound");
    }
    let trailers = answer.body_mut().trailers().await.expect("sound").expect("trailers");
    tonic::Status::from_header_map(&trailers).expect("a status")
}

/// Opens a call and sends a message of 4 MiB, all but the end, on each of so many connections.
fn unfinished(victim: &Victim, path: &str, connections: usize) -> Vec<std::net::TcpStream> {
    let mut attackers = Vec::new();
    for _ in 0..connections {
        let mut stream = connect(&victim.address());
        // With its settings acknowledged the server's larger windows count.
        end_of(&mut stream, Duration::from_millis(50));
        let _ = stream.write_all(&frame(crate::wire::SETTINGS, 1, 0, &[]));
        let head = frame(HEADERS, END_HEADERS, 1, &call(path));
        let mut opening = open_of(path);
        opening.push(0);
        opening.extend((4u32 << 20).to_be_bytes());
        let _ = stream.write_all(&[head, frame(DATA, 0, 1, &opening)].concat());
        for _ in 0..60 {
            if stream.write_all(&frame(DATA, 0, 1, &[7; 16_000])).is_err() {
                break;
            }
        }
        attackers.push(stream);
    }
    attackers
}

/// What comes before the first batch of a stream, framed: its topic is `t`.
fn open_of(path: &str) -> Vec<u8> {
    match path == PUBLISH {
        true => Vec::new(),
        false => vec![0, 0, 0, 0, 5, 0x0a, 3, 0x0a, 1, b't'],
    }
}

#[test]
fn requests_that_are_never_finished_take_no_more_than_their_budget() {
    let victim = Victim::new("receiving_bytes = 16777216");
    let attackers = unfinished(&victim, PUBLISH, 20);
    std::thread::sleep(Duration::from_secs(1));
    let address = victim.address();
    let refused = victim.runtime.block_on(async { client(&address).await.publish(request(600_000)).await });
    let refused = refused.expect_err("the budget is taken");
    println!(
        "20 requests of 4 MiB that never end, in a budget of 16 MiB: {:?}: {}",
        refused.code(),
        refused.message()
    );
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused:?}");
    assert!(refused.get_details_retry_info().and_then(|retry| retry.retry_delay).is_some(), "{refused:?}");
    let grown = victim.kib().saturating_sub(victim.kib_before);
    assert!(grown < 2 * KIB_MAX, "{grown} KiB");
    drop(attackers);
    std::thread::sleep(Duration::from_millis(500));
    victim.survives("requests that are never finished", 2 * KIB_MAX, ());
}

#[test]
fn streams_whose_messages_are_never_finished_give_their_bytes_back() {
    const HELD_MAX: Duration = Duration::from_secs(10);
    let victim = Victim::new("receiving_bytes = 16777216\nrequest_ms_max = 10000");
    let begun = Instant::now();
    let attackers = unfinished(&victim, PUBLISH_STREAM, 20);
    let address = victim.address();
    let publish =
        || victim.runtime.block_on(async { client(&address).await.publish(request(600_000)).await });
    let refused = publish().expect_err("the budget is taken");
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused:?}");
    while publish().is_err() {
        assert!(begun.elapsed() < 4 * HELD_MAX, "they hold them still");
        std::thread::sleep(Duration::from_millis(100));
    }
    println!("20 unfinished messages gave their bytes back after {:?}", begun.elapsed());
    assert!(begun.elapsed() >= HELD_MAX, "before their time");
    victim.survives("streams whose messages are never finished", 2 * KIB_MAX, attackers);
}

/// A batch has its place among the answers before the next one is read.
#[test]
fn a_stream_whose_answers_are_never_read_is_read_no_further() {
    const BATCHES: u64 = 200_000;
    let victim = Victim::new("");
    let address = victim.address();
    let message = PlainMessage { body: vec![7; 100].into(), ..PlainMessage::default() };
    let batch = pack(PlainMessages { messages: vec![message] }, UnixMs(1)).expect("a batch");
    let (sent, held) = victim.runtime.block_on(async {
        let endpoint = Channel::from_shared(format!("http://{address}")).expect("an address");
        let channel = endpoint.initial_stream_window_size(1_000).connect().await.expect("it listens");
        let (requests, outgoing) = mpsc::channel(1);
        let open = PublishOpen { topic: "t".into(), ..PublishOpen::default() };
        let say = |request| PublishStreamRequest { request: Some(request) };
        requests.send(say(Sent::Open(open))).await.expect("queued");
        let mut client = PublishServiceClient::new(channel);
        let answers = client.publish_stream(ReceiverStream::new(outgoing)).await.expect("opened");
        let mut sent = 0;
        while sent < BATCHES {
            let next = PublishBatch { correlation: sent, batch: batch.clone(), ..PublishBatch::default() };
            let taken = requests.send(say(Sent::Batch(next)));
            if tokio::time::timeout(Duration::from_secs(3), taken).await.is_err() {
                break;
            }
            sent += 1;
        }
        (sent, (requests, answers))
    });
    println!("{sent} batches were taken from a stream whose answers nobody reads");
    assert!(sent < BATCHES, "it is read for ever");
    victim.survives("a stream whose answers are never read", KIB_MAX, held);
}
