//! `Chunker`: cuts a document into pieces, and the built-in one that follows Markdown's structure.

use std::{fmt::Debug, ops::Range, sync::Arc};

use pulldown_cmark::{Event, HeadingLevel, Options, Parser, Tag, TagEnd};
use text_splitter::{Characters, ChunkConfig, MarkdownSplitter, TextSplitter};

use crate::{
    error::{Error, ErrorKind, Result},
    rag::document::{Chunk, Document, Lines, Place},
};

/// What is longer than this, in bytes, is no word but a run of marks, and may be cut.
const LONGEST_WORD: usize = 64;

/// What stands between the headings of a path.
pub(crate) const HEADING_SEPARATOR: &str = " > ";

/// One piece as a chunker names it; lines and text follow from the bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// The bytes of the document's text; both ends on character boundaries.
    pub bytes: Range<usize>,
    /// Headings above it, outermost first, joined with ` > `; empty when there are none.
    pub heading: String,
}

/// Cuts documents into pieces.
///
/// # Contract
/// - the same document gives the same spans.
/// - spans are not empty, lie inside the text and are sorted by their start; they may overlap.
/// - `identity` changes whenever the spans of some document would.
///
/// # Examples
/// ```
/// use raptorflow_core::{Result, rag::{Chunker, Document, Span, chunks}};
///
/// /// Every line is a piece.
/// #[derive(Debug)]
/// struct Lines;
///
/// impl Chunker for Lines {
///     fn identity(&self) -> String {
///         "lines".to_owned()
///     }
///
///     fn split(&self, document: &Document) -> Result<Vec<Span>> {
///         let mut from = 0;
///         let line = |text: &str| {
///             let start = from;
///             from += text.len();
///             Span { bytes: start..from, heading: String::new() }
///         };
///         Ok(document.text.split_inclusive('\n').map(line).collect())
///     }
/// }
/// let pieces = chunks(&Document::new("poem", "Roses\nViolets\n"), &Lines)?;
/// assert_eq!(pieces[1].place.lines, (2, 2));
/// # Ok::<(), raptorflow_core::Error>(())
/// ```
pub trait Chunker: Debug + Send + Sync + 'static {
    /// Names the algorithm and its settings; stored, so that another one cuts old documents anew.
    fn identity(&self) -> String;

    /// The spans of a document.
    ///
    /// # Errors
    /// What the implementation refuses.
    fn split(&self, document: &Document) -> Result<Vec<Span>>;
}

/// Cuts at the largest Markdown unit that fits: sections, blocks, sentences, words.
///
/// A document whose source ends in `.txt` is cut as plain text.
/// Every 8 to 16 KiB there is one cut without overlap, before a heading where there is one.
///
/// ```
/// use raptorflow_core::rag::{Document, MarkdownChunker, chunks};
/// let document = Document::new("guide", "# Guide\n\n## Price\n\nThe basic plan costs ₹499.\n");
/// let pieces = chunks(&document, &MarkdownChunker::default()).unwrap();
/// assert_eq!(pieces[0].place.lines, (1, 5));
/// assert!(pieces[0].text.ends_with("₹499."));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MarkdownChunker {
    size: usize,
    overlap: usize,
}

impl Default for MarkdownChunker {
    /// At most 800 characters, of which up to 100 repeat the end of the piece before.
    fn default() -> Self {
        Self { size: 800, overlap: 100 }
    }
}

impl MarkdownChunker {
    /// Other sizes, in characters.
    ///
    /// # Errors
    /// `InvalidInput` when `size` is 0 or `overlap` is not smaller than `size`.
    pub fn new(size: usize, overlap: usize) -> Result<Self> {
        if overlap < size {
            return Ok(Self { size, overlap });
        }
        let expected = "expected a size above 0 and an overlap below the size";
        Err(Error::new(ErrorKind::InvalidInput, "chunk.new", expected)
            .with("size", size)
            .with("overlap", overlap))
    }

    fn config(&self) -> Result<ChunkConfig<Characters>> {
        ChunkConfig::new(self.size).with_overlap(self.overlap).map_err(|err| {
            Error::new(ErrorKind::InvalidInput, "chunk.split", "sizes do not fit together").caused_by(err)
        })
    }
}

