//! Types in three languages say what the schemas say.

use crate::skill::{Language, Skill, generate_types};

fn written(language: Language) -> String {
    let skill = Skill::parse(
        "---\nskill_id: a.trip.v2\nname: B\ndescription: B.\nversion: 1.0.0\ninputs:\n  class: { type: string, enum: [first, 2nd] }\n  \
         stops: { type: list, items: { type: object, properties: { city: string, days: { type: integer, default: 1 } } } }\n\
         outputs:\n  cost: { type: number, description: 'In */ rupees.' }\n  data: any\n---\n{{ class }} {{ stops }}\n",
    );
    generate_types([&skill.unwrap()], language)
}

#[test]
fn typescript_has_interfaces() {
    let expected = "// Written from skills; do not edit.

/** What the skill `a.trip.v2` is given. */
export interface ATripV2Input {
  class: \"first\" | \"2nd\";
  stops: Array<{
    city: string;
    days?: number;
  }>;
}

/** What the skill `a.trip.v2` gives. */
export interface ATripV2Output {
  /** In  rupees. */
  cost: number;
  data: unknown;
}
";
    assert_eq!(written(Language::TypeScript), expected);
}

#[test]
fn python_has_typed_dictionaries() {
    let text = written(Language::Python);
    let keyword = r#"ATripV2Input = TypedDict("ATripV2Input", {"class": "Literal[\"first\", \"2nd\"]", "stops": "list[ATripV2InputStops]"})"#;
    assert!(text.contains(keyword), "{text}");
    assert!(
        text.contains("class ATripV2InputStops(_ATripV2InputStopsRequired, _ATripV2InputStopsOptional):"),
        "{text}"
    );
    assert!(
        text.contains("class _ATripV2InputStopsOptional(TypedDict, total=False):\n    days: int\n"),
        "{text}"
    );
}

#[test]
fn rust_has_structures() {
    let text = written(Language::Rust);
    assert!(text.contains("pub struct ATripV2Input {\n    pub class: ATripV2InputClass,\n    pub stops: Vec<ATripV2InputStops>,\n}"), "{text}");
    assert!(text.contains("    #[serde(rename = \"2nd\")]\n    Is2nd,"), "{text}");
    assert!(text.contains("    pub days: Option<i64>,"), "{text}");
}
