//! Front matter of a typed skill: every field of it is read, and every problem is noted with its place.

use std::time::Duration;

use crate::{
    skill::{
        Dependencies, Evaluation, ModelChoice, SkillFormat, SkillId, SkillLimits, SkillSpec, SkillTools,
        fields::read_fields,
        reader::{Fields, Reader},
        yaml::Node,
    },
    types::{Currency, Money},
};

/// The fields that a typed skill may have.
const FIELDS: [&str; 14] = [
    "skill_id",
    "name",
    "description",
    "version",
    "author",
    "category",
    "tags",
    "model",
    "limits",
    "tools",
    "inputs",
    "outputs",
    "evaluation",
    "dependencies",
];
/// The longest time-out, in seconds: a day.
const MAX_TIMEOUT: f64 = 86_400.0;
/// What stands for an id that is missing or wrong, which is a problem already.
const NO_ID: &str = "unnamed";

/// Reads the front matter; what is missing or wrong becomes a default and a problem.
pub(super) fn read(reader: &mut Reader, node: &Node) -> Option<SkillSpec> {
    let fields = reader.fields(node, "", &FIELDS);
    let id = id(reader, &fields);
    let name = reader.required(&fields, "name").unwrap_or_default();
    let description = reader.required(&fields, "description").unwrap_or_default();
    let version = version(reader, &fields);
    let category = category(reader, &fields, id.as_ref());
    let spec = SkillSpec {
        id: id.or_else(|| NO_ID.parse().ok())?,
        format: SkillFormat::Typed,
        name,
        description,
        version,
        author: reader.optional(&fields, "author"),
        category,
        tags: reader.texts(&fields, "tags"),
        model: model(reader, &fields),
        limits: limits(reader, &fields),
        tools: tools(reader, &fields),
        inputs: read_fields(reader, fields.get("inputs"), "inputs"),
        outputs: read_fields(reader, fields.get("outputs"), "outputs"),
        evaluation: evaluation(reader, &fields),
        dependencies: dependencies(reader, &fields),
        license: None,
        compatibility: None,
        metadata: indexmap::IndexMap::new(),
    };
    Some(spec)
}

fn id(reader: &mut Reader, fields: &Fields<'_>) -> Option<SkillId> {
    let text = reader.required(fields, "skill_id")?;
    let at = fields.get("skill_id").map_or(fields.at, |node| node.at);
    let id = text.parse().ok().filter(|_| SkillId::is_versioned(&text));
    if id.is_none() {
        reader.problem(
            at,
            "invalid_id",
            format!("`{text}` is no id; expected `category.name.v1` in small letters"),
        );
    }
    id
}

fn version(reader: &mut Reader, fields: &Fields<'_>) -> String {
    let version = reader.required(fields, "version").unwrap_or_default();
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let usable = version.split('.').count() == 3 && version.split('.').all(is_number);
    if !version.is_empty() && !usable {
        let at = fields.get("version").map_or(fields.at, |node| node.at);
        reader.problem(
            at,
            "invalid_version",
            format!("`{version}` is no version; expected three numbers like `1.0.0`"),
        );
    }
    version
}

fn category(reader: &mut Reader, fields: &Fields<'_>, id: Option<&SkillId>) -> String {
    let of_id = id.map(SkillId::category).unwrap_or_default();
    let Some(category) = reader.optional(fields, "category") else { return of_id.to_owned() };
    if id.is_some() && category != of_id {
        let at = fields.get("category").map_or(fields.at, |node| node.at);
        reader.problem(
            at,
            "wrong_category",
            format!("`{category}` is not the category of the id; expected `{of_id}`"),
        );
    }
    category
}

