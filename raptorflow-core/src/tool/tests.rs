//! What dispatch answers, what ends a run, and what `#[tool]` makes of a function.

use std::{
    future::{Future, pending},
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::StreamExt as _;
use proptest::prelude::{Just, any, prop_assert, prop_assert_eq, prop_oneof, proptest};
use serde_json::{Value, json};

use crate::{
    error::{Error, ErrorKind, Result, Retry},
    runtime::{Clock, Context, Runtime, Tasks},
    tool,
    tool::{DispatchConfig, FunctionTool, Tool, ToolRegistry, dispatch, dispatch_all, dispatch_stream},
    types::{Effects, Schema, Timestamp, ToolCall, ToolResult, ToolSpec},
};

/// A clock whose sleeps give way to other work for a while, then end and move the time.
#[derive(Debug, Default)]
struct Leaping(Arc<AtomicI64>);

impl Clock for Leaping {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::SeqCst))
    }

    fn elapsed(&self) -> Duration {
        self.now().since(Timestamp::default())
    }

    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + 'static>> {
        let time = Arc::clone(&self.0);
        Box::pin(async move {
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
            time.fetch_add(i64::try_from(duration.as_micros()).unwrap(), Ordering::SeqCst);
        })
    }
}

fn context() -> Context {
    Context::new(&Runtime::new(Arc::new(Leaping::default()), Tasks::current().unwrap()))
}

fn call(name: &str, arguments: Value) -> ToolCall {
    ToolCall { id: "c1".into(), name: name.into(), arguments }
}

fn spec(name: &str) -> ToolSpec {
    ToolSpec::new(name, "Does nothing.", Schema::any_object())
}

fn registry(tools: impl IntoIterator<Item = FunctionTool>) -> ToolRegistry {
    let mut registry = ToolRegistry::new();
    for tool in tools {
        registry.register(tool).unwrap();
    }
    registry
}

async fn answer_in(ctx: &Context, tool: impl Tool, arguments: Value) -> Result<ToolResult> {
    let mut tools = ToolRegistry::new();
    let call = call(&tool.spec().name, arguments);
    tools.register(tool)?;
    dispatch(ctx, &tools, &call, &DispatchConfig::default()).await
}

async fn answer(tool: impl Tool, arguments: Value) -> ToolResult {
    answer_in(&context(), tool, arguments).await.unwrap()
}

/// A tool that fails with what `make` makes.
fn failing(make: fn() -> Error) -> FunctionTool {
    FunctionTool::new(spec("fails"), move |_ctx, _arguments| std::future::ready(Err(make())))
}

#[tokio::test]
async fn a_value_is_the_answer_with_the_id_and_name_of_the_call() {
    let echo = FunctionTool::new(spec("echo"), async |_ctx, arguments| Ok(arguments));
    let answer = answer(echo, json!({"a": [1, null]})).await;
    let expected = ToolResult {
        id: "c1".into(),
        name: "echo".into(),
        content: json!({"a": [1, null]}),
        is_error: false,
        cost: None,
    };
    assert_eq!(answer, expected);
}

#[tokio::test]
async fn an_unknown_tool_is_an_answer_that_names_the_nearest() {
    let tools = registry([FunctionTool::new(spec("search"), async |_ctx, arguments| Ok(arguments))]);
    let answer =
        dispatch(&context(), &tools, &call("serach", json!({})), &DispatchConfig::default()).await.unwrap();
    assert!(answer.is_error);
    assert_eq!(answer.content["error"], "not_found");
    assert_eq!(answer.content["message"], "no tool of this name (tool: serach, nearest: search)");
}

#[tokio::test]
async fn arguments_that_do_not_fit_never_reach_the_tool() {
    for wrong in [json!("{broken"), json!([1]), json!(3), json!({"net": "x"}), json!({"net": 1, "more": 2})] {
        let typed = FunctionTool::new(
            ToolSpec { parameters: add_share.spec().parameters.clone(), ..spec("strict") },
            async |_ctx, _arguments| Err(Error::new(ErrorKind::Internal, "test.call", "was called")),
        );
        let answer = answer(typed, wrong).await;
        assert!(answer.is_error);
        assert_eq!(answer.content["error"], "invalid_input");
    }
}

