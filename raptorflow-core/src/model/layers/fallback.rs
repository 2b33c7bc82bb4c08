//! `FallbackLayer`: something else when a model fails: another model, an answer from before, a text.

use std::{fmt, sync::Arc};

use async_trait::async_trait;

use super::{begun::Begun, remembered::Remembered};
use crate::{
    error::{Error, ErrorKind, Result},
    model::{CannedModel, ChatModel, ChatRequest, ChatStream, Layer, Model, ModelInfo, Place},
    runtime::Context,
};

type Degrade = Arc<dyn Fn(&Error, &ChatRequest) -> String + Send + Sync>;

/// Whether another model may succeed where one failed: it may not when what was asked is wrong, when somebody
/// cancelled, and when there is no money left.
#[must_use]
pub fn may_fall_back(err: &Error) -> bool {
    !matches!(err.kind(), ErrorKind::InvalidInput | ErrorKind::Cancelled | ErrorKind::BudgetExceeded)
}

/// Something else when a model fails before its first words: other models in their order, then an answer that was
/// given before, then a text.
///
/// Each is one way to degrade, and all can be left out:
/// - [`or`](Self::or) asks another model; it has the layers that it was given, so that it has retries and a breaker of
///   its own. A fixed answer is a [`CannedModel`], and an endpoint of one's own is a model as well.
/// - [`remembering`](Self::remembering) gives the newest answer to the very same request of the same tenant.
/// - [`degrading`](Self::degrading) makes a text of the error.
///
/// Which errors lead to it is what [`may_fall_back`] says, unless [`when`](Self::when) says otherwise; never one of a
/// context that is over.
/// An answer names the model that gave it, so that its cost is that model's.
/// A model of a name that has failed already is passed over.
/// When everything fails, the last error is given, with the models that failed before as `failed` in its context.
///
/// # Examples
/// ```
/// use raptorflow_core::{Result, runtime::{Context, Runtime}, types::Message};
/// use raptorflow_core::error::{Error, ErrorKind};
/// use raptorflow_core::model::{CannedModel, ChatModel as _, ChatRequest, FallbackLayer, FunctionModel, Layer as _, Model, OfflineModel};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<()> {
/// let info = OfflineModel::default().info().clone();
/// let broken = Model::new(FunctionModel::new(info, |_, _| async {
///     Err(Error::new(ErrorKind::Unavailable, "model.stream", "down"))
/// }));
/// let fallback = FallbackLayer::new().or(Model::new(CannedModel::new("We are back soon.")));
/// let ctx = Context::new(&Runtime::current()?);
/// let request = ChatRequest::new(vec![Message::user("Are you there?")]);
/// let answer = fallback.wrap(broken).complete(&ctx, &request).await?;
/// assert_eq!((answer.message.text().as_str(), &*answer.model), ("We are back soon.", "offline:canned"));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct FallbackLayer {
    others: Vec<Model>,
    when: fn(&Error) -> bool,
    remembered: Option<Remembered>,
    degrade: Option<Degrade>,
}

impl Default for FallbackLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl FallbackLayer {
    /// Nothing to fall back to yet.
    #[must_use]
    pub fn new() -> Self {
        Self { others: Vec::new(), when: may_fall_back, remembered: None, degrade: None }
    }

    /// Asks this model when those before it failed.
    #[must_use]
    pub fn or(mut self, model: Model) -> Self {
        self.others.push(model);
        self
    }

    /// Another rule for which errors lead to something else; [`may_fall_back`] by default.
    #[must_use]
    pub fn when(mut self, when: fn(&Error) -> bool) -> Self {
        self.when = when;
        self
    }

    /// Remembers the newest answers, at most this many and 64 KiB each, for when every model fails.
    ///
    /// The oldest gives way; an answer that is longer is not remembered.
    /// They are kept apart by model and tenant, and shared by the copies of the layer.
    #[must_use]
    pub fn remembering(mut self, answers: usize) -> Self {
        self.remembered = Some(Remembered::new(answers));
        self
    }

    /// Answers with a text when nothing else is left; the closure sees the last error and the request.
    #[must_use]
    pub fn degrading(
        mut self,
        degrade: impl Fn(&Error, &ChatRequest) -> String + Send + Sync + 'static,
    ) -> Self {
        self.degrade = Some(Arc::new(degrade));
        self
    }
}

impl fmt::Debug for FallbackLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.others.iter().map(|model| &model.info().name).collect();
        f.debug_struct("FallbackLayer").field("others", &names).finish_non_exhaustive()
    }
}

impl Layer for FallbackLayer {
    fn place(&self) -> Place {
        Place::Fallback
    }

    fn wrap(&self, inner: Model) -> Model {
        Model::new(Falling { layer: self.clone(), inner })
    }
}

#[derive(Debug)]
struct Falling {
    layer: FallbackLayer,
    inner: Model,
}

impl Falling {
    fn may(&self, ctx: &Context, err: &Error) -> bool {
        (self.layer.when)(err) && !is_over(ctx)
    }

