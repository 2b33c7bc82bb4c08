//! From our request to Anthropic's.

use std::{borrow::Cow, mem};

use serde_json::{Value, json};

use super::{
    config::AnthropicConfig,
    dialect::Form,
    strict::strict,
    thinking::Plan,
    wire::{Block, CacheControl, Format, Marked, Request, Source, System, Told, Tool, Turn},
};
use crate::{
    error::{Error, ErrorKind, Result},
    model::{
        ChatRequest, KeepPrompt, ModelInfo, Output, ToolChoice,
        wording::{Piece, joined_text, passages_text, result_text, user_pieces},
    },
    types::{Media, Message, Part, Role, ToolSpec},
};

/// The tool by which a structured answer is given.
pub(super) const ANSWER_TOOL: &str = "final_answer";
const ANSWER_DESCRIPTION: &str = "Gives the final answer. Call it once, when the answer is complete; \
    the answer is not given in any other way.";
/// Under which property a schema that is no object is asked for.
const WRAPPED: &str = "value";

/// The request in Anthropic's form.
///
/// # Errors
/// `InvalidInput` when a tool has the name by which a structured answer is given, and `Unsupported` for what the API
/// does not do while a model thinks.
pub(super) fn request<'a>(
    config: &'a AnthropicConfig,
    info: &ModelInfo,
    request: &'a ChatRequest,
) -> Result<(Request<'a>, Form)> {
    let plan = Plan::of(config, info, request)?;
    let (thinking, mut output_config) = plan.into_fields(config);
    let mut tools: Vec<Tool<'a>> = request.tools.iter().map(tool).collect();
    let form = match &request.output {
        Output::Text => Form::Text,
        Output::Json { schema, .. } => {
            let enforced = if info.abilities.strict { strict(schema.as_value()) } else { None };
            match enforced {
                Some(schema) => {
                    output_config.format = Some(Format::JsonSchema { schema });
                    Form::Text
                }
                None => emulate(schema.as_value(), &mut tools)?,
            }
        }
    };
    let answer = request.max_output_tokens.unwrap_or(config.max_output_tokens);
    let longest = info.max_output_tokens.unwrap_or(u32::MAX);
    let tool_choice = tool_choice(plan, form, request);
    let mut out = Request {
        model: &config.model,
        max_tokens: answer.saturating_add(plan.room()).min(longest),
        system: system(&request.messages),
        messages: turns(&request.messages),
        tools,
        tool_choice,
        // The API knows 0 to 1.
        temperature: request.temperature.map(|t| t.clamp(0.0, 1.0)),
        top_p: request.top_p,
        stop_sequences: &request.stop,
        thinking,
        output_config,
        stream: true,
    };
    if let Some(keep) = request.keep_prompt.or(config.keep_prompt) {
        mark(&mut out, keep);
    }
    Ok((out, form))
}

fn tool(spec: &ToolSpec) -> Tool<'_> {
    Tool {
        name: &spec.name,
        description: &spec.description,
        input_schema: Cow::Borrowed(spec.parameters.as_value()),
        cache_control: None,
    }
}

/// Adds the tool by which a structured answer is given.
fn emulate<'a>(schema: &'a Value, tools: &mut Vec<Tool<'a>>) -> Result<Form> {
    if tools.iter().any(|tool| tool.name == ANSWER_TOOL) {
        return Err(Error::new(
            ErrorKind::InvalidInput,
            "model.stream",
            "a tool has the name by which a structured answer is given; rename it",
        )
        .with("tool", ANSWER_TOOL));
    }
    let is_wrapped = schema.get("type").and_then(Value::as_str) != Some("object");
    let input_schema = if is_wrapped { Cow::Owned(wrap(schema)) } else { Cow::Borrowed(schema) };
    tools.push(Tool {
        name: ANSWER_TOOL,
        description: ANSWER_DESCRIPTION,
        input_schema,
        cache_control: None,
    });
    Ok(if is_wrapped { Form::Wrapped } else { Form::Plain })
}

