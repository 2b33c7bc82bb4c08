//! Agents whose answers a critic reads: rounds, the best of them, the journal, and what a resumed run does not repeat.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use async_trait::async_trait;
use raptorflow_core::{
    Engine,
    agent::review::{Check, Critic, CriticConfig, Draft, Finding, Reviewed, Severity, checks::LengthCheck},
    error::{Error, ErrorKind, Result},
    runtime::Context,
    testing::{Reply, ScriptedModel},
    types::Usage,
};
use serde_json::json;

use crate::support::{agent, engine, facts};

/// Finds each `bad` in an answer, counts how often it is asked, and fails where the count says so.
#[derive(Clone, Debug, Default)]
struct Bad {
    asked: Arc<AtomicUsize>,
    fails_at: Option<usize>,
}

#[async_trait]
impl Check for Bad {
    fn name(&self) -> &str {
        "bad"
    }

    async fn check(&self, _ctx: &Context, draft: &Draft) -> Result<Vec<Finding>> {
        let asked = self.asked.fetch_add(1, Ordering::SeqCst);
        if self.fails_at == Some(asked) {
            return Err(Error::new(ErrorKind::Unavailable, "host.check", "no answer"));
        }
        let text = draft.answer.to_string();
        let found = text.matches("bad").map(|_| Finding::new("bad", Severity::High, "no `bad` is wanted"));
        Ok(found.collect())
    }
}

async fn reviewed(script: &ScriptedModel, critic: Critic) -> Engine {
    let engine = engine(script).await;
    let writer = agent("writer").instructions("Write.").build().unwrap();
    engine.register(Reviewed::new(writer, critic)).unwrap();
    engine
}

fn replies(texts: &[&str]) -> ScriptedModel {
    ScriptedModel::new(texts.iter().map(|text| Reply::text(*text).with_usage(Usage::new(5, 1))))
}

/// What the model was told last, as one text.
fn told(script: &ScriptedModel, request: usize) -> String {
    script.requests()[request].messages.iter().map(|message| message.text() + "\n").collect()
}

#[tokio::test]
async fn an_answer_that_passes_is_asked_for_once() {
    let script = replies(&["fine"]);
    let engine = reviewed(&script, Critic::new().with(Bad::default())).await;
    assert_eq!(engine.run("writer", "go").await.unwrap().text(), "fine");
    assert_eq!(script.requests().len(), 1);
}

#[tokio::test]
async fn an_answer_between_is_given_back_and_a_poor_one_is_not() {
    let script = replies(&["bad bad bad, bananas", "bad bad bad bad, apples", "fine"]);
    let engine = reviewed(&script, Critic::new().with(Bad::default())).await;
    let outcome = engine.run("writer", "go").await.unwrap();
    assert_eq!((outcome.text(), outcome.usage), ("fine".into(), Usage::new(15, 3)));
    let (second, third) = (told(&script, 1), told(&script, 2));
    assert!(second.contains("bananas") && second.contains("no `bad` is wanted"), "{second}");
    assert!(!third.contains("apples") && third.contains("no `bad` is wanted"), "{third}");
    assert!(third.ends_with("go\n"), "the question itself stays as it is: {third}");
}

#[tokio::test]
async fn the_best_answer_is_kept_when_none_passes() {
    let script = replies(&["bad bad bad bad", "bad bad bad", "bad bad bad bad bad"]);
    let engine = reviewed(&script, Critic::new().with(Bad::default())).await;
    let outcome = engine.run("writer", "go").await.unwrap();
    assert_eq!((outcome.text(), script.requests().len()), ("bad bad bad".into(), 3));
    let config: CriticConfig = serde_json::from_value(json!({ "rounds": 1 })).unwrap();
    let script = replies(&["bad bad bad bad", "never asked"]);
    let engine = reviewed(&script, Critic::new().with(Bad::default()).configure(config).unwrap()).await;
    assert_eq!(engine.run("writer", "go").await.unwrap().text(), "bad bad bad bad");
}

#[tokio::test]
async fn every_round_and_review_is_in_the_journal() {
    let script = replies(&["bad bad bad", "fine"]);
    let engine = reviewed(&script, Critic::new().with(Bad::default())).await;
    let run = engine.run("writer", "go").await.unwrap().run_id;
    assert_eq!(
        facts(&engine, run).await,
        [
            "execution_started",
            "round_1: model_responded",
            "review_1: step_completed",
            "round_2: model_responded",
            "review_2: step_completed",
            "execution_completed",
        ]
    );
}

#[tokio::test]
async fn a_resumed_run_asks_no_model_and_no_check_again() {
    let script = replies(&["bad bad bad", "fine"]);
    let bad = Bad::default();
    let engine = reviewed(&script, Critic::new().with(bad.clone())).await;
    let id = engine.run("writer", "go").await.unwrap().run_id;
    assert_eq!(engine.resume(id).await.unwrap().text(), "fine");
    assert_eq!((script.requests().len(), bad.asked.load(Ordering::SeqCst)), (2, 2));
}

#[tokio::test]
async fn a_check_that_cannot_be_made_ends_the_run_with_its_name() {
    let script = replies(&["bad bad bad", "fine"]);
    let bad = Bad { fails_at: Some(1), ..Bad::default() };
    let engine = reviewed(&script, Critic::new().with(bad)).await;
    let err = engine.run("writer", "go").await.unwrap_err();
    assert_eq!((err.kind(), err.get("check")), (ErrorKind::Unavailable, Some("bad")));
}

#[tokio::test]
async fn a_passing_answer_in_two_rounds_by_a_check_of_this_crate() {
    let script = replies(&["one two three four five six seven", "one two"]);
    let strict: CriticConfig = serde_json::from_value(json!({ "pass": 100, "regenerate": 100 })).unwrap();
    let critic = Critic::new().with(LengthCheck::words(1, 3)).configure(strict).unwrap();
    let engine = reviewed(&script, critic).await;
    assert_eq!(engine.run("writer", "go").await.unwrap().text(), "one two");
    assert!(told(&script, 1).contains("at most 3 are wanted"));
}
