//! What people, models and tools say stays in the journal and the answer: no event, log, error or debug text has it.

use std::{
    fmt::{self, Write as _},
    sync::{Arc, Mutex},
};

use futures_util::StreamExt as _;
use proptest::prelude::{ProptestConfig, Strategy, prop_assert, prop_assert_eq, proptest};
use raptorflow_core::{
    Engine,
    agent::{AgentInput, AgentSpec, Capability, FunctionAgent},
    rag::{Document, HashingEmbedder, KnowledgeBase},
    runtime::Context,
    testing::{Reply, ScriptedModel},
    tool::FunctionTool,
    types::{Schema, ToolSpec},
};
use serde_json::{Value, json};
use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    span,
};

use crate::support::{agent, engine, events};

/// Writes down every span and event of every level, with all fields.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<String>>);

impl Subscriber for Log {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &span::Attributes<'_>) -> span::Id {
        writeln!(self.0.lock().unwrap(), "{}", span.metadata().name()).unwrap();
        span.record(&mut Line(self));
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, values: &span::Record<'_>) {
        values.record(&mut Line(self));
    }

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        event.record(&mut Line(self));
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

struct Line<'a>(&'a Log);

impl Visit for Line<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        writeln!(self.0.0.lock().unwrap(), "{field} = {value:?}").unwrap();
    }
}

/// What happens around the secret.
#[derive(Clone, Copy, Debug)]
enum Story {
    Answers,
    AnswersFromPassages,
    UsesTools,
    AnswersWithoutJson,
    AnswersOtherJson,
    IsCutOff,
    IsDropped,
    GetsWrongArguments,
    AsksAFunction,
    GetsWrongValueOfAFunction,
    ConfusesNames,
}

const STORIES: [Story; 11] = [
    Story::Answers,
    Story::AnswersFromPassages,
    Story::UsesTools,
    Story::AnswersWithoutJson,
    Story::AnswersOtherJson,
    Story::IsCutOff,
    Story::IsDropped,
    Story::GetsWrongArguments,
    Story::AsksAFunction,
    Story::GetsWrongValueOfAFunction,
    Story::ConfusesNames,
];

fn price() -> Capability {
    let schema = json!({
        "type": "object",
        "properties": {
            "net": { "type": "number", "minimum": 0 },
            "currency": { "enum": ["USD", "INR"], "maxLength": 3, "pattern": "^[A-Z]+$" },
        },
        "additionalProperties": false,
        "required": ["net"],
    });
    Capability {
        name: "price".into(),
        description: "Prices things.".into(),
        timeout_seconds: 30,
        retries: 3,
        effects: raptorflow_core::types::Effects::External,
        cache_seconds: 300,
        input: Schema::new(schema.clone()).unwrap(),
        output: Schema::new(schema).unwrap(),
    }
}

fn replies(story: Story, secret: &str) -> Vec<Reply> {
    match story {
        Story::UsesTools => vec![
            Reply::tool_calls([
                ("echo", json!({ "text": secret })),
                ("echo", json!({ "number": secret })),
                ("missing", json!({ "text": secret })),
            ]),
            Reply::text(secret),
        ],
        Story::AnswersOtherJson => {
            let other = json!({ "net": secret, "currency": secret });
            vec![Reply::json(&other), Reply::json(&json!([secret])), Reply::text("{\"net\": -1}")]
        }
        Story::IsCutOff => vec![Reply::text(secret).in_pieces(3).cut_after(2)],
        Story::IsDropped => vec![Reply::hang()],
        _ => vec![Reply::text(secret).in_pieces(4), Reply::text(secret)],
    }
}

