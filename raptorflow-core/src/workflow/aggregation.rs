//! `Aggregation`: decides what several opinions come to, by a stated rule.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    error::{Error, ErrorKind, Result},
    rag::Embedder,
    runtime::Context,
    workflow::{
        Aggregate, Aggregated, LeftOut, Opinion, TextMatch, Tie, Tied, Undecided,
        opinion::check_weight,
        sides::{Group, groups, keys, keys_by_meaning, sum},
    },
};

/// Shares that differ by less are equal: they are quotients of sums.
const CLOSE: f64 = 1e-9;

/// How opinions become one value: the method and everything that it asks for.
///
/// Values are compared in a canonical form: 1 is 1.0, the order of keys does not matter, and texts are folded unless
/// `texts` says otherwise; a text is never a number.
///
/// ```
/// use raptorflow_core::workflow::{Aggregate, Aggregation, Opinion};
/// let opinions =
///     [Opinion::new("a", "Ship"), Opinion::new("b", "wait").with_weight(1.5), Opinion::new("c", "ship.")];
/// let decided = Aggregation::new(Aggregate::Vote).decide(&opinions)?;
/// assert_eq!(decided.value.unwrap(), "Ship");
/// assert_eq!((decided.dissent[0].agent.as_str(), decided.sides[0].weight), ("b", 2.0));
/// # Ok::<(), raptorflow_core::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Aggregation {
    /// How the value is found; `all` by default.
    pub method: Aggregate,
    /// The share that a side needs, from 0 to 1; everybody for a consensus and none for a vote by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f64>,
    /// What a tie comes to; it stays one by default.
    pub tie: Tie,
    /// When two texts are the same; folded by default.
    pub texts: TextMatch,
    /// The weights of those who were asked and gave nothing: they are part of the whole that a share is of.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub absent: Vec<f64>,
}

/// What a method found.
enum Found {
    Value { value: Value, behind: Vec<usize> },
    Undecided(Undecided),
}

impl Aggregation {
    /// A method with the defaults of everything else.
    #[must_use]
    pub fn new(method: Aggregate) -> Self {
        Self { method, ..Self::default() }
    }

    /// Says what share a side needs.
    #[must_use]
    pub fn with_threshold(mut self, threshold: f64) -> Self {
        self.threshold = Some(threshold);
        self
    }

    /// Says what a tie comes to.
    #[must_use]
    pub fn with_tie(mut self, tie: Tie) -> Self {
        self.tie = tie;
        self
    }

    /// Says when two texts are the same.
    #[must_use]
    pub fn with_texts(mut self, texts: TextMatch) -> Self {
        self.texts = texts;
        self
    }

    /// Says what those weigh who were asked and gave nothing.
    #[must_use]
    pub fn with_absent(mut self, weights: impl IntoIterator<Item = f64>) -> Self {
        self.absent = weights.into_iter().collect();
        self
    }

    /// What opinions come to.
    ///
    /// # Errors
    /// `InvalidInput` for a weight, a confidence, a score or a threshold that cannot be counted with: not a number,
    /// negative, infinite or out of range.
    pub fn decide(&self, opinions: &[Opinion]) -> Result<Aggregated> {
        self.check(opinions)?;
        self.decided(opinions, &keys(opinions, self.texts))
    }

