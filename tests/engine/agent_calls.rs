//! Agents that ask other agents: cost, resume, depth, circles, failures and cancellation.

use std::sync::Arc;

use raptorflow_core::{
    Agent, Engine,
    agent::{AgentBuilder, AgentSpec, Capability, FunctionAgent, Limits},
    economics::PriceBook,
    error::{Error, ErrorKind},
    journal::{Fact, RunState},
    model::{ChatRequest, Model},
    orchestrator::{Orchestrator, Supervisor},
    storage::{MemoryStore, Storage},
    testing::{Fault, FaultyLog, Reply, ScriptedModel},
    tool::Tool as _,
    types::{Effects, Finish, Limit, Money, Part, Role, Schema, Usage},
    workflow::{self, Workflow},
};
use serde_json::{Value, json};

use crate::support::{agent, calls, engine, entries, events, facts, run_of, settle, standing_still, texts};

/// An agent with a script of its own.
fn scripted(name: &str, script: &ScriptedModel) -> AgentBuilder {
    agent(name).model_instance(Model::new(script.clone()))
}

fn task(text: &str) -> Value {
    json!({ "task": text })
}

/// What the tools of the last request of a script said.
fn told(script: &ScriptedModel) -> Vec<Value> {
    let requests = script.requests();
    let parts = requests.last().unwrap().messages.iter().flat_map(|message| &message.parts);
    let content = |part: &Part| match part {
        Part::ToolResult(result) => Some(result.content.clone()),
        _ => None,
    };
    parts.filter_map(content).collect()
}

async fn empty() -> Engine {
    Engine::builder().build().await.unwrap()
}

#[tokio::test]
async fn an_agent_answers_as_a_tool_in_the_journal_of_the_caller() {
    let low = ScriptedModel::new([Reply::text("₹499").with_usage(Usage::new(5, 1))]);
    let high = ScriptedModel::new([
        calls(&[("a", "pricing", json!({ "task": "What does it cost?", "background": "the launch" }))]),
        Reply::text("It costs ₹499.").with_usage(Usage::new(7, 2)),
    ]);
    let pricing = scripted("pricing", &low).description("Knows prices.").build().unwrap();
    let writer = scripted("writer", &high).tool(pricing.as_tool()).build().unwrap();
    let engine = empty().await;
    let outcome = engine.run(&writer, "Write about the price.").await.unwrap();

    assert_eq!((outcome.text().as_str(), outcome.usage), ("It costs ₹499.", Usage::new(12, 3)));
    assert_eq!(
        texts(&low.requests()[0]),
        ["What follows is a part of this: the launch", "What does it cost?"]
    );
    assert_eq!(high.requests()[0].tools[0].description, "Knows prices.");
    assert_eq!(told(&high), ["₹499"]);
    assert_eq!(
        facts(&engine, outcome.run_id).await,
        [
            "execution_started",
            "model_responded",
            "1.a.pricing: model_responded",
            "agent_answered",
            "tool_returned",
            "model_responded",
            "execution_completed"
        ]
    );
    let started: Vec<_> = events(&engine, outcome.run_id)
        .iter()
        .filter(|event| event.kind.name() == "agent_started")
        .map(|event| event.agent.as_ref().unwrap().to_string())
        .collect();
    assert_eq!(started, ["writer", "pricing"]);
    assert_eq!(low.keys(), [Some(format!("{}/1.a.pricing/0/model", outcome.run_id))]);
}

#[tokio::test]
async fn what_an_asked_agent_took_counts_for_the_caller_within_a_workflow_too() {
    let prices = r#"
        [[price]]
        model = "scripted:model"
        currency = "USD"
        input = 1_000_000
        output = 1_000_000
        valid_from = 2020-01-01
    "#;
    let low = ScriptedModel::new([]).always(Reply::text("low").with_usage(Usage::new(10, 0)));
    let high = ScriptedModel::new([
        calls(&[("a", "low", task("x")), ("b", "plain", task("y"))]),
        Reply::text("high").with_usage(Usage::new(1, 0)),
    ]);
    let plain = FunctionAgent::new(AgentSpec::new("plain").unwrap(), |_ctx, _input| async { Ok("p".into()) });
    let high = scripted("high", &high)
        .tool(scripted("low", &low).build().unwrap().as_tool())
        .tool(Agent::new(plain).as_tool())
        .build()
        .unwrap();
    let prices = PriceBook::from_toml("prices.toml", prices).unwrap();
    let engine = Engine::builder().prices(prices).build().await.unwrap();
    engine.register(high).unwrap();
    let flow = Workflow::builder("flow").step("ask", workflow::agent("high")).build().unwrap();
    let outcome = engine.run(&flow, "go").await.unwrap();
    assert_eq!((outcome.output, outcome.usage), (json!("high"), Usage::new(11, 0)));
    let cost = outcome.cost.unwrap();
    assert_eq!(cost, Money::new(11, cost.currency));
    // Counted once in the run, although the caller's journal has it too.
    let all = entries(&engine, outcome.run_id).await;
    assert_eq!(RunState::of(&all).summary.usage, Usage::new(11, 0));
    let answered = all.iter().filter(|entry| matches!(entry.fact, Fact::AgentAnswered { .. })).count();
    assert_eq!(answered, 2);
}

