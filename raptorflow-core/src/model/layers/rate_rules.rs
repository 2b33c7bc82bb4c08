//! `RateRules`: several rates at once, each over a scope such as a tenant or a user.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    rate::Rate,
    rate_limiter::{RateDecision, RateLimiter},
};

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
pub struct RateRules(Vec<(RateScope, RateLimiter)>);

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
        Self(Vec::new())
    }

    /// One rule more; a scope may have several, like 20 a minute and 100 a day.
    #[must_use]
    pub fn with(self, scope: RateScope, rate: Rate) -> Self {
        self.with_limiter(scope, RateLimiter::new(rate))
    }

    /// One rule more, over a limiter that is shared with somebody else or has another bound.
    #[must_use]
    pub fn with_limiter(mut self, scope: RateScope, limiter: RateLimiter) -> Self {
        self.0.push((scope, limiter));
        self
    }

    /// Counts a call, if every rule allows it.
    ///
    /// # Errors
    /// The first rule that does not, and its pause; further rules may ask for more when that is over.
    pub fn check(&self, subject: &RateSubject<'_>, now: Duration) -> Result<(), RateRefusal> {
        for (position, (scope, limiter)) in self.0.iter().enumerate() {
            if let Some(RateDecision::After(after)) = subject.with_key(*scope, |key| limiter.check(key, now))
            {
                for (scope, limiter) in self.0.iter().take(position) {
                    subject.with_key(*scope, |key| limiter.give_back(key, now));
                }
                return Err(RateRefusal { scope: *scope, after });
            }
        }
        Ok(())
    }
}