/// The instructions of all system messages.
fn system(messages: &[Message]) -> Option<System<'_>> {
    let mut texts = messages.iter().filter(|message| message.role == Role::System).map(joined_text);
    let first = texts.next()?;
    let text = texts.fold(first, |joined, text| joined + "\n\n" + text);
    (!text.is_empty()).then_some(System::Text(text))
}

/// Marks up to where the API keeps what it read: the instructions with the tools in front of them, and the
/// conversation so far, which the next call continues.
fn mark(request: &mut Request<'_>, keep: KeepPrompt) {
    let ttl = match keep {
        KeepPrompt::Minutes => None,
        KeepPrompt::Hours => Some("1h"),
    };
    let control = Some(CacheControl::Ephemeral { ttl });
    match (request.system.take(), request.tools.last_mut()) {
        (Some(System::Text(text)), _) => {
            let block = Block::Text { text };
            request.system = Some(System::Blocks([Marked { block, cache_control: control }]));
        }
        (None, Some(tool)) => tool.cache_control = control,
        (other, _) => request.system = other,
    }
    let last = request.messages.last_mut().and_then(|turn| turn.content.last_mut());
    // The API marks no thoughts.
    let markable =
        last.filter(|last| !matches!(last.block, Block::Thinking { .. } | Block::RedactedThinking { .. }));
    if let Some(last) = markable {
        last.cache_control = control;
    }
}

/// The answer without its wrapping.
pub(super) fn unwrap(input: &str) -> Option<Value> {
    serde_json::from_str::<Value>(input).ok()?.get_mut(WRAPPED).map(Value::take)
}

fn wrap(schema: &Value) -> Value {
    let mut inner = schema.clone();
    let mut outer = json!({"type": "object", "additionalProperties": false, "required": [WRAPPED]});
    // Definitions stay at the root, where references look for them.
    for key in ["$defs", "definitions", "$schema"] {
        if let (Some(definitions), Some(fields)) =
            (inner.as_object_mut().and_then(|all| all.shift_remove(key)), outer.as_object_mut())
        {
            fields.insert(key.to_owned(), definitions);
        }
    }
    if let Some(fields) = outer.as_object_mut() {
        fields.insert("properties".to_owned(), json!({WRAPPED: inner}));
    }
    outer
}

fn tool_choice(plan: Plan, form: Form, request: &ChatRequest) -> Option<Value> {
    let emulated = form != Form::Text;
    let mut choice = match &request.tool_choice {
        // The API forces no tool while the model thinks; the answer is then checked by the caller.
        _ if emulated && plan != Plan::No => None,
        ToolChoice::Tool(name) => Some(json!({"type": "tool", "name": name})),
        ToolChoice::Required => Some(json!({"type": "any"})),
        ToolChoice::Auto if emulated && !request.tools.is_empty() => Some(json!({"type": "any"})),
        ToolChoice::Auto | ToolChoice::None if emulated => Some(json!({"type": "tool", "name": ANSWER_TOOL})),
        ToolChoice::None if !request.tools.is_empty() => Some(json!({"type": "none"})),
        ToolChoice::Auto | ToolChoice::None => None,
    };
    if let (Some(parallel), false) = (request.parallel_tool_calls, request.tools.is_empty()) {
        let choice = choice.get_or_insert_with(|| json!({"type": "auto"}));
        if let Some(choice) =
            choice.as_object_mut().filter(|choice| choice.get("type") != Some(&json!("none")))
        {
            choice.insert("disable_parallel_tool_use".to_owned(), json!(!parallel));
        }
    }
    choice
}

/// The conversation as turns of two sides; neighbors of the same side are one turn, as the API wants the results
/// of one answer's tools.
fn turns(messages: &[Message]) -> Vec<Turn<'_>> {
    let mut turns: Vec<Turn<'_>> = Vec::with_capacity(messages.len());
    for message in messages {
        let (role, blocks): (_, Vec<Block<'_>>) = match message.role {
            // The text went into `system`; passages never do.
            Role::System => {
                let passages = passages_text(message);
                let block = (!passages.is_empty()).then(|| Block::Text { text: passages.into() });
                ("user", block.into_iter().collect())
            }
            Role::User | Role::Tool => ("user", heard(message)),
            Role::Assistant => ("assistant", message.parts.iter().filter_map(said).collect()),
        };
        match turns.last_mut() {
            _ if blocks.is_empty() => {}
            Some(last) if last.role == role => last.content.extend(blocks.into_iter().map(Marked::from)),
            _ => turns.push(Turn { role, content: blocks.into_iter().map(Marked::from).collect() }),
        }
    }
    turns
}

