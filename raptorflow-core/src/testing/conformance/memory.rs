//! Cases that every memory must pass.

use std::{fmt, sync::Arc, time::Duration};

use crate::{
    error::{ErrorKind, Result},
    memory::{Forget, Memory, MemoryBounds, MemoryItem, MemoryKind, NewItem, Recall, Recalled, Scope, Trust},
    runtime::Context,
    storage::Storage,
    testing::conformance::{Case, StorageSubject, Subject, case::cases},
};

const DAY: Duration = Duration::from_secs(86_400);
/// How many items a scope has in the cases.
const BOUND: usize = 6;

type Over = Arc<dyn Fn(Storage, MemoryBounds) -> Arc<dyn Memory> + Send + Sync>;

/// What the memory cases run over: a memory over the stores of a storage subject.
#[derive(Clone)]
pub struct MemorySubject {
    storage: StorageSubject,
    over: Over,
}

impl MemorySubject {
    /// A subject that makes a memory with these bounds over a store.
    pub fn new(
        storage: StorageSubject,
        over: impl Fn(Storage, MemoryBounds) -> Arc<dyn Memory> + Send + Sync + 'static,
    ) -> Self {
        Self { storage, over: Arc::new(over) }
    }

    /// A context whose time is the subject's, and a memory; called again one over the same data if that is durable.
    async fn open(&self) -> Result<(Context, Arc<dyn Memory>)> {
        let (ctx, storage) = self.storage.open().await?;
        let bounds = MemoryBounds { items: BOUND, ..MemoryBounds::default() };
        Ok((ctx, (self.over)(storage, bounds)))
    }
}

impl Subject for MemorySubject {
    fn offers(&self, need: &str) -> bool {
        need != "damage" && self.storage.offers(need)
    }
}

impl fmt::Debug for MemorySubject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemorySubject").field("storage", &self.storage).finish_non_exhaustive()
    }
}

/// Every case of `Memory`.
#[must_use]
pub fn memory_cases() -> Vec<Case<MemorySubject>> {
    cases![
        append_gives_the_items_as_they_are_kept_in_order,
        append_of_an_id_that_is_there_changes_nothing_and_gives_what_is_there,
        append_keeps_nothing_when_one_item_cannot_be_kept,
        recall_without_a_text_gives_the_freshest_first,
        recall_with_a_text_gives_what_bears_on_it_by_relevance_and_freshness,
        recall_gives_only_what_its_kinds_tags_times_and_trust_allow,
        recall_stays_within_its_limit_and_its_tokens,
        what_is_recalled_is_fresh_again_unless_the_recall_says_otherwise,
        of_several_items_of_one_subject_only_the_newest_is_recalled_unless_the_recall_wants_history,
        a_pinned_item_is_recalled_whatever_the_text_and_does_not_fade,
        above_its_bound_a_scope_loses_what_was_replaced_then_what_has_faded_most_and_pinned_items_stay,
        list_gives_items_by_id_in_byte_order_after_an_id_up_to_a_limit,
        forget_removes_what_it_names_and_says_how_many,
        erase_removes_its_scope_and_every_scope_that_it_covers,
        items_of_one_scope_and_of_one_tenant_are_invisible_in_another,
        what_is_kept_is_recalled_after_the_store_is_opened_again: "durable",
        what_another_handle_appends_and_forgets_is_seen: "durable": "shared",
    ]
}

fn texts(found: &[Recalled]) -> Vec<&str> {
    found.iter().map(|recalled| recalled.item.text.as_str()).collect()
}

fn ids(items: &[MemoryItem]) -> Vec<&str> {
    items.iter().map(|item| item.id.as_str()).collect()
}

/// Whether the weight is that of so many days.
fn faded(recalled: &Recalled, days: i32) -> bool {
    (recalled.weight - 0.99_f64.powi(days)).abs() < 1e-9
}

