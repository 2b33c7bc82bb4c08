//! Typed questions: what is asked, repaired, recorded and taken up again, and what shows of an answer as it arrives.

use std::time::Duration;

use futures_util::StreamExt as _;
use raptorflow_core::{
    Agent, Engine,
    agent::{AgentSpec, FunctionAgent, Limits},
    economics::PriceBook,
    engine::{AnswerPart, AskRequest},
    error::{Error, ErrorKind, Result},
    journal::Fact,
    model::{FinishReason, Output},
    storage::Storage,
    testing::{Reply, ScriptedModel},
    types::{Diagnostics, Schema, Usage},
};
use schemars::JsonSchema;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::support::{agent, built, calls, engine, events, facts, run_of, texts};

#[derive(Debug, Deserialize, JsonSchema, PartialEq)]
struct Price {
    net: f64,
    currency: String,
}

fn rupees(net: f64) -> Price {
    Price { net, currency: "INR".into() }
}

const FITS: &str = "{\"net\": 7, \"currency\": \"INR\"}";

#[tokio::test]
async fn an_answer_becomes_a_value_with_what_it_took_and_the_run_that_gave_it() {
    let script = ScriptedModel::new([Reply::text(FITS).with_usage(Usage::new(5, 3))]);
    let engine = engine(&script).await;
    let answer =
        engine.ask::<Price>("net?").instructions("Be exact.").background("the launch").await.unwrap();
    assert_eq!((answer.value, answer.usage), (rupees(7.0), Usage::new(5, 3)));
    let asked = &script.requests()[0];
    assert_eq!(texts(asked), ["Be exact.", "What follows is a part of this: the launch", "net?"]);
    assert!(
        matches!(&asked.output, Output::Json { name, schema } if name == "answer" && schema == &Schema::of::<Price>())
    );
    assert_eq!(
        facts(&engine, answer.run_id).await,
        ["execution_started", "form_recorded", "model_responded", "execution_completed"]
    );
    assert!(engine.agents().is_empty());
}

#[tokio::test]
async fn an_answer_that_does_not_fit_goes_back_as_often_as_allowed_and_all_of_it_is_paid() {
    let wrong = || Reply::text("{\"net\": \"much\"}").with_usage(Usage::new(5, 3));
    let script = ScriptedModel::new([wrong(), wrong(), Reply::text(FITS).with_usage(Usage::new(9, 3))]);
    let prices = "[[price]]\nmodel = \"scripted:model\"\ncurrency = \"USD\"\ninput = 1_000_000\n\
        output = 1_000_000\nvalid_from = 2020-01-01\n";
    let prices = PriceBook::from_toml("prices.toml", prices).unwrap();
    let engine = built(Engine::builder().prices(prices), &script).await;
    let answer = engine.ask::<Price>("net?").repairs(2).await.unwrap();
    assert_eq!((answer.value, answer.usage), (rupees(7.0), Usage::new(19, 9)));
    assert_eq!(answer.cost.unwrap().micros, 28);
    assert!(texts(&script.requests()[2]).last().unwrap().contains("/net: the value is not of type"));
}

#[tokio::test]
async fn the_last_answer_that_does_not_fit_is_told_without_its_words() {
    let script = ScriptedModel::new([]).always(Reply::text("{\"net\": \"a secret\"}"));
    let engine = engine(&script).await;
    for (repairs, calls) in [(0, 1), (1, 3)] {
        let err = engine.ask::<Price>("a private question").repairs(repairs).await.unwrap_err();
        assert_eq!((err.kind(), script.requests().len()), (ErrorKind::InvalidOutput, calls));
        let problems = &err.cause::<Diagnostics>().unwrap().0;
        let places: Vec<&str> = problems.iter().map(|problem| problem.pointer.as_str()).collect();
        assert_eq!(places, ["", "/net"]);
        let told = format!("{err:#} {err:?}");
        assert!(!told.contains("secret") && !told.contains("private"), "{told}");
    }
}

