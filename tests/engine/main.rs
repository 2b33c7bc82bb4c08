//! Behavior of the engine's parts through their public names, one file per subject.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails loudly"
)]

mod admission;
mod agent_calls;
mod agent_machine;
mod agent_runs;
mod agent_tree;
mod approvals;
mod ask;
mod blackboard;
mod budget;
mod capability;
mod combine;
mod compaction;
mod conflicts;
mod control;
mod flows;
mod grants;
mod handoffs;
mod hook_places;
mod hooks;
mod knowledge_base;
mod knowledge_graph;
mod layers;
mod mcp;
#[cfg(unix)]
mod mcp_wire;
mod memory;
mod memory_facts;
mod orchestration;
mod ownership;
mod pack_flows;
mod pack_routing;
mod pack_skills;
mod packs;
mod partial_json;
mod privacy;
mod public_api;
mod questions;
mod retrieval;
mod review;
mod routers;
mod routing;
mod skills;
mod support;
mod team_time;
mod teams;
mod told_hooks;
mod tool_cost;
mod tool_dispatch;
mod upkeep;
mod workflow_control;
mod workflow_data;
mod workflow_replay;
mod workflow_rollback;
mod workflow_run;
mod workflow_time;
