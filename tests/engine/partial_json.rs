//! JSON that is read as it arrives: what shows of each beginning, and that the end is what `serde_json` reads.

use proptest::{collection::vec, prelude::*};
use raptorflow_core::{error::ErrorKind, model::PartialJson};
use serde_json::{Map, Value, json};

/// What shows of a beginning, and which value is open.
fn shown(text: &str) -> (Option<Value>, Option<String>) {
    let mut json = PartialJson::new();
    json.push(text);
    (json.value(), json.open())
}

#[test]
fn a_beginning_shows_what_is_known_and_which_value_is_open() {
    let cases = [
        ("", None, ""),
        (" {", Some(json!({})), ""),
        ("{\"a", Some(json!({})), ""),
        ("{\"a\": ", Some(json!({})), ""),
        ("{\"a\": \"", Some(json!({"a": ""})), "/a"),
        ("{\"a\": \"x\\", Some(json!({"a": "x"})), "/a"),
        ("{\"a\": \"x\\u00e", Some(json!({"a": "x"})), "/a"),
        ("{\"a\": \"\\ud83d\\ude0", Some(json!({"a": ""})), "/a"),
        ("{\"a\": \"\\ud83d\\ude00", Some(json!({"a": "😀"})), "/a"),
        ("{\"a\": \"x\"", Some(json!({"a": "x"})), ""),
        ("{\"a\": -1", Some(json!({})), ""),
        ("{\"a\": -1,", Some(json!({"a": -1})), ""),
        ("{\"a\": tru", Some(json!({})), ""),
        ("{\"a\": null", Some(json!({"a": null})), ""),
        ("{\"a/~\": [1, [\"b", Some(json!({"a/~": [1, ["b"]]})), "/a~1~0/1/0"),
        ("{\"a\": [1, {\"b\": 2", Some(json!({"a": [1, {}]})), "/a/1"),
        ("\"x", Some(json!("x")), ""),
        ("12", None, ""),
    ];
    for (text, value, open) in cases {
        assert_eq!(shown(text), (value, Some(open.to_owned())), "{text}");
    }
    assert_eq!(shown("{\"a\": [true]} "), (Some(json!({"a": [true]})), None));
}

#[test]
fn what_is_not_json_shows_nothing_and_says_how_far_it_was_read() {
    for text in [
        "{]",
        "[1,]",
        "{\"a\" 1}",
        "{,}",
        "[01]",
        "[1.]",
        "[+1]",
        "[trux]",
        "[\"\n\"]",
        "[\"\\x\"]",
        "1 2",
        "}",
    ] {
        assert!(serde_json::from_str::<Value>(text).is_err(), "{text}");
        let mut json = PartialJson::new();
        json.push(text);
        assert_eq!((json.is_broken(), json.value()), (true, None), "{text}");
        assert_eq!(json.finish().unwrap_err().kind(), ErrorKind::InvalidOutput, "{text}");
    }
    for lone in ["\"\\ud83d\"", "\"\\ud83dx\"", "\"\\ude00\""] {
        assert!(serde_json::from_str::<Value>(lone).is_err() && shown(lone).0.is_none(), "{lone}");
    }
    let mut open = PartialJson::new();
    open.push("[1");
    let err = open.finish().unwrap_err();
    assert_eq!((err.message(), err.get("read")), ("the JSON is not whole", Some("2")));
}

#[test]
fn as_deep_as_serde_json_reads_and_no_deeper() {
    for (depth, fits) in [(127, true), (128, false)] {
        let text = "[".repeat(depth) + &"]".repeat(depth);
        assert_eq!(serde_json::from_str::<Value>(&text).is_ok(), fits);
        let mut json = PartialJson::new();
        json.push(&text);
        assert_eq!(json.finish().is_ok(), fits, "{depth}");
    }
}

