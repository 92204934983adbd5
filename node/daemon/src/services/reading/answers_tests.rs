//! Answers of messages, over logs whose batches are much larger decoded than stored.

use std::sync::Arc;

use futures::StreamExt;
use meridian_commitlog::memory::MemoryLog;
use meridian_commitlog::{Append, ReadCommitted};
use meridian_deliver::ReadSession;
use meridian_model::{BatchBuilder, Codec, GroupId, Message, Start, UnixMs};

use super::super::{Pages, Reading};
use super::*;

const GROUP: GroupId = GroupId(7);
const BATCHES: u64 = 60;
const BODY_BYTES: usize = 900_000;
const IN_BATCH: u64 = 8;

/// What is in message `offset`: it can be told from any other, and compresses to nothing.
fn body(offset: u64) -> Vec<u8> {
    let mut body = vec![offset as u8; BODY_BYTES];
    body[..8].copy_from_slice(&offset.to_be_bytes());
    body
}

async fn filled() -> Arc<MemoryLog> {
    let log = Arc::new(MemoryLog::new(UnixMs(1)));
    log.create(GROUP);
    for number in 0..BATCHES {
        let mut builder = BatchBuilder::new(Codec::Zstd);
        for offset in number * IN_BATCH..(number + 1) * IN_BATCH {
            builder.push(&Message::new(body(offset)));
        }
        let batch = builder.build().expect("a batch");
        assert!(batch.header().raw_bytes as usize > 7_000_000 && batch.bytes().len() < 8_000);
        let ticket = log.append(GROUP, batch, UnixMs(1), Box::new(())).await.expect("taken");
        ticket.await.expect("stored");
    }
    log
}

async fn reading(log: &Arc<MemoryLog>, start: u64, decode: bool, left: Option<u64>) -> Reading {
    let log: Arc<dyn ReadCommitted> = Arc::clone(log) as _;
    let session = ReadSession::open(log, GROUP, Start::Offset(Offset(start)), false).await.expect("opens");
    let answers = Answers { from: session.place(), decode, left };
    Reading { session, answers, follow: false }
}

async fn all(reading: Reading) -> Vec<ReadResponse> {
    reading.stream(Pages::new(RPC_BYTES_MAX)).map(|answer| answer.expect("reads")).collect().await
}

#[tokio::test]
async fn each_message_comes_once_however_large_the_batches_are_decoded() {
    let log = filled().await;
    let (start, mut next, mut most) = (3, 3_u64, 0);
    let mut answers = Box::pin(reading(&log, start, true, None).await.stream(Pages::new(RPC_BYTES_MAX)));
    while let Some(answer) = answers.next().await {
        let answer = answer.expect("reads");
        for message in &answer.messages {
            assert_eq!((message.offset, &message.body[..8]), (next, &next.to_be_bytes()[..]));
            assert_eq!((message.body.len(), message.sequence), (BODY_BYTES, next % IN_BATCH));
            next += 1;
        }
        assert_eq!(answer.next_offset, next, "a reader that goes on there misses nothing");
        most = most.max(answer.messages.iter().map(|message| message.body.len()).sum::<usize>());
    }
    assert_eq!(next, BATCHES * IN_BATCH);
    assert!(most > ANSWER_BYTES / 2 && most <= ANSWER_BYTES, "{most} bytes in one answer");
    println!("{} messages of {BODY_BYTES} bytes, at most {most} bytes in an answer", next - start);
}

#[tokio::test]
async fn a_bound_on_messages_ends_behind_the_last_one() {
    let log = filled().await;
    let answers = all(reading(&log, 5, true, Some(6)).await).await;
    let offsets: Vec<u64> = answers.iter().flat_map(|a| &a.messages).map(|message| message.offset).collect();
    assert_eq!(offsets, [5, 6, 7, 8, 9, 10]);
    assert_eq!(answers.last().map(|answer| answer.next_offset), Some(11));
    let answers = all(reading(&log, 5, false, Some(6)).await).await;
    let bases: Vec<u64> = answers.iter().flat_map(|a| &a.batches).map(|batch| batch.base_offset).collect();
    assert_eq!((bases, answers[0].next_offset), (vec![0, 8], 16), "batches come whole");
}

#[tokio::test]
async fn many_small_messages_fill_an_answer_as_well() {
    let log = Arc::new(MemoryLog::new(UnixMs(1)));
    log.create(GROUP);
    let count = 60_000;
    let mut builder = BatchBuilder::new(Codec::Zstd);
    (0..count).for_each(|_| builder.push(&Message::new("")));
    let batch = builder.build().expect("a batch");
    log.append(GROUP, batch, UnixMs(1), Box::new(())).await.expect("taken").await.expect("stored");
    let answers = all(reading(&log, 0, true, None).await).await;
    let offsets = answers.iter().flat_map(|answer| &answer.messages).map(|message| message.offset);
    assert!(offsets.eq(0..count));
    let most = answers.iter().map(|answer| answer.messages.len()).max().unwrap_or(0);
    assert!(most * MESSAGE_OVERHEAD <= ANSWER_BYTES, "{most} messages in one answer");
}

#[tokio::test]
async fn a_message_that_fits_into_no_answer_is_refused_in_words() {
    let mut answer = Answer::default();
    let message = StoredMessage { offset: 9, body: vec![0; RPC_BYTES_MAX].into(), ..Default::default() };
    let refused = answer.take(message).expect_err("too large");
    assert!(refused.message().contains("offset 9") && refused.message().contains("batches"), "{refused:?}");
}
