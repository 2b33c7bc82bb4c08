//! `BuiltinTools`: which tools of the library an engine offers, as data.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::tool::{Calculator, Clock, Tool};
#[cfg(feature = "storage-sqlite")]
use crate::tool::{DatabaseQuery, QueryConfig};
#[cfg(feature = "tool-fetch")]
use crate::tool::{Fetch, FetchConfig};
#[cfg(feature = "http")]
use crate::{
    security::EnvSecrets,
    tool::{Tavily, WebSearch},
};

/// Which tools of the library an engine offers to agents that name them; none by default.
///
/// ```
/// use raptorflow_core::{Engine, engine::EngineConfig};
/// use serde_json::json;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> raptorflow_core::Result<()> {
/// let config = EngineConfig::from_json(json!({ "tools": { "clock": true } }))?;
/// let engine = Engine::builder().config(config)?.build().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct BuiltinTools {
    /// The tool `clock`.
    pub clock: bool,
    /// The tool `calculator`.
    pub calculator: bool,
    /// The tool `fetch`; `{}` for its defaults.
    #[cfg(feature = "tool-fetch")]
    pub fetch: Option<FetchConfig>,
    /// The tool `query`.
    #[cfg(feature = "storage-sqlite")]
    pub query: Option<QueryConfig>,
    /// The tool `web_search`.
    #[cfg(feature = "http")]
    pub web_search: Option<SearchBackend>,
}

/// Who searches the web.
#[cfg(feature = "http")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SearchBackend {
    /// [`Tavily`], with the key in the environment variable `TAVILY_API_KEY`.
    Tavily,
}

impl BuiltinTools {
    /// The tools that are wanted.
    #[must_use]
    pub fn tools(&self) -> Vec<Arc<dyn Tool>> {
        let mut tools: Vec<Arc<dyn Tool>> = Vec::new();
        if self.clock {
            tools.push(Arc::new(Clock::new()));
        }
        if self.calculator {
            tools.push(Arc::new(Calculator::new()));
        }
        #[cfg(feature = "tool-fetch")]
        if let Some(config) = &self.fetch {
            tools.push(Arc::new(Fetch::new(config.clone())));
        }
        #[cfg(feature = "storage-sqlite")]
        if let Some(config) = &self.query {
            tools.push(Arc::new(DatabaseQuery::new(config.clone())));
        }
        #[cfg(feature = "http")]
        if let Some(SearchBackend::Tavily) = self.web_search {
            tools.push(Arc::new(WebSearch::new(Tavily::new(EnvSecrets::new()))));
        }
        tools
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nothing_is_offered_that_is_not_named() {
        assert!(BuiltinTools::default().tools().is_empty());
        let refused = serde_json::from_value::<BuiltinTools>(json!({ "shell": true })).unwrap_err();
        assert!(refused.to_string().contains("unknown field `shell`"), "{refused}");
    }

    #[cfg(all(feature = "tool-fetch", feature = "storage-sqlite"))]
    #[test]
    fn every_tool_of_the_library_is_reached_by_its_name() {
        let wanted = json!({
            "clock": true, "calculator": true, "fetch": { "ports": [443] }, "query": { "path": "shop.db" },
            "web_search": "tavily",
        });
        let tools = serde_json::from_value::<BuiltinTools>(wanted).unwrap().tools();
        let names: Vec<&str> = tools.iter().map(|tool| tool.spec().name.as_str()).collect();
        assert_eq!(names, ["clock", "calculator", "fetch", "query", "web_search"]);
    }
}
