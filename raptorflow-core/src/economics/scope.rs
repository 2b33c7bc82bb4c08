//! `Scope`, `Window` and `Cap`: whose spending is counted, over what time, and how far it may go.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, ErrorKind, Result},
    runtime::Context,
    types::{AgentId, Money, RunId, Timestamp},
};

/// Whose spending is counted; each scope is inside of the ones before it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Everything of the context's tenant.
    Tenant,
    /// What one principal asked for.
    User(Arc<str>),
    /// One run.
    Run(RunId),
    /// An agent of a run, with the agents below it.
    Agent(RunId, AgentId),
}

impl Scope {
    /// The scope of what is named: a user, a run, an agent of a run, or the tenant when nothing is.
    ///
    /// # Errors
    /// `InvalidInput` for a user and a run together, and for an agent without its run.
    ///
    /// # Examples
    /// ```
    /// use raptorflow_core::economics::Scope;
    /// assert_eq!(Scope::of(None, None, None)?, Scope::Tenant);
    /// assert_eq!(Scope::of(Some("asha"), None, None)?, Scope::User("asha".into()));
    /// # Ok::<(), raptorflow_core::Error>(())
    /// ```
    pub fn of(user: Option<&str>, run: Option<RunId>, agent: Option<AgentId>) -> Result<Self> {
        let refused = |field, message: &'static str| {
            Err(Error::new(ErrorKind::InvalidInput, "budget.scope", message).with("field", field))
        };
        match (user, run, agent) {
            (None, None, None) => Ok(Self::Tenant),
            (Some(user), None, None) => Ok(Self::User(Arc::from(user))),
            (None, Some(run), None) => Ok(Self::Run(run)),
            (None, Some(run), Some(agent)) => Ok(Self::Agent(run, agent)),
            (_, None, Some(_)) => refused("agent", "expected the run of the agent as well"),
            (Some(_), Some(_), _) => refused("user", "expected a user or a run, not both"),
        }
    }
}

impl fmt::Display for Scope {
    /// Without the name of a user, which may be personal data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tenant => f.write_str("tenant"),
            Self::User(_) => f.write_str("user"),
            Self::Run(run) => write!(f, "run {run}"),
            Self::Agent(_, agent) => write!(f, "agent {agent}"),
        }
    }
}

/// A time, and the periods that it is in: they are reckoned once for all that is done at it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub(super) at: Timestamp,
    pub(super) periods: Periods,
}

impl Moment {
    /// Of a time.
    pub(super) fn of(at: Timestamp) -> Self {
        Self { at, periods: Periods::of(at) }
    }
}

/// The periods of every window that a time is in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Periods([i32; 3]);

impl Periods {
    /// Of a time.
    pub(super) fn of(at: Timestamp) -> Self {
        Self(Window::ALL.map(|window| window.period(at)))
    }

    /// That of a window.
    pub(super) fn at(self, window: Window) -> i32 {
        let Self([total, day, month]) = self;
        match window {
            Window::Total => total,
            Window::Day => day,
            Window::Month => month,
        }
    }
}

/// Over what time spending is counted; days and months are those of UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Window {
    /// From the beginning.
    Total,
    /// The day.
    Day,
    /// The month.
    Month,
}

impl Window {
    /// Every window, in the order of declaration.
    pub const ALL: [Self; 3] = [Self::Total, Self::Day, Self::Month];

    /// Which of its periods a time is in.
    pub(super) fn period(self, at: Timestamp) -> i32 {
        match self {
            Self::Total => 0,
            Self::Day => day_number(at),
            Self::Month => month_number(at),
        }
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Total => "total",
            Self::Day => "day",
            Self::Month => "month",
        })
    }
}

/// How far spending may go; what is `None` is not bounded.
///
/// ```
/// use raptorflow_core::{economics::Cap, types::{Currency, Money}};
/// let cap = Cap::money(Money::new(2_000_000, Currency::USD)).and_tokens(50_000);
/// assert_eq!(cap.to_string(), "2.000000 USD, 50000 tokens");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Cap {
    /// The most money.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub money: Option<Money>,
    /// The most tokens, input and output together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<u64>,
}

