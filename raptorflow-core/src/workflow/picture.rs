//! Draws a workflow: the text of a Mermaid flowchart, with the status of a run where one is given.

use std::{collections::BTreeMap, fmt::Write as _};

use crate::{
    journal::RunState,
    workflow::{
        AfterSpec, Aggregate, CompensateSpec, Join, StepSpec, Workflow, WorkflowSpec,
        progress::{Mark, Marks, marks},
    },
};

/// How many characters of a condition or of a point in time are drawn.
const MAX_TEXT: usize = 80;

impl Workflow {
    /// The workflow as the text of a [Mermaid](https://mermaid.js.org) flowchart.
    ///
    /// A gate is a rhombus, a timer a stadium, a tool a parallelogram, a function has round corners, several agents have
    /// double sides, and a workflow inside of it is a frame.
    /// A way with a condition bears it; dashed ways lead to a step for which one of them is enough.
    /// Names and values are escaped, so that no text of the data is read as Mermaid or HTML.
    ///
    /// With the state of a run of this workflow each step has one of the classes `completed`, `running`, `waiting`,
    /// `failed`, `skipped`, `pending`, `stopped` (the run ended while it was at work) and `undone` (it was taken back).
    /// A step that was begun records nothing before it ends, so one whose turn has come in a run that has not ended is
    /// drawn as `running`, also when its process has died.
    ///
    /// ```
    /// use raptorflow_core::workflow::{Condition, Workflow, after, agent, tool};
    /// let flow = Workflow::builder("post")
    ///     .step("draft", agent("writer"))
    ///     .gate("approve", after("draft").prompt("Publish this?"))
    ///     .step("publish", tool("publish").after_when("approve", Condition::value().equals(true)))
    ///     .build()?;
    /// let text = r#"flowchart TD
    ///     s0["draft<br/>agent writer"]
    ///     s1{"approve<br/>gate"}
    ///     s2[/"publish<br/>tool publish"/]
    ///     s0 --> s1
    ///     s1 -->|"value = true"| s2
    /// "#;
    /// assert_eq!(flow.to_mermaid(None), text);
    /// # Ok::<(), raptorflow_core::Error>(())
    /// ```
    #[must_use]
    pub fn to_mermaid(&self, state: Option<&RunState>) -> String {
        let mut picture = Picture { text: String::from("flowchart TD\n"), depth: 1 };
        picture.steps(self.spec(), &[]);
        if let Some(state) = state {
            picture.classes(&marks(self.graph(), state));
        }
        picture.text
    }
}

struct Picture {
    text: String,
    depth: usize,
}

impl Picture {
    fn line(&mut self, line: &str) {
        // Writing to a text cannot fail.
        let _ = writeln!(self.text, "{:indent$}{line}", "", indent = self.depth * 4);
    }

    fn steps(&mut self, spec: &WorkflowSpec, place: &[usize]) {
        for (index, step) in spec.steps.iter().enumerate() {
            self.step(step, &[place, &[index]].concat());
        }
        let names: BTreeMap<&str, usize> =
            spec.steps.iter().enumerate().map(|(index, step)| (step.name.as_str(), index)).collect();
        for (index, step) in spec.steps.iter().enumerate() {
            for after in &step.after {
                if let Some(from) = names.get(after.step.as_str()) {
                    let (from, to) = (id(&[place, &[*from]].concat()), id(&[place, &[index]].concat()));
                    self.way(&from, after, step.join, &to);
                }
            }
        }
    }

    fn step(&mut self, step: &StepSpec, place: &[usize]) {
        let (id, label) = (id(place), label(step));
        let inner = step.workflow.as_deref().or_else(|| step.repeat.as_ref().map(|repeat| &*repeat.workflow));
        if let Some(inner) = inner {
            self.line(&format!("subgraph {id}[\"{label}\"]"));
            self.depth += 1;
            self.steps(inner, place);
            self.depth -= 1;
            self.line("end");
            return;
        }
        let (left, right) = shape(step);
        self.line(&format!("{id}{left}\"{label}\"{right}"));
    }

