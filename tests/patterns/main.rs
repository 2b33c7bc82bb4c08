//! Patterns through an engine: each kind, nested, stopped early, failing, killed after every step and resumed.
#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test fails loudly")]

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use raptorflow_core::{
    Agent, Engine, Workflow,
    agent::{AgentSpec, FunctionAgent},
    engine::Outcome,
    error::{Error, ErrorKind, Result},
    journal::{Fact, JournalConfig},
    model::Model,
    runtime::{Runtime, Tasks},
    storage::{MemoryStore, Storage},
    testing::{Fault, FaultyLog, ManualClock, Reply, ScriptedModel},
    types::{Finish, RunId, Usage},
    workflow::{
        Aggregate, Complete, Consensus, DebateFormat, Decision, Member, PanelStrategy, Pattern,
        PatternBuilder, PatternKind, PatternSpec, Role, Stopped, Verdict, agent, debate, expert_panel,
        map_reduce, parallel, reflection, sequential, verification,
    },
};
use serde_json::{Value, json};

/// What agents were asked, by their idempotency keys; cloning shares it.
#[derive(Clone, Default)]
struct Calls(Arc<Mutex<Vec<(String, Value)>>>);

impl Calls {
    fn of(&self, name: &str) -> Vec<Value> {
        let calls = self.0.lock().unwrap();
        let of = |path: &str| path.split('/').any(|part| part == name);
        calls.iter().filter(|(path, _)| of(path)).map(|(_, input)| input.clone()).collect()
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap()).into_iter().map(|(path, _)| path).collect()
    }
}

type Answer = Arc<dyn Fn(&Value) -> Result<Value> + Send + Sync>;

/// Engines with agents that are functions.
#[derive(Clone, Default)]
struct Host {
    calls: Calls,
    agents: Vec<(String, Answer)>,
}

impl Host {
    fn agent(mut self, name: &str, answer: impl Fn(&Value) -> Result<Value> + Send + Sync + 'static) -> Self {
        self.agents.push((name.to_owned(), Arc::new(answer)));
        self
    }

    fn says(self, name: &str, answer: impl Into<Value>) -> Self {
        let answer = answer.into();
        self.agent(name, move |_| Ok(answer.clone()))
    }

    fn fails(self, name: &str) -> Self {
        self.agent(name, |_| Err(Error::new(ErrorKind::InvalidInput, "host.call", "no")))
    }

    /// An agent that never answers.
    fn hangs(self, name: &str) -> Self {
        self.agent(name, |_| Ok(json!({ "hang": true })))
    }

    async fn engine(&self, storage: Storage) -> Engine {
        let runtime = Runtime::new(Arc::new(ManualClock::new()), Tasks::current().unwrap());
        let mut journal = JournalConfig::default();
        journal.owner = Some("host".into());
        let builder = Engine::builder().storage_handle(storage).runtime(runtime).journal(journal);
        let engine = builder.build().await.unwrap();
        for (name, answer) in &self.agents {
            let (calls, answer) = (self.calls.clone(), Arc::clone(answer));
            let spec = AgentSpec::new(name.as_str()).unwrap();
            let agent = FunctionAgent::new(spec, move |ctx, input| {
                calls.0.lock().unwrap().push((ctx.path().to_string(), input.input.clone()));
                let answer = answer(&input.input);
                async move {
                    tokio::task::yield_now().await;
                    if answer.as_ref().is_ok_and(|it| it.get("hang").is_some()) {
                        std::future::pending::<()>().await;
                    }
                    answer
                }
            });
            engine.register(agent).unwrap();
        }
        engine
    }

    async fn run<K: Into<PatternKind>>(
        &self,
        pattern: PatternBuilder<K>,
        input: impl Into<Value>,
    ) -> Result<Outcome> {
        self.engine(Storage::memory()).await.run(pattern, input.into()).await
    }

    async fn decide<K: Into<PatternKind>>(
        &self,
        pattern: PatternBuilder<K>,
        input: impl Into<Value>,
    ) -> Decision {
        let outcome = self.run(pattern, input).await.unwrap();
        Decision::of(&outcome.output).unwrap()
    }
}

fn host() -> Host {
    Host::default()
}

fn position(of: &str) -> Value {
    format!("Because.\nPosition: {of}\nConfidence: 0.9").into()
}

