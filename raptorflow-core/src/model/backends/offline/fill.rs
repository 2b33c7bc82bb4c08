//! Puts quotes where a JSON Schema requires text, and refuses to make up anything else.

use serde_json::{Map, Value};

use super::rank::Quote;
use crate::{
    error::{Error, ErrorKind},
    types::Schema,
};

/// How many items an array gets at most, unless the schema requires more.
const MAX_ITEMS: usize = 4;
/// How deep schemas may nest, references included.
const MAX_DEPTH: usize = 32;
/// The least share of the best score that makes a quote worth an item nobody requires.
const WORTH: f64 = 0.5;

/// Why a value cannot be given.
#[derive(Debug)]
pub(super) enum Refusal {
    /// No quote is left that fits.
    TooFew { pointer: String },
    /// The schema wants something that no passage says verbatim.
    Invents { pointer: String, expected: String },
}

impl Refusal {
    pub(super) fn into_error(self) -> Error {
        let new = |message| Error::new(ErrorKind::Unsupported, "model.stream", message);
        match self {
            Self::TooFew { pointer } => {
                new("the passages hold too few sentences that fit the schema").with("pointer", pointer)
            }
            Self::Invents { pointer, expected } => {
                new("the offline model quotes sentences and does not invent values")
                    .with("pointer", pointer)
                    .with("expected", expected)
            }
        }
    }
}

/// A value that fits `schema`, made of quotes and the numbers of their passages.
///
/// - A string is the next best quote; an array has between `minItems` and the lesser of `maxItems` and 4 items.
/// - An integer with `"format": "citation"` is the passage that the text beside it came from.
/// - A constant is itself; every other value would be an invention and is refused with its JSON Pointer.
/// - Properties that are not required are left out.
pub(super) fn fill(schema: &Schema, quotes: &[Quote]) -> Result<Value, Refusal> {
    let root = schema.as_value();
    let mut filler = Filler { root, quotes, used: vec![false; quotes.len()] };
    let value = filler.value(root, "", &mut Scope::default(), 0)?;
    match schema.validate(&value).into_iter().next() {
        None => Ok(value),
        Some(problem) => Err(Refusal::Invents { pointer: problem.pointer, expected: problem.message }),
    }
}

/// The quotes that the text of one object came from.
#[derive(Clone, Default)]
struct Scope {
    quotes: Vec<usize>,
    /// Whether they are of an object further out, and give way to the object's own.
    inherited: bool,
}

struct Filler<'a> {
    root: &'a Value,
    quotes: &'a [Quote],
    used: Vec<bool>,
}

