//! `AskRequest`: a question whose answer is a value of a type.

use std::{any::Any, fmt, future::IntoFuture, marker::PhantomData, pin::Pin, sync::Arc, time::Duration};

use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use crate::{
    agent::{AgentInput, AgentSpec, AnswerForm, Limits, Retrieval},
    engine::{AnswerStream, Engine, Run, RunRequest, Target, TypedOutcome},
    error::{Error, ErrorKind, Result},
    runtime::Cancel,
    types::{RunId, Schema, TenantId},
};

/// The name under which questions to a model are recorded.
const ASK: &str = "ask";

impl Engine {
    /// Asks a model, or an agent, and gives the answer as a value of a type; nothing is registered for it.
    ///
    /// The answer is checked against the schema of the type, and goes back with what is wrong if it does not fit, as
    /// often as [`AskRequest::repairs`] allows.
    /// It is a run like any other: it is journalled, it is paid from the same budgets, and its id resumes it, also in a
    /// process that knows nothing of it.
    ///
    /// # Errors
    /// As [`Engine::run`]; `InvalidOutput` when the answer did not fit to the end, with what was wrong with the last one
    /// as its [`Diagnostics`](crate::types::Diagnostics), which quote nothing of it; `LimitExceeded` when a bound ended
    /// the run before.
    ///
    /// # Cancellation
    /// Dropping the future stops the work; the run can be resumed.
    ///
    /// # Examples
    /// ```
    /// use raptorflow_core::{Engine, model::{CannedModel, Model}};
    ///
    /// #[derive(serde::Deserialize, schemars::JsonSchema)]
    /// struct Price {
    ///     net: f64,
    ///     currency: String,
    /// }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> raptorflow_core::Result<()> {
    /// let engine = Engine::builder().build().await?;
    /// engine.register_model("host:prices", Model::new(CannedModel::new(r#"{"net": 499, "currency": "INR"}"#)))?;
    /// let answer = engine
    ///     .ask::<Price>("What does the basic plan cost?")
    ///     .model("host:prices")
    ///     .instructions("Take prices from the price list only.")
    ///     .await?;
    /// assert_eq!((answer.value.net, answer.value.currency.as_str()), (499.0, "INR"));
    /// assert_eq!(engine.resume(answer.run_id).await?.output["net"], 499);
    /// # Ok(())
    /// # }
    /// ```
    pub fn ask<T: DeserializeOwned + JsonSchema>(&self, question: impl Into<AgentInput>) -> AskRequest<T> {
        AskRequest::new(self.run(ASK, question), AgentSpec::new(ASK))
    }
}

impl RunRequest {
    /// The answer as a value of a type, which takes the place of the agent's own form.
    ///
    /// # Examples
    /// ```
    /// use raptorflow_core::{Agent, Engine, model::{CannedModel, Model}};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> raptorflow_core::Result<()> {
    /// let engine = Engine::builder().build().await?;
    /// let model = Model::new(CannedModel::new(r#"["basic", "team"]"#));
    /// engine.register(Agent::builder("plans").model_instance(model).build()?)?;
    /// let plans = engine.run("plans", "Which plans are there?").output_as::<Vec<String>>().await?;
    /// assert_eq!(plans.value, ["basic", "team"]);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn output_as<T: DeserializeOwned + JsonSchema>(self) -> AskRequest<T> {
        AskRequest { subject: Subject::Target, ..AskRequest::new(self, AgentSpec::new(ASK)) }
    }
}

/// A question that is not asked yet: await it, read the answer as it arrives with [`AskRequest::stream`], or
/// [`AskRequest::start`] it in the background.
pub struct AskRequest<T> {
    request: RunRequest,
    subject: Subject,
    spec: Result<AgentSpec>,
    /// The first thing that was said of the model, which an agent has its own of.
    said: Option<&'static str>,
    schema: Option<Schema>,
    repairs: Option<u32>,
    kind: PhantomData<fn() -> T>,
}

/// Who is asked.
#[derive(Clone, Copy)]
enum Subject {
    Model,
    /// What the request says.
    Target,
}

impl<T: DeserializeOwned + JsonSchema> AskRequest<T> {
    fn new(request: RunRequest, spec: Result<AgentSpec>) -> Self {
        Self {
            request,
            subject: Subject::Model,
            spec,
            said: None,
            schema: None,
            repairs: None,
            kind: PhantomData,
        }
    }

    /// The model by name, `provider:model`; the engine's default when not set.
    #[must_use]
    pub fn model(self, name: impl Into<Arc<str>>) -> Self {
        self.say("model", |spec| spec.model = Some(name.into()))
    }

    /// What the model is told: the system message.
    #[must_use]
    pub fn instructions(self, text: impl Into<Arc<str>>) -> Self {
        self.say("instructions", |spec| spec.instructions = text.into())
    }

    /// Passages that the model is given before it is asked.
    #[must_use]
    pub fn retrieval(self, retrieval: Retrieval) -> Self {
        self.say("retrieval", |spec| spec.retrieval = Some(retrieval))
    }

    /// Bounds of the run.
    #[must_use]
    pub fn limits(self, limits: Limits) -> Self {
        self.say("limits", |spec| spec.limits = limits)
    }

