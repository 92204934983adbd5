//! Request and response: a question goes to one of the responders, its answer to whoever asked.
//!
//! `meridian dev --nodes 3`, then `cargo run -p meridian-sdk --example request_response`.

mod cluster;

use meridian_sdk::consumer::Kind;
use meridian_sdk::{Client, Error, Message, Start};

/// Names the question that an answer answers.
const QUESTION: &str = "question";

#[tokio::main]
async fn main() -> Result<(), Error> {
    let client = cluster::connect().await?;
    cluster::topic(&client, "example-questions", 3).await?;
    cluster::topic(&client, "example-answers", 1).await?;
    let responder = tokio::spawn(respond(client.clone()));
    // Only answers to what is asked from now on.
    let answers = client.consumer(["example-answers"]).subscription("asker").kind(Kind::Exclusive);
    let mut answers = answers.create(true).start(Start::Latest).open().await?;
    let producer = client.producer("example-questions").build().await?;
    for number in 1..=5_u64 {
        let question = Message::new(number.to_string()).with_property(QUESTION, number.to_string());
        producer.send(question).await?.await?;
        while let Some(answer) = answers.next().await.transpose()? {
            answers.ack(&answer).await?;
            let asked = answer.properties.iter().find(|(name, _)| name == QUESTION);
            if asked.is_some_and(|(_, asked)| *asked == number.to_string()) {
                println!("{number} squared is {}", String::from_utf8_lossy(&answer.body));
                break;
            }
        }
    }
    answers.close().await;
    responder.abort();
    Ok(())
}

/// Answers until it is stopped. An answer may come twice, if this is stopped between answer and ack.
async fn respond(client: Client) -> Result<(), Error> {
    let questions = client.consumer(["example-questions"]).subscription("responders").create(true);
    let mut questions = questions.start(Start::Earliest).open().await?;
    let producer = client.producer("example-answers").build().await?;
    while let Some(question) = questions.next().await.transpose()? {
        let number: u64 = String::from_utf8_lossy(&question.body).parse().unwrap_or_default();
        let answer = Message {
            properties: question.properties.clone(),
            ..Message::new((number * number).to_string())
        };
        producer.send(answer).await?.await?;
        questions.ack(&question).await?;
    }
    Ok(())
}
