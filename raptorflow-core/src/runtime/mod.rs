//! What every call carries and every floor needs: context, cancellation, time, ids, tasks, names.
//!
//! Row 2 of the house.
//! Nothing else in the crate reads the time, makes an id or spawns.

mod backoff;
mod cancel;
mod clock;
mod context;
mod grants;
mod ids;
mod key;
pub mod names;
mod rt;
mod tasks;

pub use backoff::Backoff;
pub use cancel::Cancel;
pub use clock::{Clock, SystemClock};
pub use context::Context;
pub use grants::Grants;
pub use ids::Ids;
pub use rt::Runtime;
pub use tasks::{Task, Tasks};