#[tokio::test]
async fn a_sequence_hands_on_what_each_gave_and_goes_past_one_that_is_optional() {
    let adds = |input: &Value| Ok(json!(input.as_i64().unwrap() + 1));
    let host = host().agent("a", adds).agent("b", adds).fails("shy");
    let members = [Member::new("a"), Member::new("shy").optional(), Member::new("b")];
    let decision = host.decide(sequential(members), 1).await;
    assert_eq!((decision.answer, decision.stopped), (json!(3), Stopped::Complete));
    assert_eq!((decision.missing.len(), decision.missing[0].agent.as_str()), (1, "shy"));
    assert_eq!(decision.missing[0].error.as_ref().unwrap().kind(), ErrorKind::InvalidInput);
}

#[tokio::test]
async fn a_sequence_that_fails_takes_back_what_was_done_last_first_and_stays_failed() {
    let host = host().says("a", 1).says("b", 2).fails("c").says("undo", Value::Null);
    let members = [Member::new("a").with_undo("undo"), Member::new("b").with_undo("undo"), Member::new("c")];
    let engine = host.engine(Storage::memory()).await;
    let err = engine.run(sequential(members), json!(0)).await.unwrap_err();
    assert_eq!(
        (err.kind(), err.get("member"), err.get("taken back")),
        (ErrorKind::InvalidInput, Some("c"), Some("b, a"))
    );
    assert_eq!(host.calls.of("undo"), [json!(2), json!(1)]);
    host.calls.take();
    let again = engine.resume(err.get("run").unwrap().parse().unwrap()).await.unwrap_err();
    assert_eq!((again.kind(), again.get("member")), (ErrorKind::InvalidInput, Some("c")));
    assert_eq!(host.calls.take(), [""; 0], "what was taken back is not begun again");
}

#[tokio::test]
async fn a_group_counts_votes_and_says_who_was_against_it_and_who_is_missing() {
    let host = host().says("a", "Yes").says("b", "no").says("c", "yes.").fails("d");
    let members = [Member::new("a"), Member::new("b").with_weight(1.5), Member::new("c"), Member::new("d")];
    let decision = host.decide(parallel(members).aggregate(Aggregate::Vote), "Shall we?").await;
    let tally = decision.tally.unwrap();
    assert_eq!((decision.answer, decision.agreed), (json!("Yes"), true));
    assert_eq!((tally.sides[0].weight, tally.sides[0].share), (2.0, 2.0 / 4.5));
    assert_eq!((tally.dissent[0].agent.as_str(), decision.missing[0].agent.as_str()), ("b", "d"));
}

#[tokio::test]
async fn a_group_that_has_enough_stops_the_others_and_lists_them() {
    let host = host().says("a", 1).says("b", 1).hangs("c");
    for complete in [Complete::Any, Complete::Majority] {
        let pattern = parallel(["a", "b", "c"]).complete(complete);
        let decision = host.decide(pattern, 0).await;
        assert_eq!(decision.stopped, Stopped::Enough, "{complete:?}");
        assert!(decision.missing.iter().any(|it| it.agent == "c" && it.error.is_none()));
    }
    let weighty = [Member::new("a").with_weight(8.0), Member::new("b"), Member::new("c")];
    assert_eq!(host.decide(parallel(weighty).threshold(0.7), 0).await.stopped, Stopped::Enough);
}

#[tokio::test]
async fn a_group_of_which_too_few_answer_fails_and_fail_fast_waits_for_nobody() {
    let host = host().says("a", 1).fails("b").fails("c").hangs("d");
    let err = host.run(parallel(["a", "b", "c"]).complete(Complete::Majority), 0).await.unwrap_err();
    assert_eq!(
        (err.kind(), err.get("needed"), err.get("answered")),
        (ErrorKind::InvalidOutput, Some("2"), Some("1"))
    );
    let err = host.run(parallel(["b", "d"]).fail_fast(), 0).await.unwrap_err();
    assert_eq!(err.get("member"), Some("b"));
    let err = host.run(parallel(["b", "c"]), 0).await.unwrap_err();
    assert_eq!((err.kind(), err.get("missing")), (ErrorKind::InvalidInput, Some("2")));
}