/// Fails unless a call was refused with `kind`.
#[track_caller]
fn assert_refused<T: fmt::Debug>(outcome: Result<T>, kind: ErrorKind) {
    let refused = outcome.map_err(|err| err.kind());
    assert!(matches!(&refused, Err(found) if *found == kind), "expected {kind}, got {refused:?}");
}

fn noted(id: &str, text: &str) -> NewItem {
    NewItem::note(text).with_id(id)
}

fn user(name: &str) -> Scope {
    Scope { user: Some(name.into()), ..Scope::default() }
}

fn everything() -> Recall {
    Recall::default().limit(99).without_refresh()
}

async fn append_gives_the_items_as_they_are_kept_in_order(subject: MemorySubject) -> Result<()> {
    let (ctx, memory) = subject.open().await?;
    let new = NewItem::fact("plan", "On the basic plan.").with_value(7).tagged("sales").trusted();
    let kept = memory.append(&ctx, &user("asha"), vec![new, NewItem::note("Likes mangoes.")]).await?;
    assert_eq!(kept.len(), 2);
    for plan in kept.iter().take(1) {
        assert_eq!(
            (plan.text.as_str(), plan.kind, &plan.value),
            ("On the basic plan.", MemoryKind::Fact, &7.into())
        );
        assert_eq!((plan.trust, plan.created, plan.accessed), (Trust::Trusted, ctx.now(), ctx.now()));
    }
    assert_ne!(kept.first().map(|item| &item.id), kept.get(1).map(|item| &item.id));
    assert!(memory.append(&ctx, &user("asha"), Vec::new()).await?.is_empty());
    let mut listed = memory.list(&ctx, &user("asha"), None, 9).await?;
    listed.sort_by_key(|item| item.kind != MemoryKind::Fact);
    assert_eq!(listed, kept);
    Ok(())
}

async fn append_of_an_id_that_is_there_changes_nothing_and_gives_what_is_there(
    subject: MemorySubject,
) -> Result<()> {
    let (ctx, memory) = subject.open().await?;
    let first = memory.append(&ctx, &user("asha"), vec![noted("run-1", "first")]).await?;
    subject.storage.clock.advance(DAY);
    let again = memory.append(&ctx, &user("asha"), vec![noted("run-1", "second"), noted("x", "x")]).await?;
    assert_eq!(again.first(), first.first());
    assert_eq!(ids(&memory.list(&ctx, &user("asha"), None, 9).await?), ["run-1", "x"]);
    Ok(())
}

async fn append_keeps_nothing_when_one_item_cannot_be_kept(subject: MemorySubject) -> Result<()> {
    let (ctx, memory) = subject.open().await?;
    let long = "x".repeat(MemoryBounds::default().text_bytes + 1);
    for bad in [NewItem::note(" "), NewItem::note(long), noted("a/b", "text"), noted("", "text")] {
        assert_refused(
            memory.append(&ctx, &user("asha"), vec![noted("good", "good"), bad]).await,
            ErrorKind::InvalidInput,
        );
    }
    assert_refused(
        memory.append(&ctx, &user(""), vec![noted("good", "good")]).await,
        ErrorKind::InvalidInput,
    );
    let pins = (0..=BOUND).map(|number| noted(&number.to_string(), "pin").pinned()).collect();
    assert_refused(memory.append(&ctx, &user("asha"), pins).await, ErrorKind::LimitExceeded);
    assert!(memory.list(&ctx, &user("asha"), None, 9).await?.is_empty());
    Ok(())
}

async fn recall_without_a_text_gives_the_freshest_first(subject: MemorySubject) -> Result<()> {
    let (ctx, memory) = subject.open().await?;
    for text in ["old", "newer", "newest"] {
        memory.append(&ctx, &user("asha"), vec![NewItem::note(text)]).await?;
        subject.storage.clock.advance(DAY);
    }
    let found = memory.recall(&ctx, &user("asha"), &everything()).await?;
    assert_eq!(texts(&found), ["newest", "newer", "old"]);
    let weights: Vec<i32> =
        (1..).zip(&found).filter(|(days, it)| faded(it, *days)).map(|(days, _)| days).collect();
    assert_eq!(weights, [1, 2, 3]);
    Ok(())
}

