//! `Critic`: checks that make a score, and what the score asks for.

use std::{panic::AssertUnwindSafe, sync::Arc};

use futures_util::FutureExt as _;
use serde::{Deserialize, Serialize};

use crate::{
    agent::review::{Check, Draft, Finding, Severity},
    error::{Error, ErrorKind, Result},
    runtime::Context,
};

/// The score of an answer in which nothing is found.
const BEST: u32 = 100;

/// What findings cost, and which scores are enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct CriticConfig {
    /// From this score on an answer passes; 70 by default.
    pub pass: u32,
    /// Below this score an answer is made anew and not mended; 50 by default.
    pub regenerate: u32,
    /// What a high finding costs; 15 by default.
    pub high: u32,
    /// What a medium finding costs; 8 by default.
    pub medium: u32,
    /// What a low finding costs; 3 by default.
    pub low: u32,
    /// How often an agent is asked at most, the first time included; 3 by default.
    pub rounds: u32,
    /// How many findings a review keeps, the worst first; 32 by default. All of them count.
    pub max_findings: usize,
}

impl Default for CriticConfig {
    fn default() -> Self {
        Self { pass: 70, regenerate: 50, high: 15, medium: 8, low: 3, rounds: 3, max_findings: 32 }
    }
}

impl CriticConfig {
    /// The score of some findings: 100 less what each costs, and never below 0.
    ///
    /// ```
    /// use raptorflow_core::agent::review::{CriticConfig, Severity};
    /// let config = CriticConfig::default();
    /// assert_eq!(config.score([Severity::High, Severity::Medium, Severity::Low]), 74);
    /// ```
    #[must_use]
    pub fn score(&self, findings: impl IntoIterator<Item = Severity>) -> u32 {
        findings.into_iter().fold(BEST, |score, severity| score.saturating_sub(self.cost(severity)))
    }

    /// What a score asks for.
    #[must_use]
    pub const fn grade(&self, score: u32) -> Grade {
        if score >= self.pass {
            Grade::Pass
        } else if score >= self.regenerate {
            Grade::Revise
        } else {
            Grade::Regenerate
        }
    }

    const fn cost(&self, severity: Severity) -> u32 {
        match severity {
            Severity::High => self.high,
            Severity::Medium => self.medium,
            Severity::Low => self.low,
        }
    }

    fn check(&self) -> Result<()> {
        let unusable = |field: &'static str, expected: &'static str| {
            Err(Error::new(ErrorKind::InvalidInput, "review.configure", expected).with("field", field))
        };
        if self.pass > BEST {
            return unusable("pass", "expected at most 100");
        }
        if self.regenerate > self.pass {
            return unusable("regenerate", "expected at most the score that passes");
        }
        if self.high < self.medium || self.medium < self.low {
            return unusable("high", "expected a worse finding to cost no less than a milder one");
        }
        if self.rounds == 0 {
            return unusable("rounds", "expected at least 1");
        }
        Ok(())
    }
}

/// What is to be done with an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Grade {
    /// Nothing.
    Pass,
    /// It is mended.
    Revise,
    /// It is made anew.
    Regenerate,
}

/// What a critic says about an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Review {
    /// 0 to 100.
    pub score: u32,
    /// What the score asks for.
    pub grade: Grade,
    /// What was found, the worst first, otherwise in the order of the checks.
    pub findings: Vec<Finding>,
    /// How many findings counted and are not listed.
    #[serde(default)]
    pub left_out: usize,
}

impl Review {
    /// Whether the answer passes.
    #[must_use]
    pub fn passes(&self) -> bool {
        self.grade == Grade::Pass
    }

    /// The findings as lines of text, for whoever answers again.
    #[must_use]
    pub fn hints(&self) -> String {
        let lines: Vec<String> = self.findings.iter().map(line).collect();
        lines.join("\n")
    }
}

fn line(finding: &Finding) -> String {
    let place =
        if finding.place.pointer.is_empty() { String::new() } else { format!("{}: ", finding.place.pointer) };
    let hint = if finding.hint.is_empty() { String::new() } else { format!(". {}", finding.hint) };
    format!("- {place}{}{hint}", finding.message)
}

/// Checks that make a score.
///
/// ```
/// use raptorflow_core::agent::review::{Critic, Draft, Grade, checks::{LengthCheck, ToneCheck}};
/// use raptorflow_core::runtime::{Context, Runtime};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> raptorflow_core::Result<()> {
/// let tone = ToneCheck { unwanted: vec!["cheap".into()], ..ToneCheck::default() };
/// let critic = Critic::new().with(LengthCheck::words(1, 3)).with(tone);
/// let review = critic.review(&Context::new(&Runtime::current()?), &Draft::new("", "cheap, cheap, cheap, cheap")).await?;
/// assert_eq!((review.score, review.grade), (60, Grade::Revise));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Critic {
    checks: Vec<Arc<dyn Check>>,
    config: CriticConfig,
}

impl Critic {
    /// A critic without checks, with whom every answer passes.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets what findings cost and which scores are enough.
    ///
    /// # Errors
    /// `InvalidInput` for bounds that contradict each other, or no rounds.
    pub fn configure(mut self, config: CriticConfig) -> Result<Self> {
        config.check()?;
        self.config = config;
        Ok(self)
    }

    /// Adds a check.
    #[must_use]
    pub fn with(self, check: impl Check) -> Self {
        self.with_shared(Arc::new(check))
    }

