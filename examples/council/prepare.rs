//! Opens what a run needs: the pack, the database, the documents and the model.

use std::path::{Path, PathBuf};

use raptorflow_core::{
    Engine, Error, ErrorKind, KnowledgeBase, Result,
    engine::Settings,
    pack::Pack,
    rag::{HashingEmbedder, LoadLimits, load_folder},
    runtime::{Context, Runtime},
    storage::{Expect, Storage},
    types::{Digest, RunId},
};
use serde::{Deserialize, Serialize};

use crate::{cli::Arguments, watch};

const GOAL: &str = "Plan the launch of raptorflow: its scope and architecture, what we know and have learned, the \
    schedule and milestones, the quality bar and brand, trends and opportunities, conflicts between goals and how to \
    decide them, and the announcement to each audience.";

/// What a run was begun with; stored beside it, so that a resume finds the same.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Meta {
    /// What is wanted.
    pub(crate) goal: String,
    /// Where the documents are.
    pub(crate) docs: PathBuf,
    /// How many there are.
    pub(crate) documents: usize,
    /// What they were.
    pub(crate) digest: Digest,
    /// Who answers.
    pub(crate) model: String,
    /// How many agents of a domain work.
    pub(crate) agents: u8,
}

/// Everything that a run needs.
pub(crate) struct Prepared {
    pub(crate) engine: Engine,
    pub(crate) run: RunId,
    pub(crate) resumed: bool,
    pub(crate) meta: Meta,
}

/// The project's folder of this name, wherever the program is started.
fn project(name: &str) -> PathBuf {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = examples.parent().unwrap_or(examples).join(name);
    // Shown relative where that is shorter.
    match std::env::current_dir() {
        Ok(here) => path.strip_prefix(&here).map(Path::to_path_buf).unwrap_or(path),
        Err(_) => path,
    }
}

fn pack_folder(arguments: &Arguments) -> PathBuf {
    arguments.pack.clone().unwrap_or_else(|| project("packs/council"))
}

/// Lists every problem of the pack.
pub(crate) fn check(arguments: &Arguments) -> Result<()> {
    let folder = pack_folder(arguments);
    let (_, problems) = Pack::check(&folder);
    for problem in &problems {
        watch::say(&problem.to_string());
    }
    let pack = Pack::load(&folder)?;
    let contents = pack.manifest().contents;
    watch::say(&format!(
        "{}: {} domains, {} agents, {} supervisors, {} capabilities, {} workflows; no problem found",
        folder.display(),
        contents.domains,
        contents.agents,
        contents.supervisors,
        contents.capabilities,
        contents.workflows
    ));
    Ok(())
}

/// Opens the database, reads the documents, installs the pack.
pub(crate) async fn prepare(arguments: &Arguments) -> Result<Prepared> {
    let pack = Pack::load(pack_folder(arguments))?;
    let runtime = Runtime::current()?;
    let storage = match &arguments.db {
        Some(file) => Storage::open(&format!("sqlite:{}", file.display())).await?,
        None => Storage::memory(),
    };
    let run = arguments.resume.unwrap_or_else(|| runtime.ids().run());
    let ctx = Context::for_run(&runtime, run);
    let stored: Option<(Meta, u64)> = match arguments.resume {
        Some(_) => storage.get_json(&ctx, &meta_key(run)).await?,
        None => None,
    };
    let (meta, kb) = match stored {
        Some((meta, _)) => {
            let kb = open_documents(&ctx, &storage, &meta.docs, Some(&meta)).await?.1;
            (Meta { model: arguments.model.clone().unwrap_or(meta.model), ..meta }, kb)
        }
        None if arguments.resume.is_some() => {
            let message =
                "the database has no run of this id; `--resume` takes the id that the council printed";
            return Err(Error::new(ErrorKind::NotFound, "council.resume", message).with("run", run));
        }
        None => begin(arguments, &ctx, &storage).await?,
    };
    let engine = Engine::builder()
        .storage_handle(storage)
        .runtime(runtime)
        .default_model(meta.model.as_str())
        .knowledge(kb)
        .build()
        .await?;
    engine.install(&pack)?;
    // Before anything begins: a model that is not known or has no key is no run.
    engine.model(&meta.model).await?;
    announce(&meta);
    if arguments.db.is_some() {
        watch::say(&format!("run {run}"));
    }
    Ok(Prepared { engine, run, resumed: arguments.resume.is_some(), meta })
}

async fn begin(arguments: &Arguments, ctx: &Context, storage: &Storage) -> Result<(Meta, KnowledgeBase)> {
    let docs = arguments.docs.clone().unwrap_or_else(|| project("docs"));
    let model = arguments.model.clone().unwrap_or_else(|| Settings::from_env().model().to_string());
    let ((documents, digest), kb) = open_documents(ctx, storage, &docs, None).await?;
    let goal = arguments.goal.clone().unwrap_or_else(|| GOAL.to_owned());
    // Whole, so that a resume from another folder finds it; it exists, since it was read.
    let docs = docs.canonicalize().unwrap_or(docs);
    let meta = Meta { goal, docs, documents, digest, model, agents: arguments.agents };
    storage.put_json(ctx, &meta_key(ctx.run_id()), &meta, Expect::Absent).await?;
    Ok((meta, kb))
}

/// Reads the documents; a resumed run must find what it was begun with.
async fn open_documents(
    ctx: &Context,
    storage: &Storage,
    docs: &Path,
    begun: Option<&Meta>,
) -> Result<((usize, Digest), KnowledgeBase)> {
    let loaded = load_folder(ctx, docs, LoadLimits::default()).await?;
    for left_out in &loaded.diagnostics {
        watch::say(&format!("note: {left_out}"));
    }
    let digest = Digest::of_all(loaded.documents.iter().map(|document| document.digest().to_string()));
    if begun.is_some_and(|meta| meta.digest != digest) {
        let message = "the documents have changed since the run began; restore them, or begin a new run";
        return Err(Error::new(ErrorKind::Conflict, "council.resume", message)
            .with("docs", docs.display())
            .with("run", ctx.run_id()));
    }
    let name: String = format!("docs-{digest}").chars().take(21).collect();
    let kb = KnowledgeBase::builder(HashingEmbedder::default())
        .name(name)
        .storage(storage.clone())
        .context(ctx)
        .open()
        .await?;
    let (documents, bar) = (loaded.documents.len(), watch::bar(loaded.documents.len()));
    let shown = bar.clone();
    let report = kb
        .add(loaded.documents)
        .on_progress(move |progress| {
            shown.set_position(progress.done as u64);
            shown.set_message(format!("{} passages", progress.chunks));
        })
        .await?;
    bar.finish_and_clear();
    for left_out in &report.skipped {
        watch::say(&format!("note: {left_out}"));
    }
    Ok(((documents, digest), kb))
}

fn announce(meta: &Meta) {
    watch::say(&crate::brief::first_line(&meta.model));
    watch::say(&format!("documents: {} in {}", meta.documents, meta.docs.display()));
}

fn meta_key(run: RunId) -> String {
    format!("council/{run}")
}
