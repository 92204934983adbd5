//! The command on recorded files: 0 passes, 1 is broken, 2 cannot be told.

mod correct_log;

use std::{fs, path::PathBuf, process::Command};

use meridian_history::*;

/// A file of its own for each test, in the directory the build keeps for that.
fn recorded(name: &str, ops: &[Op]) -> PathBuf {
    let mut writer = Writer::new(Vec::new(), &Header::new(Some(11))).expect("memory takes it");
    ops.iter().for_each(|op| writer.op(op).expect("memory takes it"));
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let (bytes, _) = writer.finish().expect("memory takes it");
    fs::write(&path, bytes).expect("a writable directory");
    path
}

fn run(path: &PathBuf, args: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_meridian-check"))
        .arg(path)
        .args(args)
        .output()
        .expect("the command runs");
    let text = |bytes| String::from_utf8(bytes).expect("it prints text");
    (output.status.code().expect("it exits"), text(output.stdout), text(output.stderr))
}

#[test]
fn a_correct_history_exits_0() {
    let path = recorded("correct.jsonl", &correct_log::history(11));
    let (code, table, _) = run(&path, &[]);
    assert_eq!(code, 0, "{table}");
    assert!(table.contains("seed 11") && table.ends_with("PASS\n"), "{table}");
}

#[test]
fn a_broken_history_exits_1_and_says_so_in_json() {
    let mut ops = correct_log::history(11);
    for op in &mut ops {
        if let Kind::FinalRead(FinalRead { scan: Some(scan), .. }) = &mut op.kind {
            scan.records.pop();
            scan.end -= 1;
        }
    }
    let (code, json, _) = run(&recorded("broken.jsonl", &ops), &["--json"]);
    assert_eq!(code, 1, "{json}");
    let report: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(report["pass"], false);
    let log1 = &report["promises"]["LOG-1"];
    assert_eq!(log1["verdict"], "fail");
    assert!(log1["totals"]["lost"].as_u64().unwrap() > 0);
    assert_eq!(log1["anomalies"][0]["kind"], "lost");
    assert!(log1["anomalies"][0]["detail"].as_str().unwrap().contains("was acked at"));
}

#[test]
fn what_cannot_be_told_exits_2() {
    let ops = correct_log::history(11);
    let path = recorded("short.jsonl", &ops);
    let text = fs::read_to_string(&path).unwrap();
    let (body, _) = text.trim_end().rsplit_once('\n').unwrap();
    fs::write(&path, body).unwrap();
    let (code, table, _) = run(&path, &[]);
    assert_eq!(code, 2, "{table}");
    assert!(table.contains("cut short"), "{table}");

    fs::write(&path, &body[..body.len() - 20]).unwrap();
    let (code, _, error) = run(&path, &[]);
    assert_eq!(code, 2);
    assert!(error.contains(&format!("line {}", ops.len() + 1)), "{error}");

    let (code, _, error) = run(&PathBuf::from("nowhere.jsonl"), &[]);
    assert_eq!(code, 2);
    assert!(error.starts_with("nowhere.jsonl: "), "{error}");

    let (code, ..) = run(&recorded("empty.jsonl", &[]), &[]);
    assert_eq!(code, 2);
}

#[test]
fn demands_can_be_made_and_lifted() {
    let mut ops = correct_log::history(11);
    ops.retain(|op| !matches!(op.kind, Kind::Control(_) | Kind::EndOffset(_)));
    let path = recorded("no-control.jsonl", &ops);
    assert_eq!(run(&path, &[]).0, 0);
    assert_eq!(run(&path, &["--demand", "CTL-1"]).0, 2);
    assert_eq!(run(&path, &["--demand", "CTL-1", "--excuse", "CTL-1"]).0, 0);
    assert_eq!(run(&path, &["--demand", "LOG-99"]).0, 2);
}
