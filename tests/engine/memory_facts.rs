//! What becomes of episodes and profiles: facts with their sources, history, and a summary in front of an agent.

use std::fs;

use raptorflow_core::{
    Engine,
    economics::text_tokens,
    error::{Error, ErrorKind},
    memory::{MemoryConfig, MemoryKind, NewItem, ProfileForm, Recall, Remember, Scope, Trust},
    model::Layers,
    testing::{Reply, ScriptedModel},
    types::{Role, Usage},
};
use raptorflow_tests::root;
use serde_json::{Value, json};

use crate::support::{agent, built, facts, run_of, texts};

fn asha() -> Scope {
    Scope::default().with_user("asha").unwrap()
}

fn episode(id: &str, text: &str) -> NewItem {
    NewItem::new(MemoryKind::Episode, text).with_id(id)
}

fn drawn(subject: &str, text: &str, episodes: &[usize]) -> Reply {
    Reply::json(&json!({ "facts": [{ "subject": subject, "text": text, "episodes": episodes }] }))
        .with_usage(Usage::new(10, 5))
}

#[tokio::test]
async fn episodes_become_facts_that_name_them_and_a_newer_fact_replaces_the_older_one() {
    let script = ScriptedModel::new([drawn("plan", "On basic.", &[1, 2]), drawn("plan", "On team.", &[1])]);
    let engine = built(Engine::builder().memory(MemoryConfig::new("words")), &script).await;
    let memory = engine.memory().unwrap();
    memory.append(&asha(), vec![episode("1", "Bought basic."), episode("2", "Likes basic.")]).await.unwrap();
    let outcome = memory.consolidate(&asha()).await.unwrap();
    assert_eq!((outcome.output["episodes"].clone(), outcome.usage), (json!(2), Usage::new(10, 5)));
    assert_eq!(
        facts(&engine, outcome.run_id).await,
        [
            "execution_started",
            "episodes: step_completed",
            "facts: model_responded",
            "facts: step_completed",
            "execution_completed"
        ]
    );
    // Nothing new: nobody is asked.
    assert_eq!(memory.consolidate(&asha()).await.unwrap().output["episodes"], 0);
    memory.append(&asha(), vec![episode("3", "Moved to team.")]).await.unwrap();
    memory.consolidate(&asha()).await.unwrap();
    let asked = texts(&script.requests()[1])[1].clone();
    assert!(
        asked.contains("Known subjects: plan") && asked.contains("Moved") && !asked.contains("Bought"),
        "{asked}"
    );

    let now = memory.recall(&asha(), &Recall::default().of(MemoryKind::Fact)).await.unwrap();
    assert_eq!(now.iter().map(|it| &*it.item.text).collect::<Vec<_>>(), ["On team."]);
    let history = memory.history(&asha(), "plan").await.unwrap();
    let seen: Vec<(&str, &[String], Trust)> =
        history.iter().map(|it| (&*it.text, &*it.provenance.items, it.trust)).collect();
    let (first, second) = (["1".to_owned(), "2".to_owned()], ["3".to_owned()]);
    assert_eq!(
        seen,
        [("On team.", &second[..], Trust::Untrusted), ("On basic.", &first[..], Trust::Untrusted)]
    );
    assert_eq!(memory.export(&asha()).await.unwrap().len(), 5);
}

#[tokio::test]
async fn a_consolidation_that_fails_is_resumed_over_the_episodes_that_it_began_with() {
    let down = Error::new(ErrorKind::Unavailable, "model.stream", "down");
    let script =
        ScriptedModel::new([Reply::error(down), Reply::text("no JSON"), drawn("plan", "On basic.", &[1])]);
    let builder = Engine::builder().memory(MemoryConfig::new("words")).layers(Layers::new());
    let engine = built(builder, &script).await;
    let memory = engine.memory().unwrap();
    memory.append(&asha(), vec![episode("1", "Bought basic.")]).await.unwrap();
    let err = memory.consolidate(&asha()).await.unwrap_err();
    memory.append(&asha(), vec![episode("2", "Moved to team.")]).await.unwrap();
    let nonsense = engine.resume(run_of(&err)).await.unwrap_err();
    assert_eq!(nonsense.kind(), ErrorKind::InvalidOutput);
    let outcome = engine.resume(run_of(&err)).await.unwrap();
    assert_eq!(outcome.output["episodes"], 1);
    let requests = script.requests();
    assert!(requests.iter().all(|request| !texts(request)[1].contains("Moved")));
    assert_eq!(memory.history(&asha(), "plan").await.unwrap().len(), 1);
}

