//! `ModelEmbedder`: an embedding model as an embedder, with batches, retries, a time-out and a cache.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    fmt::{self, Debug},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;

use crate::{
    error::{Error, ErrorKind, Result, Retry},
    model::{EmbeddingAnswer, EmbeddingInfo, EmbeddingModel, EmbeddingPurpose, RetryLayer},
    rag::{
        embed::{Corpus, Embedder, check_output},
        vector::check_dimension,
    },
    runtime::Context,
    types::{Digest, Usage},
};

/// How long one try may take by default.
const TIMEOUT: Duration = Duration::from_secs(60);
/// How many vectors are remembered by default: 25 MiB of 1,536 numbers each.
const REMEMBERED: usize = 4096;
/// How many texts an ingest gives at once, where the model takes as many.
const BATCH: usize = 256;

/// An embedding model as an embedder.
///
/// Texts go out in as many requests as the model's limits ask for, each text once: what is asked for again is taken
/// from a cache of 4,096 vectors, by the digest of the text.
/// A request that fails is tried again like the call of a chat model (see [`RetryLayer`]), and each try has 60 seconds.
/// What comes back is checked: one vector per text, of the model's dimension, finite, not all zero.
///
/// # Examples
/// ```no_run
/// use raptorflow_core::{KnowledgeBase, rag::ModelEmbedder, security::Secret};
/// use raptorflow_core::model::{EmbeddingConfig, HttpEmbeddingModel, ReqwestClient};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> raptorflow_core::Result<()> {
/// let config = EmbeddingConfig::openai("text-embedding-3-small")?.with_dimension(512);
/// let model = HttpEmbeddingModel::new(config, Some(Secret::new("key")), ReqwestClient::default())?;
/// let kb = KnowledgeBase::in_memory(ModelEmbedder::new(model)?).await?;
/// # Ok(())
/// # }
/// ```
pub struct ModelEmbedder {
    model: Arc<dyn EmbeddingModel>,
    dimension: usize,
    identity: String,
    retry: RetryLayer,
    timeout: Duration,
    remembered: usize,
    state: Mutex<State>,
}

/// What is known so far.
#[derive(Default)]
struct State {
    vectors: HashMap<Digest, Arc<[f32]>>,
    /// The oldest gives way.
    order: VecDeque<Digest>,
    usage: Usage,
}

impl ModelEmbedder {
    /// An embedder over a model whose dimension is known.
    ///
    /// # Errors
    /// `InvalidInput` when the dimension is not known, is 0 or is above 65,536.
    pub fn new(model: impl EmbeddingModel) -> Result<Self> {
        Self::from_arc(Arc::new(model))
    }

    /// An embedder over a shared model whose dimension is known.
    ///
    /// # Errors
    /// As [`ModelEmbedder::new`].
    pub fn from_arc(model: Arc<dyn EmbeddingModel>) -> Result<Self> {
        let info = model.info();
        let dimension = info.dimension.ok_or_else(|| {
            let message = "it is not known how many numbers the model's vectors have; give the dimension";
            Error::new(ErrorKind::InvalidInput, "embedder.new", message)
                .with("field", "dimension")
                .with("embedder", &info.name)
        })?;
        check_dimension("embedder.new", dimension)?;
        Ok(Self::with(model, dimension))
    }

    /// An embedder over a model that is asked for one vector where its dimension is not known.
    ///
    /// # Errors
    /// What the model says, and `InvalidOutput` when it gives no vector.
    ///
    /// # Cancellation
    /// Nothing is kept.
    pub async fn probed(ctx: &Context, model: Arc<dyn EmbeddingModel>) -> Result<Self> {
        if model.info().dimension.is_some() {
            return Self::from_arc(model);
        }
        let probe = Self::with(Arc::clone(&model), 0);
        let vectors = probe.ask(ctx, &["dimension"], EmbeddingPurpose::Query).await?.vectors;
        let dimension = vectors.first().map_or(0, Vec::len);
        check_dimension("embedder.new", dimension).map_err(|err| probe.unusable(err))?;
        Ok(Self::with(model, dimension))
    }

    fn with(model: Arc<dyn EmbeddingModel>, dimension: usize) -> Self {
        let identity = identity(model.info(), dimension);
        Self {
            model,
            dimension,
            identity,
            retry: RetryLayer::default(),
            timeout: TIMEOUT,
            remembered: REMEMBERED,
            state: Mutex::default(),
        }
    }

