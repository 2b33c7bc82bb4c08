//! Builds the best context within a token budget, in which every passage is exact and cited.

use std::{ops::Range, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{
    rag::{catalog::Entry, retrieve::Found},
    types::Passage,
};

/// Where one passage of a context stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Citation {
    /// The number that stands before the passage and that answers cite, from 1.
    pub number: u32,
    /// The document's id.
    pub document: Arc<str>,
    /// Where the document comes from.
    pub source: Arc<str>,
    /// First and last line in the document, from 1, both included.
    pub lines: (u32, u32),
    /// The bytes of the document's text.
    pub bytes: Range<usize>,
    /// Headings above it, outermost first, joined with ` > `; empty when there are none.
    pub heading: Arc<str>,
    /// The best score among the chunks in it; comparable within one context only.
    pub score: f32,
}

/// Text for a model with the places it comes from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CitedContext {
    /// The passages, each below a line `[number] source:first-last (heading)`; blank lines between them.
    pub text: String,
    /// One for each passage, in the order of the text.
    pub citations: Vec<Citation>,
    /// The passages themselves, for [`crate::types::Part::Passage`].
    pub passages: Vec<Passage>,
    /// About how many tokens `text` has; see [`estimate_tokens`].
    pub tokens: usize,
}

/// About how many tokens a text has: a quarter of its ASCII characters and each of the others.
///
/// An estimate on the safe side for most models and languages; no tokenizer is asked.
#[must_use]
pub fn estimate_tokens(text: &str) -> usize {
    let ascii = text.bytes().filter(u8::is_ascii).count();
    let other = text.chars().filter(|c| !c.is_ascii()).count();
    ascii.div_ceil(4) + other
}

/// A stretch of one document.
#[derive(Clone, Debug)]
struct Piece {
    entry: Arc<Entry>,
    bytes: Range<usize>,
    lines: (u32, u32),
    heading: Arc<str>,
    score: f32,
}

impl Piece {
    fn of(found: &Found) -> Option<Self> {
        let place = found.entry.place(found.number)?;
        Some(Self {
            entry: Arc::clone(&found.entry),
            bytes: place.bytes.clone(),
            lines: place.lines,
            heading: Arc::clone(&place.heading),
            score: found.score,
        })
    }

    fn text(&self) -> &str {
        self.entry.text(self.bytes.clone())
    }

    /// Whether both stretches overlap or only white space lies between them.
    fn touches(&self, other: &Self) -> bool {
        if !Arc::ptr_eq(&self.entry, &other.entry) {
            return false;
        }
        let (end, start) = (self.bytes.end.min(other.bytes.end), self.bytes.start.max(other.bytes.start));
        start <= end || self.entry.text(end..start).trim().is_empty()
    }

    fn absorb(&mut self, other: &Self) {
        self.bytes = self.bytes.start.min(other.bytes.start)..self.bytes.end.max(other.bytes.end);
        self.lines = (self.lines.0.min(other.lines.0), self.lines.1.max(other.lines.1));
        if other.score > self.score {
            (self.score, self.heading) = (other.score, Arc::clone(&other.heading));
        }
    }
}

/// Packs what was found, best first, into about `max_tokens`.
///
/// Copies of one text are taken once, and stretches of one document that touch become one.
/// The best passage comes first and the second best last, because models overlook the middle.
pub(crate) fn assemble(found: &[Found], max_tokens: usize) -> CitedContext {
    let mut chosen: Vec<Piece> = Vec::new();
    let mut best = None;
    for piece in found.iter().filter_map(Piece::of) {
        if chosen.iter().any(|other| other.text().contains(piece.text())) {
            continue;
        }
        let with = merged(&chosen, &piece);
        if cost(&with) <= max_tokens {
            chosen = with;
        }
        best.get_or_insert(piece);
    }
    if chosen.is_empty() {
        chosen.extend(best.and_then(|piece| shortened(piece, max_tokens)));
    }
    render(&ends_first(chosen))
}

