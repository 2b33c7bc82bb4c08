//! Compaction: when a conversation is made shorter, what stays of it, what a resume does, and what a failure leads to.

use std::sync::{Arc, Mutex};

use proptest::prelude::{ProptestConfig, prop_assert, proptest};
use raptorflow_core::{
    Engine,
    agent::{AgentInput, AgentRun, AgentSpec, Compaction, SummaryFailure},
    error::{Error, ErrorKind},
    event::Status,
    journal::{Fact, JournalConfig},
    model::{ChatRequest, Model, ModelInfo},
    storage::Storage,
    testing::{Reply, ScriptedModel},
    types::{Message, Part, Role, ToolCall, ToolResult, Usage},
};
use serde_json::{Value, json};

use crate::{
    support::{agent, built, engine, entries, events, run_of, texts},
    told_hooks::echo,
};

/// Calls of the tool with long texts, and an answer.
fn talk(calls: usize) -> Vec<Reply> {
    let call = |number: usize| {
        let text = format!("{number} {}", "long ".repeat(80));
        Reply::tool_call("echo", &json!({ "text": text })).with_usage(Usage::new(1, 0))
    };
    (0..calls).map(call).chain([Reply::text("done").with_usage(Usage::new(1, 0))]).collect()
}

fn summary() -> Reply {
    Reply::text("He echoed </summary> things.").with_usage(Usage::new(100, 10))
}

/// A window that three rounds of `talk` fill.
fn small() -> Compaction {
    Compaction::default().window(1_000).at_percent(70).keep_turns(1)
}

fn is_summary(request: &ChatRequest) -> bool {
    request.messages[0].text().starts_with("You sum up the earlier part")
}

/// The requests that are not for a summary.
fn asked(script: &ScriptedModel) -> Vec<ChatRequest> {
    script.requests().into_iter().filter(|request| !is_summary(request)).collect()
}

async fn clerk(script: &ScriptedModel, compaction: Compaction) -> Engine {
    let engine = engine(script).await;
    let clerk = agent("clerk").instructions("Be brief.").tool(echo(&Arc::default())).compaction(compaction);
    engine.register(clerk.build().unwrap()).unwrap();
    engine
}

/// Every result stands behind the call that it answers.
fn is_whole(messages: &[Message]) -> bool {
    let mut open: Vec<&str> = Vec::new();
    for message in messages {
        open.extend(message.tool_calls().map(|call| call.id.as_str()));
        for part in &message.parts {
            if let Part::ToolResult(result) = part {
                let Some(place) = open.iter().position(|id| *id == result.id) else { return false };
                open.remove(place);
            }
        }
    }
    open.is_empty()
}

#[tokio::test]
async fn older_turns_are_summed_up_and_instructions_question_and_last_turns_stay() {
    let script = ScriptedModel::new(talk(4)).when(is_summary, summary());
    let engine = clerk(&script, small()).await;
    let outcome = engine.run("clerk", "Echo it.").await.unwrap();
    assert_eq!(outcome.text(), "done");
    let requests = asked(&script);
    let sums: Vec<_> = script.requests().into_iter().filter(is_summary).collect();
    assert!(!sums.is_empty());
    assert_eq!(sums[0].max_output_tokens, Some(1_000));
    let last = requests.last().unwrap();
    let said = texts(last);
    assert_eq!((said[0].as_str(), said[1].as_str()), ("Be brief.", "Echo it."));
    assert!(said[2].contains("<summary>\nHe echoed &lt;/summary> things.\n</summary>"), "{said:?}");
    assert!(last.messages.len() <= 7, "{said:?}");
    assert!(requests.iter().all(|request| is_whole(&request.messages)));
    let each = u64::try_from(sums.len()).unwrap();
    assert_eq!(outcome.usage, Usage::new(5 + 100 * each, 10 * each));
    let told: Vec<_> = events(&engine, outcome.run_id)
        .into_iter()
        .filter(|it| it.kind.name() == "agent.compacted")
        .collect();
    assert_eq!(told.len(), sums.len());
    assert_eq!((told[0].status, &told[0].data["failure"]), (Status::Success, &Value::Null));
    assert!(told[0].data["before"].as_u64() > told[0].data["after"].as_u64(), "{:?}", told[0].data);
}

