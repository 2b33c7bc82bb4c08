//! The blackboard of a run, and how its agents do.

use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use raptorflow_core::{
    Agent, Engine,
    agent::{AgentBuilder, AgentFilter, AgentKind, AgentSpec, Capability, FunctionAgent, Health, SharedTool},
    error::{Error, ErrorKind},
    journal::{Fact, JournalConfig, Journals, Opened},
    memory::{Blackboard, BlackboardConfig, NoteFilter, Post},
    model::{ChatRequest, Model},
    runtime::Context,
    storage::{MemoryStore, Storage},
    testing::{Fault, FaultyLog, Reply, ScriptedModel},
    tool::FunctionTool,
    types::{Effects, Role, Schema, ToolSpec},
};
use serde_json::{Value, json};

use crate::support::{agent, calls, entries, run_of, settle, standing_still};

fn scripted(name: &str, script: &ScriptedModel) -> AgentBuilder {
    agent(name).model_instance(Model::new(script.clone()))
}

/// What the tools of the last request of a script said.
fn told(script: &ScriptedModel) -> Vec<Value> {
    let requests = script.requests();
    let messages = requests.last().unwrap().messages.iter().filter(|message| message.role == Role::Tool);
    let parts = messages
        .flat_map(|message| serde_json::to_value(&message.parts).unwrap().as_array().unwrap().clone());
    parts.map(|part| part["content"].clone()).collect()
}

fn started() -> Fact {
    Fact::ExecutionStarted {
        target: "team".into(),
        input: Value::Null,
        capability: None,
        background: None,
        user: None,
    }
}

/// A lead who asks a worker that posts, and reads what was posted; each answers by what it was told.
fn team() -> (Agent, ScriptedModel) {
    let rounds = |request: &ChatRequest| request.messages.iter().filter(|it| it.role == Role::Tool).count();
    let post = calls(&[
        ("a", "post_note", json!({ "topic": "price", "note": { "net": 499 } })),
        ("b", "post_note", json!({ "topic": "secret", "note": "hush", "to": "nobody" })),
        ("c", "post_note", json!({ "topic": "price", "note": "for the lead", "to": "lead" })),
    ]);
    let worker = ScriptedModel::new([]).when(move |it| rounds(it) == 1, Reply::text("posted")).always(post);
    let worker = scripted("worker", &worker).blackboard().build().unwrap();
    let ask = calls(&[("a", "worker", json!({ "task": "go" })), ("b", "read_notes", json!({}))]);
    let lead = ScriptedModel::new([]).when(move |it| rounds(it) == 1, Reply::text("read")).always(ask);
    (
        scripted("lead", &lead)
            .tool(worker.as_tool().with_effects(Effects::Write))
            .blackboard()
            .build()
            .unwrap(),
        lead,
    )
}

#[tokio::test]
async fn what_one_agent_posts_another_one_reads_in_the_order_of_the_journal() {
    let (lead, script) = team();
    let engine = Engine::builder().build().await.unwrap();
    let outcome = engine.run(&lead, "go").await.unwrap();
    assert_eq!(outcome.text(), "read");
    let told = told(&script);
    let notes = told[1].as_array().unwrap();
    assert_eq!(notes.len(), 2, "{notes:?}");
    assert_eq!((&notes[0]["topic"], &notes[0]["note"]), (&json!("price"), &json!({ "net": 499 })));
    assert_eq!((&notes[0]["author"], &notes[1]["to"]), (&json!("worker"), &json!("lead")));
    assert!(notes[0]["number"].as_u64() < notes[1]["number"].as_u64());
}

