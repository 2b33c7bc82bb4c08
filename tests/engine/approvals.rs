//! Calls of tools that need approval: the run waits in its journal until a person has looked at exactly this call.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use raptorflow_core::{
    Engine, ErrorKind, Workflow,
    agent::{AgentBuilder, AgentSpec},
    engine::{PendingApproval, Run},
    journal::{Fact, JournalConfig, Question},
    model::Model,
    storage::Storage,
    testing::{Reply, ScriptedModel},
    tool::FunctionTool,
    types::{Digest, Effects, Schema, ToolSpec},
    workflow::tool as tool_step,
};
use serde_json::json;

/// A tool that counts its calls and gives its arguments back.
fn publish(calls: &Arc<AtomicUsize>) -> FunctionTool {
    let calls = Arc::clone(calls);
    let spec =
        ToolSpec { approval: true, ..ToolSpec::new("publish", "Publishes a text.", Schema::any_object()) };
    FunctionTool::new(spec, move |_ctx, arguments| {
        calls.fetch_add(1, Ordering::SeqCst);
        std::future::ready(Ok(arguments))
    })
    .with_effects(Effects::External)
}

/// A store that engines come and go over, and what the tool was called.
struct Desk {
    storage: Storage,
    calls: Arc<AtomicUsize>,
}

impl Desk {
    fn new() -> Self {
        Self { storage: Storage::memory(), calls: Arc::default() }
    }

