//! A small random encoder in a folder: its vectors against a plain forward pass, and folders that are wrong.

use std::{collections::BTreeMap, fs, path::Path};

use safetensors::{Dtype, serialize_to_file, tensor::TensorView};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{
    embedder::{MiniLmConfig, MiniLmEmbedder},
    kernel::Level,
    weights::{Packing, load},
};
use crate::{
    error::{Error, ErrorKind, Result},
    rag::{Embedder as _, EmbedderRegistry},
    runtime::{Context, Runtime},
};

const WIDTH: usize = 24;
const HEADS: usize = 3;
const WIDE: usize = 40;
const PLACES: usize = 20;
const WORDS: [&str; 12] =
    ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "tea", "coffee", "##s", "cold", ",", "茶", "cafe", "a"];

type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

/// Numbers that look random, from −0.5 to 0.5.
fn noise(count: usize, state: &mut u64) -> Vec<f32> {
    let next = || {
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (*state >> 40) as f32 / 16_777_216.0 - 0.5
    };
    std::iter::repeat_with(next).take(count).collect()
}

fn tensors(prefix: &str) -> Tensors {
    let mut shapes = vec![
        ("embeddings.word_embeddings.weight".to_owned(), vec![WORDS.len(), WIDTH]),
        ("embeddings.position_embeddings.weight".to_owned(), vec![PLACES, WIDTH]),
        ("embeddings.token_type_embeddings.weight".to_owned(), vec![2, WIDTH]),
    ];
    let norm =
        |name: String| [(format!("{name}.weight"), vec![WIDTH]), (format!("{name}.bias"), vec![WIDTH])];
    let linear = |name: String, inputs: usize, outputs: usize| {
        [(format!("{name}.weight"), vec![outputs, inputs]), (format!("{name}.bias"), vec![outputs])]
    };
    shapes.extend(norm("embeddings.LayerNorm".to_owned()));
    for layer in 0..2 {
        let name = |rest: &str| format!("encoder.layer.{layer}.{rest}");
        for part in ["attention.self.query", "attention.self.key", "attention.self.value"] {
            shapes.extend(linear(name(part), WIDTH, WIDTH));
        }
        shapes.extend(linear(name("attention.output.dense"), WIDTH, WIDTH));
        shapes.extend(norm(name("attention.output.LayerNorm")));
        shapes.extend(linear(name("intermediate.dense"), WIDTH, WIDE));
        shapes.extend(linear(name("output.dense"), WIDE, WIDTH));
        shapes.extend(norm(name("output.LayerNorm")));
    }
    let mut state = 7;
    let filled = shapes.into_iter().map(|(name, shape)| {
        let mut values = noise(shape.iter().product(), &mut state);
        if name.contains("LayerNorm.weight") {
            values.iter_mut().for_each(|x| *x += 1.0);
        }
        (format!("{prefix}{name}"), (shape, values))
    });
    filled.collect()
}

fn tokenizer() -> Value {
    let vocabulary: BTreeMap<_, _> = WORDS.iter().zip(0..).collect();
    json!({
        "truncation": {"max_length": 4}, "padding": {"strategy": {"Fixed": 8}},
        "normalizer": {"type": "BertNormalizer", "lowercase": true, "strip_accents": null},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "vocab": vocabulary},
    })
}

fn write(folder: &Path, tensors: &Tensors) {
    let bytes: Vec<(&String, &Vec<usize>, Vec<u8>)> = tensors
        .iter()
        .map(|(name, (shape, values))| (name, shape, values.iter().flat_map(|x| x.to_le_bytes()).collect()))
        .collect();
    let views = bytes.iter().map(|(name, shape, bytes)| {
        (name.as_str(), TensorView::new(Dtype::F32, (*shape).clone(), bytes).unwrap())
    });
    serialize_to_file(views, None, &folder.join("model.safetensors")).unwrap();
    put(folder, "tokenizer.json", &tokenizer());
    put(folder, "config.json", &json!({"model_type": "bert", "num_attention_heads": HEADS}));
}

fn put(folder: &Path, name: &str, content: &Value) {
    fs::write(folder.join(name), content.to_string()).unwrap();
}

fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &tensors(""));
    folder
}

