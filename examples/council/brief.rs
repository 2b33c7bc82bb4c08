//! The brief: the council's report with what it was made from and what it took.

use std::{fmt::Write as _, fs, time::Duration};

use raptorflow_core::{Error, ErrorKind, Result, engine::Outcome, orchestrator::Report};
use serde_json::json;

use crate::{cli::Arguments, prepare::Meta, watch};

/// Who answers; the first line of everything that the council says.
pub(crate) fn first_line(model: &str) -> String {
    if model.starts_with("offline:") {
        format!(
            "Answered by {model}: no language model, it quotes the documents word for word. \
             Set OPENAI_API_KEY, ANTHROPIC_API_KEY or OPENAI_BASE_URL, or use --model, for one."
        )
    } else {
        format!("Answered by {model}.")
    }
}

/// Writes the brief to where it was asked for.
pub(crate) fn write(arguments: &Arguments, meta: &Meta, outcome: &Outcome, elapsed: Duration) -> Result<()> {
    let report: Report = serde_json::from_value(outcome.output.clone()).map_err(|err| {
        Error::new(ErrorKind::Internal, "council.brief", "the report does not parse").caused_by(err)
    })?;
    let text = if arguments.json {
        json(meta, outcome, &report, elapsed)
    } else {
        markdown(meta, outcome, &report, elapsed)
    };
    match &arguments.out {
        Some(file) => {
            fs::write(file, &text).map_err(|err| {
                Error::new(ErrorKind::InvalidInput, "council.out", "the brief cannot be written")
                    .with("file", file.display())
                    .with("run", outcome.run_id)
                    .caused_by(err)
            })?;
            let claims: usize = report.sections.iter().map(|section| section.claims.len()).sum();
            watch::say(&format!(
                "wrote {}: {} sections, {claims} claims, {} sources",
                file.display(),
                report.sections.len(),
                report.sources.len()
            ));
            Ok(())
        }
        None => print(&text),
    }
}

fn print(text: &str) -> Result<()> {
    use std::io::Write as _;
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        // A reader that had enough, like `head`, is no fault.
        Err(err) if err.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Error::new(ErrorKind::Unavailable, "council.out", "the brief cannot be printed")
                .caused_by(err))
        }
        _ => Ok(()),
    }
}

fn cost(outcome: &Outcome) -> String {
    outcome
        .cost
        .map_or_else(|| "unknown: no price is known for the model".to_owned(), |cost| cost.to_string())
}

fn markdown(meta: &Meta, outcome: &Outcome, report: &Report, elapsed: Duration) -> String {
    let mut text = format!("{}\n\n{}", first_line(&meta.model), report.to_markdown());
    // Writing to a string cannot fail.
    let _ = writeln!(
        text,
        "\n## The run\n\n- Documents: {} in `{}`\n- Model: {}\n- Tokens: {} in, {} out\n- Cost: {}\n- Run: {}\n- Time: {} ms",
        meta.documents,
        meta.docs.display(),
        meta.model,
        outcome.usage.input_tokens,
        outcome.usage.output_tokens,
        cost(outcome),
        outcome.run_id,
        elapsed.as_millis(),
    );
    text
}

fn json(meta: &Meta, outcome: &Outcome, report: &Report, elapsed: Duration) -> String {
    let value = json!({
        "answered_by": first_line(&meta.model),
        "report": report,
        "documents": { "folder": meta.docs, "count": meta.documents, "digest": meta.digest },
        "model": meta.model,
        "usage": outcome.usage,
        "cost": outcome.cost,
        "run": outcome.run_id,
        "milliseconds": u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
    });
    format!("{value:#}\n")
}
