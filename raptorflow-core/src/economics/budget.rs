//! `Budgets`: reserves what a call may cost, and settles what it did cost.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    economics::{
        Alert, Approval, BudgetConfig, Cap, Caps, Estimate, Payer, Scope, Spending, Window,
        admit::fits_request,
        config::check_money,
        desk::Desk,
        fact::Ticket,
        read::spendings,
        work::{Actual, Answer, Attempt, Standing, Status, Want},
    },
    error::{Error, ErrorKind, Result},
    runtime::{Context, Runtime},
    storage::Storage,
    types::{Money, RunId, TenantId, Timestamp, Usage},
};

/// The budgets of all tenants of a store; cloning shares them.
///
/// What a call may cost is reserved before it and settled after it, in a ledger that every process over the store
/// shares.
/// A reservation fits the caps of the tenant, the user, the run and the agents above the call, or is not made.
/// So estimates never overspend, however many calls, tasks and processes there are; what a call really took may be more,
/// is recorded as it is, and then the next call is refused.
///
/// The ledger has a clock: the latest time that any process wrote.
/// It goes on when the clock of a process is put back, so that nothing is freed early and nothing waits for the hour to
/// come again.
///
/// ```
/// use raptorflow_core::economics::{BudgetConfig, Budgets, Cap, Caps, Estimate};
/// use raptorflow_core::runtime::{Context, Runtime};
/// use raptorflow_core::{ErrorKind, storage::Storage, types::{Currency, Money, Usage}};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> raptorflow_core::Result<()> {
/// let usd = |micros| Money::new(micros, Currency::USD);
/// let config = BudgetConfig { run: Caps::total(Cap::money(usd(30_000))), ..BudgetConfig::default() };
/// let runtime = Runtime::current()?;
/// let budgets = Budgets::new(Storage::memory(), runtime.clone(), config)?;
/// let ctx = Context::new(&runtime);
///
/// let call = Estimate::new("shop:small", 900).with_money(usd(20_000));
/// let reservation = budgets.reserve(&ctx, call.clone()).await?.granted()?;
/// reservation.settle(Some(Usage::new(500, 100)), Some(usd(12_000))).await?;
///
/// let err = budgets.reserve(&ctx, call).await.unwrap_err();
/// assert_eq!((err.kind(), err.get("window")), (ErrorKind::BudgetExceeded, Some("total")));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Budgets(Arc<Shared>);

struct Shared {
    storage: Storage,
    runtime: Runtime,
    config: Arc<BudgetConfig>,
    tell: Option<Tell>,
    // A std mutex: no await happens while it is held.
    desks: Mutex<HashMap<TenantId, Arc<Desk>>>,
}

type Tell = Arc<dyn Fn(&TenantId, &Alert) + Send + Sync>;

impl Budgets {
    /// Budgets over a store; `Storage::memory()` keeps them for as long as the process lives.
    ///
    /// # Errors
    /// `InvalidInput` when an amount of the configuration is below zero or of another currency than the others.
    pub fn new(storage: Storage, runtime: Runtime, config: BudgetConfig) -> Result<Self> {
        Self::telling(storage, runtime, config, None)
    }

    /// Budgets that tell of each alert once, after it was recorded; `tell` must be quick.
    ///
    /// An alert whose process ends between recording and telling is not told; the ledger has it.
    ///
    /// # Errors
    /// As [`Budgets::new`].
    pub fn with_alerts(
        storage: Storage,
        runtime: Runtime,
        config: BudgetConfig,
        tell: impl Fn(&TenantId, &Alert) + Send + Sync + 'static,
    ) -> Result<Self> {
        Self::telling(storage, runtime, config, Some(Arc::new(tell)))
    }

    fn telling(storage: Storage, runtime: Runtime, config: BudgetConfig, tell: Option<Tell>) -> Result<Self> {
        config.check()?;
        Ok(Self(Arc::new(Shared {
            storage,
            runtime,
            config: Arc::new(config),
            tell,
            desks: Mutex::default(),
        })))
    }

    /// What may be spent where no cap was set.
    #[must_use]
    pub fn config(&self) -> &BudgetConfig {
        &self.0.config
    }

    /// Reserves what a call may cost, in all scopes of its context or in none.
    ///
    /// The id of the reservation is the idempotency key of the context, or a new one.
    /// A reservation of the same id that is open makes room for the new one, so that a call that is made again after a
    /// crash is not counted twice.
    ///
    /// # Errors
    /// `BudgetExceeded` when a cap does not allow it, with `scope`, `window`, `cap`, `spent`, `reserved` and `wanted` in
    /// the context; `InvalidInput` for an amount of another currency, and for a model without a price when a cap
    /// counts money; `Cancelled` and `Timeout` by the context; the errors of the store.
    ///
    /// # Cancellation
    /// What a dropped future has reserved is free again when it expires.
    pub async fn reserve(&self, ctx: &Context, estimate: Estimate) -> Result<Decision> {
        self.reserve_as(ctx, ctx.now(), ctx.idempotency_key(), estimate).await
    }

