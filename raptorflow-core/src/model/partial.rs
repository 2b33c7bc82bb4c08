//! `PartialJson`: reads JSON as it arrives and shows at any point what is known of it.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use crate::error::{Error, ErrorKind, Result};

/// How deep values may lie inside each other; `serde_json` takes as many.
const MAX_DEPTH: usize = 127;

/// Reads JSON piece by piece; what is known so far is a value at any point.
///
/// Strings show as far as they have arrived.
/// Numbers, `true`, `false` and `null` show when they are whole: half a number is another number.
/// A key shows with the beginning of its value.
/// What shows grows and is not taken back, unless a key is given twice.
/// All pieces together take time in proportion to their length; each [`PartialJson::value`] is a copy.
///
/// ```
/// use raptorflow_core::model::PartialJson;
/// use serde_json::json;
/// let mut json = PartialJson::new();
/// json.push(r#"{"name": "Bas"#);
/// assert_eq!((json.value(), json.open().as_deref()), (Some(json!({"name": "Bas"})), Some("/name")));
/// json.push(r#"ic", "price": 49"#);
/// assert_eq!((json.value(), json.open().as_deref()), (Some(json!({"name": "Basic"})), Some("")));
/// json.push("9}");
/// assert_eq!(json.finish()?, json!({"name": "Basic", "price": 499}));
/// # Ok::<(), raptorflow_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct PartialJson {
    /// Containers that are not closed, the outermost first.
    stack: Vec<Frame>,
    state: State,
    /// The string, number or word that is not whole.
    token: String,
    whole: Option<Value>,
    /// Whether an object is searched for in a text.
    in_text: bool,
    changed: bool,
    read: usize,
}

#[derive(Clone, Debug)]
enum Frame {
    Array(Vec<Value>),
    Object { fields: Map<String, Value>, key: Option<String> },
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    /// Text before the JSON.
    Text,
    Value,
    /// The first item of an array, or its end.
    FirstItem,
    /// The first key of an object, or its end.
    FirstKey,
    Key,
    Colon,
    /// A comma, or the end of a container.
    Next,
    String {
        is_key: bool,
        escape: Escape,
    },
    Number,
    Word,
    Whole,
    Broken,
}

/// Where in an escape sequence a string is.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Escape {
    None,
    Begun,
    Hex {
        digits: u8,
        code: u32,
        high: Option<u32>,
    },
    /// The second half of a character must follow its first.
    Low {
        high: u32,
        begun: bool,
    },
}

/// The text is not JSON.
struct NotJson;

impl Default for PartialJson {
    fn default() -> Self {
        Self::new()
    }
}

impl PartialJson {
    /// Expects nothing but JSON.
    #[must_use]
    pub fn new() -> Self {
        Self {
            stack: Vec::new(),
            state: State::Value,
            token: String::new(),
            whole: None,
            in_text: false,
            changed: false,
            read: 0,
        }
    }

    /// Expects an object somewhere in a text, such as in a code fence, and takes the first.
    ///
    /// What begins like an object and is none is withdrawn.
    #[must_use]
    pub fn in_text() -> Self {
        Self { state: State::Text, in_text: true, ..Self::new() }
    }

    /// Reads on; after a fault the rest is not read.
    pub fn push(&mut self, piece: &str) {
        let mut rest = piece;
        while let Some(c) = rest.chars().next() {
            if let State::String { is_key, escape: Escape::None } = self.state {
                let run = rest.find(|c: char| c == '"' || c == '\\' || c < ' ').unwrap_or(rest.len());
                if let Some((text, left)) = rest.split_at_checked(run)
                    && run > 0
                {
                    self.token.push_str(text);
                    self.read += run;
                    self.changed |= !is_key;
                    rest = left;
                    continue;
                }
            }
            if self.state == State::Broken || (self.state == State::Whole && self.in_text) {
                return;
            }
            if self.step(c).is_err() {
                self.fail(c);
            }
            self.read += c.len_utf8();
            rest = rest.get(c.len_utf8()..).unwrap_or_default();
        }
    }

