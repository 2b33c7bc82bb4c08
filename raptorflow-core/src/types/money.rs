//! `Money`: integer micro-units with a currency, never a float.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

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

/// An amount in millionths of a currency unit.
///
/// ```
/// use raptorflow_core::types::{Currency, Money};
/// let cost = Money::new(1_250_000, Currency::USD);
/// assert_eq!(cost.to_string(), "1.250000 USD");
/// assert_eq!(cost.plus(Money::new(1, Currency::USD)).unwrap().micros, 1_250_001);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
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
}
