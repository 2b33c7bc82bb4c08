//! `ChatModel`, the trait of a backend, and `Model`, the handle that everybody holds.

use std::{
    fmt::Debug,
    pin::{Pin, pin},
    sync::{Arc, Weak},
};

use async_trait::async_trait;
use futures_util::{Stream, StreamExt as _};

use crate::{
    error::Result,
    model::{Accumulator, ChatRequest, ChatResponse, ModelInfo, StreamPart},
    runtime::Context,
};

/// The parts of an answer as they arrive.
pub type ChatStream = Pin<Box<dyn Stream<Item = Result<StreamPart>> + Send + 'static>>;

/// What [`ChatModel::stream`] gives when it is called.
pub(crate) type Beginning<'a> = Pin<Box<dyn Future<Output = Result<ChatStream>> + Send + 'a>>;

/// A model that answers a conversation.
///
/// # Contract
/// - a stream ends with exactly one `Finish` part, or with an error.
/// - an error ends the stream; what arrived before it stays valid.
/// - usage is told at most once, before `Finish`.
/// - dropping the stream stops the call.
/// - the context's deadline and cancellation end a call that hangs.
/// - a context that is over ends a call before it begins.
/// - what the model cannot do is `Unsupported` before anything is sent.
/// - errors say whether trying again can help, and after what pause.
///
/// # Examples
/// ```
/// use async_trait::async_trait;
/// use futures_util::stream;
/// use raptorflow_core::{Result, runtime::{Context, Runtime}, types::Message};
/// use raptorflow_core::model::{
///     ChatModel, ChatRequest, ChatStream, FinishReason, Model, ModelInfo, StreamPart,
/// };
///
/// #[derive(Debug)]
/// struct Polite(ModelInfo);
///
/// #[async_trait]
/// impl ChatModel for Polite {
///     fn info(&self) -> &ModelInfo {
///         &self.0
///     }
///
///     async fn stream(&self, _ctx: &Context, request: &ChatRequest) -> Result<ChatStream> {
///         self.0.check(request)?;
///         let parts = [StreamPart::Text { text: "Thank you.".into() }, StreamPart::Finish { reason: FinishReason::Stop }];
///         Ok(Box::pin(stream::iter(parts.map(Ok))))
///     }
/// }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> raptorflow_core::Result<()> {
/// let info = ModelInfo::new("host:polite");
/// let model = Model::new(Polite(info));
/// let ctx = Context::new(&Runtime::current()?);
/// let answer = model.complete(&ctx, &ChatRequest::new(vec![Message::user("Here you are.")])).await?;
/// assert_eq!(answer.message.text(), "Thank you.");
/// # Ok(())
/// # }
/// ```
#[async_trait]
pub trait ChatModel: Debug + Send + Sync + 'static {
    /// What the model is and can do.
    fn info(&self) -> &ModelInfo;

    /// Begins an answer.
    async fn stream(&self, ctx: &Context, request: &ChatRequest) -> Result<ChatStream>;
}

/// The handle to a model; cloning shares it.
///
/// ```
/// use raptorflow_core::{model::{ChatRequest, Model, OfflineModel}, runtime::{Context, Runtime}, types::Message};
/// # tokio_test(async {
/// let model = Model::new(OfflineModel::default());
/// let ctx = Context::new(&Runtime::current()?);
/// let answer = model.complete(&ctx, &ChatRequest::new(vec![Message::user("What is a journal?")])).await?;
/// assert!(!answer.message.text().is_empty());
/// # Ok::<(), raptorflow_core::Error>(()) });
/// # fn tokio_test<T>(work: impl Future<Output = Result<T, raptorflow_core::Error>>) { tokio::runtime::Runtime::new().unwrap().block_on(work).unwrap(); }
/// ```
#[derive(Clone, Debug)]
pub struct Model(Arc<dyn ChatModel>);

impl Model {
    /// Wraps a backend.
    pub fn new(model: impl ChatModel) -> Self {
        Self(Arc::new(model))
    }

    /// Wraps a shared backend.
    #[must_use]
    pub fn from_arc(model: Arc<dyn ChatModel>) -> Self {
        Self(model)
    }

    /// Where it lies in memory: what tells it apart from others as long as it lives.
    pub(crate) fn place(&self) -> usize {
        Arc::as_ptr(&self.0).cast::<()>().addr()
    }

    /// The same model, which lives no longer for this.
    pub(super) fn downgrade(&self) -> Weak<dyn ChatModel> {
        Arc::downgrade(&self.0)
    }

    /// What the model is and can do.
    #[must_use]
    pub fn info(&self) -> &ModelInfo {
        self.0.info()
    }

    /// Begins an answer.
    ///
    /// # Errors
    /// What the backend says; see [`ChatModel`].
    ///
    /// # Cancellation
    /// Nothing happens before the first poll.
    pub async fn stream(&self, ctx: &Context, request: &ChatRequest) -> Result<ChatStream> {
        self.0.stream(ctx, request).await
    }

    /// The same for layers that give it on as it is; what is made here may begin before it is polled.
    pub(crate) fn begin<'a>(&'a self, ctx: &'a Context, request: &'a ChatRequest) -> Beginning<'a> {
        self.0.stream(ctx, request)
    }

    /// The whole answer: the stream, folded.
    ///
    /// Nobody sees a part of it before, so that layers may ask again for one that breaks off.
    ///
    /// # Errors
    /// What the backend says, `Timeout` and `Cancelled` by the context, and what [`Accumulator`] refuses.
    /// An error after the first text says `partial_chars` in its context, and its cause is the
    /// [`PartialAnswer`](crate::model::PartialAnswer).
    ///
    /// # Cancellation
    /// Dropping the future stops the call.
    pub async fn complete(&self, ctx: &Context, request: &ChatRequest) -> Result<ChatResponse> {
        let ctx = &ctx.with_whole_answers();
        let mut answer = Accumulator::new(Arc::clone(&self.info().name));
        // The accumulator is outside of the bounded work, so that a time-out does not lose what arrived.
        let ended = {
            // Pinned here, because what bounds it would move it otherwise.
            let work = pin!(async {
                let mut stream = self.stream(ctx, request).await?;
                while let Some(part) = stream.next().await {
                    answer.push(part?)?;
                }
                Ok(())
            });
            ctx.bound("model.complete", work).await.flatten()
        };
        match ended {
            Ok(()) => answer.finish(),
            Err(err) => Err(answer.fail(err)),
        }
    }
}