    /// What opinions come to when texts that mean the same are one: those whose vectors have a cosine of at least
    /// `threshold`, or are joined by a chain of such texts.
    ///
    /// The embedder decides what is near: one that is not [`Embedder::semantic`] finds the same words in another order,
    /// and no synonyms.
    ///
    /// # Errors
    /// As [`Aggregation::decide`], and what the embedder says.
    ///
    /// # Examples
    /// ```
    /// use raptorflow_core::{rag::HashingEmbedder, runtime::{Context, Runtime}};
    /// use raptorflow_core::workflow::{Aggregate, Aggregation, Opinion};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> raptorflow_core::Result<()> {
    /// let ctx = Context::new(&Runtime::current()?);
    /// let opinions = [
    ///     Opinion::new("a", "raise the price of the basic plan"),
    ///     Opinion::new("b", "the price of the basic plan: raise it"),
    ///     Opinion::new("c", "hire two people"),
    /// ];
    /// let vote = Aggregation::new(Aggregate::Majority);
    /// let decided = vote.decide_by_meaning(&ctx, &HashingEmbedder::default(), 0.7, &opinions).await?;
    /// assert_eq!(decided.sides[0].agents, ["a", "b"]);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn decide_by_meaning(
        &self,
        ctx: &Context,
        embedder: &dyn Embedder,
        threshold: f64,
        opinions: &[Opinion],
    ) -> Result<Aggregated> {
        self.check(opinions)?;
        let keys = keys_by_meaning(ctx, embedder, threshold, opinions, self.texts).await?;
        self.decided(opinions, &keys)
    }

    fn check(&self, opinions: &[Opinion]) -> Result<()> {
        opinions.iter().try_for_each(Opinion::check)?;
        self.absent.iter().copied().try_for_each(check_weight)?;
        match self.threshold {
            Some(threshold) if !(0.0..=1.0).contains(&threshold) => {
                let message = "expected a threshold from 0 to 1";
                Err(Error::new(ErrorKind::InvalidInput, "workflow.aggregate", message)
                    .with("field", "threshold")
                    .with("value", threshold))
            }
            _ => Ok(()),
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "counts of voices are small")]
    fn decided(&self, opinions: &[Opinion], keys: &[String]) -> Result<Aggregated> {
        let heads = self.method == Aggregate::Majority;
        let absent = if heads { self.absent.len() as f64 } else { sum(self.absent.clone()) };
        let groups = groups(opinions, keys, heads, absent);
        let (mut left_out, mut tie) = (Vec::new(), None);
        let found = match self.method {
            _ if opinions.is_empty() => Found::Undecided(Undecided::NoOpinions),
            Aggregate::All => whole(opinions, all(opinions)),
            Aggregate::Combine => {
                let mut groups: Vec<&Group> = groups.iter().collect();
                groups.sort_by_key(|group| group.members.first());
                whole(opinions, groups.iter().map(|group| group.side.value.clone()).collect())
            }
            Aggregate::Merge => whole(opinions, merge(opinions, &mut left_out)),
            Aggregate::First => one(opinions, 0),
            Aggregate::Priority => {
                self.highest(opinions, keys, &groups, |it| Some(it.priority as f64), &mut tie)
            }
            Aggregate::Best => {
                for opinion in opinions.iter().filter(|it| merit(it).is_none()) {
                    left_out.push(left(opinion, "it has neither a score nor a confidence"));
                }
                self.highest(opinions, keys, &groups, merit, &mut tie)
            }
            Aggregate::Average => average(opinions, &mut left_out),
            Aggregate::Consensus | Aggregate::Majority | Aggregate::Vote => {
                self.largest(opinions, &groups, &mut tie)
            }
        };
        let (value, behind, undecided) = match found {
            Found::Value { value, behind } => (Some(value), behind, None),
            Found::Undecided(why) => (None, Vec::new(), Some(why)),
        };
        let dissent = opinions.iter().enumerate();
        let dissent = dissent
            .filter(|(place, opinion)| {
                let same = |it: &LeftOut| it.agent == opinion.agent && it.value == opinion.value;
                !behind.contains(place) && !left_out.iter().any(same)
            })
            .map(|(_, opinion)| opinion.clone())
            .collect();
        Ok(Aggregated {
            method: self.method,
            value,
            undecided,
            confidence: confidence(opinions, &behind, &self.absent),
            sides: groups.into_iter().map(|group| group.side).collect(),
            dissent,
            tie,
            left_out,
        })
    }

    /// The side that most is behind, if that is enough.
    fn largest(&self, opinions: &[Opinion], groups: &[Group], tie: &mut Option<Tied>) -> Found {
        let Some(first) = groups.first() else { return Found::Undecided(Undecided::NoOpinions) };
        if first.side.weight <= 0.0 {
            return Found::Undecided(Undecided::NoWeight);
        }
        let close = |group: &&Group| group.side.share >= first.side.share - CLOSE;
        let level: Vec<&Group> = groups.iter().filter(close).collect();
        let enough = match self.method {
            Aggregate::Majority => first.side.share > 0.5 + CLOSE,
            Aggregate::Consensus => first.side.share >= self.threshold.unwrap_or(1.0) - CLOSE,
            _ => self.threshold.is_none_or(|threshold| first.side.share >= threshold - CLOSE),
        };
        if !enough {
            return Found::Undecided(Undecided::BelowThreshold);
        }
        match self.broken(opinions, &level, tie) {
            Some(group) => Found::Value { value: group.side.value.clone(), behind: group.members.clone() },
            None => Found::Undecided(Undecided::Tie),
        }
    }

    /// What those say who have the most of something; they may say different things.
    fn highest(
        &self,
        opinions: &[Opinion],
        keys: &[String],
        groups: &[Group],
        measure: impl Fn(&Opinion) -> Option<f64>,
        tie: &mut Option<Tied>,
    ) -> Found {
        let Some(most) = opinions.iter().filter_map(&measure).max_by(f64::total_cmp) else {
            return Found::Undecided(Undecided::NothingUsable);
        };
        let top = |place: &usize| opinions.get(*place).and_then(&measure).is_some_and(|it| it >= most);
        let level: Vec<&Group> = groups.iter().filter(|group| group.members.iter().any(top)).collect();
        let Some(group) = self.broken(opinions, &level, tie) else {
            return Found::Undecided(Undecided::Tie);
        };
        // In the words of one who has the most, and not of another who means the same.
        let said = group.members.iter().copied().filter(top).filter_map(|place| opinions.get(place));
        let value = said.min_by_key(|it| it.value.to_string()).map(|it| it.value.clone());
        let behind = (0..keys.len()).filter(|place| group.members.contains(place)).collect();
        Found::Value { value: value.unwrap_or_default(), behind }
    }

    /// The one of several that stand level which the tie rule chooses, if it can.
    fn broken<'a>(
        &self,
        opinions: &[Opinion],
        level: &[&'a Group],
        tie: &mut Option<Tied>,
    ) -> Option<&'a Group> {
        let (first, rest) = level.split_first()?;
        if rest.is_empty() {
            return Some(first);
        }
        let between = level.iter().map(|group| group.side.value.clone()).collect();
        *tie = Some(Tied { between, rule: self.tie });
        let of = |group: &Group| -> Vec<&Opinion> {
            group.members.iter().filter_map(|place| opinions.get(*place)).collect()
        };
        let priorities = |group: &Group| of(group).into_iter().map(|it| it.priority).collect::<Vec<_>>();
        match self.tie {
            Tie::None => None,
            Tie::First => level.iter().min_by_key(|group| group.members.first()).copied(),
            Tie::HighestPriority => single(level, |group| priorities(group).into_iter().max()),
            Tie::LowestPriority => {
                single(level, |group| priorities(group).into_iter().min().map(std::cmp::Reverse))
            }
            Tie::MostConfident => {
                let mean = |group: &Group| sureness(&of(group));
                let most = level.iter().map(|group| mean(group)).max_by(f64::total_cmp)?;
                let mut surest = level.iter().filter(|group| mean(group) >= most - CLOSE);
                let found = surest.next().copied();
                if surest.next().is_some() { None } else { found }
            }
            Tie::Seeded(seed) => {
                let mut sorted: Vec<&&Group> = level.iter().collect();
                sorted.sort_by(|a, b| a.key.cmp(&b.key));
                let place = fastrand::Rng::with_seed(seed).usize(..sorted.len());
                sorted.get(place).map(|group| **group)
            }
        }
    }
}