/// The vector of tokens in f64, written as the paper says and with nothing done at once.
fn plainly(tensors: &Tensors, tokens: &[u32]) -> Vec<f64> {
    let of = |name: &str| -> Vec<f64> { tensors[name].1.iter().copied().map(f64::from).collect() };
    let norm = |rows: &mut Vec<Vec<f64>>, name: &str| {
        let (weight, bias) = (of(&format!("{name}.weight")), of(&format!("{name}.bias")));
        for row in rows {
            let mean = row.iter().sum::<f64>() / WIDTH as f64;
            let variance = row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / WIDTH as f64;
            for (at, x) in row.iter_mut().enumerate() {
                *x = (*x - mean) / (variance + 1e-12).sqrt() * weight[at] + bias[at];
            }
        }
    };
    let linear = |rows: &[Vec<f64>], name: &str| -> Vec<Vec<f64>> {
        let (weight, bias) = (of(&format!("{name}.weight")), of(&format!("{name}.bias")));
        let dot = |row: &[f64], at: usize| {
            row.iter().zip(&weight[at * row.len()..]).map(|(x, y)| x * y).sum::<f64>() + bias[at]
        };
        rows.iter().map(|row| (0..bias.len()).map(|at| dot(row, at)).collect()).collect()
    };
    let add = |rows: &mut [Vec<f64>], added: &[Vec<f64>]| {
        rows.iter_mut().flatten().zip(added.iter().flatten()).for_each(|(x, y)| *x += y);
    };
    let erf = |x: f64| {
        let (mut term, mut sum) = (x, x);
        for n in 1..200 {
            term *= -x * x / f64::from(n);
            sum += term / f64::from(2 * n + 1);
        }
        sum * 2.0 / std::f64::consts::PI.sqrt()
    };
    let [words, places, types] =
        ["word", "position", "token_type"].map(|name| of(&format!("embeddings.{name}_embeddings.weight")));
    let mut rows: Vec<Vec<f64>> = tokens
        .iter()
        .enumerate()
        .map(|(place, token)| {
            let number = |at| words[*token as usize * WIDTH + at] + places[place * WIDTH + at] + types[at];
            (0..WIDTH).map(number).collect()
        })
        .collect();
    norm(&mut rows, "embeddings.LayerNorm");
    for layer in 0..2 {
        let name = |rest: &str| format!("encoder.layer.{layer}.{rest}");
        let [query, key, value] =
            ["query", "key", "value"].map(|part| linear(&rows, &name(&format!("attention.self.{part}"))));
        let each = WIDTH / HEADS;
        let mut context = vec![vec![0.0; WIDTH]; rows.len()];
        for head in 0..HEADS {
            let part = head * each..(head + 1) * each;
            for (at, out) in context.iter_mut().enumerate() {
                let score = |key: &Vec<f64>| -> f64 {
                    let dot: f64 =
                        query[at][part.clone()].iter().zip(&key[part.clone()]).map(|(x, y)| x * y).sum();
                    (dot / (each as f64).sqrt()).exp()
                };
                let scores: Vec<f64> = key.iter().map(score).collect();
                let total: f64 = scores.iter().sum();
                for (score, value) in scores.iter().zip(&value) {
                    for at in part.clone() {
                        out[at] += score / total * value[at];
                    }
                }
            }
        }
        add(&mut rows, &linear(&context, &name("attention.output.dense")));
        norm(&mut rows, &name("attention.output.LayerNorm"));
        let mut wide = linear(&rows, &name("intermediate.dense"));
        wide.iter_mut().flatten().for_each(|x| *x *= 0.5 * (1.0 + erf(*x / 2.0_f64.sqrt())));
        add(&mut rows, &linear(&wide, &name("output.dense")));
        norm(&mut rows, &name("output.LayerNorm"));
    }
    let mut vector = [0.0; WIDTH];
    rows.iter().for_each(|row| vector.iter_mut().zip(row).for_each(|(sum, x)| *sum += x));
    let length = vector.iter().map(|x| x * x).sum::<f64>().sqrt();
    vector.iter().map(|x| x / length).collect()
}

fn cosine(vector: &[f32], exact: &[f64]) -> f64 {
    vector.iter().zip(exact).map(|(x, y)| f64::from(*x) * y).sum()
}