    /// Other tries and pauses; three tries by default.
    #[must_use]
    pub fn with_retry(mut self, retry: RetryLayer) -> Self {
        self.retry = retry;
        self
    }

    /// How long one try may take; 60 seconds by default.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How many vectors are remembered; 4,096 by default, 0 remembers none.
    #[must_use]
    pub fn with_cache(mut self, vectors: usize) -> Self {
        self.remembered = vectors;
        self
    }

    /// One request, tried again where that can help.
    async fn ask(&self, ctx: &Context, texts: &[&str], purpose: EmbeddingPurpose) -> Result<EmbeddingAnswer> {
        let name = &self.model.info().name;
        let once = || async {
            let work = self.model.embed(ctx, texts, purpose);
            let mut late = ctx.runtime().clock().sleep(self.timeout);
            tokio::select! {
                biased;
                answer = work => answer,
                () = &mut late => Err(
                    Error::new(ErrorKind::Timeout, "embedder.embed", "the model did not answer in time")
                        .with("embedder", name)
                        .with("limit_ms", self.timeout.as_millis())
                        .retryable(Retry::Soon)
                ),
            }
        };
        let answer = ctx.bound("embedder.embed", self.retry.run(ctx, name, once)).await??;
        let mut state = self.state();
        state.usage = state.usage.plus(answer.usage);
        Ok(answer)
    }

    /// The vectors of texts; each text is asked for once.
    async fn embed(&self, ctx: &Context, texts: &[&str], purpose: EmbeddingPurpose) -> Result<Vec<Vec<f32>>> {
        let info = self.model.info();
        let (prefix, mark) = match purpose {
            EmbeddingPurpose::Document => (&info.document_prefix, "document"),
            EmbeddingPurpose::Query => (&info.query_prefix, "query"),
        };
        let keys: Vec<Digest> = texts.iter().map(|text| Digest::of_all([mark, text])).collect();
        let mut known = self.recall(&keys);
        let mut seen: HashSet<Digest> = known.keys().copied().collect();
        let new = keys.iter().zip(texts).filter(|(key, _)| seen.insert(**key));
        let missing: Vec<(Digest, String)> =
            new.map(|(key, text)| (*key, format!("{prefix}{text}"))).collect();
        for batch in batches(&missing, info) {
            let texts: Vec<&str> = batch.iter().map(|(_, text)| text.as_str()).collect();
            let answer = self.ask(ctx, &texts, purpose).await?;
            if answer.vectors.len() != texts.len() {
                let message = "the model did not give one vector per text";
                return Err(Error::new(ErrorKind::InvalidOutput, "embedder.embed", message)
                    .with("embedder", &info.name)
                    .with("expected", texts.len())
                    .with("got", answer.vectors.len()));
            }
            for ((key, _), vector) in batch.iter().zip(answer.vectors) {
                check_output(self, &vector)?;
                known.insert(*key, self.remember(*key, vector.into()));
            }
        }
        let vectors = keys.iter().filter_map(|key| known.get(key).map(|vector| vector.to_vec()));
        Ok(vectors.collect())
    }

    fn recall(&self, keys: &[Digest]) -> HashMap<Digest, Arc<[f32]>> {
        let state = self.state();
        keys.iter().filter_map(|key| Some((*key, Arc::clone(state.vectors.get(key)?)))).collect()
    }

    fn remember(&self, key: Digest, vector: Arc<[f32]>) -> Arc<[f32]> {
        let mut state = self.state();
        if self.remembered > 0 && state.vectors.insert(key, Arc::clone(&vector)).is_none() {
            state.order.push_back(key);
        }
        if state.order.len() > self.remembered
            && let Some(oldest) = state.order.pop_front()
        {
            state.vectors.remove(&oldest);
        }
        vector
    }

    fn unusable(&self, err: Error) -> Error {
        let message = "the model gave no vector";
        Error::new(ErrorKind::InvalidOutput, "embedder.new", message)
            .with("embedder", &self.model.info().name)
            .caused_by(err)
    }

    // A std mutex: no await happens while it is held.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Debug for ModelEmbedder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ModelEmbedder").field("identity", &self.identity).finish_non_exhaustive()
    }
}

/// The model, the dimension and, where there are prefixes, what they are: all that makes a vector what it is.
fn identity(info: &EmbeddingInfo, dimension: usize) -> String {
    let prefixes = [&info.document_prefix, &info.query_prefix];
    if prefixes.iter().all(|prefix| prefix.is_empty()) {
        return format!("{}/{dimension}", info.name);
    }
    let digest = Digest::of_all(prefixes.map(|prefix| prefix.as_bytes())).to_string();
    format!("{}/{dimension}/{}", info.name, digest.get(..8).unwrap_or_default())
}

