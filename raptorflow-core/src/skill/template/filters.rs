//! Filters and methods of Jinja that the engine lacks or reads more narrowly.

use minijinja::{
    AutoEscape, Environment, Error, ErrorKind, State, Value, filters,
    value::{Kwargs, Rest, ValueKind, ValueOrKwargs},
};
use minijinja_contrib::{filters as more, globals, pycompat};

use crate::skill::template::escape::html;

/// The widest field and deepest indentation, so that one filter cannot make a text without bounds.
const MAX_WIDTH: usize = 10_000;
/// How wide a printed list is before it becomes one item a line.
const PRINT_WIDTH: usize = 80;

type Answer = Result<Value, Error>;
type Given = Rest<ValueOrKwargs>;

/// Adds them all.
pub(super) fn add(env: &mut Environment<'_>) {
    env.set_unknown_method_callback(method);
    env.add_filter("center", center);
    env.add_filter("dictsort", dictsort);
    env.add_filter("filesizeformat", |value: f64, binary: Option<bool>| {
        // The unit of a few is written out, as Jinja does.
        more::filesizeformat(value, binary)
    });
    env.add_filter("forceescape", |value: &Value| Value::from_safe_string(html(&value.to_string())));
    env.add_filter("escape", escape);
    env.add_filter("e", escape);
    env.add_filter("indent", indent);
    env.add_filter("int", int);
    env.add_filter("items", |value: &Value| match value.kind() {
        ValueKind::Undefined => Ok(Value::from(Vec::<Value>::new())),
        _ => filters::items(value),
    });
    env.add_filter("iterable__", |value: Value| match value.kind() {
        ValueKind::None => Err(fault("none is not a list")),
        _ => Ok(value),
    });
    env.add_filter("pprint", pprint);
    env.add_filter("sort", sort);
    env.add_filter("striptags", more::striptags);
    env.add_filter("tojson", tojson);
    env.add_filter("truncate", truncate);
    env.add_filter("urlencode", urlencode);
    env.add_filter("wordcount", |value: &str| value.split_whitespace().count());
    env.add_filter("wordwrap", wordwrap);
    env.add_filter("xmlattr", xmlattr);
    // It would print every variable, also where only some may be printed.
    env.remove_global("debug");
    env.add_function("cycler", globals::cycler);
    env.add_function("joiner", globals::joiner);
}

/// What a filter was given behind its value, by place or by name.
struct Arguments {
    placed: Vec<Value>,
    named: Option<Kwargs>,
    names: &'static [&'static str],
}

impl Arguments {
    fn new(given: Given, names: &'static [&'static str]) -> Result<Self, Error> {
        let mut placed: Vec<Value> = given.0.into_iter().map(Value::from).collect();
        let named = placed.last().cloned().and_then(|last| Kwargs::try_from(last).ok());
        if named.is_some() {
            placed.pop();
        }
        if placed.len() > names.len() {
            return Err(Error::from(ErrorKind::TooManyArguments));
        }
        Ok(Self { placed, named, names })
    }

    fn get(&self, name: &str) -> Result<Option<Value>, Error> {
        let index = self.names.iter().position(|known| *known == name);
        match index.and_then(|index| self.placed.get(index)) {
            Some(value) => Ok(Some(value.clone())),
            None => match &self.named {
                Some(named) => named.get::<Option<Value>>(name),
                None => Ok(None),
            },
        }
    }

    fn flag(&self, name: &str) -> Result<bool, Error> {
        Ok(self.get(name)?.is_some_and(|value| value.is_true()))
    }

    fn width(&self, name: &str, default: usize) -> Result<usize, Error> {
        let width = match self.get(name)? {
            Some(value) => usize::try_from(value)?,
            None => default,
        };
        if width > MAX_WIDTH { Err(fault("a width is larger than 10000")) } else { Ok(width) }
    }

    fn text(&self, name: &str, default: &str) -> Result<String, Error> {
        Ok(self.get(name)?.map_or_else(|| default.to_owned(), |value| value.to_string()))
    }

    /// All of them by name, for a filter of the engine.
    fn by_name(&self) -> Result<Kwargs, Error> {
        let mut all = Vec::new();
        for name in self.names {
            if let Some(value) = self.get(name)? {
                all.push((*name, value));
            }
        }
        self.done()?;
        Ok(all.into_iter().collect())
    }

    fn done(&self) -> Result<(), Error> {
        self.named.as_ref().map_or(Ok(()), Kwargs::assert_all_used)
    }
}

fn fault(message: &'static str) -> Error {
    Error::new(ErrorKind::InvalidOperation, message)
}