    /// The same at a time that the caller has just read, with an id of the caller's own or a new one.
    pub(crate) async fn reserve_as(
        &self,
        ctx: &Context,
        now: Timestamp,
        id: Option<&str>,
        estimate: Estimate,
    ) -> Result<Decision> {
        if let Some(money) = estimate.money {
            check_money("budget.reserve", self.0.config.currency, money)
                .map_err(|err| err.with("model", &estimate.model))?;
        }
        fits_request(&self.0.config, &estimate)?;
        let ticket = Ticket(*ctx.runtime().ids().event_at(now).as_uuid());
        let id = id.map_or_else(|| own_id(ticket), Arc::from);
        let attempt = Arc::new(Attempt::new(ticket, id, Payer::of(ctx), estimate));
        let desk = self.desk(ctx.tenant());
        let want = Want::Reserve(Arc::clone(&attempt));
        let at_once = if ctx.cancel().is_cancelled() { None } else { desk.at_once(now, &want) };
        let answer = match at_once {
            Some(answer) => answer?,
            // In a box, so that those are small who do not wait.
            None => Box::pin(ctx.bound("budget.reserve", desk.queued(want))).await??,
        };
        match answer {
            Answer::Reserved { expires } => Ok(Decision::Reserved(Reservation { desk, attempt, expires })),
            Answer::NeedsApproval(approval) => Ok(Decision::NeedsApproval(approval)),
            _ => Err(crossed()),
        }
    }

    /// Sets what a scope of the context's tenant may spend; it goes before the configuration, also in other processes.
    ///
    /// [`Cap::NONE`] lets it spend without a bound.
    ///
    /// # Errors
    /// `InvalidInput` for an amount that is below zero or of another currency; the errors of the store.
    pub async fn set_cap(&self, ctx: &Context, scope: Scope, window: Window, cap: Cap) -> Result<Vec<Alert>> {
        if let Some(money) = cap.money {
            check_money("budget.set_cap", self.0.config.currency, money)?;
        }
        match self.desk(ctx.tenant()).ask(Want::SetCap { scope, window, cap }).await? {
            Answer::Done { alerts } => Ok(alerts),
            _ => Err(crossed()),
        }
    }

    /// Approves what a run may spend in all, where it needs to be asked; see [`BudgetConfig::approval_above`].
    ///
    /// # Errors
    /// As [`Budgets::set_cap`].
    pub async fn approve(&self, ctx: &Context, run: RunId, up_to: Money) -> Result<()> {
        check_money("budget.approve", self.0.config.currency, up_to)?;
        self.desk(ctx.tenant()).ask(Want::Approve { run, up_to }).await.map(drop)
    }

    /// How a scope of the context's tenant stands now, with what other processes did.
    ///
    /// # Errors
    /// The errors of the store.
    pub async fn balance(&self, ctx: &Context, scope: &Scope) -> Result<Balance> {
        match self.desk(ctx.tenant()).ask(Want::Read(scope.clone())).await? {
            Answer::Standing(standing) => Ok(Balance::of(&standing, &self.0.config)),
            _ => Err(crossed()),
        }
    }

    /// What the calls of the context's tenant cost in a range of time, oldest first: from `from`, before `before`.
    ///
    /// # Errors
    /// `Corrupt` for a record that cannot be read; the errors of the store.
    pub async fn spendings(
        &self,
        ctx: &Context,
        from: Option<Timestamp>,
        before: Option<Timestamp>,
    ) -> Result<Vec<Spending>> {
        spendings(&self.0.storage, ctx, from, before).await
    }

    fn desk(&self, tenant: &TenantId) -> Arc<Desk> {
        let shared = &self.0;
        let mut desks = shared.desks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(desk) = desks.get(tenant) {
            return Arc::clone(desk);
        }
        let desk = Arc::new(Desk::new(
            tenant.clone(),
            shared.runtime.clone(),
            shared.storage.clone(),
            Arc::clone(&shared.config),
            shared.tell.clone(),
        ));
        desks.insert(tenant.clone(), Arc::clone(&desk));
        desk
    }
}

impl fmt::Debug for Budgets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Budgets").field("config", &self.0.config).finish_non_exhaustive()
    }
}

/// What is said to a call that wants to be made.
#[derive(Debug)]
#[must_use = "a reservation that is dropped stays open until it expires"]
pub enum Decision {
    /// It may be made.
    Reserved(Reservation),
    /// The run must be approved first; see [`Budgets::approve`].
    NeedsApproval(Approval),
}

impl Decision {
    /// The reservation.
    ///
    /// # Errors
    /// `BudgetExceeded` with `approval` and `committed` in the context when the run must be approved first.
    pub fn granted(self) -> Result<Reservation> {
        match self {
            Self::Reserved(reservation) => Ok(reservation),
            Self::NeedsApproval(Approval { amount, committed }) => {
                let message = "the run must be approved before it spends more";
                Err(Error::new(ErrorKind::BudgetExceeded, "budget.reserve", message)
                    .with("approval", amount)
                    .with("committed", committed))
            }
        }
    }
}

