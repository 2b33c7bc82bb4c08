//! Helpers that the test binaries share.

// A test fails loudly; Clippy does not see that this is one.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::unwrap_used)]

pub mod disk;
#[cfg(unix)]
pub mod postgres;
pub mod proxy;
#[cfg(unix)]
pub mod redis;

use std::{fs, path::PathBuf};

/// The root of the checkout.
#[must_use]
pub fn root() -> PathBuf {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    here.parent().map_or_else(|| here.clone(), PathBuf::from)
}

/// A file of public test cases, by its path under `shared/exams` beside the checkout; `None` where absent.
///
/// Rows are split on `\n` only: some hold other characters that count as line ends.
#[must_use]
pub fn exam(path: &str) -> Option<String> {
    fs::read_to_string(root().join("../shared/exams").join(path)).ok()
}

/// The Rust programs in the prose, compiled as doc tests.
#[cfg(doctest)]
mod prose {
    #[doc = include_str!("../README.md")]
    mod readme {}
    #[doc = include_str!("../docs/guide/start.md")]
    mod start {}
    #[doc = include_str!("../docs/guide/operations.md")]
    mod operations {}
    #[doc = include_str!("../docs/guide/skills.md")]
    mod skills {}
    #[doc = include_str!("../docs/guide/workflows.md")]
    mod workflows {}
    #[doc = include_str!("../docs/guide/patterns.md")]
    mod patterns {}
    #[doc = include_str!("../docs/guide/memory.md")]
    mod memory {}
    #[doc = include_str!("../docs/guide/budgets.md")]
    mod budgets {}
    #[doc = include_str!("../docs/guide/mcp.md")]
    mod mcp {}
    #[doc = include_str!("../docs/guide/agents.md")]
    mod agents {}
    #[doc = include_str!("../docs/guide/tools.md")]
    mod tools {}
    #[doc = include_str!("../docs/guide/retrieval.md")]
    mod retrieval {}
    #[doc = include_str!("../docs/guide/orchestration.md")]
    mod orchestration {}
    #[doc = include_str!("../docs/guide/events.md")]
    mod events {}
    #[doc = include_str!("../docs/guide/council.md")]
    mod council {}
}
