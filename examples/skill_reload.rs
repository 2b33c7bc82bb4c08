//! An agent works by a skill in a file; the file changes while the program runs, once for the worse.

use std::{fs, path::Path, time::Duration};

use raptorflow_core::{
    Engine,
    agent::SkillFinder,
    model::{ChatRequest, FunctionModel, Model, ModelInfo},
    rag::HashingEmbedder,
    runtime::Context,
    skill::SkillRegistry,
    types::Message,
};
use serde_json::{Value, json};

const FRONT: &str = "\
---
skill_id: talk.greet.v1
name: Greet
description: Greets somebody by name.
version: 1.0.0
inputs:
  who: string
---
## MISSION
";

/// Stands in for a language model: says what it was told to do.
fn answer(request: &ChatRequest) -> Value {
    let told = request.messages.first().map(Message::text).unwrap_or_default();
    json!(told.lines().nth(1).unwrap_or_default())
}

/// Puts the file in place at once, so that nobody reads half of it.
fn write(folder: &Path, mission: &str) -> std::io::Result<()> {
    fs::write(folder.join("greet.new"), format!("{FRONT}{mission}\n"))?;
    fs::rename(folder.join("greet.new"), folder.join("greet.md"))
}

#[tokio::main]
#[expect(clippy::print_stdout, reason = "an example shows its result")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    write(folder.path(), "Greet in one word.")?;
    let skills = SkillRegistry::load(folder.path())?;

    let model = Model::new(FunctionModel::new(ModelInfo::new("host:rule"), |_ctx, request| async move {
        Ok(answer(&request))
    }));
    let engine = Engine::builder().default_model("host:rule").build().await?;
    engine.register_model("host:rule", model)?;
    engine.install_skills(&skills)?;

    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let watch = skills.watch(engine.runtime(), Duration::from_millis(20), move |report| {
        // The program may have ended.
        let _ = tell.send(report);
    });

    let who = json!({ "who": "Asha" });
    println!("first:  {}", engine.run("talk.greet.v1", who.clone()).await?.text());

    write(folder.path(), "Greet at length.")?;
    let report = told.recv().await.ok_or("the watch has ended")??;
    println!("reload: {} changed", report.changed.len());
    println!("second: {}", engine.run("talk.greet.v1", who.clone()).await?.text());

    write(folder.path(), "Greet {{ whom.")?;
    let report = told.recv().await.ok_or("the watch has ended")??;
    for problem in &report.problems {
        println!("reload: kept {}, because line {}: {}", report.kept.len(), problem.line, problem.message);
    }
    println!("third:  {}", engine.run("talk.greet.v1", who).await?.text());
    drop(watch);

    let finder = SkillFinder::new(skills, HashingEmbedder::default()).await?;
    let found = finder.find(&Context::new(engine.runtime()), "say hello to a person by name", 1).await?;
    println!("found:  {}", found.first().map_or("nothing", |found| found.skill.id.as_str()));
    Ok(())
}
