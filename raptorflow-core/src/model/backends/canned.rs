//! `CannedModel`: a model that gives one answer to everything.

use async_trait::async_trait;
use futures_util::stream;

use crate::{
    error::Result,
    model::{
        ChatModel, ChatRequest, ChatStream, FinishReason, ModelAbilities, ModelInfo, StreamPart, bind_stream,
    },
    runtime::Context,
};

/// A model that gives one answer to everything, for when nobody better can be asked; its name is `offline:canned`.
///
/// It takes no tokens and calls no tools, and it gives its answer whatever form was asked for.
///
/// ```
/// use raptorflow_core::model::{CannedModel, ChatRequest, Model};
/// use raptorflow_core::runtime::{Context, Runtime};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> raptorflow_core::Result<()> {
/// let model = Model::new(CannedModel::new("We are back soon."));
/// let ctx = Context::new(&Runtime::current()?);
/// assert_eq!(model.complete(&ctx, &ChatRequest::default()).await?.message.text(), "We are back soon.");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct CannedModel {
    info: ModelInfo,
    text: String,
}

impl CannedModel {
    /// A model that says this.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        let abilities = ModelAbilities { tools: false, ..ModelAbilities::all() };
        let info = ModelInfo { abilities, ..ModelInfo::new("offline:canned") };
        Self { info, text: text.into() }
    }
}

#[async_trait]
impl ChatModel for CannedModel {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    async fn stream(&self, ctx: &Context, request: &ChatRequest) -> Result<ChatStream> {
        self.info.check(request)?;
        let parts = [StreamPart::text(self.text.clone()), StreamPart::Finish { reason: FinishReason::Stop }];
        Ok(bind_stream(ctx, &self.info.name, stream::iter(parts.map(Ok))))
    }
}
