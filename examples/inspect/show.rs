//! Writes runs and their steps as text.

use std::time::Duration;

use raptorflow_core::{
    journal::{Entry, OutlineNode, RunState, Spent, StepStatus, Summary},
    types::RunId,
};
use serde_json::Value;

/// One line of the answer.
#[expect(clippy::print_stdout, reason = "a program shows its answer")]
pub(crate) fn say(line: &str) {
    println!("{}", line.trim_end());
}

/// The runs, one a line.
pub(crate) fn runs(runs: &[(RunId, Summary)]) {
    if runs.is_empty() {
        say("no runs");
        return;
    }
    let mut rows = vec![["run", "target", "status", "started", "took", "entries", "cost"].map(str::to_owned)];
    rows.extend(runs.iter().map(|(run, summary)| {
        let took = summary.ended.map_or_else(String::new, |ended| duration(ended.since(summary.started)));
        let started = summary.started.to_string();
        let (target, status) = (summary.target.clone(), summary.status.to_string());
        [run.to_string(), target, status, started, took, summary.entries.to_string(), cost(&spent(summary))]
    }));
    table(&rows);
}

/// A run as a tree of its steps, and what it waits for.
pub(crate) fn run(run: RunId, state: &RunState, at: Option<u64>) {
    let summary = &state.summary;
    say("");
    let when = at.map_or_else(String::new, |at| format!(", as it was after {at} entries"));
    say(&format!("run {run}: {} is {}{when}", summary.target, summary.status));
    let took = summary.ended.map(|ended| format!(", took {}", duration(ended.since(summary.started))));
    say(&format!("started {}{}, {} entries", summary.started, took.unwrap_or_default(), summary.entries));
    if let Some((from, at)) = state.forked_from {
        say(&format!("forked from {from} after {at} entries"));
    }
    if let Some(err) = &summary.error {
        say(&format!("error: {err}"));
    }
    say("");
    let outline = state.outline();
    let mut rows = vec![["step", "status", "took", "attempts", "tokens", "cost"].map(str::to_owned)];
    rows.extend(outline.iter().enumerate().map(|(at, node)| row(&outline, at, node)));
    rows.push([
        "all".to_owned(),
        String::new(),
        String::new(),
        String::new(),
        tokens(&spent(summary)),
        cost(&spent(summary)),
    ]);
    table(&rows);
    for step in &state.steps {
        if let Some(err) = &step.error {
            say(&format!("{}: {err}", step.path));
        }
    }
    for asked in &state.questions {
        let who = asked
            .question
            .approvers
            .as_ref()
            .map_or_else(String::new, |who| format!(" of {}", who.join(", ")));
        say(&format!("{} waits for an answer{who}: {}", asked.path, asked.question.prompt));
    }
    for timer in &state.timers {
        say(&format!("{} waits until {}", timer.path, timer.due));
    }
    for signal in &state.signals {
        let by = signal.by.as_ref().map_or_else(String::new, |by| format!(" by {by}"));
        say(&format!("{} was answered{by} at {}", signal.name, signal.time));
    }
    for child in &state.children {
        say(&format!("{} runs {} as {}", child.path, child.target, child.run));
    }
}

/// The entries, one a line; the content is left out.
pub(crate) fn entries(entries: &[Entry]) {
    say("");
    let mut rows = vec![["entry", "time", "path", "fact"].map(str::to_owned)];
    rows.extend(entries.iter().map(|entry| {
        let number = (entry.sequence + 1).to_string();
        [number, entry.time.to_string(), entry.path.to_string(), name(entry)]
    }));
    table(&rows);
}

fn row(outline: &[OutlineNode<'_>], at: usize, node: &OutlineNode<'_>) -> [String; 6] {
    let status = node.step.map_or("", |step| match step.status {
        StepStatus::Running => "running",
        StepStatus::Waiting => "waiting",
        StepStatus::Completed => "completed",
        StepStatus::Failed => "failed",
        StepStatus::Stopped => "stopped",
    });
    let attempts = node.step.map_or_else(String::new, |step| step.attempts.to_string());
    let took = duration(node.last.since(node.started));
    let name = format!("{}{}", branch(outline, at, node.depth), node.name);
    [name, status.to_owned(), took, attempts, tokens(&node.spent), cost(&node.spent)]
}

/// The lines to the left of a name: one for each step above that has further ones below it.
fn branch(outline: &[OutlineNode<'_>], at: usize, depth: usize) -> String {
    let goes_on = |level: usize| {
        let mut later = outline.iter().skip(at + 1).map(|node| node.depth);
        later.find(|depth| *depth <= level) == Some(level)
    };
    let above = (0..depth).map(|level| if goes_on(level) { "│  " } else { "   " });
    above.chain([if goes_on(depth) { "├─ " } else { "└─ " }]).collect()
}

fn name(entry: &Entry) -> String {
    match serde_json::to_value(&entry.fact) {
        Ok(Value::String(name)) => name,
        Ok(Value::Object(fields)) => fields.keys().next().cloned().unwrap_or_default(),
        _ => String::new(),
    }
}

fn spent(summary: &Summary) -> Spent {
    let Summary { usage, cost, model_calls, tool_calls, .. } = *summary;
    Spent { usage, cost, model_calls, tool_calls }
}

fn tokens(spent: &Spent) -> String {
    let usage = &spent.usage;
    if spent.model_calls == 0 {
        String::new()
    } else {
        format!("{} + {}", usage.input_tokens, usage.output_tokens)
    }
}

fn cost(spent: &Spent) -> String {
    match spent.cost {
        _ if spent.model_calls == 0 => String::new(),
        Some(cost) => cost.to_string(),
        None => "unknown".to_owned(),
    }
}

fn duration(took: Duration) -> String {
    let micros = took.as_micros();
    match micros {
        0..1_000 => format!("{micros} us"),
        1_000..1_000_000 => format!("{:.1} ms", took.as_secs_f64() * 1e3),
        1_000_000..120_000_000 => format!("{:.1} s", took.as_secs_f64()),
        120_000_000..7_200_000_000 => format!("{} min", took.as_secs() / 60),
        _ => format!("{:.1} h", took.as_secs_f64() / 3600.0),
    }
}

/// Rows in columns as wide as their widest text.
fn table<const N: usize>(rows: &[[String; N]]) {
    let width = |column: usize| {
        let widths = rows.iter().filter_map(|row| row.get(column)).map(|text| text.chars().count());
        widths.max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..N).map(width).collect();
    for row in rows {
        let cells = row.iter().zip(&widths).map(|(text, width)| format!("{text:<width$}"));
        say(&cells.collect::<Vec<_>>().join("  "));
    }
}
