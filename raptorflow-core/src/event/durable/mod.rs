//! Durable channels: events in a store, taken by groups of consumers, each at least once.
//!
//! [`DurableChannels`] publishes and reads; a [`Consumer`] takes events for its group and says what became of each
//! [`Delivery`].

mod channels;
mod config;
mod consumer;
mod delivery;
mod group;
mod record;
mod reply;

pub use channels::DurableChannels;
pub use config::{DurableConfig, GroupConfig, Start};
pub use consumer::Consumer;
pub use delivery::Delivery;
pub use group::GroupStats;
