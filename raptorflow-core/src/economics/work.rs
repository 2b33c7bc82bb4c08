//! What callers want of a ledger, decided together and appended at once.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::{
    economics::{
        Alert, Approval, BudgetConfig, Cap, Estimate, Payer, Scope, Spending, Window,
        account::{self, Held, Places, Sum},
        admit::{No, admit, due_alerts},
        books::Undo,
        fact::{Fact, Ticket},
        ledger::{ATTEMPTS, Appended, Ledger, Place, outrun},
        scope::Moment,
    },
    error::{Error, ErrorKind, Result},
    types::{Money, RunId, Timestamp, Usage},
};

/// One attempt to spend, shared by the reservation and what is under way for it.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) ticket: Ticket,
    pub(super) id: Arc<str>,
    pub(super) payer: Payer,
    pub(super) estimate: Estimate,
    status: Mutex<Status>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Status {
    Open,
    /// It was to be settled, and whether it is says the ledger.
    Doubtful(Place),
    Ended,
}

impl Attempt {
    pub(super) fn new(ticket: Ticket, id: Arc<str>, payer: Payer, estimate: Estimate) -> Self {
        Self { ticket, id, payer, estimate, status: Mutex::new(Status::Open) }
    }

    // A std mutex: no await happens while it is held.
    pub(super) fn status(&self) -> MutexGuard<'_, Status> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a call took, as far as it is known.
#[derive(Clone, Debug)]
pub(super) struct Actual {
    /// Who answered, where that was another model than was asked.
    pub(super) model: Option<Arc<str>>,
    pub(super) usage: Option<Usage>,
    pub(super) cost: Option<Money>,
}

/// What somebody wants.
#[derive(Clone, Debug)]
pub(super) enum Want {
    Reserve(Arc<Attempt>),
    Settle(Arc<Attempt>, Actual),
    Release(Arc<Attempt>),
    SetCap { scope: Scope, window: Window, cap: Cap },
    Approve { run: RunId, up_to: Money },
    Read(Scope),
}

/// What came of it.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    Reserved { expires: Timestamp },
    NeedsApproval(Approval),
    Done { alerts: Vec<Alert> },
    Standing(Box<Standing>),
}

/// How a scope stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Standing {
    pub(super) at: Timestamp,
    /// By window, in the order of [`Window::ALL`].
    pub(super) spent: [Sum; 3],
    pub(super) caps: [Cap; 3],
    pub(super) held: Held,
    pub(super) approved: Option<i64>,
}

#[derive(Debug)]
pub(super) struct Op {
    pub(super) want: Want,
    pub(super) reply: oneshot::Sender<Result<Answer>>,
}

/// How many changes a draft that is kept has room for, and how many facts.
const KEPT: usize = 64;

/// What was decided and is not recorded yet.
#[derive(Debug, Default)]
pub(super) struct Draft {
    undo: Undo,
    facts: Vec<Fact>,
    answers: Vec<Result<Answer>>,
    /// Attempts that end with this draft, so that nothing ends twice in it.
    ended: Vec<Ticket>,
    refused: bool,
}

impl Draft {
    /// Forgets all of it; what one want leaves is kept for the next, and no more than that.
    fn clear(&mut self) {
        let Self { undo, facts, answers, ended, refused } = self;
        undo.clear(KEPT);
        facts.clear();
        facts.shrink_to(KEPT);
        answers.clear();
        ended.clear();
        *refused = false;
    }
}

/// Decides one want, at a time of the day that was just read, and records what comes of it, where that needs no
/// waiting and nobody is to be told; `None` when it does, and then nothing has happened.
///
/// What is refused needs waiting: others may have released something, or raised the cap.
pub(super) fn at_once(
    ledger: &mut Ledger,
    config: &BudgetConfig,
    draft: &mut Draft,
    want: &Want,
    now: Timestamp,
) -> Option<Result<Answer>> {
    if matches!(want, Want::Read(_)) || is_doubtful(want) {
        return None;
    }
    let now = ledger.ready(now)?;
    ledger.books.advance(now.at, &mut draft.undo);
    let answer = decide(ledger, config, draft, want, now);
    let done = match draft.facts.as_slice() {
        // Such as a release of what has expired.
        [] => !draft.refused,
        [fact] => ledger.append_at_once(now.at, fact),
        // An alert, which is told in its order.
        _ => false,
    };
    if done {
        ended(want);
    } else {
        ledger.books.take_back(&mut draft.undo, 0);
    }
    draft.clear();
    done.then_some(answer)
}

