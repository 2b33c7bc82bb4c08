//! Tools that come with the library; an agent has those that its host gave it, and no other.

#[cfg(feature = "tool-fetch")]
mod blocking;
#[cfg(feature = "tool-fetch")]
mod fetch;

#[cfg(feature = "tool-fetch")]
pub use fetch::{AddressRules, Fetch, FetchConfig, HostResolver, SystemResolver, is_public};
