//! Nearest neighbors of given vectors by our graph: a JSON line for what was built and for each way to search it.

use std::{collections::HashSet, fs, future::Future, path::Path, time::Instant};

use futures_util::FutureExt as _;
use raptorflow_core::{
    rag::vector::{HnswIndex, KeyFilter, VectorIndex, VectorQuery},
    runtime::{Context, Runtime},
};
use serde_json::json;

const K: usize = 10;
/// How many candidates a search weighs.
const EFFORTS: [usize; 8] = [16, 24, 32, 48, 64, 96, 128, 192];
/// A filter allows one key in so many.
const STEPS: [u64; 3] = [2, 10, 100];
/// The effort at which an index that changed is compared with a fresh one.
const EFFORT: usize = 64;
/// Each way is measured so often, and the quickest counts: what disturbs only makes slower.
const ROUNDS: usize = 3;
/// Rounds in which a tenth of all vectors is replaced.
const CHURN: u64 = 10;

type Vectors = Vec<Vec<f32>>;
type Truth = Vec<Vec<u64>>;

/// What every measurement needs.
struct Trial<'a> {
    tokio: &'a tokio::runtime::Runtime,
    ctx: Context,
    vectors: Vectors,
    queries: Vectors,
    /// Has `truth-<step>.npy`: by query the true nearest keys that are multiples of the step.
    folder: &'a Path,
}

/// Builds, searches, filters and changes.
pub(crate) fn run(
    tokio: &tokio::runtime::Runtime,
    vectors: &str,
    queries: &str,
    folder: &str,
) -> Result<(), String> {
    let ctx = tokio.block_on(async { Runtime::current() }).map_err(|err| format!("{err:?}"))?;
    let (vectors, queries) = (floats(vectors)?, floats(queries)?);
    let trial = Trial { tokio, ctx: Context::new(&ctx), vectors, queries, folder: Path::new(folder) };
    let before = cpu();
    let index = trial.built(|_| true)?;
    let build = cpu() - before;
    let kernel = index.instructions();
    println!("{}", json!({ "part": "build", "cpu": build, "bytes": index.graph_bytes(), "kernel": kernel }));
    let truth = trial.truth(1)?;
    for effort in EFFORTS {
        trial.search("search", &index, &truth, effort, None);
    }
    for step in STEPS {
        let truth = trial.truth(step)?;
        let allows = move |key: u64| key.is_multiple_of(step);
        for effort in EFFORTS {
            trial.search(&format!("filter-{step}"), &index, &truth, effort, Some(&allows));
        }
    }
    trial.snapshot(&index)?;
    trial.change(&index)
}

