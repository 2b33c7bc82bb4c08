//! `SkillSpec`: what the front matter of a skill says, as plain data.

use std::{fmt, str::FromStr, time::Duration};

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, ErrorKind, Result},
    skill::Field,
    types::{Currency, Money},
};

/// The longest id, in bytes.
const MAX_ID: usize = 128;

/// The id of a skill: `category.name.v1`, or the name of an open one.
///
/// ```
/// use raptorflow_core::skill::SkillId;
/// let id: SkillId = "writing.summary.v2".parse()?;
/// assert_eq!((id.family(), id.category(), id.version()), ("writing.summary", "writing", Some(2)));
/// let open: SkillId = "pdf-forms".parse()?;
/// assert_eq!((open.family(), open.version()), ("pdf-forms", None));
/// # Ok::<(), raptorflow_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SkillId(String);

impl SkillId {
    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The id without its version.
    #[must_use]
    pub fn family(&self) -> &str {
        self.split().map_or(&self.0, |(family, _)| family)
    }

    /// What is before the first dot; empty for an open skill.
    #[must_use]
    pub fn category(&self) -> &str {
        self.0.split_once('.').map_or("", |(category, _)| category)
    }

    /// The number behind `.v`; `None` for an open skill.
    #[must_use]
    pub fn version(&self) -> Option<u32> {
        self.split().map(|(_, version)| version)
    }

    fn split(&self) -> Option<(&str, u32)> {
        let (family, version) = self.0.rsplit_once(".v")?;
        Some((family, version.parse().ok()?))
    }

    /// Whether it has the form `category.name.v1`.
    pub(super) fn is_versioned(text: &str) -> bool {
        let mut parts = text.split('.');
        let word = |part: Option<&str>| {
            part.is_some_and(|part| {
                part.starts_with(|c: char| c.is_ascii_lowercase())
                    && part
                        .bytes()
                        .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
            })
        };
        let version = |part: Option<&str>| {
            let digits = part.and_then(|part| part.strip_prefix('v')).unwrap_or_default();
            !digits.starts_with('0') && digits.parse::<u32>().is_ok_and(|number| number > 0)
        };
        word(parts.next()) && word(parts.next()) && version(parts.next()) && parts.next().is_none()
    }
}

impl FromStr for SkillId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let is_name = !text.is_empty() && text.chars().all(|c| c.is_alphanumeric() || c == '-');
        if text.len() <= MAX_ID && (is_name || Self::is_versioned(text)) {
            return Ok(Self(text.to_owned()));
        }
        let message =
            "expected `category.name.v1` in small letters, or a name of letters, digits and hyphens";
        let shown: String = text.chars().take(MAX_ID).collect();
        Err(Error::new(ErrorKind::InvalidInput, "skill.id", message).with("value", shown))
    }
}

impl TryFrom<String> for SkillId {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<SkillId> for String {
    fn from(id: SkillId) -> Self {
        id.0
    }
}

impl fmt::Display for SkillId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which of the two formats a skill is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SkillFormat {
    /// A file with `skill_id`, typed inputs and a body with placeholders.
    Typed,
    /// A folder with `SKILL.md`, whose body is plain instructions.
    Open,
}

/// What a skill says of itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SkillSpec {
    /// Its id.
    pub id: SkillId,
    /// The format that it is written in.
    pub format: SkillFormat,
    /// Its name for people.
    pub name: String,
    /// What it does and when to use it, for whoever chooses one.
    pub description: String,
    /// The version of its text, such as `1.0.0`; empty where the format has none.
    pub version: String,
    /// Who wrote it.
    pub author: Option<String>,
    /// The first part of its id; empty for an open skill.
    pub category: String,
    /// Words to find it by.
    pub tags: Vec<String>,
    /// The models that it wants.
    pub model: ModelChoice,
    /// How far a run with it may go.
    pub limits: SkillLimits,
    /// The tools that it uses.
    pub tools: SkillTools,
    /// What it is given.
    pub inputs: Vec<Field>,
    /// What it gives.
    pub outputs: Vec<Field>,
    /// How its output is judged.
    pub evaluation: Evaluation,
    /// What it rests on.
    pub dependencies: Dependencies,
    /// The license of an open skill.
    pub license: Option<String>,
    /// What an open skill needs around it.
    pub compatibility: Option<String>,
    /// Whatever else an open skill says.
    pub metadata: IndexMap<String, String>,
}

/// The models that a skill wants; the host decides.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ModelChoice {
    /// The name of the model, such as `openai:gpt-5-mini`.
    pub primary: Option<String>,
    /// Models to use when that one fails, best first.
    pub fallback: Vec<String>,
    /// From 0 to 2.
    pub temperature: Option<f64>,
    /// The longest answer, in tokens.
    pub max_tokens: Option<u32>,
    /// Above 0 and up to 1.
    pub top_p: Option<f64>,
}

/// How far one run with a skill may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SkillLimits {
    /// What it may cost; 0.10 USD by default.
    pub max_cost: Money,
    /// Tokens of all its requests and answers; 50,000 by default.
    pub max_tokens: u32,
    /// How long it may take; 60 seconds by default.
    pub timeout: Duration,
    /// How often it may call tools; 10 by default.
    pub max_tool_calls: u32,
    /// How often it may be tried again; 2 by default.
    pub max_retries: u32,
}

impl Default for SkillLimits {
    fn default() -> Self {
        Self {
            max_cost: Money::new(100_000, Currency::USD),
            max_tokens: 50_000,
            timeout: Duration::from_secs(60),
            max_tool_calls: 10,
            max_retries: 2,
        }
    }
}

/// The tools that a skill uses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SkillTools {
    /// Without these it cannot work.
    pub required: Vec<String>,
    /// These it uses where the host has them; for an open skill, what it is allowed to use.
    pub optional: Vec<String>,
}

/// How the output of a skill is judged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Evaluation {
    /// From 0 to 100; 70 by default.
    pub min_quality_score: u32,
    /// What must hold of an output.
    pub checks: Vec<String>,
    /// When to try again.
    pub retry_conditions: Vec<String>,
}

impl Default for Evaluation {
    fn default() -> Self {
        Self { min_quality_score: 70, checks: Vec::new(), retry_conditions: Vec::new() }
    }
}

/// What a skill rests on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Dependencies {
    /// Ids of other skills.
    pub skills: Vec<SkillId>,
    /// Data that the host has to offer, as paths.
    pub data: Vec<String>,
}
