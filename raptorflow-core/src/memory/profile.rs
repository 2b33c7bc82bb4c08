//! `Profiles`: documents of a form about whom agents work for, versioned, with a short version for a model.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    economics::text_tokens,
    error::{Error, ErrorKind, Result},
    memory::Scope,
    runtime::Context,
    storage::{Expect, Storage},
    types::{Diagnostics, Schema, Timestamp, nearest},
};

/// How long a summary is by default, in tokens.
const TOKENS: usize = 500;

/// One part of a profile.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProfileSection {
    /// The field of the document.
    pub name: String,
    /// Its heading in a summary; the name when `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// What it may hold; anything by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<Schema>,
    /// Whether a document must have it.
    #[serde(default)]
    pub required: bool,
}

/// What a profile consists of, as data.
///
/// ```
/// use raptorflow_core::memory::ProfileForm;
/// use serde_json::json;
/// let form = ProfileForm::from_toml("shop.toml", r#"
///     name = "shop"
///     [[sections]]
///     name = "who"
///     required = true
///     [[sections]]
///     name = "wares"
///     title = "What it sells"
/// "#)?;
/// let document = json!({ "wares": ["mangoes", "apples"], "who": "A shop in Pune." });
/// let summary = form.summary(&document, 100);
/// assert_eq!(summary, "## who\nA shop in Pune.\n\n## What it sells\n- mangoes\n- apples");
/// assert!(form.check(&json!({ "wares": [] })).is_err());
/// # Ok::<(), raptorflow_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ProfileForm {
    /// Its name.
    pub name: String,
    /// Its parts, the most important first: what does not fit a summary is left out from the end.
    pub sections: Vec<ProfileSection>,
    /// The longest summary in tokens, by [`text_tokens`]; 500 by default.
    #[serde(default = "tokens")]
    pub summary_tokens: usize,
}

fn tokens() -> usize {
    TOKENS
}

impl ProfileForm {
    /// Reads a form.
    ///
    /// # Errors
    /// `InvalidInput` that names the file, for what is no form, and for a schema that is none.
    pub fn from_toml(file: &str, text: &str) -> Result<Self> {
        let form: Self = toml::from_str(text).map_err(|err| {
            Error::new(ErrorKind::InvalidInput, "memory.profile", "the file is no form of a profile")
                .with("file", file)
                .caused_by(err)
        })?;
        form.schema().check().map_err(|err| err.with("file", file))?;
        Ok(form)
    }

    /// What a document must fit.
    #[must_use]
    pub fn schema(&self) -> Schema {
        let properties: serde_json::Map<String, Value> = self
            .sections
            .iter()
            .map(|section| {
                let schema =
                    section.schema.as_ref().map_or_else(|| json!({}), |schema| schema.as_value().clone());
                (section.name.clone(), schema)
            })
            .collect();
        let required: Vec<&str> =
            self.sections.iter().filter(|section| section.required).map(|section| &*section.name).collect();
        Schema::unchecked(json!({
            "type": "object", "properties": properties, "required": required, "additionalProperties": false,
        }))
    }

    /// Refuses a document that does not fit.
    ///
    /// # Errors
    /// `InvalidInput` whose cause are the [`Diagnostics`].
    pub fn check(&self, document: &Value) -> Result<()> {
        let problems = self.schema().validate(document);
        if problems.is_empty() {
            return Ok(());
        }
        let message = "the document does not fit the form of the profile";
        let err = Diagnostics(problems).into_error_of(ErrorKind::InvalidInput, "memory.profile", message);
        Err(err.with("profile", &self.name))
    }

