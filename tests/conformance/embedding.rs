//! The embedding models and embedders of this build, in every situation of their contracts.

use std::sync::Arc;

use raptorflow_core::{
    Result,
    model::{EmbeddingConfig, EmbeddingWire, HttpEmbeddingModel, ReqwestClient},
    rag::{Corpus, Embedder, EmbedderRegistry, EmbedderSettings, FnEmbedder, HashingEmbedder},
    runtime::Context,
    testing::{
        ProviderServer, ServerReply,
        conformance::{EmbedderSubject, EmbeddingPlace, EmbeddingSituation, EmbeddingSubject},
    },
};
use serde_json::{Value, json};

use crate::{backends::Backend, minilm};

const VECTORS: [[f32; 2]; 2] = [[1.0, 0.25], [0.5, 2.0]];
const OFFERS: &[&str] = &["usage", "hangs", "answers_short", "asks_to_wait"];

pub(crate) fn models() -> [Backend<EmbeddingSubject>; 3] {
    let backend = |name, fresh| Backend { contract: "embedding", name, fresh };
    [
        backend("openai", || Ok(model(EmbeddingWire::OpenAi))),
        backend("ollama", || Ok(model(EmbeddingWire::Ollama))),
        backend("gemini", || Ok(model(EmbeddingWire::Gemini))),
    ]
}

pub(crate) fn embedders() -> [Backend<EmbedderSubject>; 6] {
    let backend = |name, fresh| Backend { contract: "embedder", name, fresh };
    [
        backend("hashing", || {
            Ok(EmbedderSubject::new(|_| async { Ok(Arc::new(HashingEmbedder::default()) as _) }))
        }),
        backend("function", || {
            let embed = |texts: Vec<String>| async move {
                Ok(texts.iter().map(|text| vec![text.len() as f32, 20.0]).collect())
            };
            Ok(EmbedderSubject::new(move |_| async move {
                Ok(Arc::new(FnEmbedder::new("lengths", 2, embed)?) as _)
            }))
        }),
        backend(minilm::NAME, || {
            let embedder = minilm::shared()?;
            Ok(EmbedderSubject::new(move |_| {
                let embedder = embedder.clone();
                async move { Ok(Arc::new(embedder) as _) }
            }))
        }),
        backend("openai", || Ok(remote("openai", EmbeddingWire::OpenAi))),
        backend("ollama", || Ok(remote("ollama", EmbeddingWire::Ollama))),
        backend("gemini", || Ok(remote("gemini", EmbeddingWire::Gemini))),
    ]
}

/// What a host of a wire answers with these vectors.
fn answer(wire: EmbeddingWire, vectors: &[[f32; 2]]) -> Value {
    match wire {
        // In another order than asked for: the index counts.
        EmbeddingWire::OpenAi => {
            let items = vectors.iter().enumerate().rev();
            let items: Vec<Value> =
                items.map(|(index, vector)| json!({"index": index, "embedding": vector})).collect();
            json!({"object": "list", "data": items, "usage": {"prompt_tokens": 9, "total_tokens": 9}})
        }
        EmbeddingWire::Ollama => json!({"model": "test", "embeddings": vectors, "prompt_eval_count": 9}),
        EmbeddingWire::Gemini => {
            let items: Vec<Value> = vectors.iter().map(|vector| json!({"values": vector})).collect();
            json!({"embeddings": items, "usageMetadata": {"promptTokenCount": 9}})
        }
    }
}

fn model(wire: EmbeddingWire) -> EmbeddingSubject {
    EmbeddingSubject::new(OFFERS, move |runtime, situation| async move {
        let reply = match situation {
            EmbeddingSituation::Answers => ServerReply::json(200, &answer(wire, &VECTORS)).in_pieces(7),
            EmbeddingSituation::AnswersShort => ServerReply::json(200, &answer(wire, &VECTORS[..1])),
            EmbeddingSituation::Hangs => ServerReply::json(200, &json!({})).silent_after(1),
            EmbeddingSituation::AsksToWait => {
                ServerReply::json(429, &json!({})).with_header("retry-after", "7")
            }
        };
        let server = ProviderServer::start(&runtime, [reply]).await?;
        let config = match wire {
            EmbeddingWire::OpenAi => EmbeddingConfig::openai("test"),
            EmbeddingWire::Ollama => EmbeddingConfig::ollama("test"),
            EmbeddingWire::Gemini => EmbeddingConfig::gemini("test"),
        };
        let config = config?.at(server.url()).with_dimension(2);
        let model = HttpEmbeddingModel::new(config, None, ReqwestClient::default())?;
        Ok(EmbeddingPlace { model: Arc::new(model), calls: Box::new(move || server.requests().len()) })
    })
}

/// An embedder by its name, whose dimension is asked for.
fn remote(provider: &'static str, wire: EmbeddingWire) -> EmbedderSubject {
    EmbedderSubject::new(move |runtime| async move {
        let one = ServerReply::json(200, &answer(wire, &VECTORS[..1]));
        let both = ServerReply::json(200, &answer(wire, &VECTORS));
        let server = ProviderServer::start(&runtime, [one.clone(), both, one]).await?;
        let settings = EmbedderSettings::default().with_base_url(server.url());
        let embedders = EmbedderRegistry::default().with_settings(provider, settings);
        let embedder = embedders.open(&Context::new(&runtime), &format!("{provider}:test")).await?;
        Ok(Arc::new(Kept { embedder, _server: server }) as _)
    })
}

/// An embedder whose server lives as long.
#[derive(Debug)]
struct Kept {
    embedder: Arc<dyn Embedder>,
    _server: ProviderServer,
}

#[async_trait::async_trait]
impl Embedder for Kept {
    fn identity(&self) -> String {
        self.embedder.identity()
    }

    fn dimension(&self) -> usize {
        self.embedder.dimension()
    }

    async fn embed_documents(&self, ctx: &Context, texts: &[&str]) -> Result<Vec<Vec<f32>>> {
        self.embedder.embed_documents(ctx, texts).await
    }

    async fn embed_query(&self, ctx: &Context, text: &str, corpus: &dyn Corpus) -> Result<Vec<f32>> {
        self.embedder.embed_query(ctx, text, corpus).await
    }
}
