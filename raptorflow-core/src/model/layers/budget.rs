//! `BudgetLayer`: reserves what a call may cost before it is made, and settles what it did cost.

use std::{
    pin::Pin,
    sync::Arc,
    task::{self, Poll, ready},
};

use async_trait::async_trait;
use futures_util::{Stream, StreamExt as _};

use super::tokens::{OUTPUT_TOKENS, request_tokens};
use crate::{
    economics::{Budgets, Estimate, PriceBook, Reservation, Workload, predict_high},
    error::{Error, ErrorKind, Result},
    model::{ChatModel, ChatRequest, ChatStream, Layer, Model, ModelInfo, PartialAnswer, Place, StreamPart},
    runtime::Context,
    types::{Money, Timestamp, Usage},
};

/// Reserves the high end of what a call may cost, makes it, and settles what it took.
///
/// The tokens of a request are estimated from its text, and those of the answer are its bound, or twice the expected
/// number.
/// A call that the budget does not allow is refused with `BudgetExceeded` before anything is sent, and one that the run
/// must be approved for says `approval` in its context.
///
/// A whole answer is settled with the usage that the model told.
/// An answer that breaks off, or whose reader goes away, is settled with the usage that was told until then.
/// Where none was told the reservation counts as it is, because nobody knows what the call took.
/// A call that fails before anything arrived is not paid, and its reservation is released; only when it ran out of time
/// or was cancelled it may have been paid, and counts.
///
/// The id of a reservation is the idempotency key of the call with the name of the model.
///
/// # Examples
/// ```
/// use raptorflow_core::economics::{BudgetConfig, Budgets, Cap, Caps, PriceBook};
/// use raptorflow_core::model::{BudgetLayer, ChatRequest, Layers, Model, OfflineModel};
/// use raptorflow_core::runtime::{Context, Runtime};
/// use raptorflow_core::{ErrorKind, storage::Storage, types::Message};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> raptorflow_core::Result<()> {
/// let runtime = Runtime::current()?;
/// let config = BudgetConfig { run: Caps::total(Cap::tokens(100)), ..BudgetConfig::default() };
/// let budgets = Budgets::new(Storage::memory(), runtime.clone(), config)?;
/// let layer = BudgetLayer::new(budgets, PriceBook::default());
/// let model = Layers::new().with(layer).wrap(Model::new(OfflineModel::default()));
/// let request = ChatRequest::new(vec![Message::user("What is a journal?")]);
/// let err = model.complete(&Context::new(&runtime), &request).await.unwrap_err();
/// assert_eq!((err.kind(), err.get("scope").is_some()), (ErrorKind::BudgetExceeded, true));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct BudgetLayer {
    budgets: Budgets,
    prices: Arc<PriceBook>,
    output_tokens: u64,
}

impl BudgetLayer {
    /// A layer over budgets and prices; an answer without a bound is expected to have 1,024 tokens.
    pub fn new(budgets: Budgets, prices: impl Into<Arc<PriceBook>>) -> Self {
        Self { budgets, prices: prices.into(), output_tokens: OUTPUT_TOKENS }
    }

    /// How many tokens an answer is expected to have when the request does not bound it.
    #[must_use]
    pub const fn with_output_tokens(mut self, tokens: u64) -> Self {
        self.output_tokens = tokens;
        self
    }

    fn estimate(&self, now: Timestamp, model: &Arc<str>, request: &ChatRequest) -> Estimate {
        let bound = request.max_output_tokens.map(u64::from);
        let work = Workload {
            input_tokens: request_tokens(request),
            output_tokens: bound.map_or(self.output_tokens, |bound| bound.min(self.output_tokens)),
            max_output_tokens: bound,
            ..Workload::default()
        };
        let high = predict_high(&self.prices, model, &work, now);
        Estimate { model: Arc::clone(model), money: high.money, tokens: high.usage.total_tokens() }
    }
}

impl Layer for BudgetLayer {
    fn place(&self) -> Place {
        Place::Budget
    }

    fn wrap(&self, inner: Model) -> Model {
        Model::new(Budgeted { layer: self.clone(), inner })
    }
}

#[derive(Debug)]
struct Budgeted {
    layer: BudgetLayer,
    inner: Model,
}

#[async_trait]
impl ChatModel for Budgeted {
    fn info(&self) -> &ModelInfo {
        self.inner.info()
    }

