//! Plays one scenario: opens an engine, takes its steps, and compares what happened with what is expected.

use std::{path::Path, sync::Mutex};

use futures_util::StreamExt as _;
use raptorflow_core::{
    Engine, Error, ErrorKind, KnowledgeBase, Result,
    agent::AgentBuilder,
    economics::{Cap, Scope, UsageFilter, Window},
    engine::{AnswerPart, AskRequest, EngineConfig, Outcome, Run as StartedRun, TypedOutcome},
    event::{EventKind, Filter, History},
    journal::JournalConfig,
    rag::{Document, HashingEmbedder},
    runtime::Context,
    types::RunId,
    workflow::{Pattern, PatternSpec},
};
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    compare::{self, Happened},
    format::{Ask, Part, Reopen, Run, Scenario, Search, Source, Step, Store},
    host::Host,
};

/// Plays a scenario; an error says what did not come as expected.
pub(crate) fn play(scenario: &Scenario) -> std::result::Result<(), String> {
    let tokio = tokio::runtime::Runtime::new().map_err(|err| err.to_string())?;
    tokio.block_on(async {
        let folder = TempDir::new().map_err(|err| err.to_string())?;
        let host = Host::new(scenario);
        let mut stage = Stage::open(scenario, &scenario.workflows, &host, folder.path())
            .await
            .map_err(|err| format!("{err:#}"))?;
        let mut last = None;
        for (index, step) in scenario.steps.iter().enumerate() {
            let workflows = match &step.reopen {
                Some(Reopen::With(changed)) => Some(&changed.workflows),
                Some(Reopen::Same(true)) => Some(&scenario.workflows),
                _ => None,
            };
            if let Some(workflows) = workflows {
                stage.engine.shutdown().await.map_err(|err| format!("{err:#}"))?;
                stage = Stage::open(scenario, workflows, &host, folder.path())
                    .await
                    .map_err(|err| format!("{err:#}"))?;
                continue;
            }
            let happened = stage.take(step, scenario, &host, &mut last).await?;
            compare::compare(&step.expect, &happened, &host.take())
                .map_err(|problem| format!("step {index}: {problem}"))?;
        }
        match host.replies_left() {
            0 => Ok(()),
            left => Err(format!("{left} replies of the model were not asked for")),
        }
    })
}

/// An engine and what it was given.
struct Stage {
    engine: Engine,
    kb: Option<KnowledgeBase>,
    /// The run that was started last.
    started: Mutex<Option<StartedRun>>,
}

impl Stage {
    async fn open(scenario: &Scenario, workflows: &[Value], host: &Host, folder: &Path) -> Result<Self> {
        let mut journal = JournalConfig::default();
        // One owner for all engines of a scenario, which follow each other: runs are taken up at once.
        journal.owner = Some("scenario".into());
        let mut builder = Engine::builder().default_model("scripted:main").journal(journal);
        if matches!(scenario.storage, Store::Sqlite) {
            builder = builder.storage(format!("sqlite:{}", folder.join("scenario.db").display()));
        }
        for tool in &scenario.tools {
            builder = builder.tool(host.tool(tool));
        }
        let settings = EngineConfig::from_json(Value::Object(scenario.settings.clone()))?;
        let engine = builder.config(settings)?.build().await?;
        engine.register_model("scripted:main", host.model())?;
        engine.register_model("scripted:other", host.other_model())?;
        for spec in &scenario.agents {
            engine.register(AgentBuilder::from_spec(spec.clone()).build()?)?;
        }
        for function in &scenario.functions {
            engine.register(host.function(function)?)?;
        }
        for workflow in workflows {
            engine.register(host.workflow(workflow, &scenario.functions)?)?;
        }
        for pattern in &scenario.patterns {
            engine.register(Pattern::new(PatternSpec::from_json(&pattern.to_string())?)?)?;
        }
        let mut kb = None;
        if !scenario.knowledge.is_empty() {
            let base = KnowledgeBase::in_memory(HashingEmbedder::default()).await?;
            let document = |source: &Source| Document {
                metadata: source.metadata.clone(),
                ..Document::new(&source.id, &source.text)
            };
            base.add(scenario.knowledge.iter().map(document).collect::<Vec<_>>()).await?;
            engine.use_knowledge(base.clone());
            kb = Some(base);
        }
        Ok(Self { engine, kb, started: Mutex::default() })
    }

