//! `EngineConfig`: layers, budgets, prices, memory and admission of an engine as data, so that every language gives them in one form.

use std::{fs, path::PathBuf};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{
    economics::{BudgetConfig, PriceBook, PriceEntry},
    error::{Error, ErrorKind, Result},
    memory::MemoryConfig,
    model::LayersConfig,
    orchestrator::AdmissionConfig,
    tool::BuiltinTools,
};

/// How much of a value that was refused is shown, in characters.
const SHOWN: usize = 80;

/// What an engine may be given as data; what is left out is as it is without it.
///
/// ```
/// use raptorflow_core::{Engine, ErrorKind, engine::EngineConfig};
/// use serde_json::json;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> raptorflow_core::Result<()> {
/// let config = EngineConfig::from_json(json!({
///     "layers": { "retry": { "attempts": 5 }, "cache": true },
///     "budgets": { "run": { "total": { "money": "0.50 USD" } }, "approval_above": null },
///     "prices": [{
///         "model": "shop:small", "currency": "USD", "input": 250_000, "output": 2_000_000,
///         "valid_from": "2026-01-01",
///     }],
/// }))?;
/// let engine = Engine::builder().config(config)?.build().await?;
/// assert!(engine.cache_stats().is_some() && engine.budgets().is_some());
///
/// let err = EngineConfig::from_json(json!({ "layers": { "retry": { "attempts": "five" } } })).unwrap_err();
/// assert_eq!((err.kind(), err.get("field")), (ErrorKind::InvalidInput, Some("layers.retry.attempts")));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct EngineConfig {
    /// What stands before every model; the standard layers by default.
    pub layers: Option<LayersConfig>,
    /// What runs may spend; nothing is counted and nothing refused by default.
    pub budgets: Option<BudgetConfig>,
    /// What models cost, besides the offline ones, which are free.
    pub prices: Option<Prices>,
    /// Which tools of the library agents may name; none by default.
    pub tools: Option<BuiltinTools>,
    /// What agents remember with; nothing by default.
    pub memory: Option<MemoryConfig>,
    /// How many runs work and wait at the same time; no bound by default.
    pub admission: Option<AdmissionConfig>,
}

/// Prices as data: entries, or the path of a TOML file with `[[price]]` entries.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged, expecting = "expected a list of prices or the path of a file with them")]
pub enum Prices {
    /// The entries themselves.
    Entries(Vec<PriceEntry>),
    /// The path of a file; see [`PriceBook::from_toml`].
    File(PathBuf),
}

impl EngineConfig {
    /// Reads the settings.
    ///
    /// # Errors
    /// `InvalidInput` with `field`, `value` and `expected` in the context, for the first thing that has not its form.
    pub fn from_json(value: Value) -> Result<Self> {
        let Value::Object(mut fields) = value else {
            return Err(refused(String::new(), &value, "an object"));
        };
        // A list of prices is read on its own, so that an error names the field of the entry.
        let prices = match fields.remove("prices") {
            None | Some(Value::Null) => None,
            Some(Value::String(path)) => Some(Prices::File(path.into())),
            Some(entries) => Some(Prices::Entries(read("prices", &entries)?)),
        };
        Ok(Self { prices, ..read("", &Value::Object(fields))? })
    }
}

impl Prices {
    /// The book of these prices.
    ///
    /// # Errors
    /// `NotFound` and `Unavailable` for a file that cannot be read, and `InvalidInput` whose cause are the
    /// [`Diagnostics`](crate::types::Diagnostics) of a file, or for two prices of one model and date.
    pub fn book(&self) -> Result<PriceBook> {
        match self {
            Self::Entries(entries) => PriceBook::from_entries(entries),
            Self::File(path) => {
                let name = path.display().to_string();
                let text = fs::read_to_string(path).map_err(|err| {
                    let kind = match err.kind() {
                        std::io::ErrorKind::NotFound => ErrorKind::NotFound,
                        _ => ErrorKind::Unavailable,
                    };
                    Error::new(kind, "engine.prices", "cannot read the file")
                        .with("file", &name)
                        .caused_by(err)
                })?;
                PriceBook::from_toml(&name, &text)
            }
        }
    }
}

/// Reads a part of the settings; an error names the place, what stands there, and what was expected.
fn read<T: DeserializeOwned>(part: &str, value: &Value) -> Result<T> {
    serde_path_to_error::deserialize(value).map_err(|err| {
        let path = err.path().to_string();
        let (dot, inner) = match path.as_str() {
            "." => ("", ""),
            inner if part.is_empty() || inner.starts_with('[') => ("", inner),
            inner => (".", inner),
        };
        let found = at(value, err.path());
        refused(format!("{part}{dot}{inner}"), found, &err.into_inner().to_string())
    })
}

