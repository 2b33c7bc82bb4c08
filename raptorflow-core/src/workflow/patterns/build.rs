//! `PatternBuilder`: a pattern in code, one function for each kind.

use std::time::Duration;

use crate::{
    agent::Agent,
    error::Result,
    workflow::{
        Aggregate, Aggregation, Complete, Consensus, Debate, DebateFormat, ExpertPanel, MapReduce, Member,
        PanelOrder, PanelStrategy, Parallel, Pattern, PatternKind, PatternSpec, Reflection, Sequential, Tie,
        Verification, VerificationLevel,
    },
};

/// A pattern that is being put together; an engine runs it as it is, and [`PatternBuilder::build`] checks it before.
///
/// ```
/// use raptorflow_core::workflow::{Member, debate};
/// let pattern = debate([Member::new("pro").with_weight(2.0), "con".into()]).judge("judge").rounds(3).build()?;
/// assert_eq!(pattern.most_turns(), 30);
/// let err = debate(["alone"]).build().unwrap_err();
/// assert!(format!("{err:#}").contains("at least two sides"));
/// # Ok::<(), raptorflow_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct PatternBuilder<K> {
    spec: PatternSpec,
    options: K,
}

fn builder<K: Into<PatternKind> + Clone>(options: K) -> PatternBuilder<K> {
    PatternBuilder { spec: PatternSpec::new(options.clone()), options }
}

fn all<M: Into<Member>>(members: impl IntoIterator<Item = M>) -> Vec<Member> {
    members.into_iter().map(Into::into).collect()
}

/// One member after another, each with what the one before it gave.
#[must_use]
pub fn sequential<M: Into<Member>>(members: impl IntoIterator<Item = M>) -> PatternBuilder<Sequential> {
    builder(Sequential { members: all(members) })
}

/// All members at once with the same input.
#[must_use]
pub fn parallel<M: Into<Member>>(members: impl IntoIterator<Item = M>) -> PatternBuilder<Parallel> {
    builder(Parallel {
        members: all(members),
        complete: Complete::All,
        threshold: 0.7,
        aggregate: Aggregation::default(),
        fail_fast: false,
    })
}

/// Sides that answer each other.
#[must_use]
pub fn debate<M: Into<Member>>(members: impl IntoIterator<Item = M>) -> PatternBuilder<Debate> {
    builder(Debate {
        members: all(members),
        judge: None,
        format: DebateFormat::RoundRobin,
        consensus: None,
        confidence: 0.8,
        rounds: 5,
        turns: 3,
        early_stop: true,
        tie: Tie::None,
    })
}

/// An answer that others check; [`PatternBuilder::author`] says who writes it.
#[must_use]
pub fn verification<M: Into<Member>>(verifiers: impl IntoIterator<Item = M>) -> PatternBuilder<Verification> {
    builder(Verification {
        verifiers: all(verifiers),
        author: None,
        level: VerificationLevel::Standard,
        iterations: 3,
        threshold: 0.8,
        all_required: true,
    })
}

/// Experts with parts to play.
#[must_use]
pub fn expert_panel<M: Into<Member>>(members: impl IntoIterator<Item = M>) -> PatternBuilder<ExpertPanel> {
    builder(ExpertPanel {
        members: all(members),
        coordinator: None,
        strategy: PanelStrategy::Coordinator,
        order: PanelOrder::Parallel,
        threshold: 0.7,
        tie: Tie::None,
    })
}

/// Every item of a list by itself, and then, with a [`PatternBuilder::reducer`], all together.
#[must_use]
pub fn map_reduce<M: Into<Member>>(mappers: impl IntoIterator<Item = M>) -> PatternBuilder<MapReduce> {
    builder(MapReduce { mappers: all(mappers), reducer: None, at_once: None, threshold: 1.0 })
}

