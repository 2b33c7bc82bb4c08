//! Reads the entries of a price file and reports every problem with its line.

use std::{collections::HashSet, ops::Range};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use crate::{
    economics::Price,
    error::Result,
    types::{Currency, Diagnostic, Diagnostics, Timestamp, nearest},
};

const FIELDS: [&str; 6] = ["model", "currency", "input", "output", "cached", "valid_from"];

/// The models and prices of a file, in the order of the file.
pub(super) fn entries(file: &str, text: &str) -> Result<Vec<(String, Price)>> {
    let mut reader = Reader { file, text, problems: Vec::new() };
    let entries = reader.document();
    if reader.problems.is_empty() {
        return Ok(entries);
    }
    reader.problems.sort_by_key(|problem| (problem.line, problem.column));
    Err(Diagnostics(reader.problems).into_error("price.load", "not a usable price file"))
}

struct Reader<'a> {
    file: &'a str,
    text: &'a str,
    problems: Vec<Diagnostic>,
}

impl Reader<'_> {
    fn say(&mut self, span: &Range<usize>, code: &str, message: impl Into<String>) {
        let problem = Diagnostic::error(code, message).in_file(self.file).at_offset(self.text, span.start);
        self.problems.push(problem);
    }

    fn document(&mut self) -> Vec<(String, Price)> {
        let (document, faults) = DeTable::parse_recoverable(self.text);
        for fault in &faults {
            self.say(&fault.span().unwrap_or_default(), "invalid_toml", fault.message());
        }
        if !faults.is_empty() {
            // What recovery guessed would only be reported a second time.
            return Vec::new();
        }
        let mut entries = Vec::new();
        let mut known = HashSet::new();
        for (key, value) in document.get_ref() {
            if key.get_ref() != "price" {
                self.say(
                    &key.span(),
                    "unknown_key",
                    format!("expected `[[price]]`, got `{}`", key.get_ref()),
                );
                continue;
            }
            let Some(tables) = value.get_ref().as_array() else {
                self.say(&key.span(), "wrong_type", "expected a list of tables, written `[[price]]`");
                continue;
            };
            for table in tables {
                let Some((model, price)) = self.entry(table) else { continue };
                if known.insert((model.clone(), price.valid_from)) {
                    entries.push((model, price));
                } else {
                    let message = format!("`{model}` has a price from {} already", price.valid_from);
                    self.say(&table.span(), "duplicate_price", message);
                }
            }
        }
        entries
    }

    fn entry(&mut self, table: &Spanned<DeValue<'_>>) -> Option<(String, Price)> {
        let Some(fields) = table.get_ref().as_table() else {
            self.say(&table.span(), "wrong_type", "expected a table");
            return None;
        };
        for key in fields.keys().filter(|key| !FIELDS.contains(&key.get_ref().as_ref())) {
            let hint = nearest(key.get_ref(), FIELDS).first().map(|name| format!("; did you mean `{name}`?"));
            let message = format!("no field `{}`{}", key.get_ref(), hint.unwrap_or_default());
            self.say(&key.span(), "unknown_key", message);
        }
        let at = &table.span();
        let model = self.required(fields, at, "model", model);
        let currency = self.required(fields, at, "currency", currency);
        let input = self.required(fields, at, "input", amount);
        let output = self.required(fields, at, "output", amount);
        let cached = match fields.get("cached") {
            Some(value) => self.read(value, "cached", amount),
            None => input,
        };
        let valid_from = self.required(fields, at, "valid_from", date);
        let price = Price {
            currency: currency?,
            input: input?,
            output: output?,
            cached: cached?,
            valid_from: valid_from?,
        };
        Some((model?, price))
    }

    fn required<T>(
        &mut self,
        fields: &DeTable<'_>,
        at: &Range<usize>,
        name: &str,
        read: fn(&DeValue<'_>) -> Result<T, &'static str>,
    ) -> Option<T> {
        match fields.get(name) {
            Some(value) => self.read(value, name, read),
            None => {
                self.say(at, "missing_field", format!("`{name}` is missing"));
                None
            }
        }
    }

    fn read<T>(
        &mut self,
        value: &Spanned<DeValue<'_>>,
        name: &str,
        read: fn(&DeValue<'_>) -> Result<T, &'static str>,
    ) -> Option<T> {
        match read(value.get_ref()) {
            Ok(read) => Some(read),
            Err(expected) => {
                self.say(&value.span(), "invalid_value", format!("`{name}`: expected {expected}"));
                None
            }
        }
    }
}

fn model(value: &DeValue<'_>) -> Result<String, &'static str> {
    match value.as_str() {
        Some(name) if !name.is_empty() && name.trim() == name => Ok(name.to_owned()),
        _ => Err("the name of a model"),
    }
}

fn currency(value: &DeValue<'_>) -> Result<Currency, &'static str> {
    value.as_str().and_then(|text| text.parse().ok()).ok_or("three capital letters, such as \"USD\"")
}

fn amount(value: &DeValue<'_>) -> Result<u64, &'static str> {
    value
        .as_integer()
        .and_then(|number| u64::from_str_radix(number.as_str(), number.radix()).ok())
        .ok_or("a whole number of millionths of the currency unit per million tokens, from 0")
}

fn date(value: &DeValue<'_>) -> Result<Timestamp, &'static str> {
    let text = value.as_datetime().and_then(|time| match (time.date, time.time, time.offset) {
        (Some(date), None, None) => Some(format!("{date}T00:00:00Z")),
        (Some(_), Some(_), Some(_)) => Some(time.to_string()),
        _ => None,
    });
    text.and_then(|text| text.parse().ok()).ok_or("a date such as 2026-01-31, or a time with an offset")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    const GOOD: &str = r#"
[[price]]
model = "shop:small"
currency = "INR"
input = 20
output = 0x1E
cached = 2
valid_from = 2026-01-01

[[price]]
model = "shop:small"
currency = "INR"
input = 10
output = 30
valid_from = 2026-07-01T05:30:00+05:30
"#;

    fn problems(text: &str) -> Vec<String> {
        let err = entries("p.toml", text).unwrap_err();
        assert_eq!(err.kind(), ErrorKind::InvalidInput);
        err.cause::<Diagnostics>().unwrap().0.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn dates_are_midnight_in_utc_and_the_cache_costs_as_the_input_unless_said() {
        let read: Vec<_> = entries("p.toml", GOOD)
            .unwrap()
            .into_iter()
            .map(|(_, price)| (price.input, price.output, price.cached, price.valid_from.to_string()))
            .collect();
        assert_eq!(
            read,
            [(20, 30, 2, "2026-01-01T00:00:00Z".to_owned()), (10, 30, 10, "2026-07-01T00:00:00Z".to_owned())]
        );
        assert!(entries("p.toml", "").unwrap().is_empty());
    }

    #[test]
    fn every_problem_is_reported_with_its_line() {
        let text = GOOD
            .replace("input = 20", "input = 0.25")
            .replace("cached = 2", "cashed = 2")
            .replace("output = 30", "output = -1")
            .replace("2026-07-01T05:30:00+05:30", "\"soon\"")
            .replacen("currency = \"INR\"", "currency = \"rupees\"", 1);
        let found = problems(&text);
        let starts = [
            "p.toml:4:12: error[invalid_value]: `currency`: expected three capital letters",
            "p.toml:5:9: error[invalid_value]: `input`: expected a whole number",
            "p.toml:7:1: error[unknown_key]: no field `cashed`; did you mean `cached`?",
            "p.toml:14:10: error[invalid_value]: `output`: expected a whole number",
            "p.toml:15:14: error[invalid_value]: `valid_from`: expected a date",
        ];
        assert_eq!(found.len(), starts.len(), "{found:#?}");
        for (problem, start) in found.iter().zip(starts) {
            assert!(problem.starts_with(start), "{problem}");
        }
    }

    #[test]
    fn what_is_missing_doubled_or_no_list_is_reported() {
        let missing = problems("[[price]]\nmodel = \"m\"\n");
        assert_eq!(missing.len(), 4, "{missing:#?}");
        assert!(missing[0].starts_with("p.toml:1:1: error[missing_field]: `currency` is missing"));
        let doubled = problems(&GOOD.replace("2026-07-01T05:30:00+05:30", "2026-01-01"));
        assert!(doubled[0].starts_with("p.toml:10:1: error[duplicate_price]: `shop:small`"), "{doubled:?}");
        assert!(problems("price = 3")[0].contains("written `[[price]]`"));
        assert!(problems("[prices]\n")[0].contains("expected `[[price]]`, got `prices`"));
    }

    #[test]
    fn broken_toml_is_reported_with_its_line() {
        let found = problems("[[price]]\nmodel = \n\ninput = = 3\n");
        assert!(found[0].starts_with("p.toml:2:") && found[0].contains("invalid_toml"), "{found:?}");
        assert!(found.iter().any(|problem| problem.starts_with("p.toml:4:")), "{found:?}");
    }
}
