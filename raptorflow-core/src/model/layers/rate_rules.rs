//! `RateRules`: several rates at once, each over a scope such as a tenant or a user.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::{
    rate::Rate,
    rate_limiter::{RateDecision, RateLimiter},
    rate_store::{RateAnswer, RateCount, RateStore},
};
use crate::{error::Result, runtime::Context};

/// Over whom a rate counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RateScope {
    /// Everybody together.
    Global,
    /// Each tenant.
    Tenant,
    /// Each user of each tenant.
    User,
    /// Each network address.
    Address,
    /// Each endpoint, such as a model.
    Endpoint,
    /// Each key of each tenant; what a key is, the host decides.
    Key,
}

impl RateScope {
    /// The stable name, in snake case.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Global => "global",
            Self::Tenant => "tenant",
            Self::User => "user",
            Self::Address => "address",
            Self::Endpoint => "endpoint",
            Self::Key => "key",
        }
    }
}

impl fmt::Display for RateScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a rate counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RateUnit {
    /// Calls.
    #[default]
    Calls,
    /// Tokens, input and output together.
    Tokens,
}

impl RateUnit {
    /// The stable name, in snake case.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Calls => "calls",
            Self::Tokens => "tokens",
        }
    }
}

impl fmt::Display for RateUnit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Who calls what; a rule over something that is not named does not apply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RateSubject<'a> {
    /// The tenant; empty is a tenant as well.
    pub tenant: &'a str,
    /// The user.
    pub user: Option<&'a str>,
    /// The network address.
    pub address: Option<&'a str>,
    /// What is called, such as a model.
    pub endpoint: Option<&'a str>,
    /// A key of the host's own.
    pub key: Option<&'a str>,
}

impl RateSubject<'_> {
    /// Does something with what a scope counts by; `None` when the scope does not apply.
    fn with_key<T>(&self, scope: RateScope, work: impl FnOnce(&str) -> T) -> Option<T> {
        match scope {
            RateScope::Global => Some(work("")),
            RateScope::Tenant => Some(work(self.tenant)),
            RateScope::Address => self.address.map(work),
            RateScope::Endpoint => self.endpoint.map(work),
            RateScope::User => self.user.map(|user| work(&self.of_tenant(user))),
            RateScope::Key => self.key.map(|key| work(&self.of_tenant(key))),
        }
    }

    /// A name within the tenant; the length in front keeps `a` + `bc` and `ab` + `c` apart.
    fn of_tenant(&self, name: &str) -> String {
        format!("{}:{}{name}", self.tenant.len(), self.tenant)
    }
}

/// Why a call is not allowed now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateRefusal {
    /// The scope of the rule that refused.
    pub scope: RateScope,
    /// What the rule counts.
    pub unit: RateUnit,
    /// When it may be asked again; [`Duration::MAX`] when never.
    pub after: Duration,
}

/// Several rates, all of which must allow a call; cloning shares what is counted.
///
/// A call that one rule refuses is counted by none.
/// Each rule remembers at most as many keys as a [`RateLimiter`].
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use raptorflow_core::model::{Rate, RateRules, RateScope, RateSubject};
/// let rules = RateRules::new()
///     .with(RateScope::Global, Rate::TOTAL)
///     .with(RateScope::Tenant, Rate::USUAL)
///     .with(RateScope::User, Rate::new(1, Duration::from_secs(60))?.with_burst(1.0));
/// let asha = RateSubject { tenant: "acme", user: Some("asha"), ..RateSubject::default() };
/// let now = Duration::from_secs(1);
/// assert!(rules.check(&asha, now).is_ok());
/// let refused = rules.check(&asha, now).unwrap_err();
/// assert_eq!((refused.scope, refused.after), (RateScope::User, Duration::from_secs(60)));
/// # Ok::<(), raptorflow_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct RateRules(Arc<[Rule]>);

#[derive(Clone, Debug)]
struct Rule {
    scope: RateScope,
    unit: RateUnit,
    /// What a store calls it: the same in every process with the same rules.
    name: Arc<str>,
    limiter: RateLimiter,
    /// How often it did not allow a call; shared by the copies.
    refused: Arc<AtomicU64>,
}

