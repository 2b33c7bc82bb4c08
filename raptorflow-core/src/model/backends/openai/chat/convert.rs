//! From our request to that of chat completions.

use std::borrow::Cow;

use serde_json::Value;

use super::{
    dialect::DETAILS,
    wire::{
        Call, CalledFunction, Choice, Content, ContentPart, File, Function, ImageUrl, JsonSchema, Named,
        Outgoing, Request, ResponseFormat, StreamOptions, Tool,
    },
};
use crate::{
    error::{Error, ErrorKind, Result},
    model::{
        ChatRequest, ModelInfo, Output, ToolChoice,
        backends::openai::{
            config::{LimitField, OpenAiConfig, Structured},
            media::MediaUrl,
            strict::{is_strict, parameters},
            words::{effort, prompt_retention, schema_wish, told},
        },
        wording::{Piece, document_name, joined_text, passages_text, result_text, user_pieces},
    },
    types::{Message, Part, Role},
};

/// The request in OpenAI's form.
///
/// # Errors
/// `Unsupported` for a file that this wire cannot carry.
pub(crate) fn request<'a>(
    config: &'a OpenAiConfig,
    info: &ModelInfo,
    request: &'a ChatRequest,
) -> Result<Request<'a>> {
    let limit = |field| request.max_output_tokens.filter(|_| config.limit_field == field);
    let mut messages = Vec::with_capacity(request.messages.len() + 1);
    // What was thought about earlier questions is of no use any more.
    let asked = request.messages.iter().rposition(|message| message.role == Role::User).unwrap_or(0);
    for (place, message) in request.messages.iter().enumerate() {
        let thoughts =
            Thoughts { text: config.send_reasoning && place > asked, details: !config.is_openai() };
        add(message, thoughts, &mut messages)?;
    }
    let response_format = response_format(config, &request.output, &mut messages);
    Ok(Request {
        model: &config.model,
        messages,
        tools: request.tools.iter().map(|spec| tool(info, spec)).collect(),
        tool_choice: tool_choice(request),
        response_format,
        temperature: request.temperature,
        top_p: request.top_p,
        stop: &request.stop,
        seed: request.seed,
        reasoning_effort: effort(info, request),
        // Hosts refuse it beside no tools.
        parallel_tool_calls: request.parallel_tool_calls.filter(|_| !request.tools.is_empty()),
        prompt_cache_retention: prompt_retention(config, request),
        max_completion_tokens: limit(LimitField::MaxCompletionTokens),
        max_tokens: limit(LimitField::MaxTokens),
        stream: true,
        stream_options: StreamOptions { include_usage: true },
    })
}

/// What goes back of what the model thought.
#[derive(Clone, Copy)]
struct Thoughts {
    text: bool,
    /// Pieces with signatures, which only come from hosts that want them back.
    details: bool,
}

/// Adds a message; its tool results become messages of their own, and passages never get the system role.
fn add<'a>(message: &'a Message, thoughts: Thoughts, out: &mut Vec<Outgoing<'a>>) -> Result<()> {
    match message.role {
        Role::System => {
            out.push(Outgoing::System { content: joined_text(message) });
            let passages = passages_text(message);
            if !passages.is_empty() {
                out.push(Outgoing::User { content: Content::Text(passages.into()) });
            }
        }
        Role::User => out.extend(content(message)?.map(|content| Outgoing::User { content })),
        Role::Assistant => {
            let tool_calls: Vec<Call<'a>> = message.tool_calls().map(call).collect();
            let content = Some(joined_text(message)).filter(|text| !text.is_empty() || tool_calls.is_empty());
            let reasoning_content =
                if thoughts.text && !tool_calls.is_empty() { thought(message) } else { None };
            let reasoning_details = if thoughts.details { details(message) } else { None };
            out.push(Outgoing::Assistant { content, reasoning_content, reasoning_details, tool_calls });
        }
        Role::Tool => {}
    }
    for part in &message.parts {
        if let Part::ToolResult(result) = part {
            out.push(Outgoing::Tool { tool_call_id: &result.id, content: told(result) });
        }
    }
    if message.role == Role::Tool {
        // The wire takes only text as a tool's answer, so pictures and files follow it.
        out.extend(content(message)?.map(|content| Outgoing::User { content }));
    }
    Ok(())
}

