//! `Place`: where in a file of a pack something is named, so that a problem can say its line.

use std::sync::Arc;

use crate::types::Diagnostic;

/// A file of a pack, from an offset on.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    file: &'a Arc<str>,
    text: &'a str,
    from: usize,
}

impl<'a> Place<'a> {
    /// A file from its beginning.
    pub(super) fn new(file: &'a Arc<str>, text: &'a str) -> Self {
        Self { file, text, from: 0 }
    }

    /// The file from the line of a table's header on, if it has one.
    pub(super) fn below(self, header: &str) -> Self {
        let is_header = |line: &str| (line.trim_end() == header).then_some(0);
        Self { from: self.offset(0, is_header).unwrap_or(self.from), ..self }
    }

    /// The file.
    pub(super) fn file(self) -> &'a Arc<str> {
        self.file
    }

    /// A problem at the value of the first line `key = "value"`, or at the beginning where there is none.
    pub(super) fn problem(self, key: &str, value: &str, code: &str, message: String) -> Diagnostic {
        self.problem_of(0, key, value, code, message)
    }

    /// A problem at a later such line, counted from 0.
    pub(super) fn problem_of(
        self,
        nth: usize,
        key: &str,
        value: &str,
        code: &str,
        message: String,
    ) -> Diagnostic {
        let offset = self.offset(nth, |line| assigned(line, key, value)).unwrap_or(self.from);
        Diagnostic::error(code, message).in_file(Arc::clone(self.file)).at_offset(self.text, offset)
    }

    /// Where the `nth` line is in which something is found, and where in it.
    fn offset(self, nth: usize, find: impl Fn(&str) -> Option<usize>) -> Option<usize> {
        let lines = self.text.get(self.from..)?.split_inclusive('\n').scan(self.from, |next, line| {
            let start = *next;
            *next += line.len();
            Some((start, line))
        });
        lines.filter_map(|(start, line)| Some(start + find(line)?)).nth(nth)
    }
}

/// Where the value is in a line `key = "value"`, or in any line `key = …` when the value is empty.
fn assigned(line: &str, key: &str, value: &str) -> Option<usize> {
    let rest = line.trim_start().strip_prefix(key)?.trim_start().strip_prefix('=')?.trim_start();
    let quote = ['"', '\''];
    let text = || rest.strip_prefix(quote)?.strip_prefix(value)?.strip_prefix(quote);
    (value.is_empty() || text().is_some()).then_some(line.len() - rest.len())
}