/// The one that has the most, unless several do.
fn single<'a, M: Ord>(level: &[&'a Group], measure: impl Fn(&Group) -> M) -> Option<&'a Group> {
    let most = level.iter().map(|group| measure(group)).max()?;
    let mut top = level.iter().filter(|group| measure(group) == most);
    let found = top.next().copied();
    if top.next().is_some() { None } else { found }
}

fn whole(opinions: &[Opinion], value: Value) -> Found {
    Found::Value { value, behind: (0..opinions.len()).collect() }
}

fn one(opinions: &[Opinion], place: usize) -> Found {
    match opinions.get(place) {
        Some(opinion) => Found::Value { value: opinion.value.clone(), behind: vec![place] },
        None => Found::Undecided(Undecided::NoOpinions),
    }
}

fn merit(opinion: &Opinion) -> Option<f64> {
    opinion.score.or(opinion.confidence)
}

fn left(opinion: &Opinion, reason: impl Into<String>) -> LeftOut {
    LeftOut { agent: opinion.agent.clone(), value: opinion.value.clone(), reason: reason.into() }
}

/// How sure those are who say something, on average; who does not say is sure.
fn sureness(opinions: &[&Opinion]) -> f64 {
    let weight = sum(opinions.iter().map(|it| it.weight).collect());
    let sure = sum(opinions.iter().map(|it| it.weight * it.confidence.unwrap_or(1.0)).collect());
    if weight > 0.0 { sure / weight } else { 0.0 }
}

