//! One agent in an engine: what its journal and the bus tell, and what a resumed run does not do again.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use raptorflow_core::{
    Agent, Engine,
    agent::{AgentSpec, FunctionAgent},
    economics::PriceBook,
    error::{Error, ErrorKind},
    event::Channel,
    journal::{Fact, RunFilter},
    model::FinishReason,
    rag::{Document, HashingEmbedder, KnowledgeBase},
    storage::{MemoryStore, Storage},
    testing::{Fault, FaultyLog, Reply, ScriptedModel},
    tool::FunctionTool,
    types::{self, Effects, Finish, Limit, Media, Part, Schema, ToolSpec, Usage},
    workflow::{self, Workflow},
};
use serde_json::{Value, json};

use crate::support::{
    agent, built, calls, engine, entries, events, facts, kinds, run_of, standing_still, texts,
};

/// A tool that gives its arguments back and counts its calls.
fn echo(name: &str, effects: Effects, count: &Arc<AtomicUsize>) -> FunctionTool {
    let count = Arc::clone(count);
    let spec = ToolSpec::new(name, "Gives back what it got.", Schema::any_object());
    let tool = FunctionTool::new(spec, move |_ctx, arguments: Value| {
        count.fetch_add(1, Ordering::SeqCst);
        async move { Ok(arguments) }
    });
    tool.with_effects(effects)
}

#[tokio::test]
async fn the_journal_and_the_bus_tell_a_run_in_its_order() {
    let script = ScriptedModel::new([
        calls(&[("a", "read", json!({})), ("b", "write", json!({}))]),
        Reply::text("done").with_usage(Usage::new(7, 2)),
    ]);
    let engine = engine(&script).await;
    let count = Arc::default();
    let worker = agent("worker").domain("shop").tool(echo("read", Effects::Read, &count)).tool(echo(
        "write",
        Effects::Write,
        &count,
    ));
    engine.register(worker.build().unwrap()).unwrap();
    let outcome = engine.run("worker", "go").await.unwrap();

    assert_eq!(
        (outcome.text(), outcome.finish, outcome.usage),
        ("done".into(), Finish::Complete, Usage::new(7, 2))
    );
    assert_eq!(count.load(Ordering::SeqCst), 2);
    assert_eq!(
        facts(&engine, outcome.run_id).await,
        [
            "execution_started",
            "model_responded",
            "tool_returned",
            "tool_returned",
            "model_responded",
            "execution_completed"
        ]
    );
    let told = events(&engine, outcome.run_id);
    assert_eq!(
        kinds(&engine, outcome.run_id),
        [
            "agent_started",
            "capability_executed",
            "capability_executed",
            "capability_executed",
            "capability_executed",
            "result_generated",
            "agent_completed"
        ]
    );
    assert!(told.iter().all(|event| event.channel == Channel::AgentExecution));
    assert!(told.iter().all(|event| event.agent.as_ref().is_some_and(|agent| agent.as_str() == "worker")));
    assert!(told.iter().all(|event| event.domain.as_deref() == Some("shop")));
    let data: Vec<&Value> = told.iter().map(|event| &event.data).collect();
    assert_eq!((data[1]["model"].as_str(), data[2]["tool"].as_str()), (Some("scripted:model"), Some("read")));
}

#[tokio::test]
async fn a_failed_run_tells_so_once_on_error_handling_and_never_completes() {
    let refused = Error::new(ErrorKind::Unauthenticated, "model.stream", "the key is wrong");
    let engine = engine(&ScriptedModel::new([Reply::error(refused)])).await;
    engine.register(agent("worker").build().unwrap()).unwrap();
    let err = engine.run("worker", "go").await.unwrap_err();
    let run = run_of(&err);
    assert_eq!(err.kind(), ErrorKind::Unauthenticated);
    assert_eq!(kinds(&engine, run), ["agent_started", "agent_failed"]);
    let failed = events(&engine, run).pop().unwrap();
    assert_eq!(failed.channel, Channel::ErrorHandling);
    assert_eq!(failed.data, json!({ "error": "unauthenticated", "operation": "model.stream" }));
    assert_eq!(facts(&engine, run).await, ["execution_started", "execution_failed"]);
}

#[tokio::test]
async fn a_withheld_answer_is_an_error_and_not_an_empty_answer() {
    let withheld = Reply::text("").with_finish(&FinishReason::ContentFilter);
    let engine = engine(&ScriptedModel::new([withheld, Reply::text("done")])).await;
    engine.register(agent("worker").build().unwrap()).unwrap();
    let err = engine.run("worker", "go").await.unwrap_err();
    assert_eq!(err.kind(), ErrorKind::InvalidOutput);
    assert!(err.message().contains("withheld"), "{err}");
    assert_eq!(engine.resume(run_of(&err)).await.unwrap().text(), "done");
}

