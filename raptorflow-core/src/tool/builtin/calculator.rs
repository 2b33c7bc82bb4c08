//! `calculator`: the tool that works out an arithmetic expression.
//!
//! The evaluator is our own: of the crates that were tried one overflows the stack and takes time without bound for
//! nested parentheses, and another reads `-2^2` as 4.

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    error::{Error, ErrorKind, Result},
    runtime::Context,
    tool::{Tool, macro_support},
    types::ToolSpec,
};

/// The longest expression, in bytes.
const MAX_BYTES: usize = 1000;
/// How deep signs and parentheses may be nested; the parser calls itself for each.
const MAX_DEPTH: usize = 64;
/// Whole numbers up to here are exact.
const EXACT: f64 = 9_007_199_254_740_992.0;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Arguments {
    /// What to work out, such as `1299 * 1.18`, `18% of 1000`, `sqrt(2)`, `17 mod 5` or `-2^2`.
    expression: String,
}

/// The tool `calculator`: arithmetic with percentages, powers and functions, to 15 digits.
///
/// It knows no variables, and what has no finite result is an error.
///
/// ```
/// use raptorflow_core::{runtime::{Context, Runtime}, tool::{Calculator, Tool as _}};
/// use serde_json::json;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> raptorflow_core::Result<()> {
/// let ctx = Context::new(&Runtime::current()?);
/// let answer = Calculator::new().call(&ctx, json!({ "expression": "0.1 + 18% of 1000" })).await?;
/// assert_eq!(answer, json!({ "result": 180.1 }));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Calculator(ToolSpec);

impl Calculator {
    /// The tool.
    #[must_use]
    pub fn new() -> Self {
        let description = "Works out an expression: numbers with + - * / ^ mod, % for percent, ! for factorial, \
            parentheses, pi, e, and sqrt, cbrt, abs, round, floor, ceil, exp, ln, log2, log10, sin, cos, tan, asin, \
            acos, atan, min, max.";
        Self(ToolSpec::new("calculator", description, macro_support::parameters::<Arguments>()))
    }
}

impl Default for Calculator {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Tool for Calculator {
    fn spec(&self) -> &ToolSpec {
        &self.0
    }

    async fn call(&self, _ctx: &Context, arguments: Value) -> Result<Value> {
        let Arguments { expression } = macro_support::arguments(&arguments)?;
        Ok(json!({ "result": shown(evaluated(&expression)?) }))
    }
}

fn refused(message: &'static str) -> Error {
    Error::new(ErrorKind::InvalidInput, "tool.calculator", message).with("field", "expression")
}

fn evaluated(expression: &str) -> Result<f64> {
    if expression.len() > MAX_BYTES {
        return Err(
            refused("the expression is too long").with("expected", format!("at most {MAX_BYTES} bytes"))
        );
    }
    let mut parser = Parser { rest: expression, depth: 0 };
    let value = parser.expression(0)?;
    if !parser.peek().is_empty() {
        return Err(parser.unexpected("an operator"));
    }
    if value.is_finite() { Ok(value) } else { Err(refused("the result is not a finite number")) }
}

/// A number without the noise of binary fractions.
fn shown(value: f64) -> Value {
    let rounded = format!("{value:.14e}").parse().unwrap_or(value);
    #[expect(clippy::cast_possible_truncation, reason = "the value is whole and within the range")]
    if rounded.fract() == 0.0 && rounded.abs() <= EXACT {
        Value::from(rounded as i64)
    } else {
        Value::from(rounded)
    }
}

/// How tight signs bind; a sign before a number binds looser than a power and tighter than a product.
const SUM: u8 = 1;
const PRODUCT: u8 = 3;
const SIGN: u8 = 5;
const POWER: u8 = 7;

struct Parser<'a> {
    rest: &'a str,
    depth: usize,
}

