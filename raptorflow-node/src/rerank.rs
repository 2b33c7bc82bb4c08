//! Reranking steps of searches: settings as JSON.

use std::sync::Arc;

use napi::bindgen_prelude::block_on;
use napi_derive::napi;
use raptorflow_core::{
    Error, ErrorKind,
    model::{FnReranker, ProviderSettings, RerankerRegistry},
    rag::{Rerank, RerankSettings},
    runtime::Context,
};
use serde::Serialize;

use crate::{
    callback::Callback,
    convert::{data, native},
};

/// The best candidates of a search are read again.
#[napi]
pub struct NativeRerank {
    rerank: Rerank,
}

#[derive(Serialize)]
struct Asked {
    query: String,
    documents: Vec<String>,
}

#[napi]
impl NativeRerank {
    /// By a model of a provider; nothing is sent.
    #[napi(factory)]
    pub fn named(settings: String, base_url: Option<String>) -> napi::Result<Self> {
        let settings: RerankSettings = native(data("rerank", &settings))?;
        let provider = settings.model.split(':').next().unwrap_or_default().to_owned();
        let host = base_url.into_iter().fold(ProviderSettings::default(), ProviderSettings::with_base_url);
        let rerankers = RerankerRegistry::default().with_settings(provider, host);
        Ok(Self { rerank: native(block_on(async move { settings.open(&rerankers).await }))? })
    }

    /// By a user's function of `{query, documents}`, which gives a number for each document.
    #[napi(factory)]
    pub fn of_function(settings: String, body: &Callback) -> napi::Result<Self> {
        let settings: RerankSettings = native(data("rerank", &settings))?;
        let (name, body) = (settings.model.clone(), body.clone());
        let reranker = FnReranker::new(name, move |ctx: Context, query: String, documents: Vec<String>| {
            let body = body.clone();
            async move {
                let scores = body.call(&ctx, Asked { query, documents }).await?;
                serde_json::from_value(scores).map_err(|err| {
                    let message = "the reranker gave no array of numbers";
                    Error::new(ErrorKind::InvalidOutput, "node.rerank", message).caused_by(err)
                })
            }
        });
        Ok(Self { rerank: settings.with(Arc::new(reranker)) })
    }
}

impl NativeRerank {
    pub(crate) fn core(&self) -> Rerank {
        self.rerank.clone()
    }
}
