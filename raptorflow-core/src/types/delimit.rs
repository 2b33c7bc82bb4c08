//! `contained`: text from outside that can neither open nor close the tag that it is put in.

/// Escapes only a `<` that begins such a tag: code and quotes stay as they are, so that they can be quoted.
pub(crate) fn contained(text: &str, tag: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('<') {
        escaped.push_str(before);
        let name = after.trim_start_matches(|c: char| c == '/' || c.is_whitespace() || c.is_control());
        let is_tag = name.get(..tag.len()).is_some_and(|name| name.eq_ignore_ascii_case(tag));
        escaped.push_str(if is_tag { "&lt;" } else { "<" });
        rest = after;
    }
    escaped.push_str(rest);
    escaped
}
