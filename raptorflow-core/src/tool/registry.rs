//! `ToolRegistry`: names to tools, in the order of registration.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock, OnceLock},
    time::Duration,
};

use serde_json::Value;

use crate::{
    economics::Budgets,
    error::{Error, ErrorKind, Result},
    model::{Rate, RateDecision, RateLimiter},
    runtime::Context,
    tool::{Tool, bill::Purse},
    types::{AgentId, Schema, ToolRate, ToolSpec, nearest},
};

/// The longest name of a tool; what the providers of models accept.
const MAX_NAME: usize = 64;
/// How many names an error lists when none is near.
const MAX_LISTED: usize = 20;

/// The tools that calls are dispatched to; cloning is cheap, and a change does not reach earlier clones.
///
/// ```
/// use raptorflow_core::{tool::{FunctionTool, ToolRegistry}, types::{Schema, ToolSpec}};
/// let mut tools = ToolRegistry::new();
/// let spec = ToolSpec::new("search", "Searches the catalog.", Schema::any_object());
/// tools.register(FunctionTool::new(spec, async |_ctx, arguments| Ok(arguments)))?;
/// assert_eq!(tools.specs()[0].name, "search");
/// assert_eq!(tools.get("serch").unwrap_err().get("nearest"), Some("search"));
/// # Ok::<(), raptorflow_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct ToolRegistry(Arc<Inner>);

/// What every empty registry shares: most agents of a host with many have no tools of their own.
static EMPTY: LazyLock<Arc<Inner>> = LazyLock::new(Arc::default);

impl Default for ToolRegistry {
    fn default() -> Self {
        Self(Arc::clone(&EMPTY))
    }
}

#[derive(Clone, Debug, Default)]
struct Inner {
    tools: Vec<Arc<dyn Tool>>,
    /// What counts the calls of tools that have a rate; shared by clones of the registry.
    limiters: HashMap<String, RateLimiter>,
    index: HashMap<String, usize>,
    specs: OnceLock<Arc<[ToolSpec]>>,
    /// Who pays for calls that cost something; nobody counts them when `None`.
    purse: Option<Purse>,
}

impl ToolRegistry {
    /// A registry without tools.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a tool.
    ///
    /// # Errors
    /// `AlreadyExists` when a tool has its name;
    /// `InvalidInput` when the name is not 1 to 64 of `[A-Za-z0-9_-]`, or the schema of its parameters does
    /// not compile or is not one of an object, its rate is zero, or its cost is below zero.
    pub fn register(&mut self, tool: impl Tool) -> Result<()> {
        self.register_shared(Arc::new(tool))
    }

    /// Adds a tool that others hold too.
    ///
    /// # Errors
    /// As [`ToolRegistry::register`].
    pub fn register_shared(&mut self, tool: Arc<dyn Tool>) -> Result<()> {
        let spec = tool.spec();
        check_name(&spec.name)?;
        check_parameters(&spec.name, &spec.parameters)?;
        let limiter = spec.rate.map(limiter).transpose().map_err(|err| err.with("tool", &spec.name))?;
        if let Some(cost) = spec.cost.filter(|cost| cost.micros < 0) {
            let err = Error::new(ErrorKind::InvalidInput, "tool.register", "a cost is not below zero");
            return Err(err.with("tool", &spec.name).with("field", "cost").with("value", cost));
        }
        if self.0.index.contains_key(&spec.name) {
            return Err(Error::new(
                ErrorKind::AlreadyExists,
                "tool.register",
                "a tool of this name is registered",
            )
            .with("tool", &spec.name));
        }
        let inner = Arc::make_mut(&mut self.0);
        inner.index.insert(spec.name.clone(), inner.tools.len());
        inner.limiters.extend(limiter.map(|limiter| (spec.name.clone(), limiter)));
        inner.tools.push(tool);
        inner.specs = OnceLock::new();
        Ok(())
    }