#[tokio::test]
async fn a_bound_that_ends_the_run_before_its_answer_is_an_error_of_its_own() {
    let cut = Reply::text("{\"net\": 7").with_finish(&FinishReason::Length);
    let engine = engine(&ScriptedModel::new([cut])).await;
    let err = engine.ask::<Price>("net?").await.unwrap_err();
    assert_eq!((err.kind(), err.get("limit")), (ErrorKind::LimitExceeded, Some("length")));
    assert!(err.get("run").is_some());
}

#[tokio::test]
async fn what_is_no_object_is_asked_for_inside_of_one_and_taken_without_it_too() {
    let script = ScriptedModel::new([
        Reply::text("{\"value\": [1, 2]}"),
        Reply::text("Here it is: [3]"),
        Reply::text("{\"value\": 4}"),
        Reply::text("[5]"),
    ]);
    let engine = engine(&script).await;
    assert_eq!(engine.ask::<Vec<u8>>("which?").await.unwrap().value, [1, 2]);
    let Output::Json { schema, .. } = &script.requests()[0].output else { panic!("no form") };
    assert_eq!(schema.as_value()["required"], json!(["value"]));
    assert_eq!(engine.ask::<Vec<u8>>("which?").await.unwrap().value, [3]);
    let repaired = engine.ask::<Vec<u8>>("which?").await.unwrap();
    assert_eq!(repaired.value, [5]);
    assert_eq!(engine.resume(repaired.run_id).await.unwrap().output, json!([5]));
    let engine = self::engine(&ScriptedModel::new([]).always(Reply::text("{\"value\": 4}"))).await;
    let err = engine.ask::<Vec<u8>>("which?").await.unwrap_err();
    assert_eq!(err.cause::<Diagnostics>().unwrap().0[0].pointer, "");
}

#[tokio::test]
async fn a_question_is_resumed_by_an_engine_that_knows_nothing_of_it() {
    let storage = Storage::memory();
    let down = Error::new(ErrorKind::Unauthenticated, "model.stream", "no key");
    let builder = || Engine::builder().storage_handle(storage.clone());
    let wrong = Reply::text("{}").with_usage(Usage::new(1, 1));
    let first = built(builder(), &ScriptedModel::new([wrong, Reply::error(down)])).await;
    let err = first.ask::<Price>("net?").instructions("Be exact.").repairs(1).await.unwrap_err();
    assert_eq!(err.kind(), ErrorKind::Unauthenticated);

    let script = ScriptedModel::new([Reply::text(FITS).with_usage(Usage::new(2, 2))]);
    let second = built(builder(), &script).await;
    // An agent of that name is another one.
    second
        .register(FunctionAgent::new(AgentSpec::new("ask").unwrap(), |_, _| async { Ok(0.into()) }))
        .unwrap();
    let outcome = second.resume(run_of(&err)).await.unwrap();
    assert_eq!((outcome.parse::<Price>().unwrap(), outcome.usage), (rupees(7.0), Usage::new(3, 3)));
    let asked = &script.requests()[0];
    assert_eq!((asked.messages.len(), texts(asked)[0].as_str()), (4, "Be exact."));

    let forked = second.fork(outcome.run_id, 2).await.unwrap();
    script.push(Reply::text(FITS));
    assert_eq!(second.resume(forked).await.unwrap().parse::<Price>().unwrap(), rupees(7.0));
}

