//! `CacheLayer`: answers what was answered before, to the same request or to one that means the same.

use std::{
    fmt, mem,
    pin::Pin,
    sync::Arc,
    task::{self, Poll, ready},
};

use async_trait::async_trait;
use futures_util::{Stream, StreamExt as _, stream};

use super::cache_store::{AnswerCache, CacheConfig, Key};
use crate::{
    error::Result,
    model::{ChatModel, ChatRequest, ChatStream, FinishReason, Layer, Model, ModelInfo, Place, StreamPart},
    runtime::Context,
    types::{AgentId, Digest, Part, Role},
};

/// How long an answer may be that is kept, in bytes of its text.
const LONGEST: usize = 256 * 1024;

type Vector = Pin<Box<dyn Future<Output = Result<Vec<f32>>> + Send>>;
type Embed = Arc<dyn Fn(Context, String) -> Vector + Send + Sync>;
type Skill = Arc<dyn Fn(&Context) -> Arc<str> + Send + Sync>;

/// Answers again what was answered before, without asking the model.
///
/// The same request has the same answer: same model, messages, tools, form and settings.
/// With [`CacheLayer::semantic`] a question that means the same as another one has its answer too, when everything
/// around the question is the same and no tools are offered.
/// Only whole answers are kept, and none that asks for tools by meaning.
///
/// Answers are kept apart by tenant and by skill, which is the name of the agent that calls unless
/// [`CacheLayer::with_skill`] says otherwise.
/// They are good for an hour, and there are 100 of them for a tenant and skill; see [`CacheConfig`].
/// An answer from the cache tells no usage, because it took none.
///
/// The vector of a question comes from the host, such as from an embedder of a knowledge base.
/// When it fails, the question is only compared as it is; [`CacheStats::unembedded`](crate::model::CacheStats) counts
/// that.
///
/// # Examples
/// ```
/// use raptorflow_core::model::{AnswerCache, CacheConfig, CacheLayer, ChatRequest, Layers, Model, OfflineModel};
/// use raptorflow_core::{runtime::{Context, Runtime}, types::Message};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> raptorflow_core::Result<()> {
/// let cache = AnswerCache::new(CacheConfig::default());
/// let layer = CacheLayer::new(cache.clone());
/// let model = Layers::new().with(layer).wrap(Model::new(OfflineModel::default()));
/// let (ctx, request) = (Context::new(&Runtime::current()?), ChatRequest::new(vec![Message::user("Why?")]));
/// let first = model.complete(&ctx, &request).await?;
/// assert_eq!(model.complete(&ctx, &request).await?.message, first.message);
/// assert_eq!(cache.stats().hit_rate(), 0.5);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct CacheLayer {
    cache: AnswerCache,
    embed: Option<Embed>,
    skill: Skill,
}

impl Default for CacheLayer {
    fn default() -> Self {
        Self::new(AnswerCache::new(CacheConfig::default()))
    }
}

impl CacheLayer {
    /// Answers to the same requests only.
    #[must_use]
    pub fn new(cache: AnswerCache) -> Self {
        let nobody: Arc<str> = Arc::from("");
        let agent =
            move |ctx: &Context| ctx.lineage().last().map_or_else(|| Arc::clone(&nobody), AgentId::shared);
        Self { cache, embed: None, skill: Arc::new(agent) }
    }

    /// Answers to questions of the same meaning too, by vectors that `embed` makes of their text.
    #[must_use]
    pub fn semantic<F, R>(mut self, embed: F) -> Self
    where
        F: Fn(Context, String) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Vec<f32>>> + Send + 'static,
    {
        self.embed = Some(Arc::new(move |ctx, text| Box::pin(embed(ctx, text))));
        self
    }

    /// Says which skill a call belongs to; answers of different skills are kept apart.
    #[must_use]
    pub fn with_skill(mut self, skill: impl Fn(&Context) -> Arc<str> + Send + Sync + 'static) -> Self {
        self.skill = Arc::new(skill);
        self
    }

    /// The answers, to see how often they help and to forget them.
    #[must_use]
    pub fn cache(&self) -> &AnswerCache {
        &self.cache
    }

