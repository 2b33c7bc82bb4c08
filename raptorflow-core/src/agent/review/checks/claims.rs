//! `ClaimsCheck`: numbers, addresses and citations of an answer stand in the passages that it was given.

use std::{collections::HashSet, ops::Range};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{
    agent::review::{Check, Draft, Finding, Severity, check::MAX_FINDINGS, words::characters},
    error::Result,
    rag::{numbers, plain_url, urls},
    runtime::Context,
    types::Passage,
};

const NAME: &str = "claims";
/// How long the name in a citation may be, in bytes; longer brackets are prose.
const MAX_CITATION: usize = 80;

/// Finds numbers and named citations, each medium, and addresses and numbered citations, each high, that the passages
/// do not have.
///
/// What the question says counts as given, except for citations.
/// Numbers are those in Western digits; commas between digits, leading zeros and zeros that end a fraction do not matter.
/// Numbers that begin a line of a list, and those behind letters as in `v2`, are no claims.
/// A citation is `[3]`, `[guide.md]` or `(Rao, 2024)`; `[text](address)` is a link, of which the address is looked at.
///
/// It sees that a number stands somewhere in a passage, and not whether it says the same there; a sum that is right is
/// found when no passage has it; claims in words are not seen.
///
/// ```
/// use raptorflow_core::agent::review::{Critic, Draft, checks::ClaimsCheck};
/// use raptorflow_core::{runtime::{Context, Runtime}, types::Passage};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> raptorflow_core::Result<()> {
/// let ctx = Context::new(&Runtime::current()?);
/// let mut draft = Draft::new("How many users?", "1,200 users [1], up 40 % [2]");
/// draft.passages.push(Passage {
///     number: 1, source: "users.md".into(), lines: (1, 1), heading: String::new(), text: "We have 1200 users.".into(),
/// });
/// let review = Critic::new().with(ClaimsCheck::default()).review(&ctx, &draft).await?;
/// let found: Vec<&str> = review.findings.iter().map(|it| it.message.as_str()).collect();
/// assert_eq!(found, ["`[2]` is no passage", "`40` is in no passage"]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct ClaimsCheck {
    /// Whether numbers are looked at; true by default.
    pub numbers: bool,
    /// Whether addresses are looked at; true by default.
    pub urls: bool,
    /// Whether citations are looked at; true by default.
    pub citations: bool,
    /// Fields of a JSON answer whose numbers are citations; `citations` by default.
    pub citation_fields: Vec<String>,
    /// Whole numbers up to this one are no claims; 0 by default.
    pub spare_up_to: u64,
}

impl Default for ClaimsCheck {
    fn default() -> Self {
        let citation_fields = vec!["citations".to_owned()];
        Self { numbers: true, urls: true, citations: true, citation_fields, spare_up_to: 0 }
    }
}

/// What an answer may rest on, in forms that are compared.
struct Given {
    passages: HashSet<u32>,
    numbers: HashSet<String>,
    urls: HashSet<String>,
    /// Sources, headings and texts in lower case.
    texts: Vec<String>,
}

impl Given {
    fn new(question: &str, passages: &[Passage]) -> Self {
        let mut given = Self {
            passages: passages.iter().map(|passage| passage.number).collect(),
            numbers: HashSet::new(),
            urls: HashSet::new(),
            texts: Vec::new(),
        };
        given.add(question);
        for passage in passages {
            for text in [&*passage.source, &passage.heading, &passage.text] {
                given.add(text);
                given.texts.push(text.to_lowercase());
            }
        }
        given
    }

    fn add(&mut self, text: &str) {
        // Numbers inside of addresses too: an answer may name them by themselves.
        self.numbers.extend(numbers(text, &[]).into_iter().map(|(_, number)| number));
        self.urls.extend(urls(text).into_iter().filter_map(|range| text.get(range)).map(plain_url));
    }

    fn names(&self, name: &str) -> bool {
        let name = name.to_lowercase();
        self.texts.iter().any(|text| text.contains(&name))
    }
}

