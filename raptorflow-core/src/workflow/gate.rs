//! Gates: questions to people, and which answers they take.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::{
    agent::{Actor, Session, event},
    error::{Error, ErrorKind, Result},
    event::{EventKind, Priority},
    journal::Question,
    types::Timestamp,
    workflow::{
        Workflow,
        graph::{Action, Gate, Graph},
    },
};

impl Gate {
    /// Whether it takes an answer.
    pub(super) fn fits(&self, answer: &Value) -> bool {
        self.choices.as_ref().is_none_or(|choices| choices.contains(answer))
            && self.schema.as_ref().is_none_or(|schema| schema.validate(answer).is_empty())
    }

    fn question(&self, due: Option<Timestamp>) -> Question {
        Question {
            prompt: self.prompt.clone(),
            choices: self.choices.clone(),
            schema: self.schema.as_ref().map(|schema| schema.as_value().clone()),
            approvers: self.approvers.clone(),
            due,
            call: None,
        }
    }

    /// The answer of the gate at the session's path, now or when it comes.
    pub(super) async fn answer(
        &self,
        session: &Session,
        workflow: &Workflow,
        priority: Priority,
    ) -> Result<Value> {
        let (ctx, journal) = (session.ctx(), session.journal());
        let path = Arc::clone(ctx.path());
        let due = self.timeout.map(|timeout| ctx.now().plus(timeout));
        if journal.ask(ctx, self.question(due)).await? {
            let mut asked = event(ctx, Actor::spec(workflow), EventKind::NotificationTriggered);
            asked.priority = priority;
            asked.data = json!({ "gate": &*path, "prompt": self.prompt });
            session.means().bus.publish(ctx, asked).await?;
        }
        let answer = match due {
            None => Some(journal.signalled(&path).await),
            Some(due) => tokio::select! {
                biased;
                answer = journal.signalled(&path) => Some(answer),
                ended = journal.timer(ctx, due) => { ended?; None }
            },
        };
        match answer.or_else(|| self.default.clone()) {
            Some(answer) if self.fits(&answer) => Ok(answer),
            Some(_) => Err(self.unfit(&path)),
            None => {
                let message = "nobody answered in time";
                Err(Error::new(ErrorKind::Timeout, "workflow.gate", message).with("gate", path))
            }
        }
    }

    fn unfit(&self, path: &str) -> Error {
        let err = Error::new(ErrorKind::InvalidInput, "workflow.gate", "the gate does not take this answer")
            .with("gate", path);
        match &self.choices {
            Some(choices) => err.with("expected", Value::Array(choices.clone())),
            None => err.with("expected", "a value that fits the gate's schema"),
        }
    }
}

impl Workflow {
    /// Checks an answer before it is signalled to a run of this workflow.
    ///
    /// # Errors
    /// `NotFound` when no gate has the path; `InvalidInput` when the gate does not take the answer; `PermissionDenied`
    /// when `by` is none of its approvers.
    pub fn check_answer(&self, path: &str, answer: &Value, by: Option<&str>) -> Result<()> {
        let Some(Action::Gate(gate)) = self.graph().find(path).map(|node| &node.action) else {
            if self.graph().leads_out(path) {
                return Ok(());
            }
            let mut gates = Vec::new();
            self.graph().gates("", &mut gates);
            let message = "the workflow has no gate of this path";
            return Err(Error::new(ErrorKind::NotFound, "workflow.signal", message)
                .with("gate", path)
                .with("known", if gates.is_empty() { "none".to_owned() } else { gates.join(", ") }));
        };
        if let Some(approvers) = &gate.approvers
            && !by.is_some_and(|by| approvers.iter().any(|approver| approver == by))
        {
            let message = "the gate takes no answer from whom it is";
            return Err(Error::new(ErrorKind::PermissionDenied, "workflow.signal", message)
                .with("gate", path)
                .with("by", by.unwrap_or("nobody"))
                .with("approvers", approvers.join(", ")));
        }
        if gate.fits(answer) { Ok(()) } else { Err(gate.unfit(path)) }
    }
}

impl Graph {
    /// The paths of gates, where they do not depend on a number.
    fn gates(&self, at: &str, found: &mut Vec<String>) {
        for node in self.nodes.iter().filter(|node| node.map.is_none()) {
            let path = if at.is_empty() { node.name.to_string() } else { format!("{at}/{}", node.name) };
            match &node.action {
                Action::Gate(_) => found.push(path),
                Action::Workflow(graph) => graph.gates(&path, found),
                _ => {}
            }
        }
    }
}
