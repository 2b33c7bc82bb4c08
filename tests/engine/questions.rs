//! What a run asks, as those see it who look at the run.

use raptorflow_core::{
    journal::{Fact, Question},
    workflow::{Step, after},
};
use serde_json::{Value, json};

use crate::flows::{Host, Notes, at_path, flow, kill};

fn asking() -> Step {
    after("draft").prompt("Publish this?").choices([true, false]).approvers(["anna"])
}

#[tokio::test]
async fn a_question_stands_in_the_state_until_it_is_answered_and_is_recorded_once_over_restarts() {
    let (host, notes) = (Host::new(), Notes::default());
    let flow = flow().step("draft", notes.gives("text")).gate("approve", asking()).build().unwrap();
    let (engine, run) = host.start(&flow, Value::Null).await;
    let id = run.id();
    let state = engine.state(id, None).await.unwrap();
    let [asked] = &state.questions[..] else { panic!("{:?}", state.questions) };
    let expected = Question {
        prompt: "Publish this?".into(),
        choices: Some(vec![json!(true), json!(false)]),
        approvers: Some(vec!["anna".into()]),
        ..Question::default()
    };
    assert_eq!((&*asked.path, &asked.question), ("approve", &expected));
    kill(engine, run).await;

    let engine = host.engine(&flow).await;
    assert_eq!(engine.state(id, None).await.unwrap().questions, state.questions);
    engine.signal(id, "approve", true).by("anna").await.unwrap();
    assert_eq!(engine.state(id, None).await.unwrap().questions, []);
    assert_eq!(engine.resume(id).await.unwrap().output, true);
    let asked =
        |facts: Vec<Fact>| facts.iter().filter(|fact| matches!(fact, Fact::QuestionAsked { .. })).count();
    assert_eq!(asked(at_path(&engine, id, "approve").await), 1);
}

#[tokio::test]
async fn a_question_that_nobody_answered_in_time_is_none_any_more() {
    let (host, notes) = (Host::new(), Notes::default());
    let gate = asking().timeout(std::time::Duration::from_secs(60)).default_answer(false);
    let flow = flow().step("draft", notes.gives("text")).gate("approve", gate).build().unwrap();
    let (engine, run) = host.start(&flow, Value::Null).await;
    let due = engine.state(run.id(), None).await.unwrap().questions[0].question.due;
    assert_eq!(due, Some(engine.state(run.id(), None).await.unwrap().timers[0].due));
    host.seconds(60).await;
    let ended = run.outcome().await.unwrap();
    assert_eq!(ended.output, false);
    assert_eq!(engine.state(ended.run_id, None).await.unwrap().questions, []);
}

#[tokio::test]
async fn an_answer_before_the_question_leaves_nothing_to_ask() {
    let (host, notes) = (Host::new(), Notes::default());
    let flow = flow().step("draft", notes.takes(5)).gate("approve", asking()).build().unwrap();
    let (engine, run) = host.start(&flow, Value::Null).await;
    engine.signal(run.id(), "approve", true).by("anna").await.unwrap();
    host.seconds(5).await;
    let id = run.outcome().await.unwrap().run_id;
    let facts = at_path(&engine, id, "approve").await;
    assert!(facts.iter().all(|fact| !matches!(fact, Fact::QuestionAsked { .. })), "{facts:?}");
}