/// The part of all weight that is behind the value, each voice by its confidence.
fn confidence(opinions: &[Opinion], behind: &[usize], absent: &[f64]) -> f64 {
    let voices = opinions.iter().map(|opinion| opinion.weight).chain(absent.iter().copied());
    let total = sum(voices.collect());
    let for_it = behind.iter().filter_map(|place| opinions.get(*place));
    let for_it = sum(for_it.map(|it| it.weight * it.confidence.unwrap_or(1.0)).collect());
    if total > 0.0 { (for_it / total).clamp(0.0, 1.0) } else { 0.0 }
}

/// Everything under the name of who said it; what has a name that is taken gets a number behind it.
fn all(opinions: &[Opinion]) -> Value {
    let mut all = Map::new();
    for opinion in opinions {
        let mut name = opinion.agent.clone();
        let mut number = 1;
        while all.contains_key(&name) {
            number += 1;
            name = format!("{}#{number}", opinion.agent);
        }
        all.insert(name, opinion.value.clone());
    }
    Value::Object(all)
}

fn merge(opinions: &[Opinion], left_out: &mut Vec<LeftOut>) -> Value {
    if !opinions.iter().all(|opinion| opinion.value.is_object()) {
        let parts = opinions.iter().flat_map(|opinion| match &opinion.value {
            Value::Array(items) => items.clone(),
            other => vec![other.clone()],
        });
        return Value::Array(parts.collect());
    }
    let mut merged = Map::new();
    for opinion in opinions {
        for (key, value) in opinion.value.as_object().into_iter().flatten() {
            match merged.get(key) {
                None => {
                    merged.insert(key.clone(), value.clone());
                }
                Some(known) if known == value => {}
                Some(_) => left_out.push(LeftOut {
                    agent: opinion.agent.clone(),
                    value: value.clone(),
                    reason: format!("another value of `{key}` came before it"),
                }),
            }
        }
    }
    Value::Object(merged)
}

fn average(opinions: &[Opinion], left_out: &mut Vec<LeftOut>) -> Found {
    let mut numbers = Vec::new();
    for (place, opinion) in opinions.iter().enumerate() {
        match opinion.value.as_f64() {
            Some(number) if number.is_finite() => numbers.push((place, number, opinion.weight)),
            _ => left_out.push(left(opinion, "it is no number")),
        }
    }
    if numbers.is_empty() {
        return Found::Undecided(Undecided::NothingUsable);
    }
    let weight = sum(numbers.iter().map(|(.., weight)| *weight).collect());
    if weight <= 0.0 {
        return Found::Undecided(Undecided::NoWeight);
    }
    let mean = sum(numbers.iter().map(|(_, number, its)| number * its).collect()) / weight;
    // Of numbers whose sum is too large each part is divided first.
    let parts = || sum(numbers.iter().map(|(_, number, its)| number * (its / weight)).collect());
    let mean = if mean.is_finite() { mean } else { parts() };
    let (least, most) = numbers.iter().fold((f64::MAX, f64::MIN), |(least, most), (_, number, its)| {
        if *its > 0.0 { (least.min(*number), most.max(*number)) } else { (least, most) }
    });
    Found::Value {
        value: mean.clamp(least, most).into(),
        behind: numbers.into_iter().map(|it| it.0).collect(),
    }
}