async fn recall_with_a_text_gives_what_bears_on_it_by_relevance_and_freshness(
    subject: MemorySubject,
) -> Result<()> {
    let (ctx, memory) = subject.open().await?;
    let items = ["The invoice of March was paid late.", "Mangoes are in season.", "An invoice is overdue."];
    memory.append(&ctx, &user("asha"), items.map(NewItem::note).to_vec()).await?;
    let found =
        memory.recall(&ctx, &user("asha"), &Recall::text("overdue invoice").without_refresh()).await?;
    assert_eq!(texts(&found), ["An invoice is overdue.", "The invoice of March was paid late."]);
    assert!(found.is_sorted_by(|left, right| left.relevance > right.relevance && left.relevance <= 1.0));
    // Two of one text: the one that faded comes second.
    subject.storage.clock.advance(DAY * 100);
    memory.append(&ctx, &user("asha"), vec![noted("fresh", "An invoice is overdue.")]).await?;
    let found = memory.recall(&ctx, &user("asha"), &Recall::text("overdue invoice")).await?;
    assert_eq!(found.first().map(|it| it.item.id.as_str()), Some("fresh"));
    assert_eq!(texts(&found).get(1), Some(&"An invoice is overdue."));
    let none = memory.recall(&ctx, &user("asha"), &Recall::text("zebra")).await?;
    assert_eq!(texts(&none), Vec::<&str>::new());
    Ok(())
}

async fn recall_gives_only_what_its_kinds_tags_times_and_trust_allow(subject: MemorySubject) -> Result<()> {
    let (ctx, memory) = subject.open().await?;
    let start = ctx.now();
    memory.append(&ctx, &user("asha"), vec![NewItem::note("note").tagged("a").tagged("b")]).await?;
    subject.storage.clock.advance(DAY);
    memory.append(&ctx, &user("asha"), vec![NewItem::fact("f", "fact").tagged("a").trusted()]).await?;
    subject.storage.clock.advance(DAY);
    memory.append(&ctx, &user("asha"), vec![NewItem::new(MemoryKind::Episode, "episode")]).await?;
    let wants = [
        (everything().of(MemoryKind::Note).of(MemoryKind::Fact), vec!["fact", "note"]),
        (everything().tagged("a"), vec!["fact", "note"]),
        (everything().tagged("a").tagged("b"), vec!["note"]),
        (Recall { since: Some(start.plus(DAY)), ..everything() }, vec!["episode", "fact"]),
        (Recall { until: Some(start.plus(DAY)), ..everything() }, vec!["note"]),
        (Recall { trust: Trust::Trusted, ..everything() }, vec!["fact"]),
    ];
    for (recall, expected) in wants {
        assert_eq!(texts(&memory.recall(&ctx, &user("asha"), &recall).await?), expected, "{recall:?}");
    }
    Ok(())
}

async fn recall_stays_within_its_limit_and_its_tokens(subject: MemorySubject) -> Result<()> {
    let (ctx, memory) = subject.open().await?;
    for text in ["abcd", "abcdefgh", "abcdefghijkl", "x"] {
        memory.append(&ctx, &user("asha"), vec![NewItem::note(text)]).await?;
        subject.storage.clock.advance(DAY);
    }
    let check = async |recall: Recall, expected: &[&str]| {
        let found = memory.recall(&ctx, &user("asha"), &recall.without_refresh()).await?;
        assert_eq!(texts(&found), expected);
        Result::Ok(())
    };
    check(Recall::default().limit(2), &["x", "abcdefghijkl"]).await?;
    check(Recall::default().limit(0), &[]).await?;
    // One of the longest does not fit beside the first; a shorter one does.
    check(Recall::default().within(3), &["x", "abcdefgh"]).await?;
    check(Recall::default().within(0), &[]).await
}