#[tokio::test]
async fn a_debate_stops_when_its_sides_agree() {
    let turns = |input: &Value| {
        let late = input["round"].as_u64() > Some(1);
        Ok(position(if late { "Wait!" } else { "ship" }))
    };
    let host = host().agent("pro", turns).says("con", position("wait"));
    for format in
        [DebateFormat::RoundRobin, DebateFormat::FreeForm, DebateFormat::Structured, DebateFormat::Socratic]
    {
        let decision = host.decide(debate(["pro", "con"]).turns(2).format(format), "When?").await;
        assert_eq!((decision.stopped, decision.rounds), (Stopped::Consensus, 2), "{format:?}");
        assert!(decision.agreed && (decision.confidence - 0.9).abs() < 1e-9);
        let phases: Vec<&str> = decision.turns.iter().map(|turn| turn.phase.as_str()).collect();
        let first = match format {
            DebateFormat::Structured => "opening",
            DebateFormat::Socratic => "question",
            _ => "argument",
        };
        assert_eq!(phases[0], first);
    }
    let heard = host.calls.of("con");
    assert!(heard.iter().any(|input| input["goal"].as_str().unwrap().contains("pro, round 1: Because.")));
}

#[tokio::test]
async fn the_judge_of_a_debate_decides_and_one_that_fails_leaves_it_to_the_votes() {
    let sides = || host().says("pro", position("ship")).says("con", position("wait"));
    let patient = |input: &Value| {
        let go_on = json!({ "answer": null, "decided": false, "position": "not yet" });
        Ok(if input["last"] == true { json!("Position: ship\nConfidence: 0.6") } else { go_on })
    };
    let pattern = || debate(["pro", "con"]).judge("judge").rounds(3).turns(1);
    let decision = sides().agent("judge", patient).decide(pattern(), "When?").await;
    assert_eq!((decision.answer, decision.stopped), (json!("ship"), Stopped::Judged));
    assert_eq!((decision.rounds, decision.confidence), (3, 0.6));
    let decision = sides().says("judge", "Position: wait").decide(pattern(), "When?").await;
    assert_eq!((decision.answer, decision.rounds), (json!("wait"), 1));
    let decision = sides().fails("judge").decide(pattern(), "When?").await;
    assert_eq!((decision.answer, decision.agreed, decision.stopped), (Value::Null, false, Stopped::Rounds));
    assert_eq!(decision.missing.iter().filter(|it| it.agent == "judge").count(), 3);
    assert!(decision.tally.unwrap().tie.is_some());
    let weighty = [Member::new("pro").with_weight(2.0), Member::new("con")];
    let decision = sides().decide(debate(weighty).consensus(Consensus::WeightedVote), "When?").await;
    assert_eq!((decision.answer, decision.stopped), (json!("ship"), Stopped::Consensus));
}

#[tokio::test]
async fn a_side_that_says_nothing_is_missing_and_a_debate_with_one_voice_ends() {
    let host = host().says("pro", position("ship")).says("con", "  ");
    let decision = host.decide(debate(["pro", "con"]), "When?").await;
    assert_eq!((decision.stopped, decision.agreed), (Stopped::TooFew, false));
    assert_eq!(decision.missing[0].error.as_ref().unwrap().kind(), ErrorKind::InvalidOutput);
    assert_eq!(decision.irregular[0].agent, "con");
}

#[tokio::test]
async fn a_verification_sends_back_what_does_not_pass_with_the_notes() {
    let author = |input: &Value| {
        let notes = input["notes"].as_array().map_or(0, Vec::len);
        Ok(format!("draft after {notes} notes").into())
    };
    let strict = |input: &Value| {
        let good = input["draft"] == "draft after 2 notes";
        Ok(
            json!({ "verdict": if good { "approve" } else { "request_revision" }, "score": if good { 0.9 } else { 0.5 } }),
        )
    };
    let host = host().agent("author", author).agent("strict", strict).says("kind", "Score: 1");
    let decision = host.decide(verification(["strict", "kind"]).author("author"), "Write.").await;
    assert_eq!((decision.answer, decision.verdict), (json!("draft after 2 notes"), Some(Verdict::Approve)));
    assert_eq!((decision.rounds, decision.stopped, decision.agreed), (2, Stopped::Approved, true));
    assert_eq!(host.calls.of("author")[0], json!("Write."), "the first draft is asked for as it was asked");
}

