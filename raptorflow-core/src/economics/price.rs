//! `PriceBook`: what tokens of a model cost at a point in time.

use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Deserializer, Serialize, de};

use crate::{
    economics::load,
    error::{Error, ErrorKind, Result},
    types::{Currency, Money, Timestamp, Usage},
};

/// Prices are per this many tokens.
const PER_TOKENS: u64 = 1_000_000;
/// The models of this crate, which need neither weights nor a key.
const FREE_MODELS: [&str; 2] = ["offline:extractive", "offline:canned"];

/// What a model costs from a date on, in millionths of the currency unit per million tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Price {
    /// The currency.
    pub currency: Currency,
    /// A million input tokens that were not cached.
    pub input: u64,
    /// A million output tokens, reasoning included.
    pub output: u64,
    /// A million input tokens that came from the provider's cache.
    pub cached: u64,
    /// From when on it holds, until the next price of the model.
    pub valid_from: Timestamp,
}

impl Price {
    /// What a usage costs, rounded up to the millionth.
    ///
    /// An amount beyond the range counts as the largest one, so that a budget refuses it.
    #[must_use]
    pub fn of(&self, usage: &Usage) -> Money {
        let cached = usage.cached_tokens.min(usage.input_tokens);
        let parts = [
            (usage.input_tokens - cached, self.input),
            (cached, self.cached),
            (usage.output_tokens, self.output),
        ];
        // The product of two `u64` fits into `u128`; only the sum can overflow.
        let sum = parts
            .into_iter()
            .fold(0_u128, |sum, (tokens, price)| sum.saturating_add(u128::from(tokens) * u128::from(price)));
        // Wide divisions take long, and few sums need one.
        let micros = match u64::try_from(sum) {
            Ok(sum) => i64::try_from(sum.div_ceil(PER_TOKENS)).unwrap_or(i64::MAX),
            Err(_) => i64::try_from(sum.div_ceil(u128::from(PER_TOKENS))).unwrap_or(i64::MAX),
        };
        Money::new(micros, self.currency)
    }
}

/// One price as data, in JSON as in TOML.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct PriceEntry {
    /// The full name of the model.
    pub model: String,
    /// The currency.
    pub currency: Currency,
    /// A million input tokens, in millionths of the currency unit.
    pub input: u64,
    /// A million output tokens, reasoning included.
    pub output: u64,
    /// A million input tokens from the provider's cache; as `input` when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cached: Option<u64>,
    /// From when on it holds: a date, which begins at midnight in UTC, or a time.
    #[serde(deserialize_with = "date_or_time")]
    pub valid_from: Timestamp,
}

/// A time, or a date as its midnight in UTC.
fn date_or_time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
    let text = String::deserialize(deserializer)?;
    let whole = if text.len() == 10 { format!("{text}T00:00:00Z") } else { text.clone() };
    let expected = "a date such as 2026-01-31, or a time with an offset";
    whole.parse().map_err(|_| de::Error::invalid_value(de::Unexpected::Str(&text), &expected))
}

/// Prices by the exact name of a model and by date.
///
/// The default book knows the models of this crate, `offline:extractive` and `offline:canned`, and that they are free.
///
/// ```
/// use raptorflow_core::{economics::PriceBook, types::{Timestamp, Usage}};
/// let book = PriceBook::from_toml("prices.toml", r#"
///     [[price]]
///     model = "shop:small"
///     currency = "USD"
///     input = 250_000       # 0.25 USD per million tokens
///     cached = 25_000       # as `input` when left out
///     output = 2_000_000
///     valid_from = 2026-01-01
/// "#)?;
/// let at: Timestamp = "2026-06-01T00:00:00Z".parse()?;
/// let cost = book.cost("shop:small", &Usage::new(1_000, 500), at).unwrap();
/// assert_eq!(cost.to_string(), "0.001250 USD");
/// assert_eq!(book.cost("shop:large", &Usage::new(1_000, 500), at), None);
/// # Ok::<(), raptorflow_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PriceBook {
    /// The prices of each model, oldest first, no two from the same date.
    models: HashMap<String, Vec<Price>>,
}