/// What one rule did, as [`RateRules::states`] lists it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct RateStatus {
    /// Over whom it counts.
    pub scope: RateScope,
    /// What it counts.
    pub unit: RateUnit,
    /// How many it allows.
    pub rate: Rate,
    /// How many keys it remembers now; none where a [`RateStore`] counts.
    pub keys: u64,
    /// How often it did not allow a call, which then waited or failed.
    pub refused: u64,
}

/// What was counted for a call before it was made, and is settled when it has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "what is not settled counts as it was expected"]
pub struct RateClaim {
    tokens: u32,
    at: Duration,
}

impl Default for RateRules {
    /// [`Rate::USUAL`] for each user and [`Rate::TOTAL`] for everybody together.
    fn default() -> Self {
        Self::new().with(RateScope::User, Rate::USUAL).with(RateScope::Global, Rate::TOTAL)
    }
}

impl RateRules {
    /// No rule: everything is allowed.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::from([]))
    }

    /// One rule more; a scope may have several, like 20 a minute and 100 a day.
    #[must_use]
    pub fn with(self, scope: RateScope, rate: Rate) -> Self {
        self.with_limiter(scope, RateLimiter::new(rate))
    }

    /// One rule more that counts tokens.
    #[must_use]
    pub fn with_tokens(self, scope: RateScope, rate: Rate) -> Self {
        self.and(scope, RateUnit::Tokens, RateLimiter::new(rate))
    }

    /// One rule more, over a limiter that is shared with somebody else or has another bound.
    #[must_use]
    pub fn with_limiter(self, scope: RateScope, limiter: RateLimiter) -> Self {
        self.and(scope, RateUnit::Calls, limiter)
    }

    fn and(self, scope: RateScope, unit: RateUnit, limiter: RateLimiter) -> Self {
        let rate = limiter.rate();
        let same = |rule: &&Rule| (rule.scope, rule.unit, rule.limiter.rate()) == (scope, unit, rate);
        let (number, per) = (self.0.iter().filter(same).count(), rate.per().as_micros());
        let (algorithm, limit, most) = (rate.algorithm().name(), rate.limit(), rate.capacity());
        let name = format!("{scope}.{unit}.{algorithm}.{limit}.{per}.{most}.{number}").into();
        let rule = Rule { scope, unit, name, limiter, refused: Arc::default() };
        Self(self.0.iter().cloned().chain([rule]).collect())
    }

    /// What each rule did, in their order.
    #[must_use]
    pub fn states(&self) -> Vec<RateStatus> {
        let state = |rule: &Rule| RateStatus {
            scope: rule.scope,
            unit: rule.unit,
            rate: rule.limiter.rate(),
            keys: rule.limiter.keys() as u64,
            refused: rule.refused.load(Ordering::Relaxed),
        };
        self.0.iter().map(state).collect()
    }

    /// Whether any rule counts tokens.
    #[must_use]
    pub fn counts_tokens(&self) -> bool {
        self.0.iter().any(|rule| rule.unit == RateUnit::Tokens)
    }

    /// Counts a call, if every rule allows it; rules over tokens let it pass.
    ///
    /// # Errors
    /// The first rule that does not, and its pause; further rules may ask for more when that is over.
    pub fn check(&self, subject: &RateSubject<'_>, now: Duration) -> Result<(), RateRefusal> {
        self.claim(subject, 0, now).map(drop)
    }

    /// Counts a call and the tokens that it is expected to take, if every rule allows both.
    ///
    /// A call that is expected to take more than a rule ever allows at once counts as that much, so that it waits for
    /// a quiet time instead of failing for ever.
    /// [`RateRules::settle`] puts the count right when it is known what the call took.
    ///
    /// # Errors
    /// As [`RateRules::check`].
    pub fn claim(
        &self,
        subject: &RateSubject<'_>,
        tokens: u32,
        now: Duration,
    ) -> Result<RateClaim, RateRefusal> {
        let claim = RateClaim { tokens, at: now };
        for (position, rule) in self.0.iter().enumerate() {
            let count = rule.count(claim);
            let decided = subject.with_key(rule.scope, |key| rule.limiter.check_many(key, count, now));
            if let Some(RateDecision::After(after)) = decided {
                rule.refused.fetch_add(1, Ordering::Relaxed);
                for rule in self.0.iter().take(position) {
                    rule.correct(subject, claim, 0, now);
                }
                return Err(RateRefusal { scope: rule.scope, unit: rule.unit, after });
            }
        }
        Ok(claim)
    }

    /// As [`RateRules::claim`], counted by a store instead of here, at the store's own time.
    ///
    /// # Errors
    /// What the store says. A rule that does not allow the call is no error but a [`RateRefusal`].
    pub async fn claim_in(
        &self,
        store: &dyn RateStore,
        ctx: &Context,
        subject: &RateSubject<'_>,
        tokens: u32,
    ) -> Result<Result<RateClaim, RateRefusal>> {
        let claim = RateClaim { tokens, at: Duration::ZERO };
        let counted: Vec<(&Rule, String)> = self.0.iter().filter_map(|rule| rule.keyed(subject)).collect();
        let counts: Vec<RateCount<'_>> =
            counted.iter().map(|(rule, key)| rule.of_store(key, claim)).collect();
        if counts.is_empty() {
            return Ok(Ok(claim));
        }
        let RateAnswer { at, refused } = store.take(ctx, &counts).await?;
        let refused = refused.and_then(|(position, after)| Some((counted.get(position)?.0, after)));
        Ok(match refused {
            None => Ok(RateClaim { tokens, at }),
            Some((rule, after)) => {
                rule.refused.fetch_add(1, Ordering::Relaxed);
                Err(RateRefusal { scope: rule.scope, unit: rule.unit, after })
            }
        })
    }

    /// As [`RateRules::settle`], for a claim of [`RateRules::claim_in`].
    ///
    /// # Errors
    /// What the store says; the claim counts as it was expected then.
    pub async fn settle_in(
        &self,
        store: &dyn RateStore,
        ctx: &Context,
        subject: &RateSubject<'_>,
        claim: RateClaim,
        tokens: u32,
    ) -> Result<()> {
        let counts_tokens = |rule: &&Rule| rule.unit == RateUnit::Tokens && rule.count(claim) != tokens;
        let counted: Vec<(&Rule, String)> =
            self.0.iter().filter(counts_tokens).filter_map(|rule| rule.keyed(subject)).collect();
        let counts: Vec<RateCount<'_>> =
            counted.iter().map(|(rule, key)| rule.of_store(key, claim)).collect();
        if counts.is_empty() {
            return Ok(());
        }
        store.correct(ctx, claim.at, &counts, tokens).await
    }

    /// Puts right what was counted, when a call has taken so many tokens; more than expected make those wait who come
    /// later.
    pub fn settle(&self, subject: &RateSubject<'_>, claim: RateClaim, tokens: u32, now: Duration) {
        for rule in self.0.iter().filter(|rule| rule.unit == RateUnit::Tokens) {
            rule.correct(subject, claim, tokens, now);
        }
    }
}

impl Rule {
    /// Itself and what it counts a subject by; nothing when it does not apply.
    fn keyed(&self, subject: &RateSubject<'_>) -> Option<(&Self, String)> {
        Some((self, subject.with_key(self.scope, str::to_owned)?))
    }

    fn of_store<'a>(&'a self, key: &'a str, claim: RateClaim) -> RateCount<'a> {
        RateCount { rule: &self.name, key, rate: self.limiter.rate(), calls: self.count(claim) }
    }

    /// How much of it a call takes.
    fn count(&self, claim: RateClaim) -> u32 {
        match self.unit {
            RateUnit::Calls => 1,
            RateUnit::Tokens => {
                claim.tokens.min(u32::try_from(self.limiter.rate().capacity()).unwrap_or(u32::MAX))
            }
        }
    }

    fn correct(&self, subject: &RateSubject<'_>, claim: RateClaim, used: u32, now: Duration) {
        let count = self.count(claim);
        if count != used {
            subject.with_key(self.scope, |key| self.limiter.correct(key, (count, claim.at), used, now));
        }
    }
}
