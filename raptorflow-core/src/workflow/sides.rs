//! Who says the same: opinions in sides, by their canonical form or by meaning.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::{
    error::{Error, ErrorKind, Result},
    rag::{Embedder, embed_checked},
    runtime::Context,
    workflow::{Opinion, Side, TextMatch, canonical::canonical_value},
};

/// The opinions that say one thing.
#[derive(Clone, Debug)]
pub(super) struct Group {
    /// Their canonical form; the smallest one where several mean the same.
    pub(super) key: String,
    /// Places among the opinions, in order.
    pub(super) members: Vec<usize>,
    pub(super) side: Side,
}

/// Opinions in groups: the most weight first, then by key, whatever the order of the opinions is.
///
/// `heads` lets everybody weigh 1; `absent` is the weight of those who gave nothing, which is part of the whole.
pub(super) fn groups(opinions: &[Opinion], keys: &[String], heads: bool, absent: f64) -> Vec<Group> {
    let weight = |place: &usize| match opinions.get(*place) {
        Some(_) if heads => 1.0,
        Some(opinion) => opinion.weight,
        None => 0.0,
    };
    let mut by_key: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (place, key) in keys.iter().enumerate() {
        by_key.entry(key).or_default().push(place);
    }
    let total = sum(opinions.iter().enumerate().map(|(place, _)| weight(&place)).collect()) + absent;
    let mut groups: Vec<Group> = by_key
        .into_iter()
        .map(|(key, members)| {
            let weighs = sum(members.iter().map(weight).collect());
            let of = || members.iter().filter_map(|place| opinions.get(*place));
            let side = Side {
                value: wording(&of().collect::<Vec<_>>()),
                agents: of().map(|opinion| opinion.agent.clone()).collect(),
                weight: weighs,
                share: if total > 0.0 { weighs / total } else { 0.0 },
            };
            Group { key: key.to_owned(), members, side }
        })
        .collect();
    groups.sort_by(|a, b| b.side.weight.total_cmp(&a.side.weight).then_with(|| a.key.cmp(&b.key)));
    groups
}

/// A sum that does not depend on the order.
pub(super) fn sum(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers.into_iter().sum()
}

/// Of several ways to say one thing the one with the most weight; of those the first by its text.
fn wording(opinions: &[&Opinion]) -> Value {
    let mut by_text: BTreeMap<String, (Vec<f64>, &Value)> = BTreeMap::new();
    for opinion in opinions {
        let known = by_text.entry(opinion.value.to_string()).or_insert_with(|| (Vec::new(), &opinion.value));
        known.0.push(opinion.weight);
    }
    let mut best: Option<(f64, &Value)> = None;
    for (weights, value) in by_text.into_values() {
        let weight = sum(weights);
        if best.is_none_or(|(most, _)| weight > most) {
            best = Some((weight, value));
        }
    }
    best.map(|(_, value)| value.clone()).unwrap_or_default()
}

/// The canonical form of each opinion.
pub(super) fn keys(opinions: &[Opinion], texts: TextMatch) -> Vec<String> {
    opinions.iter().map(|opinion| canonical_value(&opinion.value, texts)).collect()
}

/// The canonical forms, where those of texts that mean the same are one.
///
/// Texts mean the same when the cosine of their vectors is at least `threshold`, or when a chain of such texts joins
/// them, so that the order makes no difference; other values are compared as they are.
///
/// # Errors
/// `InvalidInput` for a threshold outside of 0 to 1; what the embedder says.
pub(super) async fn keys_by_meaning(
    ctx: &Context,
    embedder: &dyn Embedder,
    threshold: f64,
    opinions: &[Opinion],
    texts: TextMatch,
) -> Result<Vec<String>> {
    if !(0.0..=1.0).contains(&threshold) {
        let message = "expected a threshold from 0 to 1";
        return Err(Error::new(ErrorKind::InvalidInput, "workflow.meaning", message)
            .with("field", "threshold")
            .with("value", threshold));
    }
    let keys = keys(opinions, texts);
    let mut said: BTreeMap<&str, &str> = BTreeMap::new();
    for (opinion, key) in opinions.iter().zip(&keys) {
        if let Value::String(text) = &opinion.value
            && !text.trim().is_empty()
        {
            let known = said.entry(key).or_insert(text);
            // Whichever order they come in, the same wording is embedded.
            *known = (*known).min(text.as_str());
        }
    }
    let (of, texts): (Vec<&str>, Vec<&str>) = said.into_iter().unzip();
    let mut vectors = Vec::with_capacity(texts.len());
    for batch in texts.chunks(embedder.batch().max(1)) {
        vectors.extend(embed_checked(ctx, embedder, batch).await?);
    }
    let joined = join(&of, &vectors, threshold);
    Ok(keys
        .iter()
        .map(|key| joined.get(key.as_str()).map_or_else(|| key.clone(), |to| (*to).to_owned()))
        .collect())
}

/// Each key and the smallest one that it is joined with.
fn join<'a>(keys: &[&'a str], vectors: &[Vec<f32>], threshold: f64) -> BTreeMap<&'a str, &'a str> {
    let mut joined: BTreeMap<&str, &str> = BTreeMap::new();
    for start in keys.iter().copied() {
        if joined.contains_key(start) {
            continue;
        }
        // Keys come in order, so the first of a chain is its smallest.
        let mut open = vec![start];
        joined.insert(start, start);
        while let Some(at) = open.pop() {
            let Some(from) = keys.iter().position(|key| *key == at).and_then(|place| vectors.get(place))
            else {
                continue;
            };
            for (key, vector) in keys.iter().copied().zip(vectors) {
                if !joined.contains_key(key) && cosine(from, vector) >= threshold - 1e-6 {
                    joined.insert(key, start);
                    open.push(key);
                }
            }
        }
    }
    joined
}

fn cosine(left: &[f32], right: &[f32]) -> f64 {
    let dot =
        |a: &[f32], b: &[f32]| -> f64 { a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum() };
    dot(left, right) / (dot(left, left) * dot(right, right)).sqrt()
}
