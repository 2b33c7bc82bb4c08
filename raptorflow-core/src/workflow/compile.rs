//! From a workflow as data to its graph, with every problem on the way.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use indexmap::IndexMap;
use serde_json::Value;

use crate::{
    runtime::Backoff,
    types::{AgentId, Diagnostic, Digest, nearest},
    workflow::{
        StepFunction, StepSpec, Workflow, WorkflowSpec,
        cycle::find_cycles,
        graph::{Action, Graph, Node, Way},
        template::{Source, Template},
    },
};

/// How many steps a workflow may have.
const MAX_STEPS: usize = 10_000;
/// How deep workflows may be nested in each other.
const MAX_DEPTH: usize = 16;
/// How often a workflow may be repeated.
const MAX_TURNS: u32 = 1_000;
pub(super) const TIMEOUT: Duration = Duration::from_secs(30);
pub(super) const RETRIES: u32 = 3;
const MAX_RETRIES: u32 = 100;
/// How many items of a mapped step at the same time.
const ITEMS: usize = 16;
/// How many hexadecimal digits of the digest of a step are kept: enough to notice a change, not to defend against one.
const DIGITS: usize = 12;
/// Names that references use for something else.
const RESERVED: [&str; 2] = ["input", "item"];

/// The graph of a workflow and the problems of it; no graph where there are problems.
pub(super) fn compile(
    spec: &WorkflowSpec,
    functions: &BTreeMap<String, StepFunction>,
    nested: &BTreeMap<String, Workflow>,
) -> (Option<Graph>, Vec<Diagnostic>) {
    let mut problems = Vec::new();
    let graph =
        Compiler { functions, nested, at: String::new(), depth: 0, problems: &mut problems }.graph(spec);
    (graph.filter(|_| problems.is_empty()), problems)
}

pub(super) struct Compiler<'a> {
    functions: &'a BTreeMap<String, StepFunction>,
    nested: &'a BTreeMap<String, Workflow>,
    /// Where the workflow stands in the data, as a JSON Pointer.
    at: String,
    depth: usize,
    problems: &'a mut Vec<Diagnostic>,
}

