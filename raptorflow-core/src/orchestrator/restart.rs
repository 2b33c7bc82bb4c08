//! `RestartPolicy`: how often a supervisor asks an agent again that failed.

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    agent::{Agent, AgentInput, AgentOutput, Session, event},
    error::{Error, ErrorKind, Result, Retry},
    event::{EventKind, Status},
    journal::Fact,
    runtime::Backoff,
};

/// When agents of a team are asked again that failed.
///
/// An agent is asked again when its error says that this may help, and when its function or its answer failed; not when
/// it was refused, has no budget, or was cancelled.
/// Each restart is journalled, so that they do not begin anew over a resume; what the agent had recorded is not done
/// again.
///
/// ```
/// use raptorflow_core::orchestrator::RestartPolicy;
/// assert_eq!(RestartPolicy::default().restarts, 0);
/// assert_eq!(RestartPolicy::times(2).restarts, 2);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct RestartPolicy {
    /// How often an agent is asked again for one task; never by default.
    pub restarts: u32,
    /// How long it rests before.
    pub backoff: Backoff,
}

impl RestartPolicy {
    /// So many restarts, with the usual pauses.
    #[must_use]
    pub fn times(restarts: u32) -> Self {
        Self { restarts, ..Self::default() }
    }

    /// Other pauses.
    #[must_use]
    pub fn with_backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }
}

/// Asks an agent, and again as the policy says.
pub(super) async fn restarting(
    session: &Session,
    agent: &Agent,
    input: &AgentInput,
    policy: &RestartPolicy,
) -> Result<AgentOutput> {
    let (ctx, journal) = (session.ctx(), session.journal());
    let place = ctx.child("restart");
    let known = journal.recorded(place.path()).into_iter();
    let known = known.filter(|entry| matches!(entry.fact, Fact::RetryTriggered { .. })).count();
    let mut restarts = u32::try_from(known).unwrap_or(u32::MAX);
    loop {
        let error = match agent.run(session, input).await {
            Err(error) if restarts < policy.restarts && may_help(&error) && !ctx.cancel().is_cancelled() => {
                error
            }
            ended => return ended,
        };
        restarts += 1;
        let pause = match error.retry() {
            Retry::After(pause) => pause,
            _ => policy.backoff.delay(restarts, ctx.runtime().ids().unit()),
        };
        let mut told = event(ctx, agent.spec(), EventKind::WarningIssued);
        told.status = Status::Warning;
        told.data = json!({ "restart": restarts, "error": error.kind() });
        journal.append(&place, &[Fact::RetryTriggered { attempt: restarts, error }]).await?;
        session.means().bus.publish(ctx, told).await?;
        ctx.bound("orchestrator.restart", ctx.runtime().clock().sleep(pause)).await?;
    }
}

fn may_help(error: &Error) -> bool {
    match error.retry() {
        Retry::Soon | Retry::After(_) => true,
        Retry::Exhausted => false,
        Retry::Never => matches!(error.kind(), ErrorKind::Callback | ErrorKind::InvalidOutput),
    }
}
