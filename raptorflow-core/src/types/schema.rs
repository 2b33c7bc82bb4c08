//! `Schema`: a JSON Schema whose validation returns diagnostics.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use jsonschema::Validator;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    error::{Error, ErrorKind, Result},
    types::{Diagnostic, StrictSchema, strict},
};

/// How many problems one validation reports at most.
const MAX_PROBLEMS: usize = 32;
/// How much of a message is kept, in characters; it may quote a large schema.
const MAX_MESSAGE: usize = 300;

/// A JSON Schema (draft 2020-12 unless `$schema` says otherwise), compiled once when first used.
///
/// Cloning shares the compiled form.
/// Deserializing does not compile it; [`Schema::check`] does.
/// References to other documents are not fetched; they are a problem of the schema.
///
/// ```
/// use raptorflow_core::types::Schema;
/// use serde_json::json;
/// let schema = Schema::new(json!({"type": "object", "required": ["net"],
///     "properties": {"net": {"type": "number"}}}))?;
/// assert!(schema.validate(&json!({"net": 1.5})).is_empty());
/// assert_eq!(schema.validate(&json!({"net": "x"}))[0].pointer, "/net");
/// # Ok::<(), raptorflow_core::Error>(())
/// ```
#[derive(Clone)]
pub struct Schema(Arc<Inner>);

struct Inner {
    value: Value,
    validator: OnceLock<std::result::Result<Validator, String>>,
    strict: OnceLock<std::result::Result<StrictSchema, Vec<Diagnostic>>>,
}

impl Schema {
    /// Checks that `value` is a usable JSON Schema.
    ///
    /// # Errors
    /// `InvalidInput` when it is not, with the reason.
    pub fn new(value: Value) -> Result<Self> {
        let schema = Self::unchecked(value);
        schema.check()?;
        Ok(schema)
    }

    /// Compiles the schema, if that was not done yet.
    ///
    /// # Errors
    /// `InvalidInput` when it is not usable, with the reason.
    pub fn check(&self) -> Result<()> {
        self.validator().map(|_| ()).map_err(|reason| {
            Error::new(ErrorKind::InvalidInput, "schema.check", "not a usable JSON Schema")
                .with("reason", reason)
        })
    }

    /// Wraps a value without compiling it; a fault shows at the first validation.
    #[must_use]
    pub fn unchecked(value: Value) -> Self {
        Self(Arc::new(Inner { value, validator: OnceLock::new(), strict: OnceLock::new() }))
    }

    /// The schema that accepts every object.
    #[must_use]
    pub fn any_object() -> Self {
        Self::unchecked(json!({"type": "object"}))
    }

    /// The schema of a Rust type.
    #[must_use]
    pub fn of<T: schemars::JsonSchema>() -> Self {
        Self::unchecked(
            schemars::generate::SchemaSettings::draft2020_12()
                .into_generator()
                .into_root_schema_for::<T>()
                .to_value(),
        )
    }

    /// The schema as JSON.
    #[must_use]
    pub fn as_value(&self) -> &Value {
        &self.0.value
    }

    /// Every way in which `value` does not fit, at most 32; empty when it fits.
    ///
    /// The messages name places and what is expected there, and quote nothing of `value`: they get into errors, and
    /// what people and models say must not.
    #[must_use]
    pub fn validate(&self, value: &Value) -> Vec<Diagnostic> {
        let validator = match self.validator() {
            Ok(validator) => validator,
            Err(reason) => return vec![Diagnostic::error("invalid_schema", reason)],
        };
        // The list of problems costs allocations also when it is empty.
        if validator.is_valid(value) {
            return Vec::new();
        }
        validator
            .iter_errors(value)
            .take(MAX_PROBLEMS)
            .map(|problem| {
                let message = problem.masked_with("the value").to_string();
                let message: String = message.chars().take(MAX_MESSAGE).collect();
                Diagnostic::error("schema_mismatch", message).at_pointer(problem.instance_path().to_string())
            })
            .collect()
    }

