//! From our request to that of the crate.

use genai::{
    Headers,
    chat::{
        Binary, ChatMessage, ChatOptions, ContentPart, JsonSpec, MessageContent, ReasoningEffort, Tool,
        ToolCall as Call, ToolChoice as Choice, ToolResponse,
    },
};
use serde_json::{Value, json};

use super::config::GenaiConfig;
use crate::{
    error::{Error, ErrorKind, Result},
    model::{
        ChatRequest, Effort, ModelInfo, Output, Reasoning, ToolChoice,
        wording::{Piece, document_name, joined_text, passages_text, result_text, user_pieces},
    },
    types::{Media, Message, Part, Role, ToolResult},
};

/// Under which name signatures are kept in the opaque data of a thought, by the id of the call that they belong to;
/// the empty id stands for none.
pub(super) const SIGNATURES: &str = "genai_signatures";

/// The conversation and the tools.
///
/// # Errors
/// `Unsupported` for an address of a picture or a file.
pub(super) fn request(info: &ModelInfo, request: &ChatRequest) -> Result<genai::chat::ChatRequest> {
    let mut messages = Vec::with_capacity(request.messages.len());
    for message in &request.messages {
        add(info, message, &mut messages)?;
    }
    let tools = request.tools.iter().map(|tool| {
        let schema = tool.parameters.as_value().clone();
        Tool::new(tool.name.as_str()).with_description(tool.description.as_str()).with_schema(schema)
    });
    let wanted = genai::chat::ChatRequest::new(messages);
    Ok(if request.tools.is_empty() { wanted } else { wanted.with_tools(tools) })
}

/// Adds a message; passages never get the system role.
fn add(info: &ModelInfo, message: &Message, out: &mut Vec<ChatMessage>) -> Result<()> {
    let user = |out: &mut Vec<ChatMessage>| -> Result<()> {
        let parts = user_pieces(&message.parts).into_iter().map(|piece| part(info, piece));
        let parts = parts.collect::<Result<Vec<_>>>()?;
        out.extend((!parts.is_empty()).then(|| ChatMessage::user(MessageContent::from_parts(parts))));
        Ok(())
    };
    match message.role {
        Role::System => {
            out.push(ChatMessage::system(joined_text(message).into_owned()));
            let passages = passages_text(message);
            out.extend((!passages.is_empty()).then(|| ChatMessage::user(passages)));
        }
        Role::User => user(out)?,
        Role::Assistant => out.push(ChatMessage::assistant(MessageContent::from_parts(said(message)))),
        Role::Tool => {
            let results = message.parts.iter().filter_map(|part| match part {
                Part::ToolResult(result) => Some(response(result)),
                _ => None,
            });
            out.push(ChatMessage::tool(MessageContent::from_tool_responses(results.collect())));
            // Pictures and files of a tool follow its answer.
            user(out)?;
        }
    }
    Ok(())
}

/// What the model said: signatures that belong to no call, text, and calls with theirs.
fn said(message: &Message) -> Vec<ContentPart> {
    let signatures = |id: &str| -> Vec<String> {
        let opaque = message.parts.iter().filter_map(|part| match part {
            Part::Reasoning { opaque: Some(opaque), .. } => opaque.get(SIGNATURES)?.get(id),
            _ => None,
        });
        let lists = opaque.filter_map(Value::as_array).flatten();
        lists.filter_map(|signature| signature.as_str().map(str::to_owned)).collect()
    };
    let mut parts: Vec<ContentPart> = signatures("").into_iter().map(ContentPart::ThoughtSignature).collect();
    let text = joined_text(message);
    parts.extend((!text.is_empty()).then(|| ContentPart::Text(text.into_owned())));
    parts.extend(message.tool_calls().map(|call| {
        ContentPart::ToolCall(Call {
            call_id: call.id.clone(),
            fn_name: call.name.clone(),
            fn_arguments: call.arguments.clone(),
            thought_signatures: Some(signatures(&call.id)).filter(|signatures| !signatures.is_empty()),
        })
    }));
    parts
}

fn response(result: &ToolResult) -> ToolResponse {
    let content = match result.is_error {
        true => json!({"error": result.content}).to_string(),
        false => result_text(&result.content).into_owned(),
    };
    ToolResponse::new(result.id.as_str(), content).with_fn_name(result.name.as_str())
}

fn part(info: &ModelInfo, piece: Piece<'_>) -> Result<ContentPart> {
    let binary = |media: &Media, name: Option<String>| match (media.media_type(), media.base64()) {
        (Some(kind), Some(base64)) => Ok(ContentPart::Binary(Binary::from_base64(kind, base64, name))),
        _ => {
            let message = "the provider takes the bytes of pictures and files and no addresses";
            Err(Error::new(ErrorKind::Unsupported, "model.stream", message).with("model", &info.name))
        }
    };
    match piece {
        Piece::Text(text) => Ok(ContentPart::Text(text.into_owned())),
        Piece::Image(media) => binary(media, None),
        Piece::Document(document) => binary(&document.media, Some(document_name(document).to_owned())),
    }
}

/// The options of a request.
pub(super) fn options(config: &GenaiConfig, request: &ChatRequest) -> ChatOptions {
    let mut options = ChatOptions::default().with_capture_usage(true).with_capture_tool_calls(true);
    options.temperature = request.temperature.map(short);
    options.top_p = request.top_p.map(short);
    options.max_tokens = request.max_output_tokens;
    options.seed = request.seed;
    options.stop_sequences.clone_from(&request.stop);
    if let Output::Json { name, schema } = &request.output {
        options = options.with_response_format(JsonSpec::new(name.as_str(), schema.as_value().clone()));
    }
    options.reasoning_effort = request.reasoning.map(|reasoning| match reasoning {
        Reasoning::Effort(Effort::Minimal) => ReasoningEffort::Minimal,
        Reasoning::Effort(Effort::Low) => ReasoningEffort::Low,
        Reasoning::Effort(Effort::Medium) => ReasoningEffort::Medium,
        Reasoning::Effort(Effort::High) => ReasoningEffort::High,
        Reasoning::Budget(tokens) => ReasoningEffort::Budget(tokens),
    });
    options.tool_choice = match &request.tool_choice {
        // Hosts refuse a choice among no tools.
        _ if request.tools.is_empty() => None,
        ToolChoice::Auto => None,
        ToolChoice::None => Some(Choice::None),
        ToolChoice::Required => Some(Choice::Required),
        ToolChoice::Tool(name) => Some(Choice::tool(name.as_str())),
    };
    if !config.headers.is_empty() {
        let headers: Vec<(String, String)> = config.headers.clone().into_iter().collect();
        options = options.with_extra_headers(Headers::from(headers));
    }
    options
}

/// The number with the digits that it was written with: 0.2 and not 0.20000000298.
fn short(number: f32) -> f64 {
    number.to_string().parse().unwrap_or_else(|_| f64::from(number))
}