impl Cap {
    /// No bound.
    pub const NONE: Self = Self { money: None, tokens: None };

    /// A bound on money.
    #[must_use]
    pub const fn money(money: Money) -> Self {
        Self { money: Some(money), tokens: None }
    }

    /// A bound on tokens.
    #[must_use]
    pub const fn tokens(tokens: u64) -> Self {
        Self { money: None, tokens: Some(tokens) }
    }

    /// A bound on tokens as well.
    #[must_use]
    pub const fn and_tokens(self, tokens: u64) -> Self {
        Self { money: self.money, tokens: Some(tokens) }
    }
}

impl fmt::Display for Cap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.money, self.tokens) {
            (None, None) => f.write_str("none"),
            (Some(money), None) => write!(f, "{money}"),
            (None, Some(tokens)) => write!(f, "{tokens} tokens"),
            (Some(money), Some(tokens)) => write!(f, "{money}, {tokens} tokens"),
        }
    }
}

/// The caps of one scope, a window each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Caps {
    /// From the beginning.
    pub total: Cap,
    /// In a day.
    pub day: Cap,
    /// In a month.
    pub month: Cap,
}

impl Caps {
    /// One cap for all time.
    #[must_use]
    pub const fn total(cap: Cap) -> Self {
        Self { total: cap, day: Cap::NONE, month: Cap::NONE }
    }

    /// The cap of a window.
    #[must_use]
    pub const fn of(&self, window: Window) -> Cap {
        match window {
            Window::Total => self.total,
            Window::Day => self.day,
            Window::Month => self.month,
        }
    }
}

/// Who pays for a call: the user, the run, and the agents above the call, outermost first; the tenant goes without
/// saying.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payer {
    /// Who asked, where the host said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<Arc<str>>,
    /// The run.
    pub run: RunId,
    /// The agents above the call, outermost first; the last one made it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub agents: Vec<AgentId>,
}

impl Payer {
    /// Who pays for what is called with a context.
    #[must_use]
    pub fn of(ctx: &Context) -> Self {
        let mut agents: Vec<AgentId> = Vec::new();
        for agent in ctx.lineage() {
            // An agent that called itself pays once.
            if !agents.contains(agent) {
                agents.push(agent.clone());
            }
        }
        Self { user: ctx.principal().map(Arc::from), run: ctx.run_id(), agents }
    }

    /// The scopes that the call is inside of, outermost first.
    pub fn scopes(&self) -> impl Iterator<Item = Scope> {
        let user = self.user.clone().map(Scope::User);
        let agents = self.agents.iter().map(|agent| Scope::Agent(self.run, agent.clone()));
        [Scope::Tenant].into_iter().chain(user).chain([Scope::Run(self.run)]).chain(agents)
    }
}

const DAY: i64 = 24 * 60 * 60 * 1_000_000;

/// Days since 1970-01-01.
pub(super) fn day_number(at: Timestamp) -> i32 {
    i32::try_from(at.as_micros().div_euclid(DAY)).unwrap_or(i32::MAX)
}

/// Months since January of year 0.
pub(super) fn month_number(at: Timestamp) -> i32 {
    let (year, month, _) = date(at);
    year * 12 + month - 1
}

/// Year, month from 1 and day from 1, in UTC; times beyond the years -9999 to 9999 are those of 1970.
pub(super) fn date(at: Timestamp) -> (i32, i32, i32) {
    if let Some((year, month, day)) = at.date() {
        return (year.into(), month.into(), day.into());
    }
    let time = jiff::Timestamp::from_microsecond(at.as_micros()).unwrap_or_default();
    let date = jiff::tz::Offset::UTC.to_datetime(time).date();
    (i32::from(date.year()), i32::from(date.month()), i32::from(date.day()))
}

/// The month as `yyyy-mm`; text order is the order of time.
pub(super) fn month_name(at: Timestamp) -> String {
    let (year, month, _) = date(at);
    format!("{:04}-{month:02}", year.max(0))
}
