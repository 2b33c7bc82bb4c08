//! `MiniLmEmbedder`: an embedder from a folder with the weights of a sentence encoder.

use std::{
    fmt,
    num::NonZero,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use async_trait::async_trait;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, ErrorKind, Result},
    rag::{
        embed::{Corpus, Embedder},
        embedder_registry::{EmbedderFactory, EmbedderSettings},
        minilm::{
            encoder::Encoder,
            kernel::Level,
            weights::{Loaded, Packing, load},
            wordpiece::WordPiece,
        },
    },
    runtime::Context,
    security::SecretStore,
    types::{Digest, Usage},
};

/// Texts that one thread embeds at once; a cancellation waits for no more. More were no faster, measured up to 200.
const TEXTS: usize = 8;

/// How exactly the weights are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Precision {
    /// 32 bits, as the model was published; the default.
    #[default]
    F32,
    /// 8 bits: about 1.7 times as fast, a quarter of the memory of the layers, vectors within a cosine of 0.99.
    Int8,
}

/// What a host may set of a [`MiniLmEmbedder`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct MiniLmConfig {
    /// How exactly the weights are kept; 32 bits by default.
    pub precision: Precision,
    /// Threads that embed at once; as many as the machine has processors by default.
    pub threads: Option<NonZero<usize>>,
    /// What stands before every text that is kept; nothing by default, as MiniLM wants it.
    pub document_prefix: String,
    /// What stands before every question; nothing by default, as MiniLM wants it.
    pub query_prefix: String,
}

impl MiniLmConfig {
    /// Keeps the weights in 8 bits.
    #[must_use]
    pub fn int8(mut self) -> Self {
        self.precision = Precision::Int8;
        self
    }

    /// Embeds on so many threads at once.
    #[must_use]
    pub fn with_threads(mut self, threads: NonZero<usize>) -> Self {
        self.threads = Some(threads);
        self
    }

    /// What stands before texts that are kept and before questions, for encoders that were trained with it.
    #[must_use]
    pub fn with_prefixes(mut self, document: impl Into<String>, query: impl Into<String>) -> Self {
        self.document_prefix = document.into();
        self.query_prefix = query.into();
        self
    }
}

/// A sentence encoder of the BERT family that runs on this machine, such as all-MiniLM-L6-v2.
///
/// The folder has `model.safetensors` and `tokenizer.json`, and may have `config.json`, `1_Pooling/config.json` and
/// `sentence_bert_config.json`, as sentence encoders are published; sizes come from the shapes of the weights.
/// The vector of a text is the mean of its tokens, or the first one where the folder says so, of length 1.
/// Of a text the first 256 tokens are read, or as many as the folder says; what its `tokenizer.json` says of
/// truncation and padding does not count.
///
/// The work is done on blocking threads of the runtime with the widest instructions of the processor (AVX-512, AVX2,
/// NEON or plain), in batches of 8 texts.
/// 32 bits of MiniLM take about 90 MB of memory.
///
/// # Cancellation
/// Batches that have begun end on their own, within about a tenth of a second; no other begins.
///
/// # Examples
/// ```
/// use raptorflow_core::{ErrorKind, rag::MiniLmEmbedder};
/// let err = MiniLmEmbedder::open("no/such/folder").unwrap_err();
/// assert_eq!((err.kind(), err.get("folder")), (ErrorKind::NotFound, Some("no/such/folder")));
/// ```
#[derive(Clone)]
pub struct MiniLmEmbedder {
    model: Arc<Model>,
    identity: Arc<str>,
    config: MiniLmConfig,
}

/// What the threads share.
struct Model {
    encoder: Encoder,
    tokenizer: WordPiece,
    tokens: usize,
    read: AtomicU64,
}

impl Model {
    fn embed(&self, texts: &[String]) -> Vec<Vec<f32>> {
        let tokens: Vec<_> = texts.iter().map(|text| self.tokenizer.tokens(text, self.tokens)).collect();
        let read: usize = tokens.iter().map(Vec::len).sum();
        self.read.fetch_add(read as u64, Ordering::Relaxed);
        self.encoder.encode(&tokens)
    }
}

