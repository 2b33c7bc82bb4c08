//! `Desk`: asks people about calls of tools, and keeps question and answer in the journal of the run.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::json;

use crate::{
    agent::{AgentSpec, Session, event},
    error::Result,
    event::{EventKind, Status},
    journal::{ApprovalAnswer, CallToApprove, Question},
    runtime::Context,
    tool::{Approver, Decision, ProposedCall},
};

/// Asks the people who look at a run.
///
/// The question stands in the journal at a path of its own until somebody answers it; a run that was taken up again
/// waits for the same answer, or finds it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Desk<'a> {
    session: &'a Session,
    spec: &'a AgentSpec,
}

impl<'a> Desk<'a> {
    /// Asks on behalf of an agent or a workflow.
    pub(crate) fn new(session: &'a Session, spec: &'a AgentSpec) -> Self {
        Self { session, spec }
    }

    async fn ask(&self, ctx: &Context, proposed: CallToApprove) -> Result<Decision> {
        let journal = self.session.journal();
        let digest = proposed.digest;
        let told = json!({ "approval": &**ctx.path(), "tool": &*proposed.tool, "digest": digest });
        let question = Question {
            prompt: format!("May `{}` be called with these arguments?", proposed.tool),
            call: Some(proposed),
            ..Question::default()
        };
        if journal.ask(ctx, question).await? {
            let mut asked = event(ctx, self.spec, EventKind::NotificationTriggered);
            asked.status = Status::Warning;
            asked.data = told;
            self.session.means().bus.publish(ctx, asked).await?;
        }
        let answer = ApprovalAnswer::read(&journal.signalled(ctx.path()).await);
        Ok(match answer {
            Some(answer) if answer.digest != digest => {
                Decision::Denied { reason: Some("what was approved is another call".to_owned()) }
            }
            Some(ApprovalAnswer { approved: true, .. }) => Decision::Approved,
            Some(ApprovalAnswer { reason, .. }) => Decision::Denied { reason },
            None => Decision::Denied { reason: None },
        })
    }
}

#[async_trait]
impl Approver for Desk<'_> {
    async fn decide(&self, ctx: &Context, call: ProposedCall<'_>) -> Result<Decision> {
        let name = CallToApprove::name(call.key);
        let (tool, arguments) = (Arc::<str>::from(call.spec.name.as_str()), call.arguments.clone());
        let agent = self.spec.name.clone();
        self.session
            .journal()
            .step(ctx, &name, |ctx| async move {
                let proposed = CallToApprove::new(ctx.run_id(), ctx.path(), agent, tool, arguments);
                self.ask(&ctx, proposed).await
            })
            .await
    }
}
