//! Where two bodies differ, told by place and never by content.

use serde_json::Value;

/// How many places are told.
const MAX_TOLD: usize = 8;

/// The JSON Pointers at which a request differs from a recorded one, with what is missing or more; at most eight.
pub(super) fn differences(recorded: &Value, asked: &Value) -> Vec<String> {
    let mut places = Vec::new();
    compare(recorded, asked, "", &mut places);
    places
}

fn compare(recorded: &Value, asked: &Value, place: &str, places: &mut Vec<String>) {
    if places.len() >= MAX_TOLD {
        return;
    }
    match (recorded, asked) {
        (Value::Object(recorded), Value::Object(asked)) => {
            for (name, value) in recorded {
                let place = format!("{place}/{}", name.replace('~', "~0").replace('/', "~1"));
                match asked.get(name) {
                    Some(other) => compare(value, other, &place, places),
                    None => places.push(format!("{place} (missing)")),
                }
            }
            let more = asked.keys().filter(|name| !recorded.contains_key(*name));
            places.extend(more.map(|name| format!("{place}/{name} (new)")));
        }
        (Value::Array(recorded), Value::Array(asked)) => {
            for (index, (value, other)) in recorded.iter().zip(asked).enumerate() {
                compare(value, other, &format!("{place}/{index}"), places);
            }
            if recorded.len() != asked.len() {
                places.push(format!("{place} ({} items for {})", asked.len(), recorded.len()));
            }
        }
        (recorded, asked) if recorded == asked => {}
        _ => places.push(if place.is_empty() { "the whole body".to_owned() } else { place.to_owned() }),
    }
    places.truncate(MAX_TOLD);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn places_are_told_and_no_content() {
        let recorded = json!({"model": "a", "messages": [{"text": "secret"}, 1], "top_p": 1, "a/b": 1});
        let asked = json!({"a/b": 2, "messages": [{"text": "other"}], "model": "a", "seed": 1});
        assert_eq!(
            differences(&recorded, &asked),
            ["/messages/0/text", "/messages (1 items for 2)", "/top_p (missing)", "/a~1b", "/seed (new)"]
        );
        assert!(differences(&json!({"a": 1, "b": [2]}), &json!({"b": [2], "a": 1})).is_empty());
        assert_eq!(differences(&json!(1), &json!("1")), ["the whole body"]);
        let (many, others): (Vec<u8>, Vec<u8>) = ((0..20).collect(), (1..21).collect());
        assert_eq!(differences(&json!(many), &json!(others)).len(), 8);
    }
}
