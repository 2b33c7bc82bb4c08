//! `Condition`: a test of a value, as data.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::workflow::spec::given;

/// A test of the value that a step gave; every part that is set must hold.
///
/// It is data, so that it can stand in a file, be drawn and be compared over versions.
/// A pointer to nothing fails every part but `exists = false` and `not_equals`.
///
/// ```
/// use raptorflow_core::workflow::Condition;
/// use serde_json::json;
/// let good = Condition::at("/score").at_least(0.7);
/// assert!(good.holds(&json!({ "score": 0.9 })));
/// assert!(!good.holds(&json!({ "score": "high" })));
/// let either = Condition::any_of([good, Condition::at("/final").equals(true)]);
/// assert!(either.holds(&json!({ "final": true })));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Condition {
    /// Where in the value to look, as a JSON Pointer; the whole value when empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub at: String,
    /// It is this value; numbers are compared as numbers.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub equals: Option<Value>,
    /// It is not this value.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub not_equals: Option<Value>,
    /// It is a number above this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub above: Option<f64>,
    /// It is this number or one above it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at_least: Option<f64>,
    /// It is a number below this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub below: Option<f64>,
    /// It is this number or one below it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at_most: Option<f64>,
    /// It is a text that contains this text, a list that has this item, or an object that has this key.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub contains: Option<Value>,
    /// There is something other than null (`true`), or there is not (`false`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exists: Option<bool>,
    /// All of these hold of what is found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub all: Option<Vec<Self>>,
    /// One of these holds of what is found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub any: Option<Vec<Self>>,
    /// This does not hold of what is found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not: Option<Box<Self>>,
}

macro_rules! parts {
    ($($(#[$doc:meta])* $name:ident: $type:ty;)*) => {
        impl Condition {
            $($(#[$doc])*
            #[must_use]
            pub fn $name(mut self, value: impl Into<$type>) -> Self {
                self.$name = Some(value.into());
                self
            })*
        }
    };
}

parts! {
    /// It must be this value.
    equals: Value;
    /// It must not be this value.
    not_equals: Value;
    /// It must be above this number.
    above: f64;
    /// It must be at least this number.
    at_least: f64;
    /// It must be below this number.
    below: f64;
    /// It must be at most this number.
    at_most: f64;
    /// It must contain this.
    contains: Value;
    /// It must exist, or must not.
    exists: bool;
}

impl Condition {
    /// A test of the whole value; add what must hold.
    #[must_use]
    pub fn value() -> Self {
        Self::default()
    }

    /// A test of what a JSON Pointer finds in the value; add what must hold.
    pub fn at(pointer: impl Into<String>) -> Self {
        Self { at: pointer.into(), ..Self::default() }
    }

    /// All of these must hold.
    pub fn all_of(conditions: impl IntoIterator<Item = Self>) -> Self {
        Self { all: Some(conditions.into_iter().collect()), ..Self::default() }
    }

    /// One of these must hold.
    pub fn any_of(conditions: impl IntoIterator<Item = Self>) -> Self {
        Self { any: Some(conditions.into_iter().collect()), ..Self::default() }
    }

    /// The opposite.
    #[must_use]
    pub fn negated(self) -> Self {
        Self { not: Some(Box::new(self)), ..Self::default() }
    }

    /// Whether it holds of a value.
    #[must_use]
    pub fn holds(&self, value: &Value) -> bool {
        let found = value.pointer(&self.at);
        let number = found.and_then(Value::as_f64);
        let compared = |bound: Option<f64>, test: fn(f64, f64) -> bool| {
            bound.is_none_or(|it| number.is_some_and(|n| test(n, it)))
        };
        let of_found = |condition: &Self| condition.holds(found.unwrap_or(&Value::Null));
        self.equals.as_ref().is_none_or(|it| found.is_some_and(|found| same(found, it)))
            && self.not_equals.as_ref().is_none_or(|it| !found.is_some_and(|found| same(found, it)))
            && compared(self.above, |n, bound| n > bound)
            && compared(self.at_least, |n, bound| n >= bound)
            && compared(self.below, |n, bound| n < bound)
            && compared(self.at_most, |n, bound| n <= bound)
            && self.contains.as_ref().is_none_or(|it| found.is_some_and(|found| contains(found, it)))
            && self.exists.is_none_or(|it| it == found.is_some_and(|found| !found.is_null()))
            && self.all.as_ref().is_none_or(|all| all.iter().all(of_found))
            && self.any.as_ref().is_none_or(|any| any.iter().any(of_found))
            && self.not.as_ref().is_none_or(|not| !of_found(not))
    }
}

impl fmt::Display for Condition {
    /// The test in words, for people: `/score ≥ 0.7 and /kind = "refund"`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.parts("").join(" and "))
    }
}

impl Condition {
    /// What must hold, each in words; pointers are those of the whole value.
    fn parts(&self, above: &str) -> Vec<String> {
        let at = format!("{above}{}", self.at);
        let subject = if at.is_empty() { "value" } else { &at };
        let joined = |conditions: &[Self], word: &str| {
            let all: Vec<String> = conditions.iter().map(|it| it.parts(&at).join(" and ")).collect();
            format!("({})", all.join(word))
        };
        let values = [(&self.equals, "="), (&self.not_equals, "≠"), (&self.contains, "contains")];
        let values = values
            .into_iter()
            .filter_map(|(value, word)| Some(format!("{subject} {word} {}", value.as_ref()?)));
        let bounds = [(self.above, ">"), (self.at_least, "≥"), (self.below, "<"), (self.at_most, "≤")];
        let bounds =
            bounds.into_iter().filter_map(|(bound, word)| Some(format!("{subject} {word} {}", bound?)));
        let exists = self.exists.map(|it| format!("{subject} {}", if it { "exists" } else { "is missing" }));
        let all = self.all.as_deref().map(|all| joined(all, " and "));
        let any = self.any.as_deref().map(|any| joined(any, " or "));
        let not = self.not.as_ref().map(|not| format!("not ({})", not.parts(&at).join(" and ")));
        values.chain(bounds).chain(exists).chain(all).chain(any).chain(not).collect()
    }
}

/// Equality in which `1` and `1.0` are one number.
fn same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        _ => left == right,
    }
}

