//! `Session`: what an actor works with during one run.

use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::mpsc;

use crate::{
    agent::{AgentRegistry, Hook},
    economics::PriceBook,
    error::{Error, ErrorKind, Result},
    event::Bus,
    journal::Journal,
    memory::{Blackboard, Memories},
    model::{Model, ModelRegistry},
    rag::Retriever,
    runtime::Context,
    tool::ToolRegistry,
};

/// The means that all runs of an engine share.
#[derive(Debug)]
pub struct Means {
    /// Where events go.
    pub bus: Bus,
    /// Models by name.
    pub models: ModelRegistry,
    /// The model of agents that name none.
    pub default_model: Option<Arc<str>>,
    /// Tools that agents name in their data.
    pub tools: ToolRegistry,
    /// What models cost.
    pub prices: PriceBook,
    /// Agents by name.
    pub agents: AgentRegistry,
    /// Where agents with retrieval find passages.
    pub knowledge: RwLock<Option<Arc<dyn Retriever>>>,
    /// What agents remember with.
    pub memory: Option<Memories>,
    /// What watches and steers every agent.
    pub hooks: RwLock<Arc<[Arc<dyn Hook>]>>,
}

impl Means {
    /// What watches and steers every agent that begins now.
    pub(super) fn hooks(&self) -> Arc<[Arc<dyn Hook>]> {
        Arc::clone(&self.hooks.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// One run: its context, its journal, and the means; cloning is cheap.
#[derive(Clone, Debug)]
pub struct Session {
    ctx: Context,
    journal: Journal,
    means: Arc<Means>,
    content: bool,
    pieces: Option<mpsc::Sender<Piece>>,
    /// Whose answer is read as it arrives: that of the run's own agent, or of whom it handed over to.
    read_at: Arc<str>,
}

/// A piece of the answer of a run's own agent, for whoever reads it as it arrives.
#[derive(Debug)]
pub(crate) enum Piece {
    /// The model is asked, not for the first time perhaps; what came before is no part of the answer.
    Asked {
        /// Which call of the model it is, from 1.
        attempt: u32,
    },
    /// More text.
    Text(String),
}

impl Session {
    /// A session over a run's journal.
    #[must_use]
    pub fn new(ctx: Context, journal: Journal, means: Arc<Means>) -> Self {
        Self { ctx, journal, means, content: false, pieces: None, read_at: Arc::default() }
    }

    /// Whether pieces of answers are published as they arrive; off unless the host asks for it.
    #[must_use]
    pub fn with_content(mut self, content: bool) -> Self {
        self.content = content;
        self
    }

    /// Gives pieces of the run's own answer to whoever waits for them; a full queue is waited for.
    #[must_use]
    pub(crate) fn with_pieces(mut self, pieces: Option<mpsc::Sender<Piece>>) -> Self {
        self.pieces = pieces;
        self
    }

    /// The same run with another context.
    #[must_use]
    pub fn with_context(&self, ctx: Context) -> Self {
        Self { ctx, ..self.clone() }
    }

    /// One step further down; see [`Context::child`].
    #[must_use]
    pub fn child(&self, segment: &str) -> Self {
        self.with_context(self.ctx.child(segment))
    }

    /// The context.
    #[must_use]
    pub fn ctx(&self) -> &Context {
        &self.ctx
    }

    /// The journal of the run.
    #[must_use]
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// The notes that the run's agents share.
    #[must_use]
    pub fn blackboard(&self) -> Blackboard {
        Blackboard::of(&self.journal)
    }

    /// The means that all runs share.
    #[must_use]
    pub fn means(&self) -> &Arc<Means> {
        &self.means
    }

    /// Whether pieces of answers are published as they arrive.
    #[must_use]
    pub fn content(&self) -> bool {
        self.content
    }

    /// Whether somebody reads the answer as it arrives; not that of agents that are asked below.
    pub(crate) fn is_read(&self) -> bool {
        self.pieces.is_some() && *self.ctx.path() == self.read_at
    }

    /// The same run with another context, whose answer is read in place of this one's.
    pub(crate) fn handed_to(&self, ctx: Context) -> Self {
        let read_at = if self.is_read() { ctx.path() } else { &self.read_at };
        Self { read_at: Arc::clone(read_at), ..self.with_context(ctx) }
    }

    /// Whether somebody sees parts of an answer before it is whole.
    pub(crate) fn shows_pieces(&self) -> bool {
        self.content || self.is_read()
    }

    /// Gives a piece to whoever reads the answer as it arrives; nobody may, or may not any more.
    pub(crate) async fn tell(&self, piece: Piece) {
        if let Some(pieces) = self.pieces.as_ref().filter(|_| self.is_read()) {
            // Whoever stopped reading still has the outcome.
            let _ = pieces.send(piece).await;
        }
    }

    /// The model of a name, or the default one.
    ///
    /// # Errors
    /// `InvalidInput` when neither is given, and what the registry says.
    pub async fn model(&self, name: Option<&str>) -> Result<Model> {
        let name = name.or(self.means.default_model.as_deref()).ok_or_else(|| {
            let message =
                "the agent names no model and the engine has no default; set one, e.g. `offline:extractive`";
            Error::new(ErrorKind::InvalidInput, "agent.model", message).with("field", "model")
        })?;
        self.means.models.open(name).await
    }

    /// Where passages are found.
    ///
    /// # Errors
    /// `InvalidInput` when the engine was given no knowledge base.
    pub fn knowledge(&self) -> Result<Arc<dyn Retriever>> {
        self.means.knowledge.read().unwrap_or_else(PoisonError::into_inner).clone().ok_or_else(|| {
            let message = "the agent wants passages and the engine has no knowledge base";
            Error::new(ErrorKind::InvalidInput, "agent.knowledge", message).with("field", "knowledge")
        })
    }
}