#[tokio::test]
async fn a_verifier_that_says_nonsense_cannot_let_an_answer_pass() {
    let host = host().says("odd", "blue").says("kind", "Verdict: approve").says("author", "it").fails("down");
    for verifiers in [["kind", "odd"], ["kind", "down"]] {
        let decision = host.decide(verification(verifiers).author("author"), "Write.").await;
        assert_eq!((decision.verdict, decision.agreed), (Some(Verdict::Escalate), false));
        assert_eq!(decision.irregular.len() + decision.missing.len(), 1);
    }
    for (said, verdict, stopped) in [
        ("Verdict: reject", Verdict::Reject, Stopped::Rejected),
        ("Verdict: escalate", Verdict::Escalate, Stopped::Escalated),
        ("Verdict: approve with notes", Verdict::ApproveWithNotes, Stopped::Approved),
        ("Verdict: approve\nScore: 0.2", Verdict::RequestRevision, Stopped::Rounds),
    ] {
        let host = self::host().says("it", said);
        let decision = host.decide(verification(["it"]), "The text.").await;
        assert_eq!((decision.verdict, decision.stopped), (Some(verdict), stopped));
        assert_eq!(decision.answer, "The text.");
    }
}

#[tokio::test]
async fn a_reflection_keeps_its_best_draft() {
    let scores = |input: &Value| Ok(json!({ "score": if input["draft"] == "first" { 0.6 } else { 0.3 } }));
    let author = |input: &Value| Ok(json!(if input.is_string() { "first" } else { "worse" }));
    let host = host().agent("author", author).agent("critic", scores);
    let decision = host.decide(reflection("author").critic("critic"), "Write.").await;
    assert_eq!((decision.answer, decision.stopped), (json!("first"), Stopped::Rounds));
    assert_eq!((decision.rounds, decision.confidence, decision.agreed), (3, 0.6, false));
}

#[tokio::test]
async fn a_panel_comes_to_one_answer_in_each_way() {
    let host = host()
        .says("first", "Position: a\nConfidence: 0.9")
        .says("second", "Position: b\nConfidence: 0.5")
        .says("reviewer", json!({ "scores": { "first": 0.2, "second": 0.8 }, "score": 0.75 }))
        .says("lead", "Confidence: 0.8\nBoth.");
    let experts = || vec![Member::new("first"), Member::new("second").with_weight(3.0)];
    let reviewed = || {
        let mut members = experts();
        members.push(Member::new("reviewer").with_role(Role::Reviewer));
        members
    };
    let decision = host.decide(expert_panel(reviewed()).coordinator("lead"), "Which?").await;
    assert_eq!((decision.answer, decision.stopped), (json!("Confidence: 0.8\nBoth."), Stopped::Judged));
    assert!(host.calls.of("lead")[0]["goal"].as_str().unwrap().contains("second"));
    let of = |strategy| expert_panel(experts()).strategy(strategy);
    let decision = host.decide(of(PanelStrategy::Consensus), "Which?").await;
    assert_eq!((decision.answer, decision.agreed), (json!("b"), true));
    let best = expert_panel(reviewed()).strategy(PanelStrategy::BestSolution);
    let decision = host.decide(best, "Which?").await;
    assert_eq!((decision.answer, decision.agreed, decision.confidence), (json!("b"), true, 0.8));
    let decision = host.decide(of(PanelStrategy::WeightedMerge), "Which?").await;
    assert_eq!(decision.answer, json!(["Position: b\nConfidence: 0.5", "Position: a\nConfidence: 0.9"]));
    let decision = host.decide(of(PanelStrategy::SequentialBuild), "Which?").await;
    assert_eq!((decision.answer, decision.agreed), (json!("Position: b\nConfidence: 0.5"), false));
}

