//! A skill is compiled whole, or everything that is wrong with it is told with its place.

use crate::{
    error::Error,
    skill::{Skill, SkillFormat},
    types::{Currency, Diagnostics, Money},
};

/// Every problem as `line:column code`.
fn problems(text: &str) -> Vec<String> {
    let err = Skill::parse(text).unwrap_err();
    listed(&err)
}

fn listed(err: &Error) -> Vec<String> {
    let problems = &err.cause::<Diagnostics>().unwrap().0;
    problems.iter().map(|problem| format!("{}:{} {}", problem.line, problem.column, problem.code)).collect()
}

#[test]
fn everything_that_a_skill_says_is_read() {
    let skill = Skill::parse(
        "---\nskill_id: writing.letter.v3\nname: Letter\ndescription: Writes letters.\nversion: 2.0.1\n\
         author: Ann\ncategory: writing\ntags: [post, formal]\n\
         model: { primary: 'openai:gpt-5-mini', fallback: ['offline:x'], temperature: 0.4, max_tokens: 900, top_p: 1 }\n\
         limits: { max_cost: 0.25, max_tokens: 1000, timeout: 12.5, max_tool_calls: 0, max_retries: 1 }\n\
         tools: { required: [lookup], optional: [fetch] }\n\
         inputs:\n  to: string\n  tone: { type: string, enum: [warm, cold], default: warm }\n\
         outputs:\n  text: { type: string, min_length: 10 }\n\
         evaluation: { min_quality_score: 80, checks: [names the reader], retry_conditions: [too short] }\n\
         dependencies: { skills: [writing.style.v1], data: [profile/name] }\n\
         ---\n## IDENTITY\nA clerk.\n## MISSION\nWrite to {{ to }} in a {{ tone }} tone.\n",
    )
    .unwrap();
    let spec = skill.spec();
    assert_eq!(
        (spec.format, spec.id.version(), spec.version.as_str()),
        (SkillFormat::Typed, Some(3), "2.0.1")
    );
    assert_eq!(spec.limits.max_cost, Money::new(250_000, Currency::USD));
    assert_eq!((spec.limits.timeout.as_millis(), spec.limits.max_tool_calls), (12_500, 0));
    assert_eq!(
        (spec.model.temperature, spec.model.top_p, spec.model.max_tokens),
        (Some(0.4), Some(1.0), Some(900))
    );
    assert_eq!((spec.evaluation.min_quality_score, spec.evaluation.checks.len()), (80, 1));
    assert_eq!(spec.dependencies.skills[0].as_str(), "writing.style.v1");
    let schema = skill.input_schema().as_value();
    assert_eq!(schema["required"], serde_json::json!(["to"]));
    assert_eq!(schema["properties"]["tone"]["default"], "warm");
    assert_eq!(skill.missing_sections().len(), 6);
    assert_eq!(skill.warnings()[0].code, "missing_section");
}

#[test]
fn limits_that_are_not_given_are_those_of_the_specification() {
    let skill = Skill::parse("---\nskill_id: a.b.v1\nname: B\ndescription: B.\nversion: 1.0.0\n---\nDo b.\n")
        .unwrap();
    let limits = skill.spec().limits;
    assert_eq!((limits.max_cost, limits.max_tokens), (Money::new(100_000, Currency::USD), 50_000));
    assert_eq!((limits.timeout.as_secs(), limits.max_tool_calls, limits.max_retries), (60, 10, 2));
    assert_eq!(skill.spec().evaluation.min_quality_score, 70);
}

