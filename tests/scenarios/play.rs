//! Plays one scenario: opens an engine, takes its steps, and compares what happened with what is expected.

use std::path::Path;

use raptorflow_core::{
    Engine, Error, KnowledgeBase, Result,
    agent::AgentBuilder,
    engine::Outcome,
    event::{EventKind, Filter, History},
    rag::{Document, HashingEmbedder},
    runtime::Context,
    types::RunId,
};
use tempfile::TempDir;

use crate::{
    compare::{self, Happened},
    format::{Run, Scenario, Search, Source, Step, Store},
    host::Host,
};

/// Plays a scenario; an error says what did not come as expected.
pub(crate) fn play(scenario: &Scenario) -> std::result::Result<(), String> {
    let tokio = tokio::runtime::Runtime::new().map_err(|err| err.to_string())?;
    tokio.block_on(async {
        let folder = TempDir::new().map_err(|err| err.to_string())?;
        let host = Host::new(scenario);
        let mut stage =
            Stage::open(scenario, &host, folder.path()).await.map_err(|err| format!("{err:#}"))?;
        let mut last = None;
        for (index, step) in scenario.steps.iter().enumerate() {
            if step.reopen {
                stage.engine.shutdown().await.map_err(|err| format!("{err:#}"))?;
                stage =
                    Stage::open(scenario, &host, folder.path()).await.map_err(|err| format!("{err:#}"))?;
                continue;
            }
            let happened = stage.take(step, &mut last).await?;
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
}

impl Stage {
    async fn open(scenario: &Scenario, host: &Host, folder: &Path) -> Result<Self> {
        let mut builder = Engine::builder().default_model("scripted:main");
        if matches!(scenario.storage, Store::Sqlite) {
            builder = builder.storage(format!("sqlite:{}", folder.join("scenario.db").display()));
        }
        for tool in &scenario.tools {
            builder = builder.tool(host.tool(tool));
        }
        let engine = builder.build().await?;
        engine.register_model("scripted:main", host.model())?;
        for spec in &scenario.agents {
            engine.register(AgentBuilder::from_spec(spec.clone()).build()?)?;
        }
        for function in &scenario.functions {
            engine.register(host.function(function)?)?;
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
        Ok(Self { engine, kb })
    }

    async fn take(&self, step: &Step, last: &mut Option<RunId>) -> std::result::Result<Happened, String> {
        let before = self.engine.bus().stats().published;
        let id = |name: &str| match name {
            "last" => Ok(last.map(|id| id.to_string()).unwrap_or_default()),
            other => Ok::<_, String>(other.to_owned()),
        };
        let mut happened = match step {
            Step { run: Some(run), .. } => self.run(run).await,
            Step { resume: Some(name), .. } => Happened::ended(match id(name)?.parse() {
                Ok(run) => self.engine.resume(run).await,
                Err(err) => Err(err),
            }),
            Step { cancel: Some(name), .. } => Happened::failed(match id(name)?.parse() {
                Ok(run) => self.engine.cancel(run).await.err(),
                Err(err) => Some(err),
            }),
            Step { search: Some(search), .. } => self.search(search).await,
            _ => return Err("a step does nothing".to_owned()),
        };
        if let Some(run) = happened.run {
            *last = Some(run);
        }
        happened.events = self.events(before, last.filter(|_| step.search.is_none()));
        Ok(happened)
    }

    async fn run(&self, run: &Run) -> Happened {
        let mut request = self.engine.run(&run.agent, run.input.clone());
        if let Some(capability) = &run.capability {
            request = request.capability(capability.as_str());
        }
        let id = self.engine.runtime().ids().run();
        let ended: Result<Outcome> = request.id(id).await;
        Happened { run: Some(id), ..Happened::ended(ended) }
    }

    async fn search(&self, search: &Search) -> Happened {
        let Some(kb) = &self.kb else {
            return Happened {
                missing: Some("the scenario has no `knowledge` to search"),
                ..Happened::default()
            };
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