#[tokio::test]
async fn a_resume_finds_the_notes_and_posts_none_twice() {
    for fault in [Fault::Before, Fault::After] {
        let mut faults = 0;
        for at in 1.. {
            let (store, (clock, runtime)) = (MemoryStore::new(), standing_still());
            let (storage, log) = FaultyLog::storage(&store, [(at, fault)]);
            let (lead, script) = team();
            let first =
                Engine::builder().storage_handle(storage).runtime(runtime.clone()).build().await.unwrap();
            let Err(err) = first.run(&lead, "go").await else {
                assert!(at >= log.calls());
                break;
            };
            faults += 1;
            let run = run_of(&err);
            drop(first);
            clock.advance(Duration::from_secs(60));
            let storage = Storage::from_store(Arc::new(store));
            let second = Engine::builder().storage_handle(storage).runtime(runtime).build().await.unwrap();
            second.register(lead).unwrap();
            assert_eq!(second.resume(run).await.unwrap().text(), "read");
            let posted = |fact: &Fact| matches!(fact, Fact::NotePosted { .. });
            let all = entries(&second, run).await;
            assert_eq!(all.iter().filter(|entry| posted(&entry.fact)).count(), 3, "append {at} {fault:?}");
            assert_eq!(told(&script)[1].as_array().unwrap().len(), 2, "append {at} {fault:?}");
        }
        assert_eq!(faults, 13, "appends of the story but the first");
    }
}

#[tokio::test]
async fn a_board_is_bounded_and_keeps_the_first_note_of_a_key() {
    let (_, runtime) = standing_still();
    let journals = Journals::new(Storage::memory(), runtime.clone(), JournalConfig::default());
    let ctx = Context::new(&runtime);
    let journal = journals.create(&ctx, &[started()]).await.unwrap();
    let board = Blackboard::of(&journal).with_config(BlackboardConfig::default().with_notes(8).with_bytes(8));
    let posts = (0..12).map(|n| board.post(&ctx, Post::new(format!("{n}"), "t", n)));
    let ended = futures_util::future::join_all(posts).await;
    let (good, bad): (Vec<_>, Vec<_>) = ended.into_iter().partition(Result::is_ok);
    assert_eq!((good.len(), bad.len()), (8, 4));
    assert!(bad.into_iter().all(|err| err.unwrap_err().kind() == ErrorKind::LimitExceeded));
    let notes = board.read(&NoteFilter::default());
    assert!(notes.windows(2).all(|pair| pair[0].sequence < pair[1].sequence));
    let again = board.post(&ctx, Post::new("3", "other", "x")).await.unwrap();
    assert_eq!(Some(again), board.get("3"));
    let err = board.post(&ctx, Post::new("long", "t", "123456789")).await.unwrap_err();
    assert_eq!((err.kind(), err.get("most")), (ErrorKind::LimitExceeded, Some("8")));
    let error = Error::new(ErrorKind::Unavailable, "host.call", "down");
    journal.finish(&ctx, &[Fact::ExecutionFailed { error }]).await.unwrap();
    drop((board, journal));
    let Opened::Running { journal, .. } = journals.open(&ctx).await.unwrap() else { panic!() };
    assert_eq!(Blackboard::of(&journal).read(&NoteFilter::default()), notes);
    let after = NoteFilter { after: Some(notes[5].sequence), ..NoteFilter::default() };
    assert_eq!(Blackboard::of(&journal).read(&after).len(), 2);
}

#[tokio::test]
async fn agents_of_one_run_share_what_a_tool_said() {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let spec = ToolSpec::new("look", "Looks.", Schema::any_object());
    let look = FunctionTool::new(spec.clone(), move |_ctx, arguments: Value| {
        let number = counted.fetch_add(1, Ordering::SeqCst);
        async move {
            if arguments["plan"] == "none" {
                return Err(Error::new(ErrorKind::NotFound, "host.find", "no such plan"));
            }
            Ok(number.into())
        }
    });
    let err = SharedTool::new(look.clone().with_effects(Effects::Write)).unwrap_err();
    assert_eq!((err.kind(), err.get("tool")), (ErrorKind::InvalidInput, Some("look")));
    let look = SharedTool::new(look).unwrap();
    let low = ScriptedModel::new([
        calls(&[
            ("a", "look", json!({ "plan": "basic", "year": 1 })),
            ("b", "look", json!({ "plan": "none" })),
        ]),
        Reply::text("low"),
    ]);
    let low = scripted("low", &low).tool(look.clone()).build().unwrap();
    let high = ScriptedModel::new([
        calls(&[("a", "low", json!({ "task": "go" }))]),
        calls(&[
            ("a", "look", json!({ "year": 1, "plan": "basic" })),
            ("b", "look", json!({ "plan": "none" })),
        ]),
        Reply::text("high"),
    ]);
    let agent = scripted("high", &high).tool(low.as_tool()).tool(look).build().unwrap();
    let engine = Engine::builder().build().await.unwrap();
    engine.run(&agent, "go").await.unwrap();
    // Errors are not shared, and the order of fields does not matter.
    assert_eq!(count.load(Ordering::SeqCst), 3);
    assert_eq!((&told(&high)[1], &told(&high)[2]["error"]), (&json!(0), &json!("not_found")));
}