impl Filler<'_> {
    fn value(&mut self, schema: &Value, at: &str, scope: &mut Scope, depth: usize) -> Result<Value, Refusal> {
        let invents =
            |expected: &str| Refusal::Invents { pointer: at.to_owned(), expected: expected.to_owned() };
        if depth > MAX_DEPTH {
            return Err(invents("a schema that nests less deeply"));
        }
        if let Some(target) = schema.get("$ref").and_then(Value::as_str) {
            let target = target.strip_prefix('#').and_then(|pointer| self.root.pointer(pointer)).cloned();
            return self.value(&target.ok_or_else(|| invents("a local reference"))?, at, scope, depth + 1);
        }
        if let Some(constant) = constant(schema) {
            return Ok(constant.clone());
        }
        if schema.get("enum").is_some() {
            return Err(invents("one of an enumeration"));
        }
        if let Some([only]) = schema.get("allOf").and_then(Value::as_array).map(Vec::as_slice) {
            return self.value(only, at, scope, depth + 1);
        }
        for choice in ["anyOf", "oneOf"] {
            if let Some(branches) = schema.get(choice).and_then(Value::as_array) {
                return self.first_of(branches, at, scope, depth, invents(choice));
            }
        }
        match schema.get("type") {
            Some(Value::Array(kinds)) => {
                let branches: Vec<Value> = kinds.iter().map(|kind| with_type(schema, kind)).collect();
                self.first_of(&branches, at, scope, depth, invents("one of several types"))
            }
            Some(Value::String(kind)) => match kind.as_str() {
                "object" => self.object(schema, at, scope, depth),
                "array" => self.array(schema, at, scope, depth),
                "string" => self.text(schema, at, scope),
                "integer" if is_citation(schema) => self.citation(at, scope),
                "null" => Ok(Value::Null),
                other => Err(invents(other)),
            },
            _ if schema.get("properties").is_some() => self.object(schema, at, scope, depth),
            _ if schema.get("items").is_some() => self.array(schema, at, scope, depth),
            _ => self.text(schema, at, scope),
        }
    }

    fn first_of(
        &mut self,
        branches: &[Value],
        at: &str,
        scope: &mut Scope,
        depth: usize,
        none: Refusal,
    ) -> Result<Value, Refusal> {
        let mut refusal = none;
        for branch in branches {
            let (used, before) = (self.used.clone(), scope.clone());
            match self.value(branch, at, scope, depth + 1) {
                Ok(value) => return Ok(value),
                Err(err) => refusal = err,
            }
            (self.used, *scope) = (used, before);
        }
        Err(refusal)
    }

    fn object(
        &mut self,
        schema: &Value,
        at: &str,
        outer: &mut Scope,
        depth: usize,
    ) -> Result<Value, Refusal> {
        let required: Vec<&str> = schema
            .get("required")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let mut scope = Scope { quotes: outer.quotes.clone(), inherited: true };
        let any = Value::Bool(true);
        let property = |name: &str| schema.get("properties").and_then(|all| all.get(name)).unwrap_or(&any);
        let mut values: Vec<Option<Value>> = vec![None; required.len()];
        // Text first: citations point to the text beside them, wherever they stand.
        for citing in [false, true] {
            for (name, slot) in required.iter().zip(&mut values) {
                if cites(property(name)) == citing {
                    let pointer = format!("{at}/{}", name.replace('~', "~0").replace('/', "~1"));
                    *slot = Some(self.value(property(name), &pointer, &mut scope, depth + 1)?);
                }
            }
        }
        let named =
            required.iter().zip(values).filter_map(|(name, value)| Some(((*name).to_owned(), value?)));
        Ok(Value::Object(named.collect::<Map<_, _>>()))
    }

    fn array(&mut self, schema: &Value, at: &str, scope: &mut Scope, depth: usize) -> Result<Value, Refusal> {
        let bound =
            |name: &str| schema.get(name).and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok());
        let least = bound("minItems").unwrap_or(0);
        let most = bound("maxItems").unwrap_or(MAX_ITEMS).min(MAX_ITEMS).max(least);
        let any = Value::Bool(true);
        let items = schema.get("items").unwrap_or(&any);
        if is_citation(items) {
            return self.citations(at, scope, least, most);
        }
        let mut values = Vec::new();
        while values.len() < most {
            if values.len() >= least.max(1) && !self.is_next_worth_it() {
                break;
            }
            let used = self.used.clone();
            match self.value(items, &format!("{at}/{}", values.len()), scope, depth + 1) {
                Ok(value) => values.push(value),
                Err(Refusal::TooFew { .. }) if values.len() >= least => {
                    self.used = used;
                    break;
                }
                Err(refusal) => return Err(refusal),
            }
        }
        Ok(Value::Array(values))
    }

    fn text(&mut self, schema: &Value, at: &str, scope: &mut Scope) -> Result<Value, Refusal> {
        if let Some(format) = schema.get("format").and_then(Value::as_str) {
            return Err(Refusal::Invents {
                pointer: at.to_owned(),
                expected: format!("text in the format {format}"),
            });
        }
        let bound =
            |name: &str| schema.get(name).and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok());
        let (least, most) = (bound("minLength").unwrap_or(0), bound("maxLength").unwrap_or(usize::MAX));
        let pattern = schema.get("pattern").map(|_| Schema::unchecked(schema.clone()));
        self.take(at, scope, |text| {
            (least..=most).contains(&text.chars().count())
                && pattern.as_ref().is_none_or(|pattern| pattern.validate(&Value::from(text)).is_empty())
        })
        .map(|quote| Value::from(quote.text.as_str()))
    }

    fn citation(&mut self, at: &str, scope: &mut Scope) -> Result<Value, Refusal> {
        let first = scope.quotes.first().and_then(|index| self.quotes.get(*index));
        match first {
            Some(quote) => Ok(Value::from(quote.passage)),
            None => self.take(at, scope, |_| true).map(|quote| Value::from(quote.passage)),
        }
    }

    fn citations(
        &mut self,
        at: &str,
        scope: &mut Scope,
        least: usize,
        most: usize,
    ) -> Result<Value, Refusal> {
        if scope.quotes.is_empty() {
            self.take(at, scope, |_| true)?;
        }
        let mut numbers: Vec<u32> = Vec::new();
        let quotes = || scope.quotes.iter().filter_map(|index| self.quotes.get(*index));
        // The passages of the text itself come before those that only agree with it.
        let own = quotes().map(|quote| quote.passage);
        for number in own.chain(quotes().flat_map(|quote| quote.also.iter().copied())) {
            if numbers.len() < most && !numbers.contains(&number) {
                numbers.push(number);
            }
        }
        if numbers.len() < least {
            return Err(Refusal::TooFew { pointer: at.to_owned() });
        }
        Ok(Value::from(numbers))
    }

    /// The best unused quote that fits; it becomes part of the scope.
    fn take(&mut self, at: &str, scope: &mut Scope, fits: impl Fn(&str) -> bool) -> Result<&Quote, Refusal> {
        let free = self.used.iter_mut().zip(self.quotes).enumerate();
        for (index, (used, quote)) in free {
            if !*used && fits(&quote.text) {
                *used = true;
                if std::mem::take(&mut scope.inherited) {
                    scope.quotes.clear();
                }
                scope.quotes.push(index);
                return Ok(quote);
            }
        }
        Err(Refusal::TooFew { pointer: at.to_owned() })
    }

    fn is_next_worth_it(&self) -> bool {
        let best = self.quotes.first().map_or(0.0, |quote| quote.score);
        let next = self.quotes.iter().zip(&self.used).find(|(_, used)| !**used);
        next.is_some_and(|(quote, _)| quote.score >= WORTH * best)
    }
}