/// What a message tells the model: the results of tools first, each with the pictures and files behind it.
fn heard(message: &Message) -> Vec<Block<'_>> {
    let mut results: Vec<Block<'_>> = Vec::new();
    let mut others: Vec<&Part> = Vec::with_capacity(message.parts.len());
    let mut behind_result = false;
    for part in &message.parts {
        match (part, results.last_mut()) {
            (Part::ToolResult(result), _) => {
                results.push(Block::ToolResult {
                    tool_use_id: &result.id,
                    content: Told::Text(result_text(&result.content)),
                    is_error: result.is_error,
                });
                behind_result = true;
            }
            (Part::Image(_) | Part::Document(_), Some(Block::ToolResult { content, .. }))
                if behind_result =>
            {
                attach(content, part);
            }
            _ => {
                others.push(part);
                behind_result = false;
            }
        }
    }
    results.extend(user_pieces(others).into_iter().filter_map(piece));
    results
}

/// Adds a picture or file to what a tool answered.
fn attach<'a>(content: &mut Told<'a>, part: &'a Part) {
    let mut blocks = match mem::replace(content, Told::Blocks(Vec::new())) {
        Told::Text(text) => piece(Piece::Text(text)).into_iter().collect(),
        Told::Blocks(blocks) => blocks,
    };
    blocks.extend(user_pieces([part]).into_iter().filter_map(piece));
    *content = Told::Blocks(blocks);
}

fn piece(piece: Piece<'_>) -> Option<Block<'_>> {
    Some(match piece {
        // The API refuses empty texts.
        Piece::Text(text) if text.trim().is_empty() => return None,
        Piece::Text(text) => Block::Text { text },
        Piece::Image(media) => Block::Image { source: source(media) },
        Piece::Document(document) => {
            Block::Document { source: source(&document.media), title: document.name.as_deref() }
        }
    })
}

fn source(media: &Media) -> Source<'_> {
    match (media.media_type(), media.base64()) {
        (Some(media_type), Some(data)) => Source::Base64 { media_type, data },
        _ => Source::Url { url: media.address().unwrap_or_default() },
    }
}

