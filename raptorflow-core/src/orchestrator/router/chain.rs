//! `RouterChain`: routers one after another, until one is sure enough.

use std::sync::Arc;

use async_trait::async_trait;

use crate::{
    error::Result,
    orchestrator::{Decision, Router, RouterStep, Supervisor, Task},
    runtime::Context,
};

/// Asks routers in order and takes the first that is sure enough; the last one decides in any case.
///
/// What each one said stands in [`Decision::steps`].
/// A router that does not say how sure it is decides only as the last.
/// An error of a router is the error of the chain.
///
/// ```
/// use std::sync::Arc;
/// use raptorflow_core::orchestrator::{CapabilityRouter, RouterChain, SemanticRouter};
/// use raptorflow_core::rag::HashingEmbedder;
/// let near = SemanticRouter::new(HashingEmbedder::default());
/// let chain = RouterChain::ending_with(near).before(0.5, CapabilityRouter);
/// ```
#[derive(Clone, Debug)]
pub struct RouterChain {
    /// Each with the confidence that it needs.
    first: Vec<(f64, Arc<dyn Router>)>,
    last: Arc<dyn Router>,
}

impl RouterChain {
    /// A chain of one router, which decides when no other is sure.
    pub fn ending_with(last: impl Router) -> Self {
        Self { first: Vec::new(), last: Arc::new(last) }
    }

    /// Asks a router before the last one and after those that were added; it decides from this confidence on.
    #[must_use]
    pub fn before(mut self, confidence: f64, router: impl Router) -> Self {
        self.first.push((confidence, Arc::new(router)));
        self
    }
}

#[async_trait]
impl Router for RouterChain {
    async fn route(&self, ctx: &Context, task: &Task, teams: &[Supervisor]) -> Result<Decision> {
        let (mut steps, mut calls) = (Vec::new(), Vec::new());
        let limits = self.first.iter().map(|(limit, router)| (Some(*limit), router));
        let mut decided = Decision::default();
        for (limit, router) in limits.chain([(None, &self.last)]) {
            let mut decision = router.route(ctx, task, teams).await?;
            steps.append(&mut decision.steps);
            calls.append(&mut decision.calls);
            let (accepted, reason) = match (limit, decision.confidence) {
                (None, _) => (true, "the last of the chain".to_owned()),
                (Some(limit), Some(sure)) if sure >= limit => (true, format!("sure enough for {limit}")),
                (Some(limit), Some(_)) => (false, format!("not sure enough for {limit}")),
                (Some(_), None) => (false, "does not say how sure it is".to_owned()),
            };
            let (router, confidence) = (decision.router.clone(), decision.confidence);
            steps.push(RouterStep { router, confidence, accepted, reason });
            decided = decision;
            if accepted {
                break;
            }
        }
        Ok(Decision { steps, calls, ..decided })
    }
}