impl<'a> Parser<'a> {
    fn peek(&mut self) -> &'a str {
        self.rest = self.rest.trim_start();
        self.rest
    }

    fn take(&mut self, sign: &str) -> bool {
        match self.peek().strip_prefix(sign) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn expect(&mut self, sign: &'static str) -> Result<()> {
        if self.take(sign) { Ok(()) } else { Err(self.unexpected(sign)) }
    }

    fn unexpected(&mut self, expected: &'static str) -> Error {
        let found: String = self.peek().chars().take(20).collect();
        let found = if found.is_empty() { "the end".to_owned() } else { found };
        refused("the expression cannot be read").with("at", found).with("expected", expected)
    }

    /// A word of letters and digits at the beginning.
    fn word(&mut self) -> &'a str {
        let rest = self.peek();
        let starts = rest.starts_with(|c: char| c.is_ascii_alphabetic());
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len());
        if starts { rest.get(..end).unwrap_or_default() } else { "" }
    }

    /// An expression up to an operator that binds looser than `least`.
    fn expression(&mut self, least: u8) -> Result<f64> {
        self.depth = self.depth.saturating_add(1);
        if self.depth > MAX_DEPTH {
            return Err(refused("the expression is nested too deep"));
        }
        let mut left = self.operand()?;
        loop {
            left = if least <= SUM && self.take("+") {
                left + self.expression(SUM + 1)?
            } else if least <= SUM && (self.take("-") || self.take("−")) {
                left - self.expression(SUM + 1)?
            } else if least <= POWER && (self.take("**") || self.take("^")) {
                left.powf(self.expression(POWER)?)
            } else if least <= PRODUCT && (self.take("*") || self.take("×")) {
                left * self.expression(PRODUCT + 1)?
            } else if least <= PRODUCT && (self.take("/") || self.take("÷")) {
                left / self.expression(PRODUCT + 1)?
            } else if least <= PRODUCT && self.word() == "of" {
                self.take("of");
                left * self.expression(PRODUCT + 1)?
            } else if least <= PRODUCT && self.word() == "mod" {
                self.take("mod");
                left.rem_euclid(self.expression(PRODUCT + 1)?)
            } else {
                break;
            };
        }
        self.depth = self.depth.saturating_sub(1);
        Ok(left)
    }

    /// A number, a constant, a function or something in parentheses, with a sign before it and marks behind.
    fn operand(&mut self) -> Result<f64> {
        if self.take("-") || self.take("−") {
            return Ok(-self.expression(SIGN)?);
        }
        if self.take("+") {
            return self.expression(SIGN);
        }
        let mut value = if self.take("(") {
            let inner = self.expression(0)?;
            self.expect(")")?;
            inner
        } else if self.word().is_empty() {
            self.number()?
        } else {
            self.named()?
        };
        loop {
            if self.take("%") {
                value /= 100.0;
            } else if self.take("!") {
                value = factorial(value)?;
            } else {
                return Ok(value);
            }
        }
    }

    /// Digits with a fraction, an exponent, and commas or underscores between.
    fn number(&mut self) -> Result<f64> {
        let rest = self.peek();
        let mut end = 0;
        let mut last = ' ';
        for (at, c) in rest.char_indices() {
            let exponent = matches!(c, '+' | '-') && matches!(last, 'e' | 'E');
            if !(c.is_ascii_digit() || matches!(c, '.' | '_' | 'e' | 'E') || exponent) {
                break;
            }
            (end, last) = (at.saturating_add(1), c);
        }
        let digits = rest.get(..end).unwrap_or_default();
        let value =
            digits.replace('_', "").parse().map_err(|_| self.unexpected("a number, a function or `(`"))?;
        self.rest = rest.get(end..).unwrap_or_default();
        Ok(value)
    }

    fn named(&mut self) -> Result<f64> {
        let name = self.word();
        let at = self.rest;
        self.take(name);
        match name {
            "pi" => return Ok(std::f64::consts::PI),
            "e" => return Ok(std::f64::consts::E),
            _ => {}
        }
        let function: fn(f64) -> f64 = match name {
            "sqrt" => f64::sqrt,
            "cbrt" => f64::cbrt,
            "abs" => f64::abs,
            "round" => f64::round,
            "floor" => f64::floor,
            "ceil" => f64::ceil,
            "exp" => f64::exp,
            "ln" => f64::ln,
            "log2" => f64::log2,
            "log10" => f64::log10,
            "sin" => f64::sin,
            "cos" => f64::cos,
            "tan" => f64::tan,
            "asin" => f64::asin,
            "acos" => f64::acos,
            "atan" => f64::atan,
            "min" => return self.folded(f64::min),
            "max" => return self.folded(f64::max),
            _ => {
                self.rest = at;
                return Err(self.unexpected("a function that is known"));
            }
        };
        self.expect("(")?;
        let argument = self.expression(0)?;
        self.expect(")")?;
        Ok(function(argument))
    }

    fn folded(&mut self, fold: fn(f64, f64) -> f64) -> Result<f64> {
        self.expect("(")?;
        let mut value = self.expression(0)?;
        while self.take(",") {
            value = fold(value, self.expression(0)?);
        }
        self.expect(")")?;
        Ok(value)
    }
}