    /// Asks an agent instead of a model, with its instructions and tools.
    #[must_use]
    pub fn agent(mut self, target: impl Into<Target>) -> Self {
        self.request = self.request.of(target.into());
        self.subject = Subject::Target;
        self
    }

    /// What the question is a part of, said before it.
    #[must_use]
    pub fn background(mut self, text: impl Into<Arc<str>>) -> Self {
        self.request = self.request.background(text);
        self
    }

    /// How often an answer that does not fit is sent back with what is wrong; 1 by default, or what the agent says.
    #[must_use]
    pub fn repairs(mut self, repairs: u32) -> Self {
        self.repairs = Some(repairs);
        self
    }

    /// Another schema than the one of the type; for a type whose schema is known at run time only.
    #[must_use]
    pub fn schema(mut self, schema: Schema) -> Self {
        self.schema = Some(schema);
        self
    }

    /// The id of the run, for a host that must know it before the run begins; a new one by default.
    #[must_use]
    pub fn id(mut self, run: RunId) -> Self {
        self.request = self.request.id(run);
        self
    }

    /// The tenant; the engine's by default.
    #[must_use]
    pub fn tenant(mut self, tenant: TenantId) -> Self {
        self.request = self.request.tenant(tenant);
        self
    }

    /// Who asks; see [`RunRequest::user`].
    #[must_use]
    pub fn user(mut self, user: impl Into<Arc<str>>) -> Self {
        self.request = self.request.user(user);
        self
    }

    /// How long the run may take; no bound by default.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.request = self.request.timeout(timeout);
        self
    }

    /// A token that cancels the run for good.
    #[must_use]
    pub fn cancel_with(mut self, cancel: &Cancel) -> Self {
        self.request = self.request.cancel_with(cancel);
        self
    }

    /// Data of the host that agents and tools find in their context.
    #[must_use]
    pub fn extension(mut self, extension: Arc<dyn Any + Send + Sync>) -> Self {
        self.request = self.request.extension(extension);
        self
    }

    /// Starts it in the background; [`Outcome::parse`](crate::engine::Outcome::parse) gives the value at its end.
    ///
    /// # Errors
    /// What fails before the model is asked.
    ///
    /// # Cancellation
    /// As [`Engine::start`].
    pub async fn start(self) -> Result<Run> {
        self.ready()?.0.start().await
    }

    /// Asks, and gives the answer as it arrives; nothing happens before the stream is polled.
    ///
    /// # Errors
    /// `InvalidInput` for what cannot be asked.
    ///
    /// # Cancellation
    /// Dropping the stream stops the work; the run can be resumed.
    ///
    /// # Examples
    /// ```
    /// use futures_util::StreamExt as _;
    /// use raptorflow_core::{Engine, engine::AnswerPart, model::{CannedModel, Model}};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> raptorflow_core::Result<()> {
    /// let engine = Engine::builder().default_model("host:plans").build().await?;
    /// engine.register_model("host:plans", Model::new(CannedModel::new(r#"["basic", "team"]"#)))?;
    /// let mut parts = engine.ask::<Vec<String>>("Which plans are there?").stream()?;
    /// let mut plans = Vec::new();
    /// while let Some(part) = parts.next().await {
    ///     match part? {
    ///         AnswerPart::Partial { value, .. } => println!("so far: {value}"),
    ///         AnswerPart::Again { attempt } => println!("not that; attempt {attempt}"),
    ///         AnswerPart::Done(outcome) => plans = outcome.value,
    ///         _ => {}
    ///     }
    /// }
    /// assert_eq!(plans, ["basic", "team"]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn stream(self) -> Result<AnswerStream<T>> {
        let (request, schema) = self.ready()?;
        Ok(AnswerStream::new(request, &schema))
    }

    fn say(mut self, field: &'static str, change: impl FnOnce(&mut AgentSpec)) -> Self {
        if let Ok(spec) = &mut self.spec {
            change(spec);
        }
        self.said.get_or_insert(field);
        self
    }

    /// The run that it is, and the schema of its answer.
    fn ready(self) -> Result<(RunRequest, Schema)> {
        let schema = self.schema.unwrap_or_else(Schema::of::<T>);
        schema.check()?;
        let mut request = self.request;
        match self.subject {
            Subject::Model => {
                let mut spec = self.spec?;
                spec.output = Some(schema.clone());
                spec.limits.repairs = self.repairs.unwrap_or(spec.limits.repairs);
                request = request.asking(spec);
            }
            Subject::Target => {
                if let Some(field) = self.said {
                    let message = "an agent has its own; leave it out, or ask a model";
                    return Err(
                        Error::new(ErrorKind::InvalidInput, "engine.ask", message).with("field", field)
                    );
                }
                request = request.form(AnswerForm { schema: schema.clone(), repairs: self.repairs });
            }
        }
        Ok((request, schema))
    }
}

impl<T: DeserializeOwned + JsonSchema> IntoFuture for AskRequest<T> {
    type Output = Result<TypedOutcome<T>>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        // Apart from the future, so that it need not be one of a type that can be sent.
        let ready = self.ready();
        Box::pin(async move { ready?.0.await?.typed() })
    }
}

impl<T> fmt::Debug for AskRequest<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AskRequest").field("request", &self.request).finish_non_exhaustive()
    }
}
