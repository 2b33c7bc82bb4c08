//! `ConstitutionBook`: a constitution in the store, with the corrections that speak for changes of it.

use serde::{Deserialize, Serialize};

use crate::{
    agent::review::{Constitution, Correction, Proposal, propose},
    error::{Error, ErrorKind, Result},
    runtime::Context,
    storage::{Expect, Storage},
};

/// How many corrections are kept; the oldest leave first.
const MAX_CORRECTIONS: usize = 200;
/// How long the two texts of a correction may be together, in bytes.
const MAX_CORRECTION: usize = 64 * 1024;
/// How often a change is tried again when somebody else wrote meanwhile.
const MAX_TRIES: usize = 16;
/// How many corrections speak for a proposal at least.
const LEAST: usize = 3;

/// A constitution in the store of a tenant, and what people corrected.
///
/// Corrections only propose; nothing is in force before it is accepted.
/// Several processes may write one book: a change is made again when another came between.
/// It keeps the texts of the last 200 corrections as they were given, which leave with the tenant.
///
/// ```
/// use raptorflow_core::agent::review::{ConstitutionBook, Correction};
/// use raptorflow_core::{runtime::{Context, Runtime}, storage::Storage};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> raptorflow_core::Result<()> {
/// let ctx = Context::new(&Runtime::current()?);
/// let book = ConstitutionBook::new(Storage::memory(), "letters");
/// for answer in ["Ready 🎉", "Sent 🚀", "Paid 💰"] {
///     book.learn(&ctx, Correction::new(answer, answer.split(' ').next().unwrap_or_default())).await?;
/// }
/// assert!(book.constitution(&ctx).await?.policies.is_empty());
/// assert_eq!(book.proposals(&ctx).await?[0].policy.name, "no_emojis");
/// assert_eq!(book.accept(&ctx, "no_emojis").await?.policies.len(), 1);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct ConstitutionBook {
    storage: Storage,
    key: String,
    least: usize,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Stored {
    constitution: Constitution,
    corrections: Vec<Correction>,
    /// Names of proposals that somebody declined.
    declined: Vec<String>,
}

impl Stored {
    fn proposals(&self, least: usize) -> Vec<Proposal> {
        let known = |name: &String| {
            self.declined.contains(name)
                || self.constitution.policies.iter().any(|policy| policy.name == *name)
        };
        let mut proposals = propose(&self.corrections, least);
        proposals.retain(|proposal| !known(&proposal.policy.name));
        proposals
    }
}

impl ConstitutionBook {
    /// The book of a name; 3 corrections speak for a proposal at least.
    #[must_use]
    pub fn new(storage: Storage, name: &str) -> Self {
        Self { storage, key: format!("constitution/{name}"), least: LEAST }
    }

    /// Another number of corrections that speak for a proposal at least; 0 counts as 1.
    #[must_use]
    pub fn with_least(mut self, corrections: usize) -> Self {
        self.least = corrections;
        self
    }

    /// What is in force; nothing when nothing was set.
    ///
    /// # Errors
    /// What the store says.
    pub async fn constitution(&self, ctx: &Context) -> Result<Constitution> {
        Ok(self.read(ctx).await?.0.constitution)
    }

    /// Puts a constitution in force.
    ///
    /// # Errors
    /// As [`Constitution::validate`]; what the store says.
    pub async fn set(&self, ctx: &Context, constitution: Constitution) -> Result<()> {
        constitution.validate()?;
        self.change(ctx, |stored| {
            stored.constitution = constitution.clone();
            Ok(())
        })
        .await
    }

    /// Keeps a correction, and gives what is proposed now.
    ///
    /// # Errors
    /// `LimitExceeded` for a correction of more than 64 KiB; what the store says.
    pub async fn learn(&self, ctx: &Context, correction: Correction) -> Result<Vec<Proposal>> {
        let bytes = correction.before.len().saturating_add(correction.after.len());
        if bytes > MAX_CORRECTION {
            let message = "the correction is too long";
            return Err(Error::new(ErrorKind::LimitExceeded, "constitution.learn", message)
                .with("bytes", bytes)
                .with("most", MAX_CORRECTION));
        }
        self.change(ctx, |stored| {
            stored.corrections.push(correction.clone());
            let old = stored.corrections.len().saturating_sub(MAX_CORRECTIONS);
            stored.corrections.drain(..old);
            Ok(stored.proposals(self.least))
        })
        .await
    }

    /// What the corrections speak for and nobody accepted or declined, by name.
    ///
    /// # Errors
    /// What the store says.
    pub async fn proposals(&self, ctx: &Context) -> Result<Vec<Proposal>> {
        Ok(self.read(ctx).await?.0.proposals(self.least))
    }

    /// Puts a proposal in force and gives the constitution.
    ///
    /// # Errors
    /// `NotFound` when there is no proposal of this name any more; what the store says.
    pub async fn accept(&self, ctx: &Context, name: &str) -> Result<Constitution> {
        self.change(ctx, |stored| {
            let proposal = self.named(stored, name)?;
            stored.constitution.policies.push(proposal.policy);
            Ok(stored.constitution.clone())
        })
        .await
    }

