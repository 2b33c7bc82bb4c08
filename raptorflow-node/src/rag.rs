//! Knowledge bases and embedders: documents as JSON, vectors as `Float32Array`.

use std::sync::Arc;

use async_trait::async_trait;
use napi::{
    Env,
    bindgen_prelude::{Float32Array, PromiseRaw, block_on},
};
use napi_derive::napi;
use raptorflow_core::{
    Error, ErrorKind, Result,
    rag::{
        self, Corpus, Document, Embedder, EmbedderRegistry, EmbedderSettings, Filter, HashingEmbedder,
        KnowledgeBase, KnowledgeBaseBuilder, LoadLimits, Loaded, Search,
    },
    runtime::{Context, Runtime},
    storage::Storage,
    types::Diagnostic,
};
use serde::{Deserialize, Serialize};

use crate::{
    callback::EmbedCallback,
    convert::{data, native, promise, written},
    rerank::NativeRerank,
};

/// Text to vectors.
#[napi]
pub struct NativeEmbedder {
    embedder: Arc<dyn Embedder>,
}

impl NativeEmbedder {
    pub(crate) fn core(&self) -> Arc<dyn Embedder> {
        Arc::clone(&self.embedder)
    }
}

#[napi]
impl NativeEmbedder {
    /// Hashed words and parts of words.
    #[napi(factory)]
    pub fn hashing(dimension: u32) -> napi::Result<Self> {
        Ok(Self { embedder: Arc::new(native(HashingEmbedder::new(dimension as usize))?) })
    }

    /// A user's function of `{texts, purpose}`.
    #[napi(factory)]
    pub fn of_function(
        identity: String,
        dimension: u32,
        semantic: bool,
        body: &EmbedCallback,
    ) -> napi::Result<Self> {
        let dimension = dimension as usize;
        if identity.trim().is_empty() || dimension == 0 {
            let field = if dimension == 0 { "dimension" } else { "name" };
            let message = "expected the name of the model and how many numbers its vectors have";
            native(Err(Error::new(ErrorKind::InvalidInput, "node.embedder", message).with("field", field)))?;
        }
        let body = body.clone();
        Ok(Self { embedder: Arc::new(FunctionEmbedder { identity, dimension, semantic, body }) })
    }

    /// A model of a provider; nothing is sent.
    #[napi(factory)]
    pub fn named(
        provider: String,
        model: String,
        base_url: Option<String>,
        dimension: Option<u32>,
        shorten: bool,
    ) -> napi::Result<Self> {
        let mut settings = EmbedderSettings::default().without_probe();
        (settings.host.base_url, settings.shorten) = (base_url, shorten);
        settings.dimension = dimension.map(|dimension| dimension as usize);
        let embedders = EmbedderRegistry::default().with_settings(provider.as_str(), settings);
        let opened = block_on(async move {
            let ctx = Context::new(&Runtime::current()?);
            embedders.open(&ctx, &format!("{provider}:{model}")).await
        });
        Ok(Self { embedder: native(opened)? })
    }

    /// The one of a name, whose model may be asked for the size of its vectors.
    #[napi(ts_return_type = "Promise<NativeEmbedder>")]
    pub fn open(env: &Env, name: String) -> napi::Result<PromiseRaw<'_, NativeEmbedder>> {
        promise(env, async move {
            let ctx = Context::new(&Runtime::current()?);
            Ok(Self { embedder: EmbedderRegistry::default().open(&ctx, &name).await? })
        })
    }

    /// How many numbers a vector has.
    #[napi(getter)]
    #[must_use]
    pub fn dimension(&self) -> u32 {
        u32::try_from(self.embedder.dimension()).unwrap_or(u32::MAX)
    }

    /// The tokens that a model has read so far, as JSON.
    #[napi(getter)]
    pub fn usage(&self) -> napi::Result<String> {
        native(written(&self.embedder.usage()))
    }
}

struct FunctionEmbedder {
    identity: String,
    dimension: usize,
    semantic: bool,
    body: EmbedCallback,
}

#[derive(Serialize)]
struct Texts<'a> {
    texts: &'a [&'a str],
    purpose: &'static str,
}

impl FunctionEmbedder {
    async fn vectors(&self, ctx: &Context, texts: &[&str], purpose: &'static str) -> Result<Vec<Vec<f32>>> {
        if texts.is_empty() {
            return Ok(Vec::new());
        }
        let numbers = self.body.call(ctx, Texts { texts, purpose }).await?;
        Ok(numbers.chunks(self.dimension).map(<[f32]>::to_vec).collect())
    }
}

impl std::fmt::Debug for FunctionEmbedder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FunctionEmbedder").field("identity", &self.identity).finish_non_exhaustive()
    }
}

#[async_trait]
impl Embedder for FunctionEmbedder {
    fn identity(&self) -> String {
        self.identity.clone()
    }

    fn dimension(&self) -> usize {
        self.dimension
    }

    fn semantic(&self) -> bool {
        self.semantic
    }

    async fn embed_documents(&self, ctx: &Context, texts: &[&str]) -> Result<Vec<Vec<f32>>> {
        self.vectors(ctx, texts, "document").await
    }