#[tokio::test]
async fn what_an_asked_agent_took_counts_for_the_limits_of_the_caller() {
    let low = scripted("low", &asking("low", None)).build().unwrap();
    let mut limits = Limits::default();
    limits.tokens = Some(1);
    let high = scripted("high", &asking("high", Some("low"))).limits(limits).tool(low.as_tool());
    let outcome = empty().await.run(high.build().unwrap(), "go").await.unwrap();
    assert_eq!(outcome.finish, Finish::Limited(Limit::Tokens));
}

/// A model that asks an agent first, and answers with its own name once it has a result.
fn asking(name: &'static str, whom: Option<&str>) -> ScriptedModel {
    let answered = |request: &ChatRequest| request.messages.iter().any(|it| it.role == Role::Tool);
    let answer = Reply::text(name).with_usage(Usage::new(1, 0));
    let script = ScriptedModel::new([]).when(answered, answer.clone());
    script.always(whom.map_or(answer, |whom| Reply::tool_calls([(whom, task("go on"))])))
}

/// Plays a call of an agent that asks a third one, with a fault at one append, and resumes it.
async fn check_fault(at: usize, fault: Fault) -> bool {
    let (store, (clock, runtime)) = (MemoryStore::new(), standing_still());
    let (storage, log) = FaultyLog::storage(&store, [(at, fault)]);
    let scripts = [asking("top", Some("middle")), asking("middle", Some("low")), asking("low", None)];
    let [top, middle, low] = &scripts;
    let low = scripted("low", low).build().unwrap();
    let middle = scripted("middle", middle).tool(low.as_tool()).build().unwrap();
    let top = scripted("top", top).tool(middle.as_tool()).build().unwrap();
    let asked = || scripts.iter().map(|script| script.requests().len()).sum::<usize>();
    let first = Engine::builder().storage_handle(storage).runtime(runtime.clone()).build().await.unwrap();
    let err = match first.run(&top, "go").await {
        Ok(outcome) => {
            assert!(at >= log.calls(), "the fault at append {at} was swallowed");
            assert_eq!((outcome.text().as_str(), outcome.usage), ("top", Usage::new(3, 0)));
            return false;
        }
        Err(err) => err,
    };
    assert_eq!(err.kind(), ErrorKind::Unavailable, "append {at} {fault:?}: {err}");
    let run = run_of(&err);
    drop(first);
    clock.advance(std::time::Duration::from_secs(60));
    let storage = Storage::from_store(Arc::new(store));
    let second = Engine::builder().storage_handle(storage).runtime(runtime).build().await.unwrap();
    second.register(top).unwrap();
    if at == 0 && fault == Fault::Before {
        return true;
    }
    let is_answer = |fact: &Fact| matches!(fact, Fact::ModelResponded { .. });
    let paid = entries(&second, run).await.iter().filter(|entry| is_answer(&entry.fact)).count();
    let before = asked();
    let outcome = second.resume(run).await.unwrap();
    // Only an answer whose fact was lost was asked for again.
    assert_eq!(asked() - before, 5 - paid, "append {at} {fault:?}");
    assert_eq!((outcome.text().as_str(), outcome.usage), ("top", Usage::new(3, 0)));
    let results = |fact: &Fact| matches!(fact, Fact::ToolReturned { result } if !result.is_error);
    let all = entries(&second, run).await;
    assert_eq!(all.iter().filter(|entry| results(&entry.fact)).count(), 2, "append {at} {fault:?}");
    assert_eq!(second.resume(run).await.unwrap(), outcome);
    true
}

#[tokio::test]
async fn a_resume_pays_nothing_twice_over_three_agents() {
    for fault in [Fault::Before, Fault::After] {
        let mut at = 0;
        while check_fault(at, fault).await {
            at += 1;
        }
        assert_eq!(at, 9, "appends of the story");
    }
}

