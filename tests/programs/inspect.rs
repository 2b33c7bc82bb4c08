//! The example `inspect`: what it shows of a store, and how it says that something is not there.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::OnceLock,
};

use raptorflow_core::{
    Engine, Error, ErrorKind,
    types::RunId,
    workflow::{Step, Workflow, after, function},
};
use serde_json::json;
use tempfile::TempDir;

use crate::build::example;

fn inspect(arguments: &[&str]) -> Output {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    let mut command = Command::new(PROGRAM.get_or_init(|| example("inspect")));
    command.env_remove("RUST_BACKTRACE").stdin(Stdio::null()).args(arguments);
    command.output().expect("inspect starts")
}

/// What a call that succeeds shows.
fn shown(arguments: &[&str]) -> String {
    let output = inspect(arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("it shows UTF-8")
}

/// The exit code and the complaint of a call that does not fit.
fn refused(arguments: &[&str]) -> (i32, String) {
    let output = inspect(arguments);
    assert!(output.stdout.is_empty(), "{}", String::from_utf8_lossy(&output.stdout));
    let complaint = String::from_utf8(output.stderr).expect("it complains in UTF-8");
    (output.status.code().expect("it ends by itself"), complaint)
}

/// The line of a step in the tree.
fn line<'a>(shown: &'a str, step: &str) -> &'a str {
    shown
        .lines()
        .find(|line| line.split(['─', ' ', '│', '├', '└']).find(|word| !word.is_empty()) == Some(step))
        .unwrap_or_else(|| panic!("no line of {step} in\n{shown}"))
}

fn same() -> Step {
    function(|_ctx, input| async move { Ok(input) })
}

/// A store with a run that is done and one that failed.
async fn store() -> (TempDir, String, RunId, RunId) {
    let folder = tempfile::tempdir().expect("a folder");
    let address = address(folder.path());
    let engine = Engine::builder().storage(&address).build().await.expect("an engine");
    let fails = || {
        function(|_ctx, _input| async {
            Err(Error::new(ErrorKind::InvalidInput, "shop.pay", "the card is refused"))
        })
    };
    let flows = [
        Workflow::builder("fine").step("read", same()).gate("approve", after("read")),
        Workflow::builder("broken").step("read", same()).step("pay", fails().after("read")),
    ];
    for flow in flows {
        engine.register(flow.build().expect("a workflow")).expect("it is registered");
    }
    let fine = engine.start("fine", json!({})).await.expect("it starts");
    engine.signal(fine.id(), "approve", true).by("anna").await.expect("it is written");
    let fine = fine.outcome().await.expect("it ends").run_id;
    let broken = engine.start("broken", json!({})).await.expect("it starts");
    let id = broken.id();
    broken.outcome().await.expect_err("it fails");
    engine.shutdown().await.expect("it closes");
    (folder, address, fine, id)
}

fn address(folder: &Path) -> String {
    format!("sqlite:{}", folder.join("team.db").display())
}

#[test]
fn without_arguments_it_runs_and_shows_a_workflow_of_its_own() {
    let shown = shown(&["--entries", "--mermaid"]);
    assert!(line(&shown, "publish").contains("completed"), "{shown}");
    assert!(line(&shown, "publish").ends_with(" 2"), "the second attempt succeeds: {shown}");
    assert!(
        line(&shown, "draft").ends_with("40 + 10  0.000030 USD"),
        "two answers of a priced model: {shown}"
    );
    assert!(shown.contains("approve was answered by anna"), "{shown}");
    assert!(shown.contains("flowchart TD") && shown.contains("class s2 skipped"), "{shown}");
}

#[tokio::test]
async fn it_lists_the_runs_of_a_store_and_shows_where_one_failed() {
    let (_folder, store, fine, broken) = store().await;
    let all = shown(&["--storage", &store]);
    assert!(all.contains(&fine.to_string()) && all.contains(&broken.to_string()), "{all}");
    let failed = shown(&["--storage", &store, "--status", "failed"]);
    assert!(!failed.contains(&fine.to_string()) && failed.contains(&broken.to_string()), "{failed}");
    let run = shown(&[&broken.to_string(), "--storage", &store]);
    assert!(line(&run, "read").contains("completed") && line(&run, "pay").contains("failed"), "{run}");
    assert!(run.contains("the card is refused"), "{run}");
}

#[tokio::test]
async fn it_shows_what_a_run_waits_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = address(folder.path());
    let engine = Engine::builder().storage(&store).build().await.expect("an engine");
    let gate = Step::default().prompt("Publish this?").approvers(["anna"]);
    let flow = Workflow::builder("ask").gate("approve", gate).build().expect("a workflow");
    let run = engine.start(flow, json!({})).await.expect("it starts");
    while engine.state(run.id(), None).await.expect("a state").questions.is_empty() {
        tokio::task::yield_now().await;
    }
    let shown = shown(&[&run.id().to_string(), "--storage", &store]);
    assert!(shown.contains("approve waits for an answer of anna: Publish this?"), "{shown}");
    assert!(line(&shown, "approve").contains("waiting"), "{shown}");
    engine.shutdown().await.expect("it closes");
}

#[tokio::test]
async fn it_shows_a_run_as_it_was_earlier() {
    let (_folder, store, fine, _) = store().await;
    let fine = fine.to_string();
    let listed = shown(&[&fine, "--storage", &store, "--entries"]);
    let read = listed.lines().filter(|line| line.contains("read")).nth(1).expect("an entry of the step");
    let at = read.split_whitespace().next().expect("its number");
    let then = shown(&[&fine, "--storage", &store, "--at", at]);
    assert!(then.contains("is running") && !then.contains("anna"), "{then}");
    assert!(shown(&[&fine, "--storage", &store]).contains("anna"));
}

#[tokio::test]
async fn what_is_not_there_is_one_line_with_a_way_out() {
    let (folder, store, fine, _) = store().await;
    let (code, complaint) = refused(&["--storage", "sqlite:/nowhere/team.db"]);
    assert_eq!(code, 2);
    assert!(
        complaint.contains("there is no such database") && complaint.contains("/nowhere/team.db"),
        "{complaint}"
    );
    let (code, complaint) = refused(&[&fine.to_string(), "--storage", &store, "--at", "1000"]);
    assert_eq!(code, 2);
    assert!(complaint.contains("1000") && complaint.contains("try: --entries"), "{complaint}");
    let unknown = "00000000-0000-7000-8000-000000000007".to_owned();
    let (code, complaint) = refused(&[&unknown, "--storage", &store]);
    assert_eq!(code, 2);
    assert!(complaint.contains(&unknown) && complaint.contains("it lists the runs"), "{complaint}");
    let (code, complaint) = refused(&["--storage", &store, "--mermaid"]);
    assert_eq!(code, 2);
    assert!(complaint.contains("--mermaid"), "{complaint}");
    let damaged = folder.path().join("damaged.db");
    std::fs::write(&damaged, "not a database at all, and longer than its header would be".repeat(9))
        .expect("a file");
    let (code, complaint) = refused(&["--storage", &format!("sqlite:{}", damaged.display())]);
    assert_eq!(code, 4, "{complaint}");
}
