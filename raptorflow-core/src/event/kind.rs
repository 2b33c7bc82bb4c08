//! The 21 kinds of events in four groups, and the nine channels.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};

macro_rules! named {
    ($(#[$doc:meta])* $type:ident, $field:literal, { $($(#[$item_doc:meta])* $variant:ident = $name:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub enum $type {
            $($(#[$item_doc])* $variant,)*
            /// A name of the host's own.
            Custom(Arc<str>),
        }

        impl $type {
            /// The built-in ones, in the order of declaration.
            pub const BUILT_IN: &'static [Self] = &[$(Self::$variant),*];

            /// Its name.
            #[must_use]
            pub fn name(&self) -> &str {
                match self {
                    $(Self::$variant => $name,)*
                    Self::Custom(name) => name,
                }
            }
        }

        impl FromStr for $type {
            type Err = Error;

            /// A built-in name gives the built-in one, any other in snake case a custom one.
            fn from_str(text: &str) -> Result<Self> {
                match text {
                    $($name => Ok(Self::$variant),)*
                    custom => check_custom($field, custom).map(|()| Self::Custom(Arc::from(custom))),
                }
            }
        }

        impl TryFrom<String> for $type {
            type Error = Error;

            fn try_from(text: String) -> Result<Self> {
                text.parse()
            }
        }

        impl From<$type> for String {
            fn from(value: $type) -> Self {
                value.name().to_owned()
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.name())
            }
        }
    };
}

named!(
    /// What happened.
    EventKind, "kind", {
        /// Agent execution: an agent began.
        AgentStarted = "agent_started",
        /// Agent execution: an agent ended well.
        AgentCompleted = "agent_completed",
        /// Agent execution: an agent ended with an error; never followed by a completion.
        AgentFailed = "agent_failed",
        /// Agent execution: a model or tool was used.
        CapabilityExecuted = "capability_executed",
        /// Agent execution: an agent has its answer.
        ResultGenerated = "result_generated",
        /// Data: something was stored.
        DataCreated = "data_created",
        /// Data: something stored was changed.
        DataUpdated = "data_updated",
        /// Data: something stored was removed.
        DataDeleted = "data_deleted",
        /// Data: something stored was searched or read.
        DataQueried = "data_queried",
        /// Data: something was checked.
        DataValidated = "data_validated",
        /// Communication: a message left.
        MessageSent = "message_sent",
        /// Communication: a message arrived.
        MessageReceived = "message_received",
        /// Communication: somebody is to be notified.
        NotificationTriggered = "notification_triggered",
        /// Communication: a message to several channels began.
        BroadcastInitiated = "broadcast_initiated",
        /// Communication: a reply reached who asked.
        ResponseDelivered = "response_delivered",
        /// System: something failed.
        ErrorOccurred = "error_occurred",
        /// System: something is worth a look.
        WarningIssued = "warning_issued",
        /// System: a measurement.
        MetricRecorded = "metric_recorded",
        /// System: a state changed.
        StatusUpdated = "status_updated",
        /// System: something was assigned.
        ResourceAllocated = "resource_allocated",
        /// System: a workflow or orchestrated task ended.
        WorkflowCompleted = "workflow_completed",
    }
);

named!(
    /// Where it is told.
    Channel, "channel", {
        /// Agents at work.
        AgentExecution = "agent_execution",
        /// Data that changes.
        DataOperations = "data_operations",
        /// Agents that talk to each other.
        AgentCommunication = "agent_communication",
        /// The system itself.
        SystemEvents = "system_events",
        /// Failures.
        ErrorHandling = "error_handling",
        /// Measurements.
        Metrics = "metrics",
        /// Workflows and orchestrated tasks.
        Workflows = "workflows",
        /// What people are told.
        Notifications = "notifications",
        /// What is counted for reports.
        Analytics = "analytics",
    }
);

impl EventKind {
    /// The channel that a kind goes to unless the publisher says otherwise.
    #[must_use]
    pub fn channel(&self) -> Channel {
        match self {
            Self::AgentStarted | Self::AgentCompleted | Self::CapabilityExecuted | Self::ResultGenerated => {
                Channel::AgentExecution
            }
            Self::DataCreated
            | Self::DataUpdated
            | Self::DataDeleted
            | Self::DataQueried
            | Self::DataValidated => Channel::DataOperations,
            Self::MessageSent
            | Self::MessageReceived
            | Self::BroadcastInitiated
            | Self::ResponseDelivered => Channel::AgentCommunication,
            Self::NotificationTriggered => Channel::Notifications,
            Self::AgentFailed | Self::ErrorOccurred => Channel::ErrorHandling,
            Self::MetricRecorded => Channel::Metrics,
            Self::WorkflowCompleted => Channel::Workflows,
            Self::WarningIssued | Self::StatusUpdated | Self::ResourceAllocated | Self::Custom(_) => {
                Channel::SystemEvents
            }
        }
    }
}

fn check_custom(field: &'static str, name: &str) -> Result<()> {
    let fits = (1..=64).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'.'));
    if fits {
        return Ok(());
    }
    let expected = "expected 1 to 64 characters of a-z, 0-9, `_` and `.`";
    Err(Error::new(ErrorKind::InvalidInput, "event.name", expected).with("field", field).with("value", name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_21_kinds_and_9_channels_and_names_survive_text() {
        assert_eq!((EventKind::BUILT_IN.len(), Channel::BUILT_IN.len()), (21, 9));
        for kind in EventKind::BUILT_IN {
            assert_eq!(&kind.name().parse::<EventKind>().unwrap(), kind);
        }
        for channel in Channel::BUILT_IN {
            assert_eq!(&channel.name().parse::<Channel>().unwrap(), channel);
        }
        assert_eq!("my.kind".parse::<EventKind>().unwrap(), EventKind::Custom("my.kind".into()));
        assert!("My Kind".parse::<Channel>().is_err());
    }
}
