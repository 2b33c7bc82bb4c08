//! `ModelProfile`: what is known or stated of models by their names, as data.

use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, ErrorKind, Result},
    model::{ModelAbilities, ModelInfo},
};

/// What this build knows; the host states more.
const KNOWN: &str = include_str!("known.toml");

/// One thing that a model can or cannot do; each is a field of [`ModelAbilities`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Ability {
    /// [`ModelAbilities::tools`].
    Tools,
    /// [`ModelAbilities::structured`].
    Structured,
    /// [`ModelAbilities::strict`].
    Strict,
    /// [`ModelAbilities::images`].
    Images,
    /// [`ModelAbilities::documents`].
    Documents,
    /// [`ModelAbilities::reasoning`].
    Reasoning,
    /// [`ModelAbilities::minimal_reasoning`].
    MinimalReasoning,
    /// [`ModelAbilities::reasoning_budget`].
    ReasoningBudget,
    /// [`ModelAbilities::parallel_tools`].
    ParallelTools,
    /// [`ModelAbilities::temperature`].
    Temperature,
    /// [`ModelAbilities::top_p`].
    TopP,
    /// [`ModelAbilities::stop`].
    Stop,
    /// [`ModelAbilities::seed`].
    Seed,
}

/// What is known or stated of the models whose names fit; what it leaves out stays as it was.
///
/// This build knows the usual models from a file of such profiles, and a host adds its own in
/// [`ProviderSettings::profiles`](crate::model::ProviderSettings), or in the configuration of a backend.
///
/// ```
/// use raptorflow_core::model::{Ability, ModelInfo, ModelProfile};
/// let known = ModelInfo::known("openai", "gpt-4o-mini", &[])?;
/// assert_eq!((known.context_window, known.abilities.images), (Some(128_000), true));
/// let mine = ModelProfile::named("my-vl-*").with_context_window(32_768).can([Ability::Images]);
/// let info = ModelInfo::known("vllm", "my-vl-7b", &[mine])?;
/// assert_eq!((info.context_window, info.abilities.images, info.abilities.documents), (Some(32_768), true, false));
/// # Ok::<(), raptorflow_core::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct ModelProfile {
    /// Whose models; any provider's when `None`.
    pub provider: Option<String>,
    /// Which models: a name without the provider, in which `*` stands for any text.
    pub name: String,
    /// How many tokens fit, input and output together.
    pub context_window: Option<u32>,
    /// The longest answer in tokens.
    pub max_output_tokens: Option<u32>,
    /// What they can do.
    pub can: Vec<Ability>,
    /// What they cannot do.
    pub cannot: Vec<Ability>,
}

impl ModelProfile {
    /// Models of this name, in which `*` stands for any text.
    #[must_use]
    pub fn named(name: impl Into<String>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }

    /// How many tokens fit, input and output together.
    #[must_use]
    pub const fn with_context_window(mut self, tokens: u32) -> Self {
        self.context_window = Some(tokens);
        self
    }

    /// The longest answer in tokens.
    #[must_use]
    pub const fn with_max_output_tokens(mut self, tokens: u32) -> Self {
        self.max_output_tokens = Some(tokens);
        self
    }

    /// They can do this too.
    #[must_use]
    pub fn can(mut self, abilities: impl IntoIterator<Item = Ability>) -> Self {
        self.can.extend(abilities);
        self
    }

    /// They cannot do this.
    #[must_use]
    pub fn cannot(mut self, abilities: impl IntoIterator<Item = Ability>) -> Self {
        self.cannot.extend(abilities);
        self
    }

    fn fits(&self, provider: &str, model: &str) -> bool {
        self.provider.as_deref().is_none_or(|known| known == provider) && matches(&self.name, model)
    }

    fn apply(&self, info: &mut ModelInfo) {
        info.context_window = self.context_window.or(info.context_window);
        info.max_output_tokens = self.max_output_tokens.or(info.max_output_tokens);
        self.can.iter().for_each(|ability| *field(&mut info.abilities, *ability) = true);
        self.cannot.iter().for_each(|ability| *field(&mut info.abilities, *ability) = false);
    }
}