    /// A document in short, within `max_tokens`: the sections in their order, line by line, until one does not fit.
    ///
    /// The same document always gives the same text; where something is missing, `…` stands at the end.
    #[must_use]
    pub fn summary(&self, document: &Value, max_tokens: usize) -> String {
        let mut lines: Vec<String> = Vec::new();
        for section in &self.sections {
            let Some(value) = document.get(&section.name).filter(|value| !is_empty(value)) else { continue };
            if !lines.is_empty() {
                lines.push(String::new());
            }
            lines.push(format!("## {}", section.title.as_deref().unwrap_or(&section.name)));
            write_value(value, 0, "", &mut lines);
        }
        within(&lines, max_tokens as u64)
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.trim().is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Deep values are shown as JSON, so that the depth of a document is no matter of the stack.
const DEPTH: usize = 4;

fn write_value(value: &Value, depth: usize, indent: &str, lines: &mut Vec<String>) {
    match value {
        Value::Object(fields) if depth < DEPTH => {
            for (name, value) in fields.iter().filter(|(_, value)| !is_empty(value)) {
                match scalar(value) {
                    Some(text) => lines.push(format!("{indent}- {name}: {text}")),
                    None => {
                        lines.push(format!("{indent}- {name}:"));
                        write_value(value, depth + 1, &format!("{indent}  "), lines);
                    }
                }
            }
        }
        Value::Array(items) if depth < DEPTH => {
            for value in items.iter().filter(|value| !is_empty(value)) {
                match scalar(value) {
                    Some(text) => lines.push(format!("{indent}- {text}")),
                    None => write_value(value, depth + 1, indent, lines),
                }
            }
        }
        other => {
            let text = scalar(other).unwrap_or_else(|| other.to_string());
            lines.push(format!("{indent}{text}"));
        }
    }
}

/// A value on one line.
fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.split_whitespace().collect::<Vec<_>>().join(" ")),
        Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// As many whole lines as fit, and of the next one as many words.
fn within(lines: &[String], max_tokens: u64) -> String {
    let whole = lines.join("\n");
    if text_tokens(&whole) <= max_tokens {
        return whole;
    }
    let fits = |text: &str| text_tokens(&format!("{text}…")) <= max_tokens;
    let mut text = String::new();
    for line in lines {
        let longer = if text.is_empty() { line.clone() } else { format!("{text}\n{line}") };
        if !fits(&longer) {
            let mut start = if text.is_empty() { String::new() } else { format!("{text}\n") };
            for word in line.split_inclusive(' ') {
                if !fits(&format!("{start}{word}")) {
                    break;
                }
                start.push_str(word);
            }
            text = start.trim_end().to_owned();
            break;
        }
        text = longer;
    }
    if fits(&text) { text + "…" } else { String::new() }
}

/// A document of a profile and its version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Profile {
    /// The document.
    pub document: Value,
    /// How often it was written.
    pub version: u64,
    /// When it was written.
    pub updated: Timestamp,
    /// Who wrote it, where the context said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Arc<str>>,
}

/// Profiles in a store, by scope and form; cloning shares them.
///
/// ```
/// use raptorflow_core::memory::{ProfileForm, Profiles, Scope};
/// use raptorflow_core::{ErrorKind, runtime::{Context, Runtime}, storage::Storage};
/// use serde_json::json;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> raptorflow_core::Result<()> {
/// let form = ProfileForm::from_toml("shop.toml", "name = \"shop\"\n[[sections]]\nname = \"who\"")?;
/// let profiles = Profiles::new(Storage::memory(), [form])?;
/// let (ctx, scope) = (Context::new(&Runtime::current()?), Scope::default());
/// let first = profiles.write(&ctx, &scope, "shop", json!({ "who": "A shop." }), None).await?;
/// profiles.write(&ctx, &scope, "shop", json!({ "who": "A shop in Pune." }), Some(first.version)).await?;
/// let late = profiles.write(&ctx, &scope, "shop", json!({ "who": "?" }), Some(first.version)).await;
/// assert_eq!(late.unwrap_err().kind(), ErrorKind::Conflict);
/// assert_eq!(profiles.summary(&ctx, &scope, "shop").await?.as_deref(), Some("## who\nA shop in Pune."));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Profiles {
    storage: Storage,
    forms: Arc<BTreeMap<String, ProfileForm>>,
}

impl Profiles {
    /// Profiles of these forms.
    ///
    /// # Errors
    /// `AlreadyExists` for two forms of one name, `InvalidInput` for a name that is not of `a-z`, `0-9`, `_` and `-`, and
    /// for a schema that is none.
    pub fn new(storage: Storage, forms: impl IntoIterator<Item = ProfileForm>) -> Result<Self> {
        let mut known = BTreeMap::new();
        for form in forms {
            let plain =
                |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-');
            if !(1..=64).contains(&form.name.len()) || !form.name.bytes().all(plain) {
                let expected = "expected 1 to 64 characters of a-z, 0-9, _ and -";
                return Err(Error::new(ErrorKind::InvalidInput, "memory.profile", expected)
                    .with("field", "name")
                    .with("value", form.name));
            }
            form.schema().check().map_err(|err| err.with("profile", &form.name))?;
            if let Some(other) = known.insert(form.name.clone(), form) {
                let message = "two profiles have this name";
                return Err(Error::new(ErrorKind::AlreadyExists, "memory.profile", message)
                    .with("profile", other.name));
            }
        }
        Ok(Self { storage, forms: Arc::new(known) })
    }

    /// The form of a name.
    ///
    /// # Errors
    /// `NotFound` that names the nearest one.
    pub fn form(&self, name: &str) -> Result<&ProfileForm> {
        self.forms.get(name).ok_or_else(|| {
            let err = Error::new(ErrorKind::NotFound, "memory.profile", "there is no profile of this name");
            let err = err.with("profile", name);
            match nearest(name, self.forms.keys().map(String::as_str)).first() {
                Some(near) => err.with("nearest", near),
                None => err,
            }
        })
    }