/// An answer that is criticized, by its author unless there is a [`PatternBuilder::critic`], and written again.
#[must_use]
pub fn reflection(author: impl Into<Member>) -> PatternBuilder<Reflection> {
    builder(Reflection { author: author.into(), critic: None, rounds: 3, threshold: 0.8 })
}

impl<K: Into<PatternKind>> PatternBuilder<K> {
    /// Says its name; see [`PatternSpec::name`] for the default.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.spec.name = name.into();
        self
    }

    /// Says what it does and when to choose it.
    #[must_use]
    pub fn description(mut self, description: impl Into<String>) -> Self {
        self.spec.description = description.into();
        self
    }

    /// How long one turn may take.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.spec.timeout = Some(timeout);
        self
    }

    /// How often a turn that failed is tried again.
    #[must_use]
    pub fn retries(mut self, retries: u32) -> Self {
        self.spec.retries = Some(retries);
        self
    }

    /// How many turns are under way at the same time.
    #[must_use]
    pub fn at_most_parallel(mut self, turns: usize) -> Self {
        self.spec.parallel = turns;
        self
    }

    /// How many tokens the turns may take together; see [`PatternSpec::tokens`].
    #[must_use]
    pub fn tokens(mut self, tokens: u64) -> Self {
        self.spec.tokens = Some(tokens);
        self
    }

    /// The output is the answer alone; the decision is in the journal, as the value of the step `decision`.
    #[must_use]
    pub fn answer_only(mut self) -> Self {
        self.spec.answer_only = true;
        self
    }

    /// Checks it.
    ///
    /// # Errors
    /// As [`Pattern::new`].
    pub fn build(self) -> Result<Pattern> {
        Pattern::new(PatternSpec::from(self))
    }
}

impl PatternBuilder<Parallel> {
    /// When the group has answered.
    #[must_use]
    pub fn complete(mut self, complete: Complete) -> Self {
        self.options.complete = complete;
        self
    }

    /// The group has answered when members have that weigh at least this share.
    #[must_use]
    pub fn threshold(mut self, threshold: f64) -> Self {
        (self.options.complete, self.options.threshold) = (Complete::Threshold, threshold);
        self
    }

    /// What the answers come to.
    #[must_use]
    pub fn aggregate(mut self, aggregate: impl Into<Aggregation>) -> Self {
        self.options.aggregate = aggregate.into();
        self
    }

    /// One that fails ends the pattern.
    #[must_use]
    pub fn fail_fast(mut self) -> Self {
        self.options.fail_fast = true;
        self
    }
}

impl From<Aggregate> for Aggregation {
    fn from(method: Aggregate) -> Self {
        Self::new(method)
    }
}

impl PatternBuilder<Debate> {
    /// Who decides.
    #[must_use]
    pub fn judge(mut self, judge: impl Into<Member>) -> Self {
        self.options.judge = Some(judge.into());
        self
    }

    /// How turns follow each other.
    #[must_use]
    pub fn format(mut self, format: DebateFormat) -> Self {
        self.options.format = format;
        self
    }

    /// When they agree.
    #[must_use]
    pub fn consensus(mut self, consensus: Consensus) -> Self {
        self.options.consensus = Some(consensus);
        self
    }

    /// They agree when those who say the same are as sure as this.
    #[must_use]
    pub fn confidence(mut self, confidence: f64) -> Self {
        (self.options.consensus, self.options.confidence) = (Some(Consensus::Confidence), confidence);
        self
    }

    /// How many rounds at most.
    #[must_use]
    pub fn rounds(mut self, rounds: u32) -> Self {
        self.options.rounds = rounds;
        self
    }

    /// How often each side speaks in a round.
    #[must_use]
    pub fn turns(mut self, turns: u32) -> Self {
        self.options.turns = turns;
        self
    }

    /// All rounds are held, also when they agree before.
    #[must_use]
    pub fn without_early_stop(mut self) -> Self {
        self.options.early_stop = false;
        self
    }

