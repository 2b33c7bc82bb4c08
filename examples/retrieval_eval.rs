//! How well a knowledge base finds what people judged relevant: nDCG@10 and recall for a folder of corpora.
//!
//! A corpus is a folder in BEIR's layout: `corpus.jsonl` (`_id`, `title`, `text`), `queries.jsonl` (`_id`, `text`) and
//! `qrels.tsv` (query, document, grade). Everything runs with default settings; the arguments are the folder of
//! corpora, an embedder by name, and modes.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fs,
    path::{Path, PathBuf},
};

use raptorflow_core::{
    Error, ErrorKind, KnowledgeBase, Result,
    rag::{Document, EmbedderRegistry, Mode},
    runtime::{Context, Runtime},
};
use serde::Deserialize;

/// An entry of a corpus, or a query.
#[derive(Debug, Deserialize)]
struct Entry {
    #[serde(rename = "_id")]
    id: String,
    #[serde(default)]
    title: String,
    text: String,
}

impl Entry {
    fn document(self) -> Document {
        // Some entries have a title alone.
        let text = if self.text.trim().is_empty() { self.title.clone() } else { self.text };
        let title = (!self.title.is_empty()).then_some(self.title);
        Document { title, ..Document::new(self.id, text) }
    }
}

/// By query: its judged documents and how good they are.
type Judgements = HashMap<String, HashMap<String, f64>>;

#[derive(Clone, Copy, Debug, Default)]
struct Quality {
    queries: u32,
    ndcg: f64,
    recall_5: f64,
    recall_10: f64,
}

impl Quality {
    fn count(&mut self, ranked: &[&str], wanted: &HashMap<String, f64>) {
        let gain = |grades: &mut dyn Iterator<Item = f64>| {
            grades.take(10).zip(2_u32..).map(|(grade, rank)| grade / f64::from(rank).log2()).sum::<f64>()
        };
        let mut best: Vec<f64> = wanted.values().copied().collect();
        best.sort_by(|a, b| b.total_cmp(a));
        let grade = |id: &&str| wanted.get(*id).copied().unwrap_or(0.0);
        let relevant = wanted.values().filter(|grade| **grade > 0.0).count();
        let found = |k: usize| ranked.iter().take(k).filter(|id| grade(id) > 0.0).count();
        let share = |k: usize| found(k) as f64 / relevant.max(1) as f64;
        self.queries += 1;
        self.ndcg += gain(&mut ranked.iter().map(grade)) / gain(&mut best.into_iter());
        self.recall_5 += share(5);
        self.recall_10 += share(10);
    }

    fn line(self, corpus: &str, mode: Mode) -> String {
        let mean = |sum: f64| 100.0 * sum / f64::from(self.queries.max(1));
        let mode = format!("{mode:?}").to_lowercase();
        let (ndcg, five, ten) = (mean(self.ndcg), mean(self.recall_5), mean(self.recall_10));
        format!("{corpus:<20} {mode:<8} {:>7} {ndcg:>8.1} {five:>8.1} {ten:>9.1}", self.queries)
    }
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).map_err(|err| {
        let message = "cannot read a file of the corpus";
        Error::new(ErrorKind::NotFound, "retrieval_eval.read", message)
            .with("path", path.display())
            .caused_by(err)
    })
}

fn entries(path: &Path) -> Result<Vec<Entry>> {
    let entry = |(number, line): (usize, &str)| {
        serde_json::from_str(line).map_err(|err| {
            Error::new(ErrorKind::InvalidInput, "retrieval_eval.read", "not an entry with an id and a text")
                .with("path", path.display())
                .with("line", number + 1)
                .caused_by(err)
        })
    };
    read(path)?.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()).map(entry).collect()
}

fn judgements(path: &Path) -> Result<Judgements> {
    let mut judgements = Judgements::new();
    for line in read(path)?.lines() {
        let mut columns = line.split('\t');
        // The first line names the columns.
        if let (Some(query), Some(document), Some(Ok(grade))) =
            (columns.next(), columns.next(), columns.next().map(str::parse))
        {
            judgements.entry(query.to_owned()).or_default().insert(document.to_owned(), grade);
        }
    }
    judgements.retain(|_, wanted| wanted.values().any(|grade| *grade > 0.0));
    Ok(judgements)
}

/// The folders below one that hold a corpus.
fn corpora(folder: &Path) -> BTreeMap<String, PathBuf> {
    let below = fs::read_dir(folder).into_iter().flatten().flatten();
    let whole = |path: &PathBuf| path.join("corpus.jsonl").is_file() && path.join("qrels.tsv").is_file();
    below
        .map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.path()))
        .filter(|(_, path)| whole(path))
        .collect()
}

async fn quality(kb: &KnowledgeBase, folder: &Path, mode: Mode) -> Result<Quality> {
    let judged = judgements(&folder.join("qrels.tsv"))?;
    let mut quality = Quality::default();
    for query in entries(&folder.join("queries.jsonl"))? {
        let Some(wanted) = judged.get(&query.id) else { continue };
        // A long document has several chunks and counts once, where its best chunk stands.
        let hits = kb.search(query.text).mode(mode).k(50).await?;
        let mut seen = HashSet::new();
        let ranked: Vec<&str> = hits.iter().map(|hit| &*hit.document).filter(|id| seen.insert(*id)).collect();
        quality.count(&ranked, wanted);
    }
    Ok(quality)
}

#[tokio::main]
#[expect(clippy::print_stdout, reason = "an example shows its result")]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().unwrap_or_else(|| "../shared/data".to_owned());
    let name = arguments.next().unwrap_or_else(|| "hashing:384".to_owned());
    let asked: Vec<Mode> = arguments.map(|mode| mode.parse()).collect::<Result<_>>()?;
    let corpora = corpora(Path::new(&folder));
    if corpora.is_empty() {
        println!("skipped: {folder} has no folder with corpus.jsonl, queries.jsonl and qrels.tsv");
        return Ok(());
    }
    let ctx = Context::new(&Runtime::current()?);
    let embedder = EmbedderRegistry::default().open(&ctx, &name).await?;
    println!(
        "{:<20} {:<8} {:>7} {:>8} {:>8} {:>9}",
        name, "mode", "queries", "nDCG@10", "recall@5", "recall@10"
    );
    for (corpus, folder) in corpora {
        let documents = entries(&folder.join("corpus.jsonl"))?.into_iter().map(Entry::document);
        let kb = KnowledgeBase::in_memory(embedder.clone()).await?;
        kb.add(documents.collect::<Vec<_>>()).await?;
        // Hashed vectors do not rank by meaning, so words alone are the default with them.
        let default = if embedder.semantic() {
            vec![Mode::Lexical, Mode::Dense, Mode::Hybrid]
        } else {
            vec![Mode::Lexical]
        };
        for mode in if asked.is_empty() { default } else { asked.clone() } {
            println!("{}", quality(&kb, &folder, mode).await?.line(&corpus, mode));
        }
    }
    Ok(())
}
