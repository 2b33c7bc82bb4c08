//! Workflows as data: every problem told at once by its place, and data that comes back as it was.

use std::time::Duration;

use proptest::prelude::*;
use raptorflow_core::{
    Workflow,
    error::{Error, ErrorKind},
    types::Diagnostics,
    workflow::{
        AfterSpec, Aggregate, Condition, Step, StepFunction, WorkflowBuilder, WorkflowSpec, after, agent,
        repeat, timer, workflow,
    },
};
use serde_json::{Value, json};

use crate::flows::{Notes, flow, output};

/// The problems of an error, each as `pointer code`.
fn problems(err: &Error) -> Vec<String> {
    let source = std::error::Error::source(err).expect("the problems are the source");
    let Diagnostics(all) = source.downcast_ref::<Diagnostics>().expect("they are diagnostics");
    all.iter().map(|problem| format!("{} {}", problem.pointer, problem.code)).collect()
}

/// Checks which problems a workflow in JSON has; in any order.
fn check(spec: &Value, expected: &[&str]) {
    let err = Workflow::from_json(&spec.to_string()).expect_err("it has problems");
    assert_eq!(err.kind(), ErrorKind::InvalidInput);
    let mut found = problems(&err);
    found.sort_unstable();
    let mut expected = expected.to_vec();
    expected.sort_unstable();
    assert_eq!(found, expected, "{err:#}");
    assert_eq!(err.get("problems"), Some(expected.len().to_string().as_str()));
}

#[test]
fn every_problem_of_a_workflow_is_told_at_once_by_its_place() {
    check(
        &json!({ "name": "", "timeout": 0, "parallel": 0 }),
        &["/name invalid_name", "/steps no_steps", "/parallel out_of_range", "/timeout out_of_range"],
    );
    let inner = json!({ "name": "inner", "steps": [{ "name": "x", "after": ["y"] }, { "name": "y", "after": ["x"], "agent": "a" }] });
    let spec = json!({ "name": "w", "output": "$nobody", "steps": [
        { "name": "a", "agent": "x", "after": ["c"] },
        { "name": "b", "agent": "x", "after": ["a"] },
        { "name": "c", "agent": "x", "after": ["b"] },
        { "name": "self", "agent": "x", "after": ["self"] },
        { "name": "a", "agent": "x" },
        { "name": "lost", "agent": "x", "after": ["wher"] },
        { "name": "twice", "agent": "x", "after": ["lost", "lost"] },
        { "name": "none" },
        { "name": "both", "agent": "x", "tool": "y" },
        { "name": "function", "function": "f" },
        { "name": "input", "agent": "x" },
        { "name": "", "agent": "x" },
        { "name": "ref", "agent": "x", "input": { "deep": ["$nobody/x"] } },
        { "name": "item", "agent": "x", "input": "$item" },
        { "name": "early", "agent": "x", "input": "$lost" },
        { "name": "inner", "workflow": inner },
        { "name": "never", "repeat": { "workflow": { "name": "n", "steps": [] }, "at_most": 0 } },
        { "name": "few", "agents": [] },
        { "name": "same", "agents": ["x", "x"] },
        { "name": "slow", "agent": "x", "timeout": 0, "retries": 101, "map": "$input", "parallel": 0 },
        { "name": "undo", "agent": "x", "compensate": {} },
    ] });
    check(
        &spec,
        &[
            "/output unknown_reference",
            "/steps/0/after cycle",
            "/steps/3/after cycle",
            "/steps/4/name duplicate_name",
            "/steps/5/after/0 unknown_step",
            "/steps/6/after/1 duplicate_way",
            "/steps/7 no_action",
            "/steps/8 no_action",
            "/steps/9/function unknown_function",
            "/steps/10/name invalid_name",
            "/steps/11/name invalid_name",
            "/steps/12/input unknown_reference",
            "/steps/13/input unknown_reference",
            "/steps/13/name invalid_name",
            "/steps/14/input unsettled_reference",
            "/steps/15/workflow/steps/0 no_action",
            "/steps/15/workflow/steps/0/after cycle",
            "/steps/16/repeat/at_most out_of_range",
            "/steps/16/repeat/workflow/steps no_steps",
            "/steps/17/agents no_agents",
            "/steps/18/agents/1 duplicate_name",
            "/steps/19/timeout out_of_range",
            "/steps/19/retries out_of_range",
            "/steps/19/parallel out_of_range",
            "/steps/20/compensate no_action",
        ],
    );
}

