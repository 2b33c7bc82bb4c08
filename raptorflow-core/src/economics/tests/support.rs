//! What the tests of budgets share: processes over one store and one clock.

use std::sync::Arc;

use crate::{
    economics::{BudgetConfig, Budgets, Cap, Caps, Decision, Estimate, Reservation, Scope},
    error::Result,
    runtime::{Context, Runtime, Tasks},
    storage::Storage,
    testing::ManualClock,
    types::{Currency, Money, Usage},
};

pub(super) fn usd(micros: i64) -> Money {
    Money::new(micros, Currency::USD)
}

pub(super) fn call(micros: i64, tokens: u64) -> Estimate {
    Estimate::new("shop:small", tokens).with_money(usd(micros))
}

/// Caps for the run as a whole and nothing else.
pub(super) fn run_cap(cap: Cap) -> BudgetConfig {
    BudgetConfig { run: Caps::total(cap), ..BudgetConfig::unlimited(Currency::USD) }
}

/// A machine with a clock, and a store that several processes have.
pub(super) struct Machine {
    pub(super) clock: ManualClock,
    pub(super) runtime: Runtime,
    pub(super) storage: Storage,
}

impl Machine {
    pub(super) fn new() -> Self {
        Self::over(Storage::memory())
    }

    pub(super) fn over(storage: Storage) -> Self {
        let clock = ManualClock::new();
        let runtime = Runtime::new(Arc::new(clock.clone()), Tasks::current().unwrap());
        Self { clock, runtime, storage }
    }

    /// A new process.
    pub(super) fn open(&self, config: BudgetConfig) -> Budgets {
        Budgets::new(self.storage.clone(), self.runtime.clone(), config).unwrap()
    }

    /// The context of a new run.
    pub(super) fn run(&self) -> Context {
        Context::new(&self.runtime)
    }
}

pub(super) async fn reserved(budgets: &Budgets, ctx: &Context, micros: i64) -> Reservation {
    reserve(budgets, ctx, micros).await.unwrap()
}

pub(super) async fn reserve(budgets: &Budgets, ctx: &Context, micros: i64) -> Result<Reservation> {
    budgets.reserve(ctx, call(micros, 10)).await.and_then(Decision::granted)
}

pub(super) async fn settle(reservation: &Reservation, micros: i64) {
    reservation.settle(Some(Usage::new(8, 2)), Some(usd(micros))).await.unwrap();
}

/// What a scope has spent and reserved in all, in millionths.
pub(super) async fn stands(budgets: &Budgets, ctx: &Context, scope: &Scope) -> (i64, i64) {
    let balance = budgets.balance(ctx, scope).await.unwrap();
    (balance.spent.total.money.micros, balance.reserved.money.micros)
}