#[tokio::test]
async fn the_failure_of_a_tool_is_an_answer_that_says_whether_to_retry() {
    let full = failing(|| {
        Error::new(ErrorKind::Unavailable, "shop.get", "the shop is closed")
            .with("shop", 7)
            .retryable(Retry::Soon)
    });
    let told = answer(full, json!({})).await;
    assert!(told.is_error);
    assert_eq!(
        told.content,
        json!({"error": "unavailable", "message": "the shop is closed (shop: 7)", "retryable": true})
    );
    let own = failing(|| Error::new(ErrorKind::Cancelled, "sub.run", "a part was cancelled"));
    assert_eq!(answer(own, json!({})).await.content["error"], "cancelled");
    let late = failing(|| Error::new(ErrorKind::Timeout, "web.get", "no reply"));
    assert_eq!(answer(late, json!({})).await.content["message"], "no reply");
}

#[tokio::test]
async fn a_fault_of_the_library_ends_the_run() {
    let broken = failing(|| Error::new(ErrorKind::Internal, "test.call", "impossible"));
    assert_eq!(answer_in(&context(), broken, json!({})).await.unwrap_err().kind(), ErrorKind::Internal);
}

#[tokio::test]
async fn a_panic_is_a_failure_with_a_capped_message() {
    let long = FunctionTool::new(spec("panics"), |_ctx, _arguments| -> std::future::Ready<Result<Value>> {
        panic!("{}", "x".repeat(1000))
    });
    let err = long.call(&context(), json!({})).await.unwrap_err();
    assert_eq!((err.kind(), err.get("panic").unwrap().len()), (ErrorKind::Callback, 300));
    let answer = answer(later_panic, json!({})).await;
    assert_eq!(answer.content["error"], "callback");
    assert_eq!(answer.content["message"], "the tool panicked (tool: later_panic, panic: no stock)");
}

#[tokio::test]
async fn a_result_that_is_too_large_is_a_failure_that_says_so() {
    let huge = |size: usize| {
        FunctionTool::new(spec("huge"), move |_ctx, _arguments| {
            std::future::ready(Ok(Value::from("x".repeat(size - 2))))
        })
    };
    let limit = DispatchConfig::default().max_result_bytes;
    assert!(!answer(huge(limit), json!({})).await.is_error);
    let over = answer(huge(limit + 1), json!({})).await;
    assert!(over.is_error);
    assert_eq!(over.content["error"], "limit_exceeded");
    assert!(over.content["message"].as_str().unwrap().contains("larger than 262144 bytes"));
}

#[tokio::test]
async fn a_tool_that_is_too_slow_is_a_failure_and_the_run_goes_on() {
    let slow = |effects| {
        FunctionTool::new(spec("slow"), async |_ctx, _arguments| pending().await)
            .with_timeout(Duration::from_secs(2))
            .with_effects(effects)
    };
    let ctx = context().with_timeout(Duration::from_secs(60));
    let answer = answer_in(&ctx, slow(Effects::Read), json!({})).await.unwrap();
    assert_eq!(answer.content, json!({"error": "timeout", "message": "the tool gave no answer within 2 s"}));
    let answer = answer_in(&ctx, slow(Effects::Write), json!({})).await.unwrap();
    assert!(answer.content["message"].as_str().unwrap().ends_with("it may have taken effect all the same"));
}

#[tokio::test]
async fn the_deadline_of_the_run_ends_it() {
    let slow = FunctionTool::new(spec("slow"), async |_ctx, _arguments| pending().await);
    let ctx = context().with_timeout(Duration::from_secs(5));
    assert_eq!(answer_in(&ctx, slow, json!({})).await.unwrap_err().kind(), ErrorKind::Timeout);
    // Now the time is over, and a tool that would answer at once is not even started.
    let broken = failing(|| Error::new(ErrorKind::Internal, "test.call", "was called"));
    assert_eq!(answer_in(&ctx, broken, json!({})).await.unwrap_err().kind(), ErrorKind::Timeout);
}