async fn prepared(story: Story, secret: &str) -> Engine {
    let engine = engine(&ScriptedModel::new(replies(story, secret))).await;
    let parameters = json!({ "type": "object", "properties": { "number": { "type": "number" } } });
    let spec = ToolSpec::new("echo", "Gives back what it got.", Schema::new(parameters).unwrap());
    let echo = FunctionTool::new(spec, |_: Context, arguments: Value| async move { Ok(arguments) });
    let mut worker = agent("worker").instructions(secret).capability(price()).tool(echo);
    if matches!(story, Story::AnswersFromPassages) {
        let kb = KnowledgeBase::in_memory(HashingEmbedder::default()).await.unwrap();
        kb.add([Document::new("a", format!("{secret} is the truth of a run."))]).await.unwrap();
        engine.use_knowledge(kb);
        worker = worker.retrieval(raptorflow_core::agent::Retrieval::default());
    }
    engine.register(worker.build().unwrap()).unwrap();
    let instructions = Arc::from(secret);
    let spec = AgentSpec { capabilities: vec![price()], instructions, ..AgentSpec::new("function").unwrap() };
    engine.register(FunctionAgent::new(spec, |_, input: AgentInput| async move { Ok(input.input) })).unwrap();
    engine
}

/// Plays a story and gives everything that was told of it outside of the journal and the answer.
async fn told(story: Story, secret: &str) -> String {
    let engine = prepared(story, secret).await;
    let function = AgentInput { capability: Some("price".into()), ..AgentInput::new(json!({ "net": 1 })) };
    let (name, input) = match story {
        Story::AsksAFunction => ("function", AgentInput::new(secret)),
        Story::GetsWrongValueOfAFunction => ("function", function),
        Story::GetsWrongArguments => {
            let input = json!({ "net": secret, "currency": secret });
            ("worker", AgentInput { capability: Some("price".into()), ..AgentInput::new(input) })
        }
        Story::AnswersWithoutJson | Story::AnswersOtherJson => ("worker", function),
        Story::ConfusesNames => ("wroker", AgentInput::new(secret)),
        _ => ("worker", AgentInput::new(secret)),
    };
    let request = engine.run(name, input);
    let mut out = format!("{request:?}\n");
    match request.start().await {
        Ok(run) => {
            let id = run.id();
            writeln!(out, "{run:?}").unwrap();
            if matches!(story, Story::IsDropped) {
                tokio::task::yield_now().await;
                run.cancel();
            }
            let mut told = run.events();
            while let Some(event) = told.next().await {
                writeln!(out, "{event:?}").unwrap();
            }
            if let Err(err) = told.outcome().await {
                writeln!(out, "{err:?}\n{err:#}\n{}", serde_json::to_string(&err).unwrap()).unwrap();
            }
            for event in events(&engine, id) {
                writeln!(out, "{}", serde_json::to_string(&event).unwrap()).unwrap();
            }
        }
        Err(err) => writeln!(out, "{err:?}\n{err:#}\n{}", serde_json::to_string(&err).unwrap()).unwrap(),
    }
    writeln!(out, "{engine:?}\n{:?}\n{:?}", engine.agents(), engine.storage()).unwrap();
    out
}

fn everything_told(story: Story, secret: &str) -> String {
    let log = Log::default();
    let out = tracing::subscriber::with_default(log.clone(), || {
        let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        tokio.block_on(told(story, secret))
    });
    let logged = log.0.lock().unwrap();
    format!("{out}\n{logged}")
}

fn any_secret() -> impl Strategy<Value = String> {
    "[a-z]{6}[A-Z0-9]{6}[a-z]{4}"
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    #[test]
    fn no_story_tells_what_was_said(secret in any_secret()) {
        for story in STORIES {
            let told = everything_told(story, &secret);
            let bytes = format!("{:?}", secret.as_bytes());
            let found = told.lines().find(|line| line.contains(&secret) || line.contains(bytes.trim_matches(['[', ']'])));
            prop_assert_eq!(found, None, "{:?}", story);
            prop_assert!(told.len() > 100);
        }
    }
}

#[test]
fn the_log_of_these_tests_sees_the_runs() {
    let told = everything_told(Story::UsesTools, "secret");
    for name in ["agent.run", "tool.call", "runtime.task"] {
        assert!(told.contains(name), "{name} is missing in {told}");
    }
}
