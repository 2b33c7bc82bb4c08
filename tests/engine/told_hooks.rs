//! A hook that says what a test told it to say, and writes down what it was asked.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use raptorflow_core::{
    agent::{Hook, Transfer, Turn},
    error::{Error, ErrorKind, Result},
    model::ChatRequest,
    runtime::Context,
    tool::{FunctionTool, ProposedCall},
    types::{Message, Moment, Schema, ToolCall, ToolResult, ToolSpec, Verdict},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

/// What a hook of these tests says at a moment.
#[derive(Clone, Debug)]
pub(crate) enum Says {
    Nothing,
    Change(Value),
    Answer(Value),
    Refuse,
    Stop(Option<Value>),
    Fail,
    Panic,
    Hang,
}

/// Says what it was told to say, and writes down what it was asked.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    name: &'static str,
    says: HashMap<Moment, Says>,
    log: Log,
}

/// What hooks were asked: the name, the moment and what it was about.
#[derive(Clone, Debug, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<(String, Value)>>>);

impl Log {
    pub(crate) fn names(&self) -> Vec<String> {
        self.0.lock().unwrap().iter().map(|(name, _)| name.clone()).collect()
    }

    pub(crate) fn about(&self, name: &str) -> Value {
        let log = self.0.lock().unwrap();
        log.iter().rev().find(|(it, _)| it == name).unwrap_or_else(|| panic!("no {name}")).1.clone()
    }

    pub(crate) fn hook<const N: usize>(&self, name: &'static str, says: [(Moment, Says); N]) -> Told {
        Told { name, says: says.into(), log: self.clone() }
    }
}

impl Told {
    async fn say<C: DeserializeOwned, A: DeserializeOwned>(
        &self,
        moment: Moment,
        about: &impl Serialize,
    ) -> Result<Verdict<C, A>> {
        let name = format!("{} {}", self.name, moment.name());
        self.log.0.lock().unwrap().push((name, serde_json::to_value(about).unwrap()));
        Ok(match self.says.get(&moment).unwrap().clone() {
            Says::Nothing => Verdict::Continue,
            Says::Change(value) => Verdict::Change(serde_json::from_value(value).unwrap()),
            Says::Answer(value) => Verdict::Answer(serde_json::from_value(value).unwrap()),
            Says::Refuse => Verdict::refuse("not today"),
            Says::Stop(output) => Verdict::Stop(output),
            Says::Fail => return Err(Error::new(ErrorKind::Unavailable, "host.ask", "the office is closed")),
            Says::Panic => panic!("out of paper"),
            Says::Hang => std::future::pending().await,
        })
    }
}

#[async_trait]
impl Hook for Told {
    fn name(&self) -> &str {
        self.name
    }

    fn wants(&self, moment: Moment) -> bool {
        self.says.contains_key(&moment)
    }

    async fn before_step(&self, _: &Context, turn: &Turn<'_>, _: &[Message]) -> Result<Verdict> {
        self.say(Moment::BeforeStep, &turn.step).await
    }

    async fn before_model(
        &self,
        _: &Context,
        _: &Turn<'_>,
        request: &ChatRequest,
    ) -> Result<Verdict<ChatRequest, Message>> {
        self.say(Moment::BeforeModel, request).await
    }

    async fn after_model(&self, _: &Context, turn: &Turn<'_>, answer: &Message) -> Result<Verdict<Message>> {
        self.say(Moment::AfterModel, &json!([turn.step, answer.text()])).await
    }

    async fn before_tool(
        &self,
        _: &Context,
        turn: &Turn<'_>,
        call: ProposedCall<'_>,
    ) -> Result<Verdict<Value, Value>> {
        self.say(Moment::BeforeTool, &json!([turn.step, call.arguments])).await
    }

    async fn after_tool(
        &self,
        _: &Context,
        _: &Turn<'_>,
        call: &ToolCall,
        result: &ToolResult,
    ) -> Result<Verdict<ToolResult>> {
        self.say(Moment::AfterTool, &json!([call.arguments, result.content])).await
    }

    async fn handoff(
        &self,
        _: &Context,
        _: &Turn<'_>,
        transfer: &Transfer,
    ) -> Result<Verdict<Transfer, Value>> {
        self.say(Moment::Handoff, transfer).await
    }

    async fn after_step(
        &self,
        _: &Context,
        turn: &Turn<'_>,
        _: &[Message],
        answer: Option<&Value>,
    ) -> Result<Verdict> {
        self.say(Moment::AfterStep, &json!([turn.step, answer])).await
    }
}

/// A tool that gives its arguments back and counts.
pub(crate) fn echo(count: &Arc<Mutex<Vec<Value>>>) -> FunctionTool {
    let schema = json!({ "type": "object", "properties": { "text": { "type": "string" } } });
    let count = Arc::clone(count);
    FunctionTool::new(ToolSpec::new("echo", "Echoes.", Schema::unchecked(schema)), move |_ctx, arguments| {
        count.lock().unwrap().push(arguments.clone());
        std::future::ready(Ok(arguments))
    })
}