/// The only value that a schema allows.
fn constant(schema: &Value) -> Option<&Value> {
    let only = match schema.get("enum").and_then(Value::as_array).map(Vec::as_slice) {
        Some([only]) => Some(only),
        _ => None,
    };
    schema.get("const").or(only)
}

fn is_citation(schema: &Value) -> bool {
    schema.get("type").and_then(Value::as_str) == Some("integer")
        && schema.get("format").and_then(Value::as_str) == Some("citation")
}

fn cites(schema: &Value) -> bool {
    is_citation(schema) || schema.get("items").is_some_and(is_citation)
}

fn with_type(schema: &Value, kind: &Value) -> Value {
    let mut branch = schema.clone();
    if let Some(fields) = branch.as_object_mut() {
        fields.insert("type".to_owned(), kind.clone());
    }
    branch
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn quotes(count: u32) -> Vec<Quote> {
        let quote = |n: u32| Quote {
            text: format!("Sentence {n}."),
            passage: n,
            also: if n == 1 { vec![9] } else { vec![] },
            score: 1.0 / f64::from(n).sqrt(),
        };
        (1..=count).map(quote).collect()
    }

    fn check(schema: Value, expected: &Value) {
        assert_eq!(fill(&Schema::new(schema).unwrap(), &quotes(6)).unwrap(), *expected);
    }

    fn refused(schema: Value, pointer: &str) {
        let err = fill(&Schema::new(schema).unwrap(), &quotes(2)).unwrap_err().into_error();
        assert_eq!((err.kind(), err.get("pointer")), (ErrorKind::Unsupported, Some(pointer)), "{err}");
    }

    fn findings() -> Value {
        json!({"type": "array", "minItems": 1, "maxItems": 8, "items": {
            "type": "object", "additionalProperties": false, "required": ["claim", "sources"], "properties": {
                "claim": {"type": "string", "minLength": 8},
                "sources": {"type": "array", "minItems": 1, "uniqueItems": true,
                    "items": {"type": "integer", "minimum": 1, "format": "citation"}}}}})
    }

    #[test]
    fn findings_are_quotes_with_the_passages_they_came_from() {
        let schema = json!({"type": "object", "required": ["findings"], "properties": {
            "findings": findings(), "balance": {"type": "integer"}}});
        check(
            schema,
            &json!({"findings": [
            {"claim": "Sentence 1.", "sources": [1, 9]},
            {"claim": "Sentence 2.", "sources": [2]},
            {"claim": "Sentence 3.", "sources": [3]},
            {"claim": "Sentence 4.", "sources": [4]}]}),
        );
    }

    #[test]
    fn a_citation_points_to_the_text_beside_it_wherever_it_stands() {
        let cite = json!({"type": "integer", "format": "citation"});
        check(
            json!({"type": "object", "required": ["from", "text", "where"], "properties": {
                "from": cite, "text": {"type": "string"},
                "where": {"type": "object", "required": ["passage"], "properties": {"passage": cite}}}}),
            &json!({"from": 1, "text": "Sentence 1.", "where": {"passage": 1}}),
        );
    }

    #[test]
    fn references_branches_constants_and_lengths_are_understood() {
        check(
            json!({"$defs": {"T": {"type": "string"}}, "type": "object", "required": ["a", "b", "c", "d"],
                "properties": {"a": {"$ref": "#/$defs/T"}, "b": {"anyOf": [{"type": "boolean"}, {"type": "null"}]},
                    "c": {"const": 3}, "d": {"type": ["number", "string"], "pattern": "5"}}}),
            &json!({"a": "Sentence 1.", "b": null, "c": 3, "d": "Sentence 5."}),
        );
    }

    #[test]
    fn what_no_passage_says_is_refused_with_its_place() {
        let object =
            |property: Value| json!({"type": "object", "required": ["x"], "properties": {"x": property}});
        refused(object(json!({"enum": ["low", "high"]})), "/x");
        refused(object(json!({"type": "number"})), "/x");
        refused(object(json!({"type": "string", "format": "date"})), "/x");
        refused(object(json!({"type": "array", "items": object(json!({"type": "boolean"}))})), "/x/0/x");
        refused(json!({"type": "array", "minItems": 3, "items": {"type": "string"}}), "/2");
        refused(json!({"$ref": "#"}), "");
    }
}
