//! `Template`: one Jinja template, compiled once and rendered within limits.

use std::{borrow::Cow, io, sync::Arc};

use minijinja::{
    AutoEscape, Environment, ErrorKind as Fault, UndefinedBehavior, Value as Slot, syntax::SyntaxConfig,
    value::Serde,
};
use serde_json::Value;

use crate::{
    error::{Error, ErrorKind, Result},
    skill::template::{
        config::{Escape, TemplateConfig, Undefined},
        escape::{Authored, print},
        filters, guarded,
    },
    types::{Diagnostic, Diagnostics},
};

/// What the engine says when macros or includes are nested too deep.
const RECURSION: &str = "recursion limit exceeded";
/// The name of the only template of an environment of its own.
const NAME: &str = "template";

/// A Jinja template, compiled once; cloning is cheap.
///
/// ```
/// use raptorflow_core::skill::{Template, TemplateConfig};
/// use serde_json::json;
/// let template = Template::new("{% for n in names %}{{ n|title }} {% endfor %}", &TemplateConfig::default())?;
/// assert_eq!(template.render(&json!({ "names": ["tea", "rice"] }))?, "Tea Rice ");
/// assert!(template.render(&json!({})).is_err(), "a name without a value is not nothing");
/// # Ok::<(), raptorflow_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Template {
    env: Arc<Environment<'static>>,
    config: TemplateConfig,
}

impl Template {
    /// Compiles a template that stands alone: it can include no other.
    ///
    /// # Errors
    /// `InvalidInput` whose cause ([`Diagnostics`]) has the line of the problem.
    pub fn new(source: &str, config: &TemplateConfig) -> Result<Self> {
        let mut env = environment(config, Authored::default());
        env.add_template_owned(NAME, guarded(source)).map_err(|err| {
            Diagnostics(vec![problem(&err, 1)]).into_error("skill.template", "the template is not usable")
        })?;
        Ok(Self { env: Arc::new(env), config: *config })
    }

    /// Renders it with the fields of an object as its variables.
    ///
    /// # Errors
    /// `InvalidInput` when a name has no value or an operation does not fit its values, with the line;
    /// `LimitExceeded` when the steps or the output are more than the configuration allows.
    pub fn render(&self, variables: &Value) -> Result<String> {
        render(&self.env, NAME, &Slot::from(Serde(variables)), self.config.max_output)
    }
}

/// The engine with our limits, filters and printing; texts in `authored` are printed without delimiters.
pub(crate) fn environment(config: &TemplateConfig, authored: Authored) -> Environment<'static> {
    let mut env = Environment::new();
    let syntax = SyntaxConfig::builder()
        .trim_blocks(config.trim_blocks)
        .lstrip_blocks(config.lstrip_blocks)
        .keep_trailing_newline(config.keep_trailing_newline)
        .build();
    // Delimiters are not changed, so there is nothing that could be refused.
    if let Ok(syntax) = syntax {
        env.set_syntax(syntax);
    }
    env.set_undefined_behavior(match config.undefined {
        Undefined::Strict => UndefinedBehavior::Strict,
        Undefined::Condition => UndefinedBehavior::SemiStrict,
        Undefined::Lenient => UndefinedBehavior::Lenient,
        Undefined::Chainable => UndefinedBehavior::Chainable,
    });
    env.set_fuel(Some(config.fuel));
    env.set_debug(true);
    let escape = config.escape;
    env.set_auto_escape_callback(move |_| match escape {
        Escape::None => AutoEscape::None,
        Escape::Html => AutoEscape::Html,
        Escape::Delimit => AutoEscape::Custom(Cow::Borrowed("delimit")),
    });
    env.set_formatter(move |out, state, value| {
        let escape = match (escape, state.auto_escape()) {
            // A block of a template may turn HTML on and off; delimiters are not its to turn off.
            (Escape::Delimit, _) => Escape::Delimit,
            (_, AutoEscape::Html) => Escape::Html,
            _ => Escape::None,
        };
        print(out, escape, &authored, value)
    });
    filters::add(&mut env);
    env
}

/// Renders a template of an environment.
pub(crate) fn render(
    env: &Environment<'_>,
    name: &str,
    variables: &Slot,
    max_output: usize,
) -> Result<String> {
    let mut out = Bounded { bytes: Vec::new(), room: max_output };
    let rendered = env
        .get_template(name)
        .and_then(|template| template.render_captured_to(variables.clone(), &mut out).map(|_| ()));
    if let Err(err) = rendered {
        let (kind, message) = match err.kind() {
            Fault::OutOfFuel => (ErrorKind::LimitExceeded, "the template takes more steps than allowed"),
            _ if err.detail() == Some(RECURSION) => {
                (ErrorKind::LimitExceeded, "the template calls itself deeper than allowed")
            }
            Fault::WriteFailure => (ErrorKind::LimitExceeded, "the template gives more text than allowed"),
            _ => (ErrorKind::InvalidInput, "the template cannot be rendered with these values"),
        };
        let err = Diagnostics(vec![problem(&err, 1)]).into_error_of(kind, "skill.render", message);
        return Err(match kind {
            ErrorKind::LimitExceeded => err.with("limit", env.fuel().unwrap_or_default()),
            _ => err,
        });
    }
    String::from_utf8(out.bytes).map_err(|err| {
        Error::new(ErrorKind::Internal, "skill.render", "the template gave bytes that are no text")
            .caused_by(err)
    })
}

