//! What happens, as it happens: the envelope, the kinds and channels, and the bus.
//!
//! Row 4 of the house.
//! The journal is the truth and the bus is its live tail: losing an event loses no state.
//! [`Bus`] is the handle that everybody holds, [`EventBus`] the trait of a backend, [`Subscription`] what a
//! subscriber reads from.
//! [`DurableChannels`] keep events in a store, for consumers that must not miss any.

mod backends;
mod bus;
mod cloud;
mod draft;
mod durable;
mod envelope;
mod filter;
mod kind;
mod statistics;
mod subscription;

pub use backends::LocalBus;
pub use bus::{Batch, Bus, BusConfig, BusStats, EventBus, History, Publishing};
pub(crate) use draft::{Draft, Told};
pub use durable::{Consumer, Delivery, DurableChannels, DurableConfig, GroupConfig, GroupStats, Start};
pub use envelope::{Event, Priority, Status};
pub use filter::Filter;
pub use kind::{Channel, EventKind};
pub use statistics::AgentStats;
pub use subscription::{Feed, Lag, Offer, Received, Room, Subscription};