#[tokio::test]
async fn an_agent_answers_in_the_form_that_is_asked_for_with_its_own_tools_and_instructions() {
    let script = ScriptedModel::new([Reply::text("free"), Reply::text("{}"), Reply::text(FITS)]);
    let engine = engine(&script).await;
    engine.register(agent("pricing").instructions("Be exact.").build().unwrap()).unwrap();
    assert_eq!(engine.run("pricing", "net?").await.unwrap().text(), "free");
    let typed = engine.run("pricing", "net?").output_as::<Price>().await.unwrap();
    assert_eq!((typed.value, texts(&script.requests()[1])[0].as_str()), (rupees(7.0), "Be exact."));
    script.push(Reply::text("{}"));
    let err = engine.ask::<Price>("net?").agent("pricing").repairs(0).await.unwrap_err();
    assert_eq!(err.kind(), ErrorKind::InvalidOutput);
    // The form is a part of the run: a resume asks for it again.
    script.push(Reply::text(FITS));
    assert_eq!(engine.resume(run_of(&err)).await.unwrap().parse::<Price>().unwrap(), rupees(7.0));
    let err = engine.ask::<Price>("net?").agent("pricing").model("x:y").await.unwrap_err();
    assert_eq!((err.kind(), err.get("field")), (ErrorKind::InvalidInput, Some("model")));
}

#[tokio::test]
async fn a_function_agent_is_held_to_the_form_and_a_type_to_its_values() {
    let engine = engine(&ScriptedModel::new([])).await;
    let agent = |name: &str, value: Value| {
        FunctionAgent::new(AgentSpec::new(name).unwrap(), move |_, _| std::future::ready(Ok(value.clone())))
    };
    engine.register(agent("one", json!("secret"))).unwrap();
    engine.register(agent("two", json!({"net": 1, "currency": "INR"}))).unwrap();
    let err = engine.run("one", "x").output_as::<Price>().await.unwrap_err();
    assert!(err.kind() == ErrorKind::InvalidOutput && !format!("{err:#}").contains("secret"), "{err:#}");
    assert_eq!(engine.run("two", "x").output_as::<Price>().await.unwrap().value, rupees(1.0));
    let err = engine.run("one", "x").await.unwrap().parse::<u8>().unwrap_err();
    assert_eq!((err.kind(), err.get("type")), (ErrorKind::InvalidOutput, Some("u8")));
    assert!(!format!("{err:#} {err:?}").contains("secret"));
}

#[tokio::test]
async fn time_and_cancellation_hold_for_a_question() {
    let engine = engine(&ScriptedModel::new([]).always(Reply::hang())).await;
    let err = engine.ask::<Price>("net?").timeout(Duration::ZERO).await.unwrap_err();
    assert_eq!(err.kind(), ErrorKind::Timeout);
    let cancel = raptorflow_core::runtime::Cancel::new();
    cancel.cancel();
    let err = engine.ask::<Price>("net?").cancel_with(&cancel).await.unwrap_err();
    assert_eq!(err.kind(), ErrorKind::Cancelled);
    let err = engine.ask::<Price>("net?").schema(Schema::unchecked(json!({"type": "x"}))).await.unwrap_err();
    assert_eq!(err.kind(), ErrorKind::InvalidInput);
}

/// What a stream gave, in short, and how it ended.
async fn shown<T: DeserializeOwned + JsonSchema + std::fmt::Debug>(ask: AskRequest<T>) -> Vec<String> {
    let line = |part: Result<AnswerPart<T>>| match part {
        Ok(AnswerPart::Partial { value, open }) => format!("{value} {}", open.unwrap_or("-".into())),
        Ok(AnswerPart::Again { attempt }) => format!("again {attempt}"),
        Ok(AnswerPart::Done(outcome)) => format!("{:?}", outcome.value),
        Ok(other) => panic!("{other:?}"),
        Err(err) => err.kind().code().to_owned(),
    };
    ask.stream().unwrap().map(line).collect().await
}

