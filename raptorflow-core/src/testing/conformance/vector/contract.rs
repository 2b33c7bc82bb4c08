//! The contract of `VectorIndex`, except for recall.

use crate::{
    error::{ErrorKind, Result},
    rag::vector::Metric,
    testing::conformance::{Case, case::cases},
};

use super::{recall, subject::VectorSubject};

/// All cases of [`crate::rag::vector::VectorIndex`].
#[must_use]
pub fn vector_cases() -> Vec<Case<VectorSubject>> {
    let mut all = cases![
        put_then_search_finds_the_vector_with_its_score,
        put_of_a_present_key_replaces_its_vector,
        a_batch_that_names_a_key_twice_keeps_the_last_vector,
        equal_vectors_under_different_keys_are_all_found,
        a_vector_of_another_dimension_is_invalid_and_nothing_of_the_batch_is_kept,
        a_number_that_is_not_finite_is_invalid_and_nothing_of_the_batch_is_kept,
        a_vector_of_zeros_is_invalid_under_cosine_alone,
        delete_says_how_many_of_the_keys_existed,
        deleted_keys_are_never_returned,
        search_yields_the_best_first_ties_by_the_smaller_key,
        search_asks_the_filter_inside,
        a_k_of_0_and_an_empty_index_yield_nothing,
        a_k_beyond_the_count_yields_all,
        very_long_and_very_short_vectors_keep_their_direction,
        everything_may_be_deleted_and_added_again,
        searches_go_on_while_vectors_change,
    ];
    all.extend(recall::cases());
    all
}

const METRICS: [Metric; 3] = [Metric::Cosine, Metric::Dot, Metric::Euclidean];

async fn put_then_search_finds_the_vector_with_its_score(subject: VectorSubject) -> Result<()> {
    for (metric, expected) in METRICS.into_iter().zip([0.8, 20.0, -(13.0_f32).sqrt()]) {
        let index = subject.open(2, metric).await?;
        index.put(&[(9, [4.0, 3.0])]).await?;
        let found = index.search(&[2.0, 0.0], 1).await?;
        assert_eq!(found.len(), 1);
        let expected = if metric == Metric::Dot { 8.0 } else { expected };
        let (key, score) = found.first().map_or((0, 0.0), |scored| (scored.key, scored.score));
        assert!(key == 9 && (score - expected).abs() < 1e-5, "{metric:?}: {score} instead of {expected}");
    }
    Ok(())
}

async fn put_of_a_present_key_replaces_its_vector(subject: VectorSubject) -> Result<()> {
    let index = subject.open(2, Metric::Cosine).await?;
    index.put(&[(1, [1.0, 0.0]), (2, [0.7, 0.7])]).await?;
    index.put(&[(1, [0.0, 1.0])]).await?;
    assert_eq!(index.keys(&[1.0, 0.0], 5).await?, [2, 1]);
    assert_eq!(index.keys(&[0.0, 1.0], 1).await?, [1]);
    assert_eq!(index.count().await?, 2);
    Ok(())
}

async fn a_batch_that_names_a_key_twice_keeps_the_last_vector(subject: VectorSubject) -> Result<()> {
    let index = subject.open(2, Metric::Euclidean).await?;
    index.put(&[(1, [5.0, 5.0]), (2, [1.0, 0.0]), (1, [0.0, 0.0])]).await?;
    assert_eq!(index.keys(&[0.0, 0.0], 5).await?, [1, 2]);
    assert_eq!(index.count().await?, 2);
    Ok(())
}

async fn equal_vectors_under_different_keys_are_all_found(subject: VectorSubject) -> Result<()> {
    let index = subject.open(3, Metric::Cosine).await?;
    let copies: Vec<(u64, [f32; 3])> = (0..150).map(|key| (key, [1.0, 2.0, 3.0])).collect();
    index.put(&copies).await?;
    index.put(&[(500, [3.0, 2.0, 1.0])]).await?;
    let expected: Vec<u64> = (0..150).collect();
    assert_eq!(index.keys(&[1.0, 2.0, 3.0], 150).await?, expected);
    assert_eq!(index.keys(&[3.0, 2.0, 1.0], 1).await?, [500]);
    Ok(())
}

