//! Bad input: one clear line with what, where and what to do, the right exit code, and a run that can be resumed.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use raptorflow_core::{
    runtime::Runtime,
    testing::{ProviderServer, ServerReply},
};
use serde_json::json;

use super::program::{council, council_with, documents, finding, json_of, stderr, text};

/// The call fails with this code, says every one of these, and shows no panic.
fn check(output: &Output, code: i32, says: &[&str]) {
    let shown = stderr(output);
    assert_eq!(output.status.code(), Some(code), "{shown}");
    let errors: Vec<&str> = shown.lines().filter(|line| line.starts_with("error: ")).collect();
    assert_eq!(errors.len(), 1, "{shown}");
    for expected in says {
        assert!(shown.contains(expected), "no `{expected}` in:\n{shown}");
    }
    assert!(!shown.contains("panicked") && !shown.contains("RUST_BACKTRACE"), "{shown}");
}

fn ask(docs: &Path, more: &[&str]) -> Output {
    council().arg("--docs").arg(docs).args(more).output().unwrap()
}

#[test]
fn folders_that_cannot_be_read_are_named_with_what_to_do() {
    let folder = documents();
    let empty = folder.path().join("empty");
    fs::create_dir(&empty).unwrap();
    check(&ask(&empty, &["goal"]), 2, &["no usable Markdown or text file", "add .md", "empty"]);
    check(&ask(&folder.path().join("nowhere"), &["goal"]), 2, &["no such folder", "nowhere"]);
    check(&ask(&folder.path().join("plan.md"), &["goal"]), 2, &["expected a folder, got a file", "plan.md"]);
}

#[test]
fn files_that_cannot_be_read_are_left_out_with_a_note() {
    let folder = documents();
    fs::write(folder.path().join("latin.md"), b"caf\xe9").unwrap();
    fs::File::create(folder.path().join("huge.txt")).unwrap().set_len(100 << 20).unwrap();
    let output = ask(folder.path(), &["Plan the launch."]);
    let shown = stderr(&output);
    assert!(output.status.success(), "{shown}");
    assert!(shown.contains("latin.md:1:4") && shown.contains("not UTF-8 from byte 3"), "{shown}");
    assert!(shown.contains("huge.txt") && shown.contains("104857600 bytes"), "{shown}");

    fs::remove_file(folder.path().join("plan.md")).unwrap();
    check(
        &ask(folder.path(), &["goal"]),
        2,
        &["no usable Markdown or text file", "latin.md:1:4", "huge.txt"],
    );
}

#[test]
fn arguments_that_do_not_fit_are_refused() {
    let folder = documents();
    check(&ask(folder.path(), &[" "]), 2, &["goal"]);
    check(&ask(folder.path(), &["--agents", "0", "goal"]), 2, &["--agents", "0"]);
    check(
        &council().args(["--resume", "01a1fd91-21e3-72b2-bf57-40761c303d32"]).output().unwrap(),
        2,
        &["--db"],
    );
    check(&ask(folder.path(), &["--model", "gpt", "goal"]), 3, &["provider:model", "gpt"]);
    check(&ask(folder.path(), &["--model", "nobody:x", "goal"]), 3, &["no provider", "openai", "offline"]);
    check(&ask(folder.path(), &["--model", "openai:x", "goal"]), 3, &["OPENAI_API_KEY"]);
}

#[test]
fn a_pack_with_a_broken_reference_names_file_line_and_column() {
    let folder = documents();
    check(&ask(folder.path(), &["--pack", "/nowhere", "goal"]), 2, &["pack.toml", "/nowhere"]);

    let pack = folder.path().join("pack");
    let copied =
        Command::new("cp").arg("-r").arg(raptorflow_tests::root().join("packs/council")).arg(&pack).status();
    assert!(copied.unwrap().success());
    let file = pack.join("agents/seer/trend_analyst.toml");
    let broken = fs::read_to_string(&file).unwrap().replace("domain = \"seer\"", "domain = \"sear\"");
    fs::write(&file, broken).unwrap();
    let output = council().arg("--check").arg("--pack").arg(&pack).output().unwrap();
    check(&output, 2, &["agents/seer/trend_analyst.toml:3:10: error[unknown_domain]", "`sear`"]);
}

