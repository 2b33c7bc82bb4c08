//! `Listing`: the tools of a server as ours, with a bound on their number and a reason for each that is left out.

use std::{collections::HashSet, sync::Arc, time::Duration};

use rmcp::model::{PaginatedRequestParams, Tool as RemoteSpec};
use serde_json::Value;

use crate::{
    error::{Error, ErrorKind, Result},
    types::{Effects, Schema, ToolSpec},
};

/// The longest name of a tool; what the providers of models accept.
const MAX_NAME: usize = 64;
/// How much of a tool's description is kept, in characters.
const MAX_DESCRIPTION: usize = 4000;

/// The tools of a server.
#[derive(Clone, Debug, Default)]
pub(super) struct Listing {
    pub(super) tools: Arc<[Listed]>,
    pub(super) skipped: Arc<[McpSkipped]>,
}

/// One tool: its name there, and what it is here.
#[derive(Clone, Debug)]
pub(super) struct Listed {
    pub(super) name: Arc<str>,
    pub(super) spec: Arc<ToolSpec>,
}

/// A tool of a server that cannot be offered here.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct McpSkipped {
    /// Its name there.
    pub name: String,
    /// Why it is left out.
    pub reason: String,
}

impl Listing {
    /// Our tools for those of a server; of two with one name the first stays.
    pub(super) fn new(remote: Vec<RemoteSpec>, prefix: &str, timeout: Duration) -> Self {
        let (mut tools, mut skipped) = (Vec::new(), Vec::new());
        let mut taken = HashSet::new();
        for tool in remote {
            let name = tool.name.to_string();
            match local(&tool, prefix, timeout) {
                Ok(spec) if taken.insert(spec.name.clone()) => {
                    tools.push(Listed { name: name.into(), spec: Arc::new(spec) });
                }
                Ok(_) => skipped.push(McpSkipped { name, reason: "an earlier tool has its name".to_owned() }),
                Err(reason) => skipped.push(McpSkipped { name, reason }),
            }
        }
        Self { tools: tools.into(), skipped: skipped.into() }
    }
}

fn local(tool: &RemoteSpec, prefix: &str, timeout: Duration) -> std::result::Result<ToolSpec, String> {
    let usable = |c: char| if c.is_ascii_alphanumeric() || c == '_' || c == '-' { c } else { '_' };
    let name: String = prefix.chars().chain(tool.name.chars()).map(usable).collect();
    if tool.name.is_empty() || name.len() > MAX_NAME {
        return Err(format!("its name has {} characters; expected 1 to {MAX_NAME}", name.len()));
    }
    let mut schema = Value::Object((*tool.input_schema).clone());
    if let Some(root) = schema.as_object_mut() {
        // Some servers leave out what the protocol fixes.
        root.entry("type").or_insert_with(|| Value::from("object"));
    }
    if schema.get("type").and_then(Value::as_str) != Some("object") {
        return Err("the schema of its arguments is not one of an object".to_owned());
    }
    let parameters = Schema::unchecked(schema);
    let broken =
        parameters.validate(&Value::Null).into_iter().find(|problem| problem.code == "invalid_schema");
    if let Some(problem) = broken {
        return Err(format!("the schema of its arguments is not usable: {}", problem.message));
    }
    let title = tool.title.as_deref().unwrap_or_default();
    let description = tool.description.as_deref().filter(|text| !text.trim().is_empty()).unwrap_or(title);
    let description = description.chars().take(MAX_DESCRIPTION).collect::<String>();
    Ok(ToolSpec { effects: effects(tool), timeout, ..ToolSpec::new(name, description, parameters) })
}

/// What a call changes, as the server hints; without a hint everything.
fn effects(tool: &RemoteSpec) -> Effects {
    let Some(hints) = &tool.annotations else { return Effects::External };
    match (hints.read_only_hint, hints.open_world_hint) {
        (Some(true), _) => Effects::Read,
        (_, Some(false)) => Effects::Write,
        _ => Effects::External,
    }
}