impl Trial<'_> {
    fn wait<T, E: std::fmt::Debug>(&self, work: impl Future<Output = Result<T, E>>) -> Result<T, String> {
        self.tokio.block_on(work).map_err(|err| format!("{err:?}"))
    }

    fn items(&self, wanted: impl Fn(u64) -> bool) -> Vec<(u64, &[f32])> {
        let all = (0..).zip(&self.vectors).map(|(key, vector)| (key, vector.as_slice()));
        all.filter(|(key, _)| wanted(*key)).collect()
    }

    fn built(&self, wanted: impl Fn(u64) -> bool) -> Result<HnswIndex, String> {
        let dimension = self.vectors.first().map_or(0, Vec::len);
        // Never by comparing all, so that the graph is measured.
        let index = HnswIndex::builder(dimension).exact_below(0).build().map_err(|err| format!("{err:?}"))?;
        self.wait(index.put(&self.ctx, &self.items(wanted)))?;
        Ok(index)
    }

    fn truth(&self, step: u64) -> Result<Truth, String> {
        let (rows, width, bytes) = numbers(&self.folder.join(format!("truth-{step}.npy")), "<i8")?;
        let (keys, _) = bytes.as_chunks::<8>();
        let keys: Vec<u64> = keys.iter().map(|key| u64::from_le_bytes(*key)).collect();
        Ok(keys.chunks(width).take(rows).map(<[u64]>::to_vec).collect())
    }

    fn search(
        &self,
        part: &str,
        index: &HnswIndex,
        truth: &Truth,
        effort: usize,
        filter: Option<KeyFilter<'_>>,
    ) -> f64 {
        let _inside = self.tokio.enter();
        let (mut best, mut slowest, mut found) = (f64::INFINITY, 0.0_f64, Vec::new());
        for _ in 0..ROUNDS {
            let before = cpu();
            found.clear();
            slowest = 0.0;
            for query in &self.queries {
                let start = Instant::now();
                let query = VectorQuery { filter, effort: Some(effort), ..VectorQuery::new(query, K) };
                let hits =
                    index.search(&self.ctx, query).now_or_never().expect("a search that does not wait");
                found.push(hits.expect("a search"));
                slowest = slowest.max(start.elapsed().as_secs_f64());
            }
            best = best.min(cpu() - before);
        }
        let hits = found.iter().zip(truth).map(|(found, truth)| {
            let truth: HashSet<u64> = truth.iter().copied().take(K).collect();
            found.iter().filter(|hit| truth.contains(&hit.key)).count()
        });
        let recall =
            hits.sum::<usize>() as f64 / truth.iter().map(|truth| truth.len().min(K)).sum::<usize>() as f64;
        let rate = self.queries.len() as f64 / best;
        println!(
            "{}",
            json!({ "part": part, "effort": effort, "recall": recall, "rate": rate, "slowest": slowest })
        );
        recall
    }

    fn snapshot(&self, index: &HnswIndex) -> Result<(), String> {
        let path = self.folder.join("snapshot");
        self.wait(index.save(&self.ctx, &path))?;
        let dimension = index.dimension();
        let mut times = Vec::new();
        for _ in 0..ROUNDS {
            let start = Instant::now();
            self.wait(HnswIndex::builder(dimension).open(&self.ctx, &path))?;
            times.push(start.elapsed().as_secs_f64());
        }
        let bytes = fs::metadata(&path).map_err(|err| err.to_string())?.len();
        println!(
            "{}",
            json!({ "part": "open", "seconds": times.into_iter().fold(f64::INFINITY, f64::min), "bytes": bytes })
        );
        Ok(())
    }

    /// Replaces a tenth so many times, then deletes every other vector, and compares with an index made of the rest.
    fn change(&self, index: &HnswIndex) -> Result<(), String> {
        for round in 0..CHURN {
            self.wait(index.put(&self.ctx, &self.items(|key| key % CHURN == round)))?;
        }
        self.search("churned", index, &self.truth(1)?, EFFORT, None);
        let odd: Vec<u64> = self.items(|key| key % 2 == 1).into_iter().map(|(key, _)| key).collect();
        self.wait(index.delete(&self.ctx, &odd))?;
        let truth = self.truth(2)?;
        self.search("halved", index, &truth, EFFORT, None);
        self.search("fresh-half", &self.built(|key| key % 2 == 0)?, &truth, EFFORT, None);
        Ok(())
    }
}

/// Seconds of processor time of all threads so far; where the system does not tell, of the clock.
fn cpu() -> f64 {
    static START: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);
    let Ok(threads) = fs::read_dir("/proc/self/task") else { return START.elapsed().as_secs_f64() };
    let spent = |thread: fs::DirEntry| -> Option<f64> {
        let text = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<f64>().ok()
    };
    threads.flatten().filter_map(spent).sum::<f64>() / 1e9
}

fn floats(path: &str) -> Result<Vectors, String> {
    let (rows, width, bytes) = numbers(Path::new(path), "<f4")?;
    let (numbers, _) = bytes.as_chunks::<4>();
    let numbers: Vec<f32> = numbers.iter().map(|number| f32::from_le_bytes(*number)).collect();
    Ok(numbers.chunks(width).take(rows).map(<[f32]>::to_vec).collect())
}

/// The rows, columns and bytes of an array that numpy saved.
fn numbers(path: &Path, kind: &str) -> Result<(usize, usize, Vec<u8>), String> {
    let bad = |problem: &str| format!("{}: {problem}", path.display());
    let mut bytes = fs::read(path).map_err(|err| bad(&err.to_string()))?;
    let length = bytes
        .get(8..10)
        .ok_or_else(|| bad("too short"))?
        .iter()
        .rev()
        .fold(0, |all, byte| all << 8 | usize::from(*byte));
    let head =
        String::from_utf8_lossy(bytes.get(10..10 + length).ok_or_else(|| bad("too short"))?).into_owned();
    let shape = head
        .split_once("'shape': (")
        .and_then(|(_, rest)| rest.split_once(')'))
        .ok_or_else(|| bad("no shape"))?
        .0;
    let sizes: Vec<usize> = shape.split(',').filter_map(|size| size.trim().parse().ok()).collect();
    match sizes.as_slice() {
        [rows, width] if head.contains(kind) && head.contains("'fortran_order': False") => {
            Ok((*rows, *width, bytes.split_off(10 + length)))
        }
        _ => Err(bad(&format!("expected rows of {kind}"))),
    }
}
