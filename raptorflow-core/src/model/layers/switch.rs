//! A part of the settings as data: `false` for none, `true` for its defaults, or an object or list with settings.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{
        self, DeserializeOwned, MapAccess, SeqAccess, Visitor,
        value::{MapAccessDeserializer, SeqAccessDeserializer},
    },
};

use super::{
    breaker::BreakerConfig,
    cache_store::CacheConfig,
    config::{CascadeConfig, FallbackConfig, RateLimitConfig},
    retry::RetryConfig,
    standard::breakers,
    timeout::TimeoutConfig,
};

/// Settings that have a form as a switch.
pub(super) trait Part: DeserializeOwned {
    /// What is expected, besides a boolean.
    const FORM: &'static str = "an object";

    /// What `true` means.
    fn usual() -> Self;

    /// The settings of a list, where they have one.
    fn of_list<'de, A: SeqAccess<'de>>(_list: A) -> Result<Self, A::Error> {
        let expected = format!("`true`, `false` or {}", Self::FORM);
        Err(de::Error::invalid_type(de::Unexpected::Seq, &expected.as_str()))
    }
}

impl Part for CacheConfig {
    fn usual() -> Self {
        Self::default()
    }
}

impl Part for RetryConfig {
    fn usual() -> Self {
        Self::default()
    }
}

impl Part for BreakerConfig {
    fn usual() -> Self {
        breakers()
    }
}

impl Part for TimeoutConfig {
    fn usual() -> Self {
        Self::default()
    }
}

impl Part for CascadeConfig {
    const FORM: &'static str = "an object or a list of names of models";

    fn usual() -> Self {
        Self::default()
    }

    fn of_list<'de, A: SeqAccess<'de>>(list: A) -> Result<Self, A::Error> {
        let models = Vec::deserialize(SeqAccessDeserializer::new(list))?;
        Ok(Self { models, ..Self::default() })
    }
}

impl Part for FallbackConfig {
    const FORM: &'static str = "an object or a list of names of models";

    fn usual() -> Self {
        Self::default()
    }

    fn of_list<'de, A: SeqAccess<'de>>(list: A) -> Result<Self, A::Error> {
        let models = Vec::deserialize(SeqAccessDeserializer::new(list))?;
        Ok(Self { models, ..Self::default() })
    }
}

impl Part for RateLimitConfig {
    const FORM: &'static str = "an object or a list of rules";

    fn usual() -> Self {
        Self::default()
    }

    fn of_list<'de, A: SeqAccess<'de>>(list: A) -> Result<Self, A::Error> {
        let rules = Vec::deserialize(SeqAccessDeserializer::new(list))?;
        Ok(Self { rules, ..Self::default() })
    }
}

/// Writes `false` or the settings.
#[allow(clippy::ref_option, reason = "serde calls it with a reference to the field")]
pub(super) fn serialize<T: Serialize, S: Serializer>(
    part: &Option<T>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match part {
        Some(settings) => settings.serialize(serializer),
        None => serializer.serialize_bool(false),
    }
}

/// Reads a switch.
pub(super) fn deserialize<'de, T: Part, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    deserializer.deserialize_any(Switch(PhantomData))
}

struct Switch<T>(PhantomData<T>);

impl<'de, T: Part> Visitor<'de> for Switch<T> {
    type Value = Option<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`true`, `false` or {}", T::FORM)
    }

    fn visit_bool<E: de::Error>(self, on: bool) -> Result<Self::Value, E> {
        Ok(on.then(T::usual))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(Some)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Self::Value, A::Error> {
        T::of_list(list).map(Some)
    }
}
