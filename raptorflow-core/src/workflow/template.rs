//! `Template`: what a step is given, put together from the workflow's input and the outputs of other steps.

use serde_json::{Map, Value};

use crate::error::{Error, ErrorKind, Result};

/// How deep a template may be nested.
const MAX_DEPTH: usize = 64;

/// Where a reference looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// The input of the workflow.
    Input,
    /// The item at hand, in a step that is mapped over a list.
    Item,
    /// The output of a step.
    Step(usize),
}

/// A value in which texts like `$input/topic` are references; `$$` stands for one `$`.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Template {
    Literal(Value),
    Reference { source: Source, pointer: Box<str>, text: Box<str> },
    List(Vec<Self>),
    Object(Vec<(String, Self)>),
}

/// What references are looked up in.
pub(super) struct Scope<'a> {
    pub(super) input: &'a Value,
    pub(super) item: Option<&'a Value>,
    pub(super) output: &'a dyn Fn(usize) -> Option<&'a Value>,
}

impl Template {
    /// Reads a template; each reference that `find` does not know is handed to `unknown`.
    pub(super) fn parse(
        value: &Value,
        find: &dyn Fn(&str) -> Option<Source>,
        unknown: &mut dyn FnMut(&str),
    ) -> Self {
        Self::parse_at(value, find, unknown, 0)
    }

    fn parse_at(
        value: &Value,
        find: &dyn Fn(&str) -> Option<Source>,
        unknown: &mut dyn FnMut(&str),
        depth: usize,
    ) -> Self {
        if depth > MAX_DEPTH {
            unknown("a template nested deeper than 64");
            return Self::Literal(Value::Null);
        }
        match value {
            Value::String(text) => match text.strip_prefix('$') {
                Some(rest) if rest.starts_with('$') => Self::Literal(rest.into()),
                Some(rest) => {
                    let (name, pointer) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
                    if let Some(source) = find(name) {
                        return Self::Reference {
                            source,
                            pointer: pointer.into(),
                            text: text.as_str().into(),
                        };
                    }
                    unknown(text);
                    Self::Literal(Value::Null)
                }
                None => Self::Literal(value.clone()),
            },
            Value::Array(items) => {
                Self::List(items.iter().map(|item| Self::parse_at(item, find, unknown, depth + 1)).collect())
            }
            Value::Object(fields) => {
                let field = |(key, value): (&String, &Value)| {
                    (key.clone(), Self::parse_at(value, find, unknown, depth + 1))
                };
                Self::Object(fields.iter().map(field).collect())
            }
            other => Self::Literal(other.clone()),
        }
    }

    /// The steps that it refers to.
    pub(super) fn steps(&self, found: &mut Vec<(usize, String)>) {
        match self {
            Self::Reference { source: Source::Step(step), text, .. } => found.push((*step, text.to_string())),
            Self::List(items) => items.iter().for_each(|item| item.steps(found)),
            Self::Object(fields) => fields.iter().for_each(|(_, field)| field.steps(found)),
            Self::Literal(_) | Self::Reference { .. } => {}
        }
    }

    /// The value; a reference to a step that was skipped is null.
    ///
    /// # Errors
    /// `InvalidInput` that names the reference whose pointer finds nothing.
    pub(super) fn fill(&self, scope: &Scope<'_>) -> Result<Value> {
        match self {
            Self::Literal(value) => Ok(value.clone()),
            Self::Reference { source, pointer, text } => {
                let whole = match source {
                    Source::Input => Some(scope.input),
                    Source::Item => scope.item,
                    Source::Step(step) => (scope.output)(*step),
                };
                let Some(whole) = whole else { return Ok(Value::Null) };
                whole.pointer(pointer).cloned().ok_or_else(|| {
                    let message = "the reference finds nothing in the value that it points into";
                    Error::new(ErrorKind::InvalidInput, "workflow.input", message).with("reference", text)
                })
            }
            Self::List(items) => {
                items.iter().map(|item| item.fill(scope)).collect::<Result<_>>().map(Value::Array)
            }
            Self::Object(fields) => {
                let mut object = Map::with_capacity(fields.len());
                for (key, field) in fields {
                    object.insert(key.clone(), field.fill(scope)?);
                }
                Ok(Value::Object(object))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fill(template: &Value) -> Result<Value> {
        let find = |name: &str| match name {
            "input" => Some(Source::Input),
            "draft" => Some(Source::Step(0)),
            "skipped" => Some(Source::Step(1)),
            _ => None,
        };
        let template = Template::parse(template, &find, &mut |unknown| panic!("unknown {unknown}"));
        let (input, draft) = (json!({ "topic": "tea" }), json!(["one", "two"]));
        let output = |step| (step == 0).then_some(&draft);
        template.fill(&Scope { input: &input, item: None, output: &output })
    }

    #[test]
    fn references_are_replaced_wherever_they_stand() {
        let filled = fill(
            &json!({ "a": "$input/topic", "b": ["$draft/1", 7], "c": "$draft", "d": "$$5", "e": "$skipped" }),
        );
        let expected = json!({ "a": "tea", "b": ["two", 7], "c": ["one", "two"], "d": "$5", "e": null });
        assert_eq!(filled.unwrap(), expected);
    }

    #[test]
    fn a_pointer_to_nothing_is_an_error_that_names_the_reference() {
        let err = fill(&json!(["$input/price"])).unwrap_err();
        assert_eq!((err.kind(), err.get("reference")), (ErrorKind::InvalidInput, Some("$input/price")));
    }

    #[test]
    fn unknown_names_are_told_and_the_depth_is_bounded() {
        let mut unknown = Vec::new();
        Template::parse(&json!(["$nobody/x"]), &|_| None, &mut |name| unknown.push(name.to_owned()));
        assert_eq!(unknown, ["$nobody/x"]);
        let deep = (0..200).fold(json!(1), |inner, _| json!([inner]));
        let mut told = 0;
        Template::parse(&deep, &|_| None, &mut |_| told += 1);
        assert_eq!(told, 1);
    }
}