    /// What is known so far, as a copy; `None` before anything shows and after a fault.
    #[must_use]
    pub fn value(&self) -> Option<Value> {
        if let Some(whole) = &self.whole {
            return Some(whole.clone());
        }
        let mut inner = match self.state {
            State::Broken => return None,
            State::String { is_key: false, .. } => Some(Value::String(self.token.clone())),
            _ => None,
        };
        for frame in self.stack.iter().rev() {
            inner = Some(match frame {
                Frame::Array(items) => Value::Array(items.iter().cloned().chain(inner).collect()),
                Frame::Object { fields, key } => {
                    let mut fields = fields.clone();
                    if let (Some(key), Some(inner)) = (key, inner) {
                        fields.insert(key.clone(), inner);
                    }
                    Value::Object(fields)
                }
            });
        }
        inner
    }

    /// The JSON Pointer of the innermost value in [`PartialJson::value`] that is not whole; `None` when all is.
    ///
    /// What lies on the way to it may get more members, it itself more of its text; everything else is final.
    #[must_use]
    pub fn open(&self) -> Option<String> {
        if self.whole.is_some() {
            return None;
        }
        let mut pointer = String::new();
        let in_string = matches!(self.state, State::String { is_key: false, .. });
        for (index, frame) in self.stack.iter().enumerate() {
            if index + 1 == self.stack.len() && !in_string {
                break;
            }
            // Writing to a string does not fail.
            let _ = match frame {
                Frame::Array(items) => write!(pointer, "/{}", items.len()),
                Frame::Object { key: Some(key), .. } => {
                    write!(pointer, "/{}", key.replace('~', "~0").replace('/', "~1"))
                }
                Frame::Object { key: None, .. } => Ok(()),
            };
        }
        Some(pointer)
    }

