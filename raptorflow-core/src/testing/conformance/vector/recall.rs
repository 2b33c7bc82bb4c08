//! How many of the true nearest an index finds, on seeded clustered vectors.

use std::collections::HashSet;

use crate::{
    error::Result,
    rag::vector::Metric,
    testing::conformance::{Case, case::cases},
};

use super::subject::{Opened, VectorSubject};

const DIMENSION: usize = 16;
const VECTORS: usize = 800;
const QUERIES: usize = 50;
const K: usize = 10;
/// What the contract promises.
const LEAST: f64 = 0.95;

pub(super) fn cases() -> Vec<Case<VectorSubject>> {
    cases![
        an_index_finds_95_percent_of_the_true_nearest,
        an_index_finds_95_percent_after_deletions,
        an_index_finds_95_percent_of_what_a_filter_allows,
        an_exact_index_finds_exactly_the_true_nearest: "exact",
    ]
}

/// Vectors around some centers, under the keys from 0; the same each time.
pub(super) fn clustered(count: usize, dimension: usize, seed: u64) -> Vec<(u64, Vec<f32>)> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut unit = || random.f32() * 2.0 - 1.0;
    let centers: Vec<Vec<f32>> =
        (0..count.div_ceil(30)).map(|_| (0..dimension).map(|_| unit()).collect()).collect();
    let items = centers.iter().cycle().take(count).zip(0..);
    items.map(|(center, key)| (key, center.iter().map(|x| x + 0.3 * unit()).collect())).collect()
}

/// The true nearest keys, computed in f64 one by one.
fn nearest<'a>(items: impl Iterator<Item = &'a (u64, Vec<f32>)>, query: &[f32], metric: Metric) -> Vec<u64> {
    let dot =
        |a: &[f32], b: &[f32]| -> f64 { a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum() };
    let score = |vector: &[f32]| match metric {
        Metric::Dot => dot(vector, query),
        Metric::Cosine => dot(vector, query) / (dot(vector, vector) * dot(query, query)).sqrt(),
        Metric::Euclidean => 2.0 * dot(vector, query) - dot(vector, vector) - dot(query, query),
    };
    let mut scored: Vec<(f64, u64)> = items.map(|(key, vector)| (score(vector), *key)).collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    scored.into_iter().map(|(_, key)| key).take(K).collect()
}

async fn recall(
    index: &Opened,
    items: &[(u64, Vec<f32>)],
    metric: Metric,
    allows: impl Fn(u64) -> bool + Send + Sync,
) -> Result<f64> {
    let (mut found, mut wanted) = (0, 0);
    for (_, query) in clustered(QUERIES, DIMENSION, 99) {
        let truth = nearest(items.iter().filter(|(key, _)| allows(*key)), &query, metric);
        let keys: HashSet<u64> = index.allowed(&query, K, &allows).await?.into_iter().collect();
        found += truth.iter().filter(|key| keys.contains(key)).count();
        wanted += truth.len();
    }
    Ok(found as f64 / wanted as f64)
}

async fn an_index_finds_95_percent_of_the_true_nearest(subject: VectorSubject) -> Result<()> {
    for metric in [Metric::Cosine, Metric::Dot, Metric::Euclidean] {
        let (index, items) = filled(&subject, metric).await?;
        let recall = recall(&index, &items, metric, |_| true).await?;
        assert!(recall >= LEAST, "{metric:?}: {recall}");
    }
    Ok(())
}

async fn an_index_finds_95_percent_after_deletions(subject: VectorSubject) -> Result<()> {
    let (index, mut items) = filled(&subject, Metric::Cosine).await?;
    // Twice: the second time what was repaired is torn again.
    for (step, rest) in [(3, 1), (2, 0)] {
        let gone: Vec<u64> = items.iter().map(|(key, _)| *key).filter(|key| key % step == rest).collect();
        index.delete(&gone).await?;
        items.retain(|(key, _)| key % step != rest);
        let recall = recall(&index, &items, Metric::Cosine, |_| true).await?;
        assert!(recall >= LEAST, "without one in {step}: {recall}");
    }
    Ok(())
}

async fn an_index_finds_95_percent_of_what_a_filter_allows(subject: VectorSubject) -> Result<()> {
    let (index, items) = filled(&subject, Metric::Cosine).await?;
    for step in [2, 10, 100] {
        let recall = recall(&index, &items, Metric::Cosine, |key| key % step == 0).await?;
        assert!(recall >= LEAST, "one in {step}: {recall}");
    }
    Ok(())
}

async fn an_exact_index_finds_exactly_the_true_nearest(subject: VectorSubject) -> Result<()> {
    for metric in [Metric::Cosine, Metric::Dot, Metric::Euclidean] {
        let (index, items) = filled(&subject, metric).await?;
        let recall = recall(&index, &items, metric, |key| key % 7 != 0).await?;
        assert!(recall >= 1.0, "{metric:?}: {recall}");
    }
    Ok(())
}

async fn filled(subject: &VectorSubject, metric: Metric) -> Result<(Opened, Vec<(u64, Vec<f32>)>)> {
    let (index, items) = (subject.open(DIMENSION, metric).await?, clustered(VECTORS, DIMENSION, 7));
    index.put(&items).await?;
    Ok((index, items))
}
