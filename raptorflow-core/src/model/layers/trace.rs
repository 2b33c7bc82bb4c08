//! `TraceLayer`: one span for each call of a model, with what it took and how it ended, and never what was said.

use std::{
    pin::Pin,
    sync::Arc,
    task::{self, Poll},
    time::Duration,
};

use futures_util::{Stream, StreamExt as _};
use tracing::{Instrument as _, Span, field::Empty};

use crate::{
    error::{Error, Result},
    model::{
        Beginning, ChatModel, ChatRequest, ChatStream, FinishReason, Layer, Model, ModelInfo, Place,
        StreamPart,
    },
    runtime::{Clock, Context, names},
    types::Usage,
};

/// Makes one span `model.call` for each call, from the request to the end of the answer, all tries included.
///
/// Its fields are those that OpenTelemetry names for generative models: `gen_ai.operation.name`, `gen_ai.provider.name`,
/// `gen_ai.request.model`, `gen_ai.response.model`, `gen_ai.response.finish_reason`, `gen_ai.usage.input_tokens`,
/// `gen_ai.usage.output_tokens` and `error.type`; and beside them `run`, `outcome` (`ok`, `error` or `dropped`) and
/// `duration_ms`.
/// Nothing of the request or the answer is in it.
///
/// # Examples
/// ```
/// use raptorflow_core::{Result, runtime::{Context, Runtime}, types::Message};
/// use raptorflow_core::model::{ChatRequest, Layer as _, Model, OfflineModel, TraceLayer};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<()> {
/// let model = TraceLayer.wrap(Model::new(OfflineModel::default()));
/// let ctx = Context::new(&Runtime::current()?);
/// model.complete(&ctx, &ChatRequest::new(vec![Message::user("What is a journal?")])).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct TraceLayer;

impl Layer for TraceLayer {
    fn place(&self) -> Place {
        Place::Trace
    }

    fn wrap(&self, inner: Model) -> Model {
        Model::new(Traced(inner))
    }
}

#[derive(Debug)]
struct Traced(Model);

impl ChatModel for Traced {
    fn info(&self) -> &ModelInfo {
        self.0.info()
    }

    // As `async_trait` has it, but without a box of its own where there is nothing to do.
    fn stream<'a, 'b, 'c, 'd>(&'a self, ctx: &'b Context, request: &'c ChatRequest) -> Beginning<'d>
    where
        'a: 'd,
        'b: 'd,
        'c: 'd,
        Self: 'd,
    {
        let full: &str = &self.info().name;
        let (provider, name) = full.split_once(':').unwrap_or(("", full));
        let span = tracing::info_span!(
            names::MODEL_CALL,
            run = %ctx.run_id(),
            gen_ai.operation.name = "chat",
            gen_ai.provider.name = provider,
            gen_ai.request.model = name,
            gen_ai.response.model = Empty,
            gen_ai.response.finish_reason = Empty,
            gen_ai.usage.input_tokens = Empty,
            gen_ai.usage.output_tokens = Empty,
            error.type = Empty,
            outcome = Empty,
            duration_ms = Empty,
        );
        if span.is_disabled() {
            return self.0.begin(ctx, request);
        }
        Box::pin(self.watched(ctx, request, span))
    }
}

impl Traced {
    async fn watched(&self, ctx: &Context, request: &ChatRequest, span: Span) -> Result<ChatStream> {
        let clock = Arc::clone(ctx.runtime().clock());
        let mut call = Call { start: clock.elapsed(), clock, span, usage: None, over: false };
        match self.0.stream(ctx, request).instrument(call.span.clone()).await {
            Ok(parts) => Ok(Box::pin(Watched { parts, call })),
            Err(err) => {
                call.fail(&err);
                Err(err)
            }
        }
    }
}

/// A call under way; dropping it ends its span.
struct Call {
    clock: Arc<dyn Clock>,
    start: Duration,
    span: Span,
    usage: Option<Usage>,
    over: bool,
}

impl Call {
    fn see(&mut self, part: &StreamPart) {
        match part {
            StreamPart::Model { name } => {
                self.span
                    .record(names::RESPONSE_MODEL, name.split_once(':').map_or(&**name, |(_, name)| name));
            }
            StreamPart::Usage { usage } => self.usage = Some(*usage),
            StreamPart::Finish { reason } => {
                self.span.record(names::FINISH_REASON, finish(reason));
                self.end("ok");
            }
            _ => {}
        }
    }

    fn fail(&mut self, err: &Error) {
        self.span.record(names::ERROR_TYPE, err.kind().code());
        self.end("error");
    }

    fn end(&mut self, outcome: &'static str) {
        if self.over {
            return;
        }
        self.over = true;
        if let Some(usage) = self.usage {
            self.span.record(names::INPUT_TOKENS, usage.input_tokens);
            self.span.record(names::OUTPUT_TOKENS, usage.output_tokens);
        }
        let took = self.clock.elapsed().saturating_sub(self.start);
        self.span.record(names::DURATION_MS, u64::try_from(took.as_millis()).unwrap_or(u64::MAX));
        self.span.record(names::OUTCOME, outcome);
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.end("dropped");
    }
}

/// A reason of this crate's own words; one that a provider made up is `other`, since it could say anything.
fn finish(reason: &FinishReason) -> &'static str {
    match reason {
        FinishReason::Stop => "stop",
        FinishReason::Length => "length",
        FinishReason::ToolCalls => "tool_calls",
        FinishReason::ContentFilter => "content_filter",
        FinishReason::Other(_) => "other",
    }
}