#[test]
fn an_object_is_found_in_a_text_and_what_only_looks_like_one_is_withdrawn() {
    for text in
        ["Here:\n```json\n{\"a\": 1}\n```\nDone {x}.", "The set {x} {{\"a\": 1}", "{\"a\": 1} {\"b\": 2}"]
    {
        let mut json = PartialJson::in_text();
        for c in text.chars() {
            json.push(c.encode_utf8(&mut [0; 4]));
        }
        assert_eq!((json.value(), json.open()), (Some(json!({"a": 1})), None), "{text}");
    }
    let mut json = PartialJson::in_text();
    json.push("see {\"a\": \"b\"");
    assert_eq!(json.value(), Some(json!({"a": "b"})));
    json.push(" and so on");
    assert_eq!((json.value(), json.is_broken()), (None, false));
}

fn any_json() -> impl Strategy<Value = Value> {
    let text = "[a-c\"\\\\/\n\t\u{1}é😀]{0,6}";
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (-1e300..1e300).prop_map(Value::from),
        (-100i32..100).prop_map(|n| Value::from(f64::from(n) / 8.0)),
        text.prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, move |inner| {
        let fields = vec((text, inner.clone()), 0..4);
        prop_oneof![
            vec(inner, 0..4).prop_map(Value::Array),
            fields.prop_map(|fields| Value::Object(fields.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

/// Writes characters beyond ASCII as escapes, which `serde_json` does not.
fn escaped(text: &str) -> String {
    let unit = |unit: u16| format!("\\u{unit:04x}");
    let escape = |c: char| c.encode_utf16(&mut [0; 2]).iter().copied().map(unit).collect::<String>();
    text.chars().map(|c| if c.is_ascii() { c.to_string() } else { escape(c) }).collect()
}

/// Whether one value is the beginning of another, of which all is final but what lies on the way to the open one.
fn begins(part: &Value, whole: &Value, open: Option<&[String]>) -> bool {
    let Some(open) = open else { return part == whole };
    let inside = |key: &str| (open.first().map(String::as_str) == Some(key)).then(|| &open[1..]);
    match (part, whole) {
        (Value::String(part), Value::String(whole)) => open.is_empty() && whole.starts_with(part),
        (Value::Array(part), Value::Array(whole)) => {
            part.len() <= whole.len()
                && part.iter().zip(whole).enumerate().all(|(i, (p, w))| begins(p, w, inside(&i.to_string())))
        }
        (Value::Object(part), Value::Object(whole)) => {
            part.len() <= whole.len()
                && part.iter().zip(whole).all(|((pk, pv), (wk, wv))| pk == wk && begins(pv, wv, inside(pk)))
        }
        _ => false,
    }
}

fn steps(pointer: &str) -> Vec<String> {
    pointer.split('/').skip(1).map(|step| step.replace("~1", "/").replace("~0", "~")).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn each_beginning_of_a_document_shows_a_beginning_of_its_value(
        value in any_json(), pretty in any::<bool>(), ascii in any::<bool>(), sizes in vec(1usize..9, 1..8),
    ) {
        let text = if pretty { serde_json::to_string_pretty(&value).unwrap() } else { value.to_string() };
        let text = if ascii { escaped(&text) } else { text };
        let whole: Value = serde_json::from_str(&text).unwrap();
        let (mut json, mut rest, mut sizes) = (PartialJson::new(), text.as_str(), sizes.iter().cycle());
        let mut before = None;
        while !rest.is_empty() {
            let size = rest.char_indices().nth(*sizes.next().unwrap()).map_or(rest.len(), |(at, _)| at);
            json.push(&rest[..size]);
            rest = &rest[size..];
            let open = json.open();
            let path = open.as_deref().map(steps);
            match json.value() {
                None => prop_assert!(before.is_none() && path == Some(Vec::new())),
                Some(part) => {
                    prop_assert!(begins(&part, &whole, path.as_deref()), "{part} of {whole} at {open:?}");
                    prop_assert!(part.pointer(open.as_deref().unwrap_or_default()).is_some());
                    before = Some(part);
                }
            }
        }
        prop_assert_eq!(json.finish().unwrap(), whole);
    }
}