    async fn embed_query(&self, ctx: &Context, text: &str, _corpus: &dyn Corpus) -> Result<Vec<f32>> {
        Ok(self.vectors(ctx, &[text], "query").await?.into_iter().next().unwrap_or_default())
    }
}

/// Documents that are searched and cited.
#[napi]
pub struct NativeKnowledgeBase {
    pub(crate) kb: KnowledgeBase,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Query {
    query: String,
    k: Option<usize>,
    mode: Option<String>,
    #[serde(default)]
    filter: Filter,
    max_tokens: Option<usize>,
    rerank: Option<bool>,
}

/// How many chunks compete for a place in a context.
const CONTEXT_DEPTH: usize = 60;

#[napi]
impl NativeKnowledgeBase {
    /// Opens the one in a store.
    #[napi(ts_return_type = "Promise<NativeKnowledgeBase>")]
    pub fn open<'e>(
        env: &'e Env,
        address: String,
        embedder: &NativeEmbedder,
        rerank: Option<&NativeRerank>,
    ) -> napi::Result<PromiseRaw<'e, NativeKnowledgeBase>> {
        let (embedder, rerank) = (Arc::clone(&embedder.embedder), rerank.map(NativeRerank::core));
        promise(env, async move {
            let builder = KnowledgeBase::builder(embedder).storage(Storage::open(&address).await?);
            let builder = rerank.into_iter().fold(builder, KnowledgeBaseBuilder::rerank);
            Ok(Self { kb: builder.open().await? })
        })
    }

    /// The Markdown and text files of a folder as JSON: documents, and what was left out and why.
    #[napi]
    pub fn load_folder(env: &Env, folder: String) -> napi::Result<PromiseRaw<'_, String>> {
        promise(env, async move {
            let ctx = Context::new(&Runtime::current()?);
            let Loaded { documents, diagnostics } =
                rag::load_folder(&ctx, folder, LoadLimits::default()).await?;
            written(&FolderContent { documents, diagnostics })
        })
    }

    /// How many documents it has.
    #[napi(getter)]
    #[must_use]
    pub fn size(&self) -> u32 {
        u32::try_from(self.kb.len()).unwrap_or(u32::MAX)
    }

    /// Adds documents; `vectors` has one place for each.
    #[napi]
    pub fn add<'e>(
        &self,
        env: &'e Env,
        documents: String,
        vectors: Vec<Option<Float32Array>>,
    ) -> napi::Result<PromiseRaw<'e, String>> {
        let kb = self.kb.clone();
        // Copied here: JavaScript may change the numbers while the documents are added.
        let vectors: Vec<_> =
            vectors.into_iter().map(|vector| vector.map(|numbers| numbers.to_vec())).collect();
        promise(env, async move {
            let mut documents: Vec<Document> = data("documents", &documents)?;
            for (document, vector) in documents.iter_mut().zip(vectors) {
                document.vector = vector;
            }
            written(&kb.add(documents).await?)
        })
    }

    /// The best chunks for a query.
    #[napi]
    pub fn search<'e>(&self, env: &'e Env, query: String) -> napi::Result<PromiseRaw<'e, String>> {
        let kb = self.kb.clone();
        promise(env, async move { written(&search(&kb, data("search", &query)?)?.await?) })
    }

    /// The best passages for a query within a number of tokens.
    #[napi]
    pub fn context<'e>(&self, env: &'e Env, query: String) -> napi::Result<PromiseRaw<'e, String>> {
        let kb = self.kb.clone();
        promise(env, async move {
            let mut query: Query = data("context", &query)?;
            query.k.get_or_insert(CONTEXT_DEPTH);
            let limit = query.max_tokens.unwrap_or(2000);
            written(&kb.context_of(search(&kb, query)?, limit).await?)
        })
    }

    /// Removes a document and says whether there was one.
    #[napi]
    pub fn delete<'e>(&self, env: &'e Env, id: String) -> napi::Result<PromiseRaw<'e, bool>> {
        let kb = self.kb.clone();
        promise(env, async move { kb.delete(&id).await })
    }

    /// The ids of all documents.
    #[napi]
    #[must_use]
    pub fn ids(&self) -> Vec<String> {
        self.kb.ids().iter().map(|id| id.as_ref().to_owned()).collect()
    }

    /// A document of an id, if there is one.
    #[napi]
    pub fn get(&self, id: String) -> napi::Result<Option<String>> {
        native(self.kb.get(&id).map(|document| written(&document)).transpose())
    }
}

#[derive(Serialize)]
struct FolderContent {
    documents: Vec<Document>,
    diagnostics: Vec<Diagnostic>,
}

fn search(kb: &KnowledgeBase, query: Query) -> Result<Search> {
    let mut search = kb.search(query.query).filter(query.filter);
    if let Some(k) = query.k {
        search = search.k(k);
    }
    if let Some(mode) = query.mode {
        search = search.mode(mode.parse()?);
    }
    if query.rerank == Some(false) {
        search = search.without_rerank();
    }
    Ok(search)
}
