//! What runs may spend and what they spent, from the engine's side.

use crate::{
    economics::{Alert, Balance, BudgetConfig, Budgets, Cap, Scope, UsageFilter, UsageReport, Window},
    engine::Engine,
    error::{Error, ErrorKind, Result},
    event::{Bus, Event, EventKind, Status},
    runtime::{Context, Runtime},
    storage::Storage,
    types::{Money, RunId},
};

impl Engine {
    /// The budgets, where the engine was given some; see [`EngineBuilder::budgets`](crate::engine::EngineBuilder::budgets).
    #[must_use]
    pub fn budgets(&self) -> Option<&Budgets> {
        self.held_budgets()
    }

    /// Sets what a scope of the engine's tenant may spend; it goes before the configuration, and lasts.
    ///
    /// A run that stopped at its cap goes on with [`Engine::resume`].
    ///
    /// # Errors
    /// `InvalidInput` when the engine has no budgets, or for an amount of another currency; the errors of the store.
    pub async fn set_cap(&self, scope: Scope, window: Window, cap: Cap) -> Result<()> {
        self.needed_budgets()?.set_cap(&self.apart(), scope, window, cap).await.map(drop)
    }

    /// Approves what a run may spend in all; see [`BudgetConfig::approval_above`].
    ///
    /// # Errors
    /// As [`Engine::set_cap`].
    pub async fn approve_spending(&self, run: RunId, up_to: Money) -> Result<()> {
        self.needed_budgets()?.approve(&self.apart(), run, up_to).await
    }

    /// How a scope of the engine's tenant stands.
    ///
    /// # Errors
    /// `InvalidInput` when the engine has no budgets; the errors of the store.
    pub async fn balance(&self, scope: &Scope) -> Result<Balance> {
        self.needed_budgets()?.balance(&self.apart(), scope).await
    }

    /// What the calls of models cost that a filter lets through, for the engine's tenant.
    ///
    /// # Errors
    /// `InvalidInput` when the engine has no budgets; `Corrupt` for a record that cannot be read; the errors of the
    /// store.
    ///
    /// # Examples
    /// ```
    /// use raptorflow_core::{Agent, Engine, economics::{BudgetConfig, UsageFilter}};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> raptorflow_core::Result<()> {
    /// let builder = Engine::builder().default_model("offline:extractive");
    /// let engine = builder.budgets(BudgetConfig::default()).build().await?;
    /// engine.register(Agent::builder("reader").build()?)?;
    /// let run = engine.run("reader", "What is a journal?").await?.run_id;
    /// let report = engine.usage(&UsageFilter { run: Some(run), ..UsageFilter::default() }).await?;
    /// assert_eq!((report.total.calls, report.agents["reader"].calls), (1, 1));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn usage(&self, filter: &UsageFilter) -> Result<UsageReport> {
        let ctx = self.apart();
        let spendings = self.needed_budgets()?.spendings(&ctx, filter.from, filter.before).await?;
        Ok(UsageReport::of(ctx.tenant().clone(), &spendings, filter, ctx.now()))
    }

    fn needed_budgets(&self) -> Result<&Budgets> {
        self.held_budgets().ok_or_else(|| {
            let message =
                "the engine was built without budgets; give it some, e.g. `BudgetConfig::default()`";
            Error::new(ErrorKind::InvalidInput, "engine.budgets", message).with("field", "budgets")
        })
    }

    /// A context that belongs to no run.
    fn apart(&self) -> Context {
        self.context(self.runtime().ids().run(), None)
    }
}

/// Budgets over the engine's store, whose alerts are told on its bus.
pub(super) fn open_budgets(
    storage: &Storage,
    runtime: &Runtime,
    bus: &Bus,
    config: BudgetConfig,
) -> Result<Budgets> {
    let (told, bus) = (runtime.clone(), bus.clone());
    Budgets::with_alerts(storage.clone(), runtime.clone(), config, move |tenant, alert| {
        let run = match alert.scope {
            Scope::Run(run) | Scope::Agent(run, _) => run,
            Scope::Tenant | Scope::User(_) => told.ids().run(),
        };
        let ctx = Context::for_run(&told, run).with_tenant(tenant.clone());
        // It is out once this was called; only waiting for full subscriptions is left, and the ledger does not wait.
        drop(bus.publish(&ctx, event(&ctx, alert)));
    })
}

fn event(ctx: &Context, alert: &Alert) -> Event {
    let mut event = Event::new(ctx, EventKind::NotificationTriggered);
    match &alert.scope {
        Scope::Agent(_, agent) => event.agent = Some(agent.clone()),
        Scope::Run(_) => {}
        Scope::Tenant | Scope::User(_) => event.run = None,
    }
    event.status = Status::Warning;
    event.data = serde_json::json!({
        "budget": alert.scope.to_string(),
        "window": alert.window,
        "percent": alert.percent,
        "cap": alert.cap,
        "money": alert.money,
        "tokens": alert.tokens,
    });
    event
}