#[tokio::test]
async fn an_answer_cut_off_at_its_length_says_so() {
    let engine = engine(&ScriptedModel::new([Reply::text("so f").with_finish(&FinishReason::Length)])).await;
    engine.register(agent("worker").build().unwrap()).unwrap();
    let outcome = engine.run("worker", "go").await.unwrap();
    assert_eq!((outcome.text(), outcome.finish), ("so f".into(), Finish::Limited(Limit::Length)));
}

#[tokio::test]
async fn the_outcome_of_a_completed_run_is_the_same_when_it_is_asked_for_again() {
    let prices = r#"
        [[price]]
        model = "scripted:model"
        currency = "USD"
        input = 1_000_000
        output = 1_000_000
        valid_from = 2020-01-01
    "#;
    let replies = [Reply::tool_call("none", &json!({})), Reply::text("done [1]")];
    let script = ScriptedModel::new(replies.map(|reply| reply.with_usage(Usage::new(10, 1))));
    for prices in [PriceBook::from_toml("prices.toml", prices).unwrap(), PriceBook::empty()] {
        let engine = built(Engine::builder().prices(prices.clone()), &script).await;
        script.push(Reply::text("done [1]").with_usage(Usage::new(10, 1)));
        let kb = KnowledgeBase::in_memory(HashingEmbedder::default()).await.unwrap();
        kb.add([Document::new("a", "A journal is the truth of a run.")]).await.unwrap();
        engine.use_knowledge(kb);
        engine.register(agent("worker").retrieval(Default::default()).build().unwrap()).unwrap();
        let shout =
            |_ctx, input: raptorflow_core::agent::AgentInput| async move { Ok(input.question().into()) };
        engine.register(FunctionAgent::new(AgentSpec::new("shout").unwrap(), shout)).unwrap();
        for name in ["worker", "shout"] {
            let outcome = engine.run(name, "What is a journal?").await.unwrap();
            assert_eq!(engine.resume(outcome.run_id).await.unwrap(), outcome);
            assert_eq!(outcome.cost.is_some(), name == "worker" && prices != PriceBook::empty());
            assert_eq!(outcome.passages.len(), usize::from(name == "worker"));
        }
    }
}

#[tokio::test]
async fn unknown_names_are_told_beside_the_known_ones() {
    let engine = Engine::builder().build().await.unwrap();
    let needs_tool = AgentSpec { tools: vec!["serch".into()], ..AgentSpec::new("needs-tool").unwrap() };
    let needs_tool = raptorflow_core::agent::AgentBuilder::from_spec(needs_tool).model("offline:extractive");
    engine.register(needs_tool.build().unwrap()).unwrap();
    engine.register(agent("no-model").build().unwrap()).unwrap();
    engine.register(agent("bad-model").model("ofline:extractive").build().unwrap()).unwrap();

    let err = engine.run("ned-tool", "x").await.unwrap_err();
    assert_eq!((err.kind(), err.get("agent")), (ErrorKind::NotFound, Some("ned-tool")));
    assert_eq!(err.get("nearest"), Some("needs-tool"));
    let err = engine.run("zzzzzzzz", "x").await.unwrap_err();
    assert_eq!(err.get("known"), Some("bad-model, needs-tool, no-model"));
    let err = engine.run("needs-tool", "x").await.unwrap_err();
    assert_eq!((err.kind(), err.get("tool")), (ErrorKind::NotFound, Some("serch")));
    assert_eq!((err.get("known"), err.get("agent")), (Some("none"), Some("needs-tool")));
    let err = engine.run("no-model", "x").await.unwrap_err();
    assert_eq!((err.kind(), err.get("field")), (ErrorKind::InvalidInput, Some("model")));
    let err = engine.run("bad-model", "x").await.unwrap_err();
    assert_eq!(err.kind(), ErrorKind::NotFound);
    assert!(err.get("registered").unwrap().contains("offline"), "{err}");
    let err = engine.run("no-model", "x").capability("price").await.unwrap_err();
    assert_eq!((err.get("capability"), err.get("known")), (Some("price"), Some("none")));
}