    async fn stream(&self, ctx: &Context, request: &ChatRequest) -> Result<ChatStream> {
        let model = &self.inner.info().name;
        let now = ctx.now();
        let estimate = self.layer.estimate(now, model, request);
        let id = ctx.idempotency_key().map(|key| format!("{key}/{model}"));
        let reservation =
            self.layer.budgets.reserve_as(ctx, now, id.as_deref(), estimate).await?.granted()?;
        let mut bill = Bill {
            ctx: ctx.clone(),
            prices: Arc::clone(&self.layer.prices),
            reservation: Some(reservation),
            model: Arc::clone(model),
            usage: None,
            begun: false,
        };
        match self.inner.stream(ctx, request).await {
            Ok(parts) => Ok(Box::pin(Counted { live: Some(Live { parts, bill }), ending: None })),
            // In a box, so that it takes no room in a call that succeeds.
            Err(err) => Err(Box::pin(bill.fail(err)).await),
        }
    }
}

/// The same parts; the bill is settled before the end is told.
struct Counted {
    /// `None` once the answer has ended, and while that is settled.
    live: Option<Live>,
    ending: Option<Ending>,
}

struct Live {
    parts: ChatStream,
    bill: Bill,
}

/// Settles what has to be waited for, and gives what is told then.
type Ending = Pin<Box<dyn Future<Output = (Option<Live>, Option<Result<StreamPart>>)> + Send>>;

impl Live {
    /// What a part tells about the bill.
    fn see(&mut self, part: &StreamPart) {
        let bill = &mut self.bill;
        bill.begun = true;
        match part {
            StreamPart::Usage { usage } => bill.usage = Some(*usage),
            // Somebody else answers than was asked, at a price of its own.
            StreamPart::Model { name } => bill.model = Arc::clone(name),
            _ => {}
        }
    }

    async fn end(mut self, end: Option<Result<StreamPart>>) -> (Option<Self>, Option<Result<StreamPart>>) {
        match end {
            Some(Ok(finish)) => match self.bill.settle().await {
                Ok(()) => (Some(self), Some(Ok(finish))),
                Err(err) => (None, Some(Err(err))),
            },
            Some(Err(err)) => (None, Some(Err(self.bill.fail(err).await))),
            // Without a `Finish`; who reads the answer knows that it was cut off.
            None => (None, self.bill.settle().await.err().map(Err)),
        }
    }
}

impl Stream for Counted {
    type Item = Result<StreamPart>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if this.ending.is_none() {
            let Some(live) = &mut this.live else { return Poll::Ready(None) };
            let end = match ready!(live.parts.poll_next_unpin(cx)) {
                Some(Ok(part)) => {
                    live.see(&part);
                    if !matches!(part, StreamPart::Finish { .. }) || live.bill.settle_at_once() {
                        return Poll::Ready(Some(Ok(part)));
                    }
                    Some(Ok(part))
                }
                // Mostly behind a `Finish`, whose bill is settled.
                None if live.bill.reservation.is_none() => {
                    this.live = None;
                    return Poll::Ready(None);
                }
                end => end,
            };
            this.ending = this.live.take().map(|live| Box::pin(live.end(end)) as Ending);
        }
        let Some(ending) = &mut this.ending else { return Poll::Ready(None) };
        let (live, told) = ready!(ending.as_mut().poll(cx));
        (this.live, this.ending) = (live, None);
        Poll::Ready(told)
    }
}

/// What a call is going to cost; settled when it is dropped before its end.
struct Bill {
    ctx: Context,
    prices: Arc<PriceBook>,
    reservation: Option<Reservation>,
    /// Who answers.
    model: Arc<str>,
    /// What the model told, if it did.
    usage: Option<Usage>,
    begun: bool,
}

impl Bill {
    /// Settles it where that needs no waiting; `false` when it does, or fails.
    fn settle_at_once(&mut self) -> bool {
        let Some(reservation) = &self.reservation else { return true };
        let now = self.ctx.now();
        let (usage, cost) = known(now, &self.prices, &self.model, self.usage);
        let settled = reservation.settle_at_once(now, &self.model, usage, cost);
        if settled {
            self.reservation = None;
        }
        settled
    }

    async fn settle(&mut self) -> Result<()> {
        let Some(reservation) = &self.reservation else { return Ok(()) };
        settle(&self.ctx, &self.prices, reservation, &self.model, self.usage).await?;
        // Afterwards, so that a future that is dropped meanwhile leaves it to be settled.
        self.reservation = None;
        Ok(())
    }

