//! Tools and agents: specs as JSON, bodies as user functions.

use std::sync::Arc;

use napi::bindgen_prelude::ClassInstance;
use napi_derive::napi;
use raptorflow_core::{
    Agent, Error, ErrorKind,
    agent::{AgentBuilder, AgentInput, AgentSpec, FunctionAgent, FunctionHook},
    runtime::Context,
    tool::FunctionTool,
    types::{Moment, ToolSpec, Verdict},
    workflow::{Pattern, PatternSpec, StepFunction, WorkflowBuilder, WorkflowSpec},
};
use serde_json::Value;

use crate::{
    callback::Callback,
    convert::{data, native, written},
};

/// A tool that is a user's function.
#[napi]
pub struct NativeTool {
    pub(crate) tool: FunctionTool,
}

#[napi]
impl NativeTool {
    /// A tool of a spec as JSON, whose function takes the arguments.
    #[napi(constructor)]
    pub fn new(spec: String, body: &Callback) -> napi::Result<Self> {
        let spec: ToolSpec = native(data("tool", &spec))?;
        native(spec.parameters.check())?;
        let body = body.clone();
        let tool = FunctionTool::new(spec, move |ctx: Context, arguments: Value| {
            let body = body.clone();
            async move { body.call(&ctx, arguments).await }
        });
        Ok(Self { tool })
    }
}

/// A hook of users' functions, one per moment.
#[napi]
pub struct NativeHook {
    pub(crate) hook: FunctionHook,
}

#[napi]
impl NativeHook {
    /// A hook whose functions take what is asked and give a verdict or nothing.
    #[napi(constructor)]
    pub fn new(
        name: String,
        moments: Vec<String>,
        bodies: Vec<ClassInstance<'_, Callback>>,
    ) -> napi::Result<Self> {
        let mut hook = FunctionHook::new(name);
        for (moment, body) in moments.iter().zip(&bodies) {
            let moment: Moment = native(data("moment", &format!("\"{moment}\"")))?;
            let body = Callback::clone(body);
            hook = hook.on(moment, move |ctx: Context, asked: Value| {
                let body = body.clone();
                async move { verdict(body.call(&ctx, asked).await?) }
            });
        }
        Ok(Self { hook })
    }
}

/// What a hook's function gave: nothing, or a verdict by its name.
fn verdict(given: Value) -> raptorflow_core::Result<Verdict<Value, Value>> {
    if given.is_null() {
        return Ok(Verdict::Continue);
    }
    serde_json::from_value(given).map_err(|err| {
        Error::new(ErrorKind::InvalidOutput, "node.hook", "the hook gave no verdict").with("reason", err)
    })
}

/// An agent.
#[napi]
pub struct NativeAgent {
    pub(crate) agent: Agent,
}

#[napi]
impl NativeAgent {
    /// An agent around a model, of a spec as JSON, with tools and hooks of its own.
    #[napi(factory)]
    pub fn of_model(
        spec: String,
        tools: Vec<ClassInstance<'_, NativeTool>>,
        hooks: Vec<ClassInstance<'_, NativeHook>>,
    ) -> napi::Result<Self> {
        let spec: AgentSpec = native(data("agent", &spec))?;
        let builder = tools.iter().fold(AgentBuilder::from_spec(spec), |builder, it| {
            builder.shared_tool(Arc::new(it.tool.clone()))
        });
        let builder = hooks.iter().fold(builder, |builder, it| builder.hook(it.hook.clone()));
        Ok(Self { agent: native(builder.build())? })
    }

    /// An agent that is a user's function of `{input, capability}`, of a spec as JSON.
    #[napi(factory)]
    pub fn of_function(spec: String, body: &Callback) -> napi::Result<Self> {
        let spec: AgentSpec = native(data("agent", &spec))?;
        let body = body.clone();
        let agent = FunctionAgent::new(spec, move |ctx: Context, input: AgentInput| {
            let body = body.clone();
            async move { body.call(&ctx, input).await }
        });
        Ok(Self { agent: agent.into() })
    }

    /// A workflow of a spec as JSON, whose steps call users' functions by name.
    #[napi(factory)]
    pub fn of_workflow(
        spec: String,
        names: Vec<String>,
        bodies: Vec<ClassInstance<'_, Callback>>,
    ) -> napi::Result<Self> {
        let mut builder = WorkflowBuilder::from_spec(native(data("workflow", &spec))?);
        for (name, body) in names.into_iter().zip(&bodies) {
            let body = Callback::clone(body);
            let function = StepFunction::new(move |ctx: Context, input: Value| {
                let body = body.clone();
                async move { body.call(&ctx, input).await }
            });
            builder = builder.function(name, function);
        }
        Ok(Self { agent: native(builder.build())?.into() })
    }

    /// A pattern of a spec as JSON.
    #[napi(factory)]
    pub fn of_pattern(spec: String) -> napi::Result<Self> {
        let spec: PatternSpec = native(data("pattern", &spec))?;
        Ok(Self { agent: native(Pattern::new(spec))?.into() })
    }

    /// Its name.
    #[napi(getter)]
    pub fn name(&self) -> String {
        self.agent.name().to_string()
    }

    /// A workflow in TOML or JSON, as JSON.
    #[napi]
    pub fn read_workflow(text: String, format: String) -> napi::Result<String> {
        let spec = match format.as_str() {
            "toml" => WorkflowSpec::from_toml(&text),
            _ => WorkflowSpec::from_json(&text),
        };
        native(spec.and_then(|spec| written(&spec)))
    }
}
