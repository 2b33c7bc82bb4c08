//! `Progress`: where the steps of a workflow are, told from the state of a run.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use serde_json::Value;

use crate::{
    error::{Error, ErrorKind, Result},
    journal::{RunState, RunStatus, StepState, StepStatus},
    workflow::{
        graph::{Action, Graph, Node},
        rollback::UNDO,
        run::{End, Given, WorkflowRun},
    },
};

/// How many steps are looked at; a run has no more of them than it can have worked on.
const MAX_VISITS: usize = 1_000_000;

/// How far a step is, seen from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Mark {
    Completed,
    Running,
    /// For a person, a point in time or another run.
    Waiting,
    Failed,
    Skipped,
    /// Its turn has not come.
    Pending,
    /// The run ended while it was at work.
    Stopped,
    /// It completed and was taken back.
    Undone,
}

/// The places of steps: their numbers in the order of definition, outermost first.
pub(super) type Marks = BTreeMap<Vec<usize>, Mark>;

/// Where each step is, also those of nested workflows; of a repeated one as in its last turn.
///
/// The machine that runs the workflow is told what is recorded, so that it says what comes next as it would in a run.
pub(super) fn marks(graph: &Arc<Graph>, state: &RunState) -> Marks {
    let steps = state.steps.iter().map(|step| (&*step.path, step)).collect();
    let mut progress =
        Progress { status: state.summary.status, steps, state, marks: Marks::new(), visits: MAX_VISITS };
    progress.graph(graph, "", &[], state.input.clone());
    progress.marks
}

struct Progress<'a> {
    status: RunStatus,
    state: &'a RunState,
    steps: HashMap<&'a str, &'a StepState>,
    marks: Marks,
    /// How many more steps are looked at.
    visits: usize,
}