    /// Ends the bill of a call that failed, and gives the error of the call.
    async fn fail(&mut self, err: Error) -> Error {
        let arrived = err.cause::<PartialAnswer>();
        self.usage = self.usage.or(arrived.map(|partial| partial.usage));
        let may_be_paid = self.begun
            || arrived.is_some()
            || matches!(err.kind(), ErrorKind::Timeout | ErrorKind::Cancelled);
        let ended = match (&self.reservation, may_be_paid) {
            (Some(reservation), false) => reservation.release().await,
            _ => self.settle().await,
        };
        self.reservation = None;
        match ended {
            Ok(()) => err,
            // What the caller has to know is that the call failed; the reservation expires.
            Err(unsettled) => err.with("not settled", unsettled),
        }
    }
}

impl Drop for Bill {
    fn drop(&mut self) {
        let Some(reservation) = self.reservation.take() else { return };
        let (ctx, prices) = (self.ctx.clone(), Arc::clone(&self.prices));
        let (model, usage) = (Arc::clone(&self.model), self.usage);
        self.ctx.runtime().tasks().spawn("budget.settle", async move {
            if let Err(err) = settle(&ctx, &prices, &reservation, &model, usage).await {
                // Nobody is left to be told; the reservation expires.
                tracing::warn!(error = %err, "what a dropped call took was not settled");
            }
        });
    }
}

/// What is known of what a call took; a usage of nothing is one that the model did not tell.
fn known(
    now: Timestamp,
    prices: &PriceBook,
    model: &str,
    usage: Option<Usage>,
) -> (Option<Usage>, Option<Money>) {
    let usage = usage.filter(|usage| usage.total_tokens() > 0);
    (usage, usage.and_then(|usage| prices.cost(model, &usage, now)))
}

/// Settles what is known.
async fn settle(
    ctx: &Context,
    prices: &PriceBook,
    reservation: &Reservation,
    model: &Arc<str>,
    usage: Option<Usage>,
) -> Result<()> {
    let (usage, cost) = known(ctx.now(), prices, model, usage);
    reservation.settle_as(Some(Arc::clone(model)), usage, cost).await.map(drop)
}

#[cfg(test)]
#[cfg(feature = "testing")]
mod tests {
    use std::{sync::Arc, time::Duration};

    use futures_util::StreamExt as _;

    use super::*;
    use crate::{
        economics::{BudgetConfig, Cap, Caps, Price, Scope, Spending, text_tokens},
        model::Layers,
        runtime::{Runtime, Tasks},
        storage::Storage,
        testing::{ManualClock, Reply, ScriptedModel},
        types::{Currency, Message, Money, Timestamp},
    };

    struct Shop {
        ctx: Context,
        budgets: Budgets,
        model: Model,
        script: ScriptedModel,
    }

    /// A model behind a budget of 20,000 tokens a run, at one millionth for a token.
    fn shop(replies: impl IntoIterator<Item = Reply>) -> Shop {
        let runtime = Runtime::new(Arc::new(ManualClock::new()), Tasks::current().unwrap());
        let config = BudgetConfig { run: Caps::total(Cap::tokens(20_000)), ..BudgetConfig::default() };
        let budgets = Budgets::new(Storage::memory(), runtime.clone(), config).unwrap();
        let script = ScriptedModel::new(replies);
        let inner = Model::new(script.clone());
        let mut prices = PriceBook::empty();
        let valid_from = Timestamp::default();
        let price =
            Price { currency: Currency::USD, input: 1_000_000, output: 1_000_000, cached: 0, valid_from };
        prices.insert(inner.info().name.to_string(), price);
        let model = Layers::new().with(BudgetLayer::new(budgets.clone(), prices)).wrap(inner);
        Shop { ctx: Context::new(&runtime), budgets, model, script }
    }

    fn request() -> ChatRequest {
        ChatRequest::new(vec![Message::user("Where?")])
    }

    impl Shop {
        async fn spendings(&self) -> Vec<Spending> {
            self.budgets.spendings(&self.ctx, None, None).await.unwrap()
        }

        async fn reserved(&self) -> u64 {
            let run = Scope::Run(self.ctx.run_id());
            self.budgets.balance(&self.ctx, &run).await.unwrap().reserved.tokens
        }
    }