fn is_html(state: &State<'_, '_>) -> bool {
    matches!(state.auto_escape(), AutoEscape::Html)
}

fn escape(state: &mut State<'_, '_>, value: &Value) -> Answer {
    if value.is_safe() {
        return Ok(value.clone());
    }
    match state.auto_escape() {
        AutoEscape::Custom(_) => state.format(value.clone()).map(Value::from_safe_string),
        _ => Ok(Value::from_safe_string(html(&value.to_string()))),
    }
}

fn center(value: &str, width: Option<usize>) -> Result<String, Error> {
    let width = width.unwrap_or(80);
    if width > MAX_WIDTH {
        return Err(fault("a width is larger than 10000"));
    }
    let room = width.saturating_sub(value.chars().count());
    // Python puts the odd blank to the left when the width is odd.
    let left = room / 2 + (room & width & 1);
    Ok(format!("{}{value}{}", " ".repeat(left), " ".repeat(room - left)))
}

fn dictsort(value: &Value, given: Given) -> Answer {
    filters::dictsort(value, Arguments::new(given, &["case_sensitive", "by", "reverse"])?.by_name()?)
}

fn sort(state: &State<'_, '_>, value: Value, given: Given) -> Answer {
    filters::sort(
        state,
        value,
        Arguments::new(given, &["reverse", "case_sensitive", "attribute"])?.by_name()?,
    )
}

fn truncate(state: &mut State<'_, '_>, value: &Value, given: Given) -> Answer {
    more::truncate(state, value, Arguments::new(given, &["length", "killwords", "end", "leeway"])?.by_name()?)
}

fn indent(value: &str, given: Given) -> Result<String, Error> {
    let arguments = Arguments::new(given, &["width", "first", "blank"])?;
    let prefix = match arguments.get("width")? {
        Some(width) if width.kind() == ValueKind::String => width.to_string(),
        _ => " ".repeat(arguments.width("width", 4)?),
    };
    let (first, blank) = (arguments.flag("first")?, arguments.flag("blank")?);
    arguments.done()?;
    let mut text = String::with_capacity(value.len() + prefix.len());
    for (index, line) in value.split('\n').enumerate() {
        if index > 0 {
            text.push('\n');
        }
        if if index == 0 { first } else { blank || !line.is_empty() } {
            text.push_str(&prefix);
        }
        text.push_str(line);
    }
    Ok(text)
}

/// A whole number; what is none becomes the default, which is 0.
fn int(state: &State<'_, '_>, value: &Value, given: Given) -> Answer {
    let arguments = Arguments::new(given, &["default", "base"])?;
    let default = arguments.get("default")?.unwrap_or_else(|| Value::from(0));
    let base = match arguments.get("base")? {
        Some(base) => u32::try_from(base)?,
        None => 10,
    };
    arguments.done()?;
    let named: Kwargs = [("base", Value::from(base))].into_iter().collect();
    match filters::int(state, value, Some(default.clone()), None, named) {
        Ok(number) => Ok(number),
        Err(err) if err.kind() == ErrorKind::UndefinedError => Err(err),
        Err(_) => Ok(default),
    }
}

/// JSON that is printed like any text: what is in it may come from outside.
fn tojson(state: &State<'_, '_>, value: &Value, given: Given) -> Answer {
    let arguments = Arguments::new(given, &["indent"])?;
    let json = filters::tojson(value, None, arguments.by_name()?)?;
    match state.auto_escape() {
        AutoEscape::Custom(_) => Ok(Value::from(json.to_string())),
        _ => Ok(json),
    }
}

fn urlencode(value: &Value) -> Answer {
    let is_pairs = value.kind() == ValueKind::Seq;
    if !is_pairs {
        return filters::urlencode(value).map(Value::from);
    }
    let mut parts = Vec::new();
    for pair in value.try_iter()? {
        let (key, value) = (pair.get_item_by_index(0)?, pair.get_item_by_index(1)?);
        // In a query a slash is no separator.
        let encode = |part: Value| {
            filters::urlencode(&Value::from(part.to_string())).map(|text| text.replace('/', "%2F"))
        };
        parts.push(format!("{}={}", encode(key)?, encode(value)?));
    }
    Ok(Value::from(parts.join("&")))
}