#[tokio::test]
async fn every_item_is_mapped_and_lots_are_reduced_until_one_is_left() {
    let sum = |input: &Value| {
        Ok(json!(input["items"].as_array().unwrap().iter().filter_map(Value::as_i64).sum::<i64>()))
    };
    let double = |input: &Value| Ok(json!(input.as_i64().unwrap() * 2));
    let odd = |input: &Value| match input.as_i64() {
        Some(3) => Err(Error::new(ErrorKind::InvalidInput, "host.call", "not three")),
        other => Ok(json!(other)),
    };
    let count = |input: &Value| Ok(json!(input["items"].as_array().unwrap().len()));
    let nulls = map_reduce(["null"]).reducer("count");
    let host = host().agent("double", double).agent("odd", odd).agent("sum", sum);
    let decision =
        host.decide(map_reduce(["double"]).reducer("sum").at_once(2), json!([1, 2, 3, 4, 5])).await;
    assert_eq!((decision.answer, decision.rounds), (json!(30), 4));
    assert_eq!(host.calls.of("sum").len(), 3 + 2 + 1);
    let err = host.run(map_reduce(["odd"]), json!([1, 3])).await.unwrap_err();
    assert_eq!(err.get("item"), Some("1"));
    let decision = host.decide(map_reduce(["odd"]).threshold(0.5), json!({ "items": [1, 3] })).await;
    assert_eq!((decision.answer, decision.agreed), (json!([1, null]), false));
    let decision =
        self::host().says("null", Value::Null).agent("count", count).decide(nulls, json!([1, 2])).await;
    assert_eq!(decision.answer, json!(2), "an output that is null is an output");
    let err = host.run(map_reduce(["odd"]), "no list").await.unwrap_err();
    assert_eq!(err.kind(), ErrorKind::InvalidInput);
}

#[tokio::test]
async fn patterns_lie_in_each_other_and_in_workflows() {
    let host = host().says("a", "yes").says("b", "yes").says("c", "no").says("d", position("yes"));
    let vote = || parallel(["a", "b", "c"]).aggregate(Aggregate::Majority).name("vote");
    let decision = host.decide(debate([Member::from(vote()), "d".into()]), "Shall we?").await;
    assert_eq!((decision.answer, decision.stopped), (json!("yes"), Stopped::Consensus));
    let engine = host.engine(Storage::memory()).await;
    engine.register(vote().answer_only()).unwrap();
    let flow = Workflow::builder("flow").step("ask", agent("vote")).build().unwrap();
    let outcome = engine.run(flow, "Shall we?").await.unwrap();
    assert_eq!(outcome.output, "yes");
    let entries = engine.history(outcome.run_id, 0, 99).await.unwrap();
    let record = entries.iter().find(|entry| entry.path.ends_with("/decision")).unwrap();
    let Fact::StepCompleted { value, .. } = &record.fact else { panic!("{record:?}") };
    assert_eq!(Decision::of(value).unwrap().turns.len(), 3);
}

#[tokio::test]
async fn what_is_wrong_with_a_pattern_or_its_members_is_told_before_anybody_is_asked() {
    let host = host().says("a", 1);
    let err = host.run(debate(["alone"]), "When?").await.unwrap_err();
    assert_eq!(err.kind(), ErrorKind::InvalidInput);
    assert!(format!("{err:#}").contains("two sides"), "{err:#}");
    let err = host.run(parallel(["a", "nobody"]), "When?").await.unwrap_err();
    assert_eq!((err.kind(), err.get("member")), (ErrorKind::NotFound, Some("nobody")));
    assert!(host.calls.take().is_empty());
}

#[tokio::test]
async fn a_run_goes_on_only_with_the_options_that_it_began_with() {
    let host = host().fails("a").fails("b");
    let storage = Storage::memory();
    let engine = host.engine(storage.clone()).await;
    let err = engine.run(parallel(["a", "b"]).name("ask"), json!(0)).await.unwrap_err();
    let run: RunId = err.get("run").unwrap().parse().unwrap();
    engine.shutdown().await.unwrap();
    for (changed, step) in [
        (parallel(["a", "b"]).fail_fast(), "options"),
        (parallel([Member::new("a"), Member::new("b").with_weight(2.0)]), "options"),
    ] {
        let engine = host.engine(storage.clone()).await;
        engine.register(changed.name("ask")).unwrap();
        let err = engine.resume(run).await.unwrap_err();
        assert_eq!((err.kind(), err.get("step")), (ErrorKind::Conflict, Some(step)));
        engine.shutdown().await.unwrap();
    }
}

