//! `Named`: a model that is opened by its name at its first call.

use async_trait::async_trait;

use crate::{
    error::Result,
    model::{ChatModel, ChatRequest, ChatStream, Model, ModelAbilities, ModelInfo, ModelRegistry},
    runtime::Context,
};

/// A model that is opened at its first call, so that it may be registered after the layers that name it.
#[derive(Debug)]
pub(crate) struct Named {
    registry: ModelRegistry,
    info: ModelInfo,
}

impl Named {
    pub(crate) fn model(registry: &ModelRegistry, name: &str) -> Model {
        // What it can do shows when it is asked.
        let info = ModelInfo { abilities: ModelAbilities::all(), ..ModelInfo::new(name) };
        Model::new(Self { registry: registry.clone(), info })
    }
}

#[async_trait]
impl ChatModel for Named {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    async fn stream(&self, ctx: &Context, request: &ChatRequest) -> Result<ChatStream> {
        self.registry.open(&self.info.name).await?.stream(ctx, request).await
    }
}