fn model(reader: &mut Reader, fields: &Fields<'_>) -> ModelChoice {
    let Some(node) = fields.get("model") else { return ModelChoice::default() };
    let fields = reader.fields(node, "model", &["primary", "fallback", "temperature", "max_tokens", "top_p"]);
    ModelChoice {
        primary: reader.optional(&fields, "primary"),
        fallback: reader.texts(&fields, "fallback"),
        temperature: reader.number_in(&fields, "temperature", 0.0..=2.0),
        max_tokens: reader.count(&fields, "max_tokens", 1),
        top_p: reader.number_in(&fields, "top_p", f64::MIN_POSITIVE..=1.0),
    }
}

fn limits(reader: &mut Reader, fields: &Fields<'_>) -> SkillLimits {
    let mut limits = SkillLimits::default();
    let Some(node) = fields.get("limits") else { return limits };
    let known = ["max_cost", "max_tokens", "timeout", "max_tool_calls", "max_retries"];
    let fields = reader.fields(node, "limits", &known);
    if let Some(node) = fields.get("max_cost") {
        match micros(&node.text) {
            Some(micros) => limits.max_cost = Money::new(micros, Currency::USD),
            None => reader.problem(
                node.at,
                "wrong_type",
                "`max_cost` is no amount; expected dollars with at most six decimals, such as 0.10",
            ),
        }
    }
    limits.max_tokens = reader.count(&fields, "max_tokens", 1).unwrap_or(limits.max_tokens);
    if let Some(seconds) = reader.number_in(&fields, "timeout", 0.001..=MAX_TIMEOUT) {
        limits.timeout = Duration::try_from_secs_f64(seconds).unwrap_or(limits.timeout);
    }
    limits.max_tool_calls = reader.count(&fields, "max_tool_calls", 0).unwrap_or(limits.max_tool_calls);
    limits.max_retries = reader.count(&fields, "max_retries", 0).unwrap_or(limits.max_retries);
    limits
}

/// An amount such as `0.10` in millionths, without going through a float.
fn micros(text: &str) -> Option<i64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || part.len() > 6 || !is_digits(whole) || !is_digits(part) {
        return None;
    }
    let part: i64 = format!("{part:0<6}").parse().ok()?;
    whole.parse::<i64>().ok()?.checked_mul(1_000_000)?.checked_add(part)
}

fn tools(reader: &mut Reader, fields: &Fields<'_>) -> SkillTools {
    let Some(node) = fields.get("tools") else { return SkillTools::default() };
    let fields = reader.fields(node, "tools", &["required", "optional"]);
    let tools = SkillTools {
        required: reader.texts(&fields, "required"),
        optional: reader.texts(&fields, "optional"),
    };
    if let Some(twice) = tools.optional.iter().find(|tool| tools.required.contains(tool)) {
        reader.problem(fields.at, "duplicate_tool", format!("`{twice}` is both required and optional"));
    }
    tools
}

fn evaluation(reader: &mut Reader, fields: &Fields<'_>) -> Evaluation {
    let mut evaluation = Evaluation::default();
    let Some(node) = fields.get("evaluation") else { return evaluation };
    let fields = reader.fields(node, "evaluation", &["min_quality_score", "checks", "retry_conditions"]);
    if let Some(score) = reader.integer(&fields, "min_quality_score", 0, 100) {
        evaluation.min_quality_score = u32::try_from(score).unwrap_or(evaluation.min_quality_score);
    }
    evaluation.checks = reader.texts(&fields, "checks");
    evaluation.retry_conditions = reader.texts(&fields, "retry_conditions");
    evaluation
}

fn dependencies(reader: &mut Reader, fields: &Fields<'_>) -> Dependencies {
    let Some(node) = fields.get("dependencies") else { return Dependencies::default() };
    let fields = reader.fields(node, "dependencies", &["skills", "data"]);
    let mut skills = Vec::new();
    if let Some(node) = fields.get("skills") {
        for (text, at) in reader.placed_texts(node, "skills") {
            match text.parse() {
                Ok(id) => skills.push(id),
                Err(_) => reader.problem(at, "invalid_id", format!("`{text}` is no id of a skill")),
            }
        }
    }
    Dependencies { skills, data: reader.texts(&fields, "data") }
}
