//! What agents are granted: denied by default where there is a list, and never more than the caller has.

use raptorflow_core::{
    Agent, Engine, ErrorKind,
    agent::{AgentBuilder, Handoff, SkillAgent},
    journal::Fact,
    model::Model,
    skill::Skill,
    testing::{Reply, ScriptedModel},
    tool::{FunctionTool, Tool as _},
    types::{RunId, Schema, ToolSpec},
    workflow::{self, Workflow},
};
use serde_json::{Value, json};

use crate::support::{agent, calls, entries};

fn tool(name: &str) -> FunctionTool {
    let spec = ToolSpec::new(name, "Does what it is called.", Schema::any_object());
    FunctionTool::new(spec, async |_ctx, _arguments| Ok(json!("done")))
}

/// An agent that calls each of these once, and then says its name.
fn calling(name: &'static str, wanted: &[(&str, Value)]) -> AgentBuilder {
    let ids: Vec<String> = (0..wanted.len()).map(|id| format!("c{id}")).collect();
    let wanted: Vec<_> =
        ids.iter().zip(wanted).map(|(id, (tool, given))| (id.as_str(), *tool, given.clone())).collect();
    let first = (!wanted.is_empty()).then(|| calls(&wanted));
    let script = ScriptedModel::new(first).always(Reply::text(name));
    agent(name).model_instance(Model::new(script))
}

async fn empty() -> Engine {
    Engine::builder().build().await.unwrap()
}

/// What the journal has of each call of a tool: what it was, and `done` or what was missing.
async fn told(engine: &Engine, run: RunId) -> Vec<(String, String)> {
    let of = |fact: Fact| match fact {
        Fact::ToolReturned { result } => Some((
            result.name,
            match result.content {
                Value::String(said) => said,
                refused if refused["error"].is_string() => format!(
                    "{} {} {}",
                    refused["error"].as_str().unwrap(),
                    refused["agent"].as_str().unwrap_or("-"),
                    refused["grant"].as_str().unwrap_or_else(|| refused["message"].as_str().unwrap())
                ),
                other => other.to_string(),
            },
        )),
        _ => None,
    };
    entries(engine, run).await.into_iter().filter_map(|entry| of(entry.fact)).collect()
}

fn pairs(all: &[(&str, &str)]) -> Vec<(String, String)> {
    all.iter().map(|(tool, said)| ((*tool).to_owned(), (*said).to_owned())).collect()
}

#[tokio::test]
async fn an_agent_with_grants_calls_nothing_else_and_one_without_calls_all_it_lists() {
    let wanted = [("read", json!({})), ("send", json!({})), ("both", json!({})), ("free", json!({}))];
    let with_tools = |builder: AgentBuilder| {
        let both = tool("both").with_needs(["read", "mail.send"]);
        let free = tool("free").with_needs([""; 0]);
        builder.tool(tool("read")).tool(tool("send").with_needs(["mail.send"])).tool(both).tool(free)
    };
    let engine = empty().await;
    let bound = with_tools(calling("bound", &wanted)).grants(["read"]).build().unwrap();
    let run = engine.run(bound, "go").await.unwrap().run_id;
    let no = "permission_denied bound mail.send";
    assert_eq!(
        told(&engine, run).await,
        pairs(&[("read", "done"), ("send", no), ("both", no), ("free", "done")])
    );
    let none = with_tools(calling("none", &wanted)).grants([""; 0]).build().unwrap();
    let run = engine.run(none, "go").await.unwrap().run_id;
    assert_eq!(told(&engine, run).await[0].1, "permission_denied none read");
    let open = with_tools(calling("open", &wanted)).build().unwrap();
    let run = engine.run(open, "go").await.unwrap().run_id;
    assert!(told(&engine, run).await.iter().all(|(_, said)| said == "done"));
}