#[test]
fn no_problem_hides_another() {
    let found = problems(
        "---\nskill_id: Writing\nname: ''\nversion: 1.0\ncolor: red\ntags: [a]\ntags: [b]\nlimits:\n  timeout: -1\n  \
         max_cost: free\ninputs:\n  to: { type: text, minimum: 3 }\n  loop: string\n  when: { type: date }\n  \
         how: { type: string, enum: [a, a], pattern: '(', default: 4 }\noutputs: [x]\n---\n## MISSION\nDear {{ two }},\n\
         {{ to|shout }} {{ to is loud }}\n## RULES\n{% if %}\n## RULES\n{{ to.x }}\n",
    );
    assert_eq!(
        found,
        [
            "2:1 missing_field",
            "2:11 invalid_id",
            "3:7 empty_field",
            "4:10 invalid_version",
            "5:1 unknown_field",
            "7:1 duplicate_key",
            "9:12 out_of_range",
            "10:13 wrong_type",
            "12:30 misplaced_option",
            "13:9 invalid_name",
            "14:17 unknown_type",
            "15:34 duplicate_choice",
            "15:47 invalid_pattern",
            "16:10 wrong_type",
            "19:9 undeclared_variable",
            "20:7 unknown_filter",
            "20:25 unknown_test",
            "22:7 template_syntax",
            "23:1 duplicate_section",
        ]
    );
}

#[test]
fn bombs_aliases_and_tabs_are_refused_and_the_body_is_still_read() {
    let bomb = "a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\nskill_id: x.y.v1\n";
    assert_eq!(
        problems(&format!("---\n{bomb}---\n{{{{ a }}}}\n## MISSION\n{{{{ }}}}\n")),
        ["2:7 yaml_limit", "9:4 template_syntax"]
    );
    assert_eq!(
        problems("---\nskill_id: a.b.v1\nlimits:\n\ttimeout: 3\nname: B\n---\n{% for %}\n"),
        ["2:1 missing_field", "2:1 missing_field", "4:1 tab", "7:8 template_syntax"]
    );
}

#[test]
fn a_file_without_front_matter_or_body_is_named_so() {
    assert_eq!(problems("# Hello\n"), ["1:1 no_front_matter"]);
    assert_eq!(problems("---\nskill_id: a.b.v1\n"), ["1:1 open_front_matter"]);
    let found = problems("---\nskill_id: a.b.v1\nname: B\ndescription: B.\nversion: 1.0.0\n---\n\n");
    assert_eq!(found, ["7:1 empty_body"]);
}

#[test]
fn a_field_of_an_object_is_checked_and_a_near_name_is_proposed() {
    let text = "---\nskill_id: a.b.v1\nname: B\ndescription: B.\nversion: 1.0.0\ninputs:\n  who:\n    type: object\n    \
                properties: { name: string }\n---\n{{ who.name }} {{ who.nmae }} {{ hwo }}\n";
    let err = Skill::parse(text).unwrap_err();
    let messages: Vec<&str> =
        err.cause::<Diagnostics>().unwrap().0.iter().map(|problem| problem.message.as_str()).collect();
    assert_eq!(messages, ["the input `who` has no field `nmae`", "no input `hwo`; did you mean `who`?"]);
}

#[test]
fn the_digest_follows_every_letter() {
    let text = |body: &str| {
        format!("---\nskill_id: a.b.v1\nname: B\ndescription: B.\nversion: 1.0.0\n---\n{body}\n")
    };
    let digest = |body: &str| Skill::parse(&text(body)).unwrap().digest();
    assert_eq!(digest("Do b."), digest("Do b."));
    assert_ne!(digest("Do b."), digest("Do b!"));
}

#[test]
fn a_default_and_required_exclude_each_other_and_bounds_do_not_cross() {
    let front = "---\nskill_id: a.b.v1\nname: B\ndescription: B.\nversion: 1.0.0\ninputs:\n";
    let inputs =
        "  a: { type: integer, minimum: 3, maximum: 2 }\n  b: { type: string, required: true, default: x }\n";
    assert_eq!(
        problems(&format!("{front}{inputs}---\n{{{{ a }}}} {{{{ b }}}}\n")),
        ["7:14 crossed_bounds", "8:6 required_default"]
    );
}

#[test]
fn no_function_prints_what_a_section_does_not_name() {
    let text = "---\nskill_id: a.b.v1\nname: B\ndescription: B.\nversion: 1.0.0\ninputs:\n  a: string\n---\n{{ debug() }} {{ a }}\n";
    assert_eq!(problems(text), ["9:4 undeclared_variable"]);
}
