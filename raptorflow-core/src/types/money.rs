//! `Money`: integer micro-units with a currency, never a float.

use std::{fmt, str::FromStr};

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{MapAccess, Visitor, value::MapAccessDeserializer},
};

use crate::error::{Error, ErrorKind, Result};

/// An ISO 4217 code: three upper-case letters.
///
/// ```
/// use raptorflow_core::types::Currency;
/// assert_eq!("INR".parse::<Currency>()?, Currency::INR);
/// assert!("rupees".parse::<Currency>().is_err());
/// # Ok::<(), raptorflow_core::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Currency([u8; 3]);

impl Currency {
    /// United States dollar.
    pub const USD: Self = Self(*b"USD");
    /// Indian rupee.
    pub const INR: Self = Self(*b"INR");

    /// The three letters.
    #[must_use]
    pub fn code(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("???")
    }
}

impl FromStr for Currency {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text.as_bytes() {
            [a, b, c] if text.bytes().all(|byte| byte.is_ascii_uppercase()) => Ok(Self([*a, *b, *c])),
            _ => Err(Error::new(ErrorKind::InvalidInput, "money.currency", "expected three capital letters")
                .with("field", "currency")
                .with("value", text)),
        }
    }
}

impl TryFrom<String> for Currency {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Currency> for String {
    fn from(currency: Currency) -> Self {
        currency.code().to_owned()
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// An amount in millionths of a currency unit; as text like `0.50 USD`, with at most six places.
///
/// What people write as data may be that text or an object with `micros` and `currency`; it is stored as the object.
///
/// ```
/// use raptorflow_core::types::{Currency, Money};
/// let cost = Money::new(1_250_000, Currency::USD);
/// assert_eq!(cost.to_string(), "1.250000 USD");
/// assert_eq!("1.25 USD".parse::<Money>()?, cost);
/// assert_eq!(cost.plus(Money::new(1, Currency::USD))?.micros, 1_250_001);
/// # Ok::<(), raptorflow_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Money {
    /// Millionths of the unit.
    pub micros: i64,
    /// The currency.
    pub currency: Currency,
}

impl Money {
    /// An amount in millionths of the unit.
    #[must_use]
    pub const fn new(micros: i64, currency: Currency) -> Self {
        Self { micros, currency }
    }

    /// The sum of two amounts of one currency.
    ///
    /// # Errors
    /// `InvalidInput` when the currencies differ, `LimitExceeded` when the sum does not fit.
    pub fn plus(self, other: Self) -> Result<Self> {
        if self.currency != other.currency {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                "money.plus",
                "amounts of two currencies do not add",
            )
            .with("left", self.currency)
            .with("right", other.currency));
        }
        let micros = self.micros.checked_add(other.micros).ok_or_else(|| {
            Error::new(ErrorKind::LimitExceeded, "money.plus", "the sum does not fit").with("left", self)
        })?;
        Ok(Self { micros, ..self })
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.micros < 0 { "-" } else { "" };
        let micros = self.micros.unsigned_abs();
        write!(f, "{sign}{}.{:06} {}", micros / 1_000_000, micros % 1_000_000, self.currency)
    }
}

impl FromStr for Money {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let refused = || {
            let message = "expected an amount with at most six places and a currency, such as `0.50 USD`";
            Error::new(ErrorKind::InvalidInput, "money.parse", message).with("value", text)
        };
        let (amount, currency) = text.trim().split_once(' ').ok_or_else(refused)?;
        let micros = micros(amount).ok_or_else(refused)?;
        Ok(Self { micros, currency: currency.trim_start().parse().map_err(|_| refused())? })
    }
}

/// Millionths out of a decimal number, exactly.
fn micros(amount: &str) -> Option<i64> {
    let (negative, amount) = match amount.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, amount),
    };
    let (units, places) = amount.split_once('.').unwrap_or((amount, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(units) || !digits(places) || places.len() > 6 {
        return None;
    }
    let units = units.parse::<i64>().ok()?.checked_mul(1_000_000)?;
    let micros = units.checked_add(format!("{places:0<6}").parse().ok()?)?;
    Some(if negative { -micros } else { micros })
}

impl<'de> Deserialize<'de> for Money {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Written)
    }
}

/// An amount as an object.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    micros: i64,
    currency: Currency,
}

struct Written;

impl<'de> Visitor<'de> for Written {
    type Value = Money;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an amount of money such as \"0.50 USD\"")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Money, E> {
        text.parse().map_err(|_| E::invalid_value(serde::de::Unexpected::Str(text), &self))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Money, A::Error> {
        let Form { micros, currency } = Form::deserialize(MapAccessDeserializer::new(map))?;
        Ok(Money { micros, currency })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_is_whole_millionths_and_no_float_gets_in() {
        // The sum that floats get wrong.
        let tenth = Money::new(100_000, Currency::USD);
        let sum = tenth.plus(tenth).and_then(|two| two.plus(tenth)).unwrap();
        assert_eq!((sum.micros, sum.to_string()), (300_000, "0.300000 USD".to_owned()));
        assert!(serde_json::from_str::<Money>(r#"{"micros": 0.3, "currency": "USD"}"#).is_err());
        let large = Money::new(i64::MAX, Currency::USD);
        let text = serde_json::to_string(&large).unwrap();
        assert_eq!(serde_json::from_str::<Money>(&text).unwrap(), large);
        assert_eq!(large.plus(tenth).unwrap_err().kind(), ErrorKind::LimitExceeded);
    }

    #[test]
    fn an_amount_is_read_exactly_or_not_at_all() {
        for (text, micros) in
            [("0.50 USD", 500_000), ("-1 USD", -1_000_000), (" 12.000001  USD ", 12_000_001)]
        {
            assert_eq!(text.parse::<Money>().unwrap(), Money::new(micros, Currency::USD), "{text}");
        }
        for text in [
            "",
            "1",
            "USD",
            "0.5",
            "0.5USD",
            ".5 USD",
            "1. USD",
            "1e3 USD",
            "0.0000001 USD",
            "1 usd",
            "+1 USD",
            "--1 USD",
            "9999999999999 USD",
        ] {
            assert_eq!(text.parse::<Money>().unwrap_err().kind(), ErrorKind::InvalidInput, "{text}");
        }
    }

    #[test]
    fn data_has_an_amount_as_text_or_as_an_object() {
        let half = Money::new(500_000, Currency::USD);
        let stored = serde_json::to_string(&half).unwrap();
        assert_eq!(stored, r#"{"micros":500000,"currency":"USD"}"#);
        for text in [stored.as_str(), r#""0.5 USD""#] {
            assert_eq!(serde_json::from_str::<Money>(text).unwrap(), half);
        }
        for text in ["0.5", r#""half""#, r#"{"micros":1,"currency":"USD","x":1}"#] {
            assert!(serde_json::from_str::<Money>(text).is_err(), "{text}");
        }
    }
}