/// The pieces with one more, joined with those that it touches.
fn merged(pieces: &[Piece], more: &Piece) -> Vec<Piece> {
    let mut joined = more.clone();
    let mut rest = pieces.to_vec();
    // One that joins may make the next one touch.
    while let Some(at) = rest.iter().position(|piece| piece.touches(&joined)) {
        let piece = rest.remove(at);
        joined.absorb(&piece);
    }
    rest.push(joined);
    rest
}

/// The start of a piece that alone is too long, up to a white space.
fn shortened(mut piece: Piece, max_tokens: usize) -> Option<Piece> {
    let cuts: Vec<usize> = piece.text().match_indices(char::is_whitespace).map(|(at, _)| at).collect();
    let start = piece.bytes.start;
    let fits = |at: &usize| {
        let shorter = Piece { bytes: start..start + at, ..piece.clone() };
        cost(&[shorter]) <= max_tokens
    };
    let end = cuts.partition_point(fits).checked_sub(1).and_then(|last| cuts.get(last).copied())?;
    let kept = piece.entry.text(start..start + end).trim_end().len();
    piece.bytes = start..start + kept;
    piece.lines.1 =
        piece.lines.0.saturating_add(u32::try_from(piece.text().matches('\n').count()).unwrap_or(u32::MAX));
    (kept > 0).then_some(piece)
}

/// The best first, the second best last, and so on to the middle.
fn ends_first(mut pieces: Vec<Piece>) -> Vec<Piece> {
    pieces.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| a.bytes.start.cmp(&b.bytes.start)));
    let (mut front, mut back) = (Vec::new(), Vec::new());
    for (rank, piece) in pieces.into_iter().enumerate() {
        if rank % 2 == 0 { front.push(piece) } else { back.push(piece) }
    }
    front.extend(back.into_iter().rev());
    front
}

fn cost(pieces: &[Piece]) -> usize {
    // Numbers as wide as the last one: the order is not known yet.
    let number = u32::try_from(pieces.len()).unwrap_or(u32::MAX);
    let text: String = pieces.iter().map(|piece| block(piece, number)).collect();
    estimate_tokens(&text)
}

fn block(piece: &Piece, number: u32) -> String {
    let (first, last) = piece.lines;
    let source = piece.entry.source();
    let heading = if piece.heading.is_empty() { String::new() } else { format!(" ({})", piece.heading) };
    format!("[{number}] {source}:{first}-{last}{heading}\n{}\n\n", piece.text())
}

fn render(pieces: &[Piece]) -> CitedContext {
    let mut context = CitedContext::default();
    for (piece, number) in pieces.iter().zip(1_u32..) {
        context.text.push_str(&block(piece, number));
        context.citations.push(Citation {
            number,
            document: Arc::clone(piece.entry.id()),
            source: Arc::clone(piece.entry.source()),
            lines: piece.lines,
            bytes: piece.bytes.clone(),
            heading: Arc::clone(&piece.heading),
            score: piece.score,
        });
        context.passages.push(Passage {
            number,
            source: Arc::clone(piece.entry.source()),
            lines: piece.lines,
            heading: piece.heading.as_ref().to_owned(),
            text: Arc::from(piece.text()),
        });
    }
    let kept = context.text.trim_end().len();
    context.text.truncate(kept);
    context.tokens = estimate_tokens(&context.text);
    context
}

#[cfg(test)]
mod tests {
    use proptest::{
        collection::vec,
        prelude::{prop_assert, prop_assert_eq, proptest},
    };

    use super::*;
    use crate::rag::{
        chunk::{MarkdownChunker, places},
        document::Document,
        retrieve::ScoreParts,
    };

    fn entry(id: &str, text: &str, size: usize) -> Arc<Entry> {
        let document = Document::new(id, text);
        let places = places(&document, &MarkdownChunker::new(size, size / 4).unwrap()).unwrap();
        Arc::new(Entry::new(document.clone(), document.digest(), places, 0))
    }

