//! What is printed: entities for HTML, delimiters around data, and numbers as Python writes them.

use std::{collections::HashSet, sync::Arc};

use minijinja::{Error, ErrorKind, Output, Value, value::ValueKind};

use crate::{skill::template::config::Escape, types::contained};

/// The tag around text that the author of a skill did not write.
pub(crate) const TAG: &str = "input";

/// Texts that stand in the template or among the choices of an input, and need no delimiters.
pub(crate) type Authored = Arc<HashSet<String>>;

/// Prints a value.
pub(super) fn print(
    out: &mut Output<'_>,
    escape: Escape,
    authored: &Authored,
    value: &Value,
) -> Result<(), Error> {
    let written = match (escape, value.kind()) {
        (_, ValueKind::Undefined) => Ok(()),
        (_, ValueKind::Number) => out.write_str(&number(value)),
        (Escape::Delimit, ValueKind::None) => {
            return Err(Error::new(
                ErrorKind::InvalidOperation,
                "none is printed; use a condition or a default",
            ));
        }
        (Escape::Delimit, ValueKind::Bool) | (Escape::None, _) => write!(out, "{value}"),
        (_, _) if value.is_safe() => write!(out, "{value}"),
        (Escape::Html, ValueKind::Bool | ValueKind::None) => write!(out, "{value}"),
        (Escape::Html, _) => out.write_str(&html(&value.to_string())),
        (Escape::Delimit, _) => {
            let text = value.to_string();
            if text.is_empty() || authored.contains(&text) {
                out.write_str(&text)
            } else {
                write!(out, "<{TAG}>{}</{TAG}>", contained(&text, TAG))
            }
        }
    };
    written.map_err(|_| Error::new(ErrorKind::WriteFailure, "the output is longer than allowed"))
}

/// Text in which the characters of HTML are entities.
pub(super) fn html(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&#34;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

/// A number as Python prints it: very large and very small ones with an exponent.
fn number(value: &Value) -> String {
    let plain = value.to_string();
    match f64::try_from(value.clone()) {
        Ok(float) if !value.is_integer() && float != 0.0 && !(1e-4..1e16).contains(&float.abs()) => {
            let text = format!("{float:e}");
            match text.split_once('e') {
                Some((digits, power)) => match power.strip_prefix('-') {
                    Some(power) => format!("{digits}e-{power:0>2}"),
                    None => format!("{digits}e+{power:0>2}"),
                },
                None => plain,
            }
        }
        _ => plain,
    }
}