/// Carries out what was queued together: one append for all of it.
pub(super) async fn carry_out(ledger: &mut Ledger, config: &BudgetConfig, ops: Vec<Op>) -> Vec<Alert> {
    // Whoever asked for a reservation and went away needs none.
    let ops: Vec<Op> =
        ops.into_iter().filter(|op| !(op.reply.is_closed() && matches!(op.want, Want::Reserve(_)))).collect();
    let answers = match decide_and_append(ledger, config, &ops).await {
        Ok(answers) => answers,
        Err(err) => ops.iter().map(|_| Err(err.clone())).collect(),
    };
    let mut alerts = Vec::new();
    for (op, answer) in ops.into_iter().zip(answers) {
        if let Ok(Answer::Done { alerts: due }) = &answer {
            alerts.extend_from_slice(due);
        }
        // A caller that went away learns nothing; what is recorded stays.
        drop(op.reply.send(answer));
    }
    ledger.summarize().await;
    alerts
}

async fn decide_and_append(
    ledger: &mut Ledger,
    config: &BudgetConfig,
    ops: &[Op],
) -> Result<Vec<Result<Answer>>> {
    ledger.load().await?;
    let reads = ops.iter().any(|op| matches!(op.want, Want::Read(_)));
    let mut fresh = reads || ops.iter().any(|op| is_doubtful(&op.want));
    if fresh {
        ledger.sync().await?;
    }
    for _ in 0..ATTEMPTS {
        // A sync that failed half-way leaves the ledger to be loaded again.
        ledger.load().await?;
        settle_doubts(ledger, ops).await?;
        let at = ledger.now();
        if ledger.turn(at).await? {
            continue;
        }
        let now = Moment::of(at);
        let mut draft = Draft::default();
        ledger.books.advance(at, &mut draft.undo);
        for op in ops {
            let answer = decide(ledger, config, &mut draft, &op.want, now);
            draft.answers.push(answer);
        }
        if draft.refused && !fresh {
            // Others may have released something, or raised the cap.
            ledger.books.take_back(&mut draft.undo, 0);
            ledger.sync().await?;
            fresh = true;
            continue;
        }
        if draft.facts.is_empty() {
            // Such as a release of what has expired.
            ops.iter().for_each(|op| ended(&op.want));
            return Ok(draft.answers);
        }
        match ledger.append(at, &draft.facts, &mut draft.undo).await {
            Appended::Written => {
                ops.iter().for_each(|op| ended(&op.want));
                return Ok(draft.answers);
            }
            Appended::Again => fresh = true,
            Appended::Failed(err, place) => {
                if let Some(place) = place {
                    ops.iter().for_each(|op| doubted(&op.want, &place));
                }
                return Err(err);
            }
        }
    }
    Err(outrun())
}

fn doubt(want: &Want) -> Option<(&Arc<Attempt>, Place)> {
    let Want::Settle(attempt, _) = want else { return None };
    match &*attempt.status() {
        Status::Doubtful(place) => Some((attempt, place.clone())),
        _ => None,
    }
}

fn is_doubtful(want: &Want) -> bool {
    matches!(want, Want::Settle(attempt, _) if matches!(*attempt.status(), Status::Doubtful(_)))
}

/// Looks whether what was to be settled before is settled.
async fn settle_doubts(ledger: &Ledger, ops: &[Op]) -> Result<()> {
    for op in ops {
        if let Some((attempt, place)) = doubt(&op.want)
            && ledger.settled_since(&place, attempt.ticket).await?
        {
            *attempt.status() = Status::Ended;
        }
    }
    Ok(())
}

fn ended(want: &Want) {
    if let Want::Settle(attempt, _) | Want::Release(attempt) = want {
        *attempt.status() = Status::Ended;
    }
}

fn doubted(want: &Want, place: &Place) {
    if let Want::Settle(attempt, _) = want {
        let mut status = attempt.status();
        // The first place stays: everything since then is looked at.
        if *status == Status::Open {
            *status = Status::Doubtful(place.clone());
        }
    }
}

fn decide(
    ledger: &mut Ledger,
    config: &BudgetConfig,
    draft: &mut Draft,
    want: &Want,
    now: Moment,
) -> Result<Answer> {
    match want {
        Want::Reserve(attempt) => reserve(ledger, config, draft, attempt, now),
        Want::Settle(attempt, actual) => {
            if !end(draft, attempt) {
                return Ok(Answer::Done { alerts: Vec::new() });
            }
            let spending = spending(attempt, actual.clone(), now.at);
            let fact = Fact::Settled { ticket: attempt.ticket, spending };
            let places = record(ledger, draft, now, fact, None);
            Ok(Answer::Done { alerts: alert(ledger, config, draft, &places, now) })
        }
        Want::Release(attempt) => {
            if end(draft, attempt) && ledger.books.is_open(attempt.ticket) {
                record(ledger, draft, now, Fact::Released { ticket: attempt.ticket }, None);
            }
            Ok(Answer::Done { alerts: Vec::new() })
        }
        Want::SetCap { scope, window, cap } => {
            let [total, day, month] = ledger.books.standing(scope, now.periods).windows.map(|it| it.told);
            let before = match window {
                Window::Total => total,
                Window::Day => day,
                Window::Month => month,
            };
            let fact = Fact::CapSet { scope: scope.clone(), window: *window, cap: *cap };
            record(ledger, draft, now, fact, None);
            let place = ledger.books.place(scope);
            let mut alerts = alert(ledger, config, draft, &place, now);
            // What was told of the old cap is not told again of the new one.
            alerts.retain(|alert| alert.percent > before);
            Ok(Answer::Done { alerts })
        }
        Want::Approve { run, up_to } => {
            record(ledger, draft, now, Fact::Approved { run: *run, up_to: *up_to }, None);
            Ok(Answer::Done { alerts: Vec::new() })
        }
        Want::Read(scope) => Ok(Answer::Standing(Box::new(standing(ledger, config, scope, now)))),
    }
}

