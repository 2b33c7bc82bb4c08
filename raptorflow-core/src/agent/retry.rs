//! Executions of a capability that are tried again: how often, after which pause, and what is never repeated.

use crate::{
    agent::{Capability, Session},
    error::{Error, Result, Retry},
    journal::Fact,
    runtime::Backoff,
};

/// The failed tries of one execution.
pub(super) struct Retries<'a> {
    session: &'a Session,
    most: u32,
    failed: u32,
}

impl<'a> Retries<'a> {
    /// As many as a capability has; none for an agent as a whole.
    pub(super) fn of(session: &'a Session, capability: Option<&Capability>) -> Self {
        Self { session, most: capability.map_or(0, |capability| capability.retries), failed: 0 }
    }

    /// Waits until the next try may begin, and records it.
    ///
    /// # Errors
    /// The error that was given, when it is not to be tried again, and when the pause is longer than the time that is
    /// left: who reads it learns what was wrong, and not that the time was up.
    pub(super) async fn again(&mut self, error: Error) -> Result<()> {
        let (ctx, journal) = (self.session.ctx(), self.session.journal());
        let pause = match error.retry() {
            Retry::Soon => {
                Backoff::default().delay(self.failed.saturating_add(1), ctx.runtime().ids().unit())
            }
            Retry::After(pause) => pause,
            Retry::Never | Retry::Exhausted => return Err(error),
        };
        // What the store has is not known then: only a resume finds out.
        let unsure = journal.is_broken() || journal.is_lost();
        let late = ctx.deadline().is_some_and(|deadline| ctx.now().plus(pause) >= deadline);
        if self.failed >= self.most || unsure || late || ctx.cancel().is_cancelled() {
            return Err(error);
        }
        self.failed += 1;
        journal.append(ctx, &[Fact::RetryTriggered { attempt: self.failed, error }]).await?;
        ctx.bound("agent.run", ctx.runtime().clock().sleep(pause)).await
    }
}
