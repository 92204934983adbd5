//! How a node is watched: health, reflection, metrics, and progress for a person at a terminal.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;

use tonic::transport::Channel;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1::{ServerReflectionRequest, ServerReflectionResponse};

use crate::process::{PATIENCE, run, stdout_of};
use crate::serve::Lone;

fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("it listens");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

async fn channel(address: &str) -> Channel {
    let endpoint = Channel::from_shared(format!("http://{address}")).expect("an address");
    endpoint.connect().await.expect("it listens")
}

async fn ask(address: &str, message: MessageRequest) -> ServerReflectionResponse {
    let mut client = ServerReflectionClient::new(channel(address).await);
    let request = ServerReflectionRequest { host: String::new(), message_request: Some(message) };
    let answers = client.server_reflection_info(futures::stream::iter([request])).await;
    answers.expect("answered").into_inner().message().await.expect("sound").expect("one answer")
}

#[tokio::test]
async fn health_and_reflection_are_served_and_tell_the_truth() {
    let lone = Lone::new();
    let server = lone.serve("");
    lone.ready();
    let mut health = HealthClient::new(channel(&lone.address(0)).await);
    let begun = std::time::Instant::now();
    loop {
        let checked = health.check(HealthCheckRequest { service: String::new() }).await.expect("answered");
        match checked.into_inner().status() {
            ServingStatus::Serving => break,
            other => assert!(begun.elapsed() < PATIENCE, "still {other:?}"),
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let listed = ask(&lone.address(0), MessageRequest::ListServices(String::new())).await;
    let Some(MessageResponse::ListServicesResponse(listed)) = listed.message_response else {
        panic!("{listed:?}");
    };
    let names: Vec<String> = listed.service.into_iter().map(|service| service.name).collect();
    for service in ["PublishService", "ReadService"] {
        let name = format!("meridian.v1.{service}");
        assert!(names.contains(&name), "{name} in {names:?}");
        let file = ask(&lone.address(0), MessageRequest::FileContainingSymbol(name)).await;
        assert!(matches!(file.message_response, Some(MessageResponse::FileDescriptorResponse(_))));
    }
    assert!(names.iter().any(|name| name.starts_with("meridian.admin.v1.")), "{names:?}");
    assert!(!names.iter().any(|name| name.contains("internal")), "what only nodes speak stays inside");
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn metrics_count_what_was_published() {
    let lone = Lone::new();
    let server = lone.serve("");
    lone.ready();
    let address = lone.address(0);
    stdout_of(&run(&["--server", &address, "topic", "create", "counted"]));
    let three = ["--message", "1", "--message", "2", "--message", "3"];
    stdout_of(&run(&[&["--server", &address, "publish", "counted"][..], &three].concat()));
    let text = get(&lone.address(2), "/metrics");
    assert!(text.starts_with("HTTP/1.1 200"), "{text}");
    let end = text.lines().find(|line| line.starts_with("meridian_log_end{") && line.ends_with(" 3"));
    assert!(end.is_some(), "three messages are in a log: {text}");
    assert!(text.contains("\nmeridian_groups_led 2\n"), "the control group and one partition: {text}");
    assert!(get(&lone.address(2), "/healthz").ends_with("ok\n"));
    assert_eq!(server.stop(), Some(0));
}

/// A person at a terminal sees progress; a pipe gets none of it.
#[test]
fn long_work_shows_its_progress_at_a_terminal() {
    let lone = Lone::new();
    let server = lone.serve("");
    lone.ready();
    let lines = lone.folder.path().join("lines");
    std::fs::write(&lines, "a line that is published\n".repeat(20_000)).expect("written");
    let (address, lines) = (lone.address(0), lines.display().to_string());
    let publish = ["--server", &address, "publish", "long", "--create", "--file", &lines];
    let piped = run(&publish);
    let bar = |text: &str| text.contains('█') || text.contains('░');
    assert!(piped.status.success() && !piped.stderr.contains(&b'\x1b'), "{piped:?}");
    assert!(!bar(&String::from_utf8_lossy(&piped.stderr)), "{piped:?}");
    let command = format!("{} {}", env!("CARGO_BIN_EXE_meridian"), publish.join(" "));
    let mut script = Command::new("script");
    let seen = script.args(["-qec", &command, "/dev/null"]).output().expect("script of util-linux runs");
    let seen = String::from_utf8_lossy(&seen.stdout).into_owned();
    assert!(bar(&seen), "no bar: {seen:?}");
    assert!(seen.contains("\x1b[2K"), "not drawn in place: {seen:?}");
    assert_eq!(server.stop(), Some(0));
}
