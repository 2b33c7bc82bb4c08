//! The one place where core's data becomes JSON text and back.

use std::{fmt, time::Duration};

use napi::{
    Env,
    bindgen_prelude::{PromiseRaw, ToNapiValue},
};
use raptorflow_core::{Error, ErrorKind, Result};
use serde::{Serialize, de::DeserializeOwned};

use crate::error::to_native;

/// JSON text of core's data, for the TypeScript layer.
pub(crate) fn written(data: &impl Serialize) -> Result<String> {
    serde_json::to_string(data).map_err(|err| {
        Error::new(ErrorKind::InvalidOutput, "node.convert", "the data cannot be written as JSON")
            .caused_by(err)
    })
}

/// Core's data out of JSON text; `field` is what the user calls it.
pub(crate) fn data<T: DeserializeOwned>(field: &'static str, text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|err| refused(field, &err))
}

/// A span of milliseconds that a user gave.
pub(crate) fn duration(field: &'static str, milliseconds: f64) -> Result<Duration> {
    Duration::try_from_secs_f64(milliseconds / 1000.0).map_err(|err| refused(field, &err))
}

/// A number that JavaScript counts with; what is no count is 0.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the cast stops at the bounds")]
pub(crate) fn count(number: f64) -> u64 {
    number as u64
}

fn refused(field: &'static str, reason: &dyn fmt::Display) -> Error {
    let reason = reason.to_string();
    // A place in JSON text that the user never saw helps nobody.
    let reason = reason.split_once(" at line ").map_or(reason.as_str(), |(reason, _)| reason).to_owned();
    Error::new(ErrorKind::InvalidInput, "node.convert", reason).with("field", field)
}

/// Makes the error of a result a native one.
pub(crate) fn native<T>(result: Result<T>) -> napi::Result<T> {
    result.map_err(|err| to_native(&err))
}

/// A promise of what core's work gives; the work goes on when nobody waits for it.
pub(crate) fn promise<'env, T, W>(env: &'env Env, work: W) -> napi::Result<PromiseRaw<'env, T>>
where
    T: ToNapiValue + Send + 'static,
    W: Future<Output = Result<T>> + Send + 'static,
{
    env.spawn_future(async move { native(work.await) })
}
