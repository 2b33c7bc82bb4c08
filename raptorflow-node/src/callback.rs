//! JavaScript functions as futures: called from any thread, and told when nobody waits for them any more.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use napi::{
    Either, Status,
    bindgen_prelude::{Float32Array, FnArgs, FromNapiValue, Promise, TypeName, ValidateNapiValue},
    threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode},
};
use napi_derive::napi;
use raptorflow_core::{
    Error, ErrorKind, Result,
    runtime::Context,
    types::{AgentId, Timestamp},
};
use serde::Serialize;
use serde_json::Value;

use crate::{convert::written, error::from_callback};

/// The number of a call, and its input as JSON text or nothing when the call is to be given up.
type Arguments = FnArgs<(u32, Option<String>)>;
/// Weak, so that a registered function does not keep the process alive.
type Function<A> = ThreadsafeFunction<Arguments, Either<Promise<A>, A>, Arguments, Status, false, true>;

/// A user's function of JSON, wrapped by the TypeScript layer; cloning shares it.
#[napi]
#[derive(Clone)]
pub struct Callback(Arc<Shared<String>>);

/// A user's function that embeds texts, wrapped by the TypeScript layer; cloning shares it.
#[napi]
#[derive(Clone)]
pub struct EmbedCallback(Arc<Shared<Float32Array>>);

#[napi]
impl Callback {
    /// Wraps a function that takes a number and JSON text and gives JSON text or a promise of it.
    ///
    /// Called with nothing instead of text, the call of that number is to be given up.
    #[napi(
        constructor,
        ts_args_type = "body: (call: number, input: string | null) => string | Promise<string>"
    )]
    pub fn new(function: Function<String>) -> Self {
        Self(Arc::new(Shared { function, calls: AtomicU32::new(0) }))
    }
}

#[napi]
impl EmbedCallback {
    /// As [`Callback::new`], for a function that gives all vectors one behind the other.
    #[napi(
        constructor,
        ts_args_type = "body: (call: number, input: string | null) => Float32Array | Promise<Float32Array>"
    )]
    pub fn new(function: Function<Float32Array>) -> Self {
        Self(Arc::new(Shared { function, calls: AtomicU32::new(0) }))
    }
}

impl Callback {
    /// Calls the function and waits for its answer.
    ///
    /// # Cancellation
    /// A dropped future aborts the signal that the function was given.
    pub(crate) async fn call(&self, ctx: &Context, input: impl Serialize) -> Result<Value> {
        let text = self.0.call(ctx, input).await?;
        serde_json::from_str(&text).map_err(|err| {
            Error::new(ErrorKind::InvalidOutput, "node.callback", "the function's answer is not JSON")
                .caused_by(err)
        })
    }
}

impl EmbedCallback {
    /// As [`Callback::call`].
    pub(crate) async fn call(&self, ctx: &Context, input: impl Serialize) -> Result<Vec<f32>> {
        Ok(self.0.call(ctx, input).await?.to_vec())
    }
}

/// What a user's function may give.
trait Given: FromNapiValue + TypeName + ValidateNapiValue + Send + 'static {}

impl Given for String {}
impl Given for Float32Array {}

struct Shared<A: Given> {
    function: Function<A>,
    calls: AtomicU32,
}

/// What a user's function learns about its call besides the input.
#[derive(Serialize)]
struct Input<'a, T> {
    input: T,
    run: String,
    user: Option<&'a str>,
    path: &'a str,
    agents: &'a [AgentId],
    key: Option<&'a str>,
    deadline: Option<Timestamp>,
}

impl<A: Given> Shared<A> {
    async fn call(&self, ctx: &Context, input: impl Serialize) -> Result<A> {
        let input = Input {
            input,
            run: ctx.run_id().to_string(),
            user: ctx.principal(),
            path: ctx.path(),
            agents: ctx.lineage(),
            key: ctx.idempotency_key(),
            deadline: ctx.deadline(),
        };
        let text = written(&input)?;
        let number = self.calls.fetch_add(1, Ordering::Relaxed);
        Call { function: &self.function, number, open: true }.answer(text).await.map_err(from_callback)
    }
}

/// One call that is waited for.
struct Call<'a, A: Given> {
    function: &'a Function<A>,
    number: u32,
    open: bool,
}

impl<A: Given> Call<'_, A> {
    async fn answer(mut self, text: String) -> napi::Result<A> {
        // Not the plain call: with it a function that throws at once ends the process.
        let answer = match self.function.call_async_catch((self.number, Some(text)).into()).await {
            Ok(Either::A(promise)) => promise.await,
            Ok(Either::B(answer)) => Ok(answer),
            Err(err) => Err(err),
        };
        self.open = false;
        answer
    }
}

impl<A: Given> Drop for Call<'_, A> {
    fn drop(&mut self) {
        if self.open {
            self.function.call((self.number, None).into(), ThreadsafeFunctionCallMode::NonBlocking);
        }
    }
}