impl ClaimsCheck {
    fn find(&self, draft: &Draft) -> Vec<Finding> {
        let given = Given::new(&draft.question, &draft.passages);
        let (mut findings, mut known) = (Vec::new(), HashSet::new());
        for (pointer, text) in draft.values() {
            if self.is_citation_field(&pointer) && text.bytes().all(|byte| byte.is_ascii_digit()) {
                let cited = text.parse().is_ok_and(|number| given.passages.contains(&number));
                if self.citations && !cited {
                    let message = format!("`{text}` is no passage");
                    findings.push(Finding::new(NAME, Severity::High, message).at(pointer, None));
                }
                continue;
            }
            for (range, severity, claim, what) in self.claims(&text, &given) {
                if findings.len() >= MAX_FINDINGS {
                    return findings;
                }
                if known.insert(claim.clone()) {
                    let finding = Finding::new(NAME, severity, format!("`{claim}` {what}"));
                    findings.push(
                        finding
                            .at(pointer.clone(), Some(characters(&text, &range)))
                            .with_hint("Leave it out, or say what a passage says."),
                    );
                }
            }
        }
        findings.truncate(MAX_FINDINGS);
        findings
    }

    /// What of a text is not given: addresses first, then citations, then numbers.
    fn claims(&self, text: &str, given: &Given) -> Vec<(Range<usize>, Severity, String, &'static str)> {
        let mut claims = Vec::new();
        let mut taken = urls(text);
        for range in taken.iter().filter(|_| self.urls) {
            let url = text.get(range.clone()).map(plain_url).unwrap_or_default();
            if !given.urls.contains(&url) {
                claims.push((range.clone(), Severity::High, url, "is in no passage"));
            }
        }
        for range in brackets(text, '[', ']') {
            let inside = text.get(range.start + 1..range.end - 1).unwrap_or_default().trim();
            let numbered: Option<Vec<u32>> = inside.split(',').map(|it| it.trim().parse().ok()).collect();
            if let Some(numbers) = numbered {
                taken.push(range.clone());
                let unknown = numbers.iter().any(|number| !given.passages.contains(number));
                if self.citations && unknown {
                    claims.push((range, Severity::High, format!("[{inside}]"), "is no passage"));
                }
            } else if self.citations && is_name(inside) && !is_link(text, range.end) && !given.names(inside) {
                claims.push((range, Severity::Medium, format!("[{inside}]"), "is no source"));
            }
        }
        if self.citations {
            for range in brackets(text, '(', ')') {
                let inside = text.get(range.start + 1..range.end - 1).unwrap_or_default();
                if author(inside).is_some_and(|author| !given.names(author)) {
                    claims.push((range, Severity::Medium, format!("({inside})"), "is no source"));
                }
            }
        }
        taken.sort_by_key(|range| range.start);
        let numbers = if self.numbers { numbers(text, &taken) } else { Vec::new() };
        for (range, number) in numbers {
            let spared = number.parse::<u64>().is_ok_and(|number| number <= self.spare_up_to);
            if !spared && !given.numbers.contains(&number) {
                claims.push((range, Severity::Medium, number, "is in no passage"));
            }
        }
        claims
    }

    /// Whether the last name in a pointer is that of a field with citations; numbers in it are places in lists.
    fn is_citation_field(&self, pointer: &str) -> bool {
        let name = pointer.rsplit('/').find(|part| part.parse::<usize>().is_err());
        name.is_some_and(|name| self.citation_fields.iter().any(|field| field == name))
    }
}

/// Pairs of brackets on one line, not too far apart, with their brackets.
fn brackets(text: &str, open: char, close: char) -> Vec<Range<usize>> {
    let opened = text.match_indices(open).filter_map(|(start, _)| {
        let (inside, _) = text.get(start + 1..)?.split_once([close, open, '\n'])?;
        let end = start + 1 + inside.len();
        let closed = text.get(end..)?.starts_with(close);
        (closed && inside.len() <= MAX_CITATION).then_some(start..end + 1)
    });
    opened.collect()
}

