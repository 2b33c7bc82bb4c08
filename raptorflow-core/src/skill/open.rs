//! `OpenSkill`: the front matter of the open Agent Skills format, and what is wrong with it.

use indexmap::IndexMap;
use serde_json::Value;
use unicode_normalization::UnicodeNormalization;

use crate::{
    error::Result,
    skill::{
        Dependencies, Evaluation, ModelChoice, SkillFormat, SkillId, SkillLimits, SkillSpec, SkillTools,
        source,
        yaml::{self, Node, Place, Yaml},
    },
    types::{Diagnostic, Diagnostics, Severity, nearest},
};

/// The fields of the format.
const FIELDS: [&str; 6] = ["name", "description", "license", "compatibility", "allowed-tools", "metadata"];
/// The longest name, description and compatibility, in characters.
const MAX_NAME: usize = 64;
const MAX_DESCRIPTION: usize = 1024;
const MAX_COMPATIBILITY: usize = 500;

/// The front matter of a `SKILL.md`, as it is written, and the instructions behind it.
///
/// ```
/// use raptorflow_core::skill::OpenSkill;
/// let skill = OpenSkill::parse("---\nname: Tea\ndescription: Brews tea.\n---\nBoil water.\n")?;
/// assert_eq!(skill.body(), "Boil water.");
/// assert_eq!(skill.check(Some("tea"))[0].code, "name_case");
/// # Ok::<(), raptorflow_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct OpenSkill {
    metadata: Value,
    body: String,
    places: Vec<(String, Place)>,
}

impl OpenSkill {
    /// Reads a file without judging what its fields say.
    ///
    /// # Errors
    /// `InvalidInput` whose cause ([`Diagnostics`]) is every problem: no front matter, or one that is no mapping.
    pub fn parse(text: &str) -> Result<Self> {
        let refuse =
            |problems| Diagnostics(problems).into_error("skill.parse", "the front matter cannot be read");
        let source = source::split(text).map_err(|problem| refuse(vec![problem]))?;
        let (node, problems) = yaml::parse(source.front, source.front_line);
        match node {
            Some(node) if problems.is_empty() => Self::from_node(&node, source.body).map_err(refuse),
            _ => Err(refuse(problems)),
        }
    }