impl Compiler<'_> {
    pub(super) fn problem(&mut self, pointer: &str, code: &str, message: impl Into<String>) {
        let pointer = format!("{}{pointer}", self.at);
        self.problems.push(Diagnostic::error(code, message).at_pointer(pointer));
    }

    fn graph(&mut self, spec: &WorkflowSpec) -> Option<Graph> {
        if let Err(err) = AgentId::new(spec.name.as_str()) {
            self.problem("/name", "invalid_name", err.message().to_owned());
        }
        if spec.steps.is_empty() {
            self.problem("/steps", "no_steps", "expected at least one step");
        }
        if spec.steps.len() > MAX_STEPS {
            let message = format!("expected at most {MAX_STEPS} steps, got {}", spec.steps.len());
            self.problem("/steps", "too_many_steps", message);
            return None;
        }
        if spec.parallel == 0 {
            self.problem("/parallel", "out_of_range", "expected at least 1 step at a time, got 0");
        }
        if spec.timeout.is_zero() {
            self.problem("/timeout", "out_of_range", "expected more than 0 seconds");
        }
        let by_name = self.names(spec);
        let nodes: Vec<Option<Node>> =
            spec.steps.iter().enumerate().map(|(index, step)| self.node(index, step, &by_name)).collect();
        let output = spec.output.as_ref().map(|output| self.template("/output", output, &by_name, false));
        let ways = ways(spec, &by_name);
        let cycles = self.check_cycles(spec, &ways);
        self.check_references(spec, &by_name, &ways);
        let mut nodes: Vec<Node> = nodes.into_iter().collect::<Option<_>>()?;
        if cycles {
            return None;
        }
        let ends: Vec<(usize, usize, usize)> = nodes
            .iter()
            .enumerate()
            .flat_map(|(to, node)| {
                node.before.iter().enumerate().map(move |(place, way)| (way.from, to, place))
            })
            .collect();
        for (from, to, place) in ends {
            if let Some(node) = nodes.get_mut(from) {
                node.next.push((to, place));
            }
        }
        let last =
            (0..nodes.len()).filter(|at| nodes.get(*at).is_some_and(|node| node.next.is_empty())).collect();
        let definition = definition(&spec.steps);
        let depth = nodes.iter().filter_map(Node::inner).map(|graph| graph.depth + 1).max().unwrap_or(0);
        Some(Graph {
            name: spec.name.as_str().into(),
            priority: spec.priority,
            nodes,
            by_name,
            last,
            output,
            timeout: spec.timeout,
            parallel: spec.parallel,
            depth,
            definition: Arc::new(definition),
        })
    }

    /// Whether steps wait for each other, also where other problems leave no graph.
    fn check_cycles(&mut self, spec: &WorkflowSpec, ways: &[Vec<usize>]) -> bool {
        let cycles = find_cycles(ways);
        for cycle in &cycles {
            let names: Vec<&str> =
                cycle.iter().filter_map(|step| Some(spec.steps.get(*step)?.name.as_str())).collect();
            let first = cycle.first().copied().unwrap_or_default();
            let message = match names.as_slice() {
                [one] => format!("the step `{one}` waits for itself"),
                all => format!("the steps `{}` wait for each other", all.join("`, `")),
            };
            self.problem(&format!("/steps/{first}/after"), "cycle", message);
        }
        !cycles.is_empty()
    }

    fn names(&mut self, spec: &WorkflowSpec) -> HashMap<Arc<str>, usize> {
        let mut by_name: HashMap<Arc<str>, usize> = HashMap::with_capacity(spec.steps.len());
        for (index, step) in spec.steps.iter().enumerate() {
            let pointer = format!("/steps/{index}/name");
            if let Err(err) = AgentId::new(step.name.as_str()) {
                self.problem(&pointer, "invalid_name", format!("`{}`: {}", step.name, err.message()));
            } else if RESERVED.contains(&step.name.as_str()) || step.name.contains('$') {
                let message = format!("`{}` is no name for a step: references use it", step.name);
                self.problem(&pointer, "invalid_name", message);
            }
            if let Some(first) = by_name.get(step.name.as_str()) {
                let message = format!("`{}` is the name of step {first} too", step.name);
                self.problem(&pointer, "duplicate_name", message);
            } else {
                by_name.insert(step.name.as_str().into(), index);
            }
        }
        by_name
    }

    fn node(&mut self, index: usize, step: &StepSpec, by_name: &HashMap<Arc<str>, usize>) -> Option<Node> {
        let at = format!("/steps/{index}");
        let before = self.before(&at, step, by_name);
        let action = self.action(&at, step, by_name);
        let mapped = step.map.is_some();
        let input = step.input.as_ref().map(|it| self.template(&format!("{at}/input"), it, by_name, mapped));
        let map = step.map.as_ref().map(|it| self.template(&format!("{at}/map"), it, by_name, false));
        if step.map.as_ref().is_some_and(|map| !map.is_array() && !is_reference(map)) {
            let message =
                format!("`{}`: expected a reference to a list, such as `$input`, or a list", step.name);
            self.problem(&format!("{at}/map"), "invalid_list", message);
        }
        self.check_options(&at, step);
        let compensate = step.compensate.as_ref().and_then(|by| self.compensation(&at, step, by));
        let timed =
            step.agent.is_some() || step.agents.is_some() || step.tool.is_some() || step.function.is_some();
        let action = action?;
        let before = before?;
        Some(Node {
            name: step.name.as_str().into(),
            action,
            before,
            next: Vec::new(),
            join: step.join,
            input,
            map,
            parallel: step.parallel.unwrap_or(ITEMS).max(1),
            timeout: step.timeout.or(timed.then_some(TIMEOUT)),
            retries: step.retries.unwrap_or(if timed { RETRIES } else { 0 }),
            backoff: backoff(step),
            optional: step.optional,
            compensate: compensate.map(Arc::new),
        })
    }

    fn before(&mut self, at: &str, step: &StepSpec, by_name: &HashMap<Arc<str>, usize>) -> Option<Vec<Way>> {
        let mut ways = Vec::with_capacity(step.after.len());
        for (place, after) in step.after.iter().enumerate() {
            let pointer = format!("{at}/after/{place}");
            let Some(from) = by_name.get(after.step.as_str()) else {
                let near = nearest(&after.step, by_name.keys().map(|name| &**name));
                let hint = if near.is_empty() {
                    String::new()
                } else {
                    format!("; did you mean `{}`?", near.join("` or `"))
                };
                self.problem(&pointer, "unknown_step", format!("there is no step `{}`{hint}", after.step));
                continue;
            };
            if ways.iter().any(|way: &Way| way.from == *from) {
                self.problem(&pointer, "duplicate_way", format!("`{}` is named twice", after.step));
            }
            ways.push(Way { from: *from, when: after.when.clone() });
        }
        (ways.len() == step.after.len()).then_some(ways)
    }

    fn action(&mut self, at: &str, step: &StepSpec, by_name: &HashMap<Arc<str>, usize>) -> Option<Action> {
        let set = [
            step.agent.is_some(),
            step.agents.is_some(),
            step.tool.is_some(),
            step.function.is_some(),
            step.workflow.is_some(),
            step.repeat.is_some(),
            step.gate.is_some(),
            step.timer.is_some(),
        ];
        let count = set.iter().filter(|set| **set).count();
        if count != 1 {
            let expected =
                "expected exactly one of agent, agents, tool, function, workflow, repeat, gate and timer";
            self.problem(at, "no_action", format!("`{}`: {expected}, got {count}", step.name));
            return None;
        }
        let capability = step.capability.as_deref().map(Arc::from);
        if let Some(name) = &step.agent {
            return Some(Action::Agent { name: name.as_str().into(), capability });
        }
        if let Some(names) = &step.agents {
            return self.agents(at, step, names, capability);
        }
        if let Some(name) = &step.tool {
            return Some(Action::Tool(name.as_str().into()));
        }
        if let Some(name) = &step.function {
            return self.function(&format!("{at}/function"), name).map(Action::Function);
        }
        if let Some(spec) = &step.workflow {
            return self.nested(&format!("{at}/workflow"), &step.name, spec).map(Action::Workflow);
        }
        if let Some(repeat) = &step.repeat {
            if repeat.at_most == 0 || repeat.at_most > MAX_TURNS {
                let message = format!("expected 1 to {MAX_TURNS} turns, got {}", repeat.at_most);
                self.problem(&format!("{at}/repeat/at_most"), "out_of_range", message);
            }
            let body = self.nested(&format!("{at}/repeat/workflow"), &step.name, &repeat.workflow)?;
            return Some(Action::Repeat {
                body,
                at_most: repeat.at_most,
                until: repeat.until.clone().map(Box::new),
            });
        }
        if let Some(gate) = &step.gate {
            return self.gate(at, step, gate).map(|gate| Action::Gate(Box::new(gate)));
        }
        step.timer.as_ref().and_then(|timer| self.timer(at, timer, by_name)).map(Action::Timer)
    }

    fn agents(
        &mut self,
        at: &str,
        step: &StepSpec,
        names: &[String],
        capability: Option<Arc<str>>,
    ) -> Option<Action> {
        let pointer = format!("{at}/agents");
        if names.is_empty() {
            self.problem(&pointer, "no_agents", format!("`{}`: expected at least one agent", step.name));
        }
        for (place, name) in names.iter().enumerate() {
            if names.iter().take(place).any(|other| other == name) {
                self.problem(
                    &format!("{pointer}/{place}"),
                    "duplicate_name",
                    format!("`{name}` is named twice"),
                );
            }
        }
        let names = names.iter().map(|name| name.as_str().into()).collect();
        Some(Action::Agents { names, capability, aggregate: step.aggregate.unwrap_or_default() })
    }

    pub(super) fn function(&mut self, pointer: &str, name: &str) -> Option<StepFunction> {
        let found = self.functions.get(name).cloned();
        if found.is_none() {
            let message = format!("no function was given under the name `{name}`");
            self.problem(pointer, "unknown_function", message);
        }
        found
    }

    /// The graph of a workflow inside of this one: the one that was built, or the one that stands in the data.
    fn nested(&mut self, pointer: &str, step: &str, spec: &WorkflowSpec) -> Option<Arc<Graph>> {
        let built = self.nested.get(step);
        if self.depth + built.map_or(0, |built| built.graph().depth) >= MAX_DEPTH {
            let message = format!("expected at most {MAX_DEPTH} workflows in each other");
            self.problem(pointer, "too_deep", message);
            return None;
        }
        if let Some(built) = built {
            return Some(Arc::clone(built.graph()));
        }
        let at = format!("{}{pointer}", self.at);
        // What was built for a step is not there for a step of the same name inside of another workflow.
        let none = BTreeMap::new();
        let mut inner = Compiler {
            functions: self.functions,
            nested: &none,
            at,
            depth: self.depth + 1,
            problems: &mut *self.problems,
        };
        inner.graph(spec).map(Arc::new)
    }

    fn check_options(&mut self, at: &str, step: &StepSpec) {
        if step.retries.is_some_and(|retries| retries > MAX_RETRIES) {
            self.problem(&format!("{at}/retries"), "out_of_range", format!("expected at most {MAX_RETRIES}"));
        }
        if step.timeout.is_some_and(|timeout| timeout.is_zero()) {
            self.problem(&format!("{at}/timeout"), "out_of_range", "expected more than 0 seconds");
        }
        if step.parallel == Some(0) {
            self.problem(
                &format!("{at}/parallel"),
                "out_of_range",
                "expected at least 1 item at a time, got 0",
            );
        }
        let calls =
            step.agent.is_some() || step.agents.is_some() || step.tool.is_some() || step.function.is_some();
        let useless = [
            ("parallel", step.parallel.is_some() && step.map.is_none(), "`map`"),
            ("aggregate", step.aggregate.is_some() && step.agents.is_none(), "`agents`"),
            (
                "capability",
                step.capability.is_some() && step.agent.is_none() && step.agents.is_none(),
                "an agent",
            ),
            ("timeout", step.timeout.is_some() && !calls, "an agent, a tool or a function"),
            ("retries", step.retries.is_some() && !calls, "an agent, a tool or a function"),
            ("retry_delay", step.retry_delay.is_some() && !calls, "an agent, a tool or a function"),
            ("input", step.input.is_some() && step.timer.is_some(), "something that takes an input"),
            (
                "map",
                step.map.is_some() && (step.gate.is_some() || step.timer.is_some()),
                "something that works",
            ),
        ];
        for (field, _, of) in useless.into_iter().filter(|(_, useless, _)| *useless) {
            let message = format!("`{field}` of `{}` does nothing without {of}", step.name);
            self.problem(&format!("{at}/{field}"), "no_effect", message);
        }
    }

    pub(super) fn template(
        &mut self,
        pointer: &str,
        value: &Value,
        by_name: &HashMap<Arc<str>, usize>,
        mapped: bool,
    ) -> Template {
        let find = |name: &str| match name {
            "input" => Some(Source::Input),
            "item" => mapped.then_some(Source::Item),
            step => by_name.get(step).copied().map(Source::Step),
        };
        let mut unknown = Vec::new();
        let template = Template::parse(value, &find, &mut |text| unknown.push(text.to_owned()));
        for text in unknown {
            let message = format!("`{text}` refers to no step; write `$$` for a dollar sign");
            self.problem(pointer, "unknown_reference", message);
        }
        template
    }

    /// A step may only refer to steps that are settled before it.
    fn check_references(
        &mut self,
        spec: &WorkflowSpec,
        by_name: &HashMap<Arc<str>, usize>,
        ways: &[Vec<usize>],
    ) {
        let lost = |step: &StepSpec| step.after.iter().any(|it| !by_name.contains_key(it.step.as_str()));
        let lost: Vec<bool> = spec.steps.iter().map(lost).collect();
        let find = |name: &str| match by_name.get(name) {
            Some(step) if !RESERVED.contains(&name) => Some(Source::Step(*step)),
            // Of no step, and told already where it is unknown.
            _ => Some(Source::Input),
        };
        for (index, step) in spec.steps.iter().enumerate() {
            let until = step.timer.as_ref().and_then(|timer| timer.until.as_ref());
            let fields = [("input", step.input.as_ref()), ("map", step.map.as_ref()), ("timer/until", until)];
            let mut found = Vec::new();
            for (field, value) in fields.into_iter().filter_map(|(field, value)| Some((field, value?))) {
                let mut steps = Vec::new();
                Template::parse(value, &find, &mut |_| {}).steps(&mut steps);
                found.extend(steps.into_iter().map(|(step, text)| (field, step, text)));
            }
            if found.is_empty() {
                continue;
            }
            let before = ancestors(index, ways);
            // What comes before is not known where a step that is to come before is not.
            let steps = before.iter().enumerate().filter(|(at, before)| **before || *at == index);
            if steps.into_iter().any(|(at, _)| lost.get(at) == Some(&true)) {
                continue;
            }
            let unsettled = found.into_iter().filter(|(_, from, _)| before.get(*from) != Some(&true));
            for (field, _, text) in unsettled {
                let message = format!("`{}` does not come after the step that `{text}` refers to", step.name);
                self.problem(&format!("/steps/{index}/{field}"), "unsettled_reference", message);
            }
        }
    }
}