#[tokio::test]
async fn calls_are_at_most_five_deep_and_a_limit_may_say_less() {
    for (depth, reached) in [(None, 6), (Some(1), 2), (Some(0), 1)] {
        let names: Vec<String> = (0..8).map(|level| format!("level-{level}")).collect();
        let engine = empty().await;
        let mut scripts = Vec::new();
        for (level, name) in names.iter().enumerate() {
            let below = names.get(level + 1);
            let script = asking("answer", below.map(String::as_str));
            let mut limits = Limits::default();
            limits.depth = depth.unwrap_or(limits.depth);
            let agent = scripted(name, &script).limits(limits);
            let agent = match below {
                Some(below) => agent.agent(below.as_str()),
                None => agent,
            };
            engine.register(agent.build().unwrap()).unwrap();
            scripts.push(script);
        }
        assert_eq!(engine.run("level-0", "go").await.unwrap().text(), "answer");
        let asked = scripts.iter().filter(|script| !script.requests().is_empty()).count();
        assert_eq!(asked, reached);
        let told = told(&scripts[reached - 1]);
        assert_eq!(told[0]["error"], "limit_exceeded");
        let message = told[0]["message"].as_str().unwrap();
        let chain = names[..=reached].join(" → ");
        assert!(message.contains(&chain), "{message}");
    }
}

#[tokio::test]
async fn an_agent_is_not_asked_below_itself_not_even_through_a_workflow() {
    let engine = empty().await;
    for (name, whom) in [("a", "b"), ("b", "a"), ("c", "flow")] {
        let agent = scripted(name, &asking(name, Some(whom))).agent(whom);
        engine.register(agent.build().unwrap()).unwrap();
    }
    let flow = Workflow::builder("flow").step("ask", workflow::agent("c")).build().unwrap();
    engine.register(flow).unwrap();
    let message_of = |all: &[raptorflow_core::journal::Entry]| {
        let error = |entry: &raptorflow_core::journal::Entry| match &entry.fact {
            Fact::ToolReturned { result } if result.is_error => Some(result.content.clone()),
            _ => None,
        };
        let errors: Vec<Value> = all.iter().filter_map(error).collect();
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert_eq!(errors[0]["error"], "invalid_input");
        errors[0]["message"].as_str().unwrap().to_owned()
    };
    for (target, chain) in [("a", "a → b → a"), ("c", "c → flow → c"), ("flow", "flow → c → flow")]
    {
        let outcome = engine.run(target, "go").await.unwrap();
        let message = message_of(&entries(&engine, outcome.run_id).await);
        assert!(message.contains(chain), "{message}");
    }
    let err = agent("a").agent("a").build().unwrap_err();
    assert_eq!((err.kind(), err.get("field")), (ErrorKind::InvalidInput, Some("agents")));
}

#[tokio::test]
async fn the_agents_of_an_orchestration_count_it_as_above_them() {
    let mut limits = Limits::default();
    limits.depth = 1;
    let lead = scripted("lead", &asking("lead", Some("low"))).limits(limits);
    let lead = lead.tool(scripted("low", &asking("low", None)).build().unwrap().as_tool()).build().unwrap();
    let team = toml::from_str(
        "name = 'team'\ntitle = 'Team'\nconcern = ''\nheading = 'Team'\ndescription = 'Works.'",
    );
    let team = Supervisor::new(team.unwrap(), lead, vec![]);
    let engine = empty().await;
    engine.register(Orchestrator::new("office", vec![team]).unwrap()).unwrap();
    let run = engine.run("office", "go").await.unwrap().run_id;
    let all = entries(&engine, run).await;
    let result = all.iter().find_map(|entry| match &entry.fact {
        Fact::ToolReturned { result } => Some((&*entry.path, result.content["message"].to_string())),
        _ => None,
    });
    let (path, message) = result.unwrap();
    assert_eq!(path, "team/lead");
    assert!(message.contains("office → lead → low"), "{message}");
}

