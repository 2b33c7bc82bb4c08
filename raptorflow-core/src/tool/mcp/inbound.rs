//! `Inbound`: hands what a server asks and tells to the host's `McpHandler`, bounded and checked.
// Sampling, roots and logging are deprecated in the newest protocol and stay in use by servers of all others.
#![allow(deprecated, reason = "servers of every version before 2026-07-28 use them")]

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use rmcp::{
    ClientHandler,
    model::{
        ClientCapabilities, ClientInfo, CreateMessageRequestParams, CreateMessageResult, ElicitRequestParams,
        ElicitResult, ElicitationAction, ElicitationCapability, ErrorCode, ErrorData,
        FormElicitationCapability, Implementation, ListRootsResult, LoggingMessageNotificationParam,
        ProgressNotificationParam, ProgressToken, ProtocolVersion, Root, RootsCapabilities,
        SamplingCapability, UrlElicitationCapability,
    },
    service::{NotificationContext, RequestContext, RoleClient},
};
use serde_json::{Map, Value};
use tokio::sync::{Semaphore, mpsc};

use crate::{
    error::{Error, ErrorKind, Result},
    tool::mcp::{
        content::to_json,
        handler::{McpAnswer, McpHandler, McpLog, McpProgress, McpQuestion},
        session::Command,
    },
    types::Schema,
};

/// How many questions of a server are open at the same time; further ones are refused.
const MAX_QUESTIONS: usize = 8;

/// Hands what a server asks and tells to the host's handler.
#[derive(Debug)]
pub(super) struct Inbound {
    handler: Arc<dyn McpHandler>,
    questions: Semaphore,
    /// Weak, so that a session without handles ends.
    commands: mpsc::WeakSender<Command>,
    /// The tools of the calls under way, by the token of their progress.
    calls: Mutex<HashMap<ProgressToken, Arc<str>>>,
}

impl Inbound {
    pub(super) fn new(handler: Arc<dyn McpHandler>, commands: mpsc::WeakSender<Command>) -> Self {
        Self { handler, questions: Semaphore::new(MAX_QUESTIONS), commands, calls: Mutex::default() }
    }

    pub(super) fn handler(&self) -> &dyn McpHandler {
        self.handler.as_ref()
    }

    /// Notes a call, so that its progress can be told apart.
    pub(super) fn begun(&self, token: ProgressToken, tool: Arc<str>) {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).insert(token, tool);
    }

    /// Forgets a call.
    pub(super) fn ended(&self, token: &ProgressToken) {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).remove(token);
    }

    async fn answer<T>(&self, work: impl Future<Output = Result<T>>) -> std::result::Result<T, ErrorData> {
        let Ok(_open) = self.questions.try_acquire() else {
            return Err(ErrorData::new(ErrorCode::INVALID_REQUEST, "too many open questions", None));
        };
        work.await.map_err(|err| {
            tracing::debug!(error = %err, "mcp.handle");
            // The server learns the kind alone; what the host's code says is not for it.
            let code = match err.kind() {
                ErrorKind::Unsupported => ErrorCode::METHOD_NOT_FOUND,
                ErrorKind::InvalidInput => ErrorCode::INVALID_PARAMS,
                _ => ErrorCode::INTERNAL_ERROR,
            };
            ErrorData::new(code, err.kind().code(), None)
        })
    }

    async fn elicited(&self, request: ElicitRequestParams) -> Result<ElicitResult> {
        let (question, schema) = match request {
            ElicitRequestParams::FormElicitationParams { message, requested_schema, .. } => {
                let schema = to_json(&requested_schema)?;
                (McpQuestion::Form { message, schema: schema.clone() }, Some(schema))
            }
            ElicitRequestParams::UrlElicitationParams { message, url, .. } => {
                (McpQuestion::Visit { message, address: url }, None)
            }
            _ => {
                return Err(Error::new(
                    ErrorKind::Unsupported,
                    "mcp.elicit",
                    "a question of an unknown form",
                ));
            }
        };
        Ok(match self.handler.elicit(question).await? {
            McpAnswer::Accept(content) => {
                let answer = ElicitResult::new(ElicitationAction::Accept);
                match schema {
                    Some(schema) => answer.with_content(filled(&schema, content)?),
                    None => answer,
                }
            }
            McpAnswer::Decline => ElicitResult::new(ElicitationAction::Decline),
            McpAnswer::Cancel => ElicitResult::new(ElicitationAction::Cancel),
        })
    }
}