impl Progress<'_> {
    /// What a workflow at a path came to, if it is at its end.
    fn graph(
        &mut self,
        graph: &Arc<Graph>,
        path: &str,
        place: &[usize],
        input: Value,
    ) -> Option<Result<Value>> {
        let overrun = self.steps.get(path).filter(|step| step.status == StepStatus::Failed);
        let overrun = overrun.filter(|_| !path.is_empty()).and_then(|step| step.error.clone());
        let mut run = WorkflowRun::new(Arc::clone(graph), input);
        let mut seen = vec![false; graph.nodes.len()];
        let mut failure = None;
        while let Some(step) = run.begin() {
            let Some(node) = graph.nodes.get(step) else { continue };
            self.visits = self.visits.checked_sub(1)?;
            if let Some(seen) = seen.get_mut(step) {
                *seen = true;
            }
            let place = [place, &[step]].concat();
            let outcome = match run.given(node) {
                Ok(given) => self.step(node, &join(path, &node.name), &place, given),
                Err(err) => {
                    self.mark(node, &place, Mark::Failed, Mark::Pending);
                    Some(Err(err))
                }
            };
            match outcome {
                // The machine begins nothing after a failure, and what began beside it is looked at too.
                Some(Err(err)) if !node.optional => failure = Some(err),
                Some(outcome) => run.settle(step, outcome).ok()?,
                None => {}
            }
        }
        for (step, node) in graph.nodes.iter().enumerate().filter(|(step, _)| seen.get(*step) == Some(&false))
        {
            let mark = if run.is_skipped(step) { Mark::Skipped } else { Mark::Pending };
            self.mark(node, &[place, &[step]].concat(), mark, mark);
        }
        if let Some(err) = overrun.or(failure) {
            return Some(Err(err));
        }
        Some(match run.end_of_run()? {
            Ok(End::Completed(value)) => Ok(value),
            Ok(End::Failed(err)) | Err(err) => Err(err),
        })
    }

    /// What a step came to, if it is at its end.
    fn step(&mut self, node: &Node, path: &str, place: &[usize], given: Given) -> Option<Result<Value>> {
        let outcome = match given {
            Given::One(input) => self.one(node, path, place, input),
            Given::Items(inputs) => self.items(node, path, place, inputs),
        };
        let composite = matches!(node.action, Action::Workflow(_) | Action::Repeat { .. });
        if composite || node.map.is_some() {
            let mark = match &outcome {
                Some(Ok(_)) => Mark::Completed,
                Some(Err(_)) => Mark::Failed,
                None => self.mark_of_whole(path, place),
            };
            // Nothing is known of what is inside when the list has no items.
            self.mark(node, place, mark, Mark::Skipped);
        }
        outcome
    }

    /// Marks a step, and what is inside of it and has no mark.
    fn mark(&mut self, node: &Node, place: &[usize], mark: Mark, inside: Mark) {
        self.marks.insert(place.to_vec(), mark);
        let (Action::Workflow(graph) | Action::Repeat { body: graph, .. }) = &node.action else { return };
        for (step, node) in graph.nodes.iter().enumerate() {
            let place = [place, &[step]].concat();
            if !self.marks.contains_key(&place) {
                self.mark(node, &place, inside, inside);
            }
        }
    }

    fn one(&mut self, node: &Node, path: &str, place: &[usize], input: Value) -> Option<Result<Value>> {
        match &node.action {
            Action::Workflow(graph) => self.graph(graph, path, place, input),
            Action::Repeat { body, at_most, until } => {
                let mut value = input;
                for turn in 0..*at_most {
                    self.marks.retain(|other, _| !other.starts_with(place));
                    match self.graph(body, &join(path, &turn.to_string()), place, value)? {
                        Ok(output) => value = output,
                        failed => return Some(failed),
                    }
                    if until.as_ref().is_some_and(|until| until.holds(&value)) {
                        break;
                    }
                }
                Some(Ok(value))
            }
            _ => self.leaf(node, path, place),
        }
    }

    fn items(
        &mut self,
        node: &Node,
        path: &str,
        place: &[usize],
        inputs: Vec<Value>,
    ) -> Option<Result<Value>> {
        let mut all = Marks::new();
        let mut outputs = Some(Vec::with_capacity(inputs.len()));
        let mut failure = None;
        let outer = std::mem::take(&mut self.marks);
        for (index, input) in inputs.into_iter().enumerate() {
            match self.one(node, &join(path, &index.to_string()), place, input) {
                Some(Ok(value)) => outputs.iter_mut().for_each(|outputs| outputs.push(value.clone())),
                Some(Err(err)) => failure = failure.or(Some(err)),
                None => outputs = None,
            }
            for (place, mark) in std::mem::take(&mut self.marks) {
                let both = all.get(&place).map_or(mark, |other| self.both(*other, mark));
                all.insert(place, both);
            }
        }
        self.marks = outer;
        self.marks.append(&mut all);
        match failure {
            Some(err) => Some(Err(err)),
            None => outputs.map(|outputs| Ok(Value::Array(outputs))),
        }
    }

    /// A step that records its end itself.
    fn leaf(&mut self, node: &Node, path: &str, place: &[usize]) -> Option<Result<Value>> {
        let recorded = self.steps.get(path).copied();
        let (mark, outcome) = match recorded.map(|step| (step.status, step)) {
            Some((StepStatus::Completed, StepState { output: Some(output), .. })) => {
                let undo = self.steps.get(join(path, UNDO).as_str());
                let undone = node.compensate.is_some()
                    && undo.is_some_and(|undo| undo.status == StepStatus::Completed);
                (if undone { Mark::Undone } else { Mark::Completed }, Some(Ok(output.clone())))
            }
            Some((StepStatus::Failed, step)) => {
                let unknown = || Error::new(ErrorKind::Internal, "workflow.picture", "the step failed");
                (Mark::Failed, Some(Err(step.error.clone().unwrap_or_else(unknown))))
            }
            _ => (self.mark_of_open(node, path, recorded), None),
        };
        self.marks.insert(place.to_vec(), mark);
        outcome
    }

    /// Where a step is whose turn has come and that has no end.
    fn mark_of_open(&self, node: &Node, path: &str, recorded: Option<&StepState>) -> Mark {
        let waits = matches!(node.action, Action::Gate(_) | Action::Timer(_))
            || recorded.is_some_and(|step| step.status == StepStatus::Waiting);
        match self.status {
            RunStatus::Running | RunStatus::Paused if waits => Mark::Waiting,
            RunStatus::Running => Mark::Running,
            RunStatus::Paused if self.has_begun(path) => Mark::Running,
            RunStatus::Paused => Mark::Pending,
            RunStatus::Completed | RunStatus::Failed | RunStatus::Cancelled => Mark::Stopped,
        }
    }

    fn has_begun(&self, path: &str) -> bool {
        let below = |other: &str| {
            other.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        self.state.steps.iter().any(|step| below(&step.path))
    }

    /// Where a step is that is made of others and not at its end.
    fn mark_of_whole(&self, path: &str, place: &[usize]) -> Mark {
        let inside =
            || self.marks.iter().filter(|(other, _)| other.starts_with(place)).map(|(_, mark)| *mark);
        let open = [Mark::Failed, Mark::Running, Mark::Waiting, Mark::Stopped];
        let found = open.into_iter().find(|mark| inside().any(|inner| inner == *mark));
        found.unwrap_or_else(|| if self.has_begun(path) { Mark::Running } else { Mark::Pending })
    }

    /// The mark of a step of which one item has one mark and another item the other.
    fn both(&self, left: Mark, right: Mark) -> Mark {
        if left == right {
            return left;
        }
        let one_is = |mark: &Mark| *mark == left || *mark == right;
        let first = [Mark::Failed, Mark::Running, Mark::Waiting, Mark::Stopped, Mark::Undone];
        if let Some(mark) = first.iter().find(|mark| one_is(mark)) {
            return *mark;
        }
        let live = matches!(self.status, RunStatus::Running | RunStatus::Paused);
        match (one_is(&Mark::Pending), one_is(&Mark::Completed)) {
            (true, true) if live => Mark::Running,
            (true, _) => Mark::Pending,
            _ => Mark::Completed,
        }
    }
}

fn join(path: &str, segment: &str) -> String {
    if path.is_empty() { segment.to_owned() } else { format!("{path}/{segment}") }
}
