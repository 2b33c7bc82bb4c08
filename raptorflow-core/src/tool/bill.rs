//! What a call of a tool costs: reserved before it is made, settled after it.

use crate::{
    economics::{Budgets, Estimate, Reservation},
    error::Result,
    runtime::Context,
    types::{AgentId, Money, ToolSpec, Usage},
};

/// Who pays for the calls of a registry's tools.
#[derive(Clone, Debug)]
pub(super) struct Purse {
    pub(super) budgets: Budgets,
    /// The agent that calls, where it is one; those above it are in the context.
    pub(super) agent: Option<AgentId>,
}

/// The cost of one call; settled when it is dropped, because the call may have been paid.
#[derive(Debug)]
pub(super) struct Bill {
    ctx: Context,
    reservation: Option<Reservation>,
    cost: Money,
}

impl Bill {
    /// Reserves what a call costs; `None` for one that costs nothing, or that nobody counts.
    ///
    /// # Errors
    /// As [`Budgets::reserve`]; these end the run, which can be resumed when it may spend more.
    pub(super) async fn open(
        ctx: &Context,
        purse: Option<&Purse>,
        spec: &ToolSpec,
        key: impl FnOnce() -> String + Send,
    ) -> Result<Option<Self>> {
        let (Some(purse), Some(cost)) = (purse, spec.cost) else { return Ok(None) };
        let payer = purse.agent.as_ref().map_or_else(|| ctx.clone(), |agent| ctx.with_agent(agent));
        let estimate = Estimate::new(format!("tool:{}", spec.name), 0).with_money(cost);
        let decision = purse.budgets.reserve_as(&payer, ctx.now(), Some(&key()), estimate).await?;
        Ok(Some(Self { ctx: ctx.clone(), reservation: Some(decision.granted()?), cost }))
    }

    /// Records the cost.
    ///
    /// # Errors
    /// As [`Reservation::settle`].
    pub(super) async fn settle(mut self) -> Result<()> {
        let Some(reservation) = &self.reservation else { return Ok(()) };
        reservation.settle(Some(Usage::default()), Some(self.cost)).await?;
        // Afterwards, so that a future that is dropped meanwhile leaves it to be settled.
        self.reservation = None;
        Ok(())
    }
}

impl Drop for Bill {
    fn drop(&mut self) {
        let Some(reservation) = self.reservation.take() else { return };
        let cost = self.cost;
        self.ctx.runtime().tasks().spawn("tool.settle", async move {
            if let Err(err) = reservation.settle(Some(Usage::default()), Some(cost)).await {
                // Nobody is left to be told; the reservation expires.
                tracing::warn!(error = %err, "what a dropped call of a tool cost was not settled");
            }
        });
    }
}
