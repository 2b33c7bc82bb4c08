//! What the graph promises over any sequence of changes, and its answers on small graphs.

use std::collections::BTreeMap;

use proptest::prelude::{ProptestConfig, Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest};

use crate::rag::{
    graph::{Entity, Facts, KnowledgeGraph, Passage, Propagated, Relation, Seed, Source, Triple, Walk},
    vector::Scored,
};

fn put(graph: &mut KnowledgeGraph, key: u64, title: &str, text: &str) {
    let title = (!title.is_empty()).then_some(title);
    graph.put(&Passage { key, document: document(key), title, headings: &[], text });
}

fn document(key: u64) -> std::sync::Arc<str> {
    format!("d{key}").into()
}

fn graph(passages: &[(u64, &str, &str)]) -> KnowledgeGraph {
    let mut graph = KnowledgeGraph::new();
    for (key, title, text) in passages {
        put(&mut graph, *key, title, text);
    }
    graph
}

fn content(graph: &KnowledgeGraph) -> (Vec<Entity>, Vec<Relation>, Vec<super::Community>, usize) {
    (graph.entities(), graph.relations(), graph.communities(), graph.passage_count())
}

fn triple(subject: &str, relation: &str, object: &str) -> Triple {
    Triple { subject: subject.into(), relation: relation.into(), object: object.into() }
}

#[test]
fn relations_have_kind_direction_weight_and_source() {
    let mut graph = graph(&[(7, "Lilu", "Lilu is a demon, see [Gallu](g.md).")]);
    graph.relate("lilu", "is_a", "Demon", 2.0).unwrap();
    let relations = graph.relations();
    let is_a = relations.iter().find(|relation| &*relation.kind == "is_a").unwrap();
    assert_eq!((&*is_a.subject, &*is_a.object, is_a.weight), ("Lilu", "Demon", 3.0));
    assert_eq!(is_a.sources, [Source::Host, Source::Passage { key: 7, document: document(7) }]);
    assert!(graph.unrelate("Lilu", "is_a", "demon") && !graph.unrelate("Lilu", "is_a", "demon"));
    assert_eq!(graph.relations().iter().map(|relation| relation.weight).collect::<Vec<_>>(), [1.0, 1.0]);
}

#[test]
fn the_host_may_correct_a_weight_but_not_tell_nonsense() {
    let mut graph = KnowledgeGraph::new();
    graph.relate("Acme", "owns", "Bolt", 1.0).unwrap();
    graph.relate("ACME", "owns", "bolt", 5.0).unwrap();
    assert_eq!((graph.relation_count(), graph.relations()[0].weight), (1, 5.0));
    for (subject, kind, object, weight, field) in [
        ("...", "owns", "Bolt", 1.0, "subject"),
        ("Acme", "owns", "", 1.0, "object"),
        ("Acme", " ", "Bolt", 1.0, "kind"),
        ("Acme", "owns", "Bolt", f32::NAN, "weight"),
        ("Acme", "owns", "Bolt", 0.0, "weight"),
    ] {
        let err = graph.relate(subject, kind, object, weight).unwrap_err();
        assert_eq!(err.get("field"), Some(field));
    }
    assert_eq!(graph.len(), 2);
}

#[test]
fn walks_honour_direction_kind_and_length() {
    let mut graph = KnowledgeGraph::new();
    for (from, kind, to) in [("A", "owns", "B"), ("B", "owns", "C"), ("D", "sues", "B"), ("A", "likes", "C")]
    {
        graph.relate(from, kind, to, 1.0).unwrap();
    }
    let names = |walk: &Walk, name: &str| -> Vec<String> {
        graph.neighbours(name, walk).iter().map(|found| found.entity.to_string()).collect()
    };
    assert_eq!(names(&Walk::new(), "B"), ["C"]);
    assert_eq!(names(&Walk::new().incoming(), "B"), ["A", "D"]);
    assert_eq!(names(&Walk::new().either(), "B"), ["A", "C", "D"]);
    assert_eq!(names(&Walk::new().either().kinds(["sues"]), "B"), ["D"]);
    assert_eq!(names(&Walk::new().kinds(["owns"]).hops(2), "A"), ["B", "C"]);
    assert_eq!(names(&Walk::new().either().limit(1), "B"), ["A"]);
    assert!(names(&Walk::new(), "unknown").is_empty());
    let paths = |walk: &Walk, from, to| -> Vec<Vec<String>> {
        let owned = |path: &super::Path| path.entities().iter().map(ToString::to_string).collect();
        graph.paths(from, to, walk).iter().map(owned).collect()
    };
    assert_eq!(paths(&Walk::new().hops(3), "A", "C"), [vec!["A", "C"], vec!["A", "B", "C"]]);
    assert!(paths(&Walk::new().hops(3), "C", "A").is_empty());
    assert_eq!(paths(&Walk::new().hops(2).incoming(), "C", "A"), [vec!["C", "A"], vec!["C", "B", "A"]]);
    assert_eq!(paths(&Walk::new().hops(2).either().kinds(["owns", "sues"]), "D", "C"), [vec!["D", "B", "C"]]);
}