    /// What a tie comes to at the end.
    #[must_use]
    pub fn tie(mut self, tie: Tie) -> Self {
        self.options.tie = tie;
        self
    }
}

impl PatternBuilder<Verification> {
    /// Who writes the answer.
    #[must_use]
    pub fn author(mut self, author: impl Into<Member>) -> Self {
        self.options.author = Some(author.into());
        self
    }

    /// How much is looked for.
    #[must_use]
    pub fn level(mut self, level: VerificationLevel) -> Self {
        self.options.level = level;
        self
    }

    /// How often it is checked at most.
    #[must_use]
    pub fn iterations(mut self, iterations: u32) -> Self {
        self.options.iterations = iterations;
        self
    }

    /// The score that is needed.
    #[must_use]
    pub fn threshold(mut self, threshold: f64) -> Self {
        self.options.threshold = threshold;
        self
    }

    /// Verifiers with more than half of the weight are enough.
    #[must_use]
    pub fn majority_is_enough(mut self) -> Self {
        self.options.all_required = false;
        self
    }
}

impl PatternBuilder<ExpertPanel> {
    /// Who writes the answer.
    #[must_use]
    pub fn coordinator(mut self, coordinator: impl Into<Member>) -> Self {
        self.options.coordinator = Some(coordinator.into());
        self
    }

    /// How the panel comes to one answer.
    #[must_use]
    pub fn strategy(mut self, strategy: PanelStrategy) -> Self {
        self.options.strategy = strategy;
        self
    }

    /// One after another, each with what was said before.
    #[must_use]
    pub fn one_by_one(mut self) -> Self {
        self.options.order = PanelOrder::Sequential;
        self
    }

    /// What is needed for the panel to agree.
    #[must_use]
    pub fn threshold(mut self, threshold: f64) -> Self {
        self.options.threshold = threshold;
        self
    }

    /// What a tie comes to.
    #[must_use]
    pub fn tie(mut self, tie: Tie) -> Self {
        self.options.tie = tie;
        self
    }
}

impl PatternBuilder<MapReduce> {
    /// Who makes one answer of the outputs.
    #[must_use]
    pub fn reducer(mut self, reducer: impl Into<Member>) -> Self {
        self.options.reducer = Some(reducer.into());
        self
    }

    /// How many outputs the reducer is given at once.
    #[must_use]
    pub fn at_once(mut self, outputs: usize) -> Self {
        self.options.at_once = Some(outputs);
        self
    }

    /// The share of the items that has to succeed.
    #[must_use]
    pub fn threshold(mut self, threshold: f64) -> Self {
        self.options.threshold = threshold;
        self
    }
}

impl PatternBuilder<Reflection> {
    /// Who criticizes.
    #[must_use]
    pub fn critic(mut self, critic: impl Into<Member>) -> Self {
        self.options.critic = Some(critic.into());
        self
    }

    /// How often it is written at most.
    #[must_use]
    pub fn rounds(mut self, rounds: u32) -> Self {
        self.options.rounds = rounds;
        self
    }

    /// The score that is good enough.
    #[must_use]
    pub fn threshold(mut self, threshold: f64) -> Self {
        self.options.threshold = threshold;
        self
    }
}

impl<K: Into<PatternKind>> From<PatternBuilder<K>> for PatternSpec {
    fn from(builder: PatternBuilder<K>) -> Self {
        Self { pattern: builder.options.into(), ..builder.spec }
    }
}

impl<K: Into<PatternKind>> From<PatternBuilder<K>> for Member {
    fn from(builder: PatternBuilder<K>) -> Self {
        PatternSpec::from(builder).into()
    }
}

impl<K: Into<PatternKind>> From<PatternBuilder<K>> for Agent {
    /// The pattern as an agent; what is wrong with it is told when it runs.
    fn from(builder: PatternBuilder<K>) -> Self {
        Self::new(Pattern::unchecked(builder.into()))
    }
}
