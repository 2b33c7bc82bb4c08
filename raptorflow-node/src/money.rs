//! Budgets, prices, and what stands before models; data is JSON.

use napi::{Env, bindgen_prelude::PromiseRaw};
use napi_derive::napi;
use raptorflow_core::{
    Result,
    economics::{self, Cap, Scope, Window},
    model::CacheStats,
    types::{AgentId, Money, RunId},
};
use serde::{Deserialize, Serialize};

use crate::{
    convert::{data, native, promise, written},
    engine::NativeEngine,
};

/// Whose spending is meant; the tenant's where nothing is named.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Whose {
    user: Option<String>,
    run: Option<RunId>,
    agent: Option<AgentId>,
}

impl Whose {
    fn scope(self) -> Result<Scope> {
        Scope::of(self.user.as_deref(), self.run, self.agent)
    }
}

#[derive(Serialize)]
struct Stats {
    #[serde(flatten)]
    stats: CacheStats,
    hit_rate: f64,
}

#[napi]
impl NativeEngine {
    /// About how many tokens a text has.
    #[napi]
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "no text has 2^53 tokens")]
    pub fn text_tokens(text: String) -> f64 {
        economics::text_tokens(&text) as f64
    }

    /// Sets what a scope may spend.
    #[napi]
    pub fn set_cap<'e>(
        &self,
        env: &'e Env,
        whose: String,
        window: String,
        cap: String,
    ) -> napi::Result<PromiseRaw<'e, ()>> {
        let engine = self.engine.clone();
        promise(env, async move {
            let scope = data::<Whose>("whose", &whose)?.scope()?;
            let (window, cap): (Window, Cap) = (data("window", &window)?, data("cap", &cap)?);
            engine.set_cap(scope, window, cap).await
        })
    }

    /// Approves what a run may spend in all.
    #[napi]
    pub fn approve_spending<'e>(
        &self,
        env: &'e Env,
        run: String,
        up_to: String,
    ) -> napi::Result<PromiseRaw<'e, ()>> {
        let engine = self.engine.clone();
        promise(env, async move {
            let up_to: Money = data("upTo", &up_to)?;
            engine.approve_spending(run.parse()?, up_to).await
        })
    }

    /// How a scope stands.
    #[napi]
    pub fn balance<'e>(&self, env: &'e Env, whose: String) -> napi::Result<PromiseRaw<'e, String>> {
        let engine = self.engine.clone();
        promise(env, async move {
            let scope = data::<Whose>("whose", &whose)?.scope()?;
            written(&engine.balance(&scope).await?)
        })
    }

    /// What the calls of models cost that a filter lets through.
    #[napi]
    pub fn usage<'e>(&self, env: &'e Env, filter: String) -> napi::Result<PromiseRaw<'e, String>> {
        let engine = self.engine.clone();
        promise(env, async move { written(&engine.usage(&data("filter", &filter)?).await?) })
    }

    /// What a piece of work with a model may cost.
    #[napi]
    pub fn predict(&self, model: String, work: String) -> napi::Result<String> {
        let predicted = || written(&self.engine.predict(&model, &data("work", &work)?));
        native(predicted())
    }

    /// The circuit breakers.
    #[napi]
    pub fn breakers(&self) -> napi::Result<String> {
        native(written(&self.engine.breakers()))
    }

    /// The rules of the rate limit.
    #[napi]
    pub fn rate_limits(&self) -> napi::Result<String> {
        native(written(&self.engine.rate_limits()))
    }

    /// How often the cache had an answer; `null` without a cache.
    #[napi]
    pub fn cache_stats(&self) -> napi::Result<String> {
        let stats = self.engine.cache_stats().map(|stats| Stats { stats, hit_rate: stats.hit_rate() });
        native(written(&stats))
    }

    /// Forgets cached answers, and says how many.
    #[napi]
    #[must_use]
    pub fn forget_answers(&self, skill: Option<String>) -> u32 {
        u32::try_from(self.engine.forget_answers(skill.as_deref())).unwrap_or(u32::MAX)
    }
}
