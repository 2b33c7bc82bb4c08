//! `WorkflowRun`: which steps of a workflow may begin, as a machine without input and output.

use std::{collections::VecDeque, sync::Arc};

use serde_json::{Map, Value};

use crate::{
    error::{Error, ErrorKind, Result},
    workflow::{
        Join,
        graph::{Action, Graph, Node, Timer, Way},
        template::{Scope, Template},
    },
};

/// How many items a step may be mapped over.
const MAX_ITEMS: usize = 10_000;

/// Where the steps of one workflow are.
///
/// It is told what came of each step and says which may begin; a step begins only when all before it are settled.
#[derive(Debug)]
pub(super) struct WorkflowRun {
    graph: Arc<Graph>,
    input: Value,
    states: Vec<State>,
    /// Steps whose turn has come.
    ready: VecDeque<usize>,
    /// How many steps are not settled.
    open: usize,
    failure: Option<Error>,
}

#[derive(Debug)]
struct State {
    /// How many of the steps before it are not settled.
    unmet: usize,
    /// How many of the ways to it were taken.
    taken: usize,
    status: Status,
}

#[derive(Debug)]
enum Status {
    /// Not settled.
    Open,
    Completed(Value),
    /// It was not its turn, or it failed and is optional.
    Without {
        skipped: bool,
    },
}

/// What a step is given: one value, or one for each item that it is mapped over.
#[derive(Debug)]
pub(super) enum Given {
    One(Value),
    Items(Vec<Value>),
}

/// What a workflow came to.
pub(super) enum End {
    Completed(Value),
    Failed(Error),
}

impl WorkflowRun {
    pub(super) fn new(graph: Arc<Graph>, input: Value) -> Self {
        let state = |node: &Node| State { unmet: node.before.len(), taken: 0, status: Status::Open };
        let states: Vec<State> = graph.nodes.iter().map(state).collect();
        let ready =
            states.iter().enumerate().filter(|(_, state)| state.unmet == 0).map(|(at, _)| at).collect();
        let open = states.len();
        Self { graph, input, states, ready, open, failure: None }
    }

    /// The next step whose turn has come; none once the workflow has failed.
    pub(super) fn begin(&mut self) -> Option<usize> {
        if self.failure.is_some() { None } else { self.ready.pop_front() }
    }

    /// What came of a step.
    ///
    /// # Errors
    /// `Internal` for a step that is settled already.
    pub(super) fn settle(&mut self, step: usize, outcome: Result<Value>) -> Result<()> {
        let optional = self.graph.nodes.get(step).is_some_and(|node| node.optional);
        let status = match outcome {
            Ok(value) => Status::Completed(value),
            Err(_) if optional => Status::Without { skipped: false },
            Err(err) => {
                self.fail(err);
                return Ok(());
            }
        };
        self.end(step, status)
    }

    /// Says that the workflow fails; the first failure is why.
    pub(super) fn fail(&mut self, err: Error) {
        self.failure.get_or_insert(err);
    }

    /// Whether a step failed that the workflow cannot do without.
    pub(super) fn has_failed(&self) -> bool {
        self.failure.is_some()
    }

    /// Whether it is not the turn of a step, and never will be.
    pub(super) fn is_skipped(&self, step: usize) -> bool {
        matches!(self.states.get(step).map(|state| &state.status), Some(Status::Without { skipped: true }))
    }

    /// What it came to, once nothing can begin any more and nothing is under way.
    pub(super) fn end_of_run(&mut self) -> Option<Result<End>> {
        if let Some(err) = self.failure.take() {
            return Some(Ok(End::Failed(err)));
        }
        if self.open > 0 {
            return None;
        }
        Some(self.output().map(End::Completed))
    }

    /// What a step is given.
    ///
    /// # Errors
    /// `InvalidInput` for a reference that finds nothing or a `map` that is no list; `LimitExceeded` for a list of more
    /// than 10,000 items.
    pub(super) fn given(&self, node: &Node) -> Result<Given> {
        if let Action::Timer(Timer::Found(template)) = &node.action {
            return self.fill(template, None).map(Given::One);
        }
        let Some(map) = &node.map else { return self.input_of(node, None).map(Given::One) };
        let of_step = |err: Error| err.with("step", &node.name);
        match self.fill(map, None).map_err(of_step)? {
            Value::Array(items) if items.len() <= MAX_ITEMS => {
                let inputs = items.iter().map(|item| self.input_of(node, Some(item)));
                inputs.collect::<Result<_>>().map(Given::Items).map_err(of_step)
            }
            Value::Array(items) => {
                let message = "the list of a mapped step is too long";
                let err = Error::new(ErrorKind::LimitExceeded, "workflow.map", message);
                Err(of_step(err).with("items", items.len()).with("limit", MAX_ITEMS))
            }
            _ => {
                let message = "expected a list to map the step over";
                Err(of_step(Error::new(ErrorKind::InvalidInput, "workflow.map", message)))
            }
        }
    }