    /// Declines a proposal, which then does not come back.
    ///
    /// # Errors
    /// `NotFound` when there is no proposal of this name; what the store says.
    pub async fn decline(&self, ctx: &Context, name: &str) -> Result<()> {
        self.change(ctx, |stored| {
            let proposal = self.named(stored, name)?;
            stored.declined.push(proposal.policy.name);
            Ok(())
        })
        .await
    }

    fn named(&self, stored: &Stored, name: &str) -> Result<Proposal> {
        stored.proposals(self.least).into_iter().find(|it| it.policy.name == name).ok_or_else(|| {
            let message = "there is no proposal of this name";
            Error::new(ErrorKind::NotFound, "constitution.accept", message).with("proposal", name)
        })
    }

    async fn read(&self, ctx: &Context) -> Result<(Stored, Expect)> {
        let found = self.storage.get_json(ctx, &self.key).await?;
        Ok(found.map_or((Stored::default(), Expect::Absent), |(stored, at)| (stored, Expect::Version(at))))
    }

    async fn change<T>(&self, ctx: &Context, change: impl Fn(&mut Stored) -> Result<T>) -> Result<T> {
        let mut tries = 0;
        loop {
            let (mut stored, expect) = self.read(ctx).await?;
            let value = change(&mut stored)?;
            match self.storage.put_json(ctx, &self.key, &stored, expect).await {
                Ok(_) => return Ok(value),
                Err(err) if err.kind() == ErrorKind::Conflict && tries < MAX_TRIES => tries += 1,
                Err(err) => return Err(err),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        agent::review::{Policy, Rule},
        runtime::Runtime,
    };

    async fn taught(storage: &Storage, ctx: &Context) -> ConstitutionBook {
        let book = ConstitutionBook::new(storage.clone(), "a");
        for word in ["one", "two", "three"] {
            book.learn(ctx, Correction::new(format!("very {word} and so on!"), format!("{word} and so on")))
                .await
                .unwrap();
        }
        book
    }

    fn names(proposals: &[Proposal]) -> Vec<&str> {
        proposals.iter().map(|it| it.policy.name.as_str()).collect()
    }

    #[tokio::test]
    async fn nothing_is_in_force_before_it_is_accepted_and_the_store_keeps_it() {
        let (storage, ctx) = (Storage::memory(), Context::new(&Runtime::current().unwrap()));
        let book = taught(&storage, &ctx).await;
        assert_eq!(names(&book.proposals(&ctx).await.unwrap()), ["banned.very", "formal"]);
        assert_eq!(book.constitution(&ctx).await.unwrap(), Constitution::default());
        book.accept(&ctx, "banned.very").await.unwrap();
        book.decline(&ctx, "formal").await.unwrap();
        let again = ConstitutionBook::new(storage, "a");
        assert_eq!(again.constitution(&ctx).await.unwrap().policies[0].name, "banned.very");
        assert!(again.learn(&ctx, Correction::new("very four!", "four")).await.unwrap().is_empty());
        assert_eq!(again.accept(&ctx, "formal").await.unwrap_err().kind(), ErrorKind::NotFound);
    }

    #[tokio::test]
    async fn concurrent_corrections_are_all_kept() {
        let (storage, ctx) = (Storage::memory(), Context::new(&Runtime::current().unwrap()));
        let book = ConstitutionBook::new(storage, "a").with_least(8);
        let all = (0..8).map(|at| book.learn(&ctx, Correction::new(format!("very {at}"), format!("{at}"))));
        futures_util::future::try_join_all(all).await.unwrap();
        assert_eq!(book.proposals(&ctx).await.unwrap()[0].seen, 8);
    }

    #[tokio::test]
    async fn corrections_are_bounded_and_a_faulty_constitution_is_not_kept() {
        let ctx = Context::new(&Runtime::current().unwrap());
        let book = ConstitutionBook::new(Storage::memory(), "a");
        let long = Correction::new("x".repeat(MAX_CORRECTION), "y");
        assert_eq!(book.learn(&ctx, long).await.unwrap_err().kind(), ErrorKind::LimitExceeded);
        for _ in 0..MAX_CORRECTIONS + 2 {
            book.learn(&ctx, Correction::new("very x", "x")).await.unwrap();
        }
        assert_eq!(book.proposals(&ctx).await.unwrap()[0].of, MAX_CORRECTIONS);
        let faulty = Constitution { policies: vec![Policy::new("", Rule::NoEmojis)] };
        assert!(book.set(&ctx, faulty).await.is_err());
        let good = Constitution { policies: vec![Policy::new("x", Rule::NoEmojis)] };
        book.set(&ctx, good.clone()).await.unwrap();
        assert_eq!(book.constitution(&ctx).await.unwrap(), good);
    }
}