/// Texts in runs that fit into one request.
fn batches<'a>(mut texts: &'a [(Digest, String)], info: &EmbeddingInfo) -> Vec<&'a [(Digest, String)]> {
    let mut batches = Vec::new();
    while !texts.is_empty() {
        let mut bytes = 0_usize;
        let fits = texts.iter().take(info.max_texts.max(1)).take_while(|(_, text)| {
            bytes = bytes.saturating_add(text.len());
            bytes <= info.max_bytes
        });
        // A text that is too long for any request goes alone.
        let (batch, rest) = texts.split_at(fits.count().max(1));
        batches.push(batch);
        texts = rest;
    }
    batches
}

#[async_trait]
impl Embedder for ModelEmbedder {
    fn identity(&self) -> String {
        self.identity.clone()
    }

    fn dimension(&self) -> usize {
        self.dimension
    }

    fn batch(&self) -> usize {
        self.model.info().max_texts.min(BATCH)
    }

    fn usage(&self) -> Usage {
        self.state().usage
    }

    async fn embed_documents(&self, ctx: &Context, texts: &[&str]) -> Result<Vec<Vec<f32>>> {
        self.embed(ctx, texts, EmbeddingPurpose::Document).await
    }

    async fn embed_query(&self, ctx: &Context, text: &str, _corpus: &dyn Corpus) -> Result<Vec<f32>> {
        let mut vectors = self.embed(ctx, &[text], EmbeddingPurpose::Query).await?;
        let missing = || Error::new(ErrorKind::Internal, "embedder.embed", "no vector was kept");
        vectors.pop().ok_or_else(missing)
    }
}

#[cfg(test)]
#[cfg(feature = "testing")]
mod tests {
    use super::*;
    use crate::{
        runtime::{Runtime, Tasks},
        testing::ManualClock,
    };

    /// Gives a text the vector of its length, and notes what it was asked.
    #[derive(Debug)]
    struct Lengths {
        info: EmbeddingInfo,
        asked: Arc<Mutex<Vec<Vec<String>>>>,
        failures: Mutex<Vec<Error>>,
        hangs: bool,
    }

    impl Lengths {
        fn new(info: EmbeddingInfo) -> Self {
            Self { info, asked: Arc::default(), failures: Mutex::default(), hangs: false }
        }

        fn asked(&self) -> Arc<Mutex<Vec<Vec<String>>>> {
            Arc::clone(&self.asked)
        }
    }

    #[async_trait]
    impl EmbeddingModel for Lengths {
        fn info(&self) -> &EmbeddingInfo {
            &self.info
        }

        async fn embed(&self, _: &Context, texts: &[&str], _: EmbeddingPurpose) -> Result<EmbeddingAnswer> {
            self.asked.lock().unwrap().push(texts.iter().map(ToString::to_string).collect());
            if self.hangs {
                std::future::pending::<()>().await;
            }
            if let Some(err) = self.failures.lock().unwrap().pop() {
                return Err(err);
            }
            let vectors = texts.iter().map(|text| vec![text.len() as f32, 1.0]).collect();
            Ok(EmbeddingAnswer { vectors, usage: Usage::new(texts.len() as u64, 0) })
        }
    }

    fn info() -> EmbeddingInfo {
        EmbeddingInfo::new("test:lengths").with_dimension(2)
    }

    fn ctx() -> (ManualClock, Context) {
        let clock = ManualClock::new();
        let runtime = Runtime::new(Arc::new(clock.clone()), Tasks::current().unwrap());
        (clock, Context::new(&runtime))
    }

    fn refused(retry: Retry) -> Error {
        Error::new(ErrorKind::RateLimited, "embedding.embed", "slow down").retryable(retry)
    }

    #[tokio::test]
    async fn texts_go_out_in_requests_within_both_limits_and_come_back_in_order() {
        let mut info = info();
        (info.max_texts, info.max_bytes) = (2, 6);
        let model = Lengths::new(info);
        let asked = model.asked();
        let embedder = ModelEmbedder::new(model).unwrap();
        let texts = ["a", "bb", "ccc", "dddd", "eeeeeeeeee", "f"];
        let vectors = embedder.embed_documents(&ctx().1, &texts).await.unwrap();
        let lengths: Vec<f32> = vectors.iter().map(|vector| vector[0]).collect();
        assert_eq!(lengths, [1.0, 2.0, 3.0, 4.0, 10.0, 1.0]);
        let sizes: Vec<usize> = asked.lock().unwrap().iter().map(Vec::len).collect();
        assert_eq!(sizes, [2, 1, 1, 1, 1]);
        assert_eq!(embedder.usage(), Usage::new(6, 0));
    }

