//! Skills: instructions as files, with typed inputs and outputs, compiled once and rendered into messages.
//!
//! Row 7 of the house.
//! A skill is a Markdown file with front matter.
//! [`Skill`] is one compiled, [`SkillRegistry`] a folder of them that is read again while others render, and
//! [`Template`] the bounded Jinja that bodies are written in.
//! The open Agent Skills format (a folder with `SKILL.md`) is read as well; its body is plain instructions.
//!
//! Nothing here calls a model: what to do with the messages is the caller's business.

mod compile;
mod field;
mod fields;
mod folder;
mod frontmatter;
mod open;
mod reader;
mod registry;
mod skill;
mod snapshot;
mod source;
mod spec;
mod template;
mod typegen;
mod watch;
mod yaml;

pub use field::{Field, FieldKind};
pub use open::OpenSkill;
pub use registry::{Reload, SkillRegistry};
pub use skill::{Skill, SkillSummary};
pub use spec::{
    Dependencies, Evaluation, ModelChoice, SkillFormat, SkillId, SkillLimits, SkillSpec, SkillTools,
};
pub use template::{Escape, Template, TemplateConfig, Undefined};
pub use typegen::{Language, generate_types};
pub use watch::SkillWatch;

#[cfg(test)]
mod tests;
