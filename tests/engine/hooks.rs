//! Hooks: in which order they are asked, what each verdict does, that a failure ends the run, and what a resume repeats.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::StreamExt as _;
use raptorflow_core::{
    Engine,
    agent::{AgentBuilder, Limits},
    engine::AnswerPart,
    error::ErrorKind,
    journal::{Fact, JournalConfig},
    model::{ChatRequest, Model},
    storage::Storage,
    testing::{Reply, ScriptedModel},
    types::{Finish, Limit, Message, Moment, Part, ToolResult, Usage},
};
use serde_json::{Value, json};

use crate::{
    support::{agent, built, calls, engine, entries, events, facts, run_of, settle, standing_still},
    told_hooks::{Log, Says, Told, echo},
};

fn all(says: &Says) -> [(Moment, Says); 7] {
    Moment::ALL.map(|moment| (moment, says.clone()))
}

fn wanted() -> Vec<Reply> {
    vec![
        Reply::tool_call("echo", &json!({ "text": "hi" })).with_usage(Usage::new(3, 1)),
        Reply::text("done").with_usage(Usage::new(5, 2)),
    ]
}

/// An engine with one agent, its model, and what the tool was called with.
struct Shop {
    engine: Engine,
    script: ScriptedModel,
    called: Arc<Mutex<Vec<Value>>>,
}

async fn shop(hooks: impl IntoIterator<Item = Told>) -> Shop {
    let (script, called) = (ScriptedModel::new(wanted()), Arc::default());
    let engine = engine(&script).await;
    let builder = agent("clerk").tool(echo(&called));
    let clerk = hooks.into_iter().fold(builder, AgentBuilder::hook).build().unwrap();
    engine.register(clerk).unwrap();
    Shop { engine, script, called }
}

impl Shop {
    fn called(&self) -> Vec<Value> {
        self.called.lock().unwrap().clone()
    }
}

#[tokio::test]
async fn hooks_are_asked_in_order_before_and_in_reverse_order_after() {
    let log = Log::default();
    let shop = shop([log.hook("a", all(&Says::Nothing)), log.hook("b", all(&Says::Nothing))]).await;
    shop.engine.add_hook(log.hook("engine", all(&Says::Nothing)));
    assert_eq!(shop.engine.run("clerk", "go").await.unwrap().text(), "done");
    let step = |tools: bool| {
        let moments =
            ["before_step", "before_model", "after_model", "before_tool", "after_tool", "after_step"];
        moments.into_iter().filter(move |moment| tools || !moment.ends_with("tool")).flat_map(|moment| {
            let mut names = ["engine", "a", "b"];
            if moment.starts_with("after") {
                names.reverse();
            }
            names.map(|name| format!("{name} {moment}"))
        })
    };
    assert_eq!(log.names(), step(true).chain(step(false)).collect::<Vec<_>>());
    assert_eq!(log.about("a after_step"), json!([2, "done"]));
    assert_eq!(log.about("a after_model"), json!([2, "done"]));
    assert_eq!(log.about("a before_tool"), json!([1, { "text": "hi" }]));
}

#[tokio::test]
async fn a_run_without_hooks_records_what_it_always_did() {
    let plain = shop([]).await;
    let run = plain.engine.run("clerk", "go").await.unwrap().run_id;
    let without = facts(&plain.engine, run).await;
    let log = Log::default();
    let quiet = [Moment::BeforeStep, Moment::BeforeModel, Moment::BeforeTool].map(|it| (it, Says::Nothing));
    let watched = shop([log.hook("a", quiet)]).await;
    let run = watched.engine.run("clerk", "go").await.unwrap().run_id;
    assert_eq!(facts(&watched.engine, run).await, without);
    assert_eq!(log.names().len(), 5);
}

#[tokio::test]
async fn a_changed_request_is_for_one_question_and_seen_by_the_next_hook() {
    let log = Log::default();
    let changed = serde_json::to_value(ChatRequest::new(vec![Message::user("in other words")])).unwrap();
    let first = log.hook("a", [(Moment::BeforeModel, Says::Change(changed.clone()))]);
    let shop = shop([first, log.hook("b", [(Moment::BeforeModel, Says::Nothing)])]).await;
    let run = shop.engine.run("clerk", "go").await.unwrap().run_id;
    assert_eq!(shop.script.requests()[0].messages[0].text(), "in other words");
    assert_eq!(log.about("b before_model"), changed);
    let steered: Vec<_> = events(&shop.engine, run)
        .iter()
        .filter(|event| event.kind.name() == "agent.hook")
        .map(|event| event.data.clone())
        .collect();
    let expected = json!({ "moment": "before_model", "hooks": ["a"], "verdict": "change" });
    assert_eq!(steered, [expected.clone(), expected]);
}