async fn what_is_recalled_is_fresh_again_unless_the_recall_says_otherwise(
    subject: MemorySubject,
) -> Result<()> {
    let (ctx, memory) = subject.open().await?;
    memory.append(&ctx, &user("asha"), vec![noted("used", "used"), noted("unused", "unused")]).await?;
    subject.storage.clock.advance(DAY * 10);
    let first = memory.recall(&ctx, &user("asha"), &everything()).await?;
    assert!(first.iter().all(|recalled| faded(recalled, 10)));
    let used = memory.recall(&ctx, &user("asha"), &Recall::text("used")).await?;
    let used: Vec<(&str, u64)> = used.iter().map(|it| (it.item.id.as_str(), it.item.accesses)).collect();
    assert_eq!(used, [("used", 0)]);
    for recalled in memory.recall(&ctx, &user("asha"), &everything()).await? {
        let fresh = recalled.item.id == "used";
        assert_eq!((recalled.item.accesses, recalled.item.accessed == ctx.now()), (fresh.into(), fresh));
        assert_eq!(recalled.weight > 0.99, fresh);
    }
    Ok(())
}

async fn of_several_items_of_one_subject_only_the_newest_is_recalled_unless_the_recall_wants_history(
    subject: MemorySubject,
) -> Result<()> {
    let (ctx, memory) = subject.open().await?;
    for plan in ["basic", "team", "large"] {
        memory
            .append(&ctx, &user("asha"), vec![NewItem::fact("plan", format!("The plan is {plan}."))])
            .await?;
        subject.storage.clock.advance(DAY);
    }
    // Another kind, and another subject, are not replaced by it.
    let others =
        vec![NewItem::fact("city", "The plan is made in Pune."), NewItem::note("A plan of the house.")];
    memory.append(&ctx, &user("asha"), others).await?;
    let now = memory.recall(&ctx, &user("asha"), &Recall::text("plan").without_refresh()).await?;
    assert_eq!(now.len(), 3);
    assert!(!texts(&now).contains(&"The plan is team.") && texts(&now).contains(&"The plan is large."));
    let all = memory.recall(&ctx, &user("asha"), &Recall::text("plan").with_history()).await?;
    assert_eq!(all.len(), 5);
    // Without the newest the one before it counts again.
    let newest = all.iter().filter(|recalled| recalled.item.text.contains("large"));
    let newest = Forget::ids(newest.map(|recalled| recalled.item.id.clone()));
    assert_eq!(memory.forget(&ctx, &user("asha"), &newest).await?, 1);
    let now = memory.recall(&ctx, &user("asha"), &Recall::text("plan")).await?;
    assert!(texts(&now).contains(&"The plan is team."));
    Ok(())
}

async fn a_pinned_item_is_recalled_whatever_the_text_and_does_not_fade(subject: MemorySubject) -> Result<()> {
    let (ctx, memory) = subject.open().await?;
    let items = vec![NewItem::note("Call her Asha.").pinned(), NewItem::note("The invoice is paid.")];
    memory.append(&ctx, &user("asha"), items).await?;
    subject.storage.clock.advance(DAY * 50);
    let found = memory.recall(&ctx, &user("asha"), &Recall::text("invoice")).await?;
    assert_eq!(texts(&found), ["Call her Asha.", "The invoice is paid."]);
    let unfaded: Vec<bool> = found.iter().map(|recalled| faded(recalled, 0)).collect();
    assert_eq!(unfaded, [true, false]);
    let found = memory.recall(&ctx, &user("asha"), &Recall::text("invoice").tagged("none")).await?;
    assert!(found.is_empty());
    Ok(())
}

