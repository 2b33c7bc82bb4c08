//! `predict`: what a piece of work with a model may cost, before anything is sent.

use serde::{Deserialize, Serialize};

use crate::{
    economics::PriceBook,
    types::{Money, Timestamp, Usage},
};

/// How many ASCII characters are counted as one token; a usual figure for English text and for code.
const CHARS_PER_TOKEN: u64 = 4;
/// Rates and factors are whole numbers of this part, so that sums are the same on every machine.
const WHOLE: u128 = 1_000_000;
/// The highest retry rate that is reckoned with: ten tries for one answer.
const MOST_RETRIES: f64 = 0.9;

/// About how many tokens a text has: four ASCII characters to a token, and one token for any other character.
///
/// It needs no tokenizer, and is rather too high than too low for text that is not English.
///
/// ```
/// use raptorflow_core::economics::text_tokens;
/// assert_eq!((text_tokens(""), text_tokens("plan"), text_tokens("योजना")), (0, 1, 5));
/// ```
#[must_use]
pub fn text_tokens(text: &str) -> u64 {
    let (ascii, other) = text.chars().fold((0_u64, 0_u64), |(ascii, other), char| {
        if char.is_ascii() { (ascii + 1, other) } else { (ascii, other + 1) }
    });
    ascii.div_ceil(CHARS_PER_TOKEN) + other
}

/// A piece of work with a model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Workload {
    /// Tokens of the first request; see [`text_tokens`].
    pub input_tokens: u64,
    /// Tokens that one answer is expected to have.
    pub output_tokens: u64,
    /// The longest answer in tokens, where the request bounds it.
    pub max_output_tokens: Option<u64>,
    /// How many rounds of tool calls are expected; each sends everything so far once more.
    pub tool_calls: u32,
    /// Which part of the calls fails and is made again, from 0 to 1; above 0.9 counts as 0.9.
    pub retry_rate: f64,
}

/// How far a prediction can be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Confidence {
    /// Many rounds, or many retries, or no price.
    Low,
    /// Up to three rounds of tools, less than one retry in five calls.
    Medium,
    /// One call whose answer is bounded, less than one retry in twenty calls.
    High,
}

/// Tokens, and what they cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expected {
    /// The tokens.
    pub usage: Usage,
    /// Their price; `None` when it is unknown, which is not zero.
    pub money: Option<Money>,
}

/// What a piece of work may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Prediction {
    /// One call without a retry, with half of the expected answer.
    pub low: Expected,
    /// All rounds, with the retries that are expected.
    pub expected: Expected,
    /// All rounds with the longest answers, or twice the expected ones where nothing bounds them, and with twice the
    /// retries.
    pub high: Expected,
    /// How far it can be trusted.
    pub confidence: Confidence,
}

/// Predicts what a piece of work takes and costs, by the price of the model at a time.
///
/// ```
/// use raptorflow_core::economics::{Confidence, Price, PriceBook, Workload, predict};
/// use raptorflow_core::types::{Currency, Timestamp};
/// let mut book = PriceBook::empty();
/// let valid_from = Timestamp::default();
/// let price = Price { currency: Currency::USD, input: 1_000_000, output: 2_000_000, cached: 0, valid_from };
/// book.insert("shop:small", price);
/// let work = Workload { input_tokens: 1_000, output_tokens: 200, tool_calls: 1, ..Workload::default() };
/// let predicted = predict(&book, "shop:small", &work, valid_from);
/// // Two requests, the second with the first answer in it, and two answers.
/// assert_eq!(predicted.expected.usage.input_tokens, 2_200);
/// assert_eq!(predicted.expected.money.unwrap().to_string(), "0.003000 USD");
/// assert_eq!(predicted.confidence, Confidence::Medium);
/// ```
#[must_use]
pub fn predict(book: &PriceBook, model: &str, work: &Workload, at: Timestamp) -> Prediction {
    let retries = retries(work);
    let price = book.price(model, at);
    let expected = |usage: Usage| Expected { usage, money: price.map(|price| price.of(&usage)) };
    Prediction {
        low: expected(Usage::new(work.input_tokens, work.output_tokens / 2)),
        expected: expected(rounds(work, work.output_tokens, retries)),
        high: expected(most(work, retries)),
        confidence: confidence(work, retries, price.is_some()),
    }
}

/// Only the high end of what [`predict`] says.
pub(crate) fn predict_high(book: &PriceBook, model: &str, work: &Workload, at: Timestamp) -> Expected {
    let usage = most(work, retries(work));
    Expected { usage, money: book.cost(model, &usage, at) }
}

/// Which part of the calls is made again.
fn retries(work: &Workload) -> f64 {
    if work.retry_rate.is_finite() { work.retry_rate.clamp(0.0, MOST_RETRIES) } else { MOST_RETRIES }
}

