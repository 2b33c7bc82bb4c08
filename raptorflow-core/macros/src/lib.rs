//! The attribute macros of `raptorflow-core`; they expand to its public API only.

use proc_macro::TokenStream;

mod block;
mod expand;
mod parse;

/// Makes a function or a method, async or not, a tool that a model may call.
///
/// The function's name becomes a unit struct that implements `raptorflow_core::tool::Tool`, so it is handed on
/// as a value: `.tool(add_gst)`.
/// The body stays callable from Rust as `add_gst::run(…)`, for example from a test.
///
/// ```
/// use raptorflow_core::{Result, tool, tool::Tool};
///
/// #[tool]
/// /// Adds GST to a net amount in rupees.
/// ///
/// /// Only the first paragraph is told to the model.
/// async fn add_gst(
///     /// The net amount.
///     net: f64,
///     #[arg(description = "The rate as a share of one.", default = 0.18)] rate: f64,
/// ) -> Result<f64> {
///     Ok(net * (1.0 + rate))
/// }
///
/// let spec = add_gst.spec();
/// assert_eq!(spec.name, "add_gst");
/// assert_eq!(spec.description, "Adds GST to a net amount in rupees.");
/// let schema = spec.parameters.as_value();
/// assert_eq!(schema["required"][0], "net");
/// assert_eq!(schema["properties"]["net"]["description"], "The net amount.");
/// assert_eq!(schema["properties"]["rate"]["default"], 0.18);
/// ```
///
/// # The function
/// - Its doc comment is required; the first paragraph is the tool's description.
/// - Each argument is a plain name with an owned type that implements `serde::Deserialize` and
///   `schemars::JsonSchema`; other keys than the arguments are refused.
///   `Option<T>` is optional.
/// - A first parameter of type `&Context` gets the context of the call and is not part of the schema.
/// - It returns a `Result` whose value serializes and whose error converts into `raptorflow_core::Error`, or a
///   plain value that serializes.
/// - A function that is not async runs on the thread of the caller: it must not block.
///
/// # Methods
/// A method that takes `&self`, `self: &Arc<Self>` or `self: Arc<Self>` stays as it is, and gets a maker beside it:
/// `Shop::price_tool(shop)` is a `FunctionTool` of the method `price`, for a `Shop` or an `Arc<Shop>`.
/// The attribute above the `impl` block too adds `Shop::tools(shop)`, with a tool of each method that has it.
/// All of them share what they were made of, which lives as long as they do, and several calls may run at the same
/// time.
///
/// ```
/// use std::{collections::BTreeMap, sync::{Arc, Mutex}};
/// use raptorflow_core::{Agent, Result, runtime::Context, tool, tool::Tool};
///
/// #[derive(Default)]
/// struct Shop {
///     stock: Mutex<BTreeMap<String, u32>>,
/// }
///
/// #[tool]
/// impl Shop {
///     /// Counts what is in stock.
///     #[tool]
///     fn count(&self, /** The name of the article. */ article: String) -> u32 {
///         self.stock.lock().unwrap().get(&article).copied().unwrap_or_default()
///     }
///
///     /// Takes delivery of an article.
///     #[tool(effects = "write", name = "deliver")]
///     async fn take_delivery(&self, ctx: &Context, article: String, #[arg(default = 1)] pieces: u32) -> Result<u32> {
///         let mut stock = self.stock.lock().unwrap();
///         let count = stock.entry(article).or_default();
///         *count += pieces;
///         Ok(*count)
///     }
/// }
///
/// let shop = Arc::new(Shop::default());
/// let names: Vec<String> = Shop::tools(shop.clone()).iter().map(|tool| tool.spec().name.clone()).collect();
/// assert_eq!(names, ["count", "deliver"]);
/// Agent::builder("clerk").tools(Shop::tools(shop.clone())).build()?;
/// Agent::builder("reader").tool(Shop::count_tool(shop)).build()?;
/// # Ok::<(), raptorflow_core::Error>(())
/// ```
///
/// # Options
/// - `#[tool(name = "…")]`: another name than the function's.
/// - `#[tool(effects = "read" | "write" | "external")]`: what a call changes; `read` by default, and such calls
///   run in parallel.
/// - `#[tool(timeout_seconds = 10)]`: how long one call may take; 30 by default.
/// - `#[tool(approval)]`: a person must approve each call before it is carried out; the run waits for it.
/// - `#[tool(calls_per_minute = 30)]`: how often a tenant may call it; as often as it likes by default.
/// - `#[tool(cost = "0.01 USD")]`: what a call costs, in the run and in budgets; nothing by default.
/// - `#[tool(needs = ["mail.send"])]`: what an agent with a list of grants must have in it; the tool's name by default.
/// - `#[arg(description = "…")]`: what the argument means, instead of a doc comment.
/// - `#[arg(default = 0.18)]`: the value when the model leaves the argument out; `#[arg(default)]` takes that of
///   the type.
///
/// ```
/// use raptorflow_core::{Error, ErrorKind, runtime::Context, tool, tool::Tool, types::Effects};
///
/// struct Full;
/// impl From<Full> for Error {
///     fn from(_: Full) -> Self {
///         Error::new(ErrorKind::LimitExceeded, "notes.add", "the notebook is full")
///     }
/// }
///
/// /// Adds a note to the notebook.
/// #[tool(name = "add-note", effects = "write", timeout_seconds = 10)]
/// async fn add_note(ctx: &Context, text: String, tag: Option<String>) -> Result<String, Full> {
///     if text.len() > 100 { Err(Full) } else { Ok(format!("{}: {text} {tag:?}", ctx.run_id())) }
/// }
/// assert_eq!((add_note.spec().name.as_str(), add_note.spec().effects), ("add-note", Effects::Write));
///
/// /// Counts the words of a text.
/// #[tool]
/// fn count_words(text: String) -> usize {
///     text.split_whitespace().count()
/// }
/// assert_eq!(count_words::run("one two".to_owned()), 2);
/// ```
///
/// # Errors
/// A method that takes `&mut self` or `self`, generic parameters, a missing doc comment, an argument by reference, and
/// an argument that is a pattern are compile errors at their place.
///
/// ```compile_fail
/// #[raptorflow_core::tool]
/// async fn undocumented(net: f64) -> f64 { net }
/// ```
/// ```compile_fail
/// /// Borrows its argument.
/// #[raptorflow_core::tool]
/// async fn shout(text: &str) -> String { text.to_uppercase() }
/// ```
/// ```compile_fail
/// /// Echoes anything.
/// #[raptorflow_core::tool]
/// async fn echo<T>(value: T) -> T { value }
/// ```
/// ```compile_fail
/// /// Adds a pair.
/// #[raptorflow_core::tool]
/// async fn add((a, b): (f64, f64)) -> f64 { a + b }
/// ```
/// ```compile_fail
/// struct Shop;
/// impl Shop {
///     /// Names a price.
///     #[raptorflow_core::tool]
///     async fn price(&mut self, item: String) -> f64 { 0.0 }
/// }
/// ```
/// ```compile_fail
/// struct Shop;
/// #[raptorflow_core::tool]
/// impl Shop {
///     /// Names a price.
///     #[raptorflow_core::tool]
///     async fn price(item: String) -> f64 { 0.0 }
/// }
/// ```
/// ```compile_fail
/// struct Shop(std::cell::Cell<f64>);
/// impl Shop {
///     /// Names a price that calls cannot share.
///     #[raptorflow_core::tool]
///     async fn price(&self, item: String) -> f64 { self.0.get() }
/// }
/// ```
/// ```compile_fail
/// struct Opaque;
/// /// Fails with an error that does not convert.
/// #[raptorflow_core::tool]
/// async fn fail() -> Result<f64, Opaque> { Err(Opaque) }
/// ```
#[proc_macro_attribute]
pub fn tool(options: TokenStream, item: TokenStream) -> TokenStream {
    let (options, item) = (options.into(), item.into());
    let written = if block::is_block(&item) {
        block::block(&options, item)
    } else {
        parse::tool(options, item).map(|tool| expand::tool(&tool))
    };
    written.unwrap_or_else(syn::Error::into_compile_error).into()
}
