//! Agents that work by a skill: what they ask, what they are bounded by, and what a resumed run goes on with.

use std::{fs, path::Path, time::Duration};

use raptorflow_core::{
    Engine, ErrorKind,
    agent::{SkillAgent, SkillFinder},
    error::Error,
    model::{Model, ModelInfo},
    rag::HashingEmbedder,
    runtime::Context,
    skill::{Skill, SkillRegistry},
    testing::{Reply, ScriptedModel},
    tool,
    types::{Finish, Limit, Role},
};
use serde_json::json;

use crate::support::{MODEL, engine, settle, standing_still};

/// A skill with one input that is required and one that is not.
fn greet(front: &str, mission: &str) -> String {
    format!(
        "---\nskill_id: talk.greet.v1\nname: Greet\ndescription: Greets somebody.\nversion: 1.0.0\n{front}inputs:\n  \
         who: string\n  tone: {{ type: string, enum: [warm, cool], default: warm }}\n---\n## MISSION\n{mission}\n\n\
         ## CONTEXT INJECTION\n{{{{ who }}}}\n"
    )
}

fn skill(front: &str) -> Skill {
    Skill::parse(&greet(front, "Greet in a {{ tone }} tone.")).unwrap()
}

async fn ready(script: &ScriptedModel, skill: Skill) -> Engine {
    let engine = engine(script).await;
    engine.register(SkillAgent::new(skill).unwrap()).unwrap();
    engine
}

#[tokio::test]
async fn instructions_and_what_came_from_outside_are_messages_of_their_own() {
    let script = ScriptedModel::new([Reply::text("Hello!"), Reply::text("Hello!")]);
    let engine = ready(&script, skill("")).await;
    let outcome = engine.run("talk.greet.v1", json!({"who": "Asha", "tone": "cool"})).await.unwrap();
    assert_eq!(outcome.text(), "Hello!");
    // A text is the only input that is required.
    engine.run("talk.greet.v1", "Ravi").await.unwrap();
    let requests = script.requests();
    for (request, tone, who) in [(&requests[0], "cool", "Asha"), (&requests[1], "warm", "Ravi")] {
        let [system, user] = request.messages.as_slice() else { panic!("{:?}", request.messages) };
        assert_eq!((system.role, user.role), (Role::System, Role::User));
        assert!(system.text().contains(&format!("Greet in a {tone} tone.")), "{}", system.text());
        assert!(!system.text().contains(who) && user.text().contains(who), "{}", user.text());
    }
}

#[tokio::test]
async fn inputs_that_do_not_fit_are_named_before_the_model_is_asked() {
    let script = ScriptedModel::new([]);
    let engine = ready(&script, skill("")).await;
    let err = engine.run("talk.greet.v1", json!({"who": 5, "tone": "hot"})).await.unwrap_err();
    assert_eq!((err.kind(), err.get("skill")), (ErrorKind::InvalidInput, Some("talk.greet.v1")));
    let told = format!("{err:?}");
    assert!(told.contains("/who") && told.contains("/tone"), "{told}");
    assert!(script.requests().is_empty());
}

#[tokio::test]
async fn settings_of_the_model_are_those_of_the_skill() {
    let script = ScriptedModel::new([Reply::text("Hello!")]);
    let front = "model:\n  temperature: 0.25\n  max_tokens: 300\n  top_p: 0.5\n";
    let engine = ready(&script, skill(front)).await;
    engine.run("talk.greet.v1", "Asha").await.unwrap();
    let request = script.requests().remove(0);
    let found = (request.temperature, request.max_output_tokens, request.top_p);
    assert_eq!(found, (Some(0.25), Some(300), Some(0.5)));
}

#[tokio::test]
async fn a_model_that_fails_gives_way_to_the_next_one_that_the_skill_names() {
    let down =
        ScriptedModel::new([]).always(Reply::error(Error::new(ErrorKind::Unavailable, "test", "down")));
    let up = ScriptedModel::new([Reply::text("Hello from the second!")]);
    let engine = Engine::builder().layers(raptorflow_core::model::Layers::new()).build().await.unwrap();
    for (name, script) in [("scripted:first", &down), ("scripted:second", &up)] {
        let model = script.clone().with_info(ModelInfo::new(name));
        engine.register_model(name, Model::new(model)).unwrap();
    }
    let front = "model:\n  primary: scripted:first\n  fallback: [scripted:second]\n";
    engine.register(SkillAgent::new(skill(front)).unwrap()).unwrap();
    let outcome = engine.run("talk.greet.v1", "Asha").await.unwrap();
    assert_eq!(outcome.text(), "Hello from the second!");
    // What the host says goes before what the skill says.
    let own = Model::new(ScriptedModel::new([Reply::text("Hello from the host!")]));
    let agent = SkillAgent::new(skill(front)).unwrap().with_model(own);
    assert_eq!(
        engine.run(raptorflow_core::Agent::new(agent), "Asha").await.unwrap().text(),
        "Hello from the host!"
    );
}

/// Counts.
#[tool]
fn count() -> u32 {
    7
}

#[tokio::test]
async fn a_tool_that_the_skill_requires_must_be_known_and_an_optional_one_may_be() {
    let front = "tools:\n  required: [count]\n  optional: [search]\n";
    let script = ScriptedModel::new([Reply::text("Seven.")]);
    let engine = ready(&script, skill(front)).await;
    let err = engine.run("talk.greet.v1", "Asha").await.unwrap_err();
    assert_eq!(err.kind(), ErrorKind::NotFound);
    assert!(format!("{err:?}").contains("count"), "{err:?}");
    let agent = SkillAgent::new(skill(front)).unwrap().with_tool(count).unwrap();
    let script = ScriptedModel::new([Reply::text("Seven.")]);
    let engine = crate::support::engine(&script).await;
    engine.run(raptorflow_core::Agent::new(agent), "Asha").await.unwrap();
    let offered: Vec<String> = script.requests()[0].tools.iter().map(|tool| tool.name.clone()).collect();
    assert_eq!(offered, ["count"]);
}

