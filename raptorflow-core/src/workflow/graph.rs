//! `Graph`: the steps of a workflow and the ways between them, checked and ready to run.

use std::{collections::HashMap, sync::Arc, time::Duration};

use indexmap::IndexMap;
use serde_json::Value;

use crate::{
    event::Priority,
    runtime::Backoff,
    types::{Schema, Timestamp},
    workflow::{Aggregate, Condition, Join, StepFunction, template::Template},
};

/// Steps in the order of definition, and how they follow each other; has no cycle.
#[derive(Debug)]
pub(super) struct Graph {
    pub(super) name: Arc<str>,
    pub(super) priority: Priority,
    pub(super) nodes: Vec<Node>,
    pub(super) by_name: HashMap<Arc<str>, usize>,
    /// The steps after which nothing comes.
    pub(super) last: Vec<usize>,
    pub(super) output: Option<Template>,
    pub(super) timeout: Duration,
    pub(super) parallel: usize,
    /// How many workflows are in each other inside of this one.
    pub(super) depth: usize,
    /// The digest of each step by its name.
    pub(super) definition: Arc<IndexMap<Arc<str>, Arc<str>>>,
}

#[derive(Debug)]
pub(super) struct Node {
    pub(super) name: Arc<str>,
    pub(super) action: Action,
    /// The ways that lead to it.
    pub(super) before: Vec<Way>,
    /// The ways that lead on: the step, and the place among its `before`.
    pub(super) next: Vec<(usize, usize)>,
    pub(super) join: Join,
    pub(super) input: Option<Template>,
    pub(super) map: Option<Template>,
    /// How many items of `map` at the same time.
    pub(super) parallel: usize,
    /// For one attempt.
    pub(super) timeout: Option<Duration>,
    pub(super) retries: u32,
    pub(super) backoff: Backoff,
    pub(super) optional: bool,
    pub(super) compensate: Option<Arc<Compensation>>,
}

/// A way from a step to another.
#[derive(Debug)]
pub(super) struct Way {
    pub(super) from: usize,
    pub(super) when: Option<Condition>,
}

#[derive(Debug)]
pub(super) enum Action {
    Agent { name: Arc<str>, capability: Option<Arc<str>> },
    Agents { names: Vec<Arc<str>>, capability: Option<Arc<str>>, aggregate: Aggregate },
    Tool(Arc<str>),
    Function(StepFunction),
    Workflow(Arc<Graph>),
    Repeat { body: Arc<Graph>, at_most: u32, until: Option<Box<Condition>> },
    Gate(Box<Gate>),
    Timer(Timer),
}

/// What takes a step back.
#[derive(Debug)]
pub(super) struct Compensation {
    pub(super) action: Action,
    pub(super) timeout: Duration,
    pub(super) retries: u32,
    pub(super) backoff: Backoff,
}

#[derive(Debug)]
pub(super) struct Gate {
    pub(super) prompt: String,
    pub(super) choices: Option<Vec<Value>>,
    pub(super) schema: Option<Schema>,
    pub(super) approvers: Option<Vec<String>>,
    pub(super) timeout: Option<Duration>,
    pub(super) default: Option<Value>,
}

#[derive(Debug)]
pub(super) enum Timer {
    /// So long from when its turn comes.
    After(Duration),
    At(Timestamp),
    /// A point in time that is found in the data.
    Found(Template),
}

impl Node {
    /// The workflow that it runs, once or again and again.
    pub(super) fn inner(&self) -> Option<&Arc<Graph>> {
        match &self.action {
            Action::Workflow(graph) | Action::Repeat { body: graph, .. } => Some(graph),
            _ => None,
        }
    }
}

impl Graph {
    /// A step of this graph or of those nested in it, by its path: names joined with `/`, and for a repeated workflow
    /// or a mapped step the number of the turn or item after its name.
    pub(super) fn find(&self, path: &str) -> Option<&Node> {
        let (name, rest) = path.split_once('/').unwrap_or((path, ""));
        let node = self.nodes.get(*self.by_name.get(name)?)?;
        let rest = if node.map.is_some() { Self::below_number(rest)? } else { rest };
        if rest.is_empty() {
            return Some(node);
        }
        match &node.action {
            Action::Workflow(graph) => graph.find(rest),
            Action::Repeat { body, .. } => body.find(Self::below_number(rest)?),
            _ => None,
        }
    }

    /// What comes after the number of an item or turn.
    fn below_number(path: &str) -> Option<&str> {
        let (number, below) = path.split_once('/').unwrap_or((path, ""));
        number.bytes().all(|byte| byte.is_ascii_digit()).then_some(below)
    }

    /// Whether a path leads out of the graph, into an agent that has gates of its own.
    pub(super) fn leads_out(&self, path: &str) -> bool {
        path.match_indices('/').any(|(end, _)| {
            let above = path.get(..end).and_then(|above| self.find(above));
            above.is_some_and(|node| matches!(node.action, Action::Agent { .. } | Action::Agents { .. }))
        })
    }
}