#[test]
fn databases_that_cannot_be_used_are_named_with_what_to_do() {
    let folder = documents();
    let path = |name: &str| folder.path().join(name).display().to_string();
    fs::write(path("text.db"), "this is no database, it only has the name of one").unwrap();
    check(
        &ask(folder.path(), &["--db", &path("text.db"), "goal"]),
        4,
        &["not an SQLite database", "text.db"],
    );
    check(&ask(folder.path(), &["--db", &path("no/folder.db"), "goal"]), 2, &["folder", "create it"]);
    check(&ask(folder.path(), &["--db", &path(""), "goal"]), 2, &["folder"]);

    assert!(ask(folder.path(), &["--db", &path("good.db"), "Plan the launch."]).status.success());
    let unknown = "01a1fd91-21e3-72b2-bf57-40761c303d32";
    let output = council().args(["--db", &path("good.db"), "--resume", unknown]).output().unwrap();
    check(&output, 2, &["no run of this id", unknown]);
}

async fn answered_by(replies: Vec<ServerReply>, docs: &Path, more: &[&str]) -> (Output, ProviderServer) {
    let server = ProviderServer::start(&Runtime::current().unwrap(), replies).await.unwrap();
    let mut command = council_with(&server);
    command.arg("--docs").arg(docs).args(more);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    (output, server)
}

/// One agent of one domain, so that the first reply decides.
const ONE: [&str; 3] = ["--agents", "1", "What is the risk?"];

#[tokio::test(flavor = "multi_thread")]
async fn failures_of_a_provider_say_what_to_do_and_leave_a_run_that_can_be_resumed() {
    let problem = |code: &str| json!({ "error": { "message": "no", "code": code } });
    let table = [
        (ServerReply::json(401, &problem("invalid_api_key")), "set the provider's key"),
        (ServerReply::json(404, &problem("model_not_found")), "model"),
        (
            // Longer than an engine waits by itself.
            ServerReply::json(429, &problem("rate_limit")).with_header("retry-after", "300"),
            "again in 300 seconds",
        ),
        (finding("The launch is planned for spring.").cut_after(40), "the connection broke"),
        (ServerReply::new(200, "text/html", "<html>Sign in to the proxy</html>"), "text/html"),
    ];
    for (reply, says) in table {
        let folder = documents();
        let db = folder.path().join("run.db").display().to_string();
        let (output, _) =
            answered_by(vec![reply; 14], folder.path(), &[&ONE[..], &["--db", &db]].concat()).await;
        check(&output, 3, &[says, "resume: cargo run", &db]);
        assert!(!stderr(&output).contains("sk-test"), "the key is shown");

        let shown = stderr(&output);
        let run = shown.lines().find_map(|line| line.strip_prefix("run ")).unwrap();
        let good = vec![finding("The launch is planned for spring."); 14];
        let server = ProviderServer::start(&Runtime::current().unwrap(), good).await.unwrap();
        let mut command = council_with(&server);
        command.args(["--json", "--db", &db, "--resume", run]);
        let resumed = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        assert_eq!(json_of(&resumed)["run"], run, "{says}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_does_not_fit_is_asked_for_once_more() {
    let folder = documents();
    let replies =
        std::iter::repeat_n([text("I would rather not."), finding("The launch is planned for spring.")], 7);
    let replies = replies.flatten().collect();
    let (output, server) = answered_by(replies, folder.path(), &[&ONE[..], &["--json"]].concat()).await;
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(server.requests().len() >= 2);
}

#[test]
fn documents_that_changed_since_are_no_resume() {
    let folder = documents();
    let db = folder.path().join("run.db").display().to_string();
    let output = ask(folder.path(), &["--db", &db, "Plan the launch."]);
    let shown = stderr(&output);
    let run = shown.lines().find_map(|line| line.strip_prefix("run ")).unwrap();
    fs::write(folder.path().join("plan.md"), "Everything is different.").unwrap();
    let resumed = council().args(["--db", &db, "--resume", run]).output().unwrap();
    check(&resumed, 4, &["documents have changed", "begin a new run"]);
}

#[test]
fn a_reader_that_has_enough_is_no_fault() {
    let folder = documents();
    let call = format!(
        "'{}' --docs '{}' goal | head -n 1",
        crate::council::program::program().display(),
        folder.path().display()
    );
    let output = Command::new("sh").args(["-c", &call]).output().unwrap();
    assert!(output.status.success() && !stderr(&output).contains("error"), "{}", stderr(&output));
}