impl ModelInfo {
    /// What this build knows of a model by its name, and then what the host states, in order.
    ///
    /// An unknown model is taken for one that reads text alone, calls tools, answers in a schema and takes the usual
    /// options, and nothing is known of its limits.
    ///
    /// # Errors
    /// `Internal` when the file of this build cannot be read.
    pub fn known(provider: &str, model: &str, stated: &[ModelProfile]) -> Result<Self> {
        let known: Known = toml::from_str(KNOWN).map_err(|err| {
            Error::new(ErrorKind::Internal, "model.known", "the file of known models cannot be read")
                .caused_by(err)
        })?;
        let mut info = Self { abilities: nothing(), ..Self::new(format!("{provider}:{model}")) };
        let profiles = known.model.iter().chain(stated);
        profiles.filter(|profile| profile.fits(provider, model)).for_each(|profile| profile.apply(&mut info));
        Ok(info)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Known {
    model: Vec<ModelProfile>,
}

/// A model of which no profile has said anything yet.
fn nothing() -> ModelAbilities {
    ModelAbilities { temperature: false, top_p: false, stop: false, seed: false, ..ModelAbilities::default() }
}

fn field(abilities: &mut ModelAbilities, ability: Ability) -> &mut bool {
    match ability {
        Ability::Tools => &mut abilities.tools,
        Ability::Structured => &mut abilities.structured,
        Ability::Strict => &mut abilities.strict,
        Ability::Images => &mut abilities.images,
        Ability::Documents => &mut abilities.documents,
        Ability::Reasoning => &mut abilities.reasoning,
        Ability::MinimalReasoning => &mut abilities.minimal_reasoning,
        Ability::ReasoningBudget => &mut abilities.reasoning_budget,
        Ability::ParallelTools => &mut abilities.parallel_tools,
        Ability::Temperature => &mut abilities.temperature,
        Ability::TopP => &mut abilities.top_p,
        Ability::Stop => &mut abilities.stop,
        Ability::Seed => &mut abilities.seed,
    }
}

/// Whether a name fits a pattern in which `*` stands for any text.
fn matches(pattern: &str, name: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else { return pattern == name };
    let Some(mut name) = name.strip_prefix(start) else { return false };
    let mut pieces = rest.split('*').peekable();
    while let Some(piece) = pieces.next() {
        if pieces.peek().is_none() {
            return name.ends_with(piece);
        }
        match name.split_once(piece) {
            Some((_, after)) => name = after,
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_text() {
        for (pattern, name, fits) in [
            ("*", "", true),
            ("gpt", "gpt", true),
            ("gpt", "gpt-5", false),
            ("gpt-5*", "gpt-5", true),
            ("gpt-5*", "my-gpt-5", false),
            ("*vl*", "qwen3-vl:8b", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("*-latest", "gpt-5-chat-latest", true),
        ] {
            assert_eq!(matches(pattern, name), fits, "{pattern} {name}");
        }
    }

    #[test]
    fn every_known_model_is_named_and_has_room_for_its_longest_answer() {
        let known: Known = toml::from_str(KNOWN).unwrap();
        for profile in &known.model {
            assert!(!profile.name.is_empty(), "{profile:?}");
            assert!(!profile.can.iter().any(|ability| profile.cannot.contains(ability)), "{profile:?}");
            let (window, answer) = (profile.context_window, profile.max_output_tokens);
            assert!(window.zip(answer).is_none_or(|(window, answer)| answer <= window), "{profile:?}");
        }
    }

    #[test]
    fn later_profiles_replace_and_unknown_models_read_text_alone() {
        let info =
            |provider, model, stated: &[ModelProfile]| ModelInfo::known(provider, model, stated).unwrap();
        let mini = info("openai", "o3-mini", &[]);
        assert!(mini.abilities.reasoning && !mini.abilities.images && !mini.abilities.temperature);
        assert_eq!(mini.max_output_tokens, Some(100_000));
        let unknown = info("nobody", "x", &[]);
        assert_eq!((&*unknown.name, unknown.context_window), ("nobody:x", None));
        assert!(unknown.abilities.tools && unknown.abilities.temperature && !unknown.abilities.images);
        assert!(!unknown.abilities.seed && !unknown.abilities.reasoning);
        let stated = [
            ModelProfile::named("o3*").cannot([Ability::Tools]).with_max_output_tokens(5),
            ModelProfile { provider: Some("other".into()), ..ModelProfile::named("*").can([Ability::Seed]) },
        ];
        let changed = info("openai", "o3-mini", &stated);
        assert!(!changed.abilities.tools && !changed.abilities.seed);
        assert_eq!((changed.context_window, changed.max_output_tokens), (Some(200_000), Some(5)));
    }
}
