//! `McpHandler`: what a server may ask of the host, and what it tells on the way.

use std::fmt::Debug;

use async_trait::async_trait;
use serde_json::Value;

use crate::error::{Error, ErrorKind, Result};

/// What a server may ask of the host, and what it tells on the way.
///
/// A session has one; without it a server is told that nothing may be asked.
///
/// # Contract
/// - what `offers` does not name is never asked.
/// - an answer that does not fit the schema of the question is refused before the server sees it.
/// - `progress` and `log` return at once.
///
/// # Examples
/// ```
/// use async_trait::async_trait;
/// use raptorflow_core::{Result, tool::mcp::{McpAnswer, McpHandler, McpOffers, McpQuestion}};
/// use serde_json::json;
///
/// /// Says yes to every form, with what the form suggests.
/// #[derive(Debug)]
/// struct Agreeable;
///
/// #[async_trait]
/// impl McpHandler for Agreeable {
///     fn offers(&self) -> McpOffers {
///         McpOffers { elicitation: true, ..McpOffers::default() }
///     }
///
///     async fn elicit(&self, _question: McpQuestion) -> Result<McpAnswer> {
///         Ok(McpAnswer::Accept(json!({})))
///     }
/// }
/// ```
#[async_trait]
pub trait McpHandler: Debug + Send + Sync + 'static {
    /// What the server is told that it may ask; nothing by default.
    fn offers(&self) -> McpOffers {
        McpOffers::default()
    }

    /// Asks the user.
    ///
    /// What an accepted form leaves out and its schema has a default for is filled in.
    async fn elicit(&self, _question: McpQuestion) -> Result<McpAnswer> {
        Err(not_offered("elicitation"))
    }

    /// Asks a model: the parameters of `sampling/createMessage` in, its result out, both as MCP writes them.
    async fn sample(&self, _request: Value) -> Result<Value> {
        Err(not_offered("sampling"))
    }

    /// The folders that the server may work in.
    async fn roots(&self) -> Result<Vec<McpRoot>> {
        Err(not_offered("roots"))
    }

    /// Lets the user allow access at an address, and returns the address that the browser was sent to afterwards.
    ///
    /// It is asked where the session has an `McpAuth`.
    async fn authorize(&self, _address: &str) -> Result<String> {
        Err(Error::new(ErrorKind::Unauthenticated, "mcp.authorize", "nobody is there to allow access"))
    }

    /// A call goes on.
    fn progress(&self, _progress: &McpProgress) {}

    /// The server says something; the text is untrusted.
    fn log(&self, _log: &McpLog) {}
}

fn not_offered(what: &'static str) -> Error {
    Error::new(ErrorKind::Unsupported, "mcp.handle", "the host does not offer this").with("capability", what)
}

/// A handler that offers nothing.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Silent;

impl McpHandler for Silent {}

/// What a server may ask of the host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct McpOffers {
    /// A question to the user: [`McpHandler::elicit`].
    pub elicitation: bool,
    /// A question to a model: [`McpHandler::sample`].
    pub sampling: bool,
    /// The folders to work in: [`McpHandler::roots`].
    pub roots: bool,
}

/// A question to the user; its texts are the server's.
#[derive(Clone, Debug, PartialEq)]
pub enum McpQuestion {
    /// A form to fill in.
    Form {
        /// What it is about.
        message: String,
        /// JSON Schema of the answer: an object of plain fields.
        schema: Value,
    },
    /// An address to visit.
    Visit {
        /// What it is about.
        message: String,
        /// The address.
        address: String,
    },
}

/// The user's answer.
#[derive(Clone, Debug, PartialEq)]
pub enum McpAnswer {
    /// Yes; the fields of the form, an empty object for an address.
    Accept(Value),
    /// No.
    Decline,
    /// Neither: the user went away.
    Cancel,
}

/// A folder that a server may work in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct McpRoot {
    /// Its address, like `file:///srv/notes`.
    pub uri: String,
    /// What to call it.
    pub name: Option<String>,
}

/// How far a call is.
#[derive(Clone, Debug, PartialEq)]
pub struct McpProgress {
    /// The tool that is called, as the server names it; `None` where the server's word came before the call was noted.
    pub tool: Option<String>,
    /// How much is done.
    pub progress: f64,
    /// How much there is to do, if that is known.
    pub total: Option<f64>,
    /// What happens; untrusted text.
    pub message: Option<String>,
}

/// Something that a server logs.
#[derive(Clone, Debug, PartialEq)]
pub struct McpLog {
    /// `debug`, `info`, `notice`, `warning`, `error`, `critical`, `alert` or `emergency`.
    pub level: String,
    /// The part of the server that speaks.
    pub logger: Option<String>,
    /// What it says; untrusted.
    pub data: Value,
}