/// Walks the pages of a list; `page` gives the entries after a cursor and the next cursor.
///
/// # Errors
/// `LimitExceeded` for more than `most` entries, `InvalidOutput` for pages that come again.
pub(super) async fn all<T, F, Fut>(what: &'static str, most: usize, page: F) -> Result<Vec<T>>
where
    F: Fn(Option<PaginatedRequestParams>) -> Fut,
    Fut: Future<Output = Result<(Vec<T>, Option<String>)>>,
{
    let (mut entries, mut seen) = (Vec::new(), HashSet::new());
    let mut cursor: Option<String> = None;
    loop {
        let request =
            cursor.clone().map(|cursor| PaginatedRequestParams::default().with_cursor(Some(cursor)));
        let (more, next) = page(request).await?;
        entries.extend(more);
        if entries.len() > most || seen.len() > most {
            return Err(Error::new(ErrorKind::LimitExceeded, "mcp.list", "the server lists too much")
                .with("list", what)
                .with("limit", most));
        }
        let Some(next) = next else { return Ok(entries) };
        if !seen.insert(next.clone()) {
            return Err(Error::new(
                ErrorKind::InvalidOutput,
                "mcp.list",
                "the server's list goes in circles",
            )
            .with("list", what));
        }
        cursor = Some(next);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn listing(tools: Value, prefix: &str) -> Listing {
        Listing::new(serde_json::from_value(tools).unwrap(), prefix, Duration::from_secs(1))
    }

    #[test]
    fn names_are_made_to_fit_and_the_second_of_one_name_is_left_out() {
        let object = json!({"type": "object"});
        let listing = listing(
            json!([
                {"name": "files/read", "inputSchema": object},
                {"name": "files.read", "inputSchema": object},
                {"name": "", "inputSchema": object},
                {"name": "x".repeat(64), "inputSchema": object},
                {"name": "bad", "inputSchema": {"type": "object", "properties": {"a": {"type": "objekt"}}}},
                {"name": "bare", "inputSchema": {}},
            ]),
            "my ",
        );
        let names: Vec<_> = listing.tools.iter().map(|tool| (&*tool.name, tool.spec.name.as_str())).collect();
        assert_eq!(names, [("files/read", "my_files_read"), ("bare", "my_bare")]);
        let skipped: Vec<_> = listing.skipped.iter().map(|tool| tool.name.as_str()).collect();
        assert_eq!(skipped, ["files.read", "", &"x".repeat(64), "bad"]);
        assert_eq!(listing.skipped[0].reason, "an earlier tool has its name");
    }

    #[test]
    fn hints_become_effects_and_no_hint_is_the_worst() {
        for (hints, expected) in [
            (json!(null), Effects::External),
            (json!({}), Effects::External),
            (json!({"readOnlyHint": true}), Effects::Read),
            (json!({"readOnlyHint": true, "openWorldHint": true}), Effects::Read),
            (json!({"readOnlyHint": false, "openWorldHint": false}), Effects::Write),
            (json!({"readOnlyHint": false}), Effects::External),
        ] {
            let tool = json!([{"name": "a", "inputSchema": {"type": "object"}, "annotations": hints}]);
            assert_eq!(listing(tool, "").tools[0].spec.effects, expected, "{hints}");
        }
    }

    #[tokio::test]
    async fn a_list_that_goes_in_circles_or_never_ends_is_an_error() {
        let circle = all("tools", 100, async |_| Ok((vec![1], Some("again".to_owned())))).await;
        assert_eq!(circle.unwrap_err().kind(), ErrorKind::InvalidOutput);
        let count = std::sync::atomic::AtomicUsize::new(0);
        let count = &count;
        let endless = all("tools", 100, async |_| {
            let at = count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            Ok((Vec::<u8>::new(), Some(at.to_string())))
        });
        assert_eq!(endless.await.unwrap_err().kind(), ErrorKind::LimitExceeded);
        let crowd = all("tools", 3, async |_| Ok((vec![0; 4], None)));
        assert_eq!(crowd.await.unwrap_err().get("limit"), Some("3"));
    }
}