#[tokio::test]
async fn it_is_counted_how_an_agent_does() {
    let (clock, runtime) = standing_still();
    let engine = Engine::builder().runtime(runtime).build().await.unwrap();
    let slow = clock.clone();
    let work = move |_ctx, input: raptorflow_core::agent::AgentInput| {
        let slow = slow.clone();
        async move {
            slow.advance(Duration::from_millis(30));
            match input.question().as_str() {
                "fail" => Err(Error::new(ErrorKind::NotFound, "host.find", "nothing there")),
                "hang" => pending().await,
                _ => Ok("done".into()),
            }
        }
    };
    engine.register(FunctionAgent::new(AgentSpec::new("worker").unwrap(), work)).unwrap();
    assert_eq!(engine.agents().metrics("worker").health, Health::Unknown);
    engine.run("worker", "go").await.unwrap();
    engine.run("worker", "fail").await.unwrap_err();
    let run = engine.start("worker", "hang").await.unwrap();
    settle().await;
    let metrics = engine.agents().metrics("worker");
    assert_eq!((metrics.runs, metrics.ok, metrics.failed, metrics.working), (3, 1, 1, 1));
    run.cancel();
    run.outcome().await.unwrap_err();
    let metrics = engine.agents().metrics("worker");
    assert_eq!(
        (metrics.cancelled, metrics.working, metrics.error_rate, metrics.availability),
        (1, 0, 0.5, 0.5)
    );
    assert_eq!((metrics.health, metrics.latency.count()), (Health::Degraded, 2));
    assert_eq!(metrics.latency.quantile(0.5), Some(Duration::from_millis(30)));
    assert!(metrics.last_seen >= metrics.last_run && metrics.last_run.is_some());
    assert!(engine.agents().remove("worker"));
    assert_eq!(engine.agents().metrics("worker").runs, 0);
}

#[tokio::test]
async fn agents_are_found_by_domain_capability_kind_and_tag() {
    let engine = Engine::builder().build().await.unwrap();
    let object = || Schema::new(json!({ "type": "object" })).unwrap();
    let price: Capability = serde_json::from_value(json!({
        "name": "price", "description": "Works a price out.", "input": object(), "output": object()
    }))
    .unwrap();
    let spec = AgentSpec { tags: vec!["tax".into()], ..AgentSpec::new("clerk").unwrap() };
    engine.register(AgentBuilder::from_spec(spec).domain("shop").build().unwrap()).unwrap();
    engine.register(agent("pricing").domain("shop").capability(price).build().unwrap()).unwrap();
    engine.register(agent("guard").kind(AgentKind::Security).build().unwrap()).unwrap();
    let names = |filter: AgentFilter| -> Vec<String> {
        engine.agents().find(&filter).iter().map(|agent| agent.name().to_string()).collect()
    };
    let any = AgentFilter::default;
    assert_eq!(names(any()), ["clerk", "guard", "pricing"]);
    assert_eq!(names(AgentFilter { domain: Some("shop".into()), ..any() }), ["clerk", "pricing"]);
    assert_eq!(names(AgentFilter { capability: Some("price".into()), ..any() }), ["pricing"]);
    assert_eq!(names(AgentFilter { kind: Some(AgentKind::Security), ..any() }), ["guard"]);
    let both = AgentFilter { domain: Some("shop".into()), tag: Some("tax".into()), ..any() };
    assert_eq!(names(both), ["clerk"]);
}