fn reserve(
    ledger: &mut Ledger,
    config: &BudgetConfig,
    draft: &mut Draft,
    attempt: &Attempt,
    now: Moment,
) -> Result<Answer> {
    if let Some(known) = ledger.books.currency()
        && known != config.currency
    {
        let message = "the ledger is kept in another currency than the budget";
        return Err(Error::new(ErrorKind::InvalidInput, "budget.reserve", message)
            .with("expected", known)
            .with("value", config.currency));
    }
    let expires = now.at.plus(config.hold);
    // The reservation of the same id makes room for this one, unless this one is refused.
    let mark = draft.undo.mark();
    ledger.books.withdraw(&attempt.id, &mut draft.undo);
    let places = ledger.books.places(&attempt.payer, &mut draft.undo);
    match admit(config, &ledger.books, &places, &attempt.estimate, now.periods) {
        Ok(()) => {
            let fact = Fact::Reserved {
                ticket: attempt.ticket,
                id: Arc::clone(&attempt.id),
                payer: attempt.payer.clone(),
                model: Arc::clone(&attempt.estimate.model),
                amount: attempt.estimate.money,
                tokens: attempt.estimate.tokens,
                expires,
            };
            record(ledger, draft, now, fact, Some(places));
            Ok(Answer::Reserved { expires })
        }
        Err(no) => {
            ledger.books.take_back(&mut draft.undo, mark);
            draft.refused = true;
            match no {
                No::Refused(err) => Err(err),
                No::NeedsApproval(approval) => Ok(Answer::NeedsApproval(approval)),
            }
        }
    }
}

/// Whether an attempt is still to be ended, which happens once.
fn end(draft: &mut Draft, attempt: &Attempt) -> bool {
    let open = *attempt.status() != Status::Ended && !draft.ended.contains(&attempt.ticket);
    if open {
        draft.ended.push(attempt.ticket);
    }
    open
}

/// What is recorded of a call: what is not known is what was expected, and never zero.
fn spending(attempt: &Attempt, actual: Actual, at: Timestamp) -> Spending {
    let Estimate { model, money, tokens } = &attempt.estimate;
    Spending {
        at,
        id: Arc::clone(&attempt.id),
        payer: attempt.payer.clone(),
        model: actual.model.unwrap_or_else(|| Arc::clone(model)),
        usage: actual.usage.unwrap_or(Usage::new(*tokens, 0)),
        cost: actual.cost.or(*money),
        estimated: actual.usage.is_none() || (actual.cost.is_none() && money.is_some()),
    }
}

/// Applies a fact to the books and notes that it is to be recorded; gives the accounts of its payer.
fn record(ledger: &mut Ledger, draft: &mut Draft, now: Moment, fact: Fact, known: Option<Places>) -> Places {
    let places = ledger.books.apply_in(known, now, &fact, &mut draft.undo);
    draft.facts.push(fact);
    places
}

fn alert(
    ledger: &mut Ledger,
    config: &BudgetConfig,
    draft: &mut Draft,
    places: &Places,
    now: Moment,
) -> Vec<Alert> {
    let alerts = due_alerts(config, &ledger.books, places, now.periods);
    for alert in &alerts {
        let fact = Fact::Alerted { scope: alert.scope.clone(), window: alert.window, percent: alert.percent };
        record(ledger, draft, now, fact, None);
    }
    alerts
}

fn standing(ledger: &Ledger, config: &BudgetConfig, scope: &Scope, now: Moment) -> Standing {
    let account::Standing { windows, held, approved } = ledger.books.standing(scope, now.periods);
    Standing {
        at: now.at,
        spent: windows.map(|total| total.spent),
        caps: windows.map(|total| total.cap.unwrap_or_else(|| config.cap(scope, total.window))),
        held,
        approved,
    }
}
