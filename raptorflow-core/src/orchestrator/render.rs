//! A report as Markdown.

use std::fmt::{self, Write as _};

use serde_json::Value;

use crate::{
    orchestrator::{AgentChoice, Balance, Difference, Report, Section},
    types::AgentId,
};

impl Report {
    /// The report as Markdown: a section a team with every claim cited, then what disagrees, what was left out,
    /// who was chosen and why, and the sources.
    #[must_use]
    pub fn to_markdown(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = self.write(&mut text);
        text
    }

    fn write(&self, out: &mut String) -> fmt::Result {
        writeln!(out, "# {}\n", one_line(&self.goal))?;
        for section in &self.sections {
            write_section(out, section)?;
        }
        self.write_disagreements(out)?;
        self.write_escalations(out)?;
        if !self.dropped.is_empty() {
            writeln!(out, "## Left out\n")?;
            for it in &self.dropped {
                writeln!(out, "- {} ({}: {})", one_line(&it.text), it.agent, it.reason)?;
            }
            writeln!(out)?;
        }
        self.write_decision(out)?;
        writeln!(out, "## Sources\n")?;
        for source in &self.sources {
            let (first, last) = source.lines;
            let lines = if first == last { format!("line {first}") } else { format!("lines {first}-{last}") };
            write!(out, "{}. `{}`, {lines}", source.number, source.source)?;
            if !source.heading.is_empty() {
                write!(out, " ({})", source.heading)?;
            }
            writeln!(out)?;
        }
        Ok(())
    }

    fn write_disagreements(&self, out: &mut String) -> fmt::Result {
        writeln!(out, "## What disagreed\n")?;
        if self.disagreements.is_empty() {
            return writeln!(
                out,
                "No two claims share most of their words and differ in a number or a denial.\n"
            );
        }
        for (at, it) in self.disagreements.iter().enumerate() {
            let what = match it.difference {
                Difference::Numbers => "other numbers",
                Difference::Denial => "one denies the other",
            };
            writeln!(out, "- About {} ({what}):", it.about.join(", "))?;
            let settled = self.resolutions.iter().find(|resolution| resolution.disagreement == at);
            for (number, position) in it.positions.iter().enumerate() {
                let who = names(&position.agents);
                let holds = settled.is_some_and(|it| it.position == Some(number));
                let mark = if holds { " (this holds)" } else { "" };
                let claim = one_line(&position.claim);
                writeln!(out, "  - {claim} {} *({who})*{mark}", cites(&position.sources))?;
            }
            for said in settled.iter().flat_map(|it| &it.tried) {
                let verdict = if said.position.is_some() { "decided" } else { "did not decide" };
                writeln!(out, "  - By {}: {verdict}; {}.", said.by, one_line(&said.reason))?;
            }
        }
        writeln!(out)
    }

    fn write_escalations(&self, out: &mut String) -> fmt::Result {
        if self.escalations.is_empty() {
            return Ok(());
        }
        writeln!(out, "## What people were asked\n")?;
        for it in &self.escalations {
            writeln!(out, "- {} ({}): {}", it.rule, it.asked.join(", "), one_line(&it.prompt))?;
            match &it.by {
                Some(level) => writeln!(out, "  - {level}: {}", one_line(&it.answer.to_string()))?,
                None => writeln!(out, "  - Nobody answered in time.")?,
            }
        }
        writeln!(out)
    }

    fn write_decision(&self, out: &mut String) -> fmt::Result {
        writeln!(out, "## Who was chosen and why\n")?;
        writeln!(out, "Teams, by the {} router:\n", self.decision.router)?;
        for choice in &self.decision.teams {
            let verdict = if choice.chosen { "chosen" } else { "not chosen" };
            writeln!(out, "- {}: {verdict}, score {:.1}; {}.", choice.team, choice.score, choice.reason)?;
            if choice.chosen && choice.focus != self.goal {
                writeln!(out, "  Works on: {}.", one_line(&choice.focus))?;
            }
        }
        for step in &self.decision.steps {
            let verdict = if step.accepted { "accepted" } else { "passed over" };
            writeln!(out, "- On the way, {}: {verdict}; {}.", step.router, one_line(&step.reason))?;
        }
        writeln!(out, "\nAgents:\n")?;
        for choice in &self.decision.agents {
            writeln!(out, "- {}", describe(choice))?;
        }
        writeln!(out)
    }
}

fn write_section(out: &mut String, section: &Section) -> fmt::Result {
    writeln!(out, "## {}\n", section.heading)?;
    for claim in &section.claims {
        writeln!(out, "- {} {} *({})*", one_line(&claim.text), cites(&claim.sources), names(&claim.agents))?;
    }
    for (agent, details) in &section.details {
        let Value::Object(fields) = details else { continue };
        writeln!(out, "\n{agent} adds:\n")?;
        for (name, value) in fields {
            write_detail(out, name, value, 0)?;
        }
    }
    for missing in &section.missing {
        writeln!(out, "- No answer from {}: {}", missing.agent, missing.error)?;
    }
    if section.claims.is_empty() && section.missing.is_empty() {
        writeln!(out, "No claim with a source.")?;
    }
    writeln!(out)
}

fn write_detail(out: &mut String, name: &str, value: &Value, depth: usize) -> fmt::Result {
    let indent = "  ".repeat(depth);
    let label = name.replace('_', " ");
    match value {
        Value::Array(items) => {
            writeln!(out, "{indent}- {label}:")?;
            items
                .iter()
                .enumerate()
                .try_for_each(|(at, item)| write_detail(out, &format!("{}", at + 1), item, depth + 1))
        }
        Value::Object(fields) => {
            writeln!(out, "{indent}- {label}:")?;
            fields.iter().try_for_each(|(name, item)| write_detail(out, name, item, depth + 1))
        }
        Value::String(text) => writeln!(out, "{indent}- {label}: {}", one_line(text)),
        other => writeln!(out, "{indent}- {label}: {other}"),
    }
}

fn describe(choice: &AgentChoice) -> String {
    let balance = match choice.balance {
        Balance::BestFit => "best fit",
        Balance::RoundRobin => "its turn",
        Balance::LeastLoaded => "least work",
        Balance::HighestAvailability => "most available",
    };
    let task = choice.capability.as_deref().map(|name| format!(" for `{name}`")).unwrap_or_default();
    let words = if !choice.reason.is_empty() {
        one_line(&choice.reason)
    } else if choice.words.is_empty() {
        "shares no word with the goal".to_owned()
    } else {
        format!(
            "shares {}",
            choice.words.iter().take(5).map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
        )
    };
    format!("{} of {}{task}: {balance}, score {:.1}, {words}.", choice.agent, choice.team, choice.score)
}

fn cites(numbers: &[u32]) -> String {
    numbers.iter().map(|number| format!("[{number}]")).collect()
}

fn names(agents: &[AgentId]) -> String {
    agents.iter().map(AgentId::as_str).collect::<Vec<_>>().join(", ")
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
