//! Searching the web: the trait, the tool over it, and the backends.

mod search;
#[cfg(feature = "http")]
mod tavily;

pub use search::{Search, SearchHit, SearchQuery, Topic, WebSearch};
#[cfg(feature = "http")]
pub use tavily::Tavily;
