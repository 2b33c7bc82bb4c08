//! What is decided over the books: whether a reservation fits, and which alerts are due.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{
    economics::{
        BudgetConfig, Cap, Scope, Window,
        account::{Held, Places, Sum, Total},
        books::Books,
        scope::Periods,
    },
    error::{Error, ErrorKind},
    types::Money,
};

/// At which percentages of a cap somebody is told.
const THRESHOLDS: [u8; 4] = [50, 75, 90, 100];

/// What a call is expected to take.
///
/// ```
/// use raptorflow_core::{economics::Estimate, types::{Currency, Money}};
/// let estimate = Estimate::new("shop:small", 1_200).with_money(Money::new(2_500, Currency::USD));
/// assert_eq!(estimate.tokens, 1_200);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Estimate {
    /// The model.
    pub model: Arc<str>,
    /// How much money at most; `None` when the price is unknown, which is not zero: a cap on money then refuses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub money: Option<Money>,
    /// How many tokens at most, input and output together.
    pub tokens: u64,
}

impl Estimate {
    /// Tokens of a model whose price is unknown.
    pub fn new(model: impl Into<Arc<str>>, tokens: u64) -> Self {
        Self { model: model.into(), money: None, tokens }
    }

    /// Says what they cost.
    #[must_use]
    pub const fn with_money(mut self, money: Money) -> Self {
        self.money = Some(money);
        self
    }
}

/// A part of a cap that was reached for the first time in its window.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Alert {
    /// Whose cap.
    pub scope: Scope,
    /// Over what time.
    pub window: Window,
    /// 50, 75, 90 or 100.
    pub percent: u8,
    /// The cap.
    pub cap: Cap,
    /// What was spent, in money.
    pub money: Money,
    /// What was spent, in tokens.
    pub tokens: u64,
}

/// What a run needs before it may go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Approval {
    /// Up to what the run must be approved for the next call.
    pub amount: Money,
    /// What it has spent and reserved already.
    pub committed: Money,
}

/// Why a reservation is not made.
#[derive(Debug)]
pub(super) enum No {
    Refused(Error),
    NeedsApproval(Approval),
}

/// Whether a reservation fits all caps of the accounts that it is counted in; that of the same id is out of the books
/// already.
pub(super) fn admit(
    config: &BudgetConfig,
    books: &Books,
    places: &Places,
    estimate: &Estimate,
    periods: Periods,
) -> Result<(), No> {
    let mut of_run = None;
    for (scope, account) in places.iter().filter_map(|number| books.account(number)) {
        let totals = account.totals(periods);
        for total in &totals {
            fits(config, scope, total, account.held, estimate).map_err(No::Refused)?;
        }
        if matches!(scope, Scope::Run(_)) {
            of_run = Some((totals, account));
        }
    }
    let (Some(free), Some(([total, ..], account))) = (config.approval_above, of_run) else { return Ok(()) };
    let (held, approved) = (account.held, account.approved);
    let wanted = priced(estimate).map_err(No::Refused)?;
    let committed = i128::from(total.spent.micros).saturating_add(held.micros);
    let needed = committed.saturating_add(i128::from(wanted.micros));
    if needed <= i128::from(approved.unwrap_or(0).max(free.micros)) {
        return Ok(());
    }
    let money = |micros: i128| Money::new(i64::try_from(micros).unwrap_or(i64::MAX), config.currency);
    Err(No::NeedsApproval(Approval { amount: money(needed), committed: money(committed) }))
}

/// Whether a call fits what one call may take.
pub(super) fn fits_request(config: &BudgetConfig, estimate: &Estimate) -> Result<(), Error> {
    let refused = |what: &'static str| {
        Error::new(ErrorKind::BudgetExceeded, "budget.reserve", "the call is larger than one call may be")
            .with("model", &estimate.model)
            .with("cap", config.request)
            .with("wanted", wanted(estimate))
            .with("over", what)
    };
    if let Some(cap) = config.request.money
        && priced(estimate)?.micros > cap.micros
    {
        return Err(refused("money"));
    }
    if config.request.tokens.is_some_and(|cap| estimate.tokens > cap) {
        return Err(refused("tokens"));
    }
    Ok(())
}

