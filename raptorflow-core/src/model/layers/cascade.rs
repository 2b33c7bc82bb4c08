//! `CascadeLayer`: a cheap model first, a stronger one when its answer will not do.

use std::{fmt, sync::Arc};

use async_trait::async_trait;

use super::{
    begun::Whole,
    fallback::{degraded, is_over, may_fall_back},
};
use crate::{
    error::Result,
    model::{
        Answer, ChatModel, ChatRequest, ChatResponse, ChatStream, FinishReason, Layer, Model, ModelInfo,
        Output, Place, check_answer,
    },
    runtime::Context,
    types::Usage,
};

type Accepts = Arc<dyn Fn(&ChatRequest, &ChatResponse) -> bool + Send + Sync>;
type Degrade = Arc<dyn Fn(&ChatRequest) -> String + Send + Sync>;

/// Asks the model behind it, which is the cheap one, and a stronger one when the answer will not do.
///
/// An answer will do when it has the form that was asked for (see [`check_answer`]), the provider did not withhold it,
/// and the closure of [`accepting`](Self::accepting) accepts it, where there is one; an answer that asks for tools need
/// not have the form yet.
/// A model that fails is passed over as in a [`FallbackLayer`](crate::model::FallbackLayer).
///
/// When no answer will do, the text of [`degrading`](Self::degrading) is given; without it the last answer as it is, or
/// the last error where there was no answer.
///
/// An answer is given on only when it is whole, since it is judged as a whole; it is as long as an
/// [`Accumulator`](crate::model::Accumulator) allows.
/// It names the model that gave it, and its usage is that of all models that were asked.
///
/// # Examples
/// ```
/// use raptorflow_core::{Result, runtime::{Context, Runtime}, types::Message};
/// use raptorflow_core::model::{CannedModel, CascadeLayer, ChatRequest, Layer as _, Model};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<()> {
/// let cheap = Model::new(CannedModel::new("I do not know."));
/// let strong = Model::new(CannedModel::new("A journal is a list of facts."));
/// let cascade = CascadeLayer::new(strong)
///     .accepting(|_request, answer| !answer.message.text().contains("do not know"));
/// let ctx = Context::new(&Runtime::current()?);
/// let request = ChatRequest::new(vec![Message::user("What is a journal?")]);
/// let answer = cascade.wrap(cheap).complete(&ctx, &request).await?;
/// assert_eq!(answer.message.text(), "A journal is a list of facts.");
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct CascadeLayer {
    stronger: Vec<Model>,
    accepts: Option<Accepts>,
    degrade: Option<Degrade>,
}

impl CascadeLayer {
    /// Asks this model when the cheap one will not do.
    #[must_use]
    pub fn new(stronger: Model) -> Self {
        Self { stronger: vec![stronger], accepts: None, degrade: None }
    }

    /// Asks this model when those before it will not do.
    #[must_use]
    pub fn or(mut self, stronger: Model) -> Self {
        self.stronger.push(stronger);
        self
    }

    /// What an answer must be besides having the form that was asked for.
    #[must_use]
    pub fn accepting(
        mut self,
        accepts: impl Fn(&ChatRequest, &ChatResponse) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.accepts = Some(Arc::new(accepts));
        self
    }

    /// Answers with a text when no answer will do.
    #[must_use]
    pub fn degrading(mut self, degrade: impl Fn(&ChatRequest) -> String + Send + Sync + 'static) -> Self {
        self.degrade = Some(Arc::new(degrade));
        self
    }

    fn will_do(&self, request: &ChatRequest, answer: &Whole) -> bool {
        // Free text and a request for tools have the form whatever they say.
        let has_form = match answer.finish() {
            Some(FinishReason::ContentFilter) | None => return false,
            Some(FinishReason::ToolCalls) => true,
            Some(_) => request.output == Output::Text,
        };
        if has_form && self.accepts.is_none() {
            return true;
        }
        let Ok(response) = answer.response() else { return false };
        let response = ChatResponse { usage: Usage::default(), ..response };
        let formed = has_form || matches!(check_answer(&request.output, &response), Answer::Valid(_));
        formed && self.accepts.as_ref().is_none_or(|accepts| accepts(request, &response))
    }
}

impl fmt::Debug for CascadeLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.stronger.iter().map(|model| &model.info().name).collect();
        f.debug_struct("CascadeLayer").field("stronger", &names).finish_non_exhaustive()
    }
}

impl Layer for CascadeLayer {
    fn place(&self) -> Place {
        Place::Cascade
    }

    fn wrap(&self, inner: Model) -> Model {
        Model::new(Cascading { layer: self.clone(), inner })
    }
}

#[derive(Debug)]
struct Cascading {
    layer: CascadeLayer,
    inner: Model,
}

#[async_trait]
impl ChatModel for Cascading {
    fn info(&self) -> &ModelInfo {
        self.inner.info()
    }

