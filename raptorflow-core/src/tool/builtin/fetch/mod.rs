//! Pages of the public internet as text: which addresses may be asked, how they are asked, and what is made of them.
//!
//! `address` judges addresses, `resolve` puts that judgment into the resolver of the HTTP client, `browser` follows
//! redirects, `markdown` makes text of HTML, and `fetch` is the tool.

mod address;
mod browser;
mod fetch;
mod markdown;
mod resolve;

pub use address::{AddressRules, is_public};
pub use fetch::{Fetch, FetchConfig};
pub use resolve::{HostResolver, SystemResolver};