#[tokio::test]
async fn the_history_of_an_unknown_run_is_not_found_and_that_of_a_known_one_may_be_empty() {
    let engine = engine(&ScriptedModel::new([Reply::text("done")])).await;
    engine.register(agent("worker").build().unwrap()).unwrap();
    let outcome = engine.run("worker", "go").await.unwrap();
    let all = entries(&engine, outcome.run_id).await;
    assert_eq!(engine.history(outcome.run_id, 1, 1).await.unwrap(), all[1..2]);
    assert_eq!(engine.history(outcome.run_id, 99, 1).await.unwrap(), []);
    let unknown = engine.runtime().ids().run();
    assert_eq!(engine.history(unknown, 0, 9).await.unwrap_err().kind(), ErrorKind::NotFound);
    let runs = engine.runs(RunFilter::default()).await.unwrap().runs;
    assert_eq!((runs.len(), runs[0].0, runs[0].1.target.as_str()), (1, outcome.run_id, "worker"));
}

#[tokio::test]
async fn a_run_with_an_id_of_its_own_is_begun_once() {
    let engine = engine(&ScriptedModel::new([]).always(Reply::text("done"))).await;
    engine.register(agent("worker").build().unwrap()).unwrap();
    let id = engine.runtime().ids().run();
    assert_eq!(engine.run("worker", "go").id(id).await.unwrap().run_id, id);
    let err = engine.run("worker", "go").id(id).await.unwrap_err();
    assert_eq!((err.kind(), run_of(&err)), (ErrorKind::AlreadyExists, id));
}