fn wordwrap(value: &str, given: Given) -> Result<String, Error> {
    let arguments = Arguments::new(given, &["width", "break_long_words", "wrapstring", "break_on_hyphens"])?;
    let width = arguments.width("width", 79)?.max(1);
    let breaks = arguments.get("break_long_words")?.is_none_or(|value| value.is_true());
    let separator = arguments.text("wrapstring", "\n")?;
    let _ = arguments.get("break_on_hyphens")?;
    arguments.done()?;
    let lines = value.lines().map(|line| wrapped(line, width, breaks).join(&separator));
    Ok(lines.collect::<Vec<_>>().join(&separator))
}

fn wrapped(line: &str, width: usize, breaks: bool) -> Vec<String> {
    let (mut lines, mut last) = (Vec::new(), String::new());
    for word in line.split_whitespace() {
        let mut word: Vec<char> = word.chars().collect();
        let taken = last.chars().count();
        if taken > 0 && taken + 1 + word.len() > width {
            lines.push(std::mem::take(&mut last));
        }
        while breaks && word.len() > width {
            lines.push(word.drain(..width).collect());
        }
        if !last.is_empty() {
            last.push(' ');
        }
        last.extend(word);
    }
    if !last.is_empty() || lines.is_empty() {
        lines.push(last);
    }
    lines
}

fn xmlattr(state: &State<'_, '_>, value: &Value, autospace: Option<bool>) -> Answer {
    let mut text = String::new();
    for key in value.try_iter()? {
        let (name, value) = (key.to_string(), value.get_item(&key)?);
        if matches!(value.kind(), ValueKind::None | ValueKind::Undefined) {
            continue;
        }
        if name.contains(|c: char| c.is_whitespace() || matches!(c, '/' | '>' | '=')) {
            return Err(fault("a name of an attribute has a blank, a slash, an equals sign or a bracket"));
        }
        if !text.is_empty() || autospace.unwrap_or(true) {
            text.push(' ');
        }
        let value = if value.is_safe() { value.to_string() } else { html(&value.to_string()) };
        text.push_str(&format!("{}=\"{value}\"", html(&name)));
    }
    Ok(if is_html(state) { Value::from_safe_string(text) } else { Value::from(text) })
}

/// A value as Python prints it: on one line where it fits, or one item a line.
fn pprint(value: &Value) -> Result<String, Error> {
    let line = match value.kind() {
        ValueKind::String => Value::from(vec![value.clone()]).to_string(),
        _ => value.to_string(),
    };
    if value.kind() == ValueKind::String {
        return Ok(line.trim_start_matches('[').trim_end_matches(']').to_owned());
    }
    if line.chars().count() <= PRINT_WIDTH || value.kind() != ValueKind::Seq {
        return Ok(line);
    }
    let items: Vec<String> = value.try_iter()?.map(|item| pprint(&item)).collect::<Result<_, _>>()?;
    Ok(format!("[{}]", items.join(",\n ")))
}

/// Methods of Python's texts, lists and dictionaries.
fn method(state: &mut State<'_, '_>, value: &Value, name: &str, given: &[Value]) -> Answer {
    match (name, value.as_str(), given) {
        ("format_map", Some(format), [fields]) => {
            let html_safe = value.is_safe() && is_html(state);
            let text = filled(format, fields, html_safe)?;
            Ok(if html_safe { Value::from_safe_string(text) } else { Value::from(text) })
        }
        _ => pycompat::unknown_method_callback(state, value, name, given),
    }
}

/// Replaces `{name}` and `{name.field}`; what begins with two underscores is refused.
fn filled(format: &str, fields: &Value, escaped: bool) -> Result<String, Error> {
    let (mut text, mut rest) = (String::with_capacity(format.len()), format);
    while let Some(at) = rest.find(['{', '}']) {
        let (before, after) = rest.split_at(at);
        text.push_str(before);
        if let Some(after) = after.strip_prefix("{{").or_else(|| after.strip_prefix("}}")) {
            text.push_str(after.get(..0).unwrap_or_default());
            text.push(if rest.get(at..=at) == Some("{") { '{' } else { '}' });
            rest = after;
            continue;
        }
        let (path, after) = after
            .strip_prefix('{')
            .and_then(|inner| inner.split_once('}'))
            .ok_or_else(|| fault("a brace of the format is not closed"))?;
        let mut value = fields.clone();
        for part in path.split('.') {
            if part.starts_with("__") || part.contains(['[', ':', '!']) {
                return Err(fault("a field of the format is not a name"));
            }
            value = value.get_attr(part)?;
            if value.is_undefined() {
                return Err(fault("a field of the format has no value"));
            }
        }
        let value_text = value.to_string();
        text.push_str(&if escaped && !value.is_safe() { html(&value_text) } else { value_text });
        rest = after;
    }
    text.push_str(rest);
    Ok(text)
}
