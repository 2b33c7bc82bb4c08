//! `AgentIndex`: what agents are about, searched by words, word pairs and vectors.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::Value;

use crate::{
    agent::{AgentSpec, Candidate, Match, terms},
    error::Result,
    orchestrator::Supervisor,
    rag::{
        Corpus, Embedder, embed_checked,
        lexical::{Language, StandardAnalyzer},
    },
    runtime::Context,
};

/// How much the vector of an embedder that only knows words counts beside the words themselves.
pub(super) const LEXICAL_SHARE: f64 = 1.0 / 3.0;
/// How much the vector of an embedder that knows meaning counts beside the words themselves.
pub(super) const SEMANTIC_SHARE: f64 = 2.0 / 3.0;

/// An agent of a team and its texts; what an index is made of.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub(super) team: String,
    pub(super) candidate: Candidate,
}

/// Texts about each agent: its own, those by which others refer to it, and examples of what it is asked.
pub(super) fn entries(teams: &[Supervisor], examples: &BTreeMap<String, Vec<String>>) -> Vec<Entry> {
    let agents = || teams.iter().flat_map(|team| team.agents().iter().map(move |agent| (team, agent.spec())));
    // Plain names may be everyday words, and say nothing here.
    let titles: Vec<&str> =
        agents().map(|(_, spec)| &*spec.title).filter(|title| !title.is_empty()).collect();
    let mut said: HashMap<String, Vec<String>> = HashMap::new();
    let mut entries: Vec<(Entry, String)> = Vec::new();
    for (team, spec) in agents() {
        let own = own_text(spec, &titles, &mut said);
        let name = format!("{}.{}", team.name(), spec.name);
        let of_agent = examples.get(&name).or_else(|| examples.get(spec.name.as_str()));
        let mut candidate = about(spec).with(0.7, own);
        for example in of_agent.into_iter().flatten() {
            candidate = candidate.with(1.0, example);
        }
        entries.push((Entry { team: team.name().to_owned(), candidate }, spec.title().to_owned()));
    }
    entries
        .into_iter()
        .map(|(mut entry, title)| {
            if let Some(said) = said.get(&title) {
                entry.candidate = entry.candidate.with(1.5, said.join(" "));
            }
            entry
        })
        .collect()
}

/// What an agent says about itself in the fields of its spec.
fn about(spec: &AgentSpec) -> Candidate {
    let mut candidate = Candidate::new(spec.name.as_str())
        .with(2.0, spec.tags.join(" "))
        .with(2.0, spec.title())
        .with(1.5, &*spec.description);
    for word in &spec.routing.words {
        // Each by itself: the end of one and the beginning of the next are no pair.
        candidate = candidate.with(3.0, word);
    }
    for capability in &spec.capabilities {
        candidate = candidate
            .with(1.5, capability.name.replace('_', " "))
            .with(1.5, &capability.description)
            .with(1.0, descriptions(capability.input.as_value()))
            .with(0.5, descriptions(capability.output.as_value()));
    }
    candidate
}

/// The sentences of the instructions that name no other agent; those that do are about the other one.
fn own_text(spec: &AgentSpec, titles: &[&str], said: &mut HashMap<String, Vec<String>>) -> String {
    let mut own = String::new();
    for sentence in spec.instructions.split_inclusive(['.', '!', '?', '\n']) {
        let others: Vec<&&str> =
            titles.iter().filter(|title| **title != spec.title() && sentence.contains(**title)).collect();
        if others.is_empty() {
            own.push_str(sentence);
            own.push(' ');
        }
        for other in others {
            let parts = sentence.split([',', ';']).flat_map(|part| part.split(" and "));
            let about = parts.filter(|part| part.contains(*other)).map(|part| part.replace(*other, " "));
            said.entry((*other).to_owned()).or_default().extend(about);
        }
    }
    own
}

/// The descriptions within a schema.
fn descriptions(schema: &Value) -> String {
    fn collect(schema: &Value, found: &mut Vec<String>) {
        match schema {
            Value::Object(fields) => {
                if let Some(Value::String(text)) = fields.get("description") {
                    found.push(text.clone());
                }
                fields.values().for_each(|value| collect(value, found));
            }
            Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
            _ => {}
        }
    }
    let mut found = Vec::new();
    collect(schema, &mut found);
    found.join(" ")
}

/// Agents, ready to be ranked.
#[derive(Debug)]
pub(super) struct AgentIndex {
    pub(super) entries: Vec<Entry>,
    analyzer: StandardAnalyzer,
    plain: StandardAnalyzer,
    weights: Vec<BTreeMap<String, f64>>,
    frequency: HashMap<String, usize>,
    /// Lengths of the weighted vectors of words, 1 on average.
    lengths: Vec<f64>,
    vectors: Vec<Vec<f32>>,
}