#[tokio::test]
async fn a_run_that_costs_what_the_skill_allows_ends_with_what_it_has() {
    let front = "limits:\n  max_cost: 0.000001\ntools:\n  optional: [count]\n";
    let ask = || Reply::tool_call("count", &json!({})).with_usage(raptorflow_core::types::Usage::new(10, 10));
    let script = ScriptedModel::new([ask(), ask(), Reply::text("late")]);
    let prices = format!(
        "[[price]]\nmodel = \"{MODEL}\"\ncurrency = \"USD\"\ninput = 1_000_000\noutput = 1_000_000\nvalid_from = 2000-01-01\n"
    );
    let prices = raptorflow_core::economics::PriceBook::from_toml("prices.toml", &prices).unwrap();
    let builder = Engine::builder().tool(count).prices(prices);
    let engine = crate::support::built(builder, &script).await;
    engine.register(SkillAgent::new(skill(front)).unwrap()).unwrap();
    let outcome = engine.run("talk.greet.v1", "Asha").await.unwrap();
    assert_eq!(outcome.finish, Finish::Limited(Limit::Cost));
    assert_eq!(script.requests().len(), 1);
}

fn write(folder: &Path, mission: &str) {
    fs::write(folder.join("greet.md"), greet("", mission)).unwrap();
}

#[tokio::test]
async fn a_resumed_run_goes_on_with_the_text_that_it_began_with_and_the_next_one_has_the_new_text() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "Greet as it was.");
    let skills = SkillRegistry::load(folder.path()).unwrap();
    let err = || Reply::error(Error::new(ErrorKind::InvalidInput, "test", "no"));
    let script = ScriptedModel::new([err(), Reply::text("one"), Reply::text("two")]);
    let engine = engine(&script).await;
    engine.install_skills(&skills).unwrap();
    let failed = engine.run("talk.greet.v1", "Asha").await.unwrap_err();
    write(folder.path(), "Greet as it is now.");
    assert_eq!(skills.reload().unwrap().changed.len(), 1);
    engine.resume(failed.get("run").unwrap().parse().unwrap()).await.unwrap();
    engine.run("talk.greet.v1", "Asha").await.unwrap();
    let said: Vec<String> = script.requests().iter().map(|request| request.messages[0].text()).collect();
    assert!(said[0].contains("as it was") && said[1].contains("as it was"), "{said:?}");
    assert!(said[2].contains("as it is now"), "{said:?}");
}

#[tokio::test]
async fn a_watched_folder_is_read_again_and_tells_what_changed() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "Greet.");
    let skills = SkillRegistry::load(folder.path()).unwrap();
    let (clock, runtime) = standing_still();
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let watch = skills.watch(&runtime, Duration::from_secs(1), move |report| tell.send(report).unwrap());
    let second = async || {
        settle().await;
        clock.advance(Duration::from_secs(1));
    };
    write(folder.path(), "Greet {{ nobody.");
    second().await;
    let kept = told.recv().await.unwrap().unwrap();
    assert_eq!(kept.kept.len(), 1);
    assert!(kept.problems.iter().any(|problem| problem.line > 1), "{:?}", kept.problems);
    fs::remove_file(folder.path().join("greet.md")).unwrap();
    second().await;
    assert_eq!(told.recv().await.unwrap().unwrap().removed.len(), 1);
    fs::remove_dir(folder.path()).unwrap();
    second().await;
    assert_eq!(told.recv().await.unwrap().unwrap_err().kind(), ErrorKind::NotFound);
    drop(watch);
    assert!(told.recv().await.is_none(), "the task ends with the watch");
}

#[tokio::test]
async fn skills_are_found_by_what_they_are_about_also_after_a_reload() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, about: &str| {
        let front = format!("skill_id: work.{name}.v1\nname: Work\ndescription: {about}\nversion: 1.0.0");
        fs::write(folder.path().join(format!("{name}.md")), format!("---\n{front}\n---\n## MISSION\nDo.\n"))
            .unwrap();
    };
    file("tax", "Works out the tax on an invoice.");
    file("poem", "Writes a poem about spring.");
    let skills = SkillRegistry::load(folder.path()).unwrap();
    let finder = SkillFinder::new(skills.clone(), HashingEmbedder::default()).await.unwrap();
    let (_, runtime) = standing_still();
    let ctx = Context::new(&runtime);
    let best = async |task: &str| -> Option<String> {
        finder.find(&ctx, task, 1).await.unwrap().first().map(|found| found.skill.id.to_string())
    };
    assert_eq!(best("an invoice with tax").await.as_deref(), Some("work.tax.v1"));
    file("poem", "Works out what a parcel costs to send.");
    fs::remove_file(folder.path().join("tax.md")).unwrap();
    skills.reload().unwrap();
    assert_eq!(best("what does a parcel cost").await.as_deref(), Some("work.poem.v1"));
    assert_ne!(best("an invoice with tax").await.as_deref(), Some("work.tax.v1"));
    fs::remove_file(folder.path().join("poem.md")).unwrap();
    skills.reload().unwrap();
    assert_eq!(best("anything").await, None);
}