    fn way(&mut self, from: &str, after: &AfterSpec, join: Join, to: &str) {
        let arrow = match join {
            Join::All => "-->",
            Join::Any => "-.->",
        };
        match &after.when {
            Some(when) => {
                let condition = escaped(&shortened(&when.to_string()));
                self.line(&format!("{from} {arrow}|\"{condition}\"| {to}"));
            }
            None => self.line(&format!("{from} {arrow} {to}")),
        }
    }

    fn classes(&mut self, marks: &Marks) {
        let mut by_mark = BTreeMap::<Mark, Vec<String>>::new();
        for (place, mark) in marks {
            by_mark.entry(*mark).or_default().push(id(place));
        }
        for (mark, ids) in by_mark {
            let (class, style) = class(mark);
            self.line(&format!("classDef {class} {style}"));
            self.line(&format!("class {} {class}", ids.join(",")));
        }
    }
}

/// The name of a place in the picture: never a word of Mermaid.
fn id(place: &[usize]) -> String {
    let numbers: Vec<String> = place.iter().map(ToString::to_string).collect();
    format!("s{}", numbers.join("_"))
}

fn shape(step: &StepSpec) -> (&'static str, &'static str) {
    if step.gate.is_some() {
        ("{", "}")
    } else if step.timer.is_some() {
        ("([", "])")
    } else if step.tool.is_some() {
        ("[/", "/]")
    } else if step.function.is_some() {
        ("(", ")")
    } else if step.agents.is_some() {
        ("[[", "]]")
    } else {
        ("[", "]")
    }
}

/// The lines inside a step, escaped.
fn label(step: &StepSpec) -> String {
    let mut lines = vec![step.name.clone(), kind(step)];
    lines.extend(step.map.as_ref().and_then(|map| Some(format!("each of {}", shortened(map.as_str()?)))));
    lines.extend(step.optional.then(|| "optional".to_owned()));
    lines.extend(step.compensate.as_ref().map(|by| format!("undo: {}", undo(by))));
    let lines: Vec<String> = lines.iter().filter(|line| !line.is_empty()).map(|line| escaped(line)).collect();
    lines.join("<br/>")
}

fn kind(step: &StepSpec) -> String {
    if let Some(agent) = &step.agent {
        return format!("agent {agent}");
    }
    if let Some(agents) = &step.agents {
        let how = match step.aggregate.unwrap_or_default() {
            Aggregate::All => "all",
            Aggregate::First => "first",
            Aggregate::Majority => "majority",
            Aggregate::Merge => "merge",
            Aggregate::Combine => "combination",
            Aggregate::Consensus => "consensus",
            Aggregate::Priority => "first in priority",
            Aggregate::Average => "average",
            Aggregate::Vote => "vote",
            Aggregate::Best => "best",
        };
        return format!("{how} of {}", agents.join(", "));
    }
    if let Some(tool) = &step.tool {
        return format!("tool {tool}");
    }
    if let Some(function) = &step.function {
        return if *function == step.name { "function".to_owned() } else { format!("function {function}") };
    }
    if let Some(workflow) = &step.workflow {
        return format!("workflow {}", workflow.name);
    }
    if let Some(repeat) = &step.repeat {
        let until = repeat.until.as_ref().map(|until| format!(" until {}", shortened(&until.to_string())));
        return format!(
            "{} at most {} times{}",
            repeat.workflow.name,
            repeat.at_most,
            until.unwrap_or_default()
        );
    }
    if step.gate.is_some() {
        return "gate".to_owned();
    }
    let Some(timer) = &step.timer else { return String::new() };
    match (timer.seconds, timer.until.as_ref().and_then(|until| until.as_str())) {
        (Some(duration), _) => format!("wait {} s", duration.as_secs_f64()),
        (None, Some(until)) => format!("wait until {}", shortened(until)),
        (None, None) => "wait".to_owned(),
    }
}