#[test]
fn paths_lead_through_what_passages_mention() {
    let graph = graph(&[
        (1, "Bolt", "It belongs to Acme Works."),
        (2, "Acme Works", "It sits in Pune, near Old Pune."),
    ]);
    let paths = graph.paths("Bolt", "Old Pune", &Walk::new().hops(2));
    assert_eq!(paths[0].entities(), ["Bolt", "Acme Works", "Old Pune"]);
    assert_eq!(paths[0].steps[1].sources, [Source::Passage { key: 2, document: document(2) }]);
    assert!(graph.paths("Old Pune", "Bolt", &Walk::new().hops(2)).is_empty());
}

#[test]
fn a_dense_graph_does_not_hold_a_search_of_paths() {
    let mut graph = KnowledgeGraph::new();
    for from in 0..40 {
        for to in 0..40 {
            graph.relate(&format!("n{from}"), "to", &format!("n{to}"), 1.0).unwrap();
        }
    }
    assert!(graph.paths("n0", "n39", &Walk::new().hops(20).limit(usize::MAX)).len() < 20_000);
}

#[test]
fn queries_link_to_the_longest_known_names() {
    let graph = graph(&[
        (1, "New York", "A city."),
        (2, "New York Times", "A paper of New York."),
        (3, "", "It was Arthur Penn. Later Arthur Penn left."),
    ]);
    let linked =
        |query: &str| -> Vec<String> { graph.link(query).entities.iter().map(ToString::to_string).collect() };
    assert_eq!(linked("Who owns the New York Times?"), ["New York Times"]);
    assert_eq!(linked("Is the New York office of the New York Times big?"), ["New York", "New York Times"]);
    // One passage mentions him and none is about him, so he connects nothing.
    assert!(linked("Who was Arthur Penn?").is_empty() && linked("who reads new york times").is_empty());
    let coverage = graph.link("Who owns the New York Times?").coverage;
    assert!((coverage - 0.75).abs() < 1e-6, "{coverage}");
}

#[test]
fn propagation_finds_what_shares_no_word_with_the_query() {
    let passages = [
        (1, "Bolt", "The tool was made by Acme Works."),
        (2, "Acme Works", "The company sits in Pune."),
        (3, "Cork", "A city in the south."),
    ];
    let graph = graph(&passages);
    let list = [Scored { key: 1, score: 3.0 }, Scored { key: 3, score: 1.0 }];
    let keys = |found: &[Propagated]| found.iter().map(|found| found.key).collect::<Vec<_>>();
    let found = graph.propagate("Where is the maker of Bolt?", &list);
    assert_eq!(keys(&found), [1, 2, 3]);
    assert!(found[1].graph.is_some() && found[2].graph.is_none());
    // Without a name in the query the graph adds nothing and only breaks near ties.
    assert_eq!(keys(&graph.propagate("where is the maker of it?", &list)), [1, 3]);
    assert!(graph.propagate("Bolt", &[]).len() == 2 && graph.propagate("", &[]).is_empty());
}

#[test]
fn two_names_of_one_thing_share_their_passages() {
    let mut graph = graph(&[
        (1, "IBM", "The firm is old."),
        (
            2,
            "Mainframes",
            "The maker International Business Machines led, as International Business Machines does.",
        ),
        (3, "", "by International Business Machines"),
    ]);
    let reached = |graph: &KnowledgeGraph| graph.rank(&[(Seed::Entity("IBM"), 1.0)]).len();
    assert_eq!(reached(&graph), 1);
    graph.relate("IBM", super::SAME_AS, "International Business Machines", 1.0).unwrap();
    assert_eq!(reached(&graph), 3);
}