#[tokio::test]
async fn cancellation_ends_the_run() {
    let stops = FunctionTool::new(spec("stops"), async |ctx: Context, _arguments| {
        ctx.cancel().cancel();
        pending().await
    });
    let ctx = context();
    let err = answer_in(&ctx, stops, json!({})).await.unwrap_err();
    assert_eq!((err.kind(), err.operation()), (ErrorKind::Cancelled, "tool.call"));
    let broken = failing(|| Error::new(ErrorKind::Internal, "test.call", "was called"));
    assert_eq!(answer_in(&ctx, broken, json!({})).await.unwrap_err().kind(), ErrorKind::Cancelled);
}

#[tokio::test]
async fn each_call_gets_a_key_that_stays_the_same_and_is_its_own() {
    let tools = registry([FunctionTool::new(spec("key"), async |ctx: Context, _arguments| {
        Ok(json!([ctx.idempotency_key(), ctx.deadline().unwrap().as_micros()]))
    })]);
    let keys = async |ctx: Context| {
        let calls = [call("key", json!({})), call("key", json!({}))];
        let answers = dispatch_all(&ctx, &tools, &calls, &DispatchConfig::default()).await.unwrap();
        answers.into_iter().map(|answer| answer.content[0].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let ctx = context();
    let run = ctx.run_id();
    assert_eq!(keys(ctx.clone()).await, [format!("{run}/tool/c1"), format!("{run}/tool/c1#2")]);
    assert_eq!(keys(ctx.child("turn")).await[0], format!("{run}/turn/tool/c1"));
    assert_eq!(keys(ctx.with_idempotency_key("step-7")).await[0], "step-7/tool/c1");
}

#[tokio::test]
async fn no_call_starts_while_an_answer_is_held() {
    let started = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&started);
    let tools = registry([FunctionTool::new(spec("write"), move |_ctx, _arguments| {
        let count = seen.fetch_add(1, Ordering::SeqCst) + 1;
        std::future::ready(Ok(json!(count)))
    })
    .with_effects(Effects::Write)]);
    let (ctx, config) = (context(), DispatchConfig::default());
    let calls = vec![call("write", json!({})); 3];
    let mut answers = std::pin::pin!(dispatch_stream(&ctx, &tools, &calls, &config));
    for expected in 1..=3 {
        let (index, _) = answers.next().await.unwrap().unwrap();
        assert_eq!((index + 1, started.load(Ordering::SeqCst)), (expected, expected));
    }
    assert!(answers.next().await.is_none());
}

/// What ran together in a test of order.
#[derive(Default)]
struct Watch {
    running: Mutex<Vec<Effects>>,
    most: AtomicUsize,
    broken: AtomicUsize,
}

impl Watch {
    fn enter(&self, effects: Effects) {
        let mut running = self.running.lock().unwrap();
        running.push(effects);
        self.most.fetch_max(running.len(), Ordering::SeqCst);
        if running.len() > 1 && running.iter().any(|effects| *effects != Effects::Read) {
            self.broken.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn leave(&self, effects: Effects) {
        let mut running = self.running.lock().unwrap();
        let at = running.iter().position(|one| *one == effects).unwrap();
        running.remove(at);
    }
}

fn watched(watch: &Arc<Watch>, name: &str, effects: Effects) -> FunctionTool {
    let watch = Arc::clone(watch);
    FunctionTool::new(spec(name), move |_ctx, arguments| {
        let watch = Arc::clone(&watch);
        async move {
            watch.enter(effects);
            for _ in 0..arguments["steps"].as_u64().unwrap_or(0) {
                tokio::task::yield_now().await;
            }
            watch.leave(effects);
            Ok(arguments)
        }
    })
    .with_effects(effects)
}

proptest! {
    #[test]
    fn answers_keep_the_order_of_the_calls_and_only_reads_overlap(
        plan in proptest::collection::vec(
            (prop_oneof![Just("read"), Just("read"), Just("write"), Just("external"), Just("gone")], 0_u64..5),
            0..20,
        ),
        max_parallel in 0_usize..5,
        same_ids in any::<bool>(),
    ) {
        let watch = Arc::new(Watch::default());
        let tools = registry([
            watched(&watch, "read", Effects::Read),
            watched(&watch, "write", Effects::Write),
            watched(&watch, "external", Effects::External),
        ]);
        let calls: Vec<ToolCall> = plan.iter().enumerate().map(|(index, (name, steps))| ToolCall {
            id: if same_ids { "same".into() } else { index.to_string() },
            name: (*name).to_owned(),
            arguments: json!({"steps": steps, "index": index}),
        }).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let config = DispatchConfig::default().with_max_parallel(max_parallel);
        let answers = runtime.block_on(async { dispatch_all(&context(), &tools, &calls, &config).await }).unwrap();
        prop_assert_eq!(answers.len(), calls.len());
        for (answer, call) in answers.iter().zip(&calls) {
            prop_assert_eq!((&answer.id, &answer.name), (&call.id, &call.name));
            prop_assert_eq!(answer.is_error, call.name == "gone");
            prop_assert!(answer.is_error || answer.content == call.arguments);
        }
        prop_assert_eq!(watch.broken.load(Ordering::SeqCst), 0);
        prop_assert!(watch.most.load(Ordering::SeqCst) <= max_parallel.max(1));
    }
}

/// Adds a share to an amount.
#[tool]
async fn add_share(net: f64, #[arg(default = 0.18)] rate: f64) -> Result<f64> {
    Ok(net * (1.0 + rate))
}

/// Panics after its first await.
#[tool]
async fn later_panic() -> Result<()> {
    tokio::task::yield_now().await;
    panic!("no stock")
}

type Answer<T> = Result<T>;

/// Names a price list and says who asked.
#[tool(name = "price-list", effects = "external", timeout_seconds = 5, cost = "0.25 INR")]
pub(crate) fn prices(
    ctx: &Context,
    #[arg(default = "INR")] currency: String,
    /// How many
    /// at most.
    r#limit: Option<u8>,
    #[arg(default)] mut tags: Vec<String>,
) -> Answer<Value> {
    tags.sort();
    Ok(json!([ctx.principal(), currency, limit, tags]))
}

#[tokio::test]
async fn a_function_under_the_attribute_is_a_tool() {
    assert_eq!(answer(add_share, json!({"net": 100})).await.content, json!(118.0));
    assert_eq!(answer(add_share, json!({"net": 100, "rate": 0})).await.content, json!(100.0));
    assert!((add_share::run(100.0, 0.5).await.unwrap() - 150.0).abs() < 1e-9);
    assert_eq!(answer(add_share, json!({"rate": 0})).await.content["error"], "invalid_input");
}

#[tokio::test]
async fn the_context_goes_to_a_function_that_asks_for_it() {
    let ctx = context().with_principal("asha");
    let all = json!({"currency": "USD", "limit": 3.0, "tags": ["b", "a"]});
    let answer = answer_in(&ctx, prices, all).await.unwrap();
    assert_eq!(answer.content, json!(["asha", "USD", 3, ["a", "b"]]));
    let answer = answer_in(&ctx, prices, json!(null)).await.unwrap();
    assert_eq!(answer.content, json!(["asha", "INR", null, []]));
    let answer = answer_in(&ctx, prices, json!({"limit": 300})).await.unwrap();
    assert_eq!(answer.content["problems"][0]["at"], "/limit");
}

#[derive(Debug)]
struct Shop<K> {
    sold: AtomicUsize,
    kind: K,
}

#[tool]
impl<K: std::fmt::Debug + Send + Sync + 'static> Shop<K> {
    /// Sells pieces and counts all that were sold.
    #[tool(effects = "write", timeout_seconds = 7)]
    async fn sell(&self, #[arg(description = "How many.", default = 1)] pieces: usize) -> Result<usize> {
        Ok(self.sold.fetch_add(pieces, Ordering::SeqCst) + pieces)
    }

    /// Says who asked whom.
    #[tool(name = "who", approval)]
    fn whom(self: Arc<Self>, ctx: &Context) -> String {
        format!("{} asked {:?}", ctx.principal().unwrap_or("nobody"), self.kind)
    }

    /// Refuses everything.
    #[tool]
    fn refuse(self: &Arc<Self>) -> Answer<()> {
        Err(Error::new(ErrorKind::Conflict, "shop.refuse", "closed").with("holders", Arc::strong_count(self)))
    }

    fn untold(&self) -> usize {
        self.sold.load(Ordering::SeqCst)
    }
}

#[tokio::test]
async fn tools_of_methods_share_what_they_are_methods_of() {
    let shop = Arc::new(Shop { sold: AtomicUsize::new(1), kind: 'a' });
    let [sell, whom, refuse] = Shop::tools(Arc::clone(&shop)).try_into().unwrap();
    assert_eq!(answer(sell, json!({"pieces": 2})).await.content, 3);
    assert_eq!(answer(Shop::sell_tool(Arc::clone(&shop)), json!({})).await.content, 4);
    assert_eq!((shop.untold(), shop.sell(1).await.unwrap()), (4, 5));
    assert_eq!(whom.call(&context().with_principal("asha"), json!({})).await.unwrap(), "asha asked 'a'");
    assert_eq!(answer(refuse, json!({})).await.content["error"], "conflict");
    // An owned value is shared by the tool that is made of it.
    let own = Shop::sell_tool(Shop { sold: AtomicUsize::new(0), kind: () });
    assert_eq!(own.call(&context(), json!({"pieces": 2.0})).await.unwrap(), 2);
    assert_eq!(own.clone().call(&context(), json!({})).await.unwrap(), 3);
}

#[test]
fn the_attribute_writes_the_spec_of_a_method() {
    let spec = Shop::sell_tool(Shop { sold: AtomicUsize::new(0), kind: () }).spec().clone();
    assert_eq!((spec.name.as_str(), spec.effects), ("sell", Effects::Write));
    assert_eq!(
        (spec.description.as_str(), spec.timeout.as_secs()),
        ("Sells pieces and counts all that were sold.", 7)
    );
    let property = &spec.parameters.as_value()["properties"]["pieces"];
    assert_eq!((&property["description"], &property["default"]), (&json!("How many."), &json!(1)));
    assert_eq!(spec.parameters.as_value()["properties"].as_object().unwrap().len(), 1);
    let whom = Shop::whom_tool(Shop { sold: AtomicUsize::new(0), kind: () });
    assert!(whom.spec().approval && whom.spec().name == "who");
}

#[test]
fn the_attribute_writes_the_spec() {
    let spec = prices.spec();
    assert_eq!((spec.name.as_str(), spec.effects), ("price-list", Effects::External));
    assert_eq!(spec.timeout, Duration::from_secs(5));
    assert_eq!(spec.cost.map(|cost| cost.to_string()).as_deref(), Some("0.250000 INR"));
    assert_eq!(spec.description, "Names a price list and says who asked.");
    assert_eq!(
        spec.parameters.as_value(),
        &json!({
            "type": "object",
            "properties": {
                "currency": {"type": "string", "default": "INR"},
                "limit": {
                    "description": "How many at most.", "type": ["integer", "null"],
                    "format": "uint8", "minimum": 0, "maximum": 255, "default": null,
                },
                "tags": {"type": "array", "items": {"type": "string"}, "default": []},
            },
            "additionalProperties": false,
        })
    );
    assert_eq!(later_panic.spec().parameters.as_value()["additionalProperties"], false);
}