impl Default for PriceBook {
    fn default() -> Self {
        let mut book = Self::empty();
        let valid_from = Timestamp::default();
        for model in FREE_MODELS {
            let price = Price { currency: Currency::USD, input: 0, output: 0, cached: 0, valid_from };
            book.insert(model, price);
        }
        book
    }
}

impl PriceBook {
    /// A book without prices.
    #[must_use]
    pub fn empty() -> Self {
        Self { models: HashMap::new() }
    }

    /// Reads the `[[price]]` entries of a TOML text; `file` is what problems name.
    ///
    /// # Errors
    /// `InvalidInput` whose cause is [`Diagnostics`](crate::types::Diagnostics): every problem with file, line
    /// and column.
    pub fn from_toml(file: &str, text: &str) -> Result<Self> {
        let mut book = Self::empty();
        for (model, price) in load::entries(file, text)? {
            book.insert(model, price);
        }
        Ok(book)
    }

    /// The book of some entries.
    ///
    /// # Errors
    /// `InvalidInput` for two prices of one model and date.
    pub fn from_entries(entries: &[PriceEntry]) -> Result<Self> {
        let (mut book, mut known) = (Self::empty(), HashSet::new());
        for PriceEntry { model, currency, input, output, cached, valid_from } in entries {
            if !known.insert((model, valid_from)) {
                let message = "two prices of one model hold from the same time";
                return Err(Error::new(ErrorKind::InvalidInput, "price.load", message)
                    .with("model", model)
                    .with("valid_from", valid_from));
            }
            let cached = cached.unwrap_or(*input);
            let (currency, input, output, valid_from) = (*currency, *input, *output, *valid_from);
            book.insert(model, Price { currency, input, output, cached, valid_from });
        }
        Ok(book)
    }

    /// Adds a price; it replaces one of the same model and date.
    pub fn insert(&mut self, model: impl Into<String>, price: Price) {
        let prices = self.models.entry(model.into()).or_default();
        prices.retain(|known| known.valid_from != price.valid_from);
        prices.insert(prices.partition_point(|known| known.valid_from < price.valid_from), price);
    }

    /// This book with the prices of another, which replace those of the same model and date.
    #[must_use]
    pub fn with(mut self, other: &Self) -> Self {
        for (model, prices) in &other.models {
            for price in prices {
                self.insert(model, *price);
            }
        }
        self
    }

    /// The price of a model at a point in time: the latest that holds then.
    #[must_use]
    pub fn price(&self, model: &str, at: Timestamp) -> Option<&Price> {
        let prices = self.models.get(model)?;
        let later = prices.partition_point(|price| price.valid_from <= at);
        prices.get(later.checked_sub(1)?)
    }