async fn above_its_bound_a_scope_loses_what_was_replaced_then_what_has_faded_most_and_pinned_items_stay(
    subject: MemorySubject,
) -> Result<()> {
    let (ctx, memory) = subject.open().await?;
    let asha = user("asha");
    let append = async |id: &str, item: NewItem| {
        subject.storage.clock.advance(DAY);
        memory.append(&ctx, &asha, vec![item.with_id(id)]).await.map(drop)
    };
    let left = async || {
        let items = memory.list(&ctx, &asha, None, 99).await?;
        Result::Ok(items.into_iter().map(|item| item.id).collect::<Vec<_>>())
    };
    append("a", NewItem::note("pinned").pinned()).await?;
    append("b", NewItem::note("mango")).await?;
    append("c", NewItem::note("second")).await?;
    append("d", NewItem::fact("plan", "basic")).await?;
    append("e", NewItem::fact("plan", "team")).await?;
    append("f", NewItem::note("sixth")).await?;
    assert_eq!(left().await?, ["a", "b", "c", "d", "e", "f"]);
    memory.recall(&ctx, &asha, &Recall::text("mango").limit(2)).await?;
    append("g", NewItem::note("seventh")).await?;
    assert_eq!(left().await?, ["a", "b", "c", "e", "f", "g"]);
    append("h", NewItem::note("eighth")).await?;
    assert_eq!(left().await?, ["a", "b", "e", "f", "g", "h"]);
    Ok(())
}

async fn list_gives_items_by_id_in_byte_order_after_an_id_up_to_a_limit(
    subject: MemorySubject,
) -> Result<()> {
    let (ctx, memory) = subject.open().await?;
    let items = ["b", "é", "a", "B", "a b"].map(|id| noted(id, "text")).to_vec();
    memory.append(&ctx, &user("asha"), items).await?;
    let list = async |after: Option<&str>, limit| {
        let items = memory.list(&ctx, &user("asha"), after, limit).await?;
        Result::Ok(items.into_iter().map(|item| item.id).collect::<Vec<_>>())
    };
    assert_eq!(list(None, 99).await?, ["B", "a", "a b", "b", "é"]);
    assert_eq!(list(Some("a"), 2).await?, ["a b", "b"]);
    assert!(list(Some("é"), 2).await?.is_empty() && list(None, 0).await?.is_empty());
    Ok(())
}

async fn forget_removes_what_it_names_and_says_how_many(subject: MemorySubject) -> Result<()> {
    let (ctx, memory) = subject.open().await?;
    let asha = user("asha");
    let start = ctx.now();
    memory.append(&ctx, &asha, vec![noted("old", "apple pie")]).await?;
    subject.storage.clock.advance(DAY);
    let run = ctx.run_id();
    let mut of_run = noted("run", "apple tart");
    of_run.provenance.run = Some(run);
    let items = vec![
        of_run,
        noted("tag", "apple cake").tagged("t"),
        noted("id", "apple juice"),
        noted("last", "apple"),
    ];
    memory.append(&ctx, &asha, items).await?;
    assert_eq!(memory.recall(&ctx, &asha, &Recall::text("apple")).await?.len(), 5);
    assert_refused(memory.forget(&ctx, &asha, &Forget::default()).await, ErrorKind::InvalidInput);
    for (forget, expected) in [
        (Forget::ids(["id", "none"]), 1),
        (Forget::ids(["id"]), 0),
        (Forget::before(start.plus(DAY)), 1),
        (Forget::of_run(run), 1),
        (Forget { kinds: vec![MemoryKind::Fact], ..Forget::tagged("t") }, 0),
        (Forget::tagged("t"), 1),
    ] {
        assert_eq!(memory.forget(&ctx, &asha, &forget).await?, expected, "{forget:?}");
    }
    assert_eq!(ids(&memory.list(&ctx, &asha, None, 9).await?), ["last"]);
    assert_eq!(texts(&memory.recall(&ctx, &asha, &Recall::text("apple")).await?), ["apple"]);
    Ok(())
}