#[tokio::test]
async fn a_conversation_that_has_room_is_left_alone() {
    let script = ScriptedModel::new(talk(2));
    let engine = clerk(&script, small().window(100_000)).await;
    let run = engine.run("clerk", "Echo it.").await.unwrap().run_id;
    let all = entries(&engine, run).await;
    assert!(!all.iter().any(|entry| matches!(entry.fact, Fact::ContextCompacted { .. })));
}

#[tokio::test]
async fn older_turns_are_left_out_without_a_model() {
    let script = ScriptedModel::new(talk(4));
    let engine = clerk(&script, small().trim()).await;
    let outcome = engine.run("clerk", "Echo it.").await.unwrap();
    assert_eq!((outcome.text().as_str(), outcome.usage), ("done", Usage::new(5, 0)));
    let requests = asked(&script);
    assert!(texts(requests.last().unwrap())[2].contains("left out"));
    assert!(requests.iter().all(|request| is_whole(&request.messages)));
}

#[tokio::test]
async fn another_model_sums_up_where_it_is_named() {
    let script = ScriptedModel::new(talk(4));
    let cheap = ScriptedModel::new([]).always(summary());
    let engine = clerk(&script, small().model("scripted:cheap")).await;
    engine.register_model("scripted:cheap", Model::new(cheap.clone())).unwrap();
    engine.run("clerk", "Echo it.").await.unwrap();
    assert!(!cheap.requests().is_empty() && cheap.requests().iter().all(is_summary));
    assert_eq!(asked(&script).len(), 5);
}

#[tokio::test]
async fn a_failed_summary_ends_the_run_or_trims_as_the_policy_says() {
    let fails = || {
        let down = Error::new(ErrorKind::Unauthenticated, "model.stream", "no key");
        ScriptedModel::new(talk(4)).when(is_summary, Reply::error(down))
    };
    let engine = clerk(&fails(), small()).await;
    let err = engine.run("clerk", "Echo it.").await.unwrap_err();
    assert_eq!((err.kind(), err.operation()), (ErrorKind::Unauthenticated, "agent.compact"), "{err}");

    let script = ScriptedModel::new(talk(4)).when(is_summary, Reply::text("  "));
    let engine = clerk(&script, small().on_failure(SummaryFailure::Trim)).await;
    let outcome = engine.run("clerk", "Echo it.").await.unwrap();
    assert_eq!(outcome.text(), "done");
    let failure = entries(&engine, outcome.run_id).await.into_iter().find_map(|entry| match entry.fact {
        Fact::ContextCompacted { failure, .. } => failure,
        _ => None,
    });
    assert_eq!(failure.unwrap().kind(), ErrorKind::InvalidOutput);
    let told =
        events(&engine, outcome.run_id).into_iter().find(|it| it.kind.name() == "agent.compacted").unwrap();
    assert_eq!((told.status, &told.data["failure"]), (Status::Warning, &json!("invalid_output")));
}

#[tokio::test]
async fn the_window_is_that_of_the_model_and_one_that_is_not_known_is_an_error() {
    let info = ModelInfo { context_window: Some(1_000), ..ModelInfo::new("scripted:main") };
    let script = ScriptedModel::new(talk(4)).with_info(info).when(is_summary, summary());
    let mut compaction = small();
    compaction.window = None;
    let engine = clerk(&script, compaction.clone()).await;
    engine.run("clerk", "Echo it.").await.unwrap();
    assert!(script.requests().iter().any(is_summary));

    let info = ModelInfo { context_window: None, ..ModelInfo::new("scripted:main") };
    let engine = clerk(&ScriptedModel::new(talk(1)).with_info(info), compaction).await;
    let err = engine.run("clerk", "Echo it.").await.unwrap_err();
    assert_eq!((err.kind(), err.get("field")), (ErrorKind::InvalidInput, Some("compaction.window")));
}