#[test]
fn templates_that_can_never_be_filled_are_refused() {
    let step = |field: &str, value: Value| {
        let mut step = json!({ "name": "b", "after": ["a"] });
        step[field] = value;
        if field != "timer" {
            step["agent"] = "x".into();
        }
        json!({ "name": "w", "steps": [{ "name": "a", "agent": "x" }, { "name": "c", "agent": "x" }, step] })
    };
    for (field, value, expected) in [
        ("map", json!("input"), "/steps/2/map invalid_list"),
        ("map", json!(5), "/steps/2/map invalid_list"),
        ("map", json!({ "list": "$input" }), "/steps/2/map invalid_list"),
        ("map", json!("$c"), "/steps/2/map unsettled_reference"),
        ("input", json!(["$c"]), "/steps/2/input unsettled_reference"),
        ("input", json!("$a.text"), "/steps/2/input unknown_reference"),
        ("input", json!("$b"), "/steps/2/input unsettled_reference"),
        ("timer", json!({ "until": 5 }), "/steps/2/timer/until invalid_time"),
        ("timer", json!({ "until": ["$a"] }), "/steps/2/timer/until invalid_time"),
        ("timer", json!({ "until": "tomorrow" }), "/steps/2/timer/until invalid_time"),
        ("timer", json!({ "until": "$c" }), "/steps/2/timer/until unsettled_reference"),
        ("timer", json!({}), "/steps/2/timer invalid_time"),
        ("timer", json!({ "seconds": 1, "until": "$a" }), "/steps/2/timer invalid_time"),
    ] {
        check(&step(field, value), &[expected]);
    }
    Workflow::from_json(&step("map", json!(["$a", 1])).to_string()).unwrap();
}

#[test]
fn a_gate_that_nobody_can_answer_is_refused() {
    for (gate, expected) in [
        (json!({ "choices": [] }), "/steps/0/gate/choices unanswerable"),
        (json!({ "approvers": [] }), "/steps/0/gate/approvers unanswerable"),
        (json!({ "schema": false }), "/steps/0/gate/schema unanswerable"),
        (json!({ "schema": { "not": {} } }), "/steps/0/gate/schema unanswerable"),
        (
            json!({ "schema": { "type": "string", "not": { "not": false } } }),
            "/steps/0/gate/schema unanswerable",
        ),
        (json!({ "schema": { "allOf": [{}, { "not": true }] } }), "/steps/0/gate/schema unanswerable"),
        (
            json!({ "schema": { "anyOf": [false, { "oneOf": [false] }] } }),
            "/steps/0/gate/schema unanswerable",
        ),
        (json!({ "schema": { "type": "number" }, "choices": ["a"] }), "/steps/0/gate unanswerable"),
        (json!({ "timeout": 0 }), "/steps/0/gate/timeout unanswerable"),
        (json!({ "schema": { "type": 5 } }), "/steps/0/gate/schema invalid_schema"),
        (json!({ "default": 1 }), "/steps/0/gate/default invalid_default"),
        (json!({ "default": 1, "timeout": 1, "choices": [2] }), "/steps/0/gate/default invalid_default"),
    ] {
        check(&json!({ "name": "w", "steps": [{ "name": "g", "gate": gate }] }), &[expected]);
    }
}

