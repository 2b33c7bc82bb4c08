//! Replies of a script as data, as other languages and files give them.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::{
    error::{Error, ErrorKind, Result, Retry},
    model::function_parts,
    testing::Reply,
    types::seconds,
};

/// What only a reply of a script has; the rest is the answer.
#[derive(Deserialize)]
struct Form {
    error: Option<Failure>,
    #[serde(default)]
    hangs: bool,
    json: Option<Value>,
    in_pieces: Option<usize>,
    cut_after: Option<usize>,
    silent_after: Option<usize>,
    #[serde(default, rename = "delay_seconds", with = "seconds")]
    delay: Duration,
    #[serde(flatten)]
    answer: Map<String, Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Failure {
    kind: ErrorKind,
    #[serde(default)]
    message: String,
    retry_after: Option<Pause>,
}

#[derive(Deserialize)]
struct Pause(#[serde(with = "seconds")] Duration);

impl Failure {
    fn error(self) -> Error {
        let err = Error::new(self.kind, "model.stream", self.message);
        match self.retry_after {
            Some(Pause(pause)) => err.retryable(Retry::After(pause)),
            None => err,
        }
    }
}

impl Reply {
    /// A reply as data: a string, or an object.
    ///
    /// An object has what a [`FunctionModel`](crate::model::FunctionModel) may answer (`text`, `reasoning`,
    /// `tool_calls`, `usage`, `finish`), or `json`, a value that arrives as text; or an `error` with a `kind`, a
    /// `message` and, where trying again can help, `retry_after` in seconds; or `hangs`.
    /// Besides it may have `in_pieces`, `cut_after`, `silent_after` and `delay_seconds`, as the methods of those names.
    ///
    /// # Errors
    /// `InvalidInput` for another form, with the reason.
    ///
    /// # Examples
    /// ```
    /// use raptorflow_core::{model::{ChatRequest, Model}, runtime::{Context, Runtime}, types::Message};
    /// use raptorflow_core::testing::{Reply, ScriptedModel};
    /// use serde_json::json;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> raptorflow_core::Result<()> {
    /// let reply = Reply::from_json(json!({ "text": "Hello.", "usage": { "input_tokens": 3, "output_tokens": 2 } }))?;
    /// let model = Model::new(ScriptedModel::new([reply]));
    /// let ctx = Context::new(&Runtime::current()?);
    /// let answer = model.complete(&ctx, &ChatRequest::new(vec![Message::user("Hi")])).await?;
    /// assert_eq!((answer.message.text().as_str(), answer.usage.total_tokens()), ("Hello.", 5));
    /// # Ok(())
    /// # }
    /// ```
    pub fn from_json(value: Value) -> Result<Self> {
        let value = match value {
            Value::String(text) => return Ok(Self::text(text)),
            value => value,
        };
        let form: Form = serde_json::from_value(value).map_err(|err| wrong(&err.to_string()))?;
        let alone = form.answer.is_empty();
        let reply = match (form.error, form.json, form.hangs) {
            (Some(failure), None, false) if alone => Self::error(failure.error()),
            (None, None, true) if alone => Self::hang(),
            (None, Some(value), false) if alone => Self::json(&value),
            (None, None, false) if !alone => {
                let answer = Value::Object(form.answer);
                let parts = function_parts(answer, "scripted:model")
                    .map_err(|err| wrong(err.get("reason").unwrap_or(err.message())))?;
                Self::parts(parts)
            }
            _ => return Err(wrong("expected an answer, `json`, `error` or `hangs`, and one of them only")),
        };
        let reply = form.in_pieces.into_iter().fold(reply, Self::in_pieces);
        let reply = form.cut_after.into_iter().fold(reply, Self::cut_after);
        let reply = form.silent_after.into_iter().fold(reply, Self::silent_after);
        Ok(reply.with_delay(form.delay))
    }
}

fn wrong(reason: &str) -> Error {
    Error::new(ErrorKind::InvalidInput, "testing.reply", "not a reply of a script").with("reason", reason)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        error::Result,
        model::{ChatRequest, ChatResponse, Model, PartialAnswer},
        runtime::{Context, Runtime},
        testing::ScriptedModel,
        types::Message,
    };

    async fn answer(reply: Value) -> Result<ChatResponse> {
        let model = Model::new(ScriptedModel::new([Reply::from_json(reply)?]));
        let ctx = Context::new(&Runtime::current()?).with_timeout(Duration::ZERO);
        model.complete(&ctx, &ChatRequest::new(vec![Message::user("Hi")])).await
    }

    async fn whole(reply: Value) -> ChatResponse {
        let model = Model::new(ScriptedModel::new([Reply::from_json(reply).unwrap()]));
        let ctx = Context::new(&Runtime::current().unwrap());
        model.complete(&ctx, &ChatRequest::new(vec![Message::user("Hi")])).await.unwrap()
    }

    #[tokio::test]
    async fn an_answer_is_what_a_function_may_give_or_any_json() {
        assert_eq!(whole(json!("Hello.")).await.message.text(), "Hello.");
        assert_eq!(whole(json!({"json": {"net": 1}})).await.message.text(), r#"{"net":1}"#);
        let call = json!({"id": "1", "name": "find", "arguments": {"q": "tea"}});
        let told = whole(json!({"reasoning": "so", "tool_calls": [call], "in_pieces": 2})).await;
        assert_eq!(told.message.tool_calls().next().unwrap().arguments, json!({"q": "tea"}));
    }

    #[tokio::test]
    async fn what_goes_wrong_in_a_script_is_data_too() {
        let model = |reply| Model::new(ScriptedModel::new([Reply::from_json(reply).unwrap()]));
        let ctx = Context::new(&Runtime::current().unwrap());
        let request = ChatRequest::new(vec![Message::user("Hi")]);
        let refused = json!({"error": {"kind": "rate_limited", "message": "slow down", "retry_after": 2}});
        let err = model(refused).complete(&ctx, &request).await.unwrap_err();
        let told = (err.kind(), err.message(), err.retry());
        assert_eq!(told, (ErrorKind::RateLimited, "slow down", Retry::After(Duration::from_secs(2))));
        let cut = json!({"text": ["ab", "cd"], "cut_after": 1});
        let err = model(cut).complete(&ctx, &request).await.unwrap_err();
        assert_eq!(err.cause::<PartialAnswer>().unwrap().text, "ab");
        assert_eq!(answer(json!({"hangs": true})).await.unwrap_err().kind(), ErrorKind::Timeout);
    }

    #[test]
    fn another_form_is_refused_with_the_reason() {
        for (given, reason) in [
            (json!(1), "invalid type"),
            (json!({}), "one of them only"),
            (json!({"text": "a", "hangs": true}), "one of them only"),
            (json!({"txt": "a"}), "unknown field `txt`"),
            (json!({"error": {"kind": "cross"}}), "unknown variant"),
        ] {
            let err = Reply::from_json(given.clone()).unwrap_err();
            assert_eq!(err.kind(), ErrorKind::InvalidInput, "{given}");
            assert!(err.get("reason").unwrap().contains(reason), "{given}: {err}");
        }
    }
}
