//! Steps that are several things at once: items of a list, turns of a repetition, agents of one step.

use std::sync::Arc;

use futures_util::{StreamExt as _, stream};
use serde_json::Value;

use crate::{
    agent::Session,
    error::{Error, ErrorKind, Result},
    workflow::{
        Aggregate, Condition,
        driver::Flow,
        graph::{Graph, Node},
        perform::{Call, Tries, join},
        watchdog::Bounds,
    },
};

impl Flow<'_> {
    pub(super) async fn items(
        &self,
        node: &Node,
        path: Arc<str>,
        inputs: Vec<Value>,
        background: Option<Arc<str>>,
        session: &Session,
        bounds: Bounds,
    ) -> Result<Value> {
        let mut outputs = vec![Value::Null; inputs.len()];
        let mut failure = None;
        // One item that fails stops the others, and what is left is looked after before the step ends.
        let bounds = bounds.child();
        let work = inputs.into_iter().enumerate().map(|(index, input)| {
            let (path, background, bounds) =
                (join(&path, &index.to_string()), background.clone(), bounds.clone());
            async move {
                let stopped = || Error::new(ErrorKind::Cancelled, "workflow.map", "another item failed");
                if bounds.halt.is_cancelled() {
                    return (index, Err(stopped()));
                }
                if session.journal().is_paused()
                    && let Err(err) = self.unpaused(session, &bounds).await
                {
                    return (index, Err(err));
                }
                (index, self.one(node, path, input, background, session, bounds).await)
            }
        });
        let mut work = stream::iter(work).buffer_unordered(node.parallel);
        while let Some((index, outcome)) = work.next().await {
            match outcome {
                Ok(value) => {
                    if let Some(output) = outputs.get_mut(index) {
                        *output = value;
                    }
                }
                Err(err) => {
                    failure.get_or_insert(err);
                    bounds.halt.cancel();
                }
            }
        }
        failure.map_or(Ok(Value::Array(outputs)), Err)
    }

    #[expect(clippy::too_many_arguments, reason = "what is repeated, how often, and where it stands")]
    pub(super) async fn turns(
        &self,
        body: &Arc<Graph>,
        at_most: u32,
        until: Option<&Condition>,
        path: Arc<str>,
        mut value: Value,
        session: &Session,
        bounds: Bounds,
    ) -> Result<Value> {
        for turn in 0..at_most {
            let ctx = session.ctx().at_step(join(&path, &turn.to_string()), None);
            value = self.part(body, session.with_context(ctx), value, &bounds).await?;
            if until.is_some_and(|until| until.holds(&value)) {
                break;
            }
        }
        Ok(value)
    }

    pub(super) async fn agents(
        &self,
        agents: Agents<'_>,
        path: Arc<str>,
        input: &Value,
        background: Option<Arc<str>>,
        session: &Session,
        bounds: Bounds,
    ) -> Result<Value> {
        let Agents { node, names, capability, aggregate } = agents;
        if let Some(recorded) = self.recorded(&path) {
            return recorded;
        }
        let ctx = session.ctx().at_step(Arc::clone(&path), None);
        let clock = ctx.runtime().clock();
        let start = clock.elapsed();
        let within = session.with_context(ctx.clone());
        let outcome = async {
            let work = names.iter().enumerate().map(|(place, name)| {
                let tries = Tries {
                    call: Call::Agent { name, capability },
                    timeout: node.timeout,
                    retries: node.retries,
                    backoff: &node.backoff,
                    background: background.as_ref(),
                    bounds: &bounds,
                    finished: false,
                };
                let (path, within) = (join(&path, name), &within);
                async move { (place, self.tried(&tries, &path, input.clone(), within).await) }
            });
            let mut work: stream::FuturesUnordered<_> = work.collect();
            let (mut answers, mut failure) = (Vec::new(), None);
            while let Some((place, outcome)) = work.next().await {
                match outcome {
                    Ok(answer) => answers.push((place, answer)),
                    Err(err) if aggregate.needs_all() => return Err(err),
                    Err(err) => failure = Some(err),
                }
                if aggregate == Aggregate::First && !answers.is_empty() {
                    break;
                }
            }
            answers.sort_unstable_by_key(|(place, _)| *place);
            let name = |place: usize| names.get(place).map(ToString::to_string).unwrap_or_default();
            let named = |(place, answer)| (name(place), answer);
            let value = aggregate.value(names.len(), answers.into_iter().map(named).collect());
            value.map_err(|err| match failure {
                Some(failure) => err.caused_by(failure),
                None => err,
            })
        };
        let outcome = outcome.await;
        self.record(node, &ctx, outcome, Some(clock.elapsed().saturating_sub(start))).await
    }
}

/// Several agents of one step.
pub(super) struct Agents<'a> {
    pub(super) node: &'a Node,
    pub(super) names: &'a [Arc<str>],
    pub(super) capability: Option<&'a Arc<str>>,
    pub(super) aggregate: Aggregate,
}