#[tokio::test]
async fn a_hook_answers_in_place_of_the_model_and_it_costs_nothing() {
    let log = Log::default();
    let answer = serde_json::to_value(Message::assistant("from the shelf")).unwrap();
    let hook = log.hook("a", [(Moment::BeforeModel, Says::Answer(answer))]);
    let shop = shop([hook, log.hook("b", [(Moment::BeforeModel, Says::Nothing)])]).await;
    let outcome = shop.engine.run("clerk", "go").await.unwrap();
    assert_eq!((outcome.text().as_str(), outcome.usage), ("from the shelf", Usage::default()));
    assert_eq!((shop.script.requests().len(), log.names().len()), (0, 1));
}

#[tokio::test]
async fn a_hook_changes_the_answer_of_the_model_before_it_counts_and_before_it_is_shown() {
    let log = Log::default();
    let answer = serde_json::to_value(Message::assistant("{\"value\": 1300}")).unwrap();
    let shop = shop([]).await;
    let script = ScriptedModel::new([Reply::text("{\"value\": 1200}").in_pieces(1)]);
    let agent = agent("counter").model_instance(Model::new(script));
    let agent = agent.hook(log.hook("a", [(Moment::AfterModel, Says::Change(answer))])).build().unwrap();
    shop.engine.register(agent).unwrap();
    let parts: Vec<_> =
        shop.engine.ask::<u32>("How many?").agent("counter").stream().unwrap().collect().await;
    let Some(Ok(AnswerPart::Done(outcome))) = parts.last() else { panic!("{parts:?}") };
    assert_eq!(outcome.value, 1300);
    let partial = |part: &_| matches!(part, Ok(AnswerPart::Partial { value, .. }) if *value == json!(1300));
    assert!(partial(&parts[0]) && parts.len() == 2, "{parts:?}");
}

#[tokio::test]
async fn a_refusal_about_the_model_ends_the_run_and_a_resume_asks_again() {
    for (moment, asked) in
        [(Moment::BeforeStep, 0), (Moment::BeforeModel, 0), (Moment::AfterModel, 1), (Moment::AfterStep, 1)]
    {
        let log = Log::default();
        let shop = shop([log.hook("a", [(moment, Says::Refuse)])]).await;
        let err = shop.engine.run("clerk", "go").await.unwrap_err();
        assert_eq!((err.kind(), err.operation()), (ErrorKind::PermissionDenied, "agent.hook"), "{err}");
        let named = (err.get("hook"), err.get("moment"), err.get("reason"));
        assert_eq!(named, (Some("a"), Some(moment.name()), Some("not today")));
        assert_eq!(shop.script.requests().len(), asked, "{moment:?}");
        assert_eq!(shop.called().len(), usize::from(moment == Moment::AfterStep));
        shop.engine.resume(run_of(&err)).await.unwrap_err();
        assert_eq!(log.names().len(), 2, "{moment:?}");
    }
}

#[tokio::test]
async fn changed_arguments_are_what_the_tool_gets_and_what_later_hooks_see() {
    let log = Log::default();
    let hook = log.hook("a", [(Moment::BeforeTool, Says::Change(json!({ "text": "ho" })))]);
    let watch = [(Moment::BeforeTool, Says::Nothing), (Moment::AfterTool, Says::Nothing)];
    let shop = shop([hook, log.hook("b", watch)]).await;
    shop.engine.run("clerk", "go").await.unwrap();
    assert_eq!(shop.called(), [json!({ "text": "ho" })]);
    assert_eq!(log.about("b before_tool"), json!([1, { "text": "ho" }]));
    assert_eq!(log.about("b after_tool"), json!([{ "text": "ho" }, { "text": "ho" }]));
}

#[tokio::test]
async fn changed_arguments_that_do_not_fit_the_tool_end_the_run() {
    for wrong in [json!({ "text": 7 }), json!("text")] {
        let hook = Log::default().hook("a", [(Moment::BeforeTool, Says::Change(wrong))]);
        let shop = shop([hook]).await;
        let err = shop.engine.run("clerk", "go").await.unwrap_err();
        assert_eq!((err.kind(), err.operation()), (ErrorKind::InvalidInput, "agent.hook"), "{err}");
        assert_eq!((err.get("hook"), err.get("tool")), (Some("a"), Some("echo")));
        assert_eq!(shop.called().len(), 0);
    }
}