    fn key(&self, ctx: &Context, model: &str, request: &ChatRequest) -> Option<Key> {
        let request = Digest::of_json(model, request)?;
        Some(Key { tenant: ctx.tenant().clone(), skill: (self.skill)(ctx), request, around: None })
    }

    /// The vector of a request's question, and the digest of what is around it, where there is one to be had.
    async fn meaning(
        &self,
        ctx: &Context,
        model: &str,
        request: &ChatRequest,
    ) -> (Option<Vec<f32>>, Option<Digest>) {
        let (around, question) = split(request);
        (self.vector(ctx, question).await, Digest::of_json(model, &around))
    }

    /// The vector of a question, where there is one to be had.
    async fn vector(&self, ctx: &Context, question: Option<String>) -> Option<Vec<f32>> {
        let (embed, question) = (self.embed.as_ref()?, question?);
        match ctx.bound("model.cache", embed(ctx.clone(), question)).await.flatten() {
            Ok(vector) => Some(vector),
            Err(err) => {
                self.cache.count_unembedded();
                tracing::debug!(error = %err, "a question could not be compared by its meaning");
                None
            }
        }
    }
}

impl Layer for CacheLayer {
    fn place(&self) -> Place {
        Place::Cache
    }

    fn wrap(&self, inner: Model) -> Model {
        Model::new(Cached { layer: self.clone(), inner })
    }
}

impl fmt::Debug for CacheLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheLayer")
            .field("cache", &self.cache)
            .field("semantic", &self.embed.is_some())
            .finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct Cached {
    layer: CacheLayer,
    inner: Model,
}

#[async_trait]
impl ChatModel for Cached {
    fn info(&self) -> &ModelInfo {
        self.inner.info()
    }

    async fn stream(&self, ctx: &Context, request: &ChatRequest) -> Result<ChatStream> {
        // A call that is over is refused as a model would.
        ctx.cancel().check("model.cache")?;
        let model = &self.inner.info().name;
        let Some(mut key) = self.layer.key(ctx, model, request) else {
            return self.inner.stream(ctx, request).await;
        };
        let now = || ctx.runtime().clock().elapsed();
        let cache = &self.layer.cache;
        if let Some(parts) = cache.exact(&key, now) {
            return Ok(replay(&parts));
        }
        let vector = if self.layer.embed.is_some() {
            // In a box, so that it takes no room in a call of a cache that does not compare meanings.
            let (vector, around) = Box::pin(self.layer.meaning(ctx, model, request)).await;
            key.around = around;
            vector
        } else {
            None
        };
        if let Some(vector) = &vector
            && let Some(parts) = cache.semantic(&key, vector, now())
        {
            return Ok(replay(&parts));
        }
        cache.count(None);
        let parts = self.inner.stream(ctx, request).await?;
        let recording =
            Recording { cache: cache.clone(), key, vector, parts: Vec::new(), bytes: 0, ctx: ctx.clone() };
        Ok(Box::pin(Recorded { parts, recording: Some(recording) }))
    }
}

/// The request without its question, and the question, where its meaning is all that matters.
fn split(request: &ChatRequest) -> (ChatRequest, Option<String>) {
    let mut around = request.clone();
    let question = match around.messages.last_mut() {
        Some(last) if last.role == Role::User && request.tools.is_empty() => {
            let question = last.text();
            last.parts.retain(|part| !matches!(part, Part::Text { .. }));
            Some(question).filter(|question| !question.trim().is_empty())
        }
        _ => None,
    };
    (around, question)
}

fn replay(parts: &Arc<[StreamPart]>) -> ChatStream {
    let parts: Vec<Result<StreamPart>> = parts.iter().cloned().map(Ok).collect();
    Box::pin(stream::iter(parts))
}

/// An answer as it passes, to be kept at its end.
struct Recording {
    cache: AnswerCache,
    key: Key,
    vector: Option<Vec<f32>>,
    parts: Vec<StreamPart>,
    bytes: usize,
    ctx: Context,
}