/// What a user says, if anything.
fn content(message: &Message) -> Result<Option<Content<'_>>> {
    let mut pieces = user_pieces(&message.parts);
    if let [Piece::Text(text)] = &mut pieces[..] {
        return Ok(Some(Content::Text(std::mem::take(text))));
    }
    let parts = pieces.into_iter().map(part).collect::<Result<Vec<_>>>()?;
    Ok(Some(parts).filter(|parts| !parts.is_empty()).map(Content::Parts))
}

fn part(piece: Piece<'_>) -> Result<ContentPart<'_>> {
    Ok(match piece {
        Piece::Text(text) => ContentPart::Text { text },
        Piece::Image(media) => ContentPart::ImageUrl { image_url: ImageUrl { url: MediaUrl(media) } },
        Piece::Document(document) if document.media.base64().is_some() => ContentPart::File {
            file: File { filename: document_name(document), file_data: MediaUrl(&document.media) },
        },
        Piece::Document(_) => {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "model.stream",
                "chat completions take the bytes of a file and no address",
            ));
        }
    })
}

/// What the model thought, where it is readable.
fn thought(message: &Message) -> Option<Cow<'_, str>> {
    let mut texts = message.parts.iter().filter_map(|part| match part {
        Part::Reasoning { text, .. } if !text.is_empty() => Some(text.as_str()),
        _ => None,
    });
    let first = Cow::Borrowed(texts.next()?);
    Some(texts.fold(first, |joined, text| joined + text))
}

/// The pieces of what the model thought, as its host told them.
fn details(message: &Message) -> Option<&Value> {
    message.parts.iter().find_map(|part| match part {
        Part::Reasoning { opaque: Some(opaque), .. } => {
            opaque.get("details").filter(|_| opaque.get("type").is_some_and(|it| it == DETAILS))
        }
        _ => None,
    })
}

fn call(call: &crate::types::ToolCall) -> Call<'_> {
    let arguments = result_text(&call.arguments);
    Call { id: &call.id, kind: "function", function: CalledFunction { name: &call.name, arguments } }
}

fn tool<'a>(info: &ModelInfo, spec: &'a crate::types::ToolSpec) -> Tool<'a> {
    let (parameters, strict) = parameters(info, spec);
    // Hosts that do not know the word are not told it.
    let strict = strict.then_some(true);
    Tool {
        kind: "function",
        function: Function { name: &spec.name, description: &spec.description, parameters, strict },
    }
}

fn tool_choice(request: &ChatRequest) -> Option<Choice<'_>> {
    match &request.tool_choice {
        // Hosts refuse a choice among no tools.
        _ if request.tools.is_empty() => None,
        ToolChoice::Auto => None,
        ToolChoice::None => Some(Choice::Word("none")),
        ToolChoice::Required => Some(Choice::Word("required")),
        ToolChoice::Tool(name) => Some(Choice::Function { kind: "function", function: Named { name } }),
    }
}

