//! A run that is killed goes on where it was: nobody who had finished is asked again, and the brief is the same.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    path::Path,
    process::{Command, Output},
};

use raptorflow_core::{
    runtime::Runtime,
    testing::{ProviderServer, ServerReply},
};
use serde_json::Value;

use super::program::{council_with, documents, finding, json_of, start, stderr};

/// Agents at work on this goal: two of each domain, since it names them all.
const AGENTS: usize = 14;
const GOAL: &str = "Plan the launch: scope, knowledge, schedule, quality, trends, conflicts, announcement.";
const CLAIM: &str = "The launch is planned for spring.";

async fn server(replies: impl IntoIterator<Item = ServerReply>) -> ProviderServer {
    ProviderServer::start(&Runtime::current().unwrap(), replies).await.unwrap()
}

fn bodies(server: &ProviderServer) -> Vec<Value> {
    server.requests().into_iter().map(|request| request.body).collect()
}

fn call(server: &ProviderServer, docs: &Path, db: &Path) -> Command {
    let mut command = council_with(server);
    command.args(["--json", "--docs"]).arg(docs).arg("--db").arg(db).arg(GOAL);
    command
}

fn resume(server: &ProviderServer, db: &Path, run: &str) -> Command {
    let mut command = council_with(server);
    command.arg("--json").arg("--db").arg(db).args(["--resume", run]);
    command
}

async fn output(mut command: Command) -> Output {
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

/// Starts the council, waits until `finished` agents have ended and the next one waits for its answer, and ends it.
async fn interrupted(
    finished: usize,
    docs: &Path,
    db: &Path,
    end: &'static str,
) -> (String, Vec<Value>, Option<i32>) {
    let mut replies = vec![finding(CLAIM); finished];
    replies.push(finding(CLAIM).silent_after(0));
    let server = server(replies).await;
    let mut child = start(&mut call(&server, docs, db));
    let reading = tokio::task::spawn_blocking(move || {
        let (mut run, mut done) = (String::new(), 0);
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        while done < finished || run.is_empty() {
            let line = lines.next().expect("the council works until it is stopped").unwrap();
            if let Some(id) = line.strip_prefix("run ") {
                run = id.to_owned();
            }
            done += usize::from(line.contains(" done in "));
        }
        (child, lines, run)
    });
    let (mut child, lines, run) = reading.await.unwrap();
    // The next request has arrived, and its answer never will.
    while server.requests().len() <= finished {
        tokio::task::yield_now().await;
    }
    let killed = Command::new("kill").args([end, &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    let ended = tokio::task::spawn_blocking(move || {
        let status = child.wait().unwrap();
        let mut rest = String::new();
        lines.for_each(|line| rest.push_str(&line.unwrap_or_default()));
        child.stdout.take().unwrap().read_to_string(&mut rest).unwrap();
        status
    });
    (run, bodies(&server), ended.await.unwrap().code())
}

async fn check(finished: usize, end: &'static str, code: Option<i32>) {
    let folder = documents();
    let (db, undisturbed) = (folder.path().join("run.db"), folder.path().join("whole.db"));
    let all = server(vec![finding(CLAIM); AGENTS]).await;
    let whole = json_of(&output(call(&all, folder.path(), &undisturbed)).await);
    assert_eq!(all.requests().len(), AGENTS);

    let (run, before, ended) = interrupted(finished, folder.path(), &db, end).await;
    assert_eq!(ended, code);
    let rest = server(vec![finding(CLAIM); AGENTS]).await;
    let resumed = output(resume(&rest, &db, &run)).await;
    let brief = json_of(&resumed);

    let again = bodies(&rest);
    assert_eq!(again.len(), AGENTS - finished, "{}", stderr(&resumed));
    for body in before.iter().take(finished) {
        assert!(!again.contains(body), "an agent that had finished was asked again");
    }
    assert_eq!(brief["report"], whole["report"]);
    assert_eq!(brief["usage"], whole["usage"]);
    assert_eq!(brief["run"], run);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_before_the_first_agent_has_finished_loses_nothing() {
    check(0, "-KILL", None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_in_the_middle_asks_nobody_again_who_had_finished() {
    check(6, "-KILL", None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_before_the_last_agent_asks_only_that_one() {
    check(AGENTS - 1, "-KILL", None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupt_leaves_a_run_that_can_be_resumed() {
    check(3, "-INT", Some(130)).await;
}