/// The parts of an answer, read within the span.
struct Watched {
    parts: ChatStream,
    call: Call,
}

impl Stream for Watched {
    type Item = Result<StreamPart>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        let next = this.call.span.in_scope(|| this.parts.poll_next_unpin(cx));
        match &next {
            Poll::Ready(Some(Ok(part))) => this.call.see(part),
            Poll::Ready(Some(Err(err))) => this.call.fail(err),
            _ => {}
        }
        next
    }
}

#[cfg(test)]
#[cfg(feature = "testing")]
mod tests {
    use std::{
        collections::BTreeMap,
        fmt::Debug,
        sync::{Mutex, PoisonError},
    };

    use tracing::{
        Event, Metadata, Subscriber,
        field::{Field, Visit},
        instrument::WithSubscriber as _,
        span,
    };

    use super::*;
    use crate::{
        error::ErrorKind,
        model::layers::tests::support::{Desk, down},
        testing::Reply,
    };

    /// Writes down the fields of every span, and how many spans there were.
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<(u64, BTreeMap<String, String>)>>);

    struct Fields<'a>(&'a Log);

    impl Visit for Fields<'_> {
        fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
            let text = format!("{value:?}").trim_matches('"').to_owned();
            self.0.0.lock().unwrap().1.insert(field.name().to_owned(), text);
        }
    }

    impl Subscriber for Log {
        fn enabled(&self, of: &Metadata<'_>) -> bool {
            of.is_span()
        }

        fn new_span(&self, span: &span::Attributes<'_>) -> span::Id {
            assert_eq!(span.metadata().name(), names::MODEL_CALL);
            span.record(&mut Fields(self));
            let mut log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            log.0 += 1;
            span::Id::from_u64(log.0)
        }

        fn record(&self, _: &span::Id, values: &span::Record<'_>) {
            values.record(&mut Fields(self));
        }

        fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
        fn event(&self, _: &Event<'_>) {}
        fn enter(&self, _: &span::Id) {}
        fn exit(&self, _: &span::Id) {}
    }

    /// Makes a call within a subscriber and gives what it wrote down.
    async fn traced(reply: Reply, whole: bool) -> BTreeMap<String, String> {
        let log = Log::default();
        let desk = Desk::new([reply]);
        let ctx = desk.ctx();
        let call = async {
            let model = TraceLayer.wrap(desk.model());
            if whole {
                let _ = desk.hurry(model.complete(&ctx, &Desk::request())).await;
            } else {
                drop(model.stream(&ctx, &Desk::request()).await);
            }
        };
        call.with_subscriber(log.clone()).await;
        let log = log.0.lock().unwrap();
        assert_eq!(log.0, 1, "one span a call");
        log.1.clone()
    }

    fn field<'a>(fields: &'a BTreeMap<String, String>, name: &str) -> &'a str {
        fields.get(name).map_or("-", String::as_str)
    }

    #[tokio::test]
    async fn a_call_that_ends_well_tells_its_model_usage_and_time() {
        let reply = Reply::text("A secret.").with_usage(Usage::new(9, 3)).with_delay(Duration::from_secs(2));
        let fields = traced(reply, true).await;
        for (name, value) in [
            ("gen_ai.operation.name", "chat"),
            ("gen_ai.provider.name", "scripted"),
            ("gen_ai.request.model", "model"),
            (names::INPUT_TOKENS, "9"),
            (names::OUTPUT_TOKENS, "3"),
            (names::FINISH_REASON, "stop"),
            (names::OUTCOME, "ok"),
            (names::DURATION_MS, "2000"),
            (names::ERROR_TYPE, "-"),
        ] {
            assert_eq!(field(&fields, name), value, "{name} in {fields:?}");
        }
    }

    #[tokio::test]
    async fn nothing_of_request_and_answer_is_told() {
        let reason = FinishReason::Other("secret reason".to_owned());
        let fields = traced(Reply::text("A secret.").with_finish(&reason), true).await;
        let told = format!("{fields:?}");
        assert!(!told.contains("secret") && !told.contains("Where"), "{told}");
    }

    #[tokio::test]
    async fn a_call_that_fails_tells_its_kind_and_one_that_is_dropped_says_so() {
        for reply in [Reply::error(down()), Reply::text("x").cut_after(1)] {
            let fields = traced(reply, true).await;
            assert_eq!(
                (field(&fields, names::OUTCOME), field(&fields, names::ERROR_TYPE)),
                ("error", "unavailable")
            );
        }
        assert_eq!(ErrorKind::Unavailable.code(), "unavailable");
        assert_eq!(field(&traced(Reply::text("x"), false).await, names::OUTCOME), "dropped");
    }
}
