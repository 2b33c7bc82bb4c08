//! `generate_types`: one file of types for a list of skills.

use serde::{Deserialize, Serialize};

use crate::skill::{
    Skill,
    typegen::{names, python, rust, typescript},
};

/// A language that types can be written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Language {
    /// Interfaces.
    #[serde(rename = "typescript")]
    TypeScript,
    /// Classes of `TypedDict`, for Python 3.10 and newer.
    Python,
    /// Structures for serde.
    Rust,
}

/// The types of what skills are given and give, as the text of one source file.
///
/// `writing.summary.v1` becomes `WritingSummaryInput` and `WritingSummaryOutput`; later versions have their number in
/// the name.
///
/// ```
/// use raptorflow_core::skill::{Language, Skill, generate_types};
/// let skill = Skill::parse("---\nskill_id: a.b.v1\nname: B\ndescription: Does b.\nversion: 1.0.0\n\
///     inputs: { text: string }\n---\n## MISSION\n{{ text }}\n")?;
/// let text = generate_types([&skill], Language::TypeScript);
/// assert!(text.contains("export interface ABInput {\n  text: string;\n}"));
/// # Ok::<(), raptorflow_core::Error>(())
/// ```
#[must_use]
pub fn generate_types<'s>(skills: impl IntoIterator<Item = &'s Skill>, language: Language) -> String {
    let mut text = match language {
        Language::TypeScript => typescript::HEAD,
        Language::Python => python::HEAD,
        Language::Rust => rust::HEAD,
    }
    .to_owned();
    for skill in skills {
        let (spec, name) = (skill.spec(), names::of_skill(skill.id()));
        let given = format!("What the skill `{}` is given.", spec.id);
        let gives = format!("What the skill `{}` gives.", spec.id);
        for (fields, ending, about) in [(&spec.inputs, "Input", given), (&spec.outputs, "Output", gives)] {
            if fields.is_empty() {
                continue;
            }
            let name = format!("{name}{ending}");
            match language {
                Language::TypeScript => typescript::object(&name, fields, &about, &mut text),
                Language::Python => python::object(&name, fields, &about, &mut text),
                Language::Rust => rust::object(&name, fields, &about, &mut text),
            }
        }
    }
    text
}