    /// Adds a tool of another registry, whose calls are counted together.
    ///
    /// # Errors
    /// `NotFound` when the other one lacks it, and as [`ToolRegistry::register`].
    pub(crate) fn adopt(&mut self, from: &Self, name: &str) -> Result<()> {
        self.register_shared(Arc::clone(from.get(name)?))?;
        if let Some(limiter) = from.0.limiters.get(name) {
            Arc::make_mut(&mut self.0).limiters.insert(name.to_owned(), limiter.clone());
        }
        Ok(())
    }

    /// Calls are paid from these budgets.
    pub(crate) fn paid_from(mut self, budgets: Budgets) -> Self {
        Arc::make_mut(&mut self.0).purse = Some(Purse { budgets, agent: None });
        self
    }

    /// Calls are paid as those of another registry, by an agent.
    pub(crate) fn paid_as(mut self, from: &Self, agent: &AgentId) -> Self {
        let costs = |tool: &Arc<dyn Tool>| tool.spec().cost.is_some();
        if let Some(Purse { budgets, .. }) = &from.0.purse
            && self.0.tools.iter().any(costs)
        {
            let purse = Purse { budgets: budgets.clone(), agent: Some(agent.clone()) };
            Arc::make_mut(&mut self.0).purse = Some(purse);
        }
        self
    }

    /// Who pays for calls.
    pub(super) fn purse(&self) -> Option<&Purse> {
        self.0.purse.as_ref()
    }

    /// How long a call must wait that comes too often; a call that need not is counted.
    pub(super) fn wait(&self, ctx: &Context, spec: &ToolSpec) -> Option<Duration> {
        let limiter = self.0.limiters.get(&spec.name)?;
        match limiter.check(ctx.tenant().as_str(), ctx.runtime().clock().elapsed()) {
            RateDecision::Allowed => None,
            RateDecision::After(wait) => Some(wait),
        }
    }

    /// The tool of a name.
    ///
    /// # Errors
    /// `NotFound` that lists the nearest names.
    pub fn get(&self, name: &str) -> Result<&Arc<dyn Tool>> {
        self.find(name).ok_or_else(|| {
            let err = Error::new(ErrorKind::NotFound, "tool.get", "no tool of this name").with("tool", name);
            let near = nearest(name, self.names());
            if self.is_empty() {
                err.with("known", "none")
            } else if near.is_empty() {
                err.with("known", join(self.names().take(MAX_LISTED)))
            } else {
                err.with("nearest", join(near))
            }
        })
    }

    /// The tool of a name, if there is one.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&Arc<dyn Tool>> {
        self.0.tools.get(*self.0.index.get(name)?)
    }

    /// The specs of all tools, in the order of registration; made once and shared.
    #[must_use]
    pub fn specs(&self) -> Arc<[ToolSpec]> {
        let specs =
            self.0.specs.get_or_init(|| self.0.tools.iter().map(|tool| tool.spec().clone()).collect());
        Arc::clone(specs)
    }

    /// The names of all tools, in the order of registration.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.tools.iter().map(|tool| tool.spec().name.as_str())
    }

    /// The number of tools.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.tools.len()
    }

    /// Whether there are no tools.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.tools.is_empty()
    }
}

fn join<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    names.into_iter().collect::<Vec<_>>().join(", ")
}

fn limiter(rate: ToolRate) -> Result<RateLimiter> {
    let rate = Rate::new(rate.calls, Duration::from_secs(rate.seconds));
    rate.map(|rate| RateLimiter::new(rate.with_burst(1.0))).map_err(|err| {
        Error::new(ErrorKind::InvalidInput, "tool.register", "not a usable rate")
            .with("field", "rate")
            .caused_by(err)
    })
}

fn check_name(name: &str) -> Result<()> {
    let usable = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(usable) {
        return Ok(());
    }
    let shown: String = name.chars().take(MAX_NAME).collect();
    Err(Error::new(ErrorKind::InvalidInput, "tool.register", "expected 1 to 64 of A-Z, a-z, 0-9, _ and -")
        .with("field", "name")
        .with("value", shown))
}