/// The same parts, which are recorded.
struct Recorded {
    parts: ChatStream,
    /// `None` when the answer is kept, or is none that can be.
    recording: Option<Recording>,
}

impl Stream for Recorded {
    type Item = Result<StreamPart>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Option<Self::Item>> {
        let next = ready!(self.parts.poll_next_unpin(cx));
        let goes_on = match (&next, &mut self.recording) {
            (Some(Ok(part)), Some(recording)) => recording.note(part),
            _ => false,
        };
        if !goes_on {
            self.recording = None;
        }
        Poll::Ready(next)
    }
}

impl Recording {
    /// Notes a part; `false` when the answer is kept, or is none that can be.
    fn note(&mut self, part: &StreamPart) -> bool {
        self.bytes += match part {
            // It took tokens once, and does not again.
            StreamPart::Usage { .. } => return true,
            StreamPart::Text { text } | StreamPart::Reasoning { text, .. } => text.len(),
            StreamPart::ToolCall { arguments, .. } => {
                // Those of another question would be called.
                self.vector = None;
                arguments.len()
            }
            _ => 0,
        };
        if self.bytes > LONGEST {
            return false;
        }
        self.parts.push(part.clone());
        match part {
            StreamPart::Finish { reason: FinishReason::Stop | FinishReason::ToolCalls } => {
                let clock = self.ctx.runtime().clock();
                let parts = mem::take(&mut self.parts);
                self.cache.keep(&self.key, self.vector.as_deref(), parts, || clock.elapsed());
                false
            }
            // Cut short or withheld: another try may give a whole one.
            StreamPart::Finish { .. } => false,
            _ => true,
        }
    }
}

