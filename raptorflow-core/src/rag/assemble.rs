//! Builds the best context within a token budget, in which every passage is exact and cited.

use std::{ops::Range, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{
    economics::text_tokens,
    rag::{
        catalog::Entry,
        retrieve::{Found, Hit, Search},
    },
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
    usize::try_from(text_tokens(text)).unwrap_or(usize::MAX)
}

impl CitedContext {
    /// Packs hits, best first, into about `max_tokens`; for a [`crate::rag::Retriever`] of your own.
    ///
    /// Copies of one text are taken once, and stretches of one document that overlap become one.
    /// The best passage comes first and the second best last, because models overlook the middle.
    /// Where not even the best fits, its beginning is taken.
    #[must_use]
    pub fn of(hits: &[Hit], max_tokens: usize) -> Self {
        pack(hits.iter().map(Piece::of_hit), max_tokens)
    }
}

/// The same for what a knowledge base found: it also joins stretches with only white space between them.
///
/// The chunks up to `neighbors` before and behind those that were found come last, where there is still room, and join
/// what they stand beside.
pub(crate) fn assemble(found: &[Found], neighbors: usize, max_tokens: usize) -> CitedContext {
    let beside = (1..=neighbors).flat_map(|far| {
        found.iter().flat_map(move |found| {
            let places = [found.number.checked_add(far), found.number.checked_sub(far)];
            places.into_iter().flatten().map(|number| Found { number, ..found.clone() })
        })
    });
    pack(found.iter().cloned().chain(beside).filter_map(|found| Piece::of_found(&found)), max_tokens)
}

impl Search {
    /// For a context: also takes up to `chunks` before and behind each chunk that was found, where the tokens allow;
    /// none by default.
    pub fn neighbors(mut self, chunks: usize) -> Self {
        self.neighbors = chunks;
        self
    }
}

/// A stretch of one document.
#[derive(Clone, Debug)]
struct Piece {
    document: Arc<str>,
    source: Arc<str>,
    text: String,
    bytes: Range<usize>,
    lines: (u32, u32),
    heading: Arc<str>,
    score: f32,
    /// The document that it is cut from, where that is at hand.
    whole: Option<Arc<Entry>>,
}

impl Piece {
    fn of_hit(hit: &Hit) -> Self {
        Self {
            document: Arc::clone(&hit.document),
            source: Arc::clone(&hit.source),
            text: hit.text.clone(),
            bytes: hit.bytes.clone(),
            lines: hit.lines,
            heading: Arc::clone(&hit.heading),
            score: hit.score,
            whole: None,
        }
    }

    fn of_found(found: &Found) -> Option<Self> {
        let place = found.entry.place(found.number)?;
        Some(Self {
            document: Arc::clone(found.entry.id()),
            source: Arc::clone(found.entry.source()),
            text: found.entry.text(place.bytes.clone()).to_owned(),
            bytes: place.bytes.clone(),
            lines: place.lines,
            heading: Arc::clone(&place.heading),
            score: found.score,
            whole: Some(Arc::clone(&found.entry)),
        })
    }

    /// Both as one stretch, where they overlap or only white space lies between them.
    fn joined(&self, other: &Self) -> Option<Self> {
        if self.document != other.document {
            return None;
        }
        let (first, second) =
            if self.bytes.start <= other.bytes.start { (self, other) } else { (other, self) };
        let bytes = first.bytes.start..first.bytes.end.max(second.bytes.end);
        let best = if second.score > first.score { second } else { first };
        Some(Self {
            text: first.text_up_to(second, &bytes)?,
            bytes,
            lines: (first.lines.0.min(second.lines.0), first.lines.1.max(second.lines.1)),
            ..best.clone()
        })
    }

    /// The text from the start of this to the end of `bytes`, where nothing that matters is missing.
    fn text_up_to(&self, second: &Self, bytes: &Range<usize>) -> Option<String> {
        let apart = second.bytes.start > self.bytes.end;
        if let (Some(whole), Some(other)) = (&self.whole, &second.whole) {
            let joins = Arc::ptr_eq(whole, other)
                && (!apart || whole.text(self.bytes.end..second.bytes.start).trim().is_empty());
            return joins.then(|| whole.text(bytes.clone()).to_owned());
        }
        if apart {
            return None;
        }
        let known = self.bytes.end.min(second.bytes.end) - second.bytes.start;
        Some(format!("{}{}", self.text, second.text.get(known..)?))
    }
}

fn pack(found: impl Iterator<Item = Piece>, max_tokens: usize) -> CitedContext {
    let mut chosen: Vec<Piece> = Vec::new();
    let mut best = None;
    for piece in found {
        if chosen.iter().any(|other| other.text.contains(&piece.text)) {
            continue;
        }
        let with = merged(&chosen, &piece);
        if cost(&with) <= max_tokens {
            chosen = with;
        }
        best.get_or_insert(piece);
    }
    if chosen.is_empty() {
        chosen.extend(best.and_then(|piece| shortened(&piece, max_tokens)));
    }
    render(ends_first(chosen))
}

/// The pieces with one more, joined with those that it touches.
fn merged(pieces: &[Piece], more: &Piece) -> Vec<Piece> {
    let mut joined = more.clone();
    let mut rest = pieces.to_vec();
    // One that joins may make the next one touch.
    while let Some((at, both)) =
        rest.iter().enumerate().find_map(|(at, piece)| piece.joined(&joined).map(|both| (at, both)))
    {
        rest.remove(at);
        joined = both;
    }
    rest.push(joined);
    rest
}

/// The start of a piece that alone is too long, up to a white space.
fn shortened(piece: &Piece, max_tokens: usize) -> Option<Piece> {
    let cut = |end: usize| {
        let text = piece.text.get(..end).unwrap_or_default().trim_end().to_owned();
        let bytes = piece.bytes.start..piece.bytes.start + text.len();
        let breaks = u32::try_from(text.matches('\n').count()).unwrap_or(u32::MAX);
        Piece { bytes, lines: (piece.lines.0, piece.lines.0.saturating_add(breaks)), text, ..piece.clone() }
    };
    let ends: Vec<usize> = piece.text.match_indices(char::is_whitespace).map(|(at, _)| at).collect();
    let fitting = ends.partition_point(|end| cost(&[cut(*end)]) <= max_tokens);
    let longest = cut(*ends.get(fitting.checked_sub(1)?)?);
    (!longest.text.is_empty()).then_some(longest)
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
    let heading = if piece.heading.is_empty() { String::new() } else { format!(" ({})", piece.heading) };
    format!("[{number}] {}:{first}-{last}{heading}\n{}\n\n", piece.source, piece.text)
}

fn render(pieces: Vec<Piece>) -> CitedContext {
    let mut context = CitedContext::default();
    for (piece, number) in pieces.into_iter().zip(1_u32..) {
        context.text.push_str(&block(&piece, number));
        context.passages.push(Passage {
            number,
            source: Arc::clone(&piece.source),
            lines: piece.lines,
            heading: piece.heading.as_ref().to_owned(),
            text: Arc::from(piece.text),
        });
        context.citations.push(Citation {
            number,
            document: piece.document,
            source: piece.source,
            lines: piece.lines,
            bytes: piece.bytes,
            heading: piece.heading,
            score: piece.score,
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
        let context =
            assemble(&[&hits[..], &[found(&copy, 0, 0.9), found(&copy, last, 0.8)]].concat(), 0, 500);
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
            assemble(&hits, 0, 500).citations.iter().map(|citation| citation.document.to_string()).collect();
        assert_eq!(order, ["d0", "d2", "d4", "d3", "d1"]);
    }

    #[test]
    fn a_passage_above_the_budget_is_cut_at_a_white_space() {
        let entry = entry("d", "alpha beta\ngamma delta epsilon", 100);
        let context = assemble(&[found(&entry, 0, 1.0)], 0, 8);
        assert_eq!(&*context.passages[0].text, "alpha beta\ngamma");
        assert_eq!(context.passages[0].lines, (1, 2));
        assert_eq!(assemble(&[found(&entry, 0, 1.0)], 0, 1), CitedContext::default());
        assert_eq!(assemble(&[], 0, 100), CitedContext::default());
    }

    #[test]
    fn neighbors_join_what_was_found_while_there_is_room() {
        let entry = entry("d", "# A\n\none two three\n\nfour five six\n\nseven eight nine\n", 20);
        let middle = [found(&entry, 1, 1.0)];
        assert!(!assemble(&middle, 0, 500).text.contains("seven"));
        let context = assemble(&middle, 1, 500);
        assert!(context.text.contains("one two") && context.text.contains("seven"), "{}", context.text);
        assert_eq!(context.citations.len(), 1);
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
            let alone: Vec<Hit> = hits.iter().map(Found::hit).collect();
            for context in [assemble(&hits, 0, budget), assemble(&hits, 1, budget), CitedContext::of(&alone, budget)] {
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
}