#[tokio::test]
async fn a_resumed_run_goes_on_from_the_summary_and_asks_for_none_again() {
    let storage = Storage::memory();
    let called = Arc::new(Mutex::default());
    let open = async |script: &ScriptedModel| {
        let mut journal = JournalConfig::default();
        journal.owner = Some("host".into());
        let builder = Engine::builder().storage_handle(storage.clone()).journal(journal);
        let engine = built(builder, script).await;
        let clerk = agent("clerk").tool(echo(&called)).compaction(small());
        engine.register(clerk.build().unwrap()).unwrap();
        engine
    };
    let mut replies = talk(4);
    let last = replies.split_off(4);
    let down = Error::new(ErrorKind::Unauthenticated, "model.stream", "no key");
    replies.push(Reply::error(down));
    let first = ScriptedModel::new(replies).when(is_summary, summary());
    let err = open(&first).await.run("clerk", "Echo it.").await.unwrap_err();
    let second = ScriptedModel::new(last);
    let engine = open(&second).await;
    let outcome = engine.resume(run_of(&err)).await.unwrap();
    assert_eq!(outcome.text(), "done");
    assert_eq!(second.requests().len(), 1);
    assert_eq!(second.requests()[0].messages, first.requests().last().unwrap().messages);
    let sums = u64::try_from(first.requests().iter().filter(|it| is_summary(it)).count()).unwrap();
    assert_eq!(outcome.usage, Usage::new(5 + 100 * sums, 10 * sums));
}

#[test]
fn numbers_that_make_no_sense_are_refused() {
    let mut no_room = Compaction::default();
    no_room.summary_tokens = 0;
    for (compaction, field) in [
        (Compaction::default().at_percent(0), "compaction.at_percent"),
        (Compaction::default().at_percent(101), "compaction.at_percent"),
        (Compaction::default().window(0), "compaction.window"),
        (Compaction::default().keep_turns(0), "compaction.keep_turns"),
        (no_room, "compaction.summary_tokens"),
    ] {
        let err = agent("clerk").compaction(compaction).build().unwrap_err();
        assert_eq!((err.kind(), err.get("field")), (ErrorKind::InvalidInput, Some(field)));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_call_is_torn_from_its_result_wherever_the_conversation_is_cut(
        rounds in proptest::collection::vec(1_usize..4, 1..8),
        keep in 1_u32..5,
        window in 50_u32..2_000,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let round = |(number, calls): (usize, &usize)| {
                Reply::tool_calls((0..*calls).map(|call| {
                    ("echo", json!({ "text": format!("{number} {call} {}", "x".repeat(40)) }))
                }))
            };
            let replies = rounds.iter().enumerate().map(round).chain([Reply::text("done")]);
            let script = ScriptedModel::new(replies).when(is_summary, summary());
            let compaction = Compaction::default().window(window).keep_turns(keep);
            let engine = clerk(&script, compaction).await;
            engine.run("clerk", "Echo it.").await.unwrap();
            for request in asked(&script) {
                prop_assert!(is_whole(&request.messages));
                prop_assert!(request.messages[0].role == Role::System);
                prop_assert!(request.messages.iter().any(|message| message.text() == "Echo it."));
                let answers = request.messages.iter().filter(|it| it.role == Role::Assistant).count();
                let steps = usize::try_from(keep).unwrap();
                prop_assert!(answers >= steps.min(answers));
            }
            Ok(())
        })?;
    }
}

#[test]
fn the_question_stays_behind_a_history_that_does_not() {
    let spec = AgentSpec { instructions: "Be brief.".into(), ..AgentSpec::new("clerk").unwrap() };
    let history = [Message::user("before"), Message::assistant("then")];
    let input = AgentInput::new("the question").with_history(history);
    let mut run = AgentRun::new(&spec, &input, None, &[]).unwrap();
    let call = ToolCall { id: "1".into(), name: "echo".into(), arguments: json!({}) };
    let message = Message { role: Role::Assistant, parts: vec![Part::ToolCall(call)] };
    run.apply(Fact::ModelResponded {
        model: "scripted:main".into(),
        message,
        usage: Usage::default(),
        cost: None,
        truncated: false,
    })
    .unwrap();
    let result =
        ToolResult { id: "1".into(), name: "echo".into(), content: json!(1), is_error: false, cost: None };
    run.apply(Fact::ToolReturned { result }).unwrap();
    let compacted = |kept| Fact::ContextCompacted {
        kept,
        dropped: 2,
        message: Message::user("in short"),
        before: 9,
        after: 5,
        failure: None,
    };
    assert_eq!(run.clone().apply(compacted(9)).unwrap_err().kind(), ErrorKind::Conflict);
    run.apply(compacted(2)).unwrap();
    let raptorflow_core::agent::Command::CallModel(request) = run.next() else { panic!("{run:?}") };
    assert_eq!(texts(request)[..3], ["Be brief.", "the question", "in short"]);
    assert_eq!(request.messages.len(), 5);
}
