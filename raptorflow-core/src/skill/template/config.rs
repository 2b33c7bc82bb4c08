//! `TemplateConfig`: how a template is read and how far it may go.

use serde::{Deserialize, Serialize};

/// What a name without a value does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Undefined {
    /// Every use is an error.
    Strict,
    /// Only a condition may look at it, where it is false; what a skill uses.
    #[default]
    Condition,
    /// It prints nothing; looking into it is an error.
    Lenient,
    /// It prints nothing, and so does everything in it.
    Chainable,
}

/// What is done to a text that the template prints and its author did not write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Escape {
    /// Nothing.
    #[default]
    None,
    /// Characters of HTML become entities.
    Html,
    /// It stands between `<input>` and `</input>` and cannot close them; what a skill uses.
    Delimit,
}

/// How a template is read and how far it may go.
///
/// ```
/// use raptorflow_core::skill::TemplateConfig;
/// let config = TemplateConfig { fuel: 1_000, ..TemplateConfig::default() };
/// assert_eq!(config.max_output, 1024 * 1024);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TemplateConfig {
    /// What a name without a value does; [`Undefined::Condition`] by default.
    pub undefined: Undefined,
    /// What is done to printed text; nothing by default.
    pub escape: Escape,
    /// Whether the line end behind a block is dropped; yes by default.
    pub trim_blocks: bool,
    /// Whether blanks before a block that begins a line are dropped; yes by default.
    pub lstrip_blocks: bool,
    /// Whether one line end at the end of the template is kept; no by default.
    pub keep_trailing_newline: bool,
    /// How many steps one rendering may take; 50,000 by default.
    ///
    /// A step is one instruction of the template, such as a lookup, a call of a filter or one round of a loop.
    pub fuel: u64,
    /// How many bytes one rendering may give; 1 MiB by default.
    pub max_output: usize,
}

impl Default for TemplateConfig {
    fn default() -> Self {
        Self {
            undefined: Undefined::default(),
            escape: Escape::default(),
            trim_blocks: true,
            lstrip_blocks: true,
            keep_trailing_newline: false,
            fuel: 50_000,
            max_output: 1024 * 1024,
        }
    }
}