fn undo(by: &CompensateSpec) -> String {
    let named = |kind: &str, name: &Option<String>| name.as_ref().map(|name| format!("{kind} {name}"));
    named("agent", &by.agent)
        .or_else(|| named("tool", &by.tool))
        .or_else(|| named("function", &by.function))
        .unwrap_or_default()
}

fn class(mark: Mark) -> (&'static str, &'static str) {
    match mark {
        Mark::Completed => ("completed", "fill:#d7f0dd,stroke:#2e7d32,color:#000"),
        Mark::Running => ("running", "fill:#d6e6fb,stroke:#1565c0,color:#000,stroke-width:3px"),
        Mark::Waiting => ("waiting", "fill:#fff3cd,stroke:#b8860b,color:#000,stroke-width:3px"),
        Mark::Failed => ("failed", "fill:#f8d7da,stroke:#c62828,color:#000"),
        Mark::Skipped => ("skipped", "fill:#eeeeee,stroke:#9e9e9e,color:#616161,stroke-dasharray:4 3"),
        Mark::Pending => ("pending", "fill:#ffffff,stroke:#9e9e9e,color:#000"),
        Mark::Stopped => ("stopped", "fill:#e0e0e0,stroke:#616161,color:#000"),
        Mark::Undone => ("undone", "fill:#ead7f5,stroke:#6a1b9a,color:#000"),
    }
}

fn shortened(text: &str) -> String {
    if text.chars().count() <= MAX_TEXT {
        return text.to_owned();
    }
    text.chars().take(MAX_TEXT).chain(['…']).collect()
}

