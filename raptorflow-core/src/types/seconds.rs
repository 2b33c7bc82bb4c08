//! Spans of time as data: a number of seconds, which may have a fraction.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serializer, de};

/// Writes a span as a number of seconds.
#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
pub(crate) fn serialize<S: Serializer>(span: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(span.as_secs_f64())
}

/// Reads a span; a negative number and one that is no span of time are refused.
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let seconds = f64::deserialize(deserializer)?;
    Duration::try_from_secs_f64(seconds)
        .map_err(|_| de::Error::invalid_value(de::Unexpected::Float(seconds), &"a number of seconds, from 0"))
}