#[tokio::test]
async fn a_failure_of_its_own_is_told_and_one_of_the_run_ends_it() {
    let own = || Error::new(ErrorKind::NotFound, "host.find", "there is no such plan");
    let down = || Error::new(ErrorKind::Unavailable, "host.call", "the host is down");
    let fails = |err: Error| {
        FunctionAgent::new(AgentSpec::new("low").unwrap(), move |_ctx, _input| {
            let err = err.clone();
            async move { Err(err) }
        })
    };
    let high = asking("high", Some("low"));
    let engine = empty().await;
    engine.register(scripted("high", &high).agent("low").build().unwrap()).unwrap();
    engine.register(fails(own())).unwrap();
    let outcome = engine.run("high", "go").await.unwrap();
    assert_eq!(outcome.text(), "high");
    assert_eq!(told(&high)[0]["error"], "not_found");

    assert!(engine.agents().remove("low"));
    engine.register(fails(down())).unwrap();
    let err = engine.run("high", "go").await.unwrap_err();
    assert_eq!((err.kind(), err.get("asked")), (ErrorKind::Unavailable, Some("low")));
    // A resume asks it again, and the caller only from there.
    assert!(engine.agents().remove("low"));
    let up = FunctionAgent::new(AgentSpec::new("low").unwrap(), |_ctx, _input| async { Ok("up".into()) });
    engine.register(up).unwrap();
    let asked = high.requests().len();
    assert_eq!(engine.resume(run_of(&err)).await.unwrap().text(), "high");
    assert_eq!((high.requests().len() - asked, told(&high)), (1, vec![json!("up")]));
}

#[tokio::test]
async fn a_capability_is_a_tool_with_its_own_arguments() {
    let schema =
        json!({ "type": "object", "properties": { "net": { "type": "number" } }, "required": ["net"] });
    let capability = Capability {
        name: "gross".into(),
        description: "Adds the tax.".into(),
        timeout_seconds: 7,
        retries: 3,
        effects: raptorflow_core::types::Effects::External,
        cache_seconds: 300,
        input: Schema::new(schema.clone()).unwrap(),
        output: Schema::new(json!({ "type": "number" })).unwrap(),
    };
    let spec = AgentSpec { capabilities: vec![capability], ..AgentSpec::new("tax").unwrap() };
    let tax = Agent::new(FunctionAgent::new(spec, |_ctx, input| async move {
        Ok(json!(input.input["net"].as_f64().unwrap() * 1.5))
    }));
    let tool = tax.as_tool().for_capability("gross").unwrap();
    let spec = tool.spec();
    assert_eq!((spec.name.as_str(), spec.description.as_str()), ("tax_gross", "Adds the tax."));
    assert_eq!((spec.parameters.as_value(), spec.timeout.as_secs()), (&schema, 7));
    let err = tax.as_tool().for_capability("net").unwrap_err();
    assert_eq!((err.kind(), err.get("known")), (ErrorKind::NotFound, Some("gross")));
    let script = ScriptedModel::new([
        calls(&[("a", "tax_gross", json!({ "net": 2 })), ("b", "tax_gross", json!({}))]),
        Reply::text("done"),
    ]);
    let engine = empty().await;
    engine.run(scripted("clerk", &script).tool(tool).build().unwrap(), "go").await.unwrap();
    let told = told(&script);
    assert_eq!((&told[0], &told[1]["error"]), (&json!(3.0), &json!("invalid_input")));
}

#[tokio::test]
async fn agents_that_only_read_are_asked_at_the_same_time() {
    let (low, other) = (ScriptedModel::new([]).always(Reply::hang()), asking("other", None));
    let low = scripted("low", &low).build().unwrap();
    let other_agent = scripted("other", &other).build().unwrap();
    assert_eq!((low.effects(), low.as_tool().spec().effects), (Effects::Read, Effects::Read));
    let names_tools = AgentSpec { tools: vec!["x".into()], ..AgentSpec::new("x").unwrap() };
    assert_eq!(AgentBuilder::from_spec(names_tools).build().unwrap().effects(), Effects::External);
    let high = ScriptedModel::new([calls(&[("a", "low", task("x")), ("b", "other", task("y"))])]);
    let high = scripted("high", &high).tool(low.as_tool()).tool(other_agent.as_tool()).build().unwrap();
    let engine = empty().await;
    let run = engine.start(&high, "go").await.unwrap();
    settle().await;
    assert_eq!(other.requests().len(), 1);
    run.cancel();
    assert_eq!(run.outcome().await.unwrap_err().kind(), ErrorKind::Cancelled);
}

#[tokio::test]
async fn a_tool_of_an_agent_needs_a_run() {
    let low = agent("low").build().unwrap().as_tool();
    let engine = engine(&ScriptedModel::new([])).await;
    let ctx = raptorflow_core::runtime::Context::new(engine.runtime());
    let err = low.call(&ctx, task("x")).await.unwrap_err();
    assert_eq!((err.kind(), err.operation()), (ErrorKind::InvalidInput, "agent.call"));
}
