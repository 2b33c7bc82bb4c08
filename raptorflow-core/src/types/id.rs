//! Newtype ids: time-ordered ones for runs and events, checked names for agents and tenants.

use std::{
    borrow::Borrow,
    fmt,
    str::FromStr,
    sync::{Arc, LazyLock},
};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::error::{Error, ErrorKind, Result};

/// The longest name of an agent or tenant, in bytes.
const MAX_NAME: usize = 128;

macro_rules! uuid_type {
    ($(#[$doc:meta])* $name:ident, $field:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// Wraps a UUID that a generator made.
            #[must_use]
            pub const fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }

            /// The UUID inside.
            #[must_use]
            pub const fn as_uuid(&self) -> &Uuid {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.hyphenated().fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self> {
                Uuid::parse_str(text).map(Self).map_err(|err| {
                    Error::new(ErrorKind::InvalidInput, "id.parse", "expected a UUID")
                        .with("field", $field)
                        .with("value", text)
                        .caused_by(err)
                })
            }
        }
    };
}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident, $field:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks and wraps a name: 1 to 128 bytes, no `/`, no white space at the ends, no control characters.
            ///
            /// # Errors
            /// `InvalidInput` that names the field, the value and what was expected.
            pub fn new(name: impl Into<Arc<str>>) -> Result<Self> {
                let name = name.into();
                check_name($field, &name)?;
                Ok(Self(name))
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self> {
                Self::new(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = Error;

            fn try_from(text: String) -> Result<Self> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0.as_ref().to_owned()
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl PartialEq<str> for $name {
            fn eq(&self, other: &str) -> bool {
                self.as_str() == other
            }
        }
    };
}

uuid_type!(
    /// One execution: a version 7 UUID, so that ids sort by the time they were made.
    RunId,
    "run"
);
uuid_type!(
    /// One event on the bus: a version 7 UUID, strictly increasing within a process.
    EventId,
    "event"
);
name_type!(
    /// The name of an agent.
    AgentId,
    "agent"
);
name_type!(
    /// The name of a tenant; storage keeps tenants apart.
    TenantId,
    "tenant"
);

impl AgentId {
    /// The name as text that is shared with this.
    #[must_use]
    pub(crate) fn shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }

    /// The name of something that nobody named: the word for its kind, and digits that tell it apart.
    pub(crate) fn of_kind(kind: &'static str, digits: &str) -> Self {
        let digits: String = digits.chars().filter(char::is_ascii_alphanumeric).take(16).collect();
        Self(format!("{kind}-{digits}").into())
    }
}

/// Every context begins with it.
static DEFAULT_TENANT: LazyLock<Arc<str>> = LazyLock::new(|| Arc::from("default"));

impl Default for TenantId {
    /// The tenant of a program that has only one.
    fn default() -> Self {
        Self(Arc::clone(&DEFAULT_TENANT))
    }
}

fn check_name(field: &'static str, name: &str) -> Result<()> {
    let expected = if name.is_empty() {
        "expected a name, got an empty one"
    } else if name.len() > MAX_NAME {
        "expected a name of at most 128 bytes"
    } else if name.chars().any(|c| c.is_control() || c == '/') {
        "expected a name without slashes and control characters"
    } else if name.trim() != name {
        "expected a name without white space at its ends"
    } else {
        return Ok(());
    };
    let shown: String = name.chars().take(MAX_NAME).collect();
    Err(Error::new(ErrorKind::InvalidInput, "id.new", expected).with("field", field).with("value", shown))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_also_when_they_come_from_data() {
        for bad in ["", "a/b", " a", "a\n", &"x".repeat(129)] {
            assert_eq!(AgentId::new(bad).unwrap_err().kind(), ErrorKind::InvalidInput);
            assert!(serde_json::from_value::<TenantId>(serde_json::json!(bad)).is_err());
        }
        assert_eq!(AgentId::new("prix élevé").unwrap().as_str(), "prix élevé");
    }

    #[test]
    fn a_run_id_survives_text() {
        let id = RunId::from_uuid(Uuid::now_v7());
        assert_eq!(id.to_string().parse::<RunId>().unwrap(), id);
        assert_eq!("nope".parse::<RunId>().unwrap_err().get("value"), Some("nope"));
    }
}