#[tokio::test]
async fn a_pattern_that_used_up_its_tokens_ends_with_what_it_has() {
    let script = ScriptedModel::new(
        ["Position: ship", "Position: wait"].map(|text| Reply::text(text).with_usage(Usage::new(3, 4))),
    );
    let engine = Engine::builder().build().await.unwrap();
    for name in ["pro", "con"] {
        engine
            .register(Agent::builder(name).model_instance(Model::new(script.clone())).build().unwrap())
            .unwrap();
    }
    let pattern = debate(["pro", "con"]).format(DebateFormat::FreeForm).tokens(1);
    let outcome = engine.run(pattern, "When?").await.unwrap();
    let decision = Decision::of(&outcome.output).unwrap();
    assert_eq!((decision.stopped, decision.turns.len()), (Stopped::Tokens, 2));
    assert!(matches!(outcome.finish, Finish::Limited(_)) && outcome.usage.total_tokens() > 0);
}

/// A debate, a verification and a group that stops early, one inside of the other.
fn everything() -> (Host, Pattern) {
    let host = host()
        .says("pro", position("ship"))
        .says("con", position("wait"))
        .says("fast", position("ship"))
        .says("judge", "Position: ship")
        .fails("down")
        .agent("critic", |input| Ok(json!({ "score": if input["round"] == 2 { 0.9 } else { 0.1 } })))
        .says("writer", "Position: ship");
    let first = parallel(["fast", "down"]).aggregate(Aggregate::Vote).name("group");
    let written = reflection("writer").critic("critic").name("written");
    let members = [Member::new("pro"), "con".into(), first.into(), written.into()];
    let whole = debate(members).consensus(Consensus::Unanimous).judge("judge").rounds(2).turns(1);
    (host, whole.name("whole").build().unwrap())
}

#[tokio::test]
async fn a_crash_at_any_append_repeats_no_acknowledged_turn_and_changes_no_decision() {
    let (host, whole) = everything();
    let store = MemoryStore::new();
    let (storage, log) = FaultyLog::storage(&store, []);
    let engine = host.engine(storage).await;
    let expected = engine.run(&whole, "When?").await.unwrap().output;
    let (appends, calls) = (log.calls(), host.calls.take().len());
    assert_eq!(Decision::of(&expected).unwrap().stopped, Stopped::Judged);
    assert!(appends >= 20, "{appends}");
    let mut repeated = 0;
    for fault in [Fault::Before, Fault::After] {
        for broken in 1..appends {
            let at = format!("{fault:?} {broken}");
            let store = MemoryStore::new();
            let faults =
                (broken..999).map(|append| (append, if append == broken { fault } else { Fault::Before }));
            let engine = host.engine(FaultyLog::storage(&store, faults).0).await;
            let run = engine.start(&whole, "When?").await.unwrap();
            let id = run.id();
            run.outcome().await.unwrap_err();
            engine.shutdown().await.unwrap();
            let before = host.calls.take();

            let engine = host.engine(FaultyLog::storage(&store, []).0).await;
            engine.register(whole.clone()).unwrap();
            let entries = engine.history(id, 0, usize::MAX).await.unwrap();
            let ended = |fact: &Fact| matches!(fact, Fact::StepCompleted { .. } | Fact::StepFailed { .. });
            let done: Vec<_> = entries
                .iter()
                .filter(|entry| ended(&entry.fact))
                .map(|entry| entry.path.to_string())
                .collect();
            let outcome = engine.resume(id).await.unwrap_or_else(|err| panic!("{at}: {err:#}"));
            assert_eq!(outcome.output, expected, "{at}");
            let again = host.calls.take();
            for path in &again {
                // An agent stands below its turn.
                let below =
                    |done: &String| path.strip_prefix(done.as_str()).is_some_and(|it| it.starts_with('/'));
                assert!(!done.iter().any(below), "{at}: {path} ran again although its turn is recorded");
            }
            repeated += again.iter().filter(|path| before.contains(path)).count();
            let mut times: HashMap<&String, usize> = HashMap::new();
            before.iter().chain(&again).for_each(|path| *times.entry(path).or_default() += 1);
            assert_eq!(times.len(), calls, "{at}");
            assert!(times.values().all(|times| *times <= 2), "{at}: {times:?}");
            engine.shutdown().await.unwrap();
        }
    }
    assert!(repeated > 0, "no crash fell between a turn and its record");
}

#[test]
fn a_spec_reads_as_it_is_written() {
    let (_, whole) = everything();
    let text = serde_json::to_string(whole.spec()).unwrap();
    assert_eq!(&PatternSpec::from_json(&text).unwrap(), whole.spec());
}