fn factorial(value: f64) -> Result<f64> {
    // 171! is more than a number can be.
    let factors = (0..=170_u32).find(|n| f64::from(*n) == value);
    let factors = factors.ok_or_else(|| refused("a factorial is one of a whole number from 0 to 170"))?;
    Ok((1..=factors).map(f64::from).product())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_worked_out_as_they_are_written_on_paper() {
        for (expression, result) in [
            ("1 + 2 * 3", json!(7)),
            ("0.1 + 0.2", json!(0.3)),
            ("1299 * 1.18", json!(1532.82)),
            ("18% of 1000", json!(180)),
            ("1000 * (1 + 18%)", json!(1180)),
            ("-2^2", json!(-4)),
            ("2^-1", json!(0.5)),
            ("2^3^2", json!(512)),
            ("2 ** 10", json!(1024)),
            ("10 - 4 - 3", json!(3)),
            ("100 / 10 / 5", json!(2)),
            ("-3 * -2", json!(6)),
            ("17 mod 5", json!(2)),
            ("(1 + 2) × 3 ÷ 2", json!(4.5)),
            ("1e3 + 1_000", json!(2000)),
            ("5!", json!(120)),
            ("sqrt(3)", json!(1.732_050_807_568_88)),
            ("max(1, 7, 3) - min(2, 4)", json!(5)),
            ("round(2.5) + floor(-0.5)", json!(2)),
            ("exp(2)", json!(7.389_056_098_930_65)),
            ("2 * e / e", json!(2)),
        ] {
            assert_eq!(shown(evaluated(expression).unwrap()), result, "{expression}");
        }
    }

    #[test]
    fn what_has_no_result_is_refused() {
        let long = "1".repeat(MAX_BYTES + 1);
        for expression in [
            "", " ", "1/0", "0/0", "1 +", "(1", "1)", "1 2", "2(3)", "x", "x = 1", "ln(0)", "sqrt(-1)",
            "171!", "2.5!", "9^9^9", "1.2.3", "e5e", "sqrt", "sqrt 2", "17 % 5", "min()", "\u{0}", "é",
            &long,
        ] {
            let err = evaluated(expression).unwrap_err();
            assert_eq!(err.kind(), ErrorKind::InvalidInput, "{expression}: {err}");
        }
    }

    #[test]
    fn nesting_is_bounded_and_no_expression_takes_long() {
        for opening in ["(", "-", "+", "sqrt(", "1+(", "2^", "1-(-", "min(1,"] {
            let expression = opening.repeat(MAX_BYTES / opening.len());
            assert_eq!(evaluated(&expression).unwrap_err().kind(), ErrorKind::InvalidInput, "{opening}");
        }
        let flat = format!("1{}", "+1".repeat(499));
        assert_eq!(evaluated(&flat).unwrap(), 500.0);
    }
}