    async fn take(
        &self,
        step: &Step,
        scenario: &Scenario,
        host: &Host,
        last: &mut Option<RunId>,
    ) -> std::result::Result<Happened, String> {
        let before = self.engine.bus().stats().published;
        let engine = &self.engine;
        let id = |name: &str| match name {
            "last" => last.ok_or_else(|| Error::new(ErrorKind::NotFound, "scenario", "there was no run")),
            other => other.parse(),
        };
        let happened = async {
            Ok::<_, Error>(match step {
                Step { run: Some(run), .. } => self.run(run).await,
                Step { ask: Some(ask), .. } => self.ask(ask).await,
                Step { start: Some(run), .. } => self.start(run).await?,
                Step { outcome: Some(_), .. } => match self.started() {
                    Some(run) => Happened::ended(run.outcome().await),
                    None => missing("no run was started"),
                },
                Step { resume: Some(name), .. } => Happened::ended(engine.resume(id(name)?).await),
                Step { cancel: Some(name), .. } => Happened::done(engine.cancel(id(name)?).await),
                Step { pause: Some(name), .. } => Happened::done(engine.pause(id(name)?).await),
                Step { signal: Some(signal), .. } => {
                    let mut request = engine.signal(id(&signal.run)?, &signal.name, signal.value.clone());
                    if let Some(by) = &signal.by {
                        request = request.by(by.as_str());
                    }
                    Happened::done(request.await)
                }
                Step { fork: Some(place), .. } => {
                    let run = engine.fork(id(&place.run)?, place.at.unwrap_or_default()).await?;
                    Happened { run: Some(run), ..Happened::default() }
                }
                Step { state: Some(place), .. } => {
                    let state = engine.state(id(&place.run)?, place.at).await?;
                    Happened { state: Some(state), ..Happened::default() }
                }
                Step { set_cap: Some(cap), .. } => {
                    let scope = Scope::Run(id(&cap.run)?);
                    Happened::done(engine.set_cap(scope, Window::Total, Cap::money(cap.money)).await)
                }
                Step { usage: Some(whose), .. } => {
                    let run = whose.run.as_deref().map(id).transpose()?;
                    let user = whose.user.as_deref().map(Into::into);
                    let report = engine.usage(&UsageFilter { run, user, ..UsageFilter::default() }).await?;
                    Happened { report: Some(report), ..Happened::default() }
                }
                Step { define: Some(workflow), .. } => {
                    Happened::done(engine.register(host.workflow(workflow, &scenario.functions)?))
                }
                Step { search: Some(search), .. } => self.search(search).await,
                _ => missing("a step does nothing"),
            })
        };
        let mut happened = happened.await.unwrap_or_else(|err| Happened::failed(Some(err)));
        if let Some(run) = happened.run {
            *last = Some(run);
        }
        happened.did = Some(engine.clone());
        happened.events = self.events(before, last.filter(|_| step.search.is_none()));
        Ok(happened)
    }

    fn started(&self) -> Option<StartedRun> {
        self.started.lock().unwrap().take()
    }

    async fn start(&self, run: &Run) -> Result<Happened> {
        let started = self.engine.start(&run.agent, run.input.clone()).await?;
        let id = started.id();
        *self.started.lock().unwrap() = Some(started);
        Ok(Happened { run: Some(id), ..Happened::default() })
    }

    async fn run(&self, run: &Run) -> Happened {
        let mut request = self.engine.run(&run.agent, run.input.clone());
        if let Some(capability) = &run.capability {
            request = request.capability(capability.as_str());
        }
        if let Some(user) = &run.user {
            request = request.user(user.as_str());
        }
        let id = self.engine.runtime().ids().run();
        let ended: Result<Outcome> = request.id(id).await;
        Happened { run: Some(id), ..Happened::ended(ended) }
    }

    async fn ask(&self, asked: &Ask) -> Happened {
        let id = self.engine.runtime().ids().run();
        let mut ask = self.engine.ask::<Value>(asked.question.clone()).schema(asked.schema.clone()).id(id);
        if let Some(agent) = &asked.agent {
            ask = ask.agent(agent);
        }
        if let Some(model) = &asked.model {
            ask = ask.model(model.as_str());
        }
        if let Some(text) = &asked.instructions {
            ask = ask.instructions(text.as_str());
        }
        if let Some(text) = &asked.background {
            ask = ask.background(text.as_str());
        }
        if let Some(repairs) = asked.repairs {
            ask = ask.repairs(repairs);
        }
        let (parts, ended) = if asked.stream { read(ask).await } else { (Vec::new(), ask.await) };
        Happened { run: Some(id), parts, ..Happened::ended(ended.map(Outcome::from)) }
    }

    async fn search(&self, search: &Search) -> Happened {
        let Some(kb) = &self.kb else {
            return missing("the scenario has no `knowledge` to search");
        };
        let found = async {
            let mut query = kb.search(&search.query).k(search.k).filter(search.filter.clone());
            if let Some(mode) = &search.mode {
                query = query.mode(mode.parse()?);
            }
            let hits = query.await?;
            Ok::<_, Error>(hits.iter().map(|hit| hit.document.to_string()).collect())
        };
        match found.await {
            Ok(documents) => Happened { documents: Some(documents), ..Happened::default() },
            Err(err) => Happened::failed(Some(err)),
        }
    }

    /// Kinds of a run's events since a sequence number.
    fn events(&self, from: u64, run: Option<RunId>) -> Vec<EventKind> {
        let Some(run) = run else { return Vec::new() };
        let filter = Filter { run: Some(run), ..Filter::default() };
        let history = History { filter, from, limit: 0 };
        let ctx = Context::for_run(self.engine.runtime(), run);
        self.engine.bus().history(&ctx, &history).iter().map(|event| event.kind.clone()).collect()
    }
}

/// Reads an answer as it arrives.
async fn read(ask: AskRequest<Value>) -> (Vec<Part>, Result<TypedOutcome<Value>>) {
    let mut parts = Vec::new();
    let mut stream = match ask.stream() {
        Ok(stream) => stream,
        Err(err) => return (parts, Err(err)),
    };
    while let Some(part) = stream.next().await {
        match part {
            Ok(AnswerPart::Partial { value, open }) => parts.push(Part::Partial { value, open }),
            Ok(AnswerPart::Again { attempt }) => parts.push(Part::Again { again: attempt }),
            Ok(AnswerPart::Done(outcome)) => return (parts, Ok(outcome)),
            Ok(_) => {}
            Err(err) => return (parts, Err(err)),
        }
    }
    (parts, Err(Error::new(ErrorKind::Internal, "scenario.ask", "the stream has no end")))
}

fn missing(what: &'static str) -> Happened {
    Happened { missing: Some(what), ..Happened::default() }
}
