//! Plain data that every floor shares: ids, messages, tool data, schemas, usage, money, diagnostics.
//!
//! Row 1 of the house.
//! Nothing here does I/O, reads the time or holds a lock.

mod content;
mod delimit;
mod diagnostic;
mod digest;
mod finish;
#[cfg(feature = "html")]
mod html;
mod id;
mod media;
mod money;
mod nearest;
mod schema;
pub(crate) mod seconds;
mod strict;
mod timestamp;
mod tool;
mod usage;
mod verdict;

pub use content::{Message, Part, Passage, Role};
pub(crate) use delimit::contained;
pub use diagnostic::{Diagnostic, Diagnostics, Severity};
pub use digest::Digest;
pub use finish::{Finish, Limit};
#[cfg(feature = "html")]
pub(crate) use html::{HtmlText, from_html};
pub use id::{AgentId, EventId, RunId, TenantId};
pub use media::{Document, Media};
pub use money::{Currency, Money};
pub use nearest::nearest;
pub use schema::Schema;
pub use strict::StrictSchema;
pub(crate) use timestamp::TimeText;
pub use timestamp::Timestamp;
pub use tool::{Effects, ToolCall, ToolRate, ToolResult, ToolSpec};
pub use usage::Usage;
pub use verdict::{Moment, Never, Verdict};
