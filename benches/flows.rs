//! The workflows that are measured; `benches/peers/programs/` has the same ones of other projects.

use raptorflow_core::{
    Workflow,
    workflow::{Step, WorkflowBuilder, after, function},
};
use serde_json::{Value, json};

/// How long a message of [`chat`] is, in bytes.
pub const MESSAGE: usize = 1024;

/// So many steps in a line; each adds 1 to what it is given.
///
/// # Panics
/// When the library refuses it, which is a fault of the benchmark.
#[must_use]
pub fn linear(steps: usize) -> Workflow {
    line(steps, |_| add_one()).build().expect("a workflow")
}

/// A step for each item of the list that it is given, all at the same time.
///
/// # Panics
/// As [`linear`].
#[must_use]
pub fn fan_out(at_once: usize) -> Workflow {
    let each = function(|_ctx, item| async move { Ok(item) }).map("$input").parallel(at_once);
    Workflow::builder("fan-out").step("work", each).build().expect("a workflow")
}

/// A step, a question to people that is called `ask`, and a step that is given the answer.
///
/// # Panics
/// As [`linear`].
#[must_use]
pub fn ask() -> Workflow {
    Workflow::builder("ask")
        .step("before", add_one())
        .gate("ask", after("before"))
        .step("after", add_one().after("ask"))
        .build()
        .expect("a workflow")
}

/// So many messages, one a step; its result is the last one.
///
/// # Panics
/// As [`linear`].
#[must_use]
pub fn chat(messages: usize) -> Workflow {
    saying(messages).build().expect("a workflow")
}

/// The same, with the whole chat as its result.
///
/// # Panics
/// As [`linear`].
#[must_use]
pub fn whole_chat(messages: usize) -> Workflow {
    let whole: Vec<Value> = (0..messages).map(|number| format!("$s{number}").into()).collect();
    saying(messages).output(whole).build().expect("a workflow")
}

fn saying(messages: usize) -> WorkflowBuilder {
    line(messages, |_| {
        function(|_ctx, _before| async { Ok(json!({ "role": "user", "content": "x".repeat(MESSAGE) })) })
    })
}

fn line(steps: usize, step: impl Fn(usize) -> Step) -> WorkflowBuilder {
    let mut flow = Workflow::builder("line");
    for number in 0..steps {
        let step = step(number);
        let step = if number == 0 { step } else { step.after(format!("s{}", number - 1)) };
        flow = flow.step(format!("s{number}"), step);
    }
    flow
}

fn add_one() -> Step {
    function(|_ctx, number| async move { Ok((number.as_i64().unwrap_or(0) + 1).into()) })
}
