//! Policies of the memory as pure functions.

use std::time::Duration;

use super::{
    FLOOR, MemoryItem, MemoryKind, NewItem, Scope, decay,
    policy::{replaced, surplus, weight},
};
use crate::{
    runtime::{Context, Runtime},
    types::Timestamp,
};

fn item(ctx: &Context, id: &str, new: NewItem, day: u64) -> MemoryItem {
    let mut item = new.with_id(id).into_item(ctx, 100).unwrap();
    item.created = Timestamp::default().plus(Duration::from_secs(day * 86_400));
    item.accessed = item.created;
    item
}

#[tokio::test]
async fn what_was_replaced_goes_first_then_what_faded_and_pins_stay() {
    let ctx = Context::new(&Runtime::current().unwrap());
    let items = [
        item(&ctx, "pin", NewItem::note("a").pinned(), 0),
        item(&ctx, "old", NewItem::note("a"), 1),
        item(&ctx, "plan-1", NewItem::fact("plan", "a"), 5),
        item(&ctx, "plan-2", NewItem::fact("plan", "b"), 6),
        item(&ctx, "note", NewItem { subject: Some("plan".into()), ..NewItem::note("c") }, 4),
    ];
    assert_eq!(replaced(&items), [false, false, true, false, false]);
    let now = Timestamp::default().plus(Duration::from_secs(7 * 86_400));
    let going = |max| surplus(&items, max, now).into_iter().map(|item| &*item.id).collect::<Vec<_>>();
    assert_eq!(going(5), Vec::<&str>::new());
    assert_eq!(going(2), ["plan-1", "old", "note"]);
    assert_eq!(going(0), ["plan-1", "old", "note", "plan-2"]);
    assert!((weight(&items[0], now) - 1.0).abs() < f64::EPSILON);
    assert_eq!(items[4].kind, MemoryKind::Note);
}

#[test]
fn nothing_fades_below_the_floor_and_a_clock_that_goes_back_makes_nothing_fresher() {
    let then = Timestamp::default().plus(Duration::from_secs(86_400));
    assert!((decay(then, Timestamp::default()) - 1.0).abs() < f64::EPSILON);
    assert!((decay(then, Timestamp::from_micros(i64::MAX)) - FLOOR).abs() < f64::EPSILON);
}

#[test]
fn a_scope_survives_its_key_whatever_is_in_its_names() {
    for (user, thread) in [("a/b", "%2F"), ("asha@example.com", "%"), ("%25", "/")] {
        let scope = Scope::default().with_user(user).unwrap().with_thread(thread).unwrap();
        let key = format!("{}item/1", scope.prefix());
        assert_eq!(Scope::of_key(&key), Some((scope.clone(), "item/1")));
        assert!(key.starts_with(&Scope::default().with_user(user).unwrap().wide_prefix()));
    }
    assert_eq!(Scope::of_key("memory////item/1"), Some((Scope::default(), "item/1")));
    assert_eq!(Scope::of_key("rag/x"), None);
}
