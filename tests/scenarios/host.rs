//! The host's side of a scenario: a model, tools and function agents that do what the file says and note each call.

use std::{
    collections::{HashSet, VecDeque},
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use raptorflow_core::{
    Agent, Error, ErrorKind, Result,
    agent::{AgentInput, AgentSpec, FunctionAgent},
    error::Retry,
    model::{ChatRequest, FunctionModel, Model, ModelAbilities, ModelInfo},
    tool::FunctionTool,
    types::ToolSpec,
    workflow::{StepFunction, WorkflowBuilder, WorkflowSpec},
};
use serde_json::{Map, Value, json};

use crate::format::{Behavior, Called, Entered, Function, Reply, Scenario, Tool};

/// What reached the callbacks during one step.
#[derive(Default)]
pub(crate) struct Calls {
    pub(crate) requests: Vec<ChatRequest>,
    pub(crate) tools: Vec<Called>,
    pub(crate) functions: Vec<Entered>,
    /// Calls of the model beyond its list.
    pub(crate) unscripted: usize,
}

/// Shared by the callbacks of all engines of one scenario.
#[derive(Clone)]
pub(crate) struct Host(Arc<Mutex<Notes>>);

struct Notes {
    /// The replies of `scripted:main` and of `scripted:other`.
    replies: [VecDeque<Reply>; 2],
    calls: Calls,
    failed_once: HashSet<String>,
}

impl Host {
    pub(crate) fn new(scenario: &Scenario) -> Self {
        let replies =
            [&scenario.model, &scenario.other_model].map(|replies| replies.iter().cloned().collect());
        Self(Arc::new(Mutex::new(Notes { replies, calls: Calls::default(), failed_once: HashSet::new() })))
    }

    /// What reached the callbacks since the last time.
    pub(crate) fn take(&self) -> Calls {
        std::mem::take(&mut self.0.lock().unwrap().calls)
    }

    pub(crate) fn replies_left(&self) -> usize {
        self.0.lock().unwrap().replies.iter().map(VecDeque::len).sum()
    }

    /// `scripted:main`.
    pub(crate) fn model(&self) -> Model {
        self.scripted("scripted:main", 0)
    }

    /// `scripted:other`.
    pub(crate) fn other_model(&self) -> Model {
        self.scripted("scripted:other", 1)
    }

    fn scripted(&self, name: &str, number: usize) -> Model {
        let info = ModelInfo { abilities: ModelAbilities::all(), ..ModelInfo::new(name) };
        let host = self.clone();
        Model::new(FunctionModel::new(info, move |_ctx, request| {
            let reply = host.reply(number, request);
            async move { reply }
        }))
    }

    fn reply(&self, number: usize, request: ChatRequest) -> Result<Value> {
        let mut notes = self.0.lock().unwrap();
        notes.calls.requests.push(request);
        let Some(reply) = notes.replies[number].pop_front() else {
            notes.calls.unscripted += 1;
            return Err(Error::new(ErrorKind::Internal, "scenario.model", "no reply is left"));
        };
        if let Some(fault) = reply.error {
            let error = Error::new(fault.kind, "scenario.model", fault.message);
            return Err(match fault.retry_after {
                Some(seconds) => error.retryable(Retry::After(Duration::from_secs_f64(seconds))),
                None => error,
            });
        }
        let calls = serde_json::to_value(reply.tool_calls).unwrap();
        let mut answer = json!({ "tool_calls": calls });
        if !reply.text.is_null() {
            answer["text"] = reply.text;
        }
        if let Some(usage) = reply.usage {
            answer["usage"] = serde_json::to_value(usage).unwrap();
        }
        Ok(answer)
    }

    pub(crate) fn tool(&self, tool: &Tool) -> FunctionTool {
        let spec = ToolSpec::new(&tool.name, &tool.description, tool.parameters.clone());
        let (host, name, behavior) = (self.clone(), tool.name.clone(), tool.behavior.clone());
        let body = move |_ctx, arguments: Value| {
            let called = Called { name: name.clone(), arguments: arguments.clone() };
            host.0.lock().unwrap().calls.tools.push(called);
            let answer = host.act(&name, &behavior, &arguments);
            async move { answer }
        };
        FunctionTool::new(spec, body).with_effects(tool.effects)
    }

    pub(crate) fn function(&self, function: &Function) -> Result<Agent> {
        let mut spec = AgentSpec::new(function.name.as_str())?;
        spec.description = function.description.as_str().into();
        let (host, name, behavior) = (self.clone(), function.name.clone(), function.behavior.clone());
        Ok(Agent::new(FunctionAgent::new(spec, move |_ctx, AgentInput { input, .. }| {
            let answer = host.call(&name, &behavior, &input);
            async move { answer }
        })))
    }

    /// A workflow, whose steps may call the functions of the scenario.
    pub(crate) fn workflow(&self, workflow: &Value, functions: &[Function]) -> Result<Agent> {
        let mut builder = WorkflowBuilder::from_spec(WorkflowSpec::from_json(&workflow.to_string())?);
        for function in functions {
            let (host, name, behavior) = (self.clone(), function.name.clone(), function.behavior.clone());
            let body = move |_ctx, input: Value| {
                let answer = host.call(&name, &behavior, &input);
                async move { answer }
            };
            builder = builder.function(function.name.as_str(), StepFunction::new(body));
        }
        Ok(builder.build()?.into())
    }

    /// Notes a call of a function, and does what it does.
    fn call(&self, name: &str, behavior: &Behavior, input: &Value) -> Result<Value> {
        let entered = Entered { name: name.to_owned(), input: input.clone() };
        self.0.lock().unwrap().calls.functions.push(entered);
        self.act(name, behavior, input)
    }

    fn act(&self, name: &str, behavior: &Behavior, given: &Value) -> Result<Value> {
        match behavior {
            Behavior::Upper => {
                let text = given.as_str().or_else(|| given["text"].as_str()).unwrap_or_default();
                Ok(Value::from(text.to_uppercase()))
            }
            Behavior::Echo => Ok(given.clone()),
            Behavior::Sum => Ok(sum(given.as_object().unwrap_or(&Map::new()))),
            Behavior::Value { value } => Ok(value.clone()),
            Behavior::Fail { message } => Err(fail(message)),
            Behavior::FailOnce { message, value } => {
                let first = self.0.lock().unwrap().failed_once.insert(name.to_owned());
                if first { Err(fail(message)) } else { Ok(value.clone()) }
            }
        }
    }
}

/// Rust's ordinary error, wrapped as a host would wrap it.
fn fail(message: &str) -> Error {
    Error::new(ErrorKind::Callback, "scenario.function", format!("the function failed: {message}"))
        .caused_by(io::Error::other(message.to_owned()))
}

fn sum(arguments: &Map<String, Value>) -> Value {
    if arguments.values().all(Value::is_i64) {
        return Value::from(arguments.values().filter_map(Value::as_i64).sum::<i64>());
    }
    Value::from(arguments.values().filter_map(Value::as_f64).sum::<f64>())
}
