//! Tools inside of a run: keys that tell calls apart, and results that find their call.

use std::sync::{Arc, Mutex};

use raptorflow_core::{
    Agent, Engine, Error, ErrorKind,
    model::{FinishReason, Model, StreamPart},
    runtime::Context,
    testing::{Reply, ScriptedModel},
    tool::FunctionTool,
    types::{Schema, ToolSpec},
};
use serde_json::{Value, json};

/// Calls of `note` that all have one id, as some models give them.
fn calls_of_one_id(count: usize) -> Reply {
    let call = |index: usize| StreamPart::ToolCall {
        index,
        id: Some("call_0".into()),
        name: Some("note".into()),
        arguments: json!({ "index": index }).to_string(),
    };
    let finish = StreamPart::Finish { reason: FinishReason::ToolCalls };
    Reply::parts((0..count).map(call).chain([finish]).collect())
}

/// An engine with an agent whose tool notes its idempotency key, and the keys; the tool fails `failures` times.
async fn noting(
    replies: Vec<Reply>,
    failures: usize,
) -> (Engine, Arc<ScriptedModel>, Arc<Mutex<Vec<String>>>) {
    let keys = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&keys);
    let spec = ToolSpec::new("note", "Takes a note.", Schema::any_object());
    let note = FunctionTool::new(spec, move |ctx: Context, arguments: Value| {
        let mut keys = noted.lock().unwrap();
        keys.push(ctx.idempotency_key().unwrap().to_owned());
        let broken = keys.len() <= failures + 1 && keys.len() > 1;
        std::future::ready(if broken {
            Err(Error::new(ErrorKind::Internal, "test.note", "the pen broke"))
        } else {
            Ok(arguments)
        })
    });
    let model = Arc::new(ScriptedModel::new(replies));
    let agent = Agent::builder("clerk").model_instance(Model::from_arc(Arc::clone(&model) as _)).tool(note);
    let engine = Engine::builder().build().await.unwrap();
    engine.register(agent.build().unwrap()).unwrap();
    (engine, model, keys)
}

#[tokio::test]
async fn calls_of_one_id_get_keys_of_their_own_within_an_answer_and_over_answers() {
    let replies = vec![calls_of_one_id(2), calls_of_one_id(1), Reply::text("done")];
    let (engine, model, keys) = noting(replies, 0).await;
    let outcome = engine.run("clerk", "note it").await.unwrap();
    assert_eq!(outcome.text(), "done");
    let mut keys = keys.lock().unwrap().clone();
    assert!(keys.iter().all(|key| key.starts_with(&outcome.run_id.to_string())), "{keys:?}");
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), 3, "{keys:?}");
    let last = model.requests().pop().unwrap();
    for message in &last.messages {
        for call in message.tool_calls() {
            assert!(message.tool_calls().filter(|other| other.id == call.id).count() == 1);
        }
    }
}

#[tokio::test]
async fn a_call_that_is_done_again_after_a_resume_keeps_its_key() {
    let (engine, _model, keys) = noting(vec![calls_of_one_id(2), Reply::text("done")], 1).await;
    let run = engine.start("clerk", "note it").await.unwrap();
    let id = run.id();
    assert_eq!(run.outcome().await.unwrap_err().kind(), ErrorKind::Internal);
    assert_eq!(engine.resume(id).await.unwrap().text(), "done");
    let keys = keys.lock().unwrap();
    assert_eq!(keys.len(), 3, "{keys:?}");
    assert_eq!(keys[1], keys[2]);
    assert_ne!(keys[0], keys[1]);
}
