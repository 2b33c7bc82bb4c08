//! `RateLimitLayer`: keeps the calls of models within rates, by waiting or by saying how long to wait.

use std::time::Duration;

use async_trait::async_trait;

use super::{
    rate::Rate,
    rate_rules::{RateRefusal, RateRules, RateScope, RateSubject},
};
use crate::{
    error::{Error, ErrorKind, Result, Retry},
    model::{ChatModel, ChatRequest, ChatStream, Layer, Model, ModelInfo, Place},
    runtime::Context,
};

/// The longest wait by default.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Keeps calls within [`RateRules`]: waits until a call is allowed, at most 60 seconds by default.
///
/// A call is one of the context's tenant and principal ([`RateScope::Tenant`], [`RateScope::User`]) to the model
/// ([`RateScope::Endpoint`]); rules over addresses and keys do not apply here.
/// What is counted is shared by all models behind the layer and its copies; only `Endpoint` keeps models apart.
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
        Self { rules, longest_wait: LONGEST_WAIT }
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
    async fn wait(&self, ctx: &Context) -> Result<()> {
        let clock = ctx.runtime().clock();
        let subject = RateSubject {
            tenant: ctx.tenant().as_str(),
            user: ctx.principal(),
            endpoint: Some(&self.inner.info().name),
            ..RateSubject::default()
        };
        let mut now = clock.elapsed();
        let patience = now.saturating_add(self.layer.longest_wait);
        while let Err(refusal) = self.layer.rules.check(&subject, now) {
            let fits = ctx.deadline().is_none_or(|deadline| ctx.now().plus(refusal.after) < deadline);
            if !fits || now.saturating_add(refusal.after) > patience {
                return Err(self.refuse(refusal));
            }
            ctx.bound("model.rate_limit", clock.sleep(refusal.after)).await?;
            now = clock.elapsed();
        }
        Ok(())
    }

    fn refuse(&self, refusal: RateRefusal) -> Error {
        Error::new(ErrorKind::RateLimited, "model.rate_limit", "a limit on calls was reached")
            .with("model", &self.inner.info().name)
            .with("scope", refusal.scope)
            .retryable(Retry::After(refusal.after))
    }
}

#[async_trait]
impl ChatModel for Limited {
    fn info(&self) -> &ModelInfo {
        self.inner.info()
    }

    async fn stream(&self, ctx: &Context, request: &ChatRequest) -> Result<ChatStream> {
        self.wait(ctx).await?;
        self.inner.stream(ctx, request).await
    }
}