impl AgentIndex {
    pub(super) async fn new(ctx: &Context, embedder: &dyn Embedder, entries: Vec<Entry>) -> Result<Self> {
        let mut index = Self {
            entries,
            analyzer: StandardAnalyzer::default(),
            plain: StandardAnalyzer::new(Language::Any),
            weights: Vec::new(),
            frequency: HashMap::new(),
            lengths: Vec::new(),
            vectors: Vec::new(),
        };
        for entry in &index.entries {
            let mut weights: BTreeMap<String, f64> = BTreeMap::new();
            for (weight, text) in &entry.candidate.texts {
                for feature in index.features(text) {
                    let known = weights.entry(feature).or_default();
                    *known = known.max(*weight);
                }
            }
            index.weights.push(weights);
        }
        for feature in index.weights.iter().flat_map(BTreeMap::keys) {
            *index.frequency.entry(feature.clone()).or_default() += 1;
        }
        index.lengths = index.lengths();
        let texts: Vec<String> = index.entries.iter().map(|entry| text(&entry.candidate)).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        for batch in texts.chunks(embedder.batch().max(1)) {
            index.vectors.extend(embed_checked(ctx, embedder, batch).await?);
        }
        Ok(index)
    }

    /// How well each agent fits, in the order of the entries: words and vector, each as a share of the best.
    pub(super) async fn rank(
        &self,
        ctx: &Context,
        embedder: &dyn Embedder,
        request: &str,
        share: f64,
    ) -> Result<Vec<Match>> {
        let wanted: BTreeSet<String> = self.features(request).into_iter().collect();
        let mut ranked: Vec<Match> = self
            .entries
            .iter()
            .zip(&self.weights)
            .zip(&self.lengths)
            .map(|((entry, weights), length)| {
                let mut shared: Vec<(f64, &String)> = wanted
                    .iter()
                    .filter_map(|it| Some((weights.get(it)? * f64::from(self.rarity(it)), it)))
                    .collect();
                shared.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(b.1)));
                let sum: f64 = shared.iter().map(|(part, _)| part).sum();
                // A long text has more words in common by chance.
                let score = sum / (0.7 + 0.3 * length);
                let words = shared.into_iter().map(|(_, feature)| feature.clone()).collect();
                Match { name: entry.candidate.name.clone(), score, words }
            })
            .collect();
        let vector = embedder.embed_query(ctx, request, self).await?;
        let near: Vec<f64> = self.vectors.iter().map(|known| cosine(known, &vector).max(0.0)).collect();
        let best =
            |scores: &mut dyn Iterator<Item = f64>| scores.fold(0.0_f64, f64::max).max(f64::MIN_POSITIVE);
        let (best_words, best_near) =
            (best(&mut ranked.iter().map(|it| it.score)), best(&mut near.iter().copied()));
        for (it, near) in ranked.iter_mut().zip(near) {
            it.score = (1.0 - share) * it.score / best_words + share * near / best_near;
        }
        Ok(ranked)
    }

    /// Stems, and pairs of neighboring words as they are written.
    ///
    /// Stop words are part of pairs: `how soon` tells agents apart, and `soon` does not.
    fn features(&self, text: &str) -> Vec<String> {
        let plain = terms(&self.plain, text);
        let pairs = plain.iter().zip(plain.iter().skip(1)).map(|(a, b)| format!("{a} {b}"));
        terms(&self.analyzer, text).into_iter().chain(pairs).collect()
    }

    fn lengths(&self) -> Vec<f64> {
        let length = |weights: &BTreeMap<String, f64>| -> f64 {
            weights
                .iter()
                .map(|(feature, weight)| (weight * f64::from(self.rarity(feature))).powi(2))
                .sum::<f64>()
                .sqrt()
        };
        let lengths: Vec<f64> = self.weights.iter().map(length).collect();
        let mean = (lengths.iter().sum::<f64>() / lengths.len().max(1) as f64).max(f64::MIN_POSITIVE);
        lengths.into_iter().map(|length| length / mean).collect()
    }
}

impl Corpus for AgentIndex {
    fn rarity(&self, term: &str) -> f32 {
        let all = self.entries.len() as f64;
        let with = self.frequency.get(term).copied().unwrap_or_default() as f64;
        (1.0 + (all - with + 0.5) / (with + 0.5)).ln() as f32
    }
}

/// All texts of a candidate; the title stands in for an agent that says nothing.
fn text(candidate: &Candidate) -> String {
    let texts: Vec<&str> = candidate.texts.iter().map(|(_, text)| text.as_str()).collect();
    let text = texts.join(" ");
    if text.trim().is_empty() { candidate.name.clone() } else { text }
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum::<f64>();
    let length = (dot(a, a) * dot(b, b)).sqrt();
    if length > 0.0 { dot(a, b) / length } else { 0.0 }
}