    fn found(entry: &Arc<Entry>, number: usize, score: f32) -> Found {
        Found { entry: Arc::clone(entry), number, score, parts: ScoreParts::default() }
    }

    #[test]
    fn touching_chunks_become_one_passage_and_copies_are_taken_once() {
        let text = "# A\n\none two three\n\nfour five six\n\n# B\n\nseven eight nine\n";
        let (first, copy) = (entry("first", text, 20), entry("copy", text, 20));
        let (last, all) = (first.places.len() - 1, 0..first.places.len());
        let hits: Vec<Found> = all.map(|number| found(&first, number, 1.0 / (number + 1) as f32)).collect();
        let context = assemble(&[&hits[..], &[found(&copy, 0, 0.9), found(&copy, last, 0.8)]].concat(), 500);
        assert_eq!(context.text, format!("[1] first:1-9 (A)\n{}", text.trim()));
        assert_eq!(context.citations.len(), 1);
    }

    #[test]
    fn the_best_stands_first_and_the_second_best_last() {
        let entries: Vec<_> =
            (0..5).map(|n| entry(&format!("d{n}"), &format!("text number {n}"), 100)).collect();
        let hits: Vec<Found> =
            entries.iter().zip(1..).map(|(entry, rank)| found(entry, 0, 1.0 / rank as f32)).collect();
        let order: Vec<String> =
            assemble(&hits, 500).citations.iter().map(|citation| citation.document.to_string()).collect();
        assert_eq!(order, ["d0", "d2", "d4", "d3", "d1"]);
    }

    #[test]
    fn a_passage_above_the_budget_is_cut_at_a_white_space() {
        let entry = entry("d", "alpha beta\ngamma delta epsilon", 100);
        let context = assemble(&[found(&entry, 0, 1.0)], 8);
        assert_eq!(&*context.passages[0].text, "alpha beta\ngamma");
        assert_eq!(context.passages[0].lines, (1, 2));
        assert_eq!(assemble(&[found(&entry, 0, 1.0)], 1), CitedContext::default());
        assert_eq!(assemble(&[], 100), CitedContext::default());
    }

    proptest! {
        #[test]
        fn every_citation_holds_its_text_within_the_budget(
            texts in vec("(# |## |[a-z]{1,9}|\u{e9}|[ .\n]|\n\n|- ){1,80}", 1..4),
            picks in vec((0usize..4, 0usize..40, 0.0f32..1.0), 0..20),
            size in 8usize..60,
            budget in 0usize..200,
        ) {
            let entries: Vec<_> = texts.iter().enumerate().map(|(n, text)| entry(&n.to_string(), text, size)).collect();
            let mut hits: Vec<Found> = picks
                .iter()
                .map(|(which, number, score)| (&entries[which % entries.len()], number, score))
                .filter(|(entry, ..)| !entry.places.is_empty())
                .map(|(entry, number, score)| found(entry, number % entry.places.len(), *score))
                .collect();
            hits.sort_by(|a, b| b.score.total_cmp(&a.score));
            let context = assemble(&hits, budget);
            prop_assert!(context.tokens <= budget);
            prop_assert_eq!(context.citations.len(), context.passages.len());
            for (citation, passage) in context.citations.iter().zip(&context.passages) {
                let text = &texts[citation.document.parse::<usize>().unwrap()];
                prop_assert_eq!(&text[citation.bytes.clone()], &*passage.text);
                let (first, last) = citation.lines;
                let lines: Vec<&str> = text.split_inclusive('\n').collect();
                prop_assert!(lines[first as usize - 1..last as usize].concat().contains(&*passage.text));
                prop_assert!(context.text.contains(passage.text.trim_end()));
                for other in context.citations.iter().filter(|other| other.number != citation.number) {
                    let apart = other.bytes.end < citation.bytes.start || citation.bytes.end < other.bytes.start;
                    prop_assert!(other.document != citation.document || apart);
                }
            }
        }
    }
}