#[tokio::test]
async fn an_answer_shows_as_it_arrives_and_a_repair_is_announced() {
    let script = ScriptedModel::new([
        Reply::text("So: {\"net\": \"muc").in_pieces(5),
        Reply::text("{\"net\": 17, \"currency\": \"INR\"}").in_pieces(7),
    ]);
    let engine = engine(&script).await;
    assert_eq!(
        shown(engine.ask::<Price>("net?")).await,
        [
            "{} ",
            "{\"net\":\"mu\"} /net",
            "{\"net\":\"muc\"} /net",
            "again 2",
            "{} ",
            "{\"net\":17} ",
            "{\"net\":17,\"currency\":\"INR\"} /currency",
            "{\"net\":17,\"currency\":\"INR\"} -",
            "Price { net: 17.0, currency: \"INR\" }"
        ]
    );
    script.push(Reply::text("{\"value\": [1, 22]}").in_pieces(4));
    assert_eq!(shown(engine.ask::<Vec<u8>>("which?")).await, ["[] ", "[1] ", "[1,22] -", "[1, 22]"]);
    script.push(Reply::text("{}").cut_after(1));
    assert_eq!(shown(engine.ask::<Price>("net?").repairs(0)).await, ["{} -", "unavailable"]);
}

#[tokio::test]
async fn pieces_of_an_answer_that_somebody_reads_stay_off_the_bus() {
    let engine = engine(&ScriptedModel::new([Reply::text(FITS).in_pieces(3)])).await;
    let run = engine.runtime().ids().run();
    assert!(shown(engine.ask::<Price>("net?").id(run)).await.len() > 3);
    assert!(events(&engine, run).iter().all(|event| !event.data.to_string().contains("INR")));
}

#[tokio::test]
async fn only_the_answer_of_the_run_s_own_agent_shows() {
    let script = ScriptedModel::new([calls(&[("a", "nothing", json!({}))]), Reply::text(FITS).in_pieces(20)]);
    let engine = engine(&script).await;
    engine.register(agent("pricing").limits(Limits::default()).build().unwrap()).unwrap();
    let lines = shown(engine.ask::<Price>("net?").agent("pricing")).await;
    assert_eq!((lines[0].as_str(), lines.len()), ("again 2", 4));
    let team = raptorflow_core::Workflow::builder("team")
        .step("one", raptorflow_core::workflow::agent("pricing"))
        .build()
        .unwrap();
    script.push(Reply::text(FITS).in_pieces(3));
    let lines = shown(engine.ask::<Value>("net?").agent(Agent::from(team))).await;
    assert_eq!(lines.len(), 1);
}

#[tokio::test]
async fn the_partial_answers_of_a_long_one_are_together_no_more_than_a_multiple_of_it() {
    let long: Vec<String> = (0..4000).map(|n| format!("item {n}")).collect();
    let text = json!({ "value": long }).to_string();
    let length = text.len();
    let engine = engine(&ScriptedModel::new([Reply::text(text).in_pieces(4)])).await;
    let mut parts = engine.ask::<Vec<String>>("all?").stream().unwrap();
    let (mut sum, mut count, mut items) = (0, 0, 0);
    while let Some(part) = parts.next().await {
        match part.unwrap() {
            AnswerPart::Partial { value, .. } => {
                sum += value.to_string().len();
                count += 1;
            }
            AnswerPart::Done(outcome) => items = outcome.value.len(),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(items, 4000);
    assert!(count > 100 && sum < 70 * length, "{count} copies of {sum} bytes for {length}");
}

#[tokio::test]
async fn a_stream_that_is_dropped_leaves_a_run_that_can_be_resumed() {
    let script = ScriptedModel::new([Reply::text(FITS).in_pieces(3), Reply::text(FITS)]);
    let engine = engine(&script).await;
    let run = engine.runtime().ids().run();
    let mut parts = engine.ask::<Price>("net?").id(run).stream().unwrap();
    assert!(script.requests().is_empty());
    assert!(matches!(parts.next().await, Some(Ok(AnswerPart::Partial { .. }))));
    drop(parts);
    assert_eq!(engine.resume(run).await.unwrap().parse::<Price>().unwrap(), rupees(7.0));
    let entries = engine.history(run, 0, 9).await.unwrap();
    assert!(
        matches!(&entries[1].fact, Fact::FormRecorded { agent: Some(agent), .. } if agent["name"] == "ask")
    );
}
