//! `ReplayModel`: a chat model that gives the answers of a recorded run again.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt, fs,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use futures_util::stream;
use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, ErrorKind, Result},
    journal::{Entry, Fact},
    model::{ChatModel, ChatRequest, ChatStream, FinishReason, ModelInfo, StreamPart, bind_stream},
    runtime::Context,
    types::{Message, Part, Usage},
};

/// An answer of a model, and where in the run it was given.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Answer {
    #[serde(default, skip_serializing_if = "String::is_empty")]
    path: String,
    model: String,
    message: Message,
    usage: Usage,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    truncated: bool,
}

/// A chat model that gives the answers of a recorded run again, each place of the run its own, in their order; cloning
/// shares what is left.
///
/// What it is asked is not compared: a journal has the answers of models and not what they were asked.
/// A place of the run that has no answer left gets a `NotFound` error.
///
/// ```
/// use raptorflow_core::{Agent, Engine, model::{CannedModel, Model}, testing::ReplayModel};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> raptorflow_core::Result<()> {
/// let agent = |model| Agent::builder("greeter").model_instance(model).build();
/// let first = Engine::builder().build().await?;
/// let run = first.run(agent(Model::new(CannedModel::new("Hello.")))?, "Hi").await?.run_id;
/// let recorded = ReplayModel::from_entries(&first.history(run, 0, usize::MAX).await?);
///
/// let second = Engine::builder().build().await?;
/// assert_eq!(second.run(agent(Model::new(recorded.clone()))?, "Hi").await?.text(), "Hello.");
/// assert_eq!(recorded.left(), 0);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct ReplayModel {
    info: Arc<ModelInfo>,
    // A std mutex: no await happens while it is held.
    answers: Arc<Mutex<BTreeMap<String, VecDeque<Answer>>>>,
}

impl ReplayModel {
    /// The answers that stand in a run's journal.
    #[must_use]
    pub fn from_entries(entries: &[Entry]) -> Self {
        Self::new(entries.iter().filter_map(|entry| match &entry.fact {
            Fact::ModelResponded { model, message, usage, truncated, .. } => Some(Answer {
                path: entry.path.to_string(),
                model: model.clone(),
                message: message.clone(),
                usage: *usage,
                truncated: *truncated,
            }),
            _ => None,
        }))
    }

    /// The answers of a file that [`ReplayModel::save`] wrote.
    ///
    /// # Errors
    /// `NotFound` when there is none, and `Corrupt` with the line that is no answer.
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let text = fs::read_to_string(path).map_err(|err| {
            Error::new(ErrorKind::NotFound, "replay.load", "cannot read the answers")
                .with("file", path.display())
                .caused_by(err)
        })?;
        let answer = |(index, line)| {
            serde_json::from_str::<Answer>(line).map_err(|_| {
                Error::new(ErrorKind::Corrupt, "replay.load", "the line is no recorded answer")
                    .with("file", path.display())
                    .with("line", index + 1)
            })
        };
        let lines = text.lines().enumerate().filter(|(_, line): &(usize, &str)| !line.trim().is_empty());
        Ok(Self::new(lines.map(answer).collect::<Result<Vec<_>>>()?))
    }

    /// Writes the answers that are left to a file, a line of JSON each; they hold what the models said.
    ///
    /// # Errors
    /// `Unavailable` when the file cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let failed = |err: std::io::Error| {
            Error::new(ErrorKind::Unavailable, "replay.save", "cannot write the answers")
                .with("file", path.display())
                .caused_by(err)
        };
        let answers = self.lock();
        let lines = answers.values().flatten().map(serde_json::to_string);
        let lines = lines.collect::<serde_json::Result<Vec<_>>>().map_err(|err| failed(err.into()))?;
        fs::write(path, lines.join("\n") + "\n").map_err(failed)
    }

    /// How many answers are left.
    #[must_use]
    pub fn left(&self) -> usize {
        self.lock().values().map(VecDeque::len).sum()
    }

    /// Under another name.
    #[must_use]
    pub fn named(self, name: impl Into<Arc<str>>) -> Self {
        let info = ModelInfo { name: name.into(), ..(*self.info).clone() };
        self.with_info(info)
    }

    /// Another name, abilities or limits than those of a model that can do everything.
    #[must_use]
    pub fn with_info(mut self, info: ModelInfo) -> Self {
        self.info = Arc::new(info);
        self
    }

    fn new(answers: impl IntoIterator<Item = Answer>) -> Self {
        let mut places: BTreeMap<String, VecDeque<Answer>> = BTreeMap::new();
        for answer in answers {
            places.entry(answer.path.clone()).or_default().push_back(answer);
        }
        Self { info: Arc::new(ModelInfo::new("replay:model")), answers: Arc::new(Mutex::new(places)) }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, VecDeque<Answer>>> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for ReplayModel {
    /// Without the answers, which are content.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplayModel").field("left", &self.left()).finish_non_exhaustive()
    }
}

#[async_trait]
impl ChatModel for ReplayModel {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    async fn stream(&self, ctx: &Context, request: &ChatRequest) -> Result<ChatStream> {
        self.info.check(request)?;
        let answer = self.lock().get_mut(&**ctx.path()).and_then(VecDeque::pop_front).ok_or_else(|| {
            let message = "no recorded answer is left for this place of the run";
            Error::new(ErrorKind::NotFound, "replay.stream", message).with("path", ctx.path())
        })?;
        Ok(bind_stream(ctx, &self.info.name, stream::iter(parts(answer).into_iter().map(Ok))))
    }
}

fn parts(answer: Answer) -> Vec<StreamPart> {
    let mut parts = vec![StreamPart::Model { name: answer.model.into() }];
    let mut calls = 0;
    for part in answer.message.parts {
        match part {
            Part::Text { text } => parts.push(StreamPart::Text { text }),
            Part::Reasoning { text, opaque } => parts.push(StreamPart::Reasoning { text, opaque }),
            Part::ToolCall(call) => {
                parts.push(StreamPart::ToolCall {
                    index: calls,
                    id: Some(call.id),
                    name: Some(call.name),
                    arguments: call.arguments.to_string(),
                });
                calls += 1;
            }
            // Models say nothing else.
            _ => {}
        }
    }
    let reason = match (answer.truncated, calls) {
        (true, _) => FinishReason::Length,
        (false, 0) => FinishReason::Stop,
        (false, _) => FinishReason::ToolCalls,
    };
    parts.extend([StreamPart::Usage { usage: answer.usage }, StreamPart::Finish { reason }]);
    parts
}