fn contains(whole: &Value, part: &Value) -> bool {
    match (whole, part) {
        (Value::String(whole), Value::String(part)) => whole.contains(part.as_str()),
        (Value::Array(items), part) => items.iter().any(|item| same(item, part)),
        (Value::Object(fields), Value::String(key)) => fields.contains_key(key),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(condition: &Condition, value: &Value, expected: bool) {
        assert_eq!(condition.holds(value), expected, "{condition:?} of {value}");
        assert_eq!(condition.clone().negated().holds(value), !expected, "not {condition:?} of {value}");
    }

    #[test]
    fn numbers_are_compared_as_numbers_and_other_values_are_none() {
        let range = Condition::at("/n").above(1.0).at_most(3.0);
        for (n, expected) in [(json!(1), false), (json!(1.5), true), (json!(3), true), (json!("2"), false)] {
            check(&range, &json!({ "n": n }), expected);
        }
        check(&Condition::value().equals(1), &json!(1.0), true);
        check(&Condition::value().below(2.0).at_least(1.0), &json!(1), true);
    }

    #[test]
    fn what_is_not_there_is_only_absent_and_not_equal() {
        let nothing = json!({ "a": null });
        check(&Condition::at("/b").exists(false), &nothing, true);
        check(&Condition::at("/a").exists(true), &nothing, false);
        check(&Condition::at("/b").not_equals(1), &nothing, true);
        check(&Condition::at("/b").equals(1), &nothing, false);
        check(&Condition::at("/b").contains("x"), &nothing, false);
    }

    #[test]
    fn texts_lists_and_objects_contain() {
        check(&Condition::value().contains("bc"), &json!("abcd"), true);
        check(&Condition::value().contains(2), &json!([1, 2.0]), true);
        check(&Condition::value().contains("k"), &json!({ "k": null }), true);
        check(&Condition::value().contains(1), &json!("1"), false);
    }

    #[test]
    fn parts_look_at_what_was_found() {
        let both = Condition {
            at: "/x".into(),
            ..Condition::all_of([Condition::at("/y").equals(1), Condition::value().exists(true)])
        };
        check(&both, &json!({ "x": { "y": 1 } }), true);
        check(&both, &json!({ "y": 1 }), false);
    }

    #[test]
    fn it_is_said_in_words_with_pointers_into_the_whole_value() {
        let both = Condition::at("/score").at_least(0.7).below(2.0);
        assert_eq!(both.to_string(), "/score ≥ 0.7 and /score < 2");
        let kind = Condition::at("/kind").equals("refund");
        assert_eq!(kind.clone().negated().to_string(), "not (/kind = \"refund\")");
        let either =
            Condition { at: "/x".into(), ..Condition::any_of([kind, Condition::value().exists(false)]) };
        assert_eq!(either.to_string(), "(/x/kind = \"refund\" or /x is missing)");
        assert_eq!(
            Condition::value().contains(1).not_equals(2).to_string(),
            "value ≠ 2 and value contains 1"
        );
    }

    #[test]
    fn an_unknown_part_in_data_is_refused_by_its_name() {
        let err = serde_json::from_value::<Condition>(json!({ "at": "/x", "greater": 1 })).unwrap_err();
        assert!(err.to_string().contains("greater"), "{err}");
    }
}
