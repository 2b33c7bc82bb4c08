//! `RemoteTool`: a tool of a server as one of ours.

use std::sync::Arc;

use async_trait::async_trait;
use rmcp::model::CallToolRequestParams;
use serde_json::Value;

use crate::{
    error::{Error, ErrorKind, Result, Retry},
    runtime::Context,
    tool::{
        Tool,
        mcp::{content::to_value, listing::Listed, session::Session},
    },
    types::{Effects, ToolSpec},
};

/// A tool of a server; it keeps the session open.
#[derive(Debug)]
pub(super) struct RemoteTool {
    listed: Listed,
    session: Arc<Session>,
}

impl RemoteTool {
    pub(super) fn new(listed: Listed, session: Arc<Session>) -> Self {
        Self { listed, session }
    }
}

#[async_trait]
impl Tool for RemoteTool {
    fn spec(&self) -> &ToolSpec {
        &self.listed.spec
    }

    async fn call(&self, ctx: &Context, arguments: Value) -> Result<Value> {
        let Value::Object(arguments) = arguments else {
            return Err(Error::new(ErrorKind::InvalidInput, "mcp.call", "expected an object of arguments"));
        };
        let params = CallToolRequestParams::new(self.listed.name.to_string()).with_arguments(arguments);
        let limited = ctx.with_timeout(self.listed.spec.timeout);
        let answer = self.session.call(&limited, &self.listed.name, params).await.map_err(|err| {
            // Only what reads may be asked again without harm.
            match self.listed.spec.effects {
                Effects::Read => err,
                Effects::Write | Effects::External => err.retryable(Retry::Never),
            }
        })?;
        to_value(&self.listed.name, answer)
    }
}