    /// Whether what arrived cannot be the beginning of JSON.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.state == State::Broken
    }

    /// The whole value, once nothing more will arrive.
    ///
    /// # Errors
    /// `InvalidOutput` when it is not whole or not JSON, with how many bytes were `read` before that showed.
    pub fn finish(mut self) -> Result<Value> {
        if self.state == State::Number && self.stack.is_empty() && self.end_number().is_err() {
            self.state = State::Broken;
        }
        let message = if self.is_broken() { "the text is not JSON" } else { "the JSON is not whole" };
        self.whole.filter(|_| self.state == State::Whole).ok_or_else(|| {
            Error::new(ErrorKind::InvalidOutput, "model.partial", message).with("read", self.read)
        })
    }

    /// Whether what shows has changed since the last time this was asked.
    pub(crate) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    fn fail(&mut self, c: char) {
        self.stack.clear();
        self.token.clear();
        self.whole = None;
        self.changed = true;
        self.state = if self.in_text { State::Text } else { State::Broken };
        // What broke one beginning may be another.
        if self.in_text && c == '{' {
            self.begin_object();
        }
    }

    fn step(&mut self, c: char) -> Result<(), NotJson> {
        if let State::String { is_key, escape } = self.state {
            return self.step_string(c, is_key, escape);
        }
        if self.state == State::Number {
            if matches!(c, '0'..='9' | '+' | '-' | '.' | 'e' | 'E') {
                self.token.push(c);
                return Ok(());
            }
            self.end_number()?;
        }
        match (self.state, c) {
            (State::Text, '{') => self.begin_object(),
            (State::Text, _) => {}
            (State::Word, _) => return self.step_word(c),
            (_, ' ' | '\n' | '\r' | '\t') => {}
            (State::FirstItem | State::Next, ']') => {
                let Some(Frame::Array(items)) = self.stack.pop() else { return Err(NotJson) };
                self.complete(Value::Array(items));
            }
            (State::FirstKey | State::Next, '}') => {
                let Some(Frame::Object { fields, .. }) = self.stack.pop() else { return Err(NotJson) };
                self.complete(Value::Object(fields));
            }
            (State::Next, ',') => match self.stack.last() {
                Some(Frame::Array(_)) => self.state = State::Value,
                Some(Frame::Object { .. }) => self.state = State::Key,
                None => return Err(NotJson),
            },
            (State::Colon, ':') => self.state = State::Value,
            (State::FirstKey | State::Key, '"') => {
                self.state = State::String { is_key: true, escape: Escape::None };
            }
            (State::Value | State::FirstItem, _) => return self.begin_value(c),
            _ => return Err(NotJson),
        }
        Ok(())
    }

    fn begin_value(&mut self, c: char) -> Result<(), NotJson> {
        match c {
            '{' if self.stack.len() < MAX_DEPTH => self.begin_object(),
            '[' if self.stack.len() < MAX_DEPTH => {
                self.stack.push(Frame::Array(Vec::new()));
                self.state = State::FirstItem;
                self.changed = true;
            }
            '"' => {
                self.state = State::String { is_key: false, escape: Escape::None };
                self.changed = true;
            }
            '-' | '0'..='9' => {
                self.token.push(c);
                self.state = State::Number;
            }
            't' | 'f' | 'n' => {
                self.token.push(c);
                self.state = State::Word;
            }
            _ => return Err(NotJson),
        }
        Ok(())
    }

    fn begin_object(&mut self) {
        self.stack.push(Frame::Object { fields: Map::new(), key: None });
        self.state = State::FirstKey;
        self.changed = true;
    }

    fn step_word(&mut self, c: char) -> Result<(), NotJson> {
        self.token.push(c);
        let value = match self.token.as_str() {
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            "null" => Value::Null,
            begun => {
                let known = ["true", "false", "null"].iter().any(|word| word.starts_with(begun));
                return if known { Ok(()) } else { Err(NotJson) };
            }
        };
        self.token.clear();
        self.complete(value);
        Ok(())
    }

    fn end_number(&mut self) -> Result<(), NotJson> {
        let number = serde_json::from_str(&self.token).map_err(|_| NotJson)?;
        self.token.clear();
        self.complete(number);
        Ok(())
    }

    fn step_string(&mut self, c: char, is_key: bool, escape: Escape) -> Result<(), NotJson> {
        let escape = match (escape, c) {
            (Escape::None, '"') => {
                self.end_string(is_key);
                return Ok(());
            }
            (Escape::None, '\\') => Escape::Begun,
            // Only control characters are left; see `push`.
            (Escape::None, _) => return Err(NotJson),
            (Escape::Begun, 'u') => Escape::Hex { digits: 0, code: 0, high: None },
            (Escape::Begun, _) => {
                self.token.push(escaped(c).ok_or(NotJson)?);
                Escape::None
            }
            (Escape::Low { high, begun: false }, '\\') => Escape::Low { high, begun: true },
            (Escape::Low { high, begun: true }, 'u') => Escape::Hex { digits: 0, code: 0, high: Some(high) },
            (Escape::Low { .. }, _) => return Err(NotJson),
            (Escape::Hex { digits, code, high }, _) => {
                let code = code * 16 + c.to_digit(16).ok_or(NotJson)?;
                if digits < 3 {
                    Escape::Hex { digits: digits + 1, code, high }
                } else {
                    self.unit(code, high)?
                }
            }
        };
        self.changed |= !is_key && escape == Escape::None;
        self.state = State::String { is_key, escape };
        Ok(())
    }

    /// Takes a UTF-16 unit, alone or as the second half of a character.
    fn unit(&mut self, code: u32, high: Option<u32>) -> Result<Escape, NotJson> {
        let code = match (high, code) {
            (None, 0xD800..=0xDBFF) => return Ok(Escape::Low { high: code, begun: false }),
            (None, _) => code,
            (Some(high), 0xDC00..=0xDFFF) => 0x1_0000 + ((high - 0xD800) << 10) + (code - 0xDC00),
            (Some(_), _) => return Err(NotJson),
        };
        self.token.push(char::from_u32(code).ok_or(NotJson)?);
        Ok(Escape::None)
    }

    fn end_string(&mut self, is_key: bool) {
        let text = std::mem::take(&mut self.token);
        match self.stack.last_mut() {
            Some(Frame::Object { key, .. }) if is_key => {
                *key = Some(text);
                self.state = State::Colon;
            }
            _ => self.complete(Value::String(text)),
        }
    }

    fn complete(&mut self, value: Value) {
        self.changed = true;
        self.state = State::Next;
        match self.stack.last_mut() {
            Some(Frame::Array(items)) => items.push(value),
            Some(Frame::Object { fields, key }) => {
                if let Some(key) = key.take() {
                    fields.insert(key, value);
                }
            }
            None => {
                self.whole = Some(value);
                self.state = State::Whole;
            }
        }
    }
}

fn escaped(c: char) -> Option<char> {
    Some(match c {
        '"' | '\\' | '/' => c,
        'b' => '\u{8}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        _ => return None,
    })
}