    /// Adds a check that is shared.
    #[must_use]
    pub fn with_shared(mut self, check: Arc<dyn Check>) -> Self {
        self.checks.push(check);
        self
    }

    /// What findings cost and which scores are enough.
    #[must_use]
    pub const fn config(&self) -> &CriticConfig {
        &self.config
    }

    /// Asks every check, one after another, and makes a score of what they find.
    ///
    /// # Errors
    /// What a check says when it could not be made, with its name; `Callback` when it panicked; `Timeout` and
    /// `Cancelled` as the context says. An answer that was not checked has no score.
    ///
    /// # Cancellation
    /// Dropping the future drops the check at work.
    pub async fn review(&self, ctx: &Context, draft: &Draft) -> Result<Review> {
        let mut findings = Vec::new();
        for check in &self.checks {
            let work = AssertUnwindSafe(async { check.check(ctx, draft).await }).catch_unwind();
            let found = ctx.bound("review.check", work).await?.unwrap_or_else(|_| {
                Err(Error::new(ErrorKind::Callback, "review.check", "the check panicked"))
            });
            findings.extend(found.map_err(|err| err.with("check", check.name()))?);
        }
        Ok(self.judge(findings))
    }

    /// Makes a score of findings from anywhere.
    #[must_use]
    pub fn judge(&self, mut findings: Vec<Finding>) -> Review {
        let score = self.config.score(findings.iter().map(|finding| finding.severity));
        findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
        let left_out = findings.len().saturating_sub(self.config.max_findings);
        findings.truncate(self.config.max_findings);
        Review { score, grade: self.config.grade(score), findings, left_out }
    }
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use proptest::prelude::*;

    use super::*;
    use crate::runtime::Runtime;

    fn severity() -> impl Strategy<Value = Severity> {
        prop_oneof![Just(Severity::Low), Just(Severity::Medium), Just(Severity::High)]
    }

    proptest! {
        #[test]
        fn a_score_is_bounded_and_never_grows_with_findings(
            findings in prop::collection::vec(severity(), 0..40), more in severity(),
        ) {
            let config = CriticConfig::default();
            let score = config.score(findings.iter().copied());
            let worse = config.score(findings.iter().copied().chain([more]));
            prop_assert!(worse <= score && score <= BEST);
            prop_assert!(worse < score || score == 0);
            let cost: u32 = findings.iter().map(|it| config.cost(*it)).sum();
            prop_assert_eq!(score, BEST.saturating_sub(cost));
        }

        #[test]
        fn a_milder_finding_never_costs_more(
            findings in prop::collection::vec(severity(), 1..20), at in any::<prop::sample::Index>(),
        ) {
            let config = CriticConfig::default();
            let mut milder = findings.clone();
            let at = at.index(milder.len());
            milder[at] = Severity::Low;
            prop_assert!(config.score(milder) >= config.score(findings));
        }
    }

    #[test]
    fn grades_begin_at_their_bounds() {
        let config = CriticConfig::default();
        for (score, grade) in [
            (100, Grade::Pass),
            (70, Grade::Pass),
            (69, Grade::Revise),
            (50, Grade::Revise),
            (49, Grade::Regenerate),
            (0, Grade::Regenerate),
        ] {
            assert_eq!(config.grade(score), grade, "{score}");
        }
    }

    #[test]
    fn every_finding_counts_and_the_worst_are_kept() {
        let config = CriticConfig { max_findings: 2, ..CriticConfig::default() };
        let critic = Critic::new().configure(config).unwrap();
        let found = |severity| Finding::new("x", severity, "y");
        let review = critic.judge(vec![found(Severity::Low), found(Severity::High), found(Severity::Medium)]);
        assert_eq!((review.score, review.left_out, review.findings.len()), (74, 1, 2));
        assert_eq!(review.findings[0].severity, Severity::High);
        assert_eq!(review.hints(), "- y\n- y");
    }

    #[test]
    fn contradictions_are_refused_with_their_field() {
        let of = |change: fn(&mut CriticConfig)| {
            let mut config = CriticConfig::default();
            change(&mut config);
            Critic::new().configure(config).unwrap_err().get("field").unwrap().to_owned()
        };
        assert_eq!(of(|it| it.pass = 101), "pass");
        assert_eq!(of(|it| it.regenerate = 71), "regenerate");
        assert_eq!(of(|it| it.low = 9), "high");
        assert_eq!(of(|it| it.rounds = 0), "rounds");
    }

    #[derive(Debug)]
    struct Broken(bool);

    #[async_trait]
    impl Check for Broken {
        fn name(&self) -> &str {
            "broken"
        }

        async fn check(&self, _ctx: &Context, _draft: &Draft) -> Result<Vec<Finding>> {
            assert!(!self.0, "broken");
            Err(Error::new(ErrorKind::Unavailable, "host.check", "no answer"))
        }
    }

    #[tokio::test]
    async fn a_check_that_fails_or_panics_gives_no_score() {
        let ctx = Context::new(&Runtime::current().unwrap());
        for (panics, kind) in [(false, ErrorKind::Unavailable), (true, ErrorKind::Callback)] {
            let err = Critic::new().with(Broken(panics)).review(&ctx, &Draft::default()).await.unwrap_err();
            assert_eq!((err.kind(), err.get("check")), (kind, Some("broken")));
        }
    }
}