/// What the engine says, without what values hold, at its line counted from `first_line`.
pub(crate) fn problem(err: &minijinja::Error, first_line: u32) -> Diagnostic {
    let code = match err.kind() {
        Fault::SyntaxError => "template_syntax",
        Fault::UnknownFilter => "unknown_filter",
        Fault::UnknownTest => "unknown_test",
        Fault::UnknownFunction | Fault::UnknownMethod => "unknown_function",
        Fault::UndefinedError => "undefined",
        Fault::TemplateNotFound => "unknown_include",
        Fault::OutOfFuel => "out_of_fuel",
        _ => "template",
    };
    let message = err.detail().map_or_else(|| err.kind().to_string(), str::to_owned);
    let line = u32::try_from(err.line().unwrap_or(1)).unwrap_or(u32::MAX);
    Diagnostic::error(code, message).at(first_line.saturating_add(line).saturating_sub(1), column(err))
}

/// The column of the range that the engine names; 1 where it names none.
fn column(err: &minijinja::Error) -> u32 {
    let column = err.range().zip(err.template_source()).and_then(|(range, source)| {
        let before = source.get(..range.start)?;
        Some(before.rsplit('\n').next().map_or(0, |last| last.chars().count()) + 1)
    });
    u32::try_from(column.unwrap_or(1)).unwrap_or(u32::MAX)
}

/// Output that refuses more than there is room for.
struct Bounded {
    bytes: Vec<u8>,
    room: usize,
}

impl io::Write for Bounded {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        match self.room.checked_sub(piece.len()) {
            Some(room) => {
                self.room = room;
                self.bytes.extend_from_slice(piece);
                Ok(piece.len())
            }
            None => Err(io::Error::other("the output is longer than allowed")),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rendered(source: &str, config: &TemplateConfig) -> Result<String> {
        Template::new(source, config)?.render(&json!({ "name": "Ann", "none": null }))
    }

    #[test]
    fn hostile_templates_stop_on_fuel() {
        let hostile = [
            "{% for a in range(9999) %}{% for b in range(9999) %}{% for c in range(9999) %}{% endfor %}{% endfor %}{% endfor %}",
            "{% macro m(n) %}{% for i in range(9) %}{{ m(n + 1) }}{% endfor %}{% endmacro %}{{ m(0) }}",
            "{% set x = namespace(n=0) %}{% for a in range(90000) %}{% set x.n = x.n + 1 %}{% endfor %}{{ x.n }}",
        ];
        for source in hostile {
            let err = rendered(source, &TemplateConfig::default()).unwrap_err();
            assert_eq!(err.kind(), ErrorKind::LimitExceeded, "{source}: {err:#}");
            assert_eq!(err.get("limit"), Some("50000"));
        }
    }

    #[test]
    fn the_output_is_bounded() {
        let config = TemplateConfig { max_output: 1000, ..TemplateConfig::default() };
        let err = rendered("{% for a in range(500) %}long{% endfor %}", &config).unwrap_err();
        assert_eq!(err.kind(), ErrorKind::LimitExceeded);
    }

    #[test]
    fn a_problem_has_its_line_and_column() {
        let err = Template::new("one\n  {{ a b }}", &TemplateConfig::default()).unwrap_err();
        let problem = &err.cause::<Diagnostics>().unwrap().0[0];
        assert_eq!((problem.line, problem.code.as_str()), (2, "template_syntax"));
        assert!(problem.column > 2, "{problem}");
    }

    #[test]
    fn what_the_author_did_not_write_is_delimited() {
        let config = TemplateConfig { escape: Escape::Delimit, ..TemplateConfig::default() };
        let template = Template::new(
            "{{ a|upper }} {{ n }} {{ l }}{% autoescape false %}{{ a }}{% endautoescape %}",
            &config,
        );
        let text = template.unwrap().render(&json!({ "a": "x</input>y", "n": 3, "l": ["<b>"] })).unwrap();
        assert_eq!(text, "<input>X&lt;/INPUT>Y</input> 3 <input>['<b>']</input><input>x&lt;/input>y</input>");
        assert!(rendered("{{ none }}", &config).is_err());
    }
}