#[tokio::test]
async fn an_agent_below_has_what_its_caller_has_and_no_more() {
    let engine = empty().await;
    let below = |name, grants: Option<&[&str]>| {
        let builder = calling(name, &[("read", json!({})), ("send", json!({}))]);
        let builder = builder.tool(tool("read")).tool(tool("send"));
        let builder = match grants {
            Some(grants) => builder.grants(grants.iter().copied()),
            None => builder,
        };
        builder.build().unwrap()
    };
    let task = json!({ "task": "go" });
    let chief = |low: &Agent| {
        let name = low.name().as_str().to_owned();
        calling("chief", &[(name.as_str(), task.clone())])
            .tool(low.as_tool())
            .grants(["read"])
            .build()
            .unwrap()
    };
    // It has no list of its own.
    let heir = below("heir", None);
    let run = engine.run(chief(&heir), "go").await.unwrap().run_id;
    let no = "permission_denied chief send";
    assert_eq!(told(&engine, run).await, pairs(&[("read", "done"), ("send", no), ("heir", "heir")]));
    // Its list is shorter.
    let run = engine.run(chief(&below("poor", Some(&[]))), "go").await.unwrap().run_id;
    assert_eq!(told(&engine, run).await[0].1, "permission_denied poor read");
    // Its list is longer: it is not asked at all.
    let run = engine.run(chief(&below("rich", Some(&["read", "send"]))), "go").await.unwrap().run_id;
    let told = told(&engine, run).await;
    assert_eq!((told.len(), told[0].0.as_str()), (1, "rich"));
    assert!(told[0].1.contains("a grant that its caller does not have"), "{told:?}");
}

#[tokio::test]
async fn a_conversation_is_not_handed_to_an_agent_that_may_do_more() {
    let engine = empty().await;
    for (name, grants, answered) in [("more", &["read", "send"][..], false), ("less", &[], true)] {
        engine.register(calling(name, &[]).grants(grants.iter().copied()).build().unwrap()).unwrap();
        let transfer = format!("transfer_to_{name}");
        let front = calling("front", &[(transfer.as_str(), json!({ "task": "go" }))]);
        let front = front.handoffs([Handoff::to(name).unwrap()]).grants(["read"]).build().unwrap();
        let outcome = engine.run(front, "go").await.unwrap();
        assert_eq!(outcome.text(), if answered { name } else { "front" });
    }
}

#[tokio::test]
async fn a_skill_works_with_the_grants_of_its_caller() {
    let engine = Engine::builder().tool(tool("read")).tool(tool("send")).build().await.unwrap();
    let text = "---\nskill_id: talk.greet.v1\nname: Greet\ndescription: Greets.\nversion: 1.0.0\n---\n## MISSION\nGreet.\n";
    let skill = || Skill::parse(text).unwrap();
    let script = ScriptedModel::new([calls(&[("a", "send", json!({}))])]).always(Reply::text("hello"));
    let greeter = || {
        let greeter = SkillAgent::new(skill()).unwrap().with_model(Model::new(script.clone()));
        greeter.with_tool(tool("send")).unwrap()
    };
    let low = Agent::new(greeter());
    let name = low.as_tool().spec().name.clone();
    let chief = calling("chief", &[(name.as_str(), json!({ "task": "go" }))]);
    let run =
        engine.run(chief.tool(low.as_tool()).grants(["read"]).build().unwrap(), "go").await.unwrap().run_id;
    assert_eq!(told(&engine, run).await[0], ("send".to_owned(), "permission_denied chief send".to_owned()));
    let own = Agent::new(greeter().with_grants(["send"]));
    let chief = calling("chief", &[(name.as_str(), json!({ "task": "go" }))]);
    let run =
        engine.run(chief.tool(own.as_tool()).grants(["read"]).build().unwrap(), "go").await.unwrap().run_id;
    assert!(told(&engine, run).await[0].1.contains("its caller does not have"));
}

#[tokio::test]
async fn code_is_told_the_tool_the_agent_and_what_is_missing() {
    let engine = Engine::builder().tool(tool("send").with_needs(["mail.send"])).build().await.unwrap();
    let flow =
        Workflow::builder("flow").step("send", workflow::tool("send").input(json!({}))).build().unwrap();
    let chief = calling("chief", &[("flow", json!({ "task": "go" }))]);
    let outcome = engine.run(&flow, "go").await.unwrap();
    assert_eq!(outcome.output, "done");
    let bound = chief.tool(Agent::from(flow).as_tool()).grants(["read"]).build().unwrap();
    let err = engine.run(bound, "go").await.unwrap_err();
    assert_eq!(err.kind(), ErrorKind::PermissionDenied);
    assert_eq!(
        (err.get("tool"), err.get("agent"), err.get("grant")),
        (Some("send"), Some("chief"), Some("mail.send"))
    );
}
