//! `RateLimitLayer`: keeps the calls of models within rates, by waiting or by saying how long to wait.

use std::{
    pin::Pin,
    sync::Arc,
    task::{self, Poll},
    time::Duration,
};

use futures_util::{Stream, StreamExt as _};

use super::{
    rate::Rate,
    rate_rules::{RateClaim, RateRefusal, RateRules, RateScope, RateSubject, RateUnit},
    rate_store::RateStore,
    tokens::call_tokens,
};
use crate::{
    error::{Error, ErrorKind, Result, Retry},
    model::{Beginning, ChatModel, ChatRequest, ChatStream, Layer, Model, ModelInfo, Place, StreamPart},
    runtime::{Cancel, Context},
};

/// The longest wait by default.
pub(super) const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Keeps calls within [`RateRules`]: waits until a call is allowed, at most 60 seconds by default.
///
/// A call is one of the context's tenant and principal ([`RateScope::Tenant`], [`RateScope::User`]) to the model
/// ([`RateScope::Endpoint`]); rules over addresses and keys do not apply here.
/// What is counted is shared by all models behind the layer and its copies; only `Endpoint` keeps models apart.
///
/// A rule over tokens counts before a call what it is expected to take, from the text of the request and an answer of
/// 1,024 tokens or of the request's bound, and afterwards what the model told.
/// What is not known counts as it was expected; a call that failed before anything arrived counts no tokens, unless it
/// ran out of time.
///
/// Where the wait is longer than the longest or than what is left until the context's deadline, the call fails at once
/// with `RateLimited` and [`Retry::After`], and is not counted.
/// Those who wait are not ordered: whoever asks first when there is room gets it.
///
/// # Cancellation
/// A call that is dropped while it waits was not counted.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use raptorflow_core::{ErrorKind, Result, runtime::{Context, Runtime}, types::Message};
/// use raptorflow_core::model::{ChatRequest, Layer as _, Model, OfflineModel, Rate, RateLimitLayer};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<()> {
/// let once = Rate::new(1, Duration::from_secs(60))?.with_burst(1.0);
/// let layer = RateLimitLayer::per_model(once).with_longest_wait(Duration::ZERO);
/// let model = layer.wrap(Model::new(OfflineModel::default()));
/// let ctx = Context::new(&Runtime::current()?);
/// let request = ChatRequest::new(vec![Message::user("What is a journal?")]);
/// model.complete(&ctx, &request).await?;
/// let err = model.complete(&ctx, &request).await.unwrap_err();
/// assert_eq!((err.kind(), err.get("scope")), (ErrorKind::RateLimited, Some("endpoint")));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct RateLimitLayer {
    rules: RateRules,
    longest_wait: Duration,
    /// Who counts; the rules themselves where it is not given.
    store: Option<Arc<dyn RateStore>>,
}

impl Default for RateLimitLayer {
    fn default() -> Self {
        Self::new(RateRules::default())
    }
}

impl RateLimitLayer {
    /// By the given rules.
    #[must_use]
    pub fn new(rules: RateRules) -> Self {
        Self { rules, longest_wait: LONGEST_WAIT, store: None }
    }

    /// One rate for each model.
    #[must_use]
    pub fn per_model(rate: Rate) -> Self {
        Self::new(RateRules::new().with(RateScope::Endpoint, rate))
    }

    /// The longest wait; with none at all, a call that is not allowed fails at once.
    #[must_use]
    pub fn with_longest_wait(mut self, wait: Duration) -> Self {
        self.longest_wait = wait;
        self
    }

    /// Counts in a store, which other layers and other processes may share, instead of in the rules.
    ///
    /// While the store cannot be asked, calls fail with its error: nothing takes its place.
    /// What a call took is told to the store in a task of its own, after the call's end.
    #[must_use]
    pub fn with_store(mut self, store: Arc<dyn RateStore>) -> Self {
        self.store = Some(store);
        self
    }

    /// The rules, to see what they refused.
    #[must_use]
    pub fn rules(&self) -> &RateRules {
        &self.rules
    }
}

impl Layer for RateLimitLayer {
    fn place(&self) -> Place {
        Place::RateLimit
    }

    fn wrap(&self, inner: Model) -> Model {
        Model::new(Limited { layer: self.clone(), inner })
    }
}

#[derive(Debug)]
struct Limited {
    layer: RateLimitLayer,
    inner: Model,
}

impl Limited {
    async fn claim(
        &self,
        ctx: &Context,
        tokens: u32,
        now: Duration,
    ) -> Result<Result<RateClaim, RateRefusal>> {
        let subject = subject(ctx, &self.inner.info().name);
        match &self.layer.store {
            // In a box, so that it takes no room where calls are counted in memory.
            Some(store) => Box::pin(self.layer.rules.claim_in(&**store, ctx, &subject, tokens)).await,
            None => Ok(self.layer.rules.claim(&subject, tokens, now)),
        }
    }

    /// Waits until a call is allowed, and gives what was counted for it.
    async fn wait(&self, ctx: &Context, tokens: u32) -> Result<RateClaim> {
        let now = ctx.runtime().clock().elapsed();
        match self.claim(ctx, tokens, now).await? {
            Ok(claim) => Ok(claim),
            Err(refusal) => self.wait_on(ctx, tokens, now, refusal).await,
        }
    }