#[test]
fn text_that_is_no_workflow_is_refused_with_its_line() {
    for (text, line) in [
        ("name = \"w\"\nsteps = 5\n", 2),
        ("name = \"w\"\ntimeot = 5\n", 2),
        ("name = \"w\"\n[[steps]]\nname = \"a\"\nretires = 1\n", 4),
    ] {
        let err = WorkflowSpec::from_toml(text).unwrap_err();
        let source = std::error::Error::source(&err).unwrap().downcast_ref::<Diagnostics>().unwrap();
        assert_eq!((err.kind(), source.0[0].line), (ErrorKind::InvalidInput, line), "{err:#}");
    }
    for text in ["", "[]", "{\"name\": \"w\", \"timeout\": -1}", "{\"name\": \"w\", \"timeout\": 1e999}"] {
        assert_eq!(WorkflowSpec::from_json(text).unwrap_err().kind(), ErrorKind::InvalidInput, "{text}");
    }
}

#[test]
fn workflows_are_nested_to_a_depth_in_code_as_in_data() {
    let one = || Workflow::builder("w").step("s", agent("x"));
    let mut inner = one().build().unwrap();
    for depth in 1..=16 {
        inner = Workflow::builder("w")
            .step("s", workflow(&inner))
            .build()
            .unwrap_or_else(|err| panic!("{depth}: {err:#}"));
        Workflow::from_spec(inner.spec().clone()).unwrap();
    }
    for step in [workflow(&inner), repeat(&inner, 2, Condition::value().exists(true))] {
        let err = Workflow::builder("w").step("s", step).build().unwrap_err();
        assert_eq!(problems(&err).len(), 1, "{err:#}");
        assert!(problems(&err)[0].ends_with(" too_deep"));
    }
}

#[tokio::test]
async fn null_in_data_is_the_value_null_and_not_nothing() {
    let notes = Notes::default();
    let nulls = flow()
        .step("a", notes.echoes())
        .step("null", notes.echoes().after("a").input(Value::Null))
        .step("is", notes.gives("null").after_when("a", Condition::at("/x").equals(Value::Null)))
        .step("not", notes.gives("other").after_when("a", Condition::at("/x").not_equals(Value::Null)))
        .build()
        .unwrap();
    let text = serde_json::to_string(nulls.spec()).unwrap();
    let spec = WorkflowSpec::from_json(&text).unwrap();
    assert_eq!(&spec, nulls.spec());
    let again = || {
        let other = notes.clone();
        let echo = StepFunction::new(|_, input| std::future::ready(Ok(input)));
        let give = |value: &'static str| StepFunction::new(move |_, _| std::future::ready(Ok(value.into())));
        drop(other);
        WorkflowBuilder::from_spec(spec.clone())
            .function("a", echo.clone())
            .function("null", echo)
            .function("is", give("null"))
            .function("not", give("other"))
    };
    assert_eq!(output(again(), json!({ "x": null })).await, json!({ "null": null, "is": "null" }));
    assert_eq!(output(again(), json!({ "x": 1 })).await, json!({ "null": null, "not": "other" }));
}

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        (-1000..1000).prop_map(|n| Value::from(f64::from(n) / 8.0)),
        "[a-z \"\\\\\n]{0,6}".prop_map(Value::from),
        Just(Value::from("$$5")),
        Just(Value::from("$input/x")),
    ];
    leaf.prop_recursive(2, 8, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map("[a-z]{1,3}", inner, 0..3).prop_map(|map| json!(map)),
        ]
    })
}

fn conditions() -> impl Strategy<Value = Condition> {
    let leaf = prop_oneof![
        values().prop_map(|value| Condition::at("/x").equals(value)),
        values().prop_map(|value| Condition::value().not_equals(value)),
        (-9..9).prop_map(|n| Condition::at("/n").above(f64::from(n)).at_most(9.5)),
        any::<bool>().prop_map(|it| Condition::at("/a~1b").exists(it)),
        values().prop_map(|value| Condition::value().contains(value)),
    ];
    leaf.prop_recursive(2, 6, 2, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Condition::all_of),
            prop::collection::vec(inner.clone(), 0..3).prop_map(Condition::any_of),
            inner.prop_map(Condition::negated),
        ]
    })
}

fn durations() -> impl Strategy<Value = Duration> {
    (1..5_000_000_u64).prop_map(Duration::from_millis)
}