#[test]
fn texts_of_any_length_together_have_the_vectors_of_a_plain_forward_pass() {
    let (folder, tensors) = (folder(), tensors(""));
    let texts: Vec<Vec<u32>> = vec![
        vec![2, 3],
        vec![2, 4, 5, 6, 3],
        (0..PLACES as u32).map(|at| at % 12).collect(),
        vec![2],
        vec![2, 9, 10, 11, 7, 4, 8, 5, 6, 3],
    ];
    for level in Level::supported() {
        for (packing, allowed) in [(Packing::Floats, 1e-6), (Packing::Bytes, 5e-3)] {
            let encoder = load(folder.path(), level, packing).unwrap().encoder;
            for (vector, tokens) in encoder.encode(&texts).iter().zip(&texts) {
                let cosine = cosine(vector, &plainly(&tensors, tokens));
                assert!((cosine - 1.0).abs() < allowed, "{level:?} {packing:?} {cosine}");
            }
        }
    }
}

#[test]
fn texts_are_cut_into_words_and_parts_whatever_the_file_says_of_padding() {
    let loaded = load(folder().path(), Level::detect(), Packing::Floats).unwrap();
    let check = |text: &str, expected: &[u32]| {
        assert_eq!(loaded.tokenizer.tokens(text, loaded.tokens), expected, "{text:?}");
    };
    check("", &[2, 3]);
    check("Teas, COLD\tcoffee", &[2, 4, 6, 8, 7, 5, 3]);
    check("Café\u{200b}s tea\u{301}", &[2, 10, 6, 4, 3]);
    check("tea茶tea", &[2, 4, 9, 4, 3]);
    // A word of which one part is unknown is unknown as a whole, and so is one of more than 100 letters.
    check("teax tea", &[2, 1, 4, 3]);
    check(&"a".repeat(101), &[2, 1, 3]);
    // Marks in a text are text.
    check("[SEP]", &[2, 1, 1, 1, 3]);
    let long = loaded.tokenizer.tokens(&"tea ".repeat(300), loaded.tokens);
    assert_eq!((long.len(), long.last()), (PLACES, Some(&3)));
}

fn refused(folder: &Path) -> Error {
    let err = MiniLmEmbedder::open(folder).unwrap_err();
    assert_eq!(err.operation(), "embedder.open");
    err
}

#[test]
fn what_is_missing_is_not_found_and_named() {
    let folder = folder();
    let missing = folder.path().join("elsewhere");
    let err = refused(&missing);
    assert_eq!((err.kind(), err.get("folder")), (ErrorKind::NotFound, missing.to_str()));
    for name in ["model.safetensors", "tokenizer.json"] {
        let file = folder.path().join(name);
        let content = fs::read(&file).unwrap();
        fs::remove_file(&file).unwrap();
        let err = refused(folder.path());
        assert_eq!((err.kind(), err.get("file")), (ErrorKind::NotFound, file.to_str()));
        fs::write(&file, content).unwrap();
    }
    MiniLmEmbedder::open(folder.path()).unwrap();
}

#[test]
fn weights_that_are_cut_short_or_of_another_model_name_file_and_tensor() {
    let folder = folder();
    let file = folder.path().join("model.safetensors");
    let check = |tensor: Option<&str>| {
        let err = refused(folder.path());
        assert_eq!((err.kind(), err.get("file")), (ErrorKind::InvalidInput, file.to_str()), "{err}");
        assert_eq!(err.get("tensor"), tensor, "{err}");
    };
    let whole = fs::read(&file).unwrap();
    for length in [0, 7, 100, whole.len() - 1] {
        fs::write(&file, &whole[..length]).unwrap();
        check(None);
    }
    for name in tensors("").into_keys() {
        let mut less = tensors("");
        let (shape, values) = less.remove(&name).unwrap();
        write(folder.path(), &less);
        if !name.starts_with("encoder.layer.1.") || name.contains("query.weight") {
            check(Some(&name));
        }
        less.insert(name.clone(), ([shape, vec![1]].concat(), values));
        write(folder.path(), &less);
        assert_eq!(refused(folder.path()).kind(), ErrorKind::InvalidInput, "{name}");
    }
    let mut broken = tensors("");
    broken.get_mut("encoder.layer.1.output.dense.bias").unwrap().1[3] = f32::NAN;
    write(folder.path(), &broken);
    check(Some("encoder.layer.1.output.dense.bias"));
}

