//! adk-rust on the works of `speed.py`: a turn of an agent, a turn with a tool, many agents.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use adk_agent::LlmAgentBuilder;
use adk_core::{Agent, Content, Llm, LlmRequest, LlmResponse, LlmResponseStream, Part, Tool, ToolContext};
use adk_runner::Runner;
use adk_session::{CreateRequest, InMemorySessionService, SessionService};
use futures::StreamExt;
use raptorflow_meter::{Counting, Meter, asked};
use serde_json::{Value, json};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Answers at once; with `calls`, every other answer is a call of `add`.
struct Silent {
    answers: AtomicUsize,
    calls: bool,
}

#[async_trait::async_trait]
impl Llm for Silent {
    fn name(&self) -> &str {
        "silent"
    }

    async fn generate_content(&self, _request: LlmRequest, _stream: bool) -> adk_core::Result<LlmResponseStream> {
        let mut content = Content::new("model");
        if self.answers.fetch_add(1, Relaxed).is_multiple_of(2) && self.calls {
            content.parts.push(Part::FunctionCall {
                name: "add".into(),
                args: json!({"left": 1, "right": 2}),
                id: Some("call_1".into()),
                thought_signature: None,
            });
        } else {
            content = content.with_text("hello");
        }
        Ok(Box::pin(futures::stream::iter([Ok(LlmResponse::new(content))])))
    }
}

struct Add;

#[async_trait::async_trait]
impl Tool for Add {
    fn name(&self) -> &str {
        "add"
    }

    fn description(&self) -> &str {
        "Adds two numbers."
    }

    fn parameters_schema(&self) -> Option<Value> {
        Some(json!({"type": "object", "required": ["left", "right"],
            "properties": {"left": {"type": "integer"}, "right": {"type": "integer"}}}))
    }

    async fn execute(&self, _ctx: Arc<dyn ToolContext>, numbers: Value) -> adk_core::Result<Value> {
        let number = |name: &str| numbers[name].as_i64().unwrap_or_default();
        Ok(json!(number("left") + number("right")))
    }
}

fn silent(calls: bool) -> Arc<dyn Llm> {
    Arc::new(Silent { answers: AtomicUsize::new(0), calls })
}

fn agent(name: &str, tool: bool, model: Arc<dyn Llm>) -> Arc<dyn Agent> {
    let mut agent = LlmAgentBuilder::new(name).instruction("Answer in one sentence.").model(model);
    if tool {
        agent = agent.tool(Arc::new(Add));
    }
    Arc::new(agent.build().expect("an agent"))
}

/// A runner for one agent, with its sessions.
struct Desk {
    runner: Runner,
    sessions: Arc<InMemorySessionService>,
    next: AtomicUsize,
}

impl Desk {
    fn new(agent: Arc<dyn Agent>) -> Self {
        let sessions = Arc::new(InMemorySessionService::new());
        let runner = Runner::builder().app_name("app").agent(agent).session_service(sessions.clone()).build();
        Self { runner: runner.expect("a runner"), sessions, next: AtomicUsize::new(0) }
    }

    /// A run in a session of its own.
    async fn run(&self) {
        let session = format!("session-{}", self.next.fetch_add(1, Relaxed));
        let create = CreateRequest {
            app_name: "app".into(),
            user_id: "user".into(),
            session_id: Some(session.clone()),
            state: Default::default(),
        };
        self.sessions.create(create).await.expect("a session");
        let hello = Content::new("user").with_text("hello");
        let mut events = self.runner.run_str("user", &session, hello).await.expect("a run");
        while let Some(event) = events.next().await {
            event.expect("an event");
        }
    }
}

async fn run(work: &str, rounds: usize) {
    let meter = |work| Meter { work, system: "adk-rust", rounds };
    match work {
        "turn" => {
            let desk = Desk::new(agent("plain", false, silent(false)));
            meter("turn").each(async || desk.run().await).await;
        }
        "tool" => {
            let desk = Desk::new(agent("busy", true, silent(true)));
            meter("tool").each(async || desk.run().await).await;
        }
        "agents" => {
            let model = silent(false);
            let make = |index| agent(&format!("agent-{index}"), false, model.clone());
            let call = async |agent: &Arc<dyn Agent>| Desk::new(agent.clone()).run().await;
            meter("agents").agents(make, call).await;
        }
        other => panic!("there is no work `{other}`"),
    }
}

fn main() {
    let (work, rounds) = asked();
    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build();
    tokio.expect("a Tokio runtime").block_on(run(&work, rounds));
}