async fn a_vector_of_another_dimension_is_invalid_and_nothing_of_the_batch_is_kept(
    subject: VectorSubject,
) -> Result<()> {
    let index = subject.open(2, Metric::Cosine).await?;
    for wrong in [vec![], vec![1.0], vec![1.0, 2.0, 3.0]] {
        let batch = [(1, vec![1.0, 0.0]), (2, wrong.clone())];
        assert_invalid(index.put(&batch).await);
        assert_invalid(index.search(&wrong, 1).await);
    }
    assert_eq!(index.count().await?, 0);
    Ok(())
}

async fn a_number_that_is_not_finite_is_invalid_and_nothing_of_the_batch_is_kept(
    subject: VectorSubject,
) -> Result<()> {
    for metric in METRICS {
        let index = subject.open(2, metric).await?;
        for wrong in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            assert_invalid(index.put(&[(1, [1.0, 0.0]), (2, [1.0, wrong])]).await);
            assert_invalid(index.search(&[wrong, 1.0], 1).await);
        }
        assert_eq!(index.count().await?, 0);
    }
    Ok(())
}

async fn a_vector_of_zeros_is_invalid_under_cosine_alone(subject: VectorSubject) -> Result<()> {
    let cosine = subject.open(2, Metric::Cosine).await?;
    assert_invalid(cosine.put(&[(1, [1.0, 0.0]), (2, [0.0, 0.0])]).await);
    assert_invalid(cosine.search(&[0.0, 0.0], 1).await);
    assert_eq!(cosine.count().await?, 0);
    for metric in [Metric::Dot, Metric::Euclidean] {
        let index = subject.open(2, metric).await?;
        index.put(&[(1, [0.0, 0.0])]).await?;
        assert_eq!(index.keys(&[0.0, 0.0], 1).await?, [1]);
    }
    Ok(())
}

async fn delete_says_how_many_of_the_keys_existed(subject: VectorSubject) -> Result<()> {
    let index = subject.open(2, Metric::Cosine).await?;
    index.put(&[(1, [1.0, 0.0]), (2, [0.0, 1.0]), (3, [1.0, 1.0])]).await?;
    assert_eq!(index.delete(&[1, 3, 7]).await?, 2);
    assert_eq!(index.delete(&[1]).await?, 0);
    assert_eq!(index.delete(&[]).await?, 0);
    assert_eq!(index.count().await?, 1);
    Ok(())
}

async fn deleted_keys_are_never_returned(subject: VectorSubject) -> Result<()> {
    let index = subject.open(4, Metric::Euclidean).await?;
    let items: Vec<(u64, Vec<f32>)> = recall::clustered(200, 4, 1);
    index.put(&items).await?;
    let gone: Vec<u64> = (0..200).filter(|key| key % 3 == 0).collect();
    assert_eq!(index.delete(&gone).await?, gone.len());
    for (_, vector) in &items {
        let found = index.keys(vector, 20).await?;
        assert_eq!(found.len(), 20);
        assert!(found.iter().all(|key| key % 3 != 0), "{found:?}");
    }
    Ok(())
}

async fn search_yields_the_best_first_ties_by_the_smaller_key(subject: VectorSubject) -> Result<()> {
    let index = subject.open(2, Metric::Euclidean).await?;
    index
        .put(&[(7, [0.0, 1.0]), (3, [0.0, -1.0]), (5, [1.0, 0.0]), (1, [3.0, 0.0]), (9, [0.5, 0.0])])
        .await?;
    assert_eq!(index.keys(&[0.0, 0.0], 5).await?, [9, 3, 5, 7, 1]);
    assert_eq!(index.keys(&[0.0, 0.0], 3).await?, [9, 3, 5]);
    Ok(())
}

