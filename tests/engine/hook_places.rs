//! Hooks where agents work together: approvals, handoffs, agents as tools, workflows, and hooks of JSON functions.

use std::sync::{Arc, Mutex};

use proptest::prelude::{Just, ProptestConfig, prop_assert_eq, prop_oneof, proptest};
use raptorflow_core::{
    Engine,
    agent::{AgentBuilder, FunctionHook, Handoff, Limits},
    error::ErrorKind,
    model::Model,
    testing::{Reply, ScriptedModel},
    tool::WithApproval,
    types::{Finish, Limit, Message, Moment, Verdict},
    workflow::{Workflow, agent as agent_step},
};
use serde_json::{Value, json};

use crate::{
    support::{agent, calls, engine, facts, run_of},
    told_hooks::{Log, Says, echo},
};

fn scripted(name: &str, replies: impl IntoIterator<Item = Reply>) -> AgentBuilder {
    agent(name).model_instance(Model::new(ScriptedModel::new(replies)))
}

async fn empty() -> Engine {
    Engine::builder().build().await.unwrap()
}

#[tokio::test]
async fn what_a_person_approves_is_what_a_hook_made_of_the_call_and_it_is_what_runs() {
    let (log, called) = (Log::default(), Arc::default());
    let engine = empty().await;
    let change = log.hook("a", [(Moment::BeforeTool, Says::Change(json!({ "text": "softer" })))]);
    let replies = [Reply::tool_call("echo", &json!({ "text": "LOUD" })), Reply::text("done")];
    let clerk = scripted("clerk", replies).tool(WithApproval::new(echo(&called))).hook(change);
    engine.register(clerk.build().unwrap()).unwrap();
    let run = engine.start("clerk", "go").await.unwrap();
    let asked = loop {
        if let Some(asked) = engine.pending_approvals().await.unwrap().pop() {
            break asked;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(asked.arguments, json!({ "text": "softer" }));
    engine.approve(asked.run, asked.id, asked.digest).await.unwrap();
    assert_eq!(run.outcome().await.unwrap().text(), "done");
    assert_eq!(*called.lock().unwrap(), [json!({ "text": "softer" })]);
    let names = facts(&engine, asked.run).await;
    let place = |end: &str| names.iter().position(|name| name.ends_with(end)).unwrap();
    assert!(place("hook_decided") < place("question_asked"), "{names:?}");
}

fn transfer(to: &str) -> Reply {
    calls(&[("1", &format!("transfer_to_{to}"), json!({ "task": "Write the bill." }))])
}

async fn handed(says: Says) -> (Engine, Log, ScriptedModel) {
    let (engine, log) = (empty().await, Log::default());
    let script = ScriptedModel::new([transfer("billing"), Reply::text("I did it myself.")]);
    let handoffs = ["billing", "support"].map(|name| Handoff::to(name).unwrap());
    let hook = log.hook("a", [(Moment::Handoff, says), (Moment::AfterStep, Says::Nothing)]);
    let clerk = agent("clerk").model_instance(Model::new(script.clone())).handoffs(handoffs).hook(hook);
    engine.register(clerk.build().unwrap()).unwrap();
    engine.register(scripted("billing", [Reply::text("Billed.")]).build().unwrap()).unwrap();
    engine.register(scripted("support", [Reply::text("Supported.")]).build().unwrap()).unwrap();
    engine.register(scripted("stranger", [Reply::text("Who?")]).build().unwrap()).unwrap();
    (engine, log, script)
}

#[tokio::test]
async fn a_handoff_goes_on_goes_elsewhere_is_answered_refused_or_ends_the_run() {
    let support = json!({ "agent": "support", "task": "Calm them.", "history": "none" });
    for (says, text, finish) in [
        (Says::Nothing, "Billed.", Finish::Complete),
        (Says::Change(support), "Supported.", Finish::Complete),
        (Says::Answer(json!("Not needed.")), "Not needed.", Finish::Complete),
        (Says::Refuse, "I did it myself.", Finish::Complete),
        (Says::Stop(Some(json!("Enough."))), "Enough.", Finish::Limited(Limit::Hook)),
    ] {
        let (engine, log, script) = handed(says.clone()).await;
        let outcome = engine.run("clerk", "A bill!").await.unwrap();
        assert_eq!((outcome.text().as_str(), outcome.finish), (text, finish), "{says:?}");
        assert_eq!(engine.resume(outcome.run_id).await.unwrap().text(), text);
        assert_eq!(&log.names()[..2], ["a after_step", "a handoff"]);
        if matches!(says, Says::Refuse) {
            let told = serde_json::to_string(&script.requests()[1].messages).unwrap();
            assert!(told.contains("a hook refused the handoff") && told.contains("not today"), "{told}");
            assert!(!told.contains("is handed over"), "{told}");
        }
    }
}

#[tokio::test]
async fn a_handoff_goes_to_nobody_that_the_agent_does_not_name() {
    let stranger = json!({ "agent": "stranger", "task": "Hello.", "history": "none" });
    let (engine, ..) = handed(Says::Change(stranger)).await;
    let err = engine.run("clerk", "A bill!").await.unwrap_err();
    assert_eq!((err.kind(), err.operation()), (ErrorKind::InvalidInput, "agent.hook"), "{err}");
    assert_eq!((err.get("moment"), err.get("agent")), (Some("handoff"), Some("stranger")));
}

#[tokio::test]
async fn hooks_of_the_engine_see_agents_that_are_asked_and_a_failure_below_ends_the_run() {
    for (says, fails) in [(Says::Nothing, false), (Says::Panic, true)] {
        let (engine, log) = (empty().await, Log::default());
        let below =
            scripted("expert", [Reply::text("42")]).hook(log.hook("below", [(Moment::AfterModel, says)]));
        engine.register(below.build().unwrap()).unwrap();
        let ask = Reply::tool_call("expert", &json!({ "task": "How many?" }));
        engine
            .register(scripted("desk", [ask, Reply::text("42, they say.")]).agent("expert").build().unwrap())
            .unwrap();
        engine.add_hook(log.hook("all", [(Moment::AfterModel, Says::Nothing)]));
        let ended = engine.run("desk", "How many?").await;
        if fails {
            let err = ended.unwrap_err();
            assert_eq!((err.kind(), err.operation()), (ErrorKind::Callback, "agent.hook"), "{err}");
            assert_eq!(err.get("hook"), Some("below"));
            continue;
        }
        assert_eq!(ended.unwrap().text(), "42, they say.");
        let expected = ["all after_model", "below after_model", "all after_model", "all after_model"];
        assert_eq!(log.names(), expected);
    }
}

#[tokio::test]
async fn agents_of_a_workflow_have_their_hooks() {
    let (engine, log) = (empty().await, Log::default());
    let hook = log.hook("a", [(Moment::BeforeModel, Says::Nothing)]);
    engine.register(scripted("clerk", [Reply::text("done")]).hook(hook).build().unwrap()).unwrap();
    let flow = Workflow::builder("flow").step("ask", agent_step("clerk")).build().unwrap();
    engine.register(flow).unwrap();
    engine.run("flow", "go").await.unwrap();
    assert_eq!(log.names(), ["a before_model"]);
}

#[tokio::test]
async fn a_function_over_json_is_a_hook_and_a_verdict_of_another_form_ends_the_run() {
    let asked: Arc<Mutex<Vec<Value>>> = Arc::default();
    let kept = Arc::clone(&asked);
    let good = FunctionHook::new("good").on(Moment::BeforeModel, move |_ctx, asked: Value| {
        kept.lock().unwrap().push(asked.clone());
        let mut request = asked["request"].clone();
        request["messages"] = json!([Message::user("rewritten")]);
        async move { Ok(Verdict::Change(request)) }
    });
    let bad = FunctionHook::new("bad")
        .on(Moment::AfterModel, |_ctx, _asked| async { Ok(Verdict::Change(json!("no message"))) });
    let script = ScriptedModel::new([Reply::text("done"), Reply::text("done")]);
    let engine = engine(&script).await;
    engine.register(agent("clerk").hook(good).build().unwrap()).unwrap();
    engine.register(agent("odd").hook(bad).build().unwrap()).unwrap();
    engine.run("clerk", "go").await.unwrap();
    assert_eq!(script.requests()[0].messages, [Message::user("rewritten")]);
    let asked = asked.lock().unwrap()[0].clone();
    let fields = (&asked["moment"], &asked["agent"], &asked["input"], &asked["step"]);
    assert_eq!(fields, (&json!("before_model"), &json!("clerk"), &json!("go"), &json!(1)));
    let err = engine.run("odd", "go").await.unwrap_err();
    assert_eq!((err.kind(), err.operation()), (ErrorKind::InvalidInput, "agent.hook"), "{err}");
    assert_eq!((err.get("hook"), err.get("moment")), (Some("bad"), Some("after_model")));
}

#[test]
fn a_hook_without_time_is_refused() {
    let mut limits = Limits::default();
    limits.hook_seconds = 0;
    let err = agent("clerk").limits(limits).build().unwrap_err();
    assert_eq!((err.kind(), err.get("field")), (ErrorKind::InvalidInput, Some("limits.hook_seconds")));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_run_that_failed_in_a_hook_ends_as_one_that_did_not(
        moment in proptest::sample::select(&Moment::ALL[..]),
        says in prop_oneof![Just(Says::Fail), Just(Says::Panic)],
        texts in proptest::collection::vec("[a-z]{1,4}", 0..4),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let replies = || {
                let wanted = texts.iter().map(|text| Reply::tool_call("echo", &json!({ "text": text })));
                wanted.chain([Reply::text("done")]).collect::<Vec<_>>()
            };
            let mut limits = Limits::default();
            limits.repeated_calls = 9;
            let plain = {
                let (engine, called) = (empty().await, Arc::default());
                let clerk = scripted("clerk", replies()).limits(limits).tool(echo(&called)).build().unwrap();
                engine.register(clerk).unwrap();
                (engine.run("clerk", "go").await.unwrap().output, called.lock().unwrap().clone())
            };
            let (engine, log, called) = (empty().await, Log::default(), Arc::default());
            let script = ScriptedModel::new(replies());
            let make = |says| {
                let hook = log.hook("a", [(moment, says)]);
                let clerk = agent("clerk").model_instance(Model::new(script.clone()));
                clerk.limits(limits).tool(echo(&called)).hook(hook).build().unwrap()
            };
            engine.register(make(says)).unwrap();
            let output = match engine.run("clerk", "go").await {
                Ok(outcome) => outcome.output,
                Err(err) => {
                    engine.agents().remove("clerk");
                    engine.register(make(Says::Nothing)).unwrap();
                    engine.resume(run_of(&err)).await.unwrap().output
                }
            };
            prop_assert_eq!(&plain, &(output, called.lock().unwrap().clone()));
            Ok(())
        })?;
    }
}