#[tokio::test]
async fn a_failed_repair_is_tried_again_by_every_resume_also_after_an_interruption() {
    let down = Error::new(ErrorKind::Unavailable, "model.stream", "the model is down");
    let script = ScriptedModel::new([
        Reply::text("no JSON"),
        // The first resume gets this far.
        Reply::tool_call("read", &json!({})),
        Reply::error(down),
        // The second one.
        Reply::json(&json!({ "net": 1 })),
    ]);
    let engine = engine(&script).await;
    let mut limits = raptorflow_core::agent::Limits::default();
    limits.repairs = 0;
    let count = Arc::default();
    let worker = agent("worker")
        .output_schema(Schema::new(json!({ "type": "object" })).unwrap())
        .limits(limits)
        .tool(echo("read", Effects::Read, &count));
    engine.register(worker.build().unwrap()).unwrap();
    let err = engine.run("worker", "go").await.unwrap_err();
    assert_eq!(err.kind(), ErrorKind::InvalidOutput);
    let run = run_of(&err);
    assert_eq!(engine.resume(run).await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(engine.resume(run).await.unwrap().output, json!({ "net": 1 }));
    assert_eq!(count.load(Ordering::SeqCst), 1);
}

/// The whole story of one run: a tool that reads, one that writes, an answer; and the agent for it.
fn story() -> (ScriptedModel, Arc<AtomicUsize>, Agent) {
    let script = ScriptedModel::new([]);
    let count = Arc::default();
    let worker =
        agent("worker").tool(echo("read", Effects::Read, &count)).tool(echo("write", Effects::Write, &count));
    (script, count, worker.build().unwrap())
}

fn told(engine: usize) -> [Reply; 3] {
    // What the model says differs by engine, so that a call that was repeated would show in the answer.
    [
        calls(&[
            ("a", "read", json!({ "from": engine })),
            ("b", "read", json!({})),
            ("c", "write", json!({})),
        ]),
        calls(&[("a", "write", json!({ "from": engine }))]),
        Reply::text(format!("done by {engine}")),
    ]
}

/// Plays the story with a fault at one append, resumes it in a second engine, and checks what was repeated.
async fn check_fault(at: usize, fault: Fault) -> bool {
    let (store, (clock, runtime)) = (MemoryStore::new(), standing_still());
    let (storage, log) = FaultyLog::storage(&store, [(at, fault)]);
    let (script, count, worker) = story();
    script_of(&script, 1, 0);
    let first = built(Engine::builder().storage_handle(storage).runtime(runtime.clone()), &script).await;
    first.register(worker.clone()).unwrap();
    let ended = first.run("worker", "go").await;
    let keys = script.keys();
    let err = match ended {
        Ok(outcome) => {
            assert!(at >= log.calls(), "the fault at append {at} was swallowed");
            assert_eq!(outcome.text(), "done by 1");
            return false;
        }
        Err(err) => err,
    };
    assert_eq!(err.kind(), ErrorKind::Unavailable, "{err}");
    let run = run_of(&err);
    drop(first);
    clock.advance(std::time::Duration::from_secs(60));

    let storage = Storage::from_store(Arc::new(store));
    let script = ScriptedModel::new([]);
    let second = built(Engine::builder().storage_handle(storage).runtime(runtime), &script).await;
    second.register(worker).unwrap();
    if at == 0 && fault == Fault::Before {
        assert_eq!(second.resume(run).await.unwrap_err().kind(), ErrorKind::NotFound);
        return true;
    }
    let recorded = entries(&second, run).await;
    let answers = recorded.iter().filter(|entry| matches!(entry.fact, Fact::ModelResponded { .. })).count();
    let results = recorded.iter().filter(|entry| matches!(entry.fact, Fact::ToolReturned { .. })).count();
    let ran_before = count.swap(0, Ordering::SeqCst);
    script_of(&script, 2, answers);
    let outcome = second.resume(run).await.unwrap();
    // Only what was not recorded ran again.
    assert_eq!(script.requests().len(), 3 - answers, "append {at} {fault:?}");
    // A request whose answer was lost is made again with the key that it had.
    let expected: Vec<_> = (0..3).map(|step| Some(format!("{run}/{step}/model"))).collect();
    assert!(expected.starts_with(&keys), "append {at} {fault:?}: {keys:?}");
    assert_eq!(script.keys(), expected[answers..], "append {at} {fault:?}");
    assert_eq!(count.load(Ordering::SeqCst), 4 - results, "append {at} {fault:?}");
    assert!(ran_before >= results && ran_before <= results + 2, "append {at} {fault:?}");
    assert_eq!(outcome.text(), format!("done by {}", if answers == 3 { 1 } else { 2 }));
    assert_eq!(outcome.finish, Finish::Complete);

    let all = entries(&second, run).await;
    assert_eq!(all[..recorded.len()], recorded);
    let ends = all.iter().filter(|entry| matches!(entry.fact, Fact::ExecutionCompleted { .. })).count();
    assert_eq!(ends, 1, "append {at} {fault:?}");
    assert_eq!(second.resume(run).await.unwrap(), outcome);
    true
}

fn script_of(script: &ScriptedModel, engine: usize, skip: usize) {
    told(engine).into_iter().skip(skip).for_each(|reply| script.push(reply));
}

#[tokio::test]
async fn a_fault_at_any_append_repeats_no_recorded_call_in_the_next_engine() {
    for fault in [Fault::Before, Fault::After] {
        let mut at = 0;
        while check_fault(at, fault).await {
            at += 1;
        }
        assert_eq!(at, 9, "appends of the story");
    }
}

#[tokio::test]
async fn what_the_model_is_asked_after_a_resume_is_what_it_would_have_been_asked() {
    let down = || Error::new(ErrorKind::Unavailable, "model.stream", "the model is down");
    let whole = ScriptedModel::new(told(1));
    let [first, second, third] = told(1);
    let broken = ScriptedModel::new([first, Reply::error(down()), second, Reply::error(down()), third]);
    let mut requests = Vec::new();
    for script in [whole, broken] {
        let engine = engine(&script).await;
        engine.register(story().2).unwrap();
        let mut ended = engine.run("worker", "go").await;
        while let Err(err) = ended {
            ended = engine.resume(run_of(&err)).await;
        }
        assert_eq!(ended.unwrap().text(), "done by 1");
        let mut asked = script.requests();
        asked.dedup();
        requests.push(asked);
    }
    assert_eq!(requests[0], requests[1]);
    assert_eq!(texts(&requests[0][0]), ["go"]);
}

#[tokio::test]
async fn pictures_and_files_come_with_the_question_and_survive_a_failure() {
    let refusal = Error::new(ErrorKind::Unauthenticated, "model.stream", "no");
    let script = ScriptedModel::new([Reply::error(refusal), Reply::text("A dot.")]);
    let engine = engine(&script).await;
    engine.register(agent("worker").build().unwrap()).unwrap();
    let image = Part::Image(Media::bytes("image/png", b"PNG").unwrap());
    let file =
        types::Document { media: Media::url("https://host/a.pdf").unwrap(), name: Some("a.pdf".into()) };
    let file = Part::Document(file);
    let err =
        engine.run("worker", "What is it?").attach(image.clone()).attach(file.clone()).await.unwrap_err();
    let outcome = engine.resume(run_of(&err)).await.unwrap();
    assert_eq!(outcome.text(), "A dot.");
    let requests = script.requests();
    let [first, second] = &requests[..] else { panic!("{requests:?}") };
    assert_eq!(first.messages, second.messages);
    assert_eq!(first.messages.last().unwrap().parts, [Part::text("What is it?"), image.clone(), file]);
    let err = engine.run("worker", "x").attach(Part::text("y")).await.unwrap_err();
    assert_eq!(err.kind(), ErrorKind::InvalidInput, "{err}");
    let flow = Workflow::builder("flow").step("ask", workflow::agent("worker")).build().unwrap();
    engine.register(flow).unwrap();
    let err = engine.run("flow", "x").attach(image).await.unwrap_err();
    assert_eq!(err.kind(), ErrorKind::Unsupported, "{err}");
}
