//! Runs the council as a child process, and reads what it says.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::OnceLock,
};

use raptorflow_core::{
    orchestrator::Report,
    testing::{ProviderServer, ServerReply},
};
use serde_json::{Value, json};

use crate::build::example;

/// The program, built once.
pub(crate) fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| example("council"))
}

/// A call of the council without the keys and settings of whoever runs the tests.
pub(crate) fn council() -> Command {
    let mut command = Command::new(program());
    for name in
        ["OPENAI_API_KEY", "OPENAI_BASE_URL", "ANTHROPIC_API_KEY", "RAPTORFLOW_MODEL", "RUST_BACKTRACE"]
    {
        command.env_remove(name);
    }
    command.stdin(Stdio::null());
    command
}

/// A call that asks a server on this machine.
pub(crate) fn council_with(server: &ProviderServer) -> Command {
    let mut command = council();
    command.env("OPENAI_BASE_URL", format!("{}/v1", server.url())).env("OPENAI_API_KEY", "sk-test");
    command
}

/// Starts a call whose words are read later.
pub(crate) fn start(command: &mut Command) -> Child {
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the council starts")
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("the brief is UTF-8")
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("messages are UTF-8")
}

/// What `--json` wrote.
pub(crate) fn json_of(output: &Output) -> Value {
    assert!(output.status.success(), "{}", stderr(output));
    serde_json::from_slice(&output.stdout).expect("the brief is JSON")
}

pub(crate) fn report_of(brief: &Value) -> Report {
    serde_json::from_value(brief["report"].clone()).expect("the report has its form")
}

/// An answer on OpenAI's wire that fits the council's findings and rests on the first passage.
pub(crate) fn finding(claim: &str) -> ServerReply {
    let answer = json!({ "findings": [{ "claim": claim, "sources": [1] }] });
    text(&answer.to_string())
}

/// An answer on OpenAI's wire.
pub(crate) fn text(text: &str) -> ServerReply {
    let chunk = |delta: Value, finish: Value| json!({ "choices": [{ "index": 0, "delta": delta, "finish_reason": finish }] });
    let usage = json!({ "choices": [], "usage": { "prompt_tokens": 10, "completion_tokens": 5 } });
    let chunks = [
        chunk(json!({ "role": "assistant", "content": text }), Value::Null),
        chunk(json!({}), json!("stop")),
        usage,
    ];
    let events = chunks.iter().map(Value::to_string).chain(["[DONE]".to_owned()]);
    ServerReply::data(events)
}

/// A folder with a small document.
pub(crate) fn documents() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let text = "# Plans\n\nThe launch is planned for spring, with three milestones on the schedule.\n\n\
                # Risks\n\nThe greatest risk of the launch is that its scope grows.\n\n\
                # Notes\n\nOur knowledge of quality comes from the trends of last year.\n\
                Conflicts are settled before the announcement.\n";
    std::fs::write(folder.path().join("plan.md"), text).expect("a file");
    folder
}
