//! Timers and child runs: what a run waits for, found again after a restart.

use std::sync::Arc;

use uuid::Uuid;

use crate::{
    error::Result,
    journal::{Fact, Journal, known::Timer},
    runtime::Context,
    types::{Digest, RunId, Timestamp},
};

impl Journal {
    /// Waits for a point in time, once at the context's path, and gives it: over a restart too it waits only for what is
    /// left.
    ///
    /// The time of day is read once, and from then on the wait goes by a clock that does not jump.
    /// Called again at the same path it waits for, and gives, the point in time that was given first.
    ///
    /// # Errors
    /// `Cancelled` and `Timeout` with the context; what [`Journal::append`] says.
    ///
    /// # Cancellation
    /// Dropping it leaves the timer set; called again, it waits for the same point in time.
    pub async fn timer(&self, ctx: &Context, due: Timestamp) -> Result<Timestamp> {
        let path = ctx.path();
        let set = self.0.known().timers.get(path).copied();
        let due = match set {
            Some(Timer { fired: true, due }) => return Ok(due),
            Some(timer) => timer.due,
            None => {
                self.append_at(path, &[Fact::TimerSet { due }]).await?;
                self.0.known().timers.insert(Arc::clone(path), Timer { due, fired: false });
                due
            }
        };
        let left = due.since(ctx.now());
        ctx.bound("journal.timer", ctx.runtime().clock().sleep(left)).await?;
        self.append_at(path, &[Fact::TimerFired]).await?;
        self.0.known().timers.insert(Arc::clone(path), Timer { due, fired: true });
        Ok(due)
    }

    /// The id of the run that is begun as a part of this one at the context's path; the same however often it is asked
    /// for, over crashes too.
    ///
    /// It records that the child was started and does not create it: who finds that the run of that id exists opens it.
    ///
    /// # Errors
    /// What [`Journal::append`] says.
    ///
    /// # Cancellation
    /// Dropping it has recorded the child or not; the id is the same.
    pub async fn child(&self, ctx: &Context, target: &str) -> Result<RunId> {
        let path = ctx.path();
        if let Some(run) = self.0.known().children.get(path) {
            return Ok(*run);
        }
        let run = child_id(self.run_id(), path);
        self.append_at(path, &[Fact::ChildStarted { run, target: Arc::from(target) }]).await?;
        self.0.known().children.insert(Arc::clone(path), run);
        Ok(run)
    }
}

/// A version 7 id with the time of its parent, so that both are listed together, and a digest instead of randomness.
fn child_id(parent: RunId, path: &str) -> RunId {
    const TAIL_BITS: u32 = 62;
    let digest = Digest::of_all([parent.as_uuid().as_bytes().as_slice(), path.as_bytes()]);
    let random = digest.as_bytes().iter().take(16).fold(0_u128, |sum, byte| (sum << 8) | u128::from(*byte));
    let time = parent.as_uuid().as_u128() >> 80;
    let high = (time << 80) | (0x7 << 76) | ((random >> 116) << 64);
    RunId::from_uuid(Uuid::from_u128(high | (0b10 << TAIL_BITS) | (random & ((1 << TAIL_BITS) - 1))))
}