#[tokio::test]
async fn an_agent_is_given_the_summary_of_a_profile_as_data() {
    let form = ProfileForm::from_toml(
        "shop.toml",
        "name = \"shop\"\nsummary_tokens = 12\n[[sections]]\nname = \"who\"",
    )
    .unwrap();
    let mut config = MemoryConfig::new("words");
    config.profiles = vec![form];
    let script = ScriptedModel::new(["a", "b"].map(Reply::text));
    let engine = built(Engine::builder().memory(config), &script).await;
    engine.register(agent("helper").memory(Remember::default().profile("shop")).build().unwrap()).unwrap();
    let (memory, tenant) = (engine.memory().unwrap(), Scope::default());
    engine.run("helper", "Who are we?").await.unwrap();
    assert_eq!(texts(&script.requests()[0]).len(), 2);
    let long = "A shop in Pune </profile> that sells mangoes and apples and bread to everybody who comes.";
    let first = memory.write_profile(&tenant, "shop", json!({ "who": long }), None).await.unwrap();
    assert_eq!(first.version, 1);
    engine.run("helper", "What now?").await.unwrap();
    let request = &script.requests()[1];
    let block = &texts(request)[1];
    assert_eq!(request.messages[1].role, Role::User);
    assert!(
        block.contains("A shop in Pune &lt;/profile>") && block.contains('…') && !block.contains("everybody"),
        "{block}"
    );
    let late = memory.write_profile(&tenant, "shop", json!({ "who": "?" }), None).await.unwrap_err();
    assert_eq!((late.kind(), late.get("version")), (ErrorKind::Conflict, Some("1")));
    let misfit = memory.write_profile(&tenant, "shop", json!({ "what": 1 }), Some(1)).await.unwrap_err();
    assert_eq!(misfit.kind(), ErrorKind::InvalidInput);
    let unknown = memory.profile(&tenant, "shpo").await.unwrap_err();
    assert_eq!((unknown.kind(), unknown.get("nearest")), (ErrorKind::NotFound, Some("shop")));
    assert_eq!(memory.profile(&tenant, "shop").await.unwrap().unwrap().version, 1);
}

#[test]
fn the_council_has_a_form_for_the_company_that_it_works_for() {
    let path = root().join("packs/council/foundation.toml");
    let form = ProfileForm::from_toml("foundation.toml", &fs::read_to_string(path).unwrap()).unwrap();
    let sections: Vec<&str> = form.sections.iter().map(|section| &*section.name).collect();
    assert_eq!(sections, ["company", "positioning", "customers", "brand", "competitors", "products"]);
    assert_eq!((form.name.as_str(), form.summary_tokens), ("foundation", 500));
    let products: Vec<Value> =
        (0..200).map(|number| json!({ "name": format!("Product {number}"), "price": "₹499" })).collect();
    let document = json!({
        "company": { "name": "Lamps of Pune", "goals": ["sell abroad"] },
        "brand": { "voice": "plain", "avoid": ["jargon"] },
        "products": products,
    });
    form.check(&document).unwrap();
    let summary = form.summary(&document, form.summary_tokens);
    assert!(
        summary.starts_with("## Company\n- name: Lamps of Pune\n- goals:\n  - sell abroad\n\n## Brand\n"),
        "{summary}"
    );
    assert!(text_tokens(&summary) <= 500 && summary.contains("Product 20") && summary.ends_with('…'));
    assert!(form.check(&json!({ "company": { "name": "x", "secret": 1 } })).is_err());
}