/// One step of any kind, without its ways.
fn steps() -> impl Strategy<Value = Step> {
    let calls = prop_oneof![
        Just(agent("x")),
        Just(agent("x").capability("c")),
        Just(raptorflow_core::workflow::tool("t")),
        Just(raptorflow_core::workflow::agents(["x", "y"], Aggregate::Majority)),
        values().prop_map(|input| agent("x").input(input)),
        (1..9_usize).prop_map(|items| agent("x").map("$input/list").parallel(items)),
        Just(agent("x").compensate(raptorflow_core::workflow::tool("undo"))),
    ];
    let calls = (calls, durations(), 0..5_u32, any::<bool>(), "[a-z .é]{0,8}").prop_map(
        |(step, duration, retries, optional, text)| {
            let step = step.timeout(duration).retries(retries).retry_delay(duration).description(text);
            if optional { step.optional().version("2") } else { step }
        },
    );
    let inner = || Workflow::builder("inner").step("s", agent("x")).build().unwrap();
    prop_oneof![
        4 => calls,
        1 => durations().prop_map(timer),
        1 => Just(raptorflow_core::workflow::timer_until("2026-01-01T00:00:00Z")),
        1 => durations().prop_map(|timeout| Step::default().prompt("Go?").choices([1, 2]).approvers(["ann"]).default_answer(2).timeout(timeout)),
        1 => Just(workflow(&inner())),
        1 => (1..9_u32, conditions()).prop_map(move |(turns, until)| repeat(&inner(), turns, until)),
    ]
}

fn flows() -> impl Strategy<Value = Workflow> {
    let ways = prop::collection::vec((steps(), prop::option::of(conditions()), any::<bool>()), 1..6);
    (ways, durations(), 1..99_usize, prop::option::of(values())).prop_map(
        |(steps, timeout, parallel, output)| {
            let mut flow = Workflow::builder("w").timeout(timeout).parallel(parallel).description("d");
            if let Some(output) = output {
                flow = flow.output(output);
            }
            for (place, (mut step, condition, any)) in steps.into_iter().enumerate() {
                if place > 0 {
                    let before = format!("s{}", place / 2);
                    step = match condition {
                        Some(condition) => step.after_when(before, condition),
                        None => step.after(before),
                    };
                    if any {
                        step = step.any();
                    }
                }
                flow = flow.step(format!("s{place}"), step);
            }
            flow.build().unwrap()
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn a_workflow_comes_back_from_json_and_toml_as_it_was(flow in flows()) {
        let json = Workflow::from_json(&serde_json::to_string(flow.spec()).unwrap()).unwrap();
        prop_assert_eq!(json.spec(), flow.spec());
        let text = toml::to_string(flow.spec()).unwrap();
        let toml = Workflow::from_toml(&text).unwrap();
        prop_assert_eq!(toml.spec(), flow.spec(), "{}", text);
        // A run that was begun with one is gone on with by the other.
        prop_assert_eq!(json.definition(), flow.definition());
        prop_assert_eq!(toml.definition(), flow.definition());
        prop_assert_eq!(serde_json::to_value(toml.spec()).unwrap(), serde_json::to_value(flow.spec()).unwrap());
    }
}

#[test]
fn the_ways_to_say_the_same_in_code_and_data_are_one_definition() {
    let code = Workflow::builder("w")
        .step("a", agent("x"))
        .gate("g", after("a").timeout(Duration::from_secs(5)).prompt("Go?"))
        .step(
            "b",
            agent("y").after_when("g", Condition::value().equals(true)).timeout(Duration::from_millis(1500)),
        )
        .build()
        .unwrap();
    let data = Workflow::from_toml(
        r#"
        name = "w"
        [[steps]]
        name = "a"
        agent = "x"
        [[steps]]
        name = "g"
        gate = { prompt = "Go?", timeout = 5 }
        after = [{ step = "a" }]
        [[steps]]
        name = "b"
        agent = "y"
        after = [{ step = "g", when = { equals = true } }]
        timeout = 1.5
        "#,
    )
    .unwrap();
    assert_eq!(code.spec(), data.spec());
    assert_eq!(code.definition(), data.definition());
    assert_eq!(code.spec().steps[1].after, [AfterSpec::new("a")]);
}
