//! `Reader`: takes typed values out of front matter and notes every problem with its place.

use crate::{
    skill::yaml::{Node, Place, Yaml},
    types::{Diagnostic, nearest},
};

/// What was found wrong so far.
#[derive(Debug, Default)]
pub(super) struct Reader {
    pub(super) problems: Vec<Diagnostic>,
}

/// The fields of one mapping that are known.
pub(super) struct Fields<'a> {
    pub(super) at: Place,
    found: Vec<(&'a str, &'a Node)>,
}

impl<'a> Fields<'a> {
    pub(super) fn get(&self, name: &str) -> Option<&'a Node> {
        self.found.iter().find(|(known, _)| *known == name).map(|(_, node)| *node)
    }
}

impl Reader {
    pub(super) fn problem(&mut self, at: Place, code: &str, message: impl Into<String>) {
        self.problems.push(at.problem(code, message));
    }

    fn expected(&mut self, node: &Node, name: &str, what: &str) {
        let message = format!("`{name}` is {}; expected {what}", node.kind());
        self.problem(node.at, "wrong_type", message);
    }

    /// The fields of a mapping; one that is not `known`, or stands twice, is a problem.
    pub(super) fn fields<'a>(&mut self, node: &'a Node, name: &str, known: &[&str]) -> Fields<'a> {
        let mut fields = Fields { at: node.at, found: Vec::new() };
        for (key, value) in self.entries(node, name) {
            if !known.contains(&key) {
                continue;
            }
            fields.found.push((key, value));
        }
        if let Yaml::Map(entries) = &node.value {
            for (key, _) in entries.iter().filter(|(key, _)| !known.contains(&key.text.as_str())) {
                let near = match nearest(&key.text, known.iter().copied()).first() {
                    Some(near) => format!("; did you mean `{near}`?"),
                    None => format!("; known: {}", known.join(", ")),
                };
                let within = if name.is_empty() { String::new() } else { format!(" in `{name}`") };
                self.problem(key.at, "unknown_field", format!("no field `{}`{within}{near}", key.text));
            }
        }
        fields
    }

    /// The entries of a mapping whose keys are free; one that stands twice is a problem.
    pub(super) fn entries<'a>(&mut self, node: &'a Node, name: &str) -> Vec<(&'a str, &'a Node)> {
        let Yaml::Map(entries) = &node.value else {
            if node.value != Yaml::Null {
                self.expected(node, name, "a mapping");
            }
            return Vec::new();
        };
        let mut found: Vec<(&str, &Node)> = Vec::new();
        let mut lines: Vec<u32> = Vec::new();
        for (key, value) in entries {
            match found.iter().position(|(other, _)| *other == key.text) {
                Some(first) => {
                    let line = lines.get(first).copied().unwrap_or_default();
                    let message = format!("`{}` stands twice, first on line {line}", key.text);
                    self.problem(key.at, "duplicate_key", message);
                }
                None => {
                    found.push((&key.text, value));
                    lines.push(key.at.line);
                }
            }
        }
        found
    }

    /// A text that has to be there.
    pub(super) fn required(&mut self, fields: &Fields<'_>, name: &str) -> Option<String> {
        match fields.get(name) {
            Some(node) => {
                let text = self.text(node, name)?;
                if text.trim().is_empty() {
                    self.problem(node.at, "empty_field", format!("`{name}` is empty"));
                    return None;
                }
                Some(text)
            }
            None => {
                self.problem(fields.at, "missing_field", format!("`{name}` is missing"));
                None
            }
        }
    }

    /// A text that may be there.
    pub(super) fn optional(&mut self, fields: &Fields<'_>, name: &str) -> Option<String> {
        fields.get(name).and_then(|node| self.text(node, name))
    }

    /// A scalar as it is written: `1.10` is a text here.
    pub(super) fn text(&mut self, node: &Node, name: &str) -> Option<String> {
        match node.value {
            Yaml::Text | Yaml::Integer(_) | Yaml::Float(_) | Yaml::Bool(_) => Some(node.text.clone()),
            _ => {
                self.expected(node, name, "a text");
                None
            }
        }
    }

    /// A list of texts; a single text counts as a list of one.
    pub(super) fn texts(&mut self, fields: &Fields<'_>, name: &str) -> Vec<String> {
        let Some(node) = fields.get(name) else { return Vec::new() };
        self.placed_texts(node, name).into_iter().map(|(text, _)| text).collect()
    }

    /// As [`Reader::texts`], with the place of each.
    pub(super) fn placed_texts(&mut self, node: &Node, name: &str) -> Vec<(String, Place)> {
        match &node.value {
            Yaml::Null => Vec::new(),
            Yaml::List(items) => {
                items.iter().filter_map(|item| Some((self.text(item, name)?, item.at))).collect()
            }
            Yaml::Map(_) => {
                self.expected(node, name, "a list of texts");
                Vec::new()
            }
            _ => vec![(node.text.clone(), node.at)],
        }
    }

    /// A whole number within bounds.
    pub(super) fn integer(&mut self, fields: &Fields<'_>, name: &str, least: i64, most: i64) -> Option<i64> {
        let node = fields.get(name)?;
        match node.value {
            Yaml::Integer(value) if (least..=most).contains(&value) => Some(value),
            Yaml::Integer(_) => {
                let message = format!("`{name}` is {}; expected {least} to {most}", node.text);
                self.problem(node.at, "out_of_range", message);
                None
            }
            _ => {
                self.expected(node, name, "a whole number");
                None
            }
        }
    }

    /// A number.
    pub(super) fn number(&mut self, fields: &Fields<'_>, name: &str) -> Option<f64> {
        let node = fields.get(name)?;
        match node.value {
            // A whole number of this size is exact; larger ones are refused as a value of any field.
            #[allow(clippy::cast_precision_loss)]
            Yaml::Integer(value) => Some(value as f64),
            Yaml::Float(value) => Some(value),
            _ => {
                self.expected(node, name, "a number");
                None
            }
        }
    }

    /// A number within bounds, of which the least may be excluded.
    pub(super) fn number_in(
        &mut self,
        fields: &Fields<'_>,
        name: &str,
        bounds: std::ops::RangeInclusive<f64>,
    ) -> Option<f64> {
        let value = self.number(fields, name)?;
        if bounds.contains(&value) {
            return Some(value);
        }
        let at = fields.get(name).map_or(fields.at, |node| node.at);
        let message = format!("`{name}` is {value}; expected {} to {}", bounds.start(), bounds.end());
        self.problem(at, "out_of_range", message);
        None
    }

    /// A truth value.
    pub(super) fn flag(&mut self, fields: &Fields<'_>, name: &str) -> Option<bool> {
        let node = fields.get(name)?;
        if let Yaml::Bool(value) = node.value {
            return Some(value);
        }
        self.expected(node, name, "true or false");
        None
    }

    /// A size that is not negative.
    pub(super) fn size(&mut self, fields: &Fields<'_>, name: &str) -> Option<u64> {
        self.integer(fields, name, 0, i64::from(u32::MAX)).and_then(|value| u64::try_from(value).ok())
    }

    /// A number that fits 32 bits, from 1.
    pub(super) fn count(&mut self, fields: &Fields<'_>, name: &str, least: i64) -> Option<u32> {
        self.integer(fields, name, least, i64::from(u32::MAX)).and_then(|value| u32::try_from(value).ok())
    }
}
