//! From our request to that of responses.

use serde_json::Value;

use super::wire::{
    Choice, Content, ContentPart, Format, Item, Other, Reasoning, Request, Summary, Text, Tool,
};
use crate::{
    model::{
        ChatRequest, ModelInfo, Output, ToolChoice,
        backends::openai::{
            config::{OpenAiConfig, Structured},
            media::MediaUrl,
            strict::{is_strict, parameters},
            words::{effort, prompt_retention, schema_wish, told},
        },
        wording::{Piece, document_name, joined_text, passages_text, result_text, user_pieces},
    },
    types::{Message, Part, Role},
};

/// What brings encrypted thoughts back; models that do not think refuse it.
const INCLUDE: &[&str] = &["reasoning.encrypted_content"];

/// The request in the form of responses.
pub(crate) fn request<'a>(
    config: &'a OpenAiConfig,
    info: &ModelInfo,
    request: &'a ChatRequest,
) -> Request<'a> {
    let mut input = Vec::with_capacity(request.messages.len() + 1);
    request.messages.iter().for_each(|message| add(message, &mut input));
    let text = text(config, &request.output, &mut input);
    let effort = effort(info, request);
    let summary = (config.reasoning_summary && info.abilities.reasoning).then_some("auto");
    let has_tools = !request.tools.is_empty();
    Request {
        model: &config.model,
        input,
        tools: request.tools.iter().map(|spec| tool(info, spec)).collect(),
        tool_choice: tool_choice(request).filter(|_| has_tools),
        parallel_tool_calls: request.parallel_tool_calls.filter(|_| has_tools),
        text,
        reasoning: (effort.is_some() || summary.is_some()).then_some(Reasoning { effort, summary }),
        include: if info.abilities.reasoning { INCLUDE } else { &[] },
        temperature: request.temperature,
        top_p: request.top_p,
        max_output_tokens: request.max_output_tokens,
        prompt_cache_retention: prompt_retention(config, request),
        store: false,
        stream: true,
    }
}

/// Adds the items of a message; passages never get the system role.
fn add<'a>(message: &'a Message, out: &mut Vec<Item<'a>>) {
    match message.role {
        Role::System => {
            out.push(Item::Message { role: "system", content: Content::Text(joined_text(message)) });
            let passages = passages_text(message);
            if !passages.is_empty() {
                out.push(Item::Message { role: "user", content: Content::Text(passages.into()) });
            }
        }
        Role::User | Role::Tool => heard(message, out),
        Role::Assistant => out.extend(message.parts.iter().filter_map(said)),
    }
}

/// What a message tells the model: the results of tools first, each with the pictures and files behind it.
fn heard<'a>(message: &'a Message, out: &mut Vec<Item<'a>>) {
    let mut others: Vec<&'a Part> = Vec::with_capacity(message.parts.len());
    let mut parts = message.parts.iter().peekable();
    while let Some(part) = parts.next() {
        let Part::ToolResult(result) = part else {
            others.push(part);
            continue;
        };
        let mut media = Vec::new();
        while let Some(part) = parts.next_if(|part| matches!(part, Part::Image(_) | Part::Document(_))) {
            media.push(part);
        }
        let output = match media.is_empty() {
            true => Content::Text(told(result)),
            false => {
                let text = ContentPart::InputText { text: told(result) };
                let media = user_pieces(media).into_iter().map(content_part);
                Content::Parts(std::iter::once(text).chain(media).collect())
            }
        };
        out.push(Item::Other(Other::FunctionCallOutput { call_id: &result.id, output }));
    }
    let mut pieces = user_pieces(others);
    let content = match &mut pieces[..] {
        [] => return,
        [Piece::Text(text)] => Content::Text(std::mem::take(text)),
        _ => Content::Parts(pieces.into_iter().map(content_part).collect()),
    };
    out.push(Item::Message { role: "user", content });
}

/// What the model said, and what it thought where the host encrypted it; thinking of other providers is left out.
fn said(part: &Part) -> Option<Item<'_>> {
    match part {
        Part::Text { text } if !text.is_empty() => {
            Some(Item::Message { role: "assistant", content: Content::Text(text.into()) })
        }
        Part::ToolCall(call) => Some(Item::Other(Other::FunctionCall {
            call_id: &call.id,
            name: &call.name,
            arguments: result_text(&call.arguments),
        })),
        Part::Reasoning { text, opaque: Some(opaque) } => {
            let field = |name: &str| opaque.get(name).and_then(Value::as_str);
            if field("type")? != "reasoning" {
                return None;
            }
            let summary = Summary { kind: "summary_text", text };
            Some(Item::Other(Other::Reasoning {
                id: field("id")?,
                summary: if text.is_empty() { Vec::new() } else { vec![summary] },
                encrypted_content: field("encrypted_content")?,
            }))
        }
        _ => None,
    }
}

fn content_part(piece: Piece<'_>) -> ContentPart<'_> {
    match piece {
        Piece::Text(text) => ContentPart::InputText { text },
        Piece::Image(media) => ContentPart::InputImage { image_url: MediaUrl(media) },
        Piece::Document(document) => match document.media.address() {
            Some(url) => ContentPart::InputFile { filename: None, file_data: None, file_url: Some(url) },
            None => ContentPart::InputFile {
                filename: Some(document_name(document)),
                file_data: Some(MediaUrl(&document.media)),
                file_url: None,
            },
        },
    }
}

fn tool<'a>(info: &ModelInfo, spec: &'a crate::types::ToolSpec) -> Tool<'a> {
    let (parameters, strict) = parameters(info, spec);
    Tool { kind: "function", name: &spec.name, description: &spec.description, parameters, strict }
}

fn tool_choice(request: &ChatRequest) -> Option<Choice<'_>> {
    match &request.tool_choice {
        ToolChoice::Auto => None,
        ToolChoice::None => Some(Choice::Word("none")),
        ToolChoice::Required => Some(Choice::Word("required")),
        ToolChoice::Tool(name) => Some(Choice::Function { kind: "function", name }),
    }
}

fn text<'a>(config: &OpenAiConfig, output: &'a Output, input: &mut Vec<Item<'_>>) -> Option<Text<'a>> {
    let Output::Json { name, schema } = output else { return None };
    let schema = schema.as_value();
    let format = match config.structured {
        Structured::Auto | Structured::JsonSchema => {
            Format::JsonSchema { name, schema, strict: is_strict(schema) }
        }
        Structured::JsonObject => {
            let is_system = |item: &&Item<'_>| matches!(item, Item::Message { role: "system", .. });
            let instructions = input.iter().take_while(is_system).count();
            let content = Content::Text(schema_wish(schema).into());
            input.insert(instructions, Item::Message { role: "system", content });
            Format::JsonObject
        }
        Structured::None => return None,
    };
    Some(Text { format })
}