#[test]
fn names_in_facts_are_mentioned_where_they_stand() {
    let mut graph = graph(&[
        (1, "A", "by marie curie"),
        (2, "A", "else"),
        (3, "Curie Institute", "Marie Curie founded it."),
    ]);
    let doc = document(1);
    let facts = Facts {
        entities: vec!["Marie Curie".into(), "Nobel Prize".into(), "a phrase".into(), "Lone Name".into()],
        triples: vec![triple("Marie Curie", "won", "Nobel Prize"), triple("", "x", "y")],
    };
    let passages = [(1, "by marie curie"), (2, "else"), (99, "unknown")];
    let before = content(&graph);
    graph.put_facts(&doc, &facts, &passages);
    graph.put_facts(&doc, &facts, &passages);
    assert_eq!(graph.entity("marie curie").unwrap().mentioned, [1, 3]);
    assert_eq!(graph.entity("Nobel Prize").unwrap().mentioned, [1]);
    assert!(graph.entity("a phrase").is_none());
    assert_eq!(graph.entity("Lone Name").unwrap().mentioned, [1]);
    graph.put_facts(&doc, &Facts { entities: vec![], ..facts.clone() }, &passages);
    assert_eq!(graph.entity("Nobel Prize").unwrap().mentioned, [1]);
    assert_eq!(
        graph.neighbours("Marie Curie", &Walk::new().kinds(["won"]))[0].via.sources,
        [Source::Model { document: doc.clone() }]
    );
    graph.remove_facts(&doc, &[1, 2]);
    assert_eq!(content(&graph), before);
}

#[test]
fn communities_are_what_holds_together() {
    let mut graph = KnowledgeGraph::new();
    for (first, names) in [(0, ["Ann Lee", "Bob Ray", "Cid Fox"]), (100, ["Xia Wu", "Yan Li", "Zoe Ng"])] {
        for key in first..first + 6 {
            put(
                &mut graph,
                key,
                "",
                &format!("with {} and {}", names[key as usize % 3], names[(key as usize + 1) % 3]),
            );
        }
    }
    // In a tenth of so few passages every name would be too common.
    (1000..1100).for_each(|key| put(&mut graph, key, "", "nothing"));
    let communities = graph.communities();
    assert_eq!(communities.len(), 2);
    assert_eq!(
        communities[0].entities.iter().map(|name| &**name).collect::<Vec<_>>(),
        ["Ann Lee", "Bob Ray", "Cid Fox"]
    );
    assert_eq!(communities[1].passages, (100..106).collect::<Vec<_>>());
}

/// The reference: rounds over the whole graph in double precision.
fn exact(graph: &KnowledgeGraph, seed: u64) -> BTreeMap<u64, f64> {
    let entities = graph.entities();
    let keys: Vec<u64> = entities.iter().flat_map(|e| e.titled.iter().chain(&e.mentioned).copied()).collect();
    let count = graph.passage_count();
    let kept: Vec<&Entity> = entities
        .iter()
        .filter(|e| {
            let all = e.titled.len() + e.mentioned.len();
            (all >= 2 || !e.titled.is_empty()) && all <= (count / 10).max(2)
        })
        .collect();
    let edges: Vec<(u64, usize, f64)> = (0..kept.len())
        .flat_map(|n| {
            let titled = kept[n].titled.iter().map(move |key| (*key, n, 8.0));
            titled.chain(kept[n].mentioned.iter().map(move |key| (*key, n, 1.0)))
        })
        .collect();
    let of_passage = |key: u64| edges.iter().filter(|edge| edge.0 == key).map(|edge| edge.2).sum::<f64>();
    let of_entity = |n: usize| edges.iter().filter(|edge| edge.1 == n).map(|edge| edge.2).sum::<f64>();
    let (mut passages, mut names) = (BTreeMap::from([(seed, 1.0)]), vec![0.0; kept.len()]);
    for _ in 0..200 {
        let mut next: BTreeMap<u64, f64> = BTreeMap::from([(seed, 0.15)]);
        let mut next_names = vec![0.0; kept.len()];
        for (key, n, weight) in &edges {
            next_names[*n] += 0.85 * passages.get(key).unwrap_or(&0.0) * weight / of_passage(*key);
            *next.entry(*key).or_default() += 0.85 * names[*n] * weight / of_entity(*n);
        }
        (passages, names) = (next, next_names);
    }
    passages.retain(|key, score| keys.contains(key) && *score > 0.0);
    passages
}

#[test]
fn ranks_are_those_of_the_whole_iteration() {
    let words = ["Ann Lee", "Bob Ray", "Cid Fox", "Dan Poe", "Eva Kay", "Flo May", "Gus Orr"];
    let mut graph = KnowledgeGraph::new();
    for key in 0..60_u64 {
        let name = |step: u64| words[((key * step + key / 7) % 7) as usize];
        // Every name in a tenth of the passages would be too common, so most have a number.
        let text = format!("with {} {} and {} {}", name(1), key % 11, name(3), key % 13);
        put(&mut graph, key, &format!("Item {}", key % 30), &text);
    }
    let exact = exact(&graph, 3);
    let ranked =
        graph.rank(&[(Seed::Passage(3), 2.0), (Seed::Passage(999), 1.0), (Seed::Entity("x"), f32::NAN)]);
    assert!(ranked.len() > 10, "{}", ranked.len());
    let sum: f32 = ranked.iter().map(|scored| scored.score).sum();
    assert!(sum < 1.0, "{sum}");
    for (key, score) in exact {
        let found =
            ranked.iter().find(|scored| scored.key == key).map_or(0.0, |scored| f64::from(scored.score));
        assert!((found - score).abs() < 3e-3, "{key}: {found} {score}");
    }
}