    pub(super) fn from_node(node: &Node, body: &str) -> std::result::Result<Self, Vec<Diagnostic>> {
        let Yaml::Map(fields) = &node.value else {
            return Err(vec![
                node.at.problem("wrong_type", format!("front matter is {}; expected a mapping", node.kind())),
            ]);
        };
        let mut problems = Vec::new();
        for (index, (key, _)) in fields.iter().enumerate() {
            if let Some((first, _)) = fields.iter().take(index).find(|(other, _)| other.text == key.text) {
                let message = format!("`{}` stands twice, first on line {}", key.text, first.at.line);
                problems.push(key.at.problem("duplicate_key", message));
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let places = fields.iter().map(|(key, _)| (key.text.clone(), key.at)).collect();
        Ok(Self { metadata: node.to_texts(), body: body.trim().to_owned(), places })
    }

    /// The same from fields that were read elsewhere.
    #[must_use]
    pub fn from_metadata(metadata: Value) -> Self {
        Self { metadata, body: String::new(), places: Vec::new() }
    }

    /// The fields as JSON; every scalar is the text that was written.
    #[must_use]
    pub fn metadata(&self) -> &Value {
        &self.metadata
    }

    /// The instructions, without white space around them.
    #[must_use]
    pub fn body(&self) -> &str {
        &self.body
    }

    /// Everything that the format does not allow; `folder` is the name of the folder that the file lies in.
    #[must_use]
    pub fn check(&self, folder: Option<&str>) -> Vec<Diagnostic> {
        let mut problems = Vec::new();
        if let Value::Object(fields) = &self.metadata {
            for name in fields.keys().filter(|name| !FIELDS.contains(&name.as_str())) {
                let near = nearest(name, FIELDS).first().map(|near| format!("; did you mean `{near}`?"));
                let known = || format!("; known: {}", FIELDS.join(", "));
                let message = format!("no field `{name}`{}", near.unwrap_or_else(known));
                problems.push(self.at(name, "unknown_field", message));
            }
        }
        self.check_name(folder, &mut problems);
        match self.text("description", &mut problems) {
            Ok(Some(text)) => {
                let length = text.chars().count();
                if length > MAX_DESCRIPTION {
                    let message =
                        format!("a description of {length} characters; expected at most {MAX_DESCRIPTION}");
                    problems.push(self.long("description", "description_too_long", message));
                }
            }
            Ok(None) => {
                problems.push(self.at("description", "missing_field", "`description` is missing".to_owned()));
            }
            Err(()) => {}
        }
        if let Some(value) = self.metadata.get("compatibility") {
            match value.as_str().map(|text| text.chars().count()) {
                Some(length) if length > MAX_COMPATIBILITY => {
                    let message = format!(
                        "a compatibility of {length} characters; expected at most {MAX_COMPATIBILITY}"
                    );
                    problems.push(self.long("compatibility", "compatibility_too_long", message));
                }
                Some(_) => {}
                None => {
                    problems.push(self.at(
                        "compatibility",
                        "wrong_type",
                        "`compatibility` is no text".to_owned(),
                    ));
                }
            }
        }
        problems
    }

    fn check_name(&self, folder: Option<&str>, problems: &mut Vec<Diagnostic>) {
        let name = match self.text("name", problems) {
            Ok(Some(name)) => name,
            Ok(None) => {
                problems.push(self.at("name", "missing_field", "`name` is missing".to_owned()));
                return;
            }
            Err(()) => return,
        };
        let name = normalized(&name);
        let mut problem = |code: &str, message: String| problems.push(self.at("name", code, message));
        let length = name.chars().count();
        if length > MAX_NAME {
            problem("name_too_long", format!("a name of {length} characters; expected at most {MAX_NAME}"));
        }
        if name != name.to_lowercase() {
            problem("name_case", format!("`{name}` has capital letters; expected small ones"));
        }
        if name.starts_with('-') || name.ends_with('-') {
            problem("name_hyphen", format!("`{name}` begins or ends with a hyphen"));
        }
        if name.contains("--") {
            problem("name_hyphens", format!("`{name}` has two hyphens in a row"));
        }
        if !name.chars().all(|c| c.is_alphanumeric() || c == '-') {
            problem("name_characters", format!("`{name}` has other signs than letters, digits and hyphens"));
        }
        if let Some(folder) = folder.map(normalized).filter(|folder| *folder != name) {
            problem(
                "name_folder",
                format!("the folder is `{folder}`; expected the name of the skill, `{name}`"),
            );
        }
    }

    /// A text that is not empty; `Err` when it is something else, which is noted.
    fn text(&self, field: &str, problems: &mut Vec<Diagnostic>) -> std::result::Result<Option<String>, ()> {
        match self.metadata.get(field) {
            None => Ok(None),
            Some(Value::String(text)) if !text.trim().is_empty() => Ok(Some(text.clone())),
            Some(_) => {
                problems.push(self.at(
                    field,
                    "empty_field",
                    format!("`{field}` is no text, or an empty one"),
                ));
                Err(())
            }
        }
    }

    /// Too much text is a warning: skills that people use are longer than the format says, and work.
    fn long(&self, field: &str, code: &str, message: String) -> Diagnostic {
        Diagnostic { severity: Severity::Warning, ..self.at(field, code, message) }
    }

    fn at(&self, field: &str, code: &str, message: String) -> Diagnostic {
        let place = self.places.iter().find(|(name, _)| name == field).map(|(_, place)| *place);
        match place {
            Some(place) => place.problem(code, message),
            None if self.places.is_empty() => Diagnostic::error(code, message),
            None => Diagnostic::error(code, message).at(1, 1),
        }
    }

    /// The specification of a skill whose fields were found in order.
    pub(super) fn to_spec(&self) -> Option<SkillSpec> {
        let text = |name: &str| self.metadata.get(name).and_then(Value::as_str).map(str::to_owned);
        let name = normalized(&text("name")?);
        let id: SkillId = name.parse().ok()?;
        let allowed = text("allowed-tools").unwrap_or_default();
        let metadata: IndexMap<String, String> = match self.metadata.get("metadata") {
            Some(Value::Object(fields)) => {
                let entry = |(key, value): (&String, &Value)| {
                    (key.clone(), value.as_str().map_or_else(|| value.to_string(), str::to_owned))
                };
                fields.iter().map(entry).collect()
            }
            _ => IndexMap::new(),
        };
        Some(SkillSpec {
            id,
            format: SkillFormat::Open,
            name,
            description: text("description").unwrap_or_default(),
            version: metadata.get("version").cloned().unwrap_or_default(),
            author: metadata.get("author").cloned(),
            category: String::new(),
            tags: Vec::new(),
            model: ModelChoice::default(),
            limits: SkillLimits::default(),
            tools: SkillTools { required: Vec::new(), optional: allowed_tools(&allowed) },
            inputs: Vec::new(),
            outputs: Vec::new(),
            evaluation: Evaluation::default(),
            dependencies: Dependencies::default(),
            license: text("license"),
            compatibility: text("compatibility"),
            metadata,
        })
    }
}

fn normalized(name: &str) -> String {
    name.trim().nfkc().collect()
}

/// Tools between blanks; a blank inside brackets belongs to its tool.
fn allowed_tools(text: &str) -> Vec<String> {
    let (mut tools, mut tool, mut depth) = (Vec::new(), String::new(), 0_usize);
    for c in text.chars() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 && (c.is_whitespace() || c == ',') {
            tools.extend((!tool.is_empty()).then(|| std::mem::take(&mut tool)));
        } else {
            tool.push(c);
        }
    }
    tools.extend((!tool.is_empty()).then_some(tool));
    tools
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn codes(metadata: Value, folder: &str) -> Vec<String> {
        OpenSkill::from_metadata(metadata)
            .check(Some(folder))
            .into_iter()
            .map(|problem| problem.code)
            .collect()
    }

    #[test]
    fn every_problem_of_the_fields_is_told() {
        assert!(codes(json!({ "name": "café", "description": "x" }), "cafe\u{301}").is_empty());
        assert_eq!(
            codes(json!({ "name": "-My--Skill_", "colour": "x", "compatibility": 3 }), "y"),
            [
                "unknown_field",
                "name_case",
                "name_hyphen",
                "name_hyphens",
                "name_characters",
                "name_folder",
                "missing_field",
                "wrong_type"
            ]
        );
        assert_eq!(codes(json!({ "name": " ", "description": "" }), "y"), ["empty_field", "empty_field"]);
    }

    #[test]
    fn allowed_tools_are_split_outside_brackets() {
        assert_eq!(allowed_tools("Bash(git add *) Read,  Write"), ["Bash(git add *)", "Read", "Write"]);
    }
}