    /// The answer of the first model that gives one, or the last error.
    async fn ask(&self, ctx: &Context, request: &ChatRequest) -> Result<ChatStream> {
        match Begun::of(&self.inner, ctx, request).await {
            Ok(answer) => Ok(answer.into_stream()),
            // In a box, so that it takes no room in a call that succeeds.
            Err(err) => Box::pin(self.ask_others(ctx, request, err)).await,
        }
    }

    async fn ask_others(&self, ctx: &Context, request: &ChatRequest, err: Error) -> Result<ChatStream> {
        let mut failed = String::new();
        let mut last = err;
        let mut name = &self.inner.info().name;
        let mut tried = vec![name];
        for other in &self.layer.others {
            if !self.may(ctx, &last) {
                break;
            }
            // The layer stands before the models that it names as well, and what failed once fails again.
            if tried.contains(&&other.info().name) {
                continue;
            }
            tried.push(&other.info().name);
            tracing::info!(model = %name, next = %other.info().name, kind = last.kind().code(), "a model failed");
            failed.push_str(if failed.is_empty() { "" } else { ", " });
            failed.push_str(&format!("{name}: {}", last.kind()));
            name = &other.info().name;
            last = match Begun::of(other, ctx, request).await {
                Ok(answer) => return Ok(answer.named(name).into_stream()),
                Err(err) => err,
            };
        }
        Err(if failed.is_empty() { last } else { last.with("failed", failed) })
    }
}

#[async_trait]
impl ChatModel for Falling {
    fn info(&self) -> &ModelInfo {
        self.inner.info()
    }

    async fn stream(&self, ctx: &Context, request: &ChatRequest) -> Result<ChatStream> {
        let slot = self.layer.remembered.as_ref().map(|all| all.slot(ctx, &self.inner.info().name, request));
        let err = match (self.ask(ctx, request).await, slot.clone()) {
            (Ok(stream), Some(slot)) => return Ok(slot.recording(stream)),
            (Ok(stream), None) => return Ok(stream),
            (Err(err), _) => err,
        };
        if !self.may(ctx, &err) {
            return Err(err);
        }
        if let Some(answer) = slot.and_then(|slot| slot.replay()) {
            return Ok(answer);
        }
        match &self.layer.degrade {
            // A text is no answer where a tool was required; then the error is.
            Some(degrade) => Box::pin(degraded(ctx, request, degrade(&err, request))).await.or(Err(err)),
            None => Err(err),
        }
    }
}

/// A text instead of an answer, said to be that of [`CannedModel`].
pub(super) async fn degraded(ctx: &Context, request: &ChatRequest, text: String) -> Result<ChatStream> {
    let model = Model::new(CannedModel::new(text));
    Ok(Begun::of(&model, ctx, request).await?.named(&model.info().name).into_stream())
}

/// Whether there is no time left to ask anybody.
pub(super) fn is_over(ctx: &Context) -> bool {
    ctx.cancel().is_cancelled() || ctx.deadline().is_some_and(|deadline| ctx.now() >= deadline)
}

#[cfg(test)]
#[cfg(feature = "testing")]
mod tests {
    use futures_util::StreamExt as _;

    use super::*;
    use crate::{
        model::{
            ToolChoice,
            layers::tests::support::{Desk, down},
        },
        testing::{Reply, ScriptedModel},
        types::{TenantId, Usage},
    };

    /// A scripted model of a name.
    fn named(name: &str, reply: Reply) -> Model {
        let script = ScriptedModel::new([]).always(reply);
        let info = ModelInfo { name: name.into(), ..script.info().clone() };
        Model::new(script.with_info(info))
    }

    #[tokio::test]
    async fn models_are_asked_in_their_order_and_the_one_that_answers_is_named() {
        let desk = Desk::new([Reply::error(down())]);
        let layer = FallbackLayer::new()
            .or(named("test:b", Reply::error(down())))
            .or(named("test:c", Reply::text("Here.")))
            .or(named("test:d", Reply::text("Not me.")));
        let answer = desk.answer(layer, &desk.ctx()).await.unwrap();
        assert_eq!((answer.message.text().as_str(), &*answer.model), ("Here.", "test:c"));
    }

    #[tokio::test]
    async fn a_model_does_not_fall_back_to_itself() {
        let desk = Desk::new([Reply::error(down())]).always(Reply::text("Not again."));
        let layer = FallbackLayer::new().or(desk.model()).or(named("test:b", Reply::text("Here.")));
        let answer = desk.answer(layer, &desk.ctx()).await.unwrap();
        assert_eq!((answer.message.text().as_str(), desk.script.requests().len()), ("Here.", 1));
    }

    #[tokio::test]
    async fn an_answer_of_the_model_itself_is_not_touched() {
        let desk = Desk::new([Reply::text("Here.").with_usage(Usage::new(2, 1))]);
        let layer = FallbackLayer::new().or(named("test:b", Reply::text("Not me.")));
        let parts = layer.wrap(desk.model()).stream(&desk.ctx(), &Desk::request()).await.unwrap();
        assert_eq!(parts.count().await, 3, "text, usage and the end");
    }