/// The most tokens that are expected.
fn most(work: &Workload, retries: f64) -> Usage {
    let longest =
        work.max_output_tokens.unwrap_or(work.output_tokens.saturating_mul(2)).max(work.output_tokens);
    rounds(work, longest, (retries * 2.0).min(MOST_RETRIES))
}

/// The tokens of all rounds: each sends the first request with all answers so far.
fn rounds(work: &Workload, output: u64, retries: f64) -> Usage {
    let (rounds, input, output) =
        (u128::from(work.tool_calls) + 1, u128::from(work.input_tokens), u128::from(output));
    let again = output.saturating_mul(rounds * (rounds - 1) / 2);
    // The tries for one answer: the sum of a geometric series.
    let tries = (WHOLE as f64 / (1.0 - retries)).round() as u128;
    let tokens = |tokens: u128| {
        // Mostly nothing is tried again, and wide divisions take long.
        let all = if tries == WHOLE { tokens } else { tokens.saturating_mul(tries).div_ceil(WHOLE) };
        u64::try_from(all).unwrap_or(u64::MAX)
    };
    Usage::new(
        tokens(input.saturating_mul(rounds).saturating_add(again)),
        tokens(output.saturating_mul(rounds)),
    )
}

fn confidence(work: &Workload, retries: f64, priced: bool) -> Confidence {
    if priced && work.tool_calls == 0 && work.max_output_tokens.is_some() && retries < 0.05 {
        Confidence::High
    } else if priced && work.tool_calls <= 3 && retries < 0.2 {
        Confidence::Medium
    } else {
        Confidence::Low
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert, proptest};

    use super::*;
    use crate::{economics::Price, types::Currency};

    fn book() -> PriceBook {
        let mut book = PriceBook::empty();
        let valid_from = Timestamp::default();
        let price =
            Price { currency: Currency::USD, input: 1_000_000, output: 4_000_000, cached: 0, valid_from };
        book.insert("shop:small", price);
        book
    }

    fn of(work: Workload) -> Prediction {
        predict(&book(), "shop:small", &work, Timestamp::default())
    }

    #[test]
    fn retries_rounds_and_bounds_count_as_documented() {
        let work = Workload { input_tokens: 100, output_tokens: 10, ..Workload::default() };
        let one = of(work);
        assert_eq!(
            (one.low.usage, one.expected.usage, one.high.usage),
            (Usage::new(100, 5), Usage::new(100, 10), Usage::new(100, 20))
        );
        assert_eq!(of(Workload { retry_rate: 0.5, ..work }).expected.usage, Usage::new(200, 20));
        assert_eq!(of(Workload { tool_calls: 2, ..work }).expected.usage, Usage::new(330, 30));
        assert_eq!(of(Workload { max_output_tokens: Some(50), ..work }).high.usage, Usage::new(100, 50));
        let costs = [one.low, one.expected, one.high].map(|expected| expected.money.unwrap().micros);
        assert_eq!(costs, [120, 140, 180]);
    }

    #[test]
    fn confidence_falls_with_rounds_retries_and_without_a_price() {
        let bounded = Workload { max_output_tokens: Some(9), ..Workload::default() };
        for (work, confidence) in [
            (bounded, Confidence::High),
            (Workload::default(), Confidence::Medium),
            (Workload { tool_calls: 1, ..bounded }, Confidence::Medium),
            (Workload { retry_rate: 0.1, ..bounded }, Confidence::Medium),
            (Workload { tool_calls: 4, ..bounded }, Confidence::Low),
            (Workload { retry_rate: f64::NAN, ..bounded }, Confidence::Low),
        ] {
            assert_eq!(of(work).confidence, confidence, "{work:?}");
        }
        let unpriced = predict(&book(), "shop:new", &bounded, Timestamp::default());
        assert_eq!((unpriced.confidence, unpriced.high.money), (Confidence::Low, None));
    }

    proptest! {
        #[test]
        fn low_is_never_above_expected_nor_that_above_high(
            input in 0..u64::MAX, output in 0..u64::MAX, max in proptest::option::of(0..u64::MAX),
            tool_calls in 0..u32::MAX, retry_rate in -1.0..2.0f64,
        ) {
            let work =
                Workload { input_tokens: input, output_tokens: output, max_output_tokens: max, tool_calls, retry_rate };
            let predicted = of(work);
            let all = [predicted.low, predicted.expected, predicted.high];
            for pair in all.windows(2) {
                prop_assert!(pair[0].usage.total_tokens() <= pair[1].usage.total_tokens());
                prop_assert!(pair[0].money.unwrap().micros <= pair[1].money.unwrap().micros);
            }
        }
    }
}
