//! Request and acknowledge: whoever asks knows that the request cannot be lost, and whoever works on it says when it is
//! done; one that is not done is given out again.
//!
//! `meridian dev --nodes 3`, then `cargo run -p meridian-sdk --example request_acknowledge`.

mod cluster;

use meridian_sdk::{Error, Message, Start};

#[tokio::main]
async fn main() -> Result<(), Error> {
    let client = cluster::connect().await?;
    cluster::topic(&client, "example-jobs", 3).await?;
    let producer = client.producer("example-jobs").build().await?;
    for number in 0..5 {
        let receipt = producer.send(Message::new(format!("job {number}"))).await?.await?;
        println!("job {number} is on the disks of a majority, at {}", receipt.id.offset);
    }
    let worker =
        client.consumer(["example-jobs"]).subscription("workers").create(true).start(Start::Earliest);
    let mut worker = worker.extend_leases(true).open().await?;
    let mut done = 0;
    while done < 5
        && let Some(job) = worker.next().await
    {
        let job = job?;
        if job.attempt == 1 && job.body.ends_with(b"3") {
            println!("{} does not succeed at once", String::from_utf8_lossy(&job.body));
            worker.nack(&job).await?;
            continue;
        }
        worker.ack(&job).await?;
        println!("{} is done, at attempt {}", String::from_utf8_lossy(&job.body), job.attempt);
        done += 1;
    }
    worker.close().await;
    Ok(())
}
