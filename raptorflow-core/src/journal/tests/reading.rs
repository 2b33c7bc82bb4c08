//! Summaries, lists and states are folds over the entries, whatever is kept beside them.

use std::time::Duration;

use serde_json::json;

use crate::{
    error::{Error, ErrorKind},
    journal::{
        Fact, RunFilter, RunState, RunStatus, StepStatus, Summary,
        tests::support::{World, completed, failed, started, step},
    },
    runtime::Context,
    storage::{Expect, Scan},
    types::{Currency, Message, Money, Part, RunId, Timestamp, ToolCall, ToolResult, Usage},
};

fn responded(message: Message, input: u64, cost: i64) -> Fact {
    Fact::ModelResponded {
        model: "m".into(),
        message,
        usage: Usage::new(input, 1),
        cost: Some(Money::new(cost, Currency::USD)),
        truncated: false,
    }
}

fn wants_a_tool() -> Message {
    let mut message = Message::assistant("");
    let call = ToolCall { id: "c".into(), name: "t".into(), arguments: json!({}) };
    message.parts = vec![Part::ToolCall(call)];
    message
}

fn returned() -> Fact {
    let result =
        ToolResult { id: "c".into(), name: "t".into(), content: json!(1), is_error: false, cost: None };
    Fact::ToolReturned { result }
}

async fn folded(world: &World, run: RunId) -> Summary {
    Summary::of(&world.journals.read(&world.ctx, run, 0, usize::MAX).await.unwrap())
}

async fn kept(world: &World) -> Vec<String> {
    let scan = Scan { prefix: "summary/", after: None, limit: 10 };
    world.storage.scan(&world.ctx, scan).await.unwrap().into_iter().map(|(key, _)| key).collect()
}

#[tokio::test]
async fn the_summary_of_a_run_of_any_length_is_its_fold_and_long_ones_are_kept() {
    let world = World::new();
    let journal = world.created().await;
    let key = format!("summary/{}", world.run());
    for length in [1_u64, 511, 512, 513, 800, 1023, 1024, 1025, 1600, 3000] {
        let now = world.journals.summary(&world.ctx, world.run()).await.unwrap().entries;
        let facts: Vec<Fact> =
            (now..length).map(|count| responded(Message::assistant("a"), count, 1)).collect();
        world.clock.advance(Duration::from_secs(1));
        journal.append_at("a", &facts).await.unwrap();
        for _ in 0..2 {
            let summary = world.journals.summary(&world.ctx, world.run()).await.unwrap();
            assert_eq!(summary, folded(&world, world.run()).await, "{length}");
            assert_eq!(summary.entries, length);
        }
        let expected = if length < 800 { Vec::new() } else { vec![key.clone()] };
        assert_eq!(kept(&world).await, expected, "{length}");
    }
}

#[tokio::test]
async fn a_kept_summary_that_is_damaged_ahead_or_of_another_run_changes_nothing() {
    let world = World::new();
    let journal = world.created().await;
    journal.append_at("a", &(0..2000).map(step).collect::<Vec<_>>()).await.unwrap();
    let summary = world.journals.summary(&world.ctx, world.run()).await.unwrap();
    let key = format!("summary/{}", world.run());
    let (good, _) = world.storage.get_json::<serde_json::Value>(&world.ctx, &key).await.unwrap().unwrap();
    let changed = |path: &str, value: serde_json::Value| {
        let mut bad = good.clone();
        *bad.pointer_mut(path).unwrap() = value;
        bad
    };
    let bad = [
        json!("nonsense"),
        changed("/version", json!(99)),
        changed("/last", json!("2020-01-01T00:00:00Z")),
        changed("/summary/entries", json!(5000)),
        changed("/summary/entries", json!(100)),
        changed("/summary/target", json!("other")),
        changed("/summary/started", json!("2020-01-01T00:00:00Z")),
    ];
    for bad in bad {
        world.storage.put_json(&world.ctx, &key, &bad, Expect::Any).await.unwrap();
        assert_eq!(world.journals.summary(&world.ctx, world.run()).await.unwrap(), summary, "{bad}");
        // It was made anew, unless nobody could tell that it was bad.
        let (now, _) = world.storage.get_json::<serde_json::Value>(&world.ctx, &key).await.unwrap().unwrap();
        assert_eq!(now, good, "{bad}");
    }
    // What is kept is really used.
    let other = changed("/summary/tool_calls", json!(7));
    world.storage.put_json(&world.ctx, &key, &other, Expect::Any).await.unwrap();
    assert_eq!(world.journals.summary(&world.ctx, world.run()).await.unwrap().tool_calls, 7);
    world.storage.delete(&world.ctx, &key, Expect::Any).await.unwrap();
    assert_eq!(world.journals.summary(&world.ctx, world.run()).await.unwrap(), summary);
}

