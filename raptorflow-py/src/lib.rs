//! The native module `raptorflow._raptorflow`: thin classes over the core, and the bridge to asyncio.
#![allow(missing_docs, reason = "what users read stands in the stub and in the Python layer")]
#![allow(clippy::needless_pass_by_value, reason = "the macros hand arguments over by value")]

mod agent;
mod ask;
mod bridge;
mod callback;
mod context;
mod convert;
mod engine;
mod error;
mod event;
mod money;
mod rag;
mod rerank;
mod run;
mod runtime;
mod skill;
mod state;
mod testing;
mod upkeep;
mod wake;

#[pyo3::pymodule(gil_used = false)]
mod _raptorflow {
    #[pymodule_export]
    use crate::{
        agent::{Agent, Hook, Tool, read_workflow},
        ask::Answer,
        bridge::Bridge,
        context::Context,
        engine::{Engine, Pack, report_markdown},
        event::{Event, EventBus, Subscription},
        money::text_tokens,
        rag::{Embedder, KnowledgeBase, load, vector_dimension},
        rerank::Rerank,
        run::{Run, Stream},
        skill::SkillRegistry,
        testing::{Cassette, ReplayModel, ScriptedModel},
    };
}
