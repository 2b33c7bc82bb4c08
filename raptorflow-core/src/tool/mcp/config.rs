//! `McpConfig`: how long a session with an MCP server waits, and how much it takes.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How long a session with an MCP server waits, and how much it takes.
///
/// ```
/// use raptorflow_core::tool::mcp::McpConfig;
/// let mut config = McpConfig::default();
/// config.max_tools = 20;
/// assert_eq!(config.call_timeout.as_secs(), 60);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct McpConfig {
    /// For the start of the server, the handshake and the list of tools; 30 seconds by default.
    pub connect_timeout: Duration,
    /// For one call of a tool; 60 seconds by default.
    pub call_timeout: Duration,
    /// How long a server has to end by itself before its process is killed; 2 seconds by default.
    pub close_timeout: Duration,
    /// The largest message that is read, in bytes; 4 MiB by default. A larger one is dropped, and the call that waits
    /// for it times out.
    pub max_message_bytes: usize,
    /// How many requests are under way at the same time; 32 by default, at least 1. Further ones wait.
    pub max_parallel: usize,
    /// The most tools, resources or prompts that a server may list; 1,000 by default.
    pub max_tools: usize,
    /// How often a lost session is begun anew before it counts as closed; 3 by default, and never for a process or a
    /// stream, whose memory is gone.
    pub max_reconnects: u32,
}

impl Default for McpConfig {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(30),
            call_timeout: Duration::from_secs(60),
            close_timeout: Duration::from_secs(2),
            max_message_bytes: 4 * 1024 * 1024,
            max_parallel: 32,
            max_tools: 1000,
            max_reconnects: 3,
        }
    }
}
