//! Tools over the Model Context Protocol: those of other servers as ours, and ours for other clients.
//!
//! [`McpClient`] speaks to a server that is a process, an address or two streams, and makes its tools into
//! [`Tool`](crate::tool::Tool)s; [`McpServer`] offers a [`ToolRegistry`](crate::tool::ToolRegistry) through the one
//! dispatch path.
//! The wire, the streams of HTTP and OAuth are the official SDK's; no type of it is in a public signature.
//!
//! A session is owned by one task (`session`), which lists, cancels, reconnects and closes; `endpoint` makes
//! connections, `child` processes, `auth` access; `inbound` is what the server asks of us, `listing` and `remote` are
//! its tools here, `content` and `fault` what answers and failures mean.
//! `server` is the other side and `listener` its HTTP.

mod auth;
mod child;
mod client;
mod config;
mod content;
mod endpoint;
mod fault;
mod handler;
mod inbound;
mod listener;
mod listing;
mod remote;
mod server;
mod session;

pub use auth::McpAuth;
pub use client::{McpBuilder, McpClient, McpServerInfo, McpState};
pub use config::McpConfig;
pub use handler::{McpAnswer, McpHandler, McpLog, McpOffers, McpProgress, McpQuestion, McpRoot};
pub use listener::{McpBody, McpHttp, McpHttpConfig, McpListener};
pub use listing::McpSkipped;
pub use server::McpServer;