/// The value at a path, or the last one above it that there is.
fn at<'a>(value: &'a Value, path: &serde_path_to_error::Path) -> &'a Value {
    use serde_path_to_error::Segment;
    path.iter().fold(value, |value, segment| {
        let below = match segment {
            Segment::Seq { index } => value.get(*index),
            Segment::Map { key } => value.get(key),
            Segment::Enum { .. } | Segment::Unknown => None,
        };
        below.unwrap_or(value)
    })
}

fn refused(field: String, value: &Value, expected: &str) -> Error {
    let mut shown: String = value.to_string().chars().take(SHOWN).collect();
    if value.to_string().chars().nth(SHOWN).is_some() {
        shown.push('…');
    }
    let message = "the settings of the engine have not the form that is expected";
    Error::new(ErrorKind::InvalidInput, "engine.config", message)
        .with("field", if field.is_empty() { "settings".to_owned() } else { field })
        .with("value", shown)
        .with("expected", expected)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refusal(value: Value) -> (String, String, String) {
        let err = EngineConfig::from_json(value).unwrap_err();
        assert_eq!(err.kind(), ErrorKind::InvalidInput);
        let of = |key| err.get(key).unwrap_or_default().to_owned();
        (of("field"), of("value"), of("expected"))
    }

    #[test]
    fn what_is_refused_is_named_with_its_place_its_value_and_what_was_expected() {
        let price = json!({ "model": "a:b", "currency": "USD", "input": 1.5, "output": 2, "valid_from": "2026-01-01" });
        for (settings, field, value, expected) in [
            (json!([1]), "settings", "[1]", "an object"),
            (json!({ "layer": {} }), "layer", "{}", "unknown field `layer`"),
            (json!({ "layers": { "retry": { "attempts": "5" } } }), "layers.retry.attempts", "\"5\"", "u32"),
            (
                json!({ "layers": { "retry": { "tries": 5 } } }),
                "layers.retry.tries",
                "5",
                "expected one of `attempts`",
            ),
            (json!({ "layers": { "retry": [3] } }), "layers.retry", "[3]", "`true`, `false` or an object"),
            (
                json!({ "layers": { "timeout": { "first_seconds": -1 } } }),
                "layers.timeout.first_seconds",
                "-1",
                "from 0",
            ),
            (json!({ "layers": { "fallback": [1] } }), "layers.fallback[0]", "1", "a string"),
            (
                json!({ "layers": { "rate_limit": [{ "scope": "user", "limit": 0, "per_seconds": 1 }] } }),
                "layers.rate_limit[0]",
                "{\"scope\":\"user\",\"limit\":0,\"per_seconds\":1}",
                "at least one call",
            ),
            (
                json!({ "layers": { "rate_limit": [{ "scope": "key", "limit": 1, "per_seconds": 1 }] } }),
                "layers.rate_limit[0]",
                "{\"scope\":\"key\",\"limit\":1,\"per_seconds\":1}",
                "expected the scope",
            ),
            (
                json!({ "budgets": { "run": { "total": { "money": 0.5 } } } }),
                "budgets.run.total.money",
                "0.5",
                "such as \"0.50 USD\"",
            ),
            (json!({ "prices": [price] }), "prices[0].input", "1.5", "u64"),
            (json!({ "prices": 5 }), "prices", "5", "a sequence"),
            (json!({ "memory": {} }), "memory", "{}", "relevance"),
            (json!({ "admission": { "slot": 1 } }), "admission.slot", "1", "expected one of `slots`"),
            (
                json!({ "memory": { "relevance": "words", "window": { "keep": -1 } } }),
                "memory.window.keep",
                "-1",
                "usize",
            ),
        ] {
            let (at, got, wanted) = refusal(settings);
            assert_eq!((at.as_str(), got.as_str()), (field, value), "{wanted}");
            assert!(wanted.contains(expected), "{wanted}");
        }
    }

    #[test]
    fn what_is_left_out_is_as_without_it_and_what_is_written_reads_back() {
        let config = EngineConfig::from_json(json!({ "layers": {}, "budgets": {} })).unwrap();
        assert_eq!(config.layers, Some(LayersConfig::default()));
        assert_eq!(config.budgets, Some(BudgetConfig::default()));
        let layers = json!({
            "redact": true, "cache": true, "cascade": ["a:b"], "fallback": { "text": "Later." }, "retry": false,
            "breaker": { "failures": 2 }, "rate_limit": true, "timeout": { "total_seconds": 0.5 },
        });
        let config = EngineConfig::from_json(json!({ "layers": layers })).unwrap();
        let layers = config.layers.as_ref().unwrap();
        assert_eq!((layers.retry, layers.breaker.unwrap().timeout.as_secs()), (None, 180));
        assert_eq!(layers.timeout.unwrap().total.as_millis(), 500);
        let written = serde_json::to_value(&config).unwrap();
        assert_eq!(EngineConfig::from_json(written).unwrap(), config);
    }
}
