//! `ActionCheck`: the answer says what to do next.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{
    agent::review::{Check, Draft, Finding, Severity, words::Words},
    error::Result,
    runtime::Context,
};

const NAME: &str = "actionability";

/// Finds answers without concrete next steps, as one medium finding.
///
/// A step is a line of a numbered list, an open or ticked box, or a line with one of the markers, such as the verbs and
/// phrases that begin a step in the language of the answer.
/// It sees that there are steps, and not whether they are sensible, or possible at all.
///
/// ```
/// use raptorflow_core::{agent::review::{Critic, Draft, checks::ActionCheck}, runtime::{Context, Runtime}};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> raptorflow_core::Result<()> {
/// let ctx = Context::new(&Runtime::current()?);
/// let critic = Critic::new().with(ActionCheck { markers: vec!["by friday".into()], ..ActionCheck::default() });
/// assert_eq!(critic.review(&ctx, &Draft::new("", "Send the offer by Friday.")).await?.score, 100);
/// assert_eq!(critic.review(&ctx, &Draft::new("", "1. Write it\n2. Send it")).await?.score, 100);
/// assert_eq!(critic.review(&ctx, &Draft::new("", "Growth matters.")).await?.score, 92);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ActionCheck {
    /// Words and phrases that a step has.
    pub markers: Vec<String>,
    /// Whether lines of numbered lists and boxes are steps; true by default.
    pub lists: bool,
    /// How many steps there must be; 1 by default.
    pub at_least: usize,
}

impl Default for ActionCheck {
    fn default() -> Self {
        Self { markers: Vec::new(), lists: true, at_least: 1 }
    }
}

impl ActionCheck {
    fn is_step(&self, line: &str) -> bool {
        if self.lists && is_item(line) {
            return true;
        }
        let words = Words::new(line);
        self.markers.iter().any(|marker| words.has(marker))
    }

    fn find(&self, draft: &Draft) -> Option<Finding> {
        let texts = draft.texts();
        let lines = texts.iter().flat_map(|(_, text)| text.lines());
        let steps = lines.filter(|line| self.is_step(line)).take(self.at_least).count();
        (steps < self.at_least).then(|| {
            let message =
                format!("the answer has {steps} concrete next steps; at least {} are wanted", self.at_least);
            Finding::new(NAME, Severity::Medium, message).with_hint("Say what to do next, step by step.")
        })
    }
}

/// `1. …`, `2) …`, `- [ ] …`, `* [x] …`.
fn is_item(line: &str) -> bool {
    let line = line.trim_start();
    let rest = line.trim_start_matches(|c: char| c.is_numeric());
    let numbered = rest.len() < line.len() && (rest.starts_with(". ") || rest.starts_with(") "));
    let boxed = line
        .strip_prefix(['-', '*', '+'])
        .map(str::trim_start)
        .is_some_and(|item| ["[ ] ", "[x] ", "[X] "].iter().any(|mark| item.starts_with(mark)));
    numbered || boxed
}

#[async_trait]
impl Check for ActionCheck {
    fn name(&self) -> &str {
        NAME
    }

    async fn check(&self, _ctx: &Context, draft: &Draft) -> Result<Vec<Finding>> {
        Ok(self.find(draft).into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_lines_of_lists_and_lines_with_markers() {
        let check = |answer: &str, steps: usize| {
            for at_least in 1..=4 {
                let check = ActionCheck { markers: vec!["senden sie".into()], at_least, lists: true };
                assert_eq!(check.find(&Draft::new("", answer)).is_none(), steps >= at_least, "{answer}");
            }
        };
        check("1. a\n  2) b\n- [ ] c", 3);
        check("१. पहला\nSenden Sie es.", 2);
        check("- a\n1.5 million\n* [y] b\n2026 is far\n1.", 0);
        check("", 0);
    }
}
