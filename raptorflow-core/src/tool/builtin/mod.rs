//! Tools that come with the library; an agent has those that its host gave it, and no other.

#[cfg(any(feature = "tool-fetch", feature = "storage-sqlite"))]
mod blocking;
mod calculator;
mod clock;
mod config;
#[cfg(feature = "tool-fetch")]
mod fetch;
#[cfg(feature = "storage-sqlite")]
mod query;
mod search;

pub use calculator::Calculator;
pub use clock::Clock;
pub use config::BuiltinTools;
#[cfg(feature = "http")]
pub use config::SearchBackend;
#[cfg(feature = "tool-fetch")]
pub use fetch::{AddressRules, Fetch, FetchConfig, HostResolver, SystemResolver, is_public};
#[cfg(feature = "storage-sqlite")]
pub use query::{DatabaseQuery, QueryConfig};
#[cfg(feature = "http")]
pub use search::Tavily;
pub use search::{Search, SearchHit, SearchQuery, Topic, WebSearch};