/// An accepted form with the defaults of its schema, if it fits.
fn filled(schema: &Value, content: Value) -> Result<Value> {
    let wrong = |message: &'static str| Error::new(ErrorKind::InvalidOutput, "mcp.elicit", message);
    let mut fields = match content {
        Value::Object(fields) => fields,
        Value::Null => Map::new(),
        _ => return Err(wrong("expected an object of fields")),
    };
    for (name, field) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        if let (false, Some(value)) = (fields.contains_key(name), field.get("default")) {
            fields.insert(name.clone(), value.clone());
        }
    }
    let content = Value::Object(fields);
    match Schema::unchecked(schema.clone()).validate(&content).first() {
        None => Ok(content),
        Some(problem) => Err(wrong("the answer does not fit the form").with("at", &problem.pointer)),
    }
}

impl ClientHandler for Inbound {
    fn get_info(&self) -> ClientInfo {
        let offers = self.handler.offers();
        let mut capabilities = ClientCapabilities::default();
        if offers.elicitation {
            let form = FormElicitationCapability::new().with_schema_validation(true);
            let both =
                ElicitationCapability::new().with_form(form).with_url(UrlElicitationCapability::default());
            capabilities.elicitation = Some(both);
        }
        capabilities.sampling = offers.sampling.then(SamplingCapability::default);
        capabilities.roots = offers.roots.then(RootsCapabilities::default);
        ClientInfo::new(capabilities, Implementation::new("raptorflow", env!("CARGO_PKG_VERSION")))
            .with_protocol_version(ProtocolVersion::LATEST_WITH_INITIALIZE)
    }

    async fn create_elicitation(
        &self,
        request: ElicitRequestParams,
        _context: RequestContext<RoleClient>,
    ) -> std::result::Result<ElicitResult, ErrorData> {
        if !self.handler.offers().elicitation {
            return Err(ErrorData::new(ErrorCode::METHOD_NOT_FOUND, "not offered", None));
        }
        self.answer(self.elicited(request)).await
    }

    async fn create_message(
        &self,
        request: CreateMessageRequestParams,
        _context: RequestContext<RoleClient>,
    ) -> std::result::Result<CreateMessageResult, ErrorData> {
        if !self.handler.offers().sampling {
            return Err(ErrorData::new(ErrorCode::METHOD_NOT_FOUND, "not offered", None));
        }
        let work = async {
            let answer = self.handler.sample(to_json(&request)?).await?;
            serde_json::from_value(answer).map_err(|err| {
                Error::new(ErrorKind::InvalidOutput, "mcp.sample", "not a message as MCP writes it")
                    .caused_by(err)
            })
        };
        self.answer(work).await
    }

    async fn list_roots(
        &self,
        _context: RequestContext<RoleClient>,
    ) -> std::result::Result<ListRootsResult, ErrorData> {
        if !self.handler.offers().roots {
            return Err(ErrorData::new(ErrorCode::METHOD_NOT_FOUND, "not offered", None));
        }
        let roots = self.answer(self.handler.roots()).await?;
        let roots = roots.into_iter().map(|root| {
            let entry = Root::new(root.uri);
            match root.name {
                Some(name) => entry.with_name(name),
                None => entry,
            }
        });
        Ok(ListRootsResult::new(roots.collect()))
    }

    async fn on_progress(&self, told: ProgressNotificationParam, _context: NotificationContext<RoleClient>) {
        let calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        let tool = calls.get(&told.progress_token).map(|tool| tool.as_ref().to_owned());
        drop(calls);
        self.handler.progress(&McpProgress {
            tool,
            progress: told.progress,
            total: told.total,
            message: told.message,
        });
    }

    async fn on_logging_message(
        &self,
        told: LoggingMessageNotificationParam,
        _context: NotificationContext<RoleClient>,
    ) {
        let level = to_json(&told.level).ok().and_then(|level| level.as_str().map(str::to_owned));
        let level = level.unwrap_or_else(|| "info".to_owned());
        self.handler.log(&McpLog { level, logger: told.logger, data: told.data });
    }

    async fn on_tool_list_changed(&self, _context: NotificationContext<RoleClient>) {
        if let Some(commands) = self.commands.upgrade() {
            // A full queue holds such a command already, or the session is so busy that the next one will do.
            let _ = commands.try_send(Command::List);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_form_leaves_out_has_its_default_and_what_does_not_fit_stays_here() {
        let schema = json!({"type": "object", "required": ["name"], "properties": {
            "name": {"type": "string", "default": "Ada"}, "age": {"type": "integer"}}});
        assert_eq!(filled(&schema, json!({"age": 3})).unwrap(), json!({"age": 3, "name": "Ada"}));
        assert_eq!(filled(&schema, json!(null)).unwrap(), json!({"name": "Ada"}));
        let err = filled(&schema, json!({"age": "three"})).unwrap_err();
        assert_eq!((err.kind(), err.get("at")), (ErrorKind::InvalidOutput, Some("/age")));
        assert!(filled(&schema, json!([1])).is_err());
    }
}