#[test]
fn settings_and_tokenizers_of_other_models_are_refused_by_name() {
    let folder = folder();
    let check = |name: &str, content: &Value, field: Option<&str>| {
        let old = fs::read(folder.path().join(name)).ok();
        put(folder.path(), name, content);
        let err = refused(folder.path());
        assert_eq!((err.kind(), err.get("field")), (ErrorKind::InvalidInput, field), "{err}");
        assert!(err.get("file").unwrap().ends_with(name), "{err}");
        match old {
            Some(old) => fs::write(folder.path().join(name), old).unwrap(),
            None => fs::remove_file(folder.path().join(name)).unwrap(),
        }
    };
    check("config.json", &json!({"model_type": "roberta"}), Some("model_type"));
    check("config.json", &json!({"hidden_act": "relu"}), Some("hidden_act"));
    check("config.json", &json!({"num_attention_heads": 5}), Some("num_attention_heads"));
    check("config.json", &json!("no"), None);
    let mut other = tokenizer();
    other["model"]["type"] = json!("Unigram");
    check("tokenizer.json", &other, Some("model.type"));
    let mut other = tokenizer();
    other["model"]["vocab"]["more"] = json!(WORDS.len());
    check("tokenizer.json", &other, None);
    check("tokenizer.json", &json!("no"), None);
    fs::create_dir(folder.path().join("1_Pooling")).unwrap();
    check("1_Pooling/config.json", &json!({"pooling_mode_mean_tokens": false}), None);
    MiniLmEmbedder::open(folder.path()).unwrap();
}

async fn vectors(embedder: &MiniLmEmbedder, texts: &[&str]) -> Result<Vec<Vec<f32>>> {
    let ctx = Context::new(&Runtime::current()?);
    embedder.embed_documents(&ctx, texts).await
}

#[tokio::test]
async fn many_texts_come_back_in_order_and_questions_may_have_a_prefix() {
    let folder = folder();
    let embedder = MiniLmEmbedder::open(folder.path()).unwrap();
    let texts: Vec<String> = (0..45).map(|at| format!("{} tea", "cold ".repeat(at % 9))).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let together = vectors(&embedder, &texts).await.unwrap();
    assert_eq!((together.len(), embedder.dimension()), (45, WIDTH));
    for (text, vector) in texts.iter().zip(&together) {
        let alone = vectors(&embedder, &[text]).await.unwrap();
        assert!(alone[0].iter().zip(vector).all(|(x, y)| (x - y).abs() < 1e-6));
    }
    assert!(embedder.semantic() && embedder.usage().input_tokens > 90);
    let asking = MiniLmConfig::default().with_prefixes("", "cold ");
    let asking = MiniLmEmbedder::open_with(folder.path(), asking).unwrap();
    let ctx = Context::new(&Runtime::current().unwrap());
    assert_eq!(
        asking.embed_query(&ctx, "tea", &()).await.unwrap(),
        vectors(&embedder, &["cold tea"]).await.unwrap()[0]
    );
}

#[tokio::test]
async fn a_context_that_is_over_embeds_nothing() {
    let embedder = MiniLmEmbedder::open(folder().path()).unwrap();
    let ctx = Context::new(&Runtime::current().unwrap());
    ctx.cancel().cancel();
    let err = embedder.embed_documents(&ctx, &["tea"]).await.unwrap_err();
    assert_eq!((err.kind(), embedder.usage().input_tokens), (ErrorKind::Cancelled, 0));
}

#[tokio::test]
async fn the_identity_is_of_weights_and_settings_and_names_open_both_precisions() {
    let (folder, other) = (folder(), tempfile::tempdir().unwrap());
    let mut changed = tensors("bert.");
    changed.get_mut("bert.embeddings.LayerNorm.bias").unwrap().1[0] += 1.0;
    write(other.path(), &changed);
    let ctx = Context::new(&Runtime::current().unwrap());
    let registry = EmbedderRegistry::default();
    let open = async |provider: &str, folder: &Path| {
        registry.open(&ctx, &format!("{provider}:{}", folder.display())).await.unwrap().identity()
    };
    let identity = open("minilm", folder.path()).await;
    assert!(identity.starts_with("minilm-1/24/f32/"), "{identity}");
    assert_eq!(identity, MiniLmEmbedder::open(folder.path()).unwrap().identity());
    assert_ne!(identity, open("minilm", other.path()).await);
    assert!(open("minilm-int8", folder.path()).await.starts_with("minilm-1/24/int8/"));
}