/// What the model said, with its thinking as it was signed; thinking of other providers is left out.
fn said(part: &Part) -> Option<Block<'_>> {
    match part {
        Part::Text { text } if !text.trim().is_empty() => Some(Block::Text { text: text.into() }),
        Part::ToolCall(call) => {
            // A call whose arguments were no object was answered with an error; the API still wants an object.
            let input = match call.arguments.is_object() {
                true => Cow::Borrowed(&call.arguments),
                false => Cow::Owned(json!({"input": call.arguments})),
            };
            Some(Block::ToolUse { id: &call.id, name: &call.name, input })
        }
        Part::Reasoning { text, opaque: Some(opaque) } => {
            let field = |name: &str| opaque.get(name).and_then(Value::as_str);
            match field("type")? {
                "thinking" => Some(Block::Thinking { thinking: text, signature: field("signature")? }),
                "redacted_thinking" => Some(Block::RedactedThinking { data: field("data")? }),
                _ => None,
            }
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Passage, Schema, ToolCall, ToolResult, ToolSpec};

    fn sent(config: &AnthropicConfig, wanted: &ChatRequest) -> Value {
        let info = ModelInfo::known("anthropic", "claude-3-7-sonnet-latest", &[]).unwrap();
        serde_json::to_value(request(config, &info, wanted).unwrap().0).unwrap()
    }

    #[test]
    fn a_conversation_has_two_sides_and_thinking_goes_back_as_it_was_signed() {
        let message = |role, parts| Message { role, parts };
        let reasoning = |text: &str, opaque| Part::Reasoning { text: text.into(), opaque };
        let passage = Passage {
            number: 1,
            source: "a.md".into(),
            lines: (1, 2),
            heading: String::new(),
            text: "quoted".into(),
        };
        let wanted = ChatRequest::new(vec![
            message(Role::System, vec![Part::text("Be brief."), Part::Passage(passage)]),
            Message::user("Why?"),
            message(
                Role::Assistant,
                vec![
                    reasoning("hm", Some(json!({"type": "thinking", "signature": "s"}))),
                    reasoning("", Some(json!({"type": "redacted_thinking", "data": "d"}))),
                    reasoning("other provider", None),
                    Part::text(" "),
                    Part::ToolCall(ToolCall {
                        id: "c".into(),
                        name: "add".into(),
                        arguments: json!("broken"),
                    }),
                ],
            ),
            message(
                Role::Tool,
                vec![Part::ToolResult(ToolResult {
                    id: "c".into(),
                    name: "add".into(),
                    content: json!({"code": "x"}),
                    is_error: true,
                    cost: None,
                })],
            ),
            Message::user("Go on."),
        ]);
        assert_eq!(
            sent(&AnthropicConfig::new("claude"), &wanted),
            json!({"model": "claude", "max_tokens": 8192, "system": "Be brief.", "stream": true, "messages": [
                {"role": "user", "content": [
                    {"type": "text", "text": "<passage n=\"1\" source=\"a.md\" lines=\"1-2\">\nquoted\n</passage>"},
                    {"type": "text", "text": "Why?"}]},
                {"role": "assistant", "content": [
                    {"type": "thinking", "thinking": "hm", "signature": "s"},
                    {"type": "redacted_thinking", "data": "d"},
                    {"type": "tool_use", "id": "c", "name": "add", "input": {"input": "broken"}}]},
                {"role": "user", "content": [
                    {"type": "tool_result", "tool_use_id": "c", "content": "{\"code\":\"x\"}", "is_error": true},
                    {"type": "text", "text": "Go on."}]}]})
        );
    }

    #[test]
    fn a_schema_becomes_a_tool_that_has_to_be_called() {
        let schema = Schema::new(
            json!({"type": "array", "items": {"$ref": "#/$defs/T"}, "$defs": {"T": {"type": "string"}}}),
        );
        let mut wanted = ChatRequest::new(vec![Message::user("List.")])
            .with_output(Output::Json { name: "x".into(), schema: schema.unwrap() });
        wanted.temperature = Some(1.5);
        let alone = sent(&AnthropicConfig::new("claude"), &wanted);
        assert_eq!(alone["tool_choice"], json!({"type": "tool", "name": ANSWER_TOOL}));
        assert_eq!(alone["temperature"], 1.0);
        let input = &alone["tools"][0]["input_schema"];
        assert_eq!(input["properties"]["value"], json!({"type": "array", "items": {"$ref": "#/$defs/T"}}));
        assert_eq!(input["$defs"]["T"]["type"], "string");
        assert!(Schema::new(input.clone()).unwrap().validate(&json!({"value": ["a"]})).is_empty());
        wanted.tools = [ToolSpec::new("add", "Adds.", Schema::any_object())].into();
        assert_eq!(sent(&AnthropicConfig::new("claude"), &wanted)["tool_choice"], json!({"type": "any"}));
        let mut thinking = AnthropicConfig::new("claude");
        thinking.thinking_tokens = Some(2048);
        wanted.temperature = None;
        let thinking = sent(&thinking, &wanted);
        assert_eq!((&thinking["tool_choice"], &thinking["max_tokens"]), (&Value::Null, &json!(10240)));
        wanted.tools = [ToolSpec::new(ANSWER_TOOL, "Mine.", Schema::any_object())].into();
        let config = AnthropicConfig::new("claude");
        let info = ModelInfo::new("anthropic:claude");
        assert_eq!(request(&config, &info, &wanted).err().unwrap().kind(), ErrorKind::InvalidInput);
    }
}