    #[tokio::test]
    async fn a_text_is_asked_for_once_until_the_cache_is_full() {
        let model = Lengths::new(info());
        let asked = model.asked();
        let embedder = ModelEmbedder::new(model).unwrap().with_cache(2);
        let (_, ctx) = ctx();
        embedder.embed_documents(&ctx, &["one", "one", "three"]).await.unwrap();
        embedder.embed_documents(&ctx, &["three", "one"]).await.unwrap();
        assert_eq!(*asked.lock().unwrap(), [["one", "three"]]);
        // A question is another thing than a text that is kept.
        embedder.embed_query(&ctx, "one", &()).await.unwrap();
        embedder.embed_documents(&ctx, &["one"]).await.unwrap();
        assert_eq!(asked.lock().unwrap().len(), 3);
    }

    #[tokio::test]
    async fn the_model_reads_its_prefixes_and_another_prefix_is_another_identity() {
        let mut info = info();
        assert_eq!(identity(&info, 2), "test:lengths/2");
        (info.document_prefix, info.query_prefix) = ("kept: ".into(), "asked: ".into());
        let model = Lengths::new(info);
        let asked = model.asked();
        let embedder = ModelEmbedder::new(model).unwrap();
        let (_, ctx) = ctx();
        embedder.embed_documents(&ctx, &["a"]).await.unwrap();
        embedder.embed_query(&ctx, "b", &()).await.unwrap();
        assert_eq!(*asked.lock().unwrap(), [["kept: a"], ["asked: b"]]);
        assert_eq!(embedder.identity().len(), "test:lengths/2/12345678".len());
    }

    #[tokio::test]
    async fn what_may_succeed_later_is_tried_again_and_given_up_once() {
        let model = Lengths::new(info());
        model.failures.lock().unwrap().push(refused(Retry::After(Duration::ZERO)));
        let quick = RetryLayer::new(crate::runtime::Backoff { base: Duration::ZERO, ..Default::default() });
        let embedder = ModelEmbedder::new(model).unwrap().with_retry(quick);
        assert_eq!(embedder.embed_query(&ctx().1, "abc", &()).await.unwrap(), [3.0, 1.0]);
        let model = Lengths::new(info());
        model.failures.lock().unwrap().extend((0..9).map(|_| refused(Retry::Soon)));
        let asked = model.asked();
        let embedder = ModelEmbedder::new(model).unwrap().with_retry(quick);
        let err = embedder.embed_query(&ctx().1, "abc", &()).await.unwrap_err();
        assert_eq!((err.kind(), err.retry()), (ErrorKind::RateLimited, Retry::Exhausted));
        assert_eq!(asked.lock().unwrap().len(), 3);
    }

    #[tokio::test]
    async fn a_try_that_takes_too_long_ends() {
        let (clock, ctx) = ctx();
        let model = Lengths { hangs: true, ..Lengths::new(info()) };
        let embedder = ModelEmbedder::new(model).unwrap().with_retry(RetryLayer::default().with_attempts(1));
        let mut call = Box::pin(embedder.embed_query(&ctx, "abc", &()));
        assert!(futures_util::FutureExt::now_or_never(&mut call).is_none());
        clock.advance(TIMEOUT);
        let err = call.await.unwrap_err();
        assert_eq!((err.kind(), err.retry()), (ErrorKind::Timeout, Retry::Soon));
    }

    #[tokio::test]
    async fn a_vector_of_another_dimension_is_refused_and_an_unknown_dimension_is_asked_for() {
        let wrong = ModelEmbedder::new(Lengths::new(info().with_dimension(3))).unwrap();
        let err = wrong.embed_documents(&ctx().1, &["a"]).await.unwrap_err();
        assert_eq!(err.kind(), ErrorKind::InvalidOutput);
        let unknown = EmbeddingInfo::new("test:lengths");
        let err = ModelEmbedder::new(Lengths::new(unknown.clone())).unwrap_err();
        assert_eq!((err.kind(), err.get("field")), (ErrorKind::InvalidInput, Some("dimension")));
        let probed = ModelEmbedder::probed(&ctx().1, Arc::new(Lengths::new(unknown))).await.unwrap();
        assert_eq!(probed.dimension(), 2);
    }
}