/// Whether what stands in brackets may name a source; placeholders such as `[EMAIL_1]` and boxes do not.
fn is_name(inside: &str) -> bool {
    let placeholder = inside.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
    inside.chars().count() > 1 && inside.contains(char::is_alphabetic) && !placeholder
}

fn is_link(text: &str, end: usize) -> bool {
    text.get(end..).is_some_and(|after| after.starts_with('('))
}

/// The first name of `Rao, 2024` or `Rao et al., 2024`.
fn author(inside: &str) -> Option<&str> {
    let (names, year) = inside.rsplit_once(", ")?;
    let is_year = year.len() == 4 && year.bytes().all(|byte| byte.is_ascii_digit());
    let is_names = names.chars().all(|c| c.is_alphabetic() || " .&-'’".contains(c));
    let first = names.split(' ').next().filter(|name| name.starts_with(char::is_uppercase))?;
    (is_year && is_names).then_some(first)
}

#[async_trait]
impl Check for ClaimsCheck {
    fn name(&self) -> &str {
        NAME
    }

    async fn check(&self, _ctx: &Context, draft: &Draft) -> Result<Vec<Finding>> {
        Ok(self.find(draft))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// Checks what is found in an answer that rests on one passage.
    #[track_caller]
    fn check(passage: &str, answer: impl Into<Value>, found: &[&str]) {
        let mut draft = Draft::new("What about the 7 plans?", answer);
        draft.passages.push(Passage {
            number: 1,
            source: "guides/plan.md".into(),
            lines: (1, 2),
            heading: "Prices".into(),
            text: passage.into(),
        });
        let findings = ClaimsCheck::default().find(&draft);
        let claims: Vec<&str> = findings.iter().filter_map(|it| it.message.split('`').nth(1)).collect();
        assert_eq!(claims, found, "{}", draft.answer);
    }

    #[test]
    fn numbers_are_compared_by_value_and_not_by_form() {
        let passage = "₹1,00,000 in 2024, 0.50 of it; version v3";
        check(passage, "100000, 2024, .5, 0.5, 7 plans", &["5"]);
        check(passage, "₹99,999 or 0.05 in 2025", &["99999", "0.05", "2025"]);
        check(passage, "1. one\n 2) two\nv9 and user_5", &[]);
        check(passage, "2024-05-06", &["5", "6"]);
        check("no numbers", json!({"net": 12.50, "gross": "12.5"}), &["12.5"]);
        check("no numbers", "", &[]);
    }

    #[test]
    fn addresses_must_be_given_and_their_numbers_are_part_of_them() {
        let passage = "See https://example.com/a/2 and www.example.org.";
        check(passage, "(https://example.com/a/2/), www.example.org!", &[]);
        check(passage, "[here](https://example.com/b/3)", &["https://example.com/b/3"]);
        check(passage, "http://", &["http:"]);
    }

    #[test]
    fn citations_are_passages_or_sources() {
        check("Rao wrote it", "[1] [1, 1] [plan.md] [Prices] (Rao et al., 2024)", &["2024"]);
        check("x", "[2] and [1, 9]", &["[2]", "[1, 9]"]);
        check("x", "[other.md] (Iyer, 2020)", &["[other.md]", "(Iyer, 2020)", "2020"]);
        check("x", "- [ ] a\n- [x] b [EMAIL_1] [text](y) (Mai, bald)", &[]);
        check("x", json!({"citations": [1, 3], "points": [{"citations": [1]}]}), &["3"]);
    }

    #[test]
    fn places_count_characters_and_there_are_at_most_32() {
        let mut draft = Draft::new("", "₹é 42");
        assert_eq!(ClaimsCheck::default().find(&draft)[0].place.characters, Some((3, 5)));
        let many: Vec<String> = (1..200).map(|it| it.to_string()).collect();
        draft.answer = many.join(" ").into();
        assert_eq!(ClaimsCheck::default().find(&draft).len(), MAX_FINDINGS);
        let spared = ClaimsCheck { spare_up_to: 200, ..ClaimsCheck::default() };
        assert!(spared.find(&draft).is_empty());
    }
}