/// What is set aside for one call.
///
/// Settle or release it; one that is dropped stays open until it expires, because nobody knows what the call took.
#[derive(Debug)]
#[must_use = "a reservation that is dropped stays open until it expires"]
pub struct Reservation {
    desk: Arc<Desk>,
    attempt: Arc<Attempt>,
    expires: Timestamp,
}

impl Reservation {
    /// Its id: the idempotency key of the call.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.attempt.id
    }

    /// What was expected.
    #[must_use]
    pub fn estimate(&self) -> &Estimate {
        &self.attempt.estimate
    }

    /// When it is free again if nobody settles it, by the clock of the ledger.
    #[must_use]
    pub const fn expires(&self) -> Timestamp {
        self.expires
    }

    /// Records what the call took and gives the alerts that are due.
    ///
    /// What is `None` is not known, and counts as it was expected.
    /// Settling again, also after an error, counts once; a reservation that has expired is settled all the same.
    ///
    /// # Errors
    /// `InvalidInput` for an amount that is below zero or of another currency; the errors of the store, after which it
    /// may be settled again.
    ///
    /// # Cancellation
    /// A dropped future has settled it, or will soon.
    pub async fn settle(&self, usage: Option<Usage>, cost: Option<Money>) -> Result<Vec<Alert>> {
        self.settle_as(None, usage, cost).await
    }

    /// The same for a call that another model answered than was asked; it is recorded as that model's.
    ///
    /// # Errors
    /// As [`Reservation::settle`].
    ///
    /// # Cancellation
    /// As [`Reservation::settle`].
    pub async fn settle_as(
        &self,
        model: Option<Arc<str>>,
        usage: Option<Usage>,
        cost: Option<Money>,
    ) -> Result<Vec<Alert>> {
        if let Some(cost) = cost {
            check_money("budget.settle", self.desk.currency(), cost)?;
        }
        self.end(Want::Settle(Arc::clone(&self.attempt), Actual { model, usage, cost })).await
    }

    /// [`Reservation::settle_as`] at a time that the caller has just read, where that needs no waiting; `false` when it
    /// does or fails, and then it is not settled.
    pub(crate) fn settle_at_once(
        &self,
        now: Timestamp,
        model: &Arc<str>,
        usage: Option<Usage>,
        cost: Option<Money>,
    ) -> bool {
        if cost.is_some_and(|cost| check_money("budget.settle", self.desk.currency(), cost).is_err()) {
            return false;
        }
        let actual = Actual { model: Some(Arc::clone(model)), usage, cost };
        let want = Want::Settle(Arc::clone(&self.attempt), actual);
        matches!(self.desk.at_once(now, &want), Some(Ok(Answer::Done { .. })))
    }

    /// Gives back what was set aside: the call was not made.
    ///
    /// # Errors
    /// The errors of the store; what is not given back expires.
    ///
    /// # Cancellation
    /// A dropped future has released it, or will soon.
    pub async fn release(&self) -> Result<()> {
        self.end(Want::Release(Arc::clone(&self.attempt))).await.map(drop)
    }

    async fn end(&self, want: Want) -> Result<Vec<Alert>> {
        if *self.attempt.status() == Status::Ended {
            return Ok(Vec::new());
        }
        match self.desk.ask(want).await? {
            Answer::Done { alerts } => Ok(alerts),
            _ => Err(crossed()),
        }
    }
}

/// How a scope stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Balance {
    /// When, by the clock of the ledger.
    pub at: Timestamp,
    /// What was spent from the beginning, today and this month; runs that were silent for a month begin anew.
    pub spent: Spent,
    /// What is set aside for calls under way.
    pub reserved: Amount,
    /// How far it may go.
    pub caps: Caps,
    /// Up to what a run was approved.
    pub approved: Option<Money>,
}

/// Money and tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Amount {
    /// The money.
    pub money: Money,
    /// The tokens, input and output together.
    pub tokens: u64,
}

/// What was spent, a window each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spent {
    /// From the beginning.
    pub total: Amount,
    /// Today, in UTC.
    pub day: Amount,
    /// This month, in UTC.
    pub month: Amount,
}

impl Balance {
    fn of(standing: &Standing, config: &BudgetConfig) -> Self {
        let amount = |micros, tokens| Amount { money: Money::new(micros, config.currency), tokens };
        let [total, day, month] = standing.spent.map(|sum| amount(sum.micros, sum.tokens));
        let [cap_total, cap_day, cap_month] = standing.caps;
        Self {
            at: standing.at,
            spent: Spent { total, day, month },
            reserved: amount(
                i64::try_from(standing.held.micros).unwrap_or(i64::MAX),
                u64::try_from(standing.held.tokens).unwrap_or(u64::MAX),
            ),
            caps: Caps { total: cap_total, day: cap_day, month: cap_month },
            approved: standing.approved.map(|micros| Money::new(micros, config.currency)),
        }
    }
}

/// The id of a reservation to which nobody gave one.
fn own_id(Ticket(ticket): Ticket) -> Arc<str> {
    Arc::from(&*ticket.hyphenated().encode_lower(&mut Uuid::encode_buffer()))
}

fn crossed() -> Error {
    Error::new(ErrorKind::Internal, "budget.ask", "the ledger answered something else")
}