    /// The profile of a scope; `None` when nobody wrote it.
    ///
    /// # Errors
    /// `NotFound` for an unknown form, `Corrupt` for a damaged document, and what the storage says.
    pub async fn read(&self, ctx: &Context, scope: &Scope, name: &str) -> Result<Option<Profile>> {
        self.form(name)?;
        scope.check()?;
        Ok(self.storage.get_json(ctx, &key(scope, name)).await?.map(|(profile, _)| profile))
    }

    /// Writes a document; `expected` is the version that was read, `None` where there was none.
    ///
    /// # Errors
    /// `Conflict` when the profile has another version by now, with the version in the context; `InvalidInput` for a
    /// document that does not fit; what [`Profiles::read`] says.
    ///
    /// # Cancellation
    /// Dropping the future leaves the old document or the new one.
    pub async fn write(
        &self,
        ctx: &Context,
        scope: &Scope,
        name: &str,
        document: Value,
        expected: Option<u64>,
    ) -> Result<Profile> {
        self.form(name)?.check(&document)?;
        scope.check()?;
        let key = key(scope, name);
        let stored = self.storage.get_json::<Profile>(ctx, &key).await?;
        let version = stored.as_ref().map(|(profile, _)| profile.version);
        let conflict = |version: Option<u64>| {
            let message = "the profile was written by somebody else in between";
            Error::new(ErrorKind::Conflict, "memory.profile", message)
                .with("profile", name)
                .with("version", version.unwrap_or(0))
        };
        if version != expected {
            return Err(conflict(version));
        }
        let profile = Profile {
            document,
            version: version.unwrap_or(0).saturating_add(1),
            updated: ctx.now(),
            by: ctx.principal().map(Arc::from),
        };
        let expect = stored.map_or(Expect::Absent, |(_, stored)| Expect::Version(stored));
        match self.storage.put_json(ctx, &key, &profile, expect).await {
            Ok(_) => Ok(profile),
            Err(err) if err.kind() == ErrorKind::Conflict => Err(conflict(version).caused_by(err)),
            Err(err) => Err(err),
        }
    }

    /// The profile of a scope in short, within the tokens of its form; `None` when there is nothing to say.
    ///
    /// # Errors
    /// As [`Profiles::read`].
    pub async fn summary(&self, ctx: &Context, scope: &Scope, name: &str) -> Result<Option<String>> {
        let form = self.form(name)?;
        let profile = self.read(ctx, scope, name).await?;
        let summary = profile.map(|profile| form.summary(&profile.document, form.summary_tokens));
        Ok(summary.filter(|text| !text.is_empty()))
    }
}

fn key(scope: &Scope, name: &str) -> String {
    format!("{}profile/{name}", scope.prefix())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form() -> ProfileForm {
        let text = r#"
            name = "shop"
            [[sections]]
            name = "who"
            required = true
            schema = { type = "string" }
            [[sections]]
            name = "wares"
            title = "Wares"
            [[sections]]
            name = "rivals"
        "#;
        ProfileForm::from_toml("shop.toml", text).unwrap()
    }

    #[test]
    fn what_does_not_fit_is_left_out_from_the_end_and_every_summary_is_within_its_tokens() {
        let document = json!({
            "rivals": [{ "name": "Corner shop", "strengths": ["near", "open late"] }, "Market"],
            "wares": { "fruit": ["mangoes", "apples"], "bread": true, "nothing": null },
            "who": "A shop in Pune\nsince 1990.",
        });
        let whole = form().summary(&document, 500);
        assert_eq!(
            whole,
            "## who\nA shop in Pune since 1990.\n\n## Wares\n- fruit:\n  - mangoes\n  - apples\n- bread: true\n\n\
             ## rivals\n- name: Corner shop\n- strengths:\n  - near\n  - open late\n- Market"
        );
        for tokens in 0..60 {
            let summary = form().summary(&document, tokens);
            assert!(text_tokens(&summary) <= tokens as u64, "{tokens}: {summary}");
            let start = summary.strip_suffix('…').unwrap_or(&summary);
            assert!(whole.starts_with(start), "{tokens}: {summary}");
            assert_eq!(summary, form().summary(&document, tokens));
        }
        assert_eq!(form().summary(&document, 8), "## who\nA shop in Pune since…");
        assert_eq!(form().summary(&json!({ "who": " ", "wares": [] }), 500), "");
    }

    #[test]
    fn a_document_must_fit_its_form() {
        assert!(form().check(&json!({ "who": "A shop." })).is_ok());
        for bad in [json!({}), json!({ "who": 1 }), json!({ "who": "x", "secrets": 1 }), json!([])] {
            assert_eq!(form().check(&bad).unwrap_err().kind(), ErrorKind::InvalidInput, "{bad}");
        }
        for bad in ["name = 1", "name = \"x\"\n[[sections]]\nname = \"a\"\nschema = { type = 5 }"] {
            let err = ProfileForm::from_toml("x.toml", bad).unwrap_err();
            assert_eq!((err.kind(), err.get("file")), (ErrorKind::InvalidInput, Some("x.toml")));
        }
    }
}