    #[tokio::test]
    async fn the_last_error_says_who_failed_before() {
        let desk = Desk::new([Reply::error(down())]);
        let denied = Error::new(ErrorKind::Unauthenticated, "model.stream", "no key");
        let layer = FallbackLayer::new().or(named("test:b", Reply::error(denied)));
        let err = desk.answer(layer, &desk.ctx()).await.unwrap_err();
        assert_eq!(err.kind(), ErrorKind::Unauthenticated);
        assert_eq!(err.get("failed"), Some("scripted:model: unavailable"));
    }

    #[tokio::test]
    async fn what_nobody_could_do_and_a_context_that_is_over_lead_nowhere() {
        for kind in [ErrorKind::InvalidInput, ErrorKind::Cancelled, ErrorKind::BudgetExceeded] {
            let err = Error::new(kind, "model.stream", "no");
            let desk = Desk::new([Reply::error(err.clone())]);
            let layer =
                FallbackLayer::new().or(named("test:b", Reply::text("Here."))).degrading(|_, _| "x".into());
            assert_eq!(desk.answer(layer, &desk.ctx()).await.unwrap_err(), err);
        }
        let desk = Desk::new([Reply::error(down())]);
        let over = desk.ctx().with_timeout(std::time::Duration::ZERO);
        let layer = FallbackLayer::new().or(named("test:b", Reply::text("Here.")));
        assert!(layer.wrap(desk.model()).stream(&over, &Desk::request()).await.is_err());
        let picky = FallbackLayer::new().or(named("test:b", Reply::text("Here."))).when(|_| false);
        assert!(Desk::new([Reply::error(down())]).answer(picky, &desk.ctx()).await.is_err());
    }

    #[tokio::test]
    async fn an_answer_that_has_begun_is_not_replaced() {
        let desk = Desk::new([Reply::text("Here it is.").in_pieces(4).cut_after(1)]);
        let layer = FallbackLayer::new().or(named("test:b", Reply::text("Other.")));
        let err = desk.answer(layer, &desk.ctx()).await.unwrap_err();
        assert_eq!(err.get("partial_chars"), Some("4"));
    }

    #[tokio::test]
    async fn an_answer_from_before_serves_the_same_request_of_the_same_tenant() {
        let replies = [Reply::text("From before.").with_usage(Usage::new(9, 3))];
        let desk = Desk::new(replies).always(Reply::error(down()));
        let model = FallbackLayer::new().remembering(1).wrap(desk.model());
        let ctx = desk.ctx();
        assert!(model.complete(&ctx, &Desk::request()).await.is_ok());
        let again = model.complete(&ctx, &Desk::request()).await.unwrap();
        assert_eq!((again.message.text().as_str(), again.usage), ("From before.", Usage::default()));
        assert_eq!(&*again.model, "scripted:model");
        let other = ctx.with_tenant(TenantId::new("umbra").unwrap());
        assert!(model.complete(&other, &Desk::request()).await.is_err());
        let hotter = ChatRequest { temperature: Some(1.0), ..Desk::request() };
        assert!(model.complete(&ctx, &hotter).await.is_err());
    }

    #[tokio::test]
    async fn only_so_many_answers_are_remembered_and_no_half_ones() {
        let desk = Desk::new([Reply::text("One."), Reply::text("Two."), Reply::text("Three.").cut_after(1)])
            .always(Reply::error(down()));
        let model = FallbackLayer::new().remembering(1).wrap(desk.model());
        let of = |heat: f32| ChatRequest { temperature: Some(heat), ..Desk::request() };
        for (heat, answered) in
            [(0.1, true), (0.2, true), (0.3, false), (0.1, false), (0.3, false), (0.2, true)]
        {
            assert_eq!(model.complete(&desk.ctx(), &of(heat)).await.is_ok(), answered, "{heat}");
        }
    }

    #[tokio::test]
    async fn a_text_is_made_of_the_error_when_nothing_else_is_left() {
        let desk = Desk::new([Reply::error(down())]);
        let layer = FallbackLayer::new()
            .or(named("test:b", Reply::error(down())))
            .degrading(|err, request| format!("{} of {} asked", err.kind(), request.messages.len()));
        let answer = desk.answer(layer, &desk.ctx()).await.unwrap();
        assert_eq!(answer.message.text(), "unavailable of 1 asked");
        assert_eq!(&*answer.model, "offline:canned");
    }

    #[tokio::test]
    async fn a_text_takes_no_place_of_a_tool_that_was_required() {
        let desk = Desk::new([Reply::error(down())]);
        let model = FallbackLayer::new().degrading(|_, _| "Sorry.".to_owned()).wrap(desk.model());
        let request = ChatRequest { tool_choice: ToolChoice::Required, ..Desk::request() };
        assert_eq!(model.complete(&desk.ctx(), &request).await.unwrap_err(), down());
    }
}