async fn erase_removes_its_scope_and_every_scope_that_it_covers(subject: MemorySubject) -> Result<()> {
    let (ctx, memory) = subject.open().await?;
    let thread = |name: &str| Scope { thread: Some("s".into()), ..user(name) };
    for scope in [user("asha"), thread("asha"), user("asha/x"), user("as"), Scope::default()] {
        memory.append(&ctx, &scope, vec![noted("1", "apple"), noted("2", "apple")]).await?;
        assert_eq!(memory.recall(&ctx, &scope, &Recall::text("apple")).await?.len(), 2);
    }
    assert_eq!(memory.erase(&ctx, &thread("asha")).await?, 2);
    assert_eq!(memory.erase(&ctx, &user("asha")).await?, 2);
    assert_eq!(memory.erase(&ctx, &user("asha")).await?, 0);
    for scope in [user("asha"), thread("asha")] {
        assert!(memory.recall(&ctx, &scope, &Recall::text("apple")).await?.is_empty());
    }
    assert_eq!(memory.list(&ctx, &user("as"), None, 9).await?.len(), 2);
    assert_eq!(memory.list(&ctx, &user("asha/x"), None, 9).await?.len(), 2);
    // The scope of the whole tenant covers everything.
    assert_eq!(memory.erase(&ctx, &Scope::default()).await?, 6);
    assert!(memory.list(&ctx, &user("asha/x"), None, 9).await?.is_empty());
    Ok(())
}

async fn items_of_one_scope_and_of_one_tenant_are_invisible_in_another(subject: MemorySubject) -> Result<()> {
    let (ctx, memory) = subject.open().await?;
    let other = ctx.with_tenant("other".parse()?);
    memory.append(&ctx, &user("asha"), vec![noted("1", "apple")]).await?;
    memory.append(&other, &user("asha"), vec![noted("1", "mango")]).await?;
    let thread = Scope { thread: Some("s".into()), ..user("asha") };
    for scope in [user("ash"), Scope::default(), thread] {
        assert!(memory.list(&ctx, &scope, None, 9).await?.is_empty());
        assert!(memory.recall(&ctx, &scope, &Recall::text("apple")).await?.is_empty());
    }
    for (ctx, text) in [(&ctx, "apple"), (&other, "mango")] {
        let found = memory.recall(ctx, &user("asha"), &Recall::text("apple mango")).await?;
        assert_eq!(texts(&found), [text]);
    }
    assert_eq!(memory.erase(&other, &Scope::default()).await?, 1);
    assert_eq!(texts(&memory.recall(&ctx, &user("asha"), &Recall::text("apple")).await?), ["apple"]);
    Ok(())
}

async fn what_is_kept_is_recalled_after_the_store_is_opened_again(subject: MemorySubject) -> Result<()> {
    let (ctx, memory) = subject.open().await?;
    let kept = memory.append(&ctx, &user("asha"), vec![NewItem::note("An apple a day.").tagged("t")]).await?;
    assert_eq!(memory.recall(&ctx, &user("asha"), &Recall::text("apple").without_refresh()).await?.len(), 1);
    drop(memory);
    let (ctx, memory) = subject.open().await?;
    let found = memory.recall(&ctx, &user("asha"), &Recall::text("apple")).await?;
    let found: Vec<MemoryItem> = found.into_iter().map(|recalled| recalled.item).collect();
    assert_eq!(found, kept);
    Ok(())
}

async fn what_another_handle_appends_and_forgets_is_seen(subject: MemorySubject) -> Result<()> {
    let (ctx, here) = subject.open().await?;
    let (_, there) = subject.open().await?;
    let asha = user("asha");
    here.append(&ctx, &asha, vec![noted("1", "apple pie")]).await?;
    assert_eq!(texts(&there.recall(&ctx, &asha, &Recall::text("apple")).await?), ["apple pie"]);
    there.append(&ctx, &asha, vec![noted("2", "apple tart")]).await?;
    assert_eq!(here.recall(&ctx, &asha, &Recall::text("apple")).await?.len(), 2);
    there.forget(&ctx, &asha, &Forget::ids(["1"])).await?;
    assert_eq!(texts(&here.recall(&ctx, &asha, &Recall::text("apple")).await?), ["apple tart"]);
    there.erase(&ctx, &asha).await?;
    assert!(here.recall(&ctx, &asha, &Recall::text("apple")).await?.is_empty());
    Ok(())
}