    fn input_of(&self, node: &Node, item: Option<&Value>) -> Result<Value> {
        if let Some(template) = &node.input {
            return self.fill(template, item);
        }
        if let Some(item) = item {
            return Ok(item.clone());
        }
        match node.before.as_slice() {
            [] => Ok(self.input.clone()),
            [Way { from, .. }] => Ok(self.value(*from).cloned().unwrap_or_default()),
            ways => {
                let named = |way: &Way| {
                    Some((self.graph.nodes.get(way.from)?.name.to_string(), self.value(way.from)?.clone()))
                };
                Ok(Value::Object(ways.iter().filter_map(named).collect::<Map<_, _>>()))
            }
        }
    }

    /// What the workflow was given.
    pub(super) fn input(&self) -> &Value {
        &self.input
    }

    /// A template with the outputs so far.
    ///
    /// # Errors
    /// `InvalidInput` for a reference that finds nothing.
    fn fill(&self, template: &Template, item: Option<&Value>) -> Result<Value> {
        template.fill(&Scope { input: &self.input, item, output: &|step| self.value(step) })
    }

    fn value(&self, step: usize) -> Option<&Value> {
        match &self.states.get(step)?.status {
            Status::Completed(value) => Some(value),
            Status::Open | Status::Without { .. } => None,
        }
    }

    /// Settles a step, and those that are skipped because of it.
    fn end(&mut self, step: usize, status: Status) -> Result<()> {
        let graph = Arc::clone(&self.graph);
        let mut ended = VecDeque::from([(step, status)]);
        while let Some((step, status)) = ended.pop_front() {
            let (Some(node), Some(state)) = (graph.nodes.get(step), self.states.get_mut(step)) else {
                return Err(Error::new(ErrorKind::Internal, "workflow.settle", "there is no such step"));
            };
            if !matches!(state.status, Status::Open) {
                let message = "a step was settled twice";
                return Err(
                    Error::new(ErrorKind::Internal, "workflow.settle", message).with("step", &node.name)
                );
            }
            state.status = status;
            self.open -= 1;
            for (to, place) in &node.next {
                let Some(next) = graph.nodes.get(*to) else { continue };
                let taken = self.is_taken(node, step, next.before.get(*place));
                let Some(state) = self.states.get_mut(*to) else { continue };
                state.unmet = state.unmet.saturating_sub(1);
                state.taken += usize::from(taken);
                if state.unmet > 0 {
                    continue;
                }
                let begins = match next.join {
                    Join::All => state.taken == next.before.len(),
                    Join::Any => state.taken > 0,
                };
                if begins {
                    self.ready.push_back(*to);
                } else {
                    ended.push_back((*to, Status::Without { skipped: true }));
                }
            }
        }
        Ok(())
    }

    fn is_taken(&self, node: &Node, step: usize, way: Option<&Way>) -> bool {
        let value = match self.states.get(step).map(|state| &state.status) {
            Some(Status::Completed(value)) => value,
            // An optional step that failed is gone past, with nothing to test.
            Some(Status::Without { skipped: false }) => &Value::Null,
            _ => return false,
        };
        match way.and_then(|way| way.when.as_ref()) {
            Some(condition) => condition.holds(value),
            None => !(matches!(node.action, Action::Gate(_)) && *value == Value::Bool(false)),
        }
    }

    fn output(&self) -> Result<Value> {
        if let Some(template) = &self.graph.output {
            return self.fill(template, None);
        }
        match self.graph.last.as_slice() {
            [last] => Ok(self.value(*last).cloned().unwrap_or_default()),
            last => {
                let named = |step: &usize| {
                    Some((self.graph.nodes.get(*step)?.name.to_string(), self.value(*step)?.clone()))
                };
                Ok(Value::Object(last.iter().filter_map(named).collect::<Map<_, _>>()))
            }
        }
    }
}