/// The text inside quotes: all that Mermaid, Markdown or HTML could read as theirs is written as its number.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            ' ' | '_' | '-' | '.' | ',' | '/' | '=' | ':' | '(' | ')' | '≥' | '≤' | '≠' | '…' => {
                escaped.push(letter);
            }
            letter if letter.is_alphanumeric() => escaped.push(letter),
            letter if letter.is_control() => escaped.push(' '),
            letter => {
                let _ = write!(escaped, "#{};", u32::from(letter));
            }
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        error::{Error, ErrorKind},
        journal::{Entry, Fact},
        types::{Finish, Timestamp},
        workflow::{Condition, Step, after, agent, agents, function, repeat, timer, tool, workflow},
    };

    fn work() -> Step {
        function(|_ctx, input| async move { Ok(input) })
    }

    /// What the classes of a picture say: `class: ids`, in the order of the picture.
    fn classes(flow: &Workflow, facts: &[(&str, Fact)]) -> Vec<String> {
        let started = Fact::ExecutionStarted {
            target: "f".into(),
            input: json!([1, 2]),
            capability: None,
            background: None,
            user: None,
        };
        let facts = [("", started)].into_iter().chain(facts.iter().cloned()).enumerate();
        let entries: Vec<Entry> = facts
            .map(|(at, (path, fact))| {
                let time = Timestamp::from_micros(at as i64);
                Entry { sequence: at as u64, time, path: path.into(), fact }
            })
            .collect();
        let picture = flow.to_mermaid(Some(&RunState::of(&entries)));
        let lines = picture.lines().filter_map(|line| line.trim_start().strip_prefix("class "));
        lines.filter_map(|line| line.split_once(' ')).map(|(ids, class)| format!("{class}: {ids}")).collect()
    }

    fn done(value: impl Into<Value>) -> Fact {
        Fact::StepCompleted { value: value.into(), took: None }
    }

    fn error() -> Error {
        Error::new(ErrorKind::Callback, "test.step", "it failed")
    }

    #[test]
    fn every_kind_of_step_has_its_shape_and_its_words() {
        let inner =
            Workflow::builder("inner").step("a", work()).step("b", work().after("a")).build().unwrap();
        let flow = Workflow::builder("all")
            .step("one", agent("writer").optional())
            .step("many", agents(["x", "y"], Aggregate::Majority).map("$input").after("one"))
            .step("end", tool("send").compensate(tool("unsend")).after("one").after("many").any())
            .step("nested", workflow(&inner).after_when("end", Condition::at("/n").above(1.5)))
            .step("loop", repeat(&inner, 3, Condition::at("/ok").equals(true)).after("nested"))
            .step("pause", timer(Duration::from_millis(1500)).after("loop"))
            .gate("ask", after("pause"))
            .build()
            .unwrap();
        let text = r#"flowchart TD
    s0["one<br/>agent writer<br/>optional"]
    s1[["many<br/>majority of x, y<br/>each of #36;input"]]
    s2[/"end<br/>tool send<br/>undo: tool unsend"/]
    subgraph s3["nested<br/>workflow inner"]
        s3_0("a<br/>function")
        s3_1("b<br/>function")
        s3_0 --> s3_1
    end
    subgraph s4["loop<br/>inner at most 3 times until /ok = true"]
        s4_0("a<br/>function")
        s4_1("b<br/>function")
        s4_0 --> s4_1
    end
    s5(["pause<br/>wait 1.5 s"])
    s6{"ask<br/>gate"}
    s0 --> s1
    s0 -.-> s2
    s1 -.-> s2
    s2 -->|"/n #62; 1.5"| s3
    s3 --> s4
    s4 --> s5
    s5 --> s6
"#;
        assert_eq!(flow.to_mermaid(None), text);
    }

    #[test]
    fn a_picture_with_a_state_ends_with_its_classes() {
        let flow = Workflow::builder("f").step("a", work()).build().unwrap();
        let text = "flowchart TD
    s0(\"a<br/>function\")
    classDef running fill:#d6e6fb,stroke:#1565c0,color:#000,stroke-width:3px
    class s0 running
";
        assert_eq!(flow.to_mermaid(Some(&RunState::default())), text);
    }

    #[test]
    fn what_comes_next_is_told_from_what_is_recorded() {
        let flow = Workflow::builder("f")
            .step("sort", work())
            .step("big", work().after_when("sort", Condition::value().above(5.0)))
            .step("small", work().after_when("sort", Condition::value().at_most(5.0)))
            .gate("ask", after("big").after("small").any())
            .step("send", work().after("ask"))
            .build()
            .unwrap();
        assert_eq!(classes(&flow, &[]), ["running: s0", "pending: s1,s2,s3,s4"]);
        let mut facts = vec![("sort", done(9))];
        assert_eq!(classes(&flow, &facts), ["completed: s0", "running: s1", "skipped: s2", "pending: s3,s4"]);
        facts.push(("big", done(1)));
        assert_eq!(classes(&flow, &facts), ["completed: s0,s1", "waiting: s3", "skipped: s2", "pending: s4"]);
        facts.push(("ask", done(false)));
        assert_eq!(classes(&flow, &facts), ["completed: s0,s1,s3", "skipped: s2,s4"]);
        let failed =
            [("sort", Fact::StepFailed { error: error() }), ("", Fact::ExecutionFailed { error: error() })];
        assert_eq!(classes(&flow, &failed), ["failed: s0", "pending: s1,s2,s3,s4"]);
    }

    #[test]
    fn what_was_at_work_when_the_run_ended_is_stopped_and_what_was_taken_back_is_undone() {
        let flow = Workflow::builder("f")
            .step("book", work().compensate(work()))
            .step("pay", work().after("book"))
            .step("tell", work().after("book"))
            .build()
            .unwrap();
        let facts = [
            ("book", done(1)),
            ("pay", Fact::StepFailed { error: error() }),
            ("book/undo", done(Value::Null)),
            ("", Fact::ExecutionFailed { error: error() }),
        ];
        assert_eq!(classes(&flow, &facts), ["failed: s1", "stopped: s2", "undone: s0"]);
        let paused = [("book", done(1)), ("", Fact::ExecutionPaused)];
        assert_eq!(classes(&flow, &paused), ["completed: s0", "pending: s1,s2"]);
        let cancelled = [("book", done(1)), ("", Fact::ExecutionCancelled)];
        assert_eq!(classes(&flow, &cancelled), ["completed: s0", "stopped: s1,s2"]);
    }

    #[test]
    fn items_are_told_together_and_a_repetition_as_in_its_last_turn() {
        let inner =
            Workflow::builder("inner").step("a", work()).step("b", work().after("a")).build().unwrap();
        let flow = Workflow::builder("f")
            .step("each", workflow(&inner).map("$input"))
            .step("loop", repeat(&inner, 3, Condition::value().equals("enough")).after("each"))
            .step("last", work().after("loop"))
            .build()
            .unwrap();
        let mut facts = vec![("each/0/a", done(1)), ("each/0/b", done(1)), ("each/1/a", done(2))];
        let half = ["completed: s0_0", "running: s0,s0_1", "pending: s1,s1_0,s1_1,s2"];
        assert_eq!(classes(&flow, &facts), half);
        facts.extend([("each/1/b", done(2)), ("loop/0/a", done(1)), ("loop/0/b", done("more"))]);
        let again = ["completed: s0,s0_0,s0_1", "running: s1,s1_0", "pending: s1_1,s2"];
        assert_eq!(classes(&flow, &facts), again);
        facts.extend([("loop/1/a", done(1)), ("loop/1/b", done("enough"))]);
        assert_eq!(classes(&flow, &facts), ["completed: s0,s0_0,s0_1,s1,s1_0,s1_1", "running: s2"]);
        let none = Workflow::builder("f").step("each", workflow(&inner).map("$input/0")).build().unwrap();
        assert_eq!(classes(&none, &[]), ["failed: s0", "pending: s0_0,s0_1"]);
        let end = Fact::ExecutionCompleted { output: 1.into(), finish: Finish::Complete };
        facts.extend([("last", done(1)), ("", end)]);
        assert_eq!(classes(&flow, &facts), ["completed: s0,s0_0,s0_1,s1,s1_0,s1_1,s2"]);
    }

    #[test]
    fn an_agent_at_work_runs_and_a_timer_waits() {
        let flow = Workflow::builder("f")
            .step("ask", agent("writer"))
            .step("wait", timer(Duration::from_secs(60)))
            .build()
            .unwrap();
        let facts = [("wait", Fact::TimerSet { due: Timestamp::from_micros(9) })];
        assert_eq!(classes(&flow, &facts), ["running: s0", "waiting: s1"]);
    }

    proptest! {
        #[test]
        fn no_text_is_read_as_mermaid(text in "\\PC*|[\"#;`%{}$<>&|\\[\\]\\\\\n\r\t]{0,40}") {
            let flow = Workflow::builder("f")
                .step("a", agent("writer"))
                .step("b", timer(Duration::from_secs(1)).after_when("a", Condition::at("/x").equals(text.as_str())))
                .build()
                .unwrap();
            let picture = flow.to_mermaid(None);
            let way = picture.lines().nth(3).unwrap();
            prop_assert_eq!(picture.lines().count(), 4);
            let inside = way.strip_prefix("    s0 -->|\"").and_then(|way| way.strip_suffix("\"| s1")).unwrap();
            let special = |letter: &char| "\"`%{}$<>&|[]\\".contains(*letter) || letter.is_control();
            prop_assert_eq!(inside.chars().find(special), None);
            // Each number sign begins a number that ends.
            for part in inside.split('#').skip(1) {
                let (number, _) = part.split_once(';').unwrap();
                prop_assert!(number.parse::<u32>().is_ok_and(|number| char::from_u32(number).is_some()));
            }
        }

        #[test]
        fn escaped_text_says_the_same(text in "\\PC*") {
            let mut read = String::new();
            let escaped = escaped(&text);
            let mut parts = escaped.split('#');
            read.push_str(parts.next().unwrap());
            for part in parts {
                let (number, rest) = part.split_once(';').unwrap();
                read.push(char::from_u32(number.parse().unwrap()).unwrap());
                read.push_str(rest);
            }
            prop_assert_eq!(read, text);
        }
    }
}