#[cfg(test)]
#[cfg(feature = "testing")]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        error::{Error, ErrorKind},
        model::{ChatResponse, layers::tests::support::Desk},
        testing::Reply,
        types::{Message, TenantId, Usage},
    };

    fn ask(text: &str) -> ChatRequest {
        ChatRequest::new(vec![Message::system("Be brief."), Message::user(text)])
    }

    /// The meaning of a text: how often it says `price`, `delivery` and anything else.
    fn meaning(text: &str) -> Vec<f32> {
        let count = |word: &str| text.matches(word).count() as f32;
        vec![count("price"), count("delivery"), 0.1]
    }

    fn layer(config: CacheConfig) -> CacheLayer {
        CacheLayer::new(AnswerCache::new(config)).semantic(|_ctx, text| async move {
            if text.contains("broken") {
                return Err(Error::new(ErrorKind::Unavailable, "test.embed", "down"));
            }
            Ok(meaning(&text))
        })
    }

    /// Answers with a number that counts up.
    fn desk() -> Desk {
        let reply = |number: usize| Reply::text(format!("answer {number}")).with_usage(Usage::new(5, 5));
        Desk::new((1..=200).map(reply))
    }

    async fn text(layer: &CacheLayer, desk: &Desk, ctx: &Context, request: &ChatRequest) -> String {
        answer(layer, desk, ctx, request).await.message.text()
    }

    async fn answer(layer: &CacheLayer, desk: &Desk, ctx: &Context, request: &ChatRequest) -> ChatResponse {
        layer.wrap(desk.model()).complete(ctx, request).await.unwrap()
    }

    #[tokio::test]
    async fn the_same_request_and_the_same_meaning_are_answered_once_and_at_no_cost() {
        let (layer, desk) = (layer(CacheConfig::default()), desk());
        let ctx = desk.ctx();
        let first = answer(&layer, &desk, &ctx, &ask("What is the price?")).await;
        assert_eq!(first.usage.total_tokens(), 10);
        for question in ["What is the price?", "price, please", "the price of price"] {
            let again = answer(&layer, &desk, &ctx, &ask(question)).await;
            assert_eq!((again.message.text().as_str(), again.usage), ("answer 1", Usage::default()));
        }
        assert_eq!(text(&layer, &desk, &ctx, &ask("price and delivery")).await, "answer 2", "cosine 0.71");
        let stats = layer.cache().stats();
        assert_eq!((stats.exact_hits, stats.semantic_hits, stats.misses, stats.entries), (1, 2, 2, 2));
        assert!((stats.hit_rate() - 0.6).abs() < 1e-9);
    }

    #[tokio::test]
    async fn other_tenants_skills_instructions_and_tools_have_answers_of_their_own() {
        let (layer, desk) = (layer(CacheConfig::default()), desk());
        let ctx = desk.ctx();
        let with = |system: &str| ChatRequest::new(vec![Message::system(system), Message::user("price")]);
        assert_eq!(text(&layer, &desk, &ctx, &ask("price")).await, "answer 1");
        let tenant = ctx.with_tenant(TenantId::new("other").unwrap());
        assert_eq!(text(&layer, &desk, &tenant, &ask("price")).await, "answer 2");
        let skill = ctx.with_agent(&AgentId::new("seller").unwrap());
        assert_eq!(text(&layer, &desk, &skill, &ask("price")).await, "answer 3");
        assert_eq!(text(&layer, &desk, &ctx, &with("Be polite.")).await, "answer 4");
        let tools = vec![crate::types::ToolSpec::new("look", "Looks.", crate::types::Schema::any_object())];
        assert_eq!(text(&layer, &desk, &ctx, &ask("price").with_tools(tools.clone())).await, "answer 5");
        let near = ask("price!").with_tools(tools);
        assert_eq!(text(&layer, &desk, &ctx, &near).await, "answer 6", "tools are not called by meaning");
        assert_eq!(layer.cache().invalidate(tenant.tenant(), None), 1);
        assert_eq!(layer.cache().invalidate(ctx.tenant(), Some("seller")), 1);
        assert_eq!(text(&layer, &desk, &skill, &ask("price")).await, "answer 7");
        assert_eq!(text(&layer, &desk, &ctx, &ask("price")).await, "answer 1");
    }

    #[tokio::test]
    async fn answers_end_with_their_time_and_make_room_for_newer_ones() {
        let config = CacheConfig { entries: 2, ..CacheConfig::default() };
        let (layer, desk) = (CacheLayer::new(AnswerCache::new(config)), desk());
        let ctx = desk.ctx();
        for (question, expected) in [("a", 1), ("b", 2), ("a", 1), ("c", 3), ("a", 1), ("b", 4), ("c", 5)] {
            let found = text(&layer, &desk, &ctx, &ask(question)).await;
            assert_eq!(found, format!("answer {expected}"), "{question}");
        }
        desk.clock.advance(Duration::from_secs(3600) - Duration::from_millis(1));
        assert_eq!(text(&layer, &desk, &ctx, &ask("c")).await, "answer 5");
        desk.clock.advance(Duration::from_millis(1));
        assert_eq!(text(&layer, &desk, &ctx, &ask("c")).await, "answer 6");
    }

    #[tokio::test]
    async fn what_is_not_whole_is_not_kept_and_a_question_without_a_vector_is_asked() {
        let cut = Reply::text("half").with_finish(&FinishReason::Length);
        let broken = Reply::text("cut off").cut_after(1);
        let desk = Desk::new([cut, broken, Reply::text("whole"), Reply::text("other")]);
        let (layer, ctx) = (layer(CacheConfig::default()), desk.ctx());
        let request = ask("price");
        assert_eq!(text(&layer, &desk, &ctx, &request).await, "half");
        assert!(layer.wrap(desk.model()).complete(&ctx, &request).await.is_err());
        assert_eq!(text(&layer, &desk, &ctx, &request).await, "whole");
        assert_eq!(text(&layer, &desk, &ctx, &request).await, "whole");
        assert_eq!(text(&layer, &desk, &ctx, &ask("price, broken")).await, "other");
        assert_eq!(text(&layer, &desk, &ctx, &ask("price, broken")).await, "other");
        assert_eq!(layer.cache().stats().unembedded, 1);
        ctx.cancel().cancel();
        let err = layer.wrap(desk.model()).complete(&ctx, &request).await.unwrap_err();
        assert_eq!(err.kind(), ErrorKind::Cancelled);
    }
}
