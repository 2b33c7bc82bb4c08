//! `SkillFinder`: skills by what they are about, so that `skill` and `rag` stay strangers.

use std::sync::Arc;

use serde::Serialize;

use crate::{
    error::Result,
    rag::{Document, Embedder, KnowledgeBase},
    runtime::Context,
    skill::{SkillRegistry, SkillSummary},
};

/// A skill that fits a task.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct FoundSkill {
    /// What it is.
    pub skill: SkillSummary,
    /// How well it fits; higher is better, and comparable within one search only.
    pub score: f32,
}

/// Finds the skills of a registry by what they are about, in words and in meaning.
///
/// It searches names, descriptions and tags, the same way as a [`KnowledgeBase`] searches documents.
/// Skills that came, changed or went since the search before are taken in by the next one, so that a folder that is read
/// again needs nothing more.
///
/// ```
/// use raptorflow_core::{agent::SkillFinder, rag::HashingEmbedder, runtime::{Context, Runtime}};
/// use raptorflow_core::skill::{Skill, SkillRegistry};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> raptorflow_core::Result<()> {
/// let skill = |id: &str, about: &str| {
///     let front = format!("skill_id: {id}\nname: A skill\ndescription: {about}\nversion: 1.0.0");
///     Skill::parse(&format!("---\n{front}\n---\n## MISSION\nDo it.\n"))
/// };
/// let skills = SkillRegistry::new();
/// skills.insert(skill("writing.summary.v1", "Shortens a text to what matters.")?)?;
/// skills.insert(skill("finance.gst.v1", "Works out the tax on an invoice.")?)?;
/// let finder = SkillFinder::new(skills, HashingEmbedder::default()).await?;
/// let found = finder.find(&Context::new(&Runtime::current()?), "tax on my invoice", 1).await?;
/// assert_eq!(found[0].skill.id.as_str(), "finance.gst.v1");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct SkillFinder {
    skills: SkillRegistry,
    index: Arc<KnowledgeBase>,
}

impl SkillFinder {
    /// A finder over a registry; the embedder is asked for the vector of each description once.
    ///
    /// # Errors
    /// `Unavailable` outside of a Tokio runtime.
    pub async fn new(skills: SkillRegistry, embedder: impl Embedder) -> Result<Self> {
        Ok(Self { skills, index: Arc::new(KnowledgeBase::in_memory(embedder).await?) })
    }

    /// The skills that fit a task, best first, at most `limit`.
    ///
    /// # Errors
    /// What the embedder says.
    ///
    /// # Cancellation
    /// Dropping the future leaves nothing half done.
    pub async fn find(&self, ctx: &Context, task: &str, limit: usize) -> Result<Vec<FoundSkill>> {
        let index = self.index.with_context(ctx)?;
        let about = self.skills.descriptions().into_iter();
        index.add(about.map(|(id, text)| Document::new(id.to_string(), text))).remove_missing().await?;
        if index.is_empty() {
            return Ok(Vec::new());
        }
        let hits = index.search(task).k(limit).await?;
        // A skill that went in between is no answer any more.
        let found = hits.into_iter().filter_map(|hit| {
            let skill = self.skills.get(&hit.document).ok()?.summary();
            Some(FoundSkill { skill, score: hit.score })
        });
        Ok(found.collect())
    }
}
