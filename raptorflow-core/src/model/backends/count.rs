//! `Tokens`: a count of tokens as providers tell it, which may be missing or wrong.

use std::fmt;

use serde::{Deserialize, Deserializer, de::Visitor};

use crate::{error::Result, model::http::Origin};

/// A count of tokens; what is no count is found when it is read with [`Tokens::known`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Tokens {
    /// Not told.
    #[default]
    Missing,
    /// A number from 0.
    Known(u64),
    /// A negative number or a fraction.
    Wrong,
}

impl Tokens {
    /// The number, where one was told.
    ///
    /// # Errors
    /// `InvalidOutput` that names the field when it is negative or a fraction.
    pub(super) fn known(self, origin: &Origin, field: &'static str) -> Result<Option<u64>> {
        match self {
            Self::Missing => Ok(None),
            Self::Known(count) => Ok(Some(count)),
            Self::Wrong => {
                Err(origin.malformed("the provider told a count of tokens that is none").with("field", field))
            }
        }
    }

    /// This one, or another where it is missing.
    pub(super) fn or(self, other: Self) -> Self {
        if self == Self::Missing { other } else { self }
    }
}

impl<'de> Deserialize<'de> for Tokens {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        deserializer.deserialize_any(TokensVisitor)
    }
}

struct TokensVisitor;

impl Visitor<'_> for TokensVisitor {
    type Value = Tokens;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a count of tokens")
    }

    fn visit_u64<E>(self, count: u64) -> std::result::Result<Tokens, E> {
        Ok(Tokens::Known(count))
    }

    fn visit_i64<E>(self, count: i64) -> std::result::Result<Tokens, E> {
        Ok(u64::try_from(count).map_or(Tokens::Wrong, Tokens::Known))
    }

    fn visit_f64<E>(self, count: f64) -> std::result::Result<Tokens, E> {
        let is_count = count >= 0.0 && count.fract() == 0.0 && count < 9.0e15;
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it was checked to be a count"
        )]
        Ok(if is_count { Tokens::Known(count as u64) } else { Tokens::Wrong })
    }

    fn visit_unit<E: serde::de::Error>(self) -> std::result::Result<Tokens, E> {
        Ok(Tokens::Missing)
    }

    fn visit_none<E: serde::de::Error>(self) -> std::result::Result<Tokens, E> {
        Ok(Tokens::Missing)
    }

    fn visit_str<E: serde::de::Error>(self, _: &str) -> std::result::Result<Tokens, E> {
        Err(E::custom("expected a count of tokens"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_is_a_number_from_zero_and_may_be_missing() {
        for (json, expected) in [
            ("12", Tokens::Known(12)),
            ("0", Tokens::Known(0)),
            ("12.0", Tokens::Known(12)),
            ("null", Tokens::Missing),
            ("-1", Tokens::Wrong),
            ("1.5", Tokens::Wrong),
            ("-0.5", Tokens::Wrong),
            ("1e300", Tokens::Wrong),
        ] {
            assert_eq!(serde_json::from_str::<Tokens>(json).unwrap(), expected, "{json}");
        }
        assert!(serde_json::from_str::<Tokens>("\"12\"").is_err());
    }
}
