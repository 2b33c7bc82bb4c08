//! Contracts as cases: each line of a trait's contract is one case, run over every backend.
//!
//! A backend of your own passes the same cases:
//!
//! ```
//! use raptorflow_core::{storage::{Capability, Storage}, testing::conformance::{StorageSubject, storage_cases}};
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> raptorflow_core::Result<()> {
//! for case in storage_cases() {
//!     let subject = StorageSubject::new(Capability::new(false, false), |_runtime| async { Ok(Storage::memory()) });
//!     if case.missing(&subject).is_none() {
//!         (case.run)(subject).await?;
//!     }
//! }
//! # Ok(())
//! # }
//! ```

mod case;
mod chat;
mod durable;
mod embedding;
mod event;
mod lexical;
mod memory;
mod rate;
mod storage;
mod vector;

pub use case::{Case, Running, Subject};
pub use chat::{ChatPlace, ChatSubject, Situation, chat_cases};
pub use durable::durable_cases;
pub use embedding::{
    EmbedderSubject, EmbeddingPlace, EmbeddingSituation, EmbeddingSubject, embedder_cases, embedding_cases,
};
pub use event::{EventSubject, event_cases};
pub use lexical::{LexicalSubject, lexical_cases};
pub use memory::{MemorySubject, memory_cases};
pub use rate::{RateStoreSubject, rate_store_cases};
pub use storage::{StorageSubject, storage_cases};
pub use vector::{VectorSubject, vector_cases};