#[tokio::test]
async fn a_list_gives_the_runs_that_a_filter_lets_through_page_by_page() {
    let world = World::new();
    let mut runs = Vec::new();
    for number in 0..600 {
        let ctx = Context::new(world.ctx.runtime());
        let target = if number % 3 == 0 { "third" } else { "other" };
        let Fact::ExecutionStarted { input, capability, background, user, .. } = started() else {
            unreachable!()
        };
        let first = Fact::ExecutionStarted { target: target.into(), input, capability, background, user };
        let journal = world.journals.create(&ctx, &[first]).await.unwrap();
        if number % 2 == 0 {
            journal.finish(&ctx, &[completed()]).await.unwrap();
        }
        runs.push((ctx.run_id(), target, number % 2 == 0, ctx.now()));
        world.clock.advance(Duration::from_secs(1));
    }
    let at = |number: usize| Some(runs[number].3);
    let filters = [
        RunFilter::default(),
        RunFilter { limit: 0, ..RunFilter::default() },
        RunFilter { limit: 1000, ..RunFilter::default() },
        RunFilter { target: Some("third".into()), limit: 7, ..RunFilter::default() },
        RunFilter { status: Some(RunStatus::Completed), limit: 50, ..RunFilter::default() },
        RunFilter { started_after: at(100), started_before: at(110), limit: 4, ..RunFilter::default() },
        RunFilter { status: Some(RunStatus::Failed), limit: 3, ..RunFilter::default() },
    ];
    for filter in filters {
        let fits = |run: &&(RunId, &str, bool, Timestamp)| {
            let status = if run.2 { RunStatus::Completed } else { RunStatus::Running };
            filter.target.as_deref().is_none_or(|it| it == run.1)
                && filter.status.is_none_or(|it| it == status)
                && filter.started_after.is_none_or(|it| run.3 >= it)
                && filter.started_before.is_none_or(|it| run.3 < it)
        };
        let expected: Vec<RunId> = runs.iter().filter(fits).map(|run| run.0).collect();
        let (mut found, mut filter) = (Vec::new(), filter.clone());
        loop {
            let page = world.journals.list(&world.ctx, &filter).await.unwrap();
            assert!(page.runs.len() <= filter.limit);
            found.extend(page.runs.iter().map(|(run, _)| *run));
            if page.next.is_none() || filter.limit == 0 {
                break;
            }
            filter.after = page.next;
        }
        let expected = if filter.limit == 0 { Vec::new() } else { expected };
        assert_eq!(found, expected, "{filter:?}");
    }
}

/// A run with an agent, a retried step, a timer, a child and a failure, one second between its appends.
async fn busy() -> World {
    let world = World::new();
    let journal = world.created().await;
    let error = || Error::new(ErrorKind::Unavailable, "test", "down");
    let appends = [
        ("plan", responded(wants_a_tool(), 10, 5)),
        ("plan", returned()),
        ("plan", responded(Message::assistant("so"), 20, 5)),
        ("each/0", Fact::RetryTriggered { attempt: 1, error: error() }),
        ("each/1", Fact::StepFailed { error: error() }),
        ("each/0", Fact::StepCompleted { value: 1.into(), took: Some(6_000_000) }),
        ("each/1/ask", responded(Message::assistant("a"), 1, 1)),
        ("other", Fact::ChildStarted { run: world.run(), target: "t".into() }),
        ("wait", Fact::TimerSet { due: Timestamp::from_micros(7) }),
    ];
    for (path, fact) in appends {
        world.clock.advance(Duration::from_secs(1));
        journal.append_at(path, &[fact]).await.unwrap();
    }
    world.signal("yes").await.unwrap();
    world
}