    #[tokio::test]
    async fn a_whole_answer_is_settled_with_the_usage_that_was_told_before_its_end() {
        let shop = shop([Reply::text("Here.").with_usage(Usage::new(40, 2))]);
        let ctx = shop.ctx.with_idempotency_key("run/1");
        let mut parts = shop.model.stream(&ctx, &request()).await.unwrap();
        assert!(shop.reserved().await > 2 * OUTPUT_TOKENS);
        while let Some(part) = parts.next().await {
            if matches!(part.unwrap(), StreamPart::Finish { .. }) {
                break;
            }
        }
        let spent = shop.spendings().await.pop().unwrap();
        assert_eq!((spent.usage, spent.cost), (Usage::new(40, 2), Some(Money::new(42, Currency::USD))));
        assert_eq!((&*spent.id, spent.estimated), (&*format!("run/1/{}", shop.model.info().name), false));
        assert_eq!(shop.reserved().await, 0);
    }

    #[tokio::test]
    async fn a_call_that_does_not_fit_is_refused_before_anything_is_sent() {
        let shop = shop([]);
        let mut large = request();
        large.max_output_tokens = Some(30_000);
        let err = shop.model.complete(&shop.ctx, &large).await.unwrap_err();
        assert_eq!((err.kind(), err.operation()), (ErrorKind::BudgetExceeded, "budget.reserve"));
        assert_eq!(shop.script.requests().len(), 0);
    }

    #[tokio::test]
    async fn what_fails_before_anything_arrived_is_released_unless_its_time_was_up() {
        for (kind, calls) in
            [(ErrorKind::RateLimited, 0), (ErrorKind::Unavailable, 0), (ErrorKind::Timeout, 1)]
        {
            let shop = shop([Reply::error(Error::new(kind, "test.call", "no"))]);
            let err = shop.model.complete(&shop.ctx, &request()).await.unwrap_err();
            assert_eq!(err.kind(), kind);
            assert_eq!((shop.spendings().await.len(), shop.reserved().await), (calls, 0), "{kind}");
        }
    }

    #[tokio::test]
    async fn an_answer_of_another_model_is_recorded_as_that_models() {
        let parts = [
            StreamPart::Model { name: "test:other".into() },
            StreamPart::text("Here."),
            StreamPart::Usage { usage: Usage::new(3, 1) },
            StreamPart::Finish { reason: crate::model::FinishReason::Stop },
        ];
        let shop = shop([Reply::parts(parts.into())]);
        shop.model.complete(&shop.ctx, &request()).await.unwrap();
        let spent = shop.spendings().await.pop().unwrap();
        assert_eq!((&*spent.model, spent.usage), ("test:other", Usage::new(3, 1)));
    }

    #[tokio::test]
    async fn an_answer_that_breaks_off_counts_what_is_known_or_what_was_expected() {
        for (reply, known) in [
            (Reply::text("Half an").with_usage(Usage::new(9, 1)).cut_after(2), true),
            (Reply::text("Half an").cut_after(1), false),
        ] {
            let shop = shop([reply]);
            shop.model.complete(&shop.ctx, &request()).await.unwrap_err();
            let spent = shop.spendings().await.pop().unwrap();
            assert_eq!(spent.estimated, !known);
            assert_eq!(spent.usage == Usage::new(9, 1), known);
            assert!(known || spent.usage.total_tokens() > 2 * OUTPUT_TOKENS, "{:?}", spent.usage);
        }
    }

    #[tokio::test]
    async fn an_answer_whose_reader_goes_away_is_settled_all_the_same() {
        let shop = shop([Reply::text("a long answer").in_pieces(1), Reply::hang()]);
        let mut parts = shop.model.stream(&shop.ctx, &request()).await.unwrap();
        parts.next().await.unwrap().unwrap();
        drop(parts);
        let request = request();
        let hanging = shop.model.complete(&shop.ctx, &request);
        assert!(tokio::time::timeout(Duration::ZERO, hanging).await.is_err());
        while shop.spendings().await.len() < 2 {
            tokio::task::yield_now().await;
        }
        assert!(shop.spendings().await.iter().all(|spent| spent.estimated));
    }

    #[test]
    fn the_tokens_of_a_request_are_those_of_its_json() {
        let request = ChatRequest::new(vec![Message::user("योजना \"A\" costs ₹499")]);
        assert_eq!(request_tokens(&request), text_tokens(&serde_json::to_string(&request).unwrap()));
    }
}