impl Chunker for MarkdownChunker {
    fn identity(&self) -> String {
        format!("markdown-2/{}/{}", self.size, self.overlap)
    }

    fn split(&self, document: &Document) -> Result<Vec<Span>> {
        let text = document.text.as_str();
        let plain = document.source.as_deref().is_some_and(|source| source.to_lowercase().ends_with(".txt"));
        let sections = if plain { Vec::new() } else { sections(text) };
        let (words, blocks) = (TextSplitter::new(self.config()?), MarkdownSplitter::new(self.config()?));
        let mut spans = Vec::new();
        for window in windows(text, &sections) {
            let (offset, part) = (window.start, text.get(window).unwrap_or_default());
            let here = |(at, piece): (usize, &str)| offset + at..offset + at + piece.len();
            if plain {
                let pieces = words.chunk_indices(part).map(here);
                spans.extend(pieces.map(|bytes| Span { bytes, heading: String::new() }));
            } else {
                let pieces = blocks.chunk_indices(part).map(|found| whole_words(text, here(found)));
                spans.extend(pieces.map(|bytes| {
                    let heading = heading_of(&sections, &bytes).to_owned();
                    Span { bytes, heading }
                }));
            }
        }
        Ok(spans)
    }
}

/// How many bytes of a text are cut at once.
///
/// The splitter's time grows with the square of what it gets: a line of 1 MiB took 18 times as long as one of 256 KiB.
const WINDOW: usize = 16 << 10;

/// Cuts a long text where it hurts least: before a heading, else behind a paragraph, a line, a word.
fn windows(text: &str, sections: &[Section]) -> Vec<Range<usize>> {
    let (mut windows, mut start) = (Vec::new(), 0);
    while text.len() - start > WINDOW {
        let (half, limit) =
            (text.floor_char_boundary(start + WINDOW / 2), text.floor_char_boundary(start + WINDOW));
        let heading = sections.get(..sections.partition_point(|section| section.start <= limit));
        let heading =
            heading.and_then(<[_]>::last).map(|section| section.start).filter(|start| *start > half);
        let tail = text.get(half..limit).unwrap_or_default();
        let behind = |pattern: &str| tail.rfind(pattern).map(|at| half + at + pattern.len());
        let end = heading
            .or_else(|| behind("\n\n"))
            .or_else(|| behind("\n"))
            .or_else(|| behind(" "))
            .unwrap_or(limit);
        windows.push(start..end);
        start = end;
    }
    windows.push(start..text.len());
    windows
}

/// The range with its first and last word whole: Markdown's own pieces may end at a mark inside a word.
fn whole_words(text: &str, range: Range<usize>) -> Range<usize> {
    let (before, inside, after) = (text.get(..range.start), text.get(range.clone()), text.get(range.end..));
    let (Some(before), Some(inside), Some(after)) = (before, inside, after) else { return range };
    let in_word = |c: char| !c.is_whitespace();
    let head =
        if inside.starts_with(in_word) { before.len() - before.trim_end_matches(in_word).len() } else { 0 };
    let tail =
        if inside.ends_with(in_word) { after.len() - after.trim_start_matches(in_word).len() } else { 0 };
    if head.max(tail) > LONGEST_WORD { range } else { range.start - head..range.end + tail }
}

/// The chunks of a document, with lines and text.
///
/// # Errors
/// What the chunker refuses, and `InvalidOutput` when its spans do not fit the text.
pub fn chunks(document: &Document, chunker: &dyn Chunker) -> Result<Vec<Chunk>> {
    let (id, source): (Arc<str>, Arc<str>) = (Arc::from(document.id.as_str()), Arc::from(document.origin()));
    let places = places(document, chunker)?;
    let chunks = places.into_iter().enumerate().map(|(number, place)| Chunk {
        id: chunk_id(&id, number),
        document: Arc::clone(&id),
        source: Arc::clone(&source),
        text: document.text.get(place.bytes.clone()).unwrap_or_default().to_owned(),
        place,
    });
    Ok(chunks.collect())
}