fn told(state: &RunState) -> Vec<String> {
    let line = |node: &crate::journal::OutlineNode<'_>| {
        let status = node.step.map_or_else(|| "-".to_owned(), |step| format!("{:?}", step.status));
        let cost = node.spent.cost.map_or(0, |cost| cost.micros);
        let took = node.last.since(node.started).as_secs();
        format!("{}{} {status} {took}s {cost}", " ".repeat(node.depth), node.name)
    };
    state.outline().iter().map(line).collect()
}

#[tokio::test]
async fn the_state_of_a_run_is_a_tree_of_its_steps_with_sums() {
    let world = busy().await;
    let (journals, ctx, run) = (&world.journals, &world.ctx, world.run());
    let state = journals.state(ctx, run, None).await.unwrap();
    let expected = [
        "plan Completed 2s 10",
        "each - 7s 1",
        " 0 Completed 6s 0",
        " 1 Failed 2s 1",
        "  ask Completed 0s 1",
        "other Waiting 0s 0",
        "wait Waiting 0s 0",
    ];
    assert_eq!(told(&state), expected);
    let zero = state.steps.iter().find(|step| &*step.path == "each/0").unwrap();
    assert_eq!((zero.attempts, &zero.error), (2, &None));
    assert_eq!((state.timers.len(), state.children.len()), (1, 1));
    assert_eq!((&*state.signals[0].name, state.signals[0].by.as_deref()), ("yes", Some("ann")));
    assert_eq!(state.summary, journals.summary(ctx, run).await.unwrap());
    let json = serde_json::to_string(&state).unwrap();
    assert_eq!(serde_json::from_str::<RunState>(&json).unwrap(), state);
}

#[tokio::test]
async fn the_state_at_an_entry_is_the_fold_of_those_before_it() {
    let world = busy().await;
    let (journals, ctx, run) = (&world.journals, &world.ctx, world.run());
    let entries = journals.read(ctx, run, 0, usize::MAX).await.unwrap();
    for at in 0..=entries.len() {
        let state = journals.state(ctx, run, Some(at as u64)).await.unwrap();
        assert_eq!(state, RunState::of(&entries[..at]));
    }
    let beyond = entries.len() as u64 + 1;
    let err = journals.state(ctx, run, Some(beyond)).await.unwrap_err();
    assert_eq!((err.kind(), err.get("length")), (ErrorKind::InvalidInput, Some("11")));
    let unknown = Context::new(ctx.runtime()).run_id();
    for at in [None, Some(0), Some(1)] {
        assert_eq!(journals.state(ctx, unknown, at).await.unwrap_err().kind(), ErrorKind::NotFound);
    }
}

#[tokio::test]
async fn a_step_that_ended_before_its_timer_waits_for_nothing() {
    let world = busy().await;
    let (journal, _) = world.opened().await;
    journal.append_at("wait", &[step(1)]).await.unwrap();
    let state = world.journals.state(&world.ctx, world.run(), None).await.unwrap();
    assert_eq!((state.steps.last().unwrap().status, state.timers), (StepStatus::Completed, vec![]));
}

#[tokio::test]
async fn what_waits_when_its_run_ends_has_stopped_and_when_it_failed_may_go_on() {
    let world = busy().await;
    let status = |state: &RunState| state.steps.last().map(|step| step.status);
    let (ctx, run) = (&world.ctx, world.run());
    let (journal, _) = world.opened().await;
    journal.finish(ctx, &[failed()]).await.unwrap();
    let state = world.journals.state(ctx, run, None).await.unwrap();
    assert_eq!((status(&state), state.timers.len()), (Some(StepStatus::Waiting), 1));
    let (journal, _) = world.opened().await;
    journal.finish(ctx, &[Fact::ExecutionCancelled]).await.unwrap();
    let state = world.journals.state(ctx, run, None).await.unwrap();
    assert_eq!((status(&state), state.timers.len()), (Some(StepStatus::Stopped), 0));
}
