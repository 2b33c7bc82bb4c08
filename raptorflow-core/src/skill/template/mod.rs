//! Jinja templates within limits: bounded steps, bounded output, and a choice of what an unknown name does.

mod config;
mod escape;
mod filters;
mod scan;
mod template;

pub use config::{Escape, TemplateConfig, Undefined};
pub(crate) use escape::{Authored, TAG};
pub(crate) use scan::{Scan, guarded};
pub use template::Template;
pub(crate) use template::{environment, problem, render};