/// The id of a document's chunk.
pub(crate) fn chunk_id(document: &str, number: usize) -> String {
    format!("{document}#{number}")
}

/// The checked places of a document's chunks; a document with a vector of its own is one chunk.
pub(crate) fn places(document: &Document, chunker: &dyn Chunker) -> Result<Vec<Place>> {
    let text = document.text.as_str();
    let spans = if document.vector.is_some() {
        vec![Span { bytes: 0..text.len(), heading: String::new() }]
    } else {
        chunker.split(document)?
    };
    let lines = Lines::of(text);
    let mut last = 0;
    let place = |span: Span| {
        let fits =
            text.get(span.bytes.clone()).is_some_and(|piece| !piece.is_empty()) && span.bytes.start >= last;
        if !fits {
            let expected = "expected spans inside the text, not empty and sorted by their start";
            return Err(Error::new(ErrorKind::InvalidOutput, "chunk.split", expected)
                .with("chunker", chunker.identity())
                .with("document", &document.id)
                .with("bytes", format!("{:?}", span.bytes)));
        }
        last = span.bytes.start;
        Ok(Place { lines: lines.of_range(&span.bytes), bytes: span.bytes, heading: span.heading.into() })
    };
    spans.into_iter().map(place).collect()
}

/// The first heading of a Markdown text, for a title.
pub(crate) fn first_heading(text: &str) -> Option<String> {
    sections(text).into_iter().map(|section| section.heading).find(|heading| !heading.is_empty())
}

/// The text from one heading to the next.
#[derive(Debug)]
struct Section {
    start: usize,
    heading: String,
}

/// The sections of a Markdown text in order; the first may stand before any heading.
fn sections(text: &str) -> Vec<Section> {
    // Without the metadata block, front matter would be read as a heading underlined with `---`.
    let options = Options::ENABLE_TABLES | Options::ENABLE_YAML_STYLE_METADATA_BLOCKS;
    let mut sections = vec![Section { start: 0, heading: String::new() }];
    let mut path: Vec<(HeadingLevel, String)> = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (event, range) in Parser::new_ext(text, options).into_offset_iter() {
        match event {
            Event::Start(Tag::Heading { .. }) => open = Some((range.start, String::new())),
            Event::End(TagEnd::Heading(level)) => {
                let Some((start, title)) = open.take() else { continue };
                while path.last().is_some_and(|(above, _)| *above >= level) {
                    path.pop();
                }
                path.push((level, title.trim().to_owned()));
                let titles = path.iter().map(|(_, title)| title.as_str()).filter(|title| !title.is_empty());
                sections.push(Section { start, heading: titles.collect::<Vec<_>>().join(HEADING_SEPARATOR) });
            }
            Event::Text(piece) | Event::Code(piece) => {
                if let Some((_, title)) = &mut open {
                    title.push_str(&piece);
                }
            }
            Event::SoftBreak | Event::HardBreak => {
                if let Some((_, title)) = &mut open {
                    title.push(' ');
                }
            }
            _ => {}
        }
    }
    sections
}