    /// What a usage costs; `None` when the book has no price for the model at that time.
    ///
    /// See [`Price::of`] for rounding and overflow.
    #[must_use]
    pub fn cost(&self, model: &str, usage: &Usage, at: Timestamp) -> Option<Money> {
        self.price(model, at).map(|price| price.of(usage))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

    use super::*;

    fn price(input: u64, output: u64, cached: u64, from: i64) -> Price {
        Price { currency: Currency::USD, input, output, cached, valid_from: Timestamp::from_micros(from) }
    }

    fn micros(price: Price, usage: Usage) -> i64 {
        price.of(&usage).micros
    }

    #[test]
    fn a_part_of_a_millionth_is_rounded_up() {
        assert_eq!(micros(price(1, 0, 0, 0), Usage::new(1, 0)), 1);
        assert_eq!(micros(price(1, 1, 0, 0), Usage::new(500_000, 500_000)), 1);
        assert_eq!(micros(price(1, 1, 0, 0), Usage::new(500_000, 500_001)), 2);
        assert_eq!(micros(price(1, 1, 0, 0), Usage::default()), 0);
    }

    #[test]
    fn cached_tokens_have_their_own_price_and_are_never_more_than_the_input() {
        let usage = Usage { cached_tokens: 400_000, ..Usage::new(1_000_000, 0) };
        assert_eq!(micros(price(100, 0, 10, 0), usage), 64);
        let too_many = Usage { cached_tokens: 9_000_000, ..Usage::new(1_000_000, 0) };
        assert_eq!(micros(price(100, 0, 10, 0), too_many), 10);
    }

    #[test]
    fn an_amount_beyond_the_range_counts_as_the_largest() {
        let all = Usage { cached_tokens: 1, ..Usage::new(u64::MAX, u64::MAX) };
        assert_eq!(micros(price(u64::MAX, u64::MAX, u64::MAX, 0), all), i64::MAX);
    }

    #[test]
    fn the_latest_price_that_holds_counts() {
        let mut book = PriceBook::empty();
        for (input, from) in [(30, 300), (10, 100), (20, 200), (21, 200)] {
            book.insert("m", price(input, 0, 0, from));
        }
        let input = |at| book.price("m", Timestamp::from_micros(at)).map(|price| price.input);
        assert_eq!(
            [99, 100, 199, 200, 299, 1_000].map(input),
            [None, Some(10), Some(10), Some(21), Some(21), Some(30)]
        );
        assert_eq!(book.price("M", Timestamp::from_micros(1_000)), None);
    }

    #[test]
    fn the_default_book_knows_only_that_the_offline_models_are_free() {
        let book = PriceBook::default();
        let cost = |model| book.cost(model, &Usage::new(1_000_000, 1_000_000), Timestamp::default());
        for model in FREE_MODELS {
            assert_eq!(cost(model), Some(Money::new(0, Currency::USD)));
        }
        assert_eq!(cost("offline:other"), None);
    }

    #[test]
    fn another_book_replaces_and_adds() {
        let mut own = PriceBook::empty();
        own.insert("offline:extractive", price(1, 1, 1, 0));
        own.insert("m", price(5, 5, 5, 0));
        let book = PriceBook::default().with(&own);
        let input = |model| book.price(model, Timestamp::default()).map(|price| price.input);
        assert_eq!((input("offline:extractive"), input("m")), (Some(1), Some(5)));
    }

    #[test]
    fn entries_are_read_as_those_of_a_file_and_two_of_one_date_are_refused() {
        let text = |rest: &str| format!(r#"[{{"model":"m","currency":"INR","input":20,"output":30{rest}}}]"#);
        let read = |rest: &str| serde_json::from_str::<Vec<PriceEntry>>(&text(rest));
        let entries = read(r#","valid_from":"2026-01-01""#).unwrap();
        let file =
            "[[price]]\nmodel = \"m\"\ncurrency = \"INR\"\ninput = 20\noutput = 30\nvalid_from = 2026-01-01";
        assert_eq!(PriceBook::from_entries(&entries), PriceBook::from_toml("p.toml", file));
        let twice = [entries.clone(), entries].concat();
        assert_eq!(PriceBook::from_entries(&twice).unwrap_err().get("model"), Some("m"));
        for rest in ["", r#","valid_from":"soon""#, r#","valid_from":"2026-01-01","x":1"#] {
            assert!(read(rest).is_err(), "{rest}");
        }
    }

    proptest! {
        #[test]
        fn more_tokens_never_cost_less_and_parts_never_less_than_the_whole(
            prices in any::<[u32; 3]>(), a in any::<[u32; 2]>(), b in any::<[u32; 2]>(),
        ) {
            let [input, output, cached] = prices.map(u64::from);
            let price = price(input, output, cached, 0);
            let usage = |[input, output]: [u32; 2]| Usage::new(input.into(), output.into());
            let (first, second, both) =
                (micros(price, usage(a)), micros(price, usage(b)), micros(price, usage(a).plus(usage(b))));
            prop_assert!(both >= first.max(second));
            prop_assert!(first + second >= both && first + second <= both + 1);
            prop_assert_eq!(price.of(&usage(a)).currency, Currency::USD);
        }
    }
}