#[derive(Clone, Debug)]
enum Change {
    Put(u64, String, String),
    Remove(u64),
    Relate(String, String),
    Unrelate(String, String),
    Facts(u64, String, String),
    NoFacts(u64),
}

fn change() -> impl Strategy<Value = Change> {
    let name = "[AB][ab]( [CD][cd]){0,1}";
    let text = r"((in|[ABab][ab]|[CD][cd]|xy \(XY\)|\[Ab\]\(l\)|is a cat)[ .]){0,8}";
    prop_oneof![
        4 => (0_u64..6, name, text).prop_map(|(key, title, text)| Change::Put(key, title, text)),
        2 => (0_u64..6).prop_map(Change::Remove),
        1 => (name, name).prop_map(|(a, b)| Change::Relate(a, b)),
        1 => (name, name).prop_map(|(a, b)| Change::Unrelate(a, b)),
        2 => (0_u64..6, name, name).prop_map(|(key, a, b)| Change::Facts(key, a, b)),
        1 => (0_u64..6).prop_map(Change::NoFacts),
    ]
}

proptest! {
    // Each case compares two whole graphs; these many take about a second.
    #![proptest_config(ProptestConfig::with_cases(80))]
    #[test]
    fn changes_leave_no_trace(changes in proptest::collection::vec(change(), 0..40), order in any::<bool>()) {
        let mut graph = KnowledgeGraph::new();
        let (mut passages, mut relations, mut facts) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        for change in changes {
            match change {
                Change::Put(key, title, text) => {
                    graph.remove_facts(&document(key), &[key]);
                    facts.remove(&key);
                    put(&mut graph, key, &title, &text);
                    passages.insert(key, (title, text));
                }
                Change::Remove(key) => {
                    graph.remove_facts(&document(key), &[key]);
                    facts.remove(&key);
                    prop_assert_eq!(graph.remove(key), passages.remove(&key).is_some());
                }
                Change::Relate(a, b) => {
                    graph.relate(&a, "to", &b, 2.0).unwrap();
                    relations.insert((a.to_lowercase(), b.to_lowercase()), (a, b));
                }
                Change::Unrelate(a, b) => {
                    let known = relations.remove(&(a.to_lowercase(), b.to_lowercase())).is_some();
                    prop_assert_eq!(graph.unrelate(&a, "to", &b), known);
                }
                Change::Facts(key, a, b) => {
                    if let Some((_, text)) = passages.get(&key) {
                        let told = Facts { entities: vec![a.clone()], triples: vec![triple(&a, "to", &b)] };
                        graph.put_facts(&document(key), &told, &[(key, text)]);
                        facts.insert(key, told);
                    }
                }
                Change::NoFacts(key) => {
                    graph.remove_facts(&document(key), &[key]);
                    facts.remove(&key);
                }
            }
        }
        let mut fresh = KnowledgeGraph::new();
        let mut keys: Vec<_> = passages.keys().copied().collect();
        if order {
            keys.reverse();
        }
        for key in keys {
            put(&mut fresh, key, &passages[&key].0, &passages[&key].1);
        }
        for (a, b) in relations.values() {
            fresh.relate(a, "to", b, 2.0).unwrap();
        }
        for (key, told) in &facts {
            fresh.put_facts(&document(*key), told, &[(*key, &passages[key].1)]);
        }
        prop_assert_eq!(content(&graph), content(&fresh));
        let near = |a: &[Scored], b: &[Scored]| {
            let sorted = |list: &[Scored]| -> BTreeMap<u64, f32> { list.iter().map(|s| (s.key, s.score)).collect() };
            let (a, b) = (sorted(a), sorted(b));
            a.keys().chain(b.keys()).all(|key| {
                (a.get(key).unwrap_or(&0.0) - b.get(key).unwrap_or(&0.0)).abs() < 1e-2
            })
        };
        for seed in [Seed::Entity("Aa"), Seed::Passage(1)] {
            prop_assert!(near(&graph.rank(&[(seed, 1.0)]), &fresh.rank(&[(seed, 1.0)])));
        }
    }
}
