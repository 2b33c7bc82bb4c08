//! A tree of a thousand agents at work: a cancel leaves none of them, and no task.

use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use futures_util::future::try_join_all;
use raptorflow_core::{
    Agent, Engine, Result,
    agent::{Actor, AgentInput, AgentOutput, AgentSpec, FunctionAgent, Session},
    error::ErrorKind,
    journal::Fact,
};
use serde_json::Value;

use crate::support::{entries, settle};

/// How many agents each agent that is no leaf asks.
const WIDTH: usize = 10;
/// At how many points the tree is cancelled.
const POINTS: u64 = 16;
/// What renews the leases of an engine is one task, which may live on a little after the last run.
const KEEPER: usize = 1;

/// Counts who is at work.
struct AtWork(Arc<AtomicUsize>);

impl AtWork {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(count))
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// An agent that asks others, all at the same time, each in a task of its own where it is the first one.
#[derive(Debug)]
struct Lead(Arc<AgentSpec>, Vec<Agent>);

#[async_trait]
impl Actor for Lead {
    fn spec(&self) -> &Arc<AgentSpec> {
        &self.0
    }

    async fn run(&self, session: &Session, input: &AgentInput) -> Result<AgentOutput> {
        let ctx = session.ctx().with_agent(&self.0.name);
        let asked = self.1.iter().map(|agent| {
            let (agent, input) = (agent.clone(), input.clone());
            let below = session.with_context(ctx.child(agent.name().as_str()));
            async move {
                let tasks = below.ctx().runtime().tasks().clone();
                let cancel = below.ctx().cancel().clone();
                let work = async move { cancel.run("test.ask", agent.run(&below, &input)).await? };
                tasks.spawn("test.ask", work).await?
            }
        });
        try_join_all(asked).await?;
        Ok(AgentOutput::new("done"))
    }
}

/// A tree whose leaves work for a while and then wait for ever.
fn tree(name: &str, depth: u32, at_work: &Arc<AtomicUsize>) -> Agent {
    let spec = AgentSpec::new(name).unwrap();
    if depth == 0 {
        let (at_work, turns) = (Arc::clone(at_work), name.len() * 7 % 23);
        return FunctionAgent::new(spec, move |_ctx, _input| {
            let at_work = Arc::clone(&at_work);
            async move {
                let _here = AtWork::new(&at_work);
                for _ in 0..turns {
                    tokio::task::yield_now().await;
                }
                pending::<Result<Value>>().await
            }
        })
        .into();
    }
    let below = (0..WIDTH).map(|number| tree(&format!("{name}-{number}"), depth - 1, at_work)).collect();
    Lead(Arc::new(spec), below).into()
}

#[tokio::test]
async fn a_cancelled_tree_of_a_thousand_agents_leaves_no_task() {
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut most = 0;
    let engine = Engine::builder().build().await.unwrap();
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    for point in 0..POINTS {
        let at_work = Arc::new(AtomicUsize::new(0));
        let run = engine.start(tree("root", 3, &at_work), "go").await.unwrap();
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let mut turns = random >> 59;
        for _ in 0..turns {
            tokio::task::yield_now().await;
        }
        // The last time all are at work.
        while point + 1 == POINTS && at_work.load(Ordering::SeqCst) < WIDTH.pow(3) && turns < 10_000 {
            tokio::task::yield_now().await;
            turns += 1;
        }
        most = most.max(at_work.load(Ordering::SeqCst));
        let id = run.id();
        run.cancel();
        assert_eq!(run.outcome().await.unwrap_err().kind(), ErrorKind::Cancelled, "after {turns} turns");
        for _ in 0..16 {
            settle().await;
        }
        assert_eq!(at_work.load(Ordering::SeqCst), 0, "after {turns} turns");
        assert!(tasks() <= KEEPER, "after {turns} turns");
        let last = entries(&engine, id).await.pop().unwrap();
        assert_eq!(last.fact, Fact::ExecutionCancelled);
    }
    assert_eq!(most, WIDTH.pow(3));
}
