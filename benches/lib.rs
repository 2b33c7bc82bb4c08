//! What the benchmarks share: a Tokio runtime with a context, values of a given size, a silent model.
#![expect(clippy::expect_used, reason = "a benchmark that cannot run has nothing to say")]

pub mod canned;
pub mod flows;

use std::future::Future;

use async_trait::async_trait;
use futures_util::{FutureExt as _, stream};
use raptorflow_core::{
    Result,
    model::{ChatModel, ChatRequest, ChatStream, FinishReason, Model, ModelAbilities, ModelInfo, StreamPart},
    runtime::{Context, Runtime},
    types::Role,
};

/// A Tokio runtime on this thread and a context in it.
#[derive(Debug)]
pub struct Bench {
    /// Runs what waits.
    pub tokio: tokio::runtime::Runtime,
    /// The context of every call.
    pub ctx: Context,
}

impl Bench {
    /// Makes both.
    ///
    /// # Panics
    /// When the system gives no runtime.
    #[must_use]
    pub fn new() -> Self {
        let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let tokio = tokio.expect("a Tokio runtime");
        let ctx = Context::new(&tokio.block_on(async { Runtime::current() }).expect("inside of Tokio"));
        Self { tokio, ctx }
    }

    /// Runs work that may wait.
    pub fn wait<T>(&self, work: impl Future<Output = T>) -> T {
        self.tokio.block_on(work)
    }

    /// Runs work that never waits, without the cost of a Tokio runtime around it.
    ///
    /// # Panics
    /// When it waits all the same.
    pub fn now<T>(&self, work: impl Future<Output = T>) -> T {
        let _inside = self.tokio.enter();
        work.now_or_never().expect("work that does not wait")
    }
}

impl Default for Bench {
    fn default() -> Self {
        Self::new()
    }
}

/// A value of so many bytes.
#[must_use]
pub fn bytes(length: usize) -> Vec<u8> {
    (0..=u8::MAX).cycle().take(length).collect()
}

/// Vectors around some centers, under the keys from 0; the same each time.
#[must_use]
pub fn clustered(count: usize, dimension: usize, seed: u64) -> Vec<(u64, Vec<f32>)> {
    let mut centers = fastrand::Rng::with_seed(1);
    let centers: Vec<Vec<f32>> =
        (0..100).map(|_| (0..dimension).map(|_| centers.f32() - 0.5).collect()).collect();
    let mut random = fastrand::Rng::with_seed(seed);
    let mut around = |center: &Vec<f32>| center.iter().map(|x| x + random.f32() - 0.5).collect();
    centers.iter().cycle().take(count).zip(0..).map(|(center, key)| (key, around(center))).collect()
}

/// Texts of words whose frequencies fall as in a language; the same each time.
#[must_use]
pub fn texts(count: usize, words: usize, seed: u64) -> Vec<String> {
    const VOCABULARY: f32 = 30_000.0;
    let mut random = fastrand::Rng::with_seed(seed);
    // The power of a uniform number makes low numbers frequent, and its letters make it a word.
    let mut word = || letters(VOCABULARY.powf(random.f32()) as u32);
    (0..count).map(|_| (0..words).map(|_| word()).collect::<Vec<_>>().join(" ")).collect()
}

fn letters(mut number: u32) -> String {
    let mut word = String::from("w");
    while number > 0 {
        word.push(char::from(b'a' + (number % 20) as u8));
        number /= 20;
    }
    word
}

/// A model that answers a constant at once; with `calls`, it first asks for `add` of 1 and 2.
#[must_use]
pub fn silent_model(calls: bool) -> Model {
    let abilities = ModelAbilities { tools: calls, ..ModelAbilities::default() };
    Model::new(Silent { info: ModelInfo { abilities, ..ModelInfo::new("bench:silent") } })
}

#[derive(Debug)]
struct Silent {
    info: ModelInfo,
}

#[async_trait]
impl ChatModel for Silent {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    async fn stream(&self, _ctx: &Context, request: &ChatRequest) -> Result<ChatStream> {
        let asks = self.info.abilities.tools
            && request.messages.last().is_some_and(|message| message.role != Role::Tool);
        let (part, reason) = if asks {
            let call = StreamPart::ToolCall {
                index: 0,
                id: None,
                name: Some("add".to_owned()),
                arguments: "{\"left\": 1, \"right\": 2}".to_owned(),
            };
            (call, FinishReason::ToolCalls)
        } else {
            (StreamPart::text("done"), FinishReason::Stop)
        };
        Ok(Box::pin(stream::iter([Ok(part), Ok(StreamPart::Finish { reason })])))
    }
}