/// Whether a value as a whole is a reference, and not a text that begins with a dollar sign.
pub(super) fn is_reference(value: &Value) -> bool {
    value.as_str().and_then(|text| text.strip_prefix('$')).is_some_and(|rest| !rest.starts_with('$'))
}

/// Which steps each step waits for, as far as they are known.
fn ways(spec: &WorkflowSpec, by_name: &HashMap<Arc<str>, usize>) -> Vec<Vec<usize>> {
    let from = |step: &StepSpec| {
        step.after.iter().filter_map(|after| by_name.get(after.step.as_str()).copied()).collect()
    };
    spec.steps.iter().map(from).collect()
}

/// Which steps are settled before a step.
fn ancestors(step: usize, ways: &[Vec<usize>]) -> Vec<bool> {
    let mut seen = vec![false; ways.len()];
    let mut open = vec![step];
    while let Some(at) = open.pop() {
        for from in ways.get(at).into_iter().flatten() {
            if let Some(seen) = seen.get_mut(*from)
                && !std::mem::replace(seen, true)
            {
                open.push(*from);
            }
        }
    }
    seen
}

pub(super) fn backoff(step: &StepSpec) -> Backoff {
    let backoff = Backoff::default();
    Backoff { base: step.retry_delay.unwrap_or(backoff.base), ..backoff }
}

/// The digest of each step: of everything that stands in its data but what is only said of it.
fn definition(steps: &[StepSpec]) -> IndexMap<Arc<str>, Arc<str>> {
    let digest = |step: &StepSpec| {
        let plain = StepSpec { description: String::new(), ..step.clone() };
        let data = serde_json::to_vec(&plain).unwrap_or_default();
        let mut digits = Digest::of(data).to_string();
        digits.truncate(DIGITS);
        (step.name.as_str().into(), digits.into())
    };
    steps.iter().map(digest).collect()
}