#[tokio::test]
async fn a_hook_answers_or_refuses_a_call_of_a_tool_and_the_model_is_told() {
    let refused =
        json!({ "error": "permission_denied", "message": "a hook refused the call", "reason": "not today" });
    for (says, content, is_error) in
        [(Says::Answer(json!("from memory")), json!("from memory"), false), (Says::Refuse, refused, true)]
    {
        let log = Log::default();
        let after = (Moment::AfterTool, Says::Nothing);
        let shop = shop([log.hook("a", [(Moment::BeforeTool, says), after])]).await;
        let outcome = shop.engine.run("clerk", "go").await.unwrap();
        assert_eq!((outcome.text().as_str(), shop.called().len()), ("done", 0));
        let told = result(&shop.script.requests()[1]);
        assert_eq!((&told.content, told.is_error), (&content, is_error));
        // It is the last word.
        assert_eq!(log.names(), ["a before_tool"]);
        let names = facts(&shop.engine, outcome.run_id).await;
        let decided = names.iter().position(|name| name.ends_with("hook_decided")).unwrap();
        assert!(names[decided + 1].ends_with("tool_returned"), "{names:?}");
    }
}

fn result(request: &ChatRequest) -> ToolResult {
    let parts = request.messages.iter().flat_map(|message| &message.parts);
    let mut results = parts.filter_map(|part| match part {
        Part::ToolResult(result) => Some(result.clone()),
        _ => None,
    });
    results.next().unwrap()
}

#[tokio::test]
async fn a_hook_changes_or_withholds_the_result_of_a_tool() {
    let other = json!({ "id": "of another call", "name": "other", "content": "less" });
    let withheld = json!({ "error": "permission_denied", "message": "a hook withheld the result", "reason": "not today" });
    for (says, content, is_error) in
        [(Says::Change(other), json!("less"), false), (Says::Refuse, withheld, true)]
    {
        let shop = shop([Log::default().hook("a", [(Moment::AfterTool, says)])]).await;
        shop.engine.run("clerk", "go").await.unwrap();
        let told = result(&shop.script.requests()[1]);
        assert_eq!((told.name.as_str(), &told.content, told.is_error), ("echo", &content, is_error));
        assert_eq!(shop.called().len(), 1);
    }
}

#[tokio::test]
async fn a_hook_ends_the_run_at_any_moment_with_its_answer_or_with_what_there_is() {
    for moment in Moment::ALL.into_iter().filter(|it| *it != Moment::Handoff) {
        for (output, expected) in [(Some(json!("enough")), "enough"), (None, "")] {
            let shop = shop([Log::default().hook("a", [(moment, Says::Stop(output))])]).await;
            let outcome = shop.engine.run("clerk", "go").await.unwrap();
            assert_eq!(outcome.finish, Finish::Limited(Limit::Hook), "{moment:?}");
            assert_eq!(outcome.text(), expected, "{moment:?}");
            assert!(shop.script.requests().len() <= 1);
            let again = shop.engine.resume(outcome.run_id).await.unwrap();
            assert_eq!((again.finish, again.text()), (outcome.finish, outcome.text()));
        }
    }
}

#[tokio::test]
async fn a_failure_of_a_hook_ends_the_run_and_names_the_hook_and_the_moment() {
    for moment in Moment::ALL.into_iter().filter(|it| *it != Moment::Handoff) {
        for (says, kind) in [(Says::Fail, ErrorKind::Unavailable), (Says::Panic, ErrorKind::Callback)] {
            let log = Log::default();
            let shop = shop([log.hook("a", [(moment, says)])]).await;
            let err = shop.engine.run("clerk", "go").await.unwrap_err();
            assert_eq!((err.kind(), err.operation()), (kind, "agent.hook"), "{moment:?}: {err}");
            assert_eq!((err.get("hook"), err.get("moment")), (Some("a"), Some(moment.name())));
            assert_eq!(log.names().len(), 1);
            let last = facts(&shop.engine, run_of(&err)).await.pop().unwrap();
            assert_eq!(last, "execution_failed");
        }
    }
}

#[tokio::test]
async fn a_hook_that_hangs_is_ended_by_its_time() {
    let (clock, runtime) = standing_still();
    let script = ScriptedModel::new(wanted());
    let engine = built(Engine::builder().runtime(runtime), &script).await;
    let hook = Log::default().hook("slow", [(Moment::BeforeModel, Says::Hang)]);
    let mut limits = Limits::default();
    limits.hook_seconds = 7;
    engine.register(agent("clerk").limits(limits).hook(hook).build().unwrap()).unwrap();
    let run = engine.start("clerk", "go").await.unwrap();
    settle().await;
    clock.advance(Duration::from_secs(7));
    let err = run.outcome().await.unwrap_err();
    assert_eq!((err.kind(), err.operation()), (ErrorKind::Timeout, "agent.hook"), "{err}");
    assert_eq!((err.get("hook"), err.get("seconds")), (Some("slow"), Some("7")));
}

