//! Which of several agents or teams fits a request: weighted words in common, rare ones counting more.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use crate::{
    agent::AgentSpec,
    rag::lexical::{Analyzer as _, StandardAnalyzer},
};

/// Something that a request may be meant for: texts about it, each with a weight.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// Its name.
    pub name: String,
    /// Texts and how much a word of each counts; the largest weight of a word counts, once.
    pub texts: Vec<(f64, String)>,
}

impl Candidate {
    /// A candidate without texts.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), texts: Vec::new() }
    }

    /// Adds a text.
    #[must_use]
    pub fn with(mut self, weight: f64, text: impl Into<String>) -> Self {
        self.texts.push((weight, text.into()));
        self
    }

    /// An agent: routing words count most, then tags and names, then descriptions.
    #[must_use]
    pub fn agent(spec: &AgentSpec) -> Self {
        let mut candidate = Self::new(spec.name.as_str())
            .with(3.0, spec.routing.words.join(" "))
            .with(2.0, spec.tags.join(" "))
            .with(2.0, spec.title())
            .with(1.0, &*spec.description);
        for capability in &spec.capabilities {
            candidate =
                candidate.with(1.5, capability.name.replace('_', " ")).with(0.7, &capability.description);
        }
        candidate
    }
}

/// How well one candidate fits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Match {
    /// The candidate.
    pub name: String,
    /// The sum over the words in common of weight times inverse document frequency; 0 when there are none.
    pub score: f64,
    /// The words in common, the weightiest first, as stems.
    pub words: Vec<String>,
}

/// Ranks candidates for requests.
///
/// A word's inverse document frequency among the n candidates, df of which have it, is
/// `ln(1 + (n - df + 0.5) / (df + 0.5))`, as in BM25.
///
/// ```
/// use raptorflow_core::agent::{Candidate, Matcher};
/// let matcher = Matcher::new([
///     Candidate::new("plans").with(3.0, "plan schedule milestone"),
///     Candidate::new("risks").with(3.0, "risk threat failure"),
/// ]);
/// let ranked = matcher.rank("Which risks threaten the milestones?");
/// assert_eq!(ranked.len(), 2);
/// assert!(ranked[0].score >= ranked[1].score);
/// ```
#[derive(Debug)]
pub struct Matcher {
    analyzer: StandardAnalyzer,
    candidates: Vec<(String, HashMap<String, f64>)>,
    frequency: HashMap<String, usize>,
}

impl Matcher {
    /// Prepares candidates.
    pub fn new(candidates: impl IntoIterator<Item = Candidate>) -> Self {
        let analyzer = StandardAnalyzer::default();
        let mut frequency: HashMap<String, usize> = HashMap::new();
        let mut prepared = Vec::new();
        for candidate in candidates {
            let mut weights: HashMap<String, f64> = HashMap::new();
            for (weight, text) in &candidate.texts {
                for term in terms(&analyzer, text) {
                    let known = weights.entry(term).or_default();
                    *known = known.max(*weight);
                }
            }
            for term in weights.keys() {
                *frequency.entry(term.clone()).or_default() += 1;
            }
            prepared.push((candidate.name, weights));
        }
        Self { analyzer, candidates: prepared, frequency }
    }

    /// All candidates, the best first; equals stay in the order in which they were given.
    #[must_use]
    pub fn rank(&self, request: &str) -> Vec<Match> {
        // Sorted, so that sums of floats do not depend on the order of a hash map.
        let wanted: BTreeMap<String, f64> = terms(&self.analyzer, request)
            .into_iter()
            .map(|term| (term.clone(), self.rarity(&term)))
            .collect();
        let mut ranked: Vec<Match> =
            self.candidates.iter().map(|(name, weights)| score(name, weights, &wanted)).collect();
        ranked.sort_by(|a, b| b.score.total_cmp(&a.score));
        ranked
    }

    fn rarity(&self, term: &str) -> f64 {
        let all = self.candidates.len() as f64;
        let with = self.frequency.get(term).copied().unwrap_or_default() as f64;
        (1.0 + (all - with + 0.5) / (with + 0.5)).ln()
    }
}

/// The terms of a text, repetitions included.
pub(crate) fn terms(analyzer: &StandardAnalyzer, text: &str) -> Vec<String> {
    let mut terms = Vec::new();
    analyzer.analyze(text, &mut |term| terms.push(term.to_owned()));
    terms
}

fn score(name: &str, weights: &HashMap<String, f64>, wanted: &BTreeMap<String, f64>) -> Match {
    let mut shared: Vec<(f64, &String)> =
        wanted.iter().filter_map(|(term, rarity)| Some((weights.get(term)? * rarity, term))).collect();
    shared.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(b.1)));
    Match {
        name: name.to_owned(),
        score: shared.iter().map(|(part, _)| part).sum(),
        words: shared.into_iter().map(|(_, term)| term.clone()).collect(),
    }
}