    /// The schema as providers enforce it while a model writes the arguments of a call; written once and shared.
    ///
    /// Each object is closed and requires all its properties, and `null` stands for one that was left out.
    /// A value that fits this schema, and has no properties but those that it names, fits the strict one with those
    /// nulls, and [`Schema::without_nulls`] takes them away.
    /// The other way round that holds but for what is told in descriptions instead of enforced: the bounds in
    /// [`StrictSchema::told`], and that only one branch of `oneOf` may fit.
    ///
    /// # Errors
    /// What has no strict form, each with its place: a root that is no plain object, any value (`true`, `{}`, an array
    /// without `items`), objects with properties of any name, a property that may be left out and may be `null` unless
    /// its default is `null`, `allOf` of several, branches and references beside other keywords, references to
    /// anything but a definition, other keywords that choose between values (`not`, `if`, `patternProperties`,
    /// `prefixItems`, `dependentSchemas` and the like), and more than 10 levels, 5,000 properties or 1,000 listed
    /// values.
    ///
    /// ```
    /// use raptorflow_core::types::Schema;
    /// use serde_json::json;
    /// let schema = Schema::new(json!({"type": "object", "required": ["net"],
    ///     "properties": {"net": {"type": "number"}, "rate": {"type": "number", "default": 0.18}}}))?;
    /// let strict = schema.strict().unwrap();
    /// assert_eq!(strict.schema.as_value()["required"], json!(["net", "rate"]));
    /// assert_eq!(strict.schema.as_value()["properties"]["rate"]["type"], json!(["number", "null"]));
    /// assert_eq!(strict.told[0].pointer, "/properties/rate");
    /// assert_eq!(schema.without_nulls(&json!({"net": 1, "rate": null})), json!({"net": 1}));
    /// assert_eq!(Schema::any_object().strict().unwrap_err()[0].code, "strict_open_object");
    /// # Ok::<(), raptorflow_core::Error>(())
    /// ```
    pub fn strict(&self) -> std::result::Result<&StrictSchema, &[Diagnostic]> {
        self.0.strict.get_or_init(|| strict::form(&self.0.value)).as_ref().map_err(Vec::as_slice)
    }

    /// The value without each `null` of a property that may be left out and may not be `null`.
    ///
    /// Of branches (`anyOf`, `oneOf`) the first counts that takes the value then.
    #[must_use]
    pub fn without_nulls(&self, value: &Value) -> Value {
        strict::without_nulls(&self.0.value, value)
    }

    fn validator(&self) -> std::result::Result<&Validator, &str> {
        self.0
            .validator
            .get_or_init(|| jsonschema::validator_for(&self.0.value).map_err(|err| err.to_string()))
            .as_ref()
            .map_err(String::as_str)
    }
}

impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Schema({})", self.0.value)
    }
}

impl PartialEq for Schema {
    fn eq(&self, other: &Self) -> bool {
        self.0.value == other.0.value
    }
}

impl Serialize for Schema {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        self.0.value.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Schema {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        // Not compiled here: a loader may still have references to put in place, and says where a fault is.
        Value::deserialize(deserializer).map(Self::unchecked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_schema_is_refused_with_its_reason() {
        let err = Schema::new(json!({"type": "objekt"})).unwrap_err();
        assert_eq!(err.kind(), ErrorKind::InvalidInput);
        assert!(err.get("reason").unwrap().contains("objekt"), "{err}");
    }

    #[test]
    fn a_problem_names_its_place_and_quotes_no_value() {
        let schema = json!({"properties": {"a": {"type": "integer"}, "b": {"enum": ["x"], "pattern": "^y"}}});
        let problems = Schema::new(schema).unwrap().validate(&json!({"a": "secret", "b": "secret"}));
        assert_eq!(
            problems[0].to_string(),
            "error[schema_mismatch]: /a: the value is not of type \"integer\""
        );
        assert_eq!(problems.len(), 3);
        assert!(problems.iter().all(|problem| !problem.message.contains("secret")), "{problems:?}");
    }

    #[test]
    fn a_reference_to_another_document_is_not_fetched() {
        assert!(Schema::new(json!({"$ref": "https://example.invalid/x.json"})).is_err());
    }
}