#[tokio::test]
async fn a_run_that_is_cancelled_while_a_hook_thinks_is_cancelled() {
    let shop = shop([Log::default().hook("slow", [(Moment::AfterTool, Says::Hang)])]).await;
    let run = shop.engine.start("clerk", "go").await.unwrap();
    let id = run.id();
    while shop.called().is_empty() {
        tokio::task::yield_now().await;
    }
    run.cancel();
    assert_eq!(run.outcome().await.unwrap_err().kind(), ErrorKind::Cancelled);
    assert_eq!(facts(&shop.engine, id).await.pop().unwrap(), "execution_cancelled");
}

#[tokio::test]
async fn neither_model_nor_tool_is_asked_twice_when_a_hook_after_them_fails_or_dies() {
    let both = || ScriptedModel::new(wanted());
    for (moment, fails) in [Moment::AfterModel, Moment::AfterTool, Moment::AfterStep]
        .into_iter()
        .flat_map(|it| [(it, true), (it, false)])
    {
        let storage = Storage::memory();
        let (script, called, log) = (both(), Arc::default(), Log::default());
        let open = async |says: Says| {
            let mut journal = JournalConfig::default();
            journal.owner = Some("host".into());
            let builder = Engine::builder().storage_handle(storage.clone()).journal(journal);
            let engine = built(builder, &script).await;
            let hook = log.hook("a", [(moment, says)]);
            engine.register(agent("clerk").tool(echo(&called)).hook(hook).build().unwrap()).unwrap();
            engine
        };
        let first = open(if fails { Says::Fail } else { Says::Hang }).await;
        let id = if fails {
            run_of(&first.run("clerk", "go").await.unwrap_err())
        } else {
            let run = first.start("clerk", "go").await.unwrap();
            while log.names().is_empty() {
                tokio::task::yield_now().await;
            }
            let id = run.id();
            crate::flows::kill(first, run).await;
            id
        };
        let second = open(Says::Nothing).await;
        let outcome = second.resume(id).await.unwrap();
        assert_eq!((outcome.text().as_str(), outcome.usage), ("done", Usage::new(8, 3)), "{moment:?}");
        assert_eq!((script.requests().len(), called.lock().unwrap().len()), (2, 1), "{moment:?}");
        // The one that was not decided is asked about again, and no other.
        let times = if moment == Moment::AfterTool { 1 } else { 2 };
        assert_eq!(log.names().len(), times + 1, "{moment:?}");
    }
}

#[tokio::test]
async fn a_resumed_run_goes_by_what_was_changed_and_does_not_ask_again() {
    let storage = Storage::memory();
    let changed = serde_json::to_value(ChatRequest::new(vec![Message::user("in other words")])).unwrap();
    let (log, called) = (Log::default(), Arc::default());
    let open = async |script: &ScriptedModel, says: Says| {
        let mut journal = JournalConfig::default();
        journal.owner = Some("host".into());
        let builder = Engine::builder().storage_handle(storage.clone()).journal(journal);
        let engine = built(builder, script).await;
        let hook = log.hook("a", [(Moment::BeforeModel, says)]);
        engine.register(agent("clerk").tool(echo(&called)).hook(hook).build().unwrap()).unwrap();
        engine
    };
    let hangs = ScriptedModel::new([Reply::hang()]);
    let first = open(&hangs, Says::Change(changed)).await;
    let run = first.start("clerk", "go").await.unwrap();
    while hangs.requests().is_empty() {
        tokio::task::yield_now().await;
    }
    let id = run.id();
    crate::flows::kill(first, run).await;
    let script = ScriptedModel::new([Reply::text("done")]);
    let second = open(&script, Says::Refuse).await;
    assert_eq!(second.resume(id).await.unwrap().text(), "done");
    assert_eq!(script.requests()[0].messages, [Message::user("in other words")]);
    assert_eq!(log.names().len(), 1);
    let decided =
        entries(&second, id).await.into_iter().filter(|it| matches!(it.fact, Fact::HookDecided { .. }));
    assert_eq!(decided.count(), 1);
}

#[tokio::test]
async fn several_calls_of_one_step_are_each_steered() {
    let log = Log::default();
    let shop = shop([log.hook("a", [(Moment::BeforeTool, Says::Change(json!({ "text": "same" })))])]).await;
    let script = ScriptedModel::new([
        calls(&[("1", "echo", json!({ "text": "x" })), ("2", "echo", json!({ "text": "y" }))]),
        Reply::text("both"),
    ]);
    let called = Arc::default();
    let builder = agent("two").model_instance(Model::new(script)).tool(echo(&called));
    let hook = log.hook("b", [(Moment::BeforeTool, Says::Change(json!({ "text": "same" })))]);
    shop.engine.register(builder.hook(hook).build().unwrap()).unwrap();
    assert_eq!(shop.engine.run("two", "go").await.unwrap().text(), "both");
    assert_eq!(*called.lock().unwrap(), [json!({ "text": "same" }), json!({ "text": "same" })]);
}