impl MiniLmEmbedder {
    /// Reads a folder, in 32 bits; it blocks for as long as that takes, about a quarter of a second.
    ///
    /// # Errors
    /// `NotFound` when the folder or one of its files is missing, `Unavailable` when one cannot be read, `InvalidInput`
    /// that names file and tensor when the weights are cut short or those of another model, or the tokenizer is not
    /// theirs.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self> {
        Self::open_with(folder, MiniLmConfig::default())
    }

    /// Reads a folder with settings.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_with(folder: impl AsRef<Path>, config: MiniLmConfig) -> Result<Self> {
        Self::open_at(folder.as_ref(), config, Level::detect())
    }

    fn open_at(folder: &Path, config: MiniLmConfig, level: Level) -> Result<Self> {
        let (packing, bits) = match config.precision {
            Precision::F32 => (Packing::Floats, "f32"),
            Precision::Int8 => (Packing::Bytes, "int8"),
        };
        let Loaded { encoder, tokenizer, tokens, read } = load(folder, level, packing)?;
        let rest = format!(
            "{} {:?} {tokens} {:?} {:?}",
            encoder.heads, encoder.pooling, config.document_prefix, config.query_prefix
        );
        let digest = Digest::of_all(read.iter().map(Vec::as_slice).chain([rest.as_bytes()])).to_string();
        let short = digest.get(..16).unwrap_or(&digest);
        let identity = format!("minilm-1/{}/{bits}/{short}", encoder.width).into();
        let model = Model { encoder, tokenizer, tokens, read: AtomicU64::new(0) };
        Ok(Self { model: Arc::new(model), identity, config })
    }

    /// Embeds on the blocking threads, some batches at once.
    async fn embed(&self, ctx: &Context, prefix: &str, texts: &[&str]) -> Result<Vec<Vec<f32>>> {
        let threads = match self.config.threads {
            Some(threads) => threads.get(),
            None => thread::available_parallelism().map_or(1, NonZero::get),
        };
        let texts: Vec<_> = texts.iter().map(|text| format!("{prefix}{text}")).collect();
        let batches: Vec<_> = texts.chunks(TEXTS).map(<[String]>::to_vec).collect();
        let (model, tasks) = (Arc::clone(&self.model), ctx.runtime().tasks().clone());
        let batches = stream::iter(batches).map(move |texts| {
            let model = Arc::clone(&model);
            tasks.spawn_blocking(move || model.embed(&texts))
        });
        ctx.bound("embedder.embed", batches.buffered(threads).try_concat()).await?
    }
}

impl fmt::Debug for MiniLmEmbedder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MiniLmEmbedder")
            .field("identity", &self.identity)
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Embedder for MiniLmEmbedder {
    fn identity(&self) -> String {
        self.identity.as_ref().to_owned()
    }

    fn dimension(&self) -> usize {
        self.model.encoder.width
    }

    fn usage(&self) -> Usage {
        Usage::new(self.model.read.load(Ordering::Relaxed), 0)
    }

    async fn embed_documents(&self, ctx: &Context, texts: &[&str]) -> Result<Vec<Vec<f32>>> {
        self.embed(ctx, &self.config.document_prefix, texts).await
    }

    async fn embed_query(&self, ctx: &Context, text: &str, _corpus: &dyn Corpus) -> Result<Vec<f32>> {
        let vectors = self.embed(ctx, &self.config.query_prefix, &[text]).await?;
        let missing = || Error::new(ErrorKind::Internal, "embedder.embed", "the encoder gave no vector");
        vectors.into_iter().next().ok_or_else(missing)
    }
}

/// Opens `minilm:folder` and `minilm-int8:folder`.
#[derive(Debug)]
pub(crate) struct MiniLmFactory(pub(crate) Precision);

#[async_trait]
impl EmbedderFactory for MiniLmFactory {
    async fn open(
        &self,
        ctx: &Context,
        model: &str,
        _settings: &EmbedderSettings,
        _secrets: &dyn SecretStore,
    ) -> Result<Arc<dyn Embedder>> {
        let folder = PathBuf::from(model);
        let config = MiniLmConfig { precision: self.0, ..MiniLmConfig::default() };
        let open = move || MiniLmEmbedder::open_with(folder, config);
        let opening = ctx.runtime().tasks().spawn_blocking(open);
        Ok(Arc::new(ctx.bound("embedder.open", opening).await???))
    }
}
