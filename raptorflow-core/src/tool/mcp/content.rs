//! What a tool's answer means on both sides: content of MCP as our value, and our value as content of MCP.

use rmcp::model::{CallToolResult, ContentBlock};
use serde_json::{Value, json};

use crate::{
    error::{Error, ErrorKind, Result},
    tool::mcp::fault::clipped,
    types::ToolResult,
};

/// The kinds of content that stand for themselves in the value of a tool.
const KINDS: [&str; 5] = ["text", "image", "audio", "resource", "resource_link"];

/// The value of a remote tool's answer.
///
/// Structured content is the value itself; one text is a string; anything else is a list whose texts are strings and
/// whose other parts are objects as MCP writes them.
pub(super) fn to_value(tool: &str, answer: CallToolResult) -> Result<Value> {
    if answer.is_error == Some(true) {
        let texts: Vec<&str> = answer.content.iter().filter_map(text_of).collect();
        return Err(Error::new(ErrorKind::Callback, "mcp.call", "the tool failed")
            .with("tool", tool)
            .with("reason", clipped(&texts.join("\n"))));
    }
    let only_text = answer.content.iter().all(|part| text_of(part).is_some());
    let mut parts = answer.content.iter().map(part_to_value).collect::<Result<Vec<_>>>()?;
    Ok(match answer.structured_content {
        // Servers repeat structured content as text for clients that read nothing else.
        Some(structured) if only_text => structured,
        Some(structured) => json!({"structured": structured, "content": parts}),
        None if parts.len() == 1 => parts.swap_remove(0),
        None => Value::Array(parts),
    })
}

fn text_of(part: &ContentBlock) -> Option<&str> {
    part.as_text().map(|text| text.text.as_str())
}

fn part_to_value(part: &ContentBlock) -> Result<Value> {
    match text_of(part) {
        Some(text) => Ok(Value::from(text)),
        None => to_json(part),
    }
}

/// Something of the SDK as JSON.
pub(super) fn to_json(part: &impl serde::Serialize) -> Result<Value> {
    serde_json::to_value(part)
        .map_err(|err| Error::new(ErrorKind::Internal, "mcp.content", "cannot write JSON").caused_by(err))
}

/// The answer of a local tool as MCP says it.
pub(super) fn from_result(result: ToolResult) -> CallToolResult {
    if result.is_error {
        return CallToolResult::error(vec![ContentBlock::text(result.content.to_string())]);
    }
    if let Some(parts) = ready(&result.content) {
        return CallToolResult::success(parts);
    }
    match result.content {
        Value::String(text) => CallToolResult::success(vec![ContentBlock::text(text)]),
        // Structured content is an object for every client before 2026.
        value @ Value::Object(_) => CallToolResult::structured(value),
        value => CallToolResult::success(vec![ContentBlock::text(value.to_string())]),
    }
}

/// The parts of a value that is content of MCP already: one part, or a list of parts and texts.
fn ready(value: &Value) -> Option<Vec<ContentBlock>> {
    match value {
        Value::Object(_) => Some(vec![part(value)?]),
        Value::Array(items) if items.iter().any(Value::is_object) => items.iter().map(part).collect(),
        _ => None,
    }
}

fn part(value: &Value) -> Option<ContentBlock> {
    match value {
        Value::String(text) => Some(ContentBlock::text(text.clone())),
        _ if value.get("type").and_then(Value::as_str).is_some_and(|kind| KINDS.contains(&kind)) => {
            serde_json::from_value(value.clone()).ok()
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(answer: Value) -> Result<Value> {
        to_value("tool", serde_json::from_value(answer).unwrap())
    }

    fn write(content: Value) -> Value {
        let result = ToolResult { id: "1".into(), name: "tool".into(), content, is_error: false, cost: None };
        let mut written = serde_json::to_value(from_result(result)).unwrap();
        written.as_object_mut().unwrap().remove("resultType");
        written.as_object_mut().unwrap().remove("isError");
        written
    }

    #[test]
    fn texts_are_strings_and_other_parts_keep_their_form() {
        let image = json!({"type": "image", "data": "aGk=", "mimeType": "image/png"});
        for (content, expected) in [
            (json!([]), json!([])),
            (json!([{"type": "text", "text": "a"}]), json!("a")),
            (json!([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]), json!(["a", "b"])),
            (json!([{"type": "text", "text": "a"}, image]), json!(["a", image])),
            (json!([image]), image.clone()),
        ] {
            assert_eq!(read(json!({"content": content})).unwrap(), expected);
        }
    }

    #[test]
    fn structured_content_is_the_value() {
        let text = json!([{"type": "text", "text": "{\"a\":1}"}]);
        assert_eq!(read(json!({"content": text, "structuredContent": {"a": 1}})).unwrap(), json!({"a": 1}));
        let link = json!({"type": "resource_link", "uri": "file:///a", "name": "a"});
        assert_eq!(
            read(json!({"content": [link], "structuredContent": {"a": 1}})).unwrap(),
            json!({"structured": {"a": 1}, "content": [link]})
        );
    }

    #[test]
    fn a_tool_that_failed_is_an_error_with_its_words() {
        let err = read(json!({"content": [{"type": "text", "text": "no such city"}], "isError": true}))
            .unwrap_err();
        assert_eq!((err.kind(), err.get("reason")), (ErrorKind::Callback, Some("no such city")));
    }

    #[test]
    fn what_was_read_is_written_the_same() {
        let image = json!({"type": "image", "data": "aGk=", "mimeType": "image/png"});
        let text = |text: &str| json!({"type": "text", "text": text});
        for (value, content) in [
            (json!("a"), json!([text("a")])),
            (json!(7), json!([text("7")])),
            (json!([1, 2]), json!([text("[1,2]")])),
            (image.clone(), json!([image])),
            (json!(["a", image]), json!([text("a"), image])),
            (json!([{"id": 1}]), json!([text("[{\"id\":1}]")])),
        ] {
            assert_eq!(write(value)["content"], content);
        }
        let order = json!({"type": "order", "id": 1});
        assert_eq!(write(order.clone())["structuredContent"], order);
    }
}