fn fits(
    config: &BudgetConfig,
    scope: &Scope,
    total: &Total,
    held: Held,
    estimate: &Estimate,
) -> Result<(), Error> {
    let Total { window, spent, .. } = *total;
    let cap = total.cap.unwrap_or_else(|| config.cap(scope, window));
    if cap == Cap::NONE {
        return Ok(());
    }
    let over = |used: i128, held: i128, wanted: i128, cap: i128| {
        used.saturating_add(held).saturating_add(wanted) > cap
    };
    let money = match cap.money {
        Some(cap) => {
            let wanted = priced(estimate).map_err(|err| err.with("scope", scope).with("window", window))?;
            over(spent.micros.into(), held.micros, wanted.micros.into(), cap.micros.into())
        }
        None => false,
    };
    let tokens = cap
        .tokens
        .is_some_and(|cap| over(spent.tokens.into(), held.tokens, estimate.tokens.into(), cap.into()));
    if !money && !tokens {
        return Ok(());
    }
    let micros = i64::try_from(held.micros).unwrap_or(i64::MAX);
    let sum = |micros, tokens: i128| format!("{}, {tokens} tokens", Money::new(micros, config.currency));
    let err = Error::new(ErrorKind::BudgetExceeded, "budget.reserve", "the budget does not allow the call");
    // Apart from the scope, for whoever goes on without this agent.
    let err = match scope {
        Scope::Agent(_, agent) => err.with("spender", agent),
        _ => err,
    };
    Err(err
        .with("scope", scope)
        .with("window", window)
        .with("cap", cap)
        .with("spent", sum(spent.micros, spent.tokens.into()))
        .with("reserved", sum(micros, held.tokens))
        .with("wanted", wanted(estimate))
        .with("model", &estimate.model))
}

/// The money that is wanted; an unknown price is never zero.
fn priced(estimate: &Estimate) -> Result<Money, Error> {
    estimate.money.ok_or_else(|| {
        let message = "a budget counts money and the model has no price; add one to the price book";
        Error::new(ErrorKind::InvalidInput, "budget.reserve", message)
            .with("field", "prices")
            .with("model", &estimate.model)
    })
}

fn wanted(estimate: &Estimate) -> Cap {
    Cap { money: estimate.money, tokens: Some(estimate.tokens) }
}

/// The alerts that what was just spent makes due, lowest first.
pub(super) fn due_alerts(
    config: &BudgetConfig,
    books: &Books,
    places: &Places,
    periods: Periods,
) -> Vec<Alert> {
    let mut alerts = Vec::new();
    for (scope, account) in places.iter().filter_map(|number| books.account(number)) {
        for Total { window, spent, told, cap } in account.totals(periods) {
            let cap = cap.unwrap_or_else(|| config.cap(scope, window));
            let untold = THRESHOLDS.into_iter().filter(|percent| *percent > told);
            // What has not reached a part has reached no larger one.
            for percent in untold.take_while(|percent| reached(cap, spent, *percent)) {
                alerts.push(Alert {
                    scope: scope.clone(),
                    window,
                    percent,
                    cap,
                    money: Money::new(spent.micros, config.currency),
                    tokens: spent.tokens,
                });
            }
        }
    }
    alerts
}

/// Whether a percentage of the cap on money, or of that on tokens, is spent; nothing is no part of a cap of zero.
fn reached(cap: Cap, spent: Sum, percent: u8) -> bool {
    let part =
        |spent: i128, cap: i128| spent > 0 && spent.saturating_mul(100) >= cap.saturating_mul(percent.into());
    cap.money.is_some_and(|cap| part(spent.micros.into(), cap.micros.into()))
        || cap.tokens.is_some_and(|cap| part(spent.tokens.into(), cap.into()))
}