async fn search_asks_the_filter_inside(subject: VectorSubject) -> Result<()> {
    let index = subject.open(4, Metric::Cosine).await?;
    let items = recall::clustered(600, 4, 2);
    index.put(&items).await?;
    for step in [2, 10, 100] {
        for (_, vector) in items.iter().take(20) {
            let found = index.allowed(vector, 6, &|key| key % step == 1).await?;
            assert_eq!(found.len(), 6, "one in {step}");
            assert!(found.iter().all(|key| key % step == 1), "{found:?}");
        }
    }
    assert!(index.allowed(&[1.0, 0.0, 0.0, 0.0], 6, &|_| false).await?.is_empty());
    assert_eq!(index.allowed(&[1.0, 0.0, 0.0, 0.0], 6, &|key| key == 77).await?, [77]);
    Ok(())
}

async fn a_k_of_0_and_an_empty_index_yield_nothing(subject: VectorSubject) -> Result<()> {
    let index = subject.open(2, Metric::Cosine).await?;
    assert_eq!(index.search(&[1.0, 0.0], 5).await?, []);
    assert_eq!(index.delete(&[1]).await?, 0);
    index.put::<[f32; 2]>(&[]).await?;
    index.put(&[(1, [1.0, 0.0])]).await?;
    assert_eq!(index.search(&[1.0, 0.0], 0).await?, []);
    Ok(())
}

async fn a_k_beyond_the_count_yields_all(subject: VectorSubject) -> Result<()> {
    let index = subject.open(3, Metric::Cosine).await?;
    let items = recall::clustered(100, 3, 3);
    index.put(&items).await?;
    for k in [100, 101, usize::MAX] {
        let mut found = index.keys(&[1.0, 0.5, 0.2], k).await?;
        found.sort_unstable();
        assert_eq!(found, (0..100).collect::<Vec<u64>>());
    }
    Ok(())
}

async fn very_long_and_very_short_vectors_keep_their_direction(subject: VectorSubject) -> Result<()> {
    let index = subject.open(2, Metric::Cosine).await?;
    index.put(&[(1, [1e30, 1e30]), (2, [1e-30, 0.0]), (3, [0.0, 1e30])]).await?;
    assert_eq!(index.keys(&[1e-25, 1e-25], 1).await?, [1]);
    assert_eq!(index.keys(&[1e25, 1e20], 1).await?, [2]);
    Ok(())
}

async fn everything_may_be_deleted_and_added_again(subject: VectorSubject) -> Result<()> {
    let index = subject.open(4, Metric::Cosine).await?;
    let items = recall::clustered(120, 4, 4);
    let keys: Vec<u64> = (0..120).collect();
    for _ in 0..3 {
        index.put(&items).await?;
        for (key, vector) in &items {
            assert_eq!(index.keys(vector, 1).await?, [*key]);
        }
        assert_eq!(index.delete(&keys).await?, 120);
        assert_eq!(index.search(&[1.0, 0.0, 0.0, 0.0], 3).await?, []);
    }
    Ok(())
}

async fn searches_go_on_while_vectors_change(subject: VectorSubject) -> Result<()> {
    let index = subject.open(4, Metric::Cosine).await?;
    let items = recall::clustered(150, 4, 5);
    index.put(&items).await?;
    let (writer, changing) = (index.clone(), items.clone());
    let work = async move {
        for round in 0..5_u64 {
            let moved: Vec<(u64, Vec<f32>)> =
                changing.iter().map(|(key, vector)| (key + 1000 * (round % 2), vector.clone())).collect();
            writer.put(&moved).await?;
            let gone: Vec<u64> = (0..150).map(|key| key + 1000 * ((round + 1) % 2)).collect();
            writer.delete(&gone).await?;
        }
        Result::Ok(())
    };
    let work = index.ctx.runtime().tasks().spawn("conformance.change", work);
    while !work.is_finished() {
        for (_, vector) in items.iter().take(20) {
            let found = index.search(vector, 5).await?;
            assert!(found.is_sorted_by(|a, b| a.score >= b.score), "{found:?}");
            tokio::task::yield_now().await;
        }
    }
    work.await??;
    assert_eq!(index.count().await?, 150);
    Ok(())
}

#[track_caller]
fn assert_invalid<T>(outcome: Result<T>) {
    let kind = outcome.err().map(|err| err.kind());
    assert_eq!(kind, Some(ErrorKind::InvalidInput));
}
