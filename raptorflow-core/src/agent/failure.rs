//! Which failures are an agent's own, and which concern the run that it works in.

use crate::{
    error::{Error, ErrorKind, Retry},
    runtime::Context,
    types::AgentId,
};

/// Whether a failure is about one agent's answer, and not about credentials, the network, storage or the caller.
///
/// An agent that used up a budget of its own is one that gave no answer; the budget of the run is the caller's.
/// An agent that used up its own time is one that gave no answer; the time of the whole run is the caller's.
pub(crate) fn is_its_own(ctx: &Context, agent: &AgentId, error: &Error) -> bool {
    if error.kind() == ErrorKind::Timeout && error.operation() == "agent.run" {
        return !ctx.is_overdue();
    }
    if error.kind() == ErrorKind::BudgetExceeded {
        return error.get("spender") == Some(agent.as_str());
    }
    if error.operation() == "agent.hook" {
        // Whoever put the hook there hears of it.
        return false;
    }
    let kind = matches!(
        error.kind(),
        ErrorKind::InvalidInput
            | ErrorKind::InvalidOutput
            | ErrorKind::NotFound
            | ErrorKind::Unsupported
            | ErrorKind::LimitExceeded
            | ErrorKind::Callback
    );
    let answered = matches!(error.kind(), ErrorKind::InvalidOutput | ErrorKind::Unsupported);
    kind && error.retry() == Retry::Never && (answered || !error.operation().starts_with("model."))
}
