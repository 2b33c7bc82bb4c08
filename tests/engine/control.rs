//! Who stops a run and what is left of it: cancellation, time-outs, dropped futures, shutdown.

use std::{
    future,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::StreamExt as _;
use raptorflow_core::{
    Engine,
    agent::{AgentSpec, Capability, FunctionAgent, Limits},
    engine::RunRequest,
    error::{Error, ErrorKind},
    event::EventKind,
    journal::RunFilter,
    runtime::{Cancel, Runtime, Tasks},
    storage::Storage,
    testing::{ManualClock, Reply, ScriptedModel},
    tool::FunctionTool,
    types::{RunId, Schema, ToolSpec},
};
use serde_json::{Value, json};

use crate::support::{agent, built, engine, events, facts, kinds, run_of, settle, standing_still};

fn hanging() -> ScriptedModel {
    ScriptedModel::new([]).always(Reply::hang())
}

/// An engine under a clock that stands still, with an agent `worker` whose model plays the script.
async fn timed(script: &ScriptedModel, limits: Limits) -> (Engine, ManualClock) {
    let (clock, runtime) = standing_still();
    let engine = built(Engine::builder().runtime(runtime), script).await;
    let capability = Capability {
        name: "price".into(),
        description: "Prices things.".into(),
        timeout_seconds: 20,
        retries: 3,
        effects: raptorflow_core::types::Effects::External,
        cache_seconds: 300,
        input: Schema::any_object(),
        output: Schema::any_object(),
    };
    let worker = agent("worker").limits(limits).capability(capability.clone());
    engine.register(worker.build().unwrap()).unwrap();
    let spec = AgentSpec { capabilities: vec![capability], limits, ..AgentSpec::new("function").unwrap() };
    let function = FunctionAgent::new(spec, |_, _| future::pending());
    engine.register(function).unwrap();
    (engine, clock)
}

#[tokio::test]
async fn a_run_can_be_cancelled_by_its_id_as_soon_as_it_is_started() {
    let engine = engine(&hanging()).await;
    engine.register(agent("worker").build().unwrap()).unwrap();
    let run = engine.start("worker", "go").await.unwrap();
    let id = run.id();
    engine.cancel(id).await.unwrap();
    assert_eq!(run.outcome().await.unwrap_err().kind(), ErrorKind::Cancelled);
    assert_eq!(facts(&engine, id).await, ["execution_started", "execution_cancelled"]);
}

#[tokio::test]
async fn cancelling_stops_the_work_below_at_its_next_poll_and_is_final() {
    let dropped = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&dropped);
    let spec = ToolSpec::new("wait", "Waits.", Schema::any_object());
    let wait = FunctionTool::new(spec, move |_, _| {
        let guard = OnDrop(Arc::clone(&seen));
        async move {
            let _guard = guard;
            future::pending().await
        }
    });
    let script = ScriptedModel::new([Reply::tool_call("wait", &json!({}))]);
    let engine = engine(&script).await;
    engine.register(agent("worker").tool(wait).build().unwrap()).unwrap();
    let run = engine.start("worker", "go").await.unwrap();
    let id = run.id();
    settle().await;
    run.cancel();
    assert_eq!(dropped.load(Ordering::SeqCst), 0);
    tokio::task::yield_now().await;
    assert_eq!(dropped.load(Ordering::SeqCst), 1);

    let err = run.outcome().await.unwrap_err();
    assert_eq!((err.kind(), run_of(&err)), (ErrorKind::Cancelled, id));
    assert_eq!(facts(&engine, id).await, ["execution_started", "model_responded", "execution_cancelled"]);
    assert_eq!(kinds(&engine, id), ["agent_started", "capability_executed", "agent_failed"]);
    let again = engine.resume(id).await.unwrap_err();
    assert_eq!((again.kind(), run_of(&again)), (ErrorKind::Cancelled, id));
    assert_eq!(engine.cancel(id).await.unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(script.requests().len(), 1);
}

/// Counts when it is dropped.
struct OnDrop(Arc<AtomicUsize>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn a_token_of_the_host_cancels_a_run_before_and_while_it_works() {
    let engine = engine(&hanging()).await;
    engine.register(agent("worker").build().unwrap()).unwrap();
    let early = Cancel::new();
    early.cancel();
    let err = engine.run("worker", "go").cancel_with(&early).await.unwrap_err();
    assert_eq!(err.kind(), ErrorKind::Cancelled);

    let late = Cancel::new();
    let run = engine.run("worker", "go").cancel_with(&late).start().await.unwrap();
    settle().await;
    late.cancel();
    assert_eq!(run.outcome().await.unwrap_err().kind(), ErrorKind::Cancelled);

    // The token of one run is not cancelled with it.
    let shared = Cancel::new();
    let run = engine.run("worker", "go").cancel_with(&shared).start().await.unwrap();
    run.cancel();
    assert_eq!(run.outcome().await.unwrap_err().kind(), ErrorKind::Cancelled);
    assert!(!shared.is_cancelled());
}

#[tokio::test]
async fn a_dropped_run_tells_once_that_it_failed_and_goes_on_when_resumed() {
    let script = ScriptedModel::new([Reply::hang(), Reply::text("done")]);
    let engine = engine(&script).await;
    engine.register(agent("worker").build().unwrap()).unwrap();
    let id = engine.runtime().ids().run();
    {
        let mut work = Box::pin(engine.run("worker", "go").id(id).into_future());
        assert!(futures_util::poll!(&mut work).is_pending());
    }
    assert_eq!(kinds(&engine, id), ["agent_started", "agent_failed"]);
    assert_eq!(events(&engine, id)[1].data["error"], json!("cancelled"));
    assert_eq!(facts(&engine, id).await, ["execution_started"]);
    assert_eq!(engine.resume(id).await.unwrap().text(), "done");
    assert_eq!(
        kinds(&engine, id)[2..],
        ["agent_started", "capability_executed", "result_generated", "agent_completed"]
    );
}

/// Runs a request under a clock, moves the time to just before `seconds` and then on, and gives the error.
async fn times_out(engine: &Engine, clock: &ManualClock, request: RunRequest, seconds: u64) -> Error {
    let run = request.start().await.unwrap();
    let id = run.id();
    settle().await;
    clock.advance(Duration::from_secs(seconds) - Duration::from_millis(1));
    settle().await;
    assert_eq!(kinds(engine, id), ["agent_started"], "it ended before {seconds} s");
    clock.advance(Duration::from_millis(1));
    settle().await;
    let err = run.outcome().await.unwrap_err();
    assert_eq!(kinds(engine, id), ["agent_started", "agent_failed"]);
    assert_eq!(facts(engine, id).await.last().unwrap(), "execution_failed");
    err
}

#[tokio::test]
async fn every_time_out_runs_for_agents_with_a_model_and_for_functions() {
    let mut limits = Limits::default();
    for (capability, seconds, run, ends) in [
        (true, None, None, 20),
        (true, Some(7), None, 7),
        (true, Some(30), None, 20),
        (false, Some(7), None, 7),
        (false, None, Some(5), 5),
        (true, Some(7), Some(5), 5),
        (true, Some(7), Some(50), 7),
    ] {
        limits.seconds = seconds;
        for name in ["worker", "function"] {
            let (engine, clock) = timed(&hanging(), limits).await;
            let mut request = engine.run(name, json!({ "goal": "x" }));
            if capability {
                request = request.capability("price");
            }
            if let Some(run) = run {
                request = request.timeout(Duration::from_secs(run));
            }
            let err = times_out(&engine, &clock, request, ends).await;
            assert_eq!(err.kind(), ErrorKind::Timeout, "{name} {capability} {seconds:?} {run:?}");
        }
    }
}

#[tokio::test]
async fn a_run_that_timed_out_has_its_whole_time_again_when_resumed() {
    let mut limits = Limits::default();
    limits.seconds = Some(7);
    let script = ScriptedModel::new([Reply::hang(), Reply::text("late").with_delay(Duration::from_secs(6))]);
    let (engine, clock) = timed(&script, limits).await;
    let run = times_out(&engine, &clock, engine.run("worker", "x"), 7).await;
    let run = engine.resume(run_of(&run)).start().await.unwrap();
    settle().await;
    clock.advance(Duration::from_secs(6));
    assert_eq!(run.outcome().await.unwrap().text(), "late");
}

#[tokio::test]
async fn a_shutdown_stops_every_run_and_each_can_be_resumed() {
    let (clock, runtime) = standing_still();
    let storage = Storage::memory();
    let script = hanging();
    let first = built(Engine::builder().storage_handle(storage.clone()).runtime(runtime), &script).await;
    first.register(agent("worker").build().unwrap()).unwrap();
    let token = Cancel::new();
    let plain = first.start("worker", "go").await.unwrap();
    let with_token = first.run("worker", "go").cancel_with(&token).start().await.unwrap();
    let ids = [plain.id(), with_token.id()];
    settle().await;
    first.shutdown().await.unwrap();
    assert!(!token.is_cancelled());
    for run in [plain, with_token] {
        assert_eq!(run.outcome().await.unwrap_err().kind(), ErrorKind::Cancelled);
    }

    // Another process, later.
    clock.advance(Duration::from_secs(60));
    let runtime = Runtime::new(Arc::new(clock), Tasks::current().unwrap());
    let script = ScriptedModel::new([]).always(Reply::text("done"));
    let second = built(Engine::builder().storage_handle(storage).runtime(runtime), &script).await;
    second.register(agent("worker").build().unwrap()).unwrap();
    for id in ids {
        assert_eq!(facts(&second, id).await, ["execution_started"]);
        assert_eq!(second.resume(id).await.unwrap().text(), "done");
    }
}

#[tokio::test]
async fn an_error_that_says_cancelled_is_no_cancellation_of_the_run() {
    let engine = engine(&hanging()).await;
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let function = FunctionAgent::new(AgentSpec::new("function").unwrap(), move |_, _| {
        let first = counted.fetch_add(1, Ordering::SeqCst) == 0;
        async move {
            if first {
                Err(Error::new(ErrorKind::Cancelled, "host.work", "a task inside was aborted"))
            } else {
                Ok(json!("done"))
            }
        }
    });
    engine.register(function).unwrap();
    let err = engine.run("function", "go").await.unwrap_err();
    assert_eq!(err.kind(), ErrorKind::Cancelled);
    assert_eq!(facts(&engine, run_of(&err)).await.last().unwrap(), "execution_failed");
    assert_eq!(engine.resume(run_of(&err)).await.unwrap().text(), "done");
}

#[tokio::test]
async fn pieces_of_answers_are_published_only_when_asked_for() {
    for content in [false, true] {
        let script = ScriptedModel::new([Reply::text("one two").in_pieces(4)]);
        let engine = engine(&script).await;
        engine.register(agent("worker").build().unwrap()).unwrap();
        let outcome = engine.run("worker", "go").content(content).await.unwrap();
        let pieces: Vec<Value> = events(&engine, outcome.run_id)
            .iter()
            .filter(|event| event.kind == EventKind::MessageSent)
            .map(|event| event.data["text"].clone())
            .collect();
        assert_eq!(pieces, if content { vec![json!("one "), json!("two")] } else { vec![] });
    }
}

#[tokio::test]
async fn the_events_of_a_started_run_end_with_it_and_then_its_outcome_is_there() {
    let engine = engine(&ScriptedModel::new([Reply::text("done"), Reply::text("other")])).await;
    engine.register(agent("worker").build().unwrap()).unwrap();
    let run = engine.start("worker", "go").await.unwrap();
    let other = engine.start("worker", "go").await.unwrap();
    let (id, mut told) = (run.id(), run.events());
    let mut seen = Vec::new();
    while let Some(event) = told.next().await {
        let event = event.unwrap();
        assert_eq!(event.run, Some(id));
        seen.push(event.kind.name().to_owned());
    }
    assert_eq!(seen, ["agent_started", "capability_executed", "result_generated", "agent_completed"]);
    assert!(told.next().await.is_none());
    assert_eq!(told.outcome().await.unwrap().text(), "done");
    assert_eq!(other.events().outcome().await.unwrap().text(), "other");

    // Of a run that had ended there is nothing to tell.
    let ended = engine.resume(id).start().await.unwrap();
    let mut told = ended.events();
    assert!(told.next().await.is_none());
    assert_eq!(told.outcome().await.unwrap().text(), "done");
}

#[tokio::test]
async fn who_takes_too_few_events_learns_how_many_are_missing() {
    let text = "x".repeat(5000);
    let engine = engine(&ScriptedModel::new([Reply::text(&text).in_pieces(1)])).await;
    engine.register(agent("worker").build().unwrap()).unwrap();
    let run = engine.run("worker", "go").content(true).start().await.unwrap();
    settle().await;
    let items: Vec<_> = run.events().collect().await;
    let missing: Vec<&Error> = items.iter().filter_map(|item| item.as_ref().err()).collect();
    // 5,000 pieces and 4 events around them, of which 4,096 are kept.
    assert_eq!((missing.len(), missing[0].get("missed")), (1, Some("908")));
    assert_eq!(items.len(), 4096 + 1);
    assert_eq!(items.last().unwrap().as_ref().unwrap().kind, EventKind::AgentCompleted);
}

#[tokio::test]
async fn a_started_run_goes_on_when_its_handle_is_dropped() {
    let engine = engine(&ScriptedModel::new([Reply::text("done")])).await;
    engine.register(agent("worker").build().unwrap()).unwrap();
    let id = engine.start("worker", "go").await.unwrap().id();
    settle().await;
    assert_eq!(facts(&engine, id).await.last().unwrap(), "execution_completed");
}

#[tokio::test]
async fn data_of_the_host_reaches_tools_and_functions() {
    struct Host(&'static str);
    let engine =
        engine(&ScriptedModel::new([Reply::tool_call("whose", &json!({})), Reply::text("done")])).await;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (of_tool, of_function) = (Arc::clone(&seen), Arc::clone(&seen));
    let look = |ctx: &raptorflow_core::runtime::Context| ctx.extension::<Host>().unwrap().0;
    let spec = ToolSpec::new("whose", "Says whose it is.", Schema::any_object());
    let whose = FunctionTool::new(spec, move |ctx, _| {
        of_tool.lock().unwrap().push(look(&ctx));
        async { Ok(json!(null)) }
    });
    let function = FunctionAgent::new(AgentSpec::new("function").unwrap(), move |ctx, _| {
        of_function.lock().unwrap().push(look(&ctx));
        async { Ok(json!(null)) }
    });
    engine.register(agent("worker").tool(whose).build().unwrap()).unwrap();
    engine.register(function).unwrap();
    engine.run("worker", "go").extension(Arc::new(Host("a"))).await.unwrap();
    engine.run("function", "go").extension(Arc::new(Host("b"))).await.unwrap();
    assert_eq!(*seen.lock().unwrap(), ["a", "b"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_runs_at_once_each_get_their_own_answer() {
    let engine = Engine::builder().build().await.unwrap();
    let echo = FunctionAgent::new(AgentSpec::new("echo").unwrap(), |_, input| async move {
        tokio::task::yield_now().await;
        Ok(input.input)
    });
    engine.register(echo).unwrap();
    let mut runs = Vec::new();
    for number in 0..1000 {
        runs.push((number, engine.start("echo", json!(number)).await.unwrap()));
    }
    let mut ids: Vec<RunId> = Vec::new();
    for (number, run) in runs {
        ids.push(run.id());
        assert_eq!(run.outcome().await.unwrap().output, json!(number));
    }
    let all = RunFilter { limit: 2000, ..RunFilter::default() };
    let listed: Vec<RunId> = engine.runs(all).await.unwrap().runs.into_iter().map(|(id, _)| id).collect();
    assert_eq!(listed, ids);
}
