//! `BudgetConfig`: the caps of an engine, and what a single call and a single run may cost.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    economics::{Cap, Caps, Scope, Window},
    error::{Error, ErrorKind, Result},
    types::{Currency, Money},
};

/// What may be spent; caps that were set with [`Budgets::set_cap`](crate::economics::Budgets::set_cap) go before
/// these.
///
/// ```
/// use raptorflow_core::economics::{BudgetConfig, Cap, Caps};
/// use raptorflow_core::types::{Currency, Money};
/// let month = Cap::money(Money::new(100_000_000, Currency::USD));
/// let config = BudgetConfig { tenant: Caps { month, ..Caps::default() }, ..BudgetConfig::default() };
/// assert_eq!(config.request.to_string(), "1.000000 USD, 100000 tokens");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BudgetConfig {
    /// The currency of every amount; USD by default.
    pub currency: Currency,
    /// What a tenant may spend; no bound by default.
    pub tenant: Caps,
    /// What each user of a tenant may spend; no bound by default.
    pub user: Caps,
    /// What each run may spend; no bound by default.
    pub run: Caps,
    /// What each agent of a run may spend, with the agents below it; no bound by default.
    pub agent: Caps,
    /// What one call may be expected to spend; 1 USD and 100,000 tokens by default.
    pub request: Cap,
    /// From which sum on a run must be approved first; 0.50 USD by default.
    pub approval_above: Option<Money>,
    /// How long a reservation is open when nobody settles or releases it; 15 minutes by default.
    ///
    /// It must be longer than the longest call.
    #[serde(rename = "hold_seconds", with = "crate::types::seconds")]
    pub hold: Duration,
}

impl Default for BudgetConfig {
    fn default() -> Self {
        Self {
            request: Cap::money(Money::new(1_000_000, Currency::USD)).and_tokens(100_000),
            approval_above: Some(Money::new(500_000, Currency::USD)),
            ..Self::unlimited(Currency::USD)
        }
    }
}

impl BudgetConfig {
    /// No caps at all: what is spent is recorded, and nothing is refused.
    #[must_use]
    pub const fn unlimited(currency: Currency) -> Self {
        let caps = Caps { total: Cap::NONE, day: Cap::NONE, month: Cap::NONE };
        Self {
            currency,
            tenant: caps,
            user: caps,
            run: caps,
            agent: caps,
            request: Cap::NONE,
            approval_above: None,
            hold: Duration::from_secs(15 * 60),
        }
    }

    /// The cap of a scope of which none was set.
    pub(super) const fn cap(&self, scope: &Scope, window: Window) -> Cap {
        match scope {
            Scope::Tenant => self.tenant.of(window),
            Scope::User(_) => self.user.of(window),
            Scope::Run(_) => self.run.of(window),
            Scope::Agent(..) => self.agent.of(window),
        }
    }

    /// Checks that all amounts are of one currency and none is negative, and that reservations are open for a time.
    pub(super) fn check(&self) -> Result<()> {
        let mut amounts: Vec<(&'static str, Money)> = Vec::new();
        for (field, caps) in
            [("tenant", self.tenant), ("user", self.user), ("run", self.run), ("agent", self.agent)]
        {
            amounts.extend(Window::ALL.iter().filter_map(|window| Some((field, caps.of(*window).money?))));
        }
        amounts.extend(self.request.money.map(|money| ("request", money)));
        amounts.extend(self.approval_above.map(|money| ("approval_above", money)));
        for (field, money) in amounts {
            check_money("budget.new", self.currency, money).map_err(|err| err.with("field", field))?;
        }
        if self.hold.is_zero() {
            let message = "a reservation must be open for some time";
            return Err(Error::new(ErrorKind::InvalidInput, "budget.new", message).with("field", "hold"));
        }
        Ok(())
    }
}

/// Refuses an amount of another currency, and one below zero.
pub(super) fn check_money(operation: &'static str, currency: Currency, money: Money) -> Result<()> {
    if money.currency != currency {
        let message = "the amount is of another currency than the budget";
        return Err(Error::new(ErrorKind::InvalidInput, operation, message)
            .with("expected", currency)
            .with("value", money));
    }
    if money.micros < 0 {
        let message = "the amount is below zero";
        return Err(Error::new(ErrorKind::InvalidInput, operation, message).with("value", money));
    }
    Ok(())
}