    /// The same after a first refusal.
    async fn wait_on(
        &self,
        ctx: &Context,
        tokens: u32,
        mut now: Duration,
        mut refusal: RateRefusal,
    ) -> Result<RateClaim> {
        let clock = ctx.runtime().clock();
        let patience = now.saturating_add(self.layer.longest_wait);
        loop {
            let fits = ctx.deadline().is_none_or(|deadline| ctx.now().plus(refusal.after) < deadline);
            if !fits || now.saturating_add(refusal.after) > patience {
                return Err(self.refuse(refusal));
            }
            // In a box, so that it takes no room in a call that does not wait.
            Box::pin(ctx.bound("model.rate_limit", clock.sleep(refusal.after))).await?;
            now = clock.elapsed();
            refusal = match self.claim(ctx, tokens, now).await? {
                Ok(claim) => return Ok(claim),
                Err(refusal) => refusal,
            };
        }
    }

    fn refuse(&self, refusal: RateRefusal) -> Error {
        let message = match refusal.unit {
            RateUnit::Calls => "a limit on calls was reached",
            RateUnit::Tokens => "a limit on tokens was reached",
        };
        Error::new(ErrorKind::RateLimited, "model.rate_limit", message)
            .with("model", &self.inner.info().name)
            .with("scope", refusal.scope)
            .retryable(Retry::After(refusal.after))
    }
}

impl ChatModel for Limited {
    fn info(&self) -> &ModelInfo {
        self.inner.info()
    }

    // As `async_trait` has it, but without a box of its own where there is nothing to do.
    fn stream<'a, 'b, 'c, 'd>(&'a self, ctx: &'b Context, request: &'c ChatRequest) -> Beginning<'d>
    where
        'a: 'd,
        'b: 'd,
        'c: 'd,
        Self: 'd,
    {
        if self.layer.store.is_some() || self.layer.rules.counts_tokens() {
            return Box::pin(self.counted(ctx, request));
        }
        let now = ctx.runtime().clock().elapsed();
        let claimed = self.layer.rules.claim(&subject(ctx, &self.inner.info().name), 0, now);
        let Err(refusal) = claimed else { return self.inner.begin(ctx, request) };
        Box::pin(async move {
            let _claim = self.wait_on(ctx, 0, now, refusal).await?;
            self.inner.stream(ctx, request).await
        })
    }
}

impl Limited {
    async fn counted(&self, ctx: &Context, request: &ChatRequest) -> Result<ChatStream> {
        if !self.layer.rules.counts_tokens() {
            let _claim = self.wait(ctx, 0).await?;
            return self.inner.stream(ctx, request).await;
        }
        let expected = u32::try_from(call_tokens(request)).unwrap_or(u32::MAX);
        let mut count = Count {
            claim: Some(self.wait(ctx, expected).await?),
            layer: self.layer.clone(),
            ctx: ctx.clone(),
            model: Arc::clone(&self.inner.info().name),
            used: None,
        };
        match self.inner.stream(ctx, request).await {
            Ok(parts) => Ok(Box::pin(Counted { parts, count })),
            Err(err) => {
                if !matches!(err.kind(), ErrorKind::Timeout | ErrorKind::Cancelled) {
                    count.used = Some(0);
                }
                Err(err)
            }
        }
    }
}

fn subject<'a>(ctx: &'a Context, model: &'a str) -> RateSubject<'a> {
    RateSubject {
        tenant: ctx.tenant().as_str(),
        user: ctx.principal(),
        endpoint: Some(model),
        ..RateSubject::default()
    }
}

/// The tokens of one call; they are put right when it is dropped, which is at its end at the latest.
struct Count {
    claim: Option<RateClaim>,
    layer: RateLimitLayer,
    ctx: Context,
    model: Arc<str>,
    /// What the model told, if it did.
    used: Option<u64>,
}

impl Count {
    fn settle(&mut self) {
        if let (Some(claim), Some(used)) = (self.claim.take(), self.used) {
            let used = u32::try_from(used).unwrap_or(u32::MAX);
            match self.layer.store.clone() {
                Some(store) => self.tell(store, claim, used),
                None => {
                    let now = self.ctx.runtime().clock().elapsed();
                    self.layer.rules.settle(&subject(&self.ctx, &self.model), claim, used, now);
                }
            }
        }
    }
}

impl Count {
    /// Tells a store what was used, also when the call was cancelled.
    fn tell(&self, store: Arc<dyn RateStore>, claim: RateClaim, used: u32) {
        let (rules, ctx, model) = (self.layer.rules.clone(), self.ctx.clone(), Arc::clone(&self.model));
        self.ctx.runtime().tasks().spawn("model.rate_settle", async move {
            // Not cancelled with the call or with the engine, which waits for its tasks.
            let on = Context::new(ctx.runtime()).with_cancel(Cancel::new());
            if let Err(err) = rules.settle_in(&*store, &on, &subject(&ctx, &model), claim, used).await {
                tracing::warn!(error = %err, "what a call took was not told to the store of its rate");
            }
        });
    }
}

impl Drop for Count {
    fn drop(&mut self) {
        self.settle();
    }
}

/// The same parts, whose usage is noted.
struct Counted {
    parts: ChatStream,
    count: Count,
}

impl Stream for Counted {
    type Item = Result<StreamPart>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Option<Self::Item>> {
        let next = self.parts.poll_next_unpin(cx);
        match &next {
            // A model that tells nothing tells zeros.
            Poll::Ready(Some(Ok(StreamPart::Usage { usage }))) if usage.total_tokens() > 0 => {
                self.count.used = Some(usage.total_tokens());
            }
            // Before the end is told, so that whoever hears of it finds the count right.
            Poll::Ready(Some(Ok(StreamPart::Finish { .. })) | None) => self.count.settle(),
            _ => {}
        }
        next
    }
}
