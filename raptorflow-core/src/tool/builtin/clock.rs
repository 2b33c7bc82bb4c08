//! `clock`: the tool that tells the time of day, by the clock of the run.

use async_trait::async_trait;
use jiff::{Timestamp, tz::TimeZone};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    error::{Error, ErrorKind, Result},
    runtime::Context,
    tool::{Tool, macro_support},
    types::ToolSpec,
};

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Arguments {
    /// A time zone of the IANA database, such as Asia/Kolkata; UTC when left out.
    #[serde(default)]
    time_zone: Option<String>,
}

/// The tool `clock`: the date, the time and the day of the week in any time zone.
///
/// It reads the clock of the context, so that a test with a clock of its own gets one answer.
///
/// ```
/// use raptorflow_core::{runtime::{Context, Runtime}, tool::{Clock, Tool as _}};
/// use serde_json::json;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> raptorflow_core::Result<()> {
/// let clock = Clock::new();
/// let answer = clock.call(&Context::new(&Runtime::current()?), json!({ "time_zone": "Asia/Kolkata" })).await?;
/// assert_eq!(answer["offset"], "+05:30");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Clock(ToolSpec);

impl Clock {
    /// The tool.
    #[must_use]
    pub fn new() -> Self {
        let description = "Tells the present date, time and day of the week in a time zone.";
        Self(ToolSpec::new("clock", description, macro_support::parameters::<Arguments>()))
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Tool for Clock {
    fn spec(&self) -> &ToolSpec {
        &self.0
    }

    async fn call(&self, ctx: &Context, arguments: Value) -> Result<Value> {
        let Arguments { time_zone } = macro_support::arguments(&arguments)?;
        let zone = time_zone.as_deref().unwrap_or("UTC");
        let known = TimeZone::get(zone).map_err(|err| {
            let message = "expected a time zone of the IANA database, such as Asia/Kolkata";
            Error::new(ErrorKind::InvalidInput, "tool.clock", message)
                .with("field", "time_zone")
                .with("value", zone.chars().take(60).collect::<String>())
                .caused_by(err)
        })?;
        let now = Timestamp::from_microsecond(ctx.now().as_micros()).map_err(|err| {
            Error::new(ErrorKind::InvalidInput, "tool.clock", "the clock is beyond the calendar")
                .caused_by(err)
        })?;
        let local = now.to_zoned(known);
        Ok(json!({
            "time_zone": zone,
            "date": local.strftime("%Y-%m-%d").to_string(),
            "time": local.strftime("%H:%M:%S").to_string(),
            "weekday": local.strftime("%A").to_string(),
            "offset": local.strftime("%:z").to_string(),
            "utc": now.to_string(),
        }))
    }
}

#[cfg(feature = "testing")]
#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        runtime::{Runtime, Tasks},
        testing::ManualClock,
        types,
    };

    async fn at(time: &str, zone: Value) -> Result<Value> {
        let clock = ManualClock::starting_at(time.parse::<types::Timestamp>().unwrap());
        let runtime = Runtime::new(Arc::new(clock), Tasks::current().unwrap());
        Clock::new().call(&Context::new(&runtime), json!({ "time_zone": zone })).await
    }

    #[tokio::test]
    async fn the_time_is_that_of_the_runs_clock_in_the_zone_that_is_asked_for() {
        let utc = at("2026-03-29T00:30:00Z", Value::Null).await.unwrap();
        assert_eq!(
            (&utc["date"], &utc["time"], &utc["weekday"]),
            (&json!("2026-03-29"), &json!("00:30:00"), &json!("Sunday"))
        );
        // An hour before and after the clocks of Berlin go forward.
        let before = at("2026-03-29T00:30:00Z", json!("Europe/Berlin")).await.unwrap();
        assert_eq!((&before["time"], &before["offset"]), (&json!("01:30:00"), &json!("+01:00")));
        let after = at("2026-03-29T01:30:00Z", json!("Europe/Berlin")).await.unwrap();
        assert_eq!((&after["time"], &after["offset"]), (&json!("03:30:00"), &json!("+02:00")));
    }

    #[tokio::test]
    async fn an_unknown_zone_is_named() {
        let err = at("2026-03-29T00:30:00Z", json!("Mars/Base")).await.unwrap_err();
        assert_eq!((err.kind(), err.get("value")), (ErrorKind::InvalidInput, Some("Mars/Base")));
    }
}
