//! Diversity of hits (maximal marginal relevance), and what a score is made of.

use std::{collections::HashSet, fmt::Write as _};

use serde_json::Value;

use crate::rag::{
    lexical::{Analyzer as _, StandardAnalyzer},
    retrieve::{Found, Hit, Search},
};

/// How many times more candidates than hits there are to choose from.
const CANDIDATES: usize = 4;

impl Search {
    /// Prefers hits that say something new: each next one has the best of `1 - share` times its score, from 0 to 1
    /// among the candidates, less `share` times its likeness to the nearest one before; off by default.
    ///
    /// Likeness is the share of words that two have in common.
    /// It helps where many documents say the same, and drops the bridges between documents that questions of several
    /// steps need.
    /// A share below 0 counts as 0, one above 1 as 1.
    pub fn diverse(mut self, share: f32) -> Self {
        self.diversity = Some(if share.is_nan() { 0.0 } else { share.clamp(0.0, 1.0) });
        self
    }

    /// How many hits there have to be before the most diverse are chosen.
    pub(crate) fn depth(&self) -> usize {
        if self.diversity.is_some() { self.k.saturating_mul(CANDIDATES) } else { self.k }
    }

    /// The hits to give, of all that were found.
    pub(crate) fn choose(&self, found: Vec<Found>) -> Vec<Found> {
        match self.diversity {
            Some(share) => most_diverse(found, self.k, share),
            None => found,
        }
    }
}

fn most_diverse(found: Vec<Found>, k: usize, share: f32) -> Vec<Found> {
    let analyzer = StandardAnalyzer::default();
    let terms = |found: &Found| {
        let mut terms = HashSet::new();
        analyzer.analyze(found.text(), &mut |term| {
            terms.insert(term.to_owned());
        });
        terms
    };
    let (low, high) = found.iter().fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), found| {
        (low.min(found.score), high.max(found.score))
    });
    let relevance = |found: &Found| if high > low { (found.score - low) / (high - low) } else { 1.0 };
    // With its terms and its likeness to the nearest hit that is chosen.
    let mut rest: Vec<(Found, HashSet<String>, f32)> = found
        .into_iter()
        .map(|found| (terms(&found), found))
        .map(|(terms, found)| (found, terms, 0.0))
        .collect();
    let mut chosen = Vec::new();
    while chosen.len() < k {
        let gain = |(found, _, like): &(Found, HashSet<String>, f32)| {
            (1.0 - share) * relevance(found) - share * like
        };
        // The first of equals, which is the better one.
        let best = rest.iter().enumerate().rev().max_by(|a, b| gain(a.1).total_cmp(&gain(b.1)));
        let Some(best) = best.map(|(at, _)| at) else { break };
        let (found, terms, _) = rest.remove(best);
        for (_, other, like) in &mut rest {
            let shared = terms.intersection(other).count() as f32;
            let all = (terms.len() + other.len()) as f32 - shared;
            *like = like.max(if all > 0.0 { shared / all } else { 1.0 });
        }
        chosen.push(found);
    }
    chosen
}

impl Hit {
    /// One line on where it stands and what its score is made of, for people who wonder why it was found.
    ///
    /// ```
    /// use raptorflow_core::{KnowledgeBase, rag::{Document, HashingEmbedder, Mode}};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> raptorflow_core::Result<()> {
    /// let kb = KnowledgeBase::in_memory(HashingEmbedder::default()).await?;
    /// kb.add([Document::new("plans", "# Plans\n\nThe basic plan costs ₹499 a month.")]).await?;
    /// let hits = kb.search("basic plan").mode(Mode::Lexical).await?;
    /// assert!(hits[0].explain().starts_with("plans:1-3 (Plans) score "), "{}", hits[0].explain());
    /// assert!(hits[0].explain().contains("lexical"));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn explain(&self) -> String {
        let (first, last) = self.lines;
        let mut line = format!("{}:{first}-{last}", self.source);
        if !self.heading.is_empty() {
            let _ = write!(line, " ({})", self.heading);
        }
        let _ = write!(line, " score {:.4}", self.score);
        let parts = serde_json::to_value(self.parts).unwrap_or_default();
        for (name, part) in parts.as_object().into_iter().flatten() {
            if let Some(part) = Value::as_f64(part) {
                let _ = write!(line, ", {name} {part:.4}");
            }
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::rag::{
        catalog::Entry,
        document::{Document, Place},
        retrieve::ScoreParts,
    };

    fn check(share: f32, expected: &[&str]) {
        let texts =
            [("a", "red boats sail", 1.0), ("b", "red boats sail home", 0.9), ("c", "prices of bread", 0.5)];
        let found = texts.map(|(id, text, score)| {
            let document = Document::new(id, text);
            let place = Place { bytes: 0..text.len(), lines: (1, 1), heading: "".into() };
            let entry = Arc::new(Entry::new(document.clone(), document.digest(), vec![place], 0));
            Found { entry, number: 0, score, parts: ScoreParts::default() }
        });
        let chosen = most_diverse(found.to_vec(), 2, share);
        let ids: Vec<&str> = chosen.iter().map(|found| &**found.entry.id()).collect();
        assert_eq!(ids, expected, "{share}");
    }

    #[test]
    fn a_copy_gives_way_to_something_new_as_far_as_it_is_asked_for() {
        check(0.0, &["a", "b"]);
        check(0.3, &["a", "b"]);
        check(0.6, &["a", "c"]);
        check(1.0, &["a", "c"]);
    }
}