    async fn stream(&self, ctx: &Context, request: &ChatRequest) -> Result<ChatStream> {
        let (mut used, mut last, mut failed) = (Usage::default(), None, None);
        for model in [&self.inner].into_iter().chain(&self.layer.stronger) {
            match Whole::of(model, ctx, request).await {
                Ok(answer) => {
                    used = used.plus(answer.usage());
                    if self.layer.will_do(request, &answer) {
                        return Ok(answer.having_used(used).into_stream());
                    }
                    tracing::debug!(model = %model.info().name, "an answer will not do");
                    last = Some(answer);
                }
                Err(err) if may_fall_back(&err) && !is_over(ctx) => {
                    tracing::debug!(model = %model.info().name, kind = err.kind().code(), "a model failed");
                    failed = Some(err);
                }
                Err(err) => return Err(err),
            }
        }
        match (&self.layer.degrade, last, failed) {
            // In a box, as in all layers what is rare: what is not asked for takes no room in each call.
            (Some(degrade), ..) => Box::pin(degraded(ctx, request, degrade(request))).await,
            (None, Some(answer), _) => Ok(answer.having_used(used).into_stream()),
            (None, None, Some(err)) => Err(err),
            // There is always a model that was asked.
            (None, None, None) => self.inner.stream(ctx, request).await,
        }
    }
}

#[cfg(test)]
#[cfg(feature = "testing")]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        error::{Error, ErrorKind},
        model::{
            Output,
            layers::tests::support::{Desk, down},
        },
        testing::{Reply, ScriptedModel},
        types::Schema,
    };

    fn strong(reply: Reply) -> Model {
        let script = ScriptedModel::new([]).always(reply.with_usage(Usage::new(50, 5)));
        let info = ModelInfo { name: "test:strong".into(), ..script.info().clone() };
        Model::new(script.with_info(info))
    }

    async fn check(cheap: Reply, layer: CascadeLayer, request: ChatRequest) -> Result<ChatResponse> {
        let desk = Desk::new([cheap.with_usage(Usage::new(10, 1))]);
        layer.wrap(desk.model()).complete(&desk.ctx(), &request).await
    }

    #[tokio::test]
    async fn an_answer_of_the_cheap_model_that_will_do_is_the_answer() {
        let answer =
            check(Reply::text("Here."), CascadeLayer::new(strong(Reply::text("x"))), Desk::request()).await;
        let answer = answer.unwrap();
        assert_eq!((answer.message.text().as_str(), &*answer.model), ("Here.", "scripted:model"));
        assert_eq!(answer.usage, Usage::new(10, 1));
    }

    #[tokio::test]
    async fn an_answer_without_the_form_that_was_asked_for_leads_to_the_stronger_model() {
        let schema = Schema::new(json!({"type": "object", "required": ["net"]})).unwrap();
        let request = Desk::request().with_output(Output::Json { name: "price".into(), schema });
        let layer = CascadeLayer::new(strong(Reply::text("{\"net\": 1}")));
        let answer = check(Reply::text("{}"), layer.clone(), request.clone()).await.unwrap();
        assert_eq!((answer.message.text().as_str(), &*answer.model), ("{\"net\": 1}", "test:strong"));
        assert_eq!(answer.usage, Usage::new(60, 6), "both models were paid");
        let call = Reply::tool_call("look", &json!({}));
        assert_eq!(&*check(call, layer, request).await.unwrap().model, "scripted:model");
    }

    #[tokio::test]
    async fn what_the_closure_refuses_and_what_a_provider_withholds_will_not_do() {
        let layer = CascadeLayer::new(strong(Reply::text("Surely.")))
            .accepting(|_, answer| answer.message.text() != "Perhaps.");
        let withheld = Reply::text("Some").with_finish(&FinishReason::ContentFilter);
        for cheap in [Reply::text("Perhaps."), withheld, Reply::error(down())] {
            let answer = check(cheap, layer.clone(), Desk::request()).await.unwrap();
            assert_eq!(answer.message.text(), "Surely.");
        }
    }

    #[tokio::test]
    async fn when_nothing_will_do_there_is_a_text_or_the_last_answer_or_the_last_error() {
        let none = || CascadeLayer::new(strong(Reply::text("Two."))).accepting(|_, _| false);
        let last = check(Reply::text("One."), none(), Desk::request()).await.unwrap();
        assert_eq!((last.message.text().as_str(), last.usage), ("Two.", Usage::new(60, 6)));
        let text = check(Reply::text("One."), none().degrading(|_| "Neither.".into()), Desk::request()).await;
        assert_eq!(text.unwrap().message.text(), "Neither.");
        let broken = CascadeLayer::new(strong(Reply::error(down())));
        assert_eq!(check(Reply::error(down()), broken, Desk::request()).await.unwrap_err(), down());
    }

    #[tokio::test]
    async fn what_was_asked_wrongly_is_not_asked_again() {
        let wrong = Error::new(ErrorKind::InvalidInput, "model.stream", "no");
        let layer = CascadeLayer::new(strong(Reply::text("x"))).degrading(|_| "x".into());
        assert_eq!(check(Reply::error(wrong.clone()), layer, Desk::request()).await.unwrap_err(), wrong);
    }
}
