//! The weights of MiniLM that `cargo xtask test` installs: the vectors that the published model gives.
//!
//! `RAPTORFLOW_MINILM` names their folder.

use std::{env, fs, path::Path, sync::OnceLock};

use libtest_mimic::{Completion, Failed, Trial};
use raptorflow_core::{
    Result,
    rag::{Embedder as _, MiniLmConfig, MiniLmEmbedder},
    runtime::{Context, Runtime},
};

use crate::backends::block_on;

/// The name in `RAPTORFLOW_REQUIRE`.
pub(crate) const NAME: &str = "minilm";
/// Tells where the weights are.
const FOLDER: &str = "RAPTORFLOW_MINILM";
/// Sentences with vectors that were computed in f64, where they lie beside the checkout.
const JUDGED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data");

/// Texts and the first numbers of their vectors, from the published weights in f32 by an independent program.
const KNOWN: [(&str, [f32; 4]); 5] = [
    ("The harbor was quiet before the storm.", [0.040529, 0.061721, 0.127262, 0.117294]),
    ("Ships waited in the port until the weather cleared.", [-0.003018, 0.057694, 0.031961, 0.125202]),
    ("How do I renew a passport?", [-0.030615, 0.028656, -0.00161, -0.020036]),
    ("A recursive function calls itself.", [-0.072832, -0.034207, -0.016664, -0.011208]),
    ("चाय के बिना सुबह अधूरी है; naïve café No. 7!", [0.016739, 0.028266, -0.046488, -0.011231]),
];

/// The embedder of the installed weights, opened once: without optimization it takes seconds.
pub(crate) fn shared() -> std::result::Result<MiniLmEmbedder, String> {
    static OPEN: OnceLock<std::result::Result<MiniLmEmbedder, String>> = OnceLock::new();
    let open = || {
        let folder = folder()?;
        MiniLmEmbedder::open(folder).map_err(|err| format!("{err:#}"))
    };
    OPEN.get_or_init(open).clone()
}

fn folder() -> std::result::Result<String, String> {
    env::var(FOLDER).map_err(|_| format!("{FOLDER} names no folder; `cargo xtask test` installs one"))
}

pub(crate) fn trials(required: &str) -> Vec<Trial> {
    let must = required.split(',').any(|name| name.trim() == NAME);
    let trial = |name: &str, run: fn() -> Result<()>| {
        Trial::ignorable_test(format!("{NAME}::{name}"), move || check(must, run))
    };
    vec![
        trial("known_texts_have_the_vectors_of_the_published_model", known_texts),
        trial("judged_sentences_have_the_vectors_of_the_reference", judged_sentences),
        trial("bytes_give_nearly_the_same_vectors", bytes),
    ]
}

fn check(must: bool, run: fn() -> Result<()>) -> std::result::Result<Completion, Failed> {
    match folder() {
        Err(absent) if must => Err(format!("required, but absent: {absent}").into()),
        Err(absent) => Ok(Completion::ignored_with(absent)),
        Ok(_) => match run() {
            Ok(()) => Ok(Completion::Completed),
            Err(err) => Err(format!("{err:#}").into()),
        },
    }
}

fn vectors(embedder: &MiniLmEmbedder, texts: &[&str]) -> Result<Vec<Vec<f32>>> {
    block_on(async { embedder.embed_documents(&Context::new(&Runtime::current()?), texts).await })
}

fn cosine(a: &[f32], b: &[f64]) -> f64 {
    let dot: f64 = a.iter().zip(b).map(|(x, y)| f64::from(*x) * y).sum();
    dot / b.iter().map(|x| x * x).sum::<f64>().sqrt()
}

fn known_texts() -> Result<()> {
    let embedder = shared().expect("weights");
    for ((text, known), vector) in KNOWN.iter().zip(vectors(&embedder, &KNOWN.map(|(text, _)| text))?) {
        for (x, y) in vector.iter().zip(known) {
            assert!((x - y).abs() < 2e-6, "{text}: {x} {y}");
        }
    }
    Ok(())
}

/// The shortest of them: without optimization all take minutes; `benches/embed.rs` compares all.
fn judged_sentences() -> Result<()> {
    let folder = Path::new(JUDGED);
    let Ok(texts) = fs::read(folder.join("sent200.json")) else { return Ok(()) };
    let texts: Vec<String> = serde_json::from_slice(&texts).expect("a list of texts");
    let file = fs::read(folder.join("sent200_ref.npy")).expect("a reference");
    // Numbers of 32 bits stand at the end of the file.
    let numbers: Vec<f64> = file[file.len() - texts.len() * 384 * 4..]
        .as_chunks()
        .0
        .iter()
        .map(|x| f64::from(f32::from_le_bytes(*x)))
        .collect();
    let mut both: Vec<(&str, &[f64])> = texts.iter().map(String::as_str).zip(numbers.chunks(384)).collect();
    both.sort_by_key(|(text, _)| text.len());
    both.truncate(8);
    let short: Vec<&str> = both.iter().map(|(text, _)| *text).collect();
    for (vector, (text, reference)) in vectors(&shared().expect("weights"), &short)?.iter().zip(both) {
        let cosine = cosine(vector, reference);
        assert!(cosine > 0.9999, "{text}: {cosine}");
    }
    Ok(())
}

fn bytes() -> Result<()> {
    let small = MiniLmEmbedder::open_with(folder().expect("a folder"), MiniLmConfig::default().int8())?;
    let texts = KNOWN.map(|(text, _)| text);
    for (exact, vector) in vectors(&shared().expect("weights"), &texts)?.iter().zip(vectors(&small, &texts)?)
    {
        let exact: Vec<f64> = exact.iter().copied().map(f64::from).collect();
        assert!(cosine(&vector, &exact) > 0.985);
    }
    Ok(())
}