fn response_format<'a>(
    config: &OpenAiConfig,
    output: &'a Output,
    messages: &mut Vec<Outgoing<'_>>,
) -> Option<ResponseFormat<'a>> {
    let Output::Json { name, schema } = output else { return None };
    let schema = schema.as_value();
    match config.structured {
        Structured::JsonSchema | Structured::Auto => {
            let json_schema = JsonSchema { name, schema, strict: is_strict(schema) };
            Some(ResponseFormat::JsonSchema { json_schema })
        }
        Structured::JsonObject => {
            let instructions = messages.iter().take_while(|m| matches!(m, Outgoing::System { .. })).count();
            messages.insert(instructions, Outgoing::System { content: schema_wish(schema).into() });
            Some(ResponseFormat::JsonObject)
        }
        Structured::None => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::types::{Passage, Schema, ToolCall, ToolResult, ToolSpec};

    fn passage() -> Part {
        let text = "quoted".into();
        Part::Passage(Passage {
            number: 1,
            source: "a.md".into(),
            lines: (1, 2),
            heading: String::new(),
            text,
        })
    }

    fn sent(config: &OpenAiConfig, wanted: &ChatRequest) -> Value {
        let info = ModelInfo::new("test:x");
        serde_json::to_value(request(config, &info, wanted).unwrap()).unwrap()
    }

    #[test]
    fn a_conversation_with_tools_and_passages_has_the_wire_form() {
        let message = |role, parts| Message { role, parts };
        let ask =
            Part::ToolCall(ToolCall { id: "c1".into(), name: "add".into(), arguments: json!({"n": 1}) });
        let result = |is_error| ToolResult {
            id: "c1".into(),
            name: "add".into(),
            content: json!("no"),
            is_error,
            cost: None,
        };
        let reasoning = Part::Reasoning { text: "hm".into(), opaque: None };
        let wanted = ChatRequest::new(vec![
            message(Role::System, vec![Part::text("Be brief."), passage()]),
            message(Role::User, vec![passage(), Part::text("Why?")]),
            message(Role::Assistant, vec![reasoning, ask]),
            message(Role::Tool, vec![Part::ToolResult(result(true)), Part::ToolResult(result(false))]),
        ])
        .with_tools([ToolSpec::new("add", "Adds.", Schema::any_object())]);
        let quoted = "<passage n=\"1\" source=\"a.md\" lines=\"1-2\">\nquoted\n</passage>";
        assert_eq!(
            sent(&OpenAiConfig::new("gpt"), &wanted),
            json!({"model": "gpt", "stream": true, "stream_options": {"include_usage": true},
                "messages": [
                    {"role": "system", "content": "Be brief."},
                    {"role": "user", "content": quoted},
                    {"role": "user", "content": format!("{quoted}\n\nWhy?")},
                    {"role": "assistant", "content": null, "tool_calls": [
                        {"id": "c1", "type": "function", "function": {"name": "add", "arguments": "{\"n\":1}"}}]},
                    {"role": "tool", "tool_call_id": "c1", "content": "{\"error\":\"no\"}"},
                    {"role": "tool", "tool_call_id": "c1", "content": "no"}],
                "tools": [{"type": "function", "function":
                    {"name": "add", "description": "Adds.", "parameters": {"type": "object"}}}]})
        );
    }

    #[test]
    fn what_was_thought_in_signed_pieces_goes_back_to_hosts_that_told_it() {
        let opaque = json!({"type": DETAILS, "details": [{"type": "reasoning.text", "signature": "s"}]});
        let thought = Part::Reasoning { text: String::new(), opaque: Some(opaque.clone()) };
        let answer = Message { role: Role::Assistant, parts: vec![thought, Part::text("Yes.")] };
        let wanted = ChatRequest::new(vec![Message::user("Why?"), answer]);
        let sent_to =
            |config: OpenAiConfig| sent(&config, &wanted)["messages"][1]["reasoning_details"].clone();
        assert_eq!(sent_to(OpenAiConfig::new("m").at("http://localhost:1/v1")), opaque["details"]);
        assert_eq!(sent_to(OpenAiConfig::new("gpt")), Value::Null);
    }

    #[test]
    fn choices_limits_and_forms_follow_the_host() {
        let schema = Schema::any_object();
        let mut wanted = ChatRequest::new(vec![Message::system("S"), Message::user("U")])
            .with_tools([ToolSpec::new("add", "Adds.", Schema::any_object())])
            .with_output(Output::Json { name: "x".into(), schema });
        wanted.max_output_tokens = Some(9);
        wanted.tool_choice = ToolChoice::Tool("add".into());
        let openai = sent(&OpenAiConfig::new("gpt"), &wanted);
        assert_eq!(openai["max_completion_tokens"], 9);
        assert_eq!(openai["tool_choice"], json!({"type": "function", "function": {"name": "add"}}));
        assert_eq!(openai["response_format"]["json_schema"]["strict"], false);
        let mut host = OpenAiConfig::new("m").at("http://localhost:1/v1");
        host.structured = Structured::JsonObject;
        wanted.tool_choice = ToolChoice::Required;
        let other = sent(&host, &wanted);
        assert_eq!((&other["max_tokens"], &other["tool_choice"]), (&json!(9), &json!("required")));
        assert_eq!(other["response_format"], json!({"type": "json_object"}));
        assert!(
            other["messages"][1]["content"].as_str().unwrap().ends_with("{\"type\":\"object\"}"),
            "{other}"
        );
    }
}