    async fn engine(&self, replies: Vec<Reply>) -> (Engine, Arc<ScriptedModel>) {
        let model = Arc::new(ScriptedModel::new(replies));
        let mut journal = JournalConfig::default();
        // A restart takes its runs up without waiting for a lease.
        journal.owner = Some("host".into());
        let builder = Engine::builder().storage_handle(self.storage.clone()).journal(journal);
        let engine = builder.tool(publish(&self.calls)).build().await.unwrap();
        let spec = AgentSpec { tools: vec!["publish".into()], ..AgentSpec::new("clerk").unwrap() };
        let clerk = AgentBuilder::from_spec(spec).model_instance(Model::from_arc(Arc::clone(&model) as _));
        engine.register(clerk.build().unwrap()).unwrap();
        (engine, model)
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

fn wanted() -> Vec<Reply> {
    vec![Reply::tool_call("publish", &json!({ "text": "hello" })), Reply::text("done")]
}

async fn asked(engine: &Engine) -> PendingApproval {
    for _ in 0..10_000 {
        if let Some(asked) = engine.pending_approvals().await.unwrap().pop() {
            return asked;
        }
        tokio::task::yield_now().await;
    }
    panic!("nobody was asked");
}

async fn started(engine: &Engine) -> (Run, PendingApproval) {
    let run = engine.start("clerk", "publish it").await.unwrap();
    let asked = asked(engine).await;
    (run, asked)
}

#[tokio::test]
async fn a_call_waits_for_the_approval_of_exactly_it() {
    let desk = Desk::new();
    let (engine, _) = desk.engine(wanted()).await;
    let (run, asked) = started(&engine).await;
    assert_eq!((asked.run, asked.agent.as_str(), &*asked.tool), (run.id(), "clerk", "publish"));
    assert_eq!(asked.arguments, json!({ "text": "hello" }));
    assert_eq!(desk.calls(), 0);

    let other = Digest::of("another call");
    let err = engine.approve(asked.run, asked.id.clone(), other).by("anna").await.unwrap_err();
    assert_eq!(err.kind(), ErrorKind::PermissionDenied, "{err}");
    let err = engine.approve(asked.run, "tool-approval-0123456789abcdef", asked.digest).await.unwrap_err();
    assert_eq!(err.kind(), ErrorKind::NotFound, "{err}");
    let err = engine.signal(asked.run, &*asked.id, true).by("anna").await.unwrap_err();
    assert_eq!(err.kind(), ErrorKind::InvalidInput, "{err}");
    assert_eq!(desk.calls(), 0);

    engine.approve(asked.run, asked.id.clone(), asked.digest).by("anna").await.unwrap();
    assert_eq!(run.outcome().await.unwrap().text(), "done");
    assert_eq!(desk.calls(), 1);
    assert!(engine.pending_approvals().await.unwrap().is_empty());
    let late = engine.approve(asked.run, asked.id, asked.digest).await.unwrap_err();
    assert_eq!(late.kind(), ErrorKind::Conflict, "{late}");
    let facts = engine.history(asked.run, 0, 100).await.unwrap();
    let by = facts.iter().find_map(|entry| match &entry.fact {
        Fact::SignalReceived { by, .. } => by.clone(),
        _ => None,
    });
    assert_eq!(by.as_deref(), Some("anna"));
}

#[tokio::test]
async fn a_denied_call_is_not_made_and_the_model_hears_why() {
    let desk = Desk::new();
    let (engine, model) = desk.engine(wanted()).await;
    let (run, asked) = started(&engine).await;
    engine.deny(asked.run, asked.id, asked.digest).because("not before noon").await.unwrap();
    assert_eq!(run.outcome().await.unwrap().text(), "done");
    assert_eq!(desk.calls(), 0);
    let told = serde_json::to_string(&model.requests()[1].messages).unwrap();
    assert!(told.contains("permission_denied") && told.contains("not before noon"), "{told}");
}

#[tokio::test]
async fn an_approval_outlives_its_process_and_the_call_is_made_once() {
    let desk = Desk::new();
    let (engine, _) = desk.engine(wanted()).await;
    let (run, asked) = started(&engine).await;
    crate::flows::kill(engine, run).await;

    let (engine, _) = desk.engine(vec![Reply::text("done")]).await;
    let again = engine.approvals(asked.run).await.unwrap();
    assert_eq!(again, std::slice::from_ref(&asked));
    engine.approve(asked.run, asked.id.clone(), asked.digest).by("anna").await.unwrap();
    assert_eq!(desk.calls(), 0);
    assert_eq!(engine.resume(asked.run).await.unwrap().text(), "done");
    assert_eq!(desk.calls(), 1);
    let facts = engine.history(asked.run, 0, 100).await.unwrap();
    let questions = facts.iter().filter(|entry| matches!(entry.fact, Fact::QuestionAsked { .. })).count();
    assert_eq!(questions, 1);
}

#[tokio::test]
async fn a_resumed_run_waits_for_the_same_answer() {
    let desk = Desk::new();
    let (engine, _) = desk.engine(wanted()).await;
    let (run, asked) = started(&engine).await;
    crate::flows::kill(engine, run).await;

    let (engine, _) = desk.engine(vec![Reply::text("done")]).await;
    let resumed = tokio::spawn({
        let (engine, id) = (engine.clone(), asked.run);
        async move { engine.resume(id).await }
    });
    engine.approve(asked.run, asked.id, asked.digest).await.unwrap();
    assert_eq!(resumed.await.unwrap().unwrap().text(), "done");
    assert_eq!(desk.calls(), 1);
}

#[tokio::test]
async fn two_calls_of_one_answer_are_approved_apart() {
    let desk = Desk::new();
    let calls = [("publish", json!({ "text": "a" })), ("publish", json!({ "text": "b" }))];
    let (engine, _) = desk.engine(vec![Reply::tool_calls(calls), Reply::text("done")]).await;
    let (run, first) = started(&engine).await;
    engine.approve(first.run, first.id.clone(), first.digest).await.unwrap();
    let second = asked(&engine).await;
    assert_ne!((&first.id, first.digest), (&second.id, second.digest));
    let err = engine.approve(second.run, second.id.clone(), first.digest).await.unwrap_err();
    assert_eq!(err.kind(), ErrorKind::PermissionDenied);
    engine.deny(second.run, second.id, second.digest).await.unwrap();
    assert_eq!(run.outcome().await.unwrap().text(), "done");
    assert_eq!(desk.calls(), 1);
}

#[tokio::test]
async fn a_step_of_a_workflow_waits_for_its_tool_too() {
    let desk = Desk::new();
    let (engine, _) = desk.engine(Vec::new()).await;
    let flow = Workflow::builder("flow").step("send", tool_step("publish")).build().unwrap();
    engine.register(flow).unwrap();
    let run = engine.start("flow", json!({ "text": "hello" })).await.unwrap();
    let asked = asked(&engine).await;
    assert_eq!((asked.agent.as_str(), desk.calls()), ("flow", 0));
    engine.approve(asked.run, asked.id, asked.digest).await.unwrap();
    assert_eq!(run.outcome().await.unwrap().output, json!({ "text": "hello" }));
    assert_eq!(desk.calls(), 1);

    let run = engine.start("flow", json!({ "text": "again" })).await.unwrap();
    let asked = self::asked(&engine).await;
    engine.deny(asked.run, asked.id, asked.digest).because("no").await.unwrap();
    let err = run.outcome().await.unwrap_err();
    assert_eq!((err.kind(), desk.calls()), (ErrorKind::PermissionDenied, 1), "{err}");
}

#[test]
fn a_question_without_a_call_is_stored_as_it_was_before() {
    let question = Question { prompt: "Go?".into(), ..Question::default() };
    assert_eq!(serde_json::to_value(&question).unwrap(), json!({ "prompt": "Go?" }));
    assert_eq!(serde_json::from_value::<Question>(json!({ "prompt": "Go?" })).unwrap(), question);
}