/// The heading of the section that holds most of a range.
fn heading_of<'a>(sections: &'a [Section], bytes: &Range<usize>) -> &'a str {
    // A piece may begin with the end of the section before (overlap), so its start alone would mislead.
    let first = sections.partition_point(|section| section.start <= bytes.start).saturating_sub(1);
    let near = sections.get(first..).unwrap_or_default();
    let ends = near.iter().skip(1).map(|section| section.start).chain([usize::MAX]);
    let mut best = (0, "");
    for (section, end) in near.iter().zip(ends) {
        if section.start >= bytes.end {
            break;
        }
        let shared = end.min(bytes.end).saturating_sub(section.start.max(bytes.start));
        if shared > best.0 {
            best = (shared, section.heading.as_str());
        }
    }
    best.1
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert, prop_assert_eq, proptest};

    use super::*;

    fn check(size: usize, text: &str) -> Vec<Chunk> {
        chunks(&Document::new("doc", text), &MarkdownChunker::new(size, size / 8).unwrap()).unwrap()
    }

    #[test]
    fn each_chunk_knows_its_headings_and_lines() {
        let text = "intro text\n\n# A\n\nfirst part\n\n## B *x*\n\nsecond part\n\n# C\n\nthird part\n";
        let found: Vec<_> = check(24, text)
            .into_iter()
            .map(|chunk| (chunk.place.heading.to_string(), chunk.place.lines))
            .collect();
        assert_eq!(
            found,
            [
                (String::new(), (1, 1)),
                ("A".into(), (3, 5)),
                ("A > B x".into(), (7, 9)),
                ("C".into(), (11, 13)),
            ]
        );
    }

    #[test]
    fn no_word_is_cut_at_a_mark_inside_it() {
        let text =
            "It is the spouse's \"smoking\" that wasn't counted *anywhere*, nor the children's. ".repeat(8);
        for size in 20..60 {
            for chunk in check(size, &text) {
                let bytes = chunk.place.bytes;
                let starts = text[..bytes.start].ends_with(char::is_whitespace) || bytes.start == 0;
                let ends = text[bytes.end..].starts_with(char::is_whitespace) || bytes.end == text.len();
                assert!(starts && ends, "{size}: {:?}", chunk.text);
            }
        }
    }

    #[test]
    fn front_matter_is_no_heading() {
        let chunks =
            check(200, "---\ntitle: x\n---\n\n# Real\n\ntext long enough to be the larger part of it\n");
        assert_eq!(&*chunks[0].place.heading, "Real");
    }

    #[test]
    fn a_txt_source_is_cut_as_plain_text() {
        let document =
            Document { source: Some("a.TXT".into()), ..Document::new("a", "# not a heading\n\nbody") };
        let chunks = chunks(&document, &MarkdownChunker::default()).unwrap();
        assert_eq!((chunks.len(), &*chunks[0].place.heading), (1, ""));
    }

    #[test]
    fn a_document_with_its_own_vector_stays_whole() {
        let document = Document { vector: Some(vec![1.0]), ..Document::new("a", "x ".repeat(2000)) };
        assert_eq!(chunks(&document, &MarkdownChunker::default()).unwrap().len(), 1);
    }

    #[test]
    fn an_overlap_as_large_as_the_size_is_refused() {
        assert_eq!(MarkdownChunker::new(100, 100).unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(MarkdownChunker::new(0, 0).unwrap_err().kind(), ErrorKind::InvalidInput);
    }

    #[test]
    fn a_long_text_is_cut_in_windows_before_headings_else_behind_a_space() {
        let section = format!("# S\n\n{}\n\n", "word ".repeat(1800));
        let text = section.repeat(5);
        let starts: Vec<&str> =
            windows(&text, &sections(&text)).into_iter().map(|w| &text[w.start..w.start + 3]).collect();
        assert_eq!(starts, ["# S"; 5]);
        let line = "word ".repeat(10_000);
        let cuts = windows(&line, &[]);
        assert!(cuts.iter().all(|w| w.len() <= WINDOW && line[w.clone()].starts_with("word")), "{cuts:?}");
        assert_eq!(cuts.iter().map(Range::len).sum::<usize>(), line.len());
        let solid = "é".repeat(20_000);
        assert_eq!(windows(&solid, &[]).iter().map(Range::len).sum::<usize>(), solid.len());
    }

    proptest! {
        #[test]
        fn chunks_hold_every_word_exactly_where_they_say(
            text in "(# |## |[a-z]{1,9}|é日本|[ .\n]|\r\n|- |`|\\||---\n){0,120}",
            size in 8usize..80,
        ) {
            let chunks = check(size, &text);
            let mut covered = vec![false; text.len()];
            for chunk in &chunks {
                prop_assert_eq!(&text[chunk.place.bytes.clone()], &chunk.text);
                prop_assert!(chunk.text.chars().count() <= size + 2 * LONGEST_WORD);
                covered[chunk.place.bytes.clone()].fill(true);
            }
            for (at, c) in text.char_indices().filter(|(_, c)| c.is_alphanumeric()) {
                prop_assert!(covered[at], "{} at {} is in no chunk", c, at);
            }
        }
    }
}