fn check_parameters(name: &str, parameters: &Schema) -> Result<()> {
    let bad = |message: &'static str| {
        Error::new(ErrorKind::InvalidInput, "tool.register", message)
            .with("tool", name)
            .with("field", "parameters")
    };
    if parameters.as_value().get("type").and_then(Value::as_str) != Some("object") {
        return Err(bad("expected a schema whose type is `object`"));
    }
    // Validating anything compiles the schema, once for all clones of it.
    match parameters.validate(&Value::Null).into_iter().find(|problem| problem.code == "invalid_schema") {
        Some(problem) => Err(bad("not a usable JSON Schema").with("reason", problem.message)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::tool::FunctionTool;

    fn named(name: &str) -> FunctionTool {
        with_schema(name, json!({"type": "object"}))
    }

    fn with_schema(name: &str, schema: Value) -> FunctionTool {
        let spec = ToolSpec::new(name, "Does nothing.", Schema::unchecked(schema));
        FunctionTool::new(spec, async |_ctx, arguments| Ok(arguments))
    }

    #[test]
    fn a_name_is_registered_once() {
        let mut tools = ToolRegistry::new();
        tools.register(named("search")).unwrap();
        let err = tools.register(named("search")).unwrap_err();
        assert_eq!((err.kind(), err.get("tool")), (ErrorKind::AlreadyExists, Some("search")));
        assert_eq!(tools.len(), 1);
    }

    #[test]
    fn names_that_providers_refuse_are_refused() {
        let mut tools = ToolRegistry::new();
        for bad in ["", "a b", "a.b", "prix_élevé", "a/b", &"x".repeat(65)] {
            let err = tools.register(named(bad)).unwrap_err();
            assert_eq!((err.kind(), err.get("field")), (ErrorKind::InvalidInput, Some("name")), "{bad}");
        }
        tools.register(named(&"x".repeat(64))).unwrap();
        tools.register(named("Ab-9_")).unwrap();
    }

    #[test]
    fn a_schema_must_compile_and_be_one_of_an_object() {
        let mut tools = ToolRegistry::new();
        for bad in [
            json!({"type": "string"}),
            json!({}),
            json!(true),
            json!({"type": ["object", "null"]}),
            json!({"type": "object", "properties": {"a": {"type": "objekt"}}}),
            json!({"type": "object", "properties": {"a": {"$ref": "#/$defs/gone"}}}),
        ] {
            let err = tools.register(with_schema("tool", bad.clone())).unwrap_err();
            assert_eq!(
                (err.kind(), err.get("field")),
                (ErrorKind::InvalidInput, Some("parameters")),
                "{bad}"
            );
        }
        assert!(tools.is_empty());
    }

    #[test]
    fn an_unknown_name_lists_the_nearest_or_else_all() {
        let mut tools = ToolRegistry::new();
        tools.register(named("add_gst")).unwrap();
        tools.register(named("search")).unwrap();
        assert_eq!(tools.get("addgst").unwrap_err().get("nearest"), Some("add_gst"));
        let err = tools.get("publish_everything").unwrap_err();
        assert_eq!((err.kind(), err.get("known")), (ErrorKind::NotFound, Some("add_gst, search")));
    }

    #[test]
    fn specs_keep_the_order_of_registration_and_a_clone_its_tools() {
        let mut tools = ToolRegistry::new();
        for name in ["zeta", "alpha", "mid"] {
            tools.register(named(name)).unwrap();
        }
        let before = tools.clone();
        assert_eq!(before.specs().len(), 3);
        tools.register(named("last")).unwrap();
        let names: Vec<_> = tools.specs().iter().map(|spec| spec.name.clone()).collect();
        assert_eq!(names, ["zeta", "alpha", "mid", "last"]);
        assert_eq!(before.specs().len(), 3);
        assert!(before.find("last").is_none());
    }
}
