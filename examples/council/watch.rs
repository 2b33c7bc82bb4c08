//! Shows on the standard error what happens: progress, and the council's events from the bus.

use std::sync::Arc;

use futures_util::StreamExt as _;
use indicatif::{ProgressBar, ProgressStyle};
use raptorflow_core::{
    Result,
    engine::{Outcome, RunEvents},
    event::{Event, EventKind},
};

/// One line for people; the standard output is for the brief alone.
#[expect(clippy::print_stderr, reason = "a program talks to its user")]
pub(crate) fn say(line: &str) {
    eprintln!("{line}");
}

/// A bar for documents; hidden where the standard error is no terminal.
pub(crate) fn bar(documents: usize) -> ProgressBar {
    let bar = ProgressBar::new(documents as u64);
    // The template is a constant that parses; the default style would do as well.
    if let Ok(style) = ProgressStyle::with_template("reading [{bar:30}] {pos}/{len} documents, {msg}") {
        bar.set_style(style);
    }
    bar
}

/// Shows the events of a run until it ends.
pub(crate) async fn watch(mut events: RunEvents) -> Result<Outcome> {
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => {
                if let Some(line) = line(&event) {
                    say(&line);
                }
            }
            Err(missed) => say(&format!("note: {missed}")),
        }
    }
    events.outcome().await
}

fn line(event: &Arc<Event>) -> Option<String> {
    let agent = event.agent.as_ref().map_or("-", |agent| agent.as_str());
    let who = match event.domain.as_deref() {
        Some(domain) => format!("{domain}/{agent}"),
        None => agent.to_owned(),
    };
    let what = match event.kind {
        EventKind::AgentStarted => "started".to_owned(),
        EventKind::AgentCompleted => {
            format!("done in {} ms", event.duration.unwrap_or_default().as_millis())
        }
        EventKind::AgentFailed => format!("failed: {}", event.data.get("error")?.as_str()?),
        EventKind::DataQueried => format!("reads {} passages", event.data.get("passages")?),
        EventKind::StatusUpdated => format!("is {}", event.data.get("state")?.as_str()?),
        _ => return None,
    };
    Some(format!("  {who:<34} {what}"))
}
