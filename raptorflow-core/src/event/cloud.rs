//! CloudEvents 1.0, structured JSON: an event to the format of other systems and back without a loss.

use std::{
    fmt::{Display, Write as _},
    str::FromStr,
    sync::Arc,
    time::Duration,
};

use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};
use uuid::Builder;

use crate::{
    error::{Error, ErrorKind, Result},
    event::{Channel, Event, EventKind},
    runtime::Context,
    types::{Digest, EventId},
};

/// What the types of our own events begin with.
const TYPE_PREFIX: &str = "raptorflow.";
/// What our extension attributes begin with, so that they meet nobody else's.
const OURS: &str = "rf";
/// Where an event of another system keeps its attributes, in `metadata`.
const FOREIGN: &str = "cloudevents";
/// The longest name of a kind.
const MAX_KIND: usize = 64;

type Fields = Map<String, Value>;

impl Event {
    /// The event as a CloudEvent in structured JSON.
    ///
    /// Its type is `raptorflow.` and the kind, its source `raptorflow/` and the tenant, its subject the agent; what
    /// CloudEvents has no name for is an extension attribute that begins with `rf`.
    /// An event that came from another system has that system's attributes again.
    #[must_use]
    pub fn to_cloud(&self) -> Value {
        let (foreign, own) = self.foreign();
        let mut out = Attributes(Map::new());
        if let Some(foreign) = foreign {
            out.0.clone_from(foreign);
            out.set("rfid", Some(self.id));
            out.set("rfkind", Some(&self.kind));
            out.set("rftime", Some(self.time));
        } else {
            out.set("specversion", Some("1.0"));
            out.set("id", Some(self.id));
            out.set("source", Some(format_args!("raptorflow/{}", escape(self.tenant.as_str(), is_reserved))));
            out.set("type", Some(format_args!("{TYPE_PREFIX}{}", self.kind)));
            out.set("time", Some(self.time));
            out.set("subject", self.agent.as_ref());
            out.set("datacontenttype", (!self.data.is_null()).then_some("application/json"));
        }
        out.set("traceparent", self.traceparent.as_ref());
        out.set("rfsequence", Some(self.sequence));
        out.set("rftenant", Some(&self.tenant));
        out.set("rfrun", self.run);
        out.set("rfpath", (!self.path.is_empty()).then_some(&self.path));
        out.set("rfchannel", Some(&self.channel));
        out.set("rfalso", (!self.also.is_empty()).then(|| json(&self.also)));
        out.set("rfagent", self.agent.as_ref());
        out.set("rfdomain", self.domain.as_ref());
        out.set("rfsender", self.source.as_ref());
        out.set("rftargets", (!self.targets.is_empty()).then(|| json(&self.targets)));
        out.set("rfstatus", Some(json(&self.status)));
        out.set("rfpriority", Some(json(&self.priority)));
        out.set("rfduration", self.duration.map(|it| it.as_nanos()));
        out.set("rfcorrelation", self.correlation);
        out.set("rfcausation", self.causation);
        out.set("rfmetadata", own.as_ref().map(json));
        if !self.data.is_null() {
            out.0.insert("data".to_owned(), self.data.clone());
        }
        Value::Object(out.0)
    }

    /// An event from a CloudEvent in structured JSON, our own or of another system.
    ///
    /// What the document does not say comes from the context.
    /// Tenant and run are taken from the document: a host that does not trust its sender sets them anew.
    /// The attributes of another system are kept in `metadata` under `cloudevents`; an id that is no UUID, and a type
    /// that is no name of a kind, become one.
    ///
    /// # Errors
    /// `InvalidInput` that names the attribute that is missing or malformed.
    pub fn from_cloud(ctx: &Context, document: &Value) -> Result<Self> {
        let given = Given(document.as_object().ok_or_else(|| bad("specversion", "expected a JSON object"))?);
        if given.required("specversion")? != "1.0" {
            return Err(bad("specversion", "expected 1.0"));
        }
        let (id, source, type_) = (given.required("id")?, given.required("source")?, given.required("type")?);
        let ours = type_.strip_prefix(TYPE_PREFIX).and_then(|kind| kind.parse::<EventKind>().ok());
        let mut metadata: Option<Fields> = given.json("rfmetadata")?;
        if ours.is_none() {
            metadata.get_or_insert_default().insert(FOREIGN.to_owned(), Value::Object(given.foreign()));
        }
        let kind = match (given.parsed("rfkind")?, ours) {
            (Some(kind), _) | (None, Some(kind)) => kind,
            (None, None) => foreign_kind(type_),
        };
        let time = given.parsed("rftime")?.or(given.parsed("time")?);
        Ok(Self {
            id: given.parsed("rfid")?.or_else(|| id.parse().ok()).unwrap_or_else(|| foreign_id(source, id)),
            sequence: given.parsed("rfsequence")?.unwrap_or(0),
            time: time.unwrap_or_else(|| ctx.now()),
            tenant: given.parsed("rftenant")?.unwrap_or_else(|| ctx.tenant().clone()),
            run: given.parsed("rfrun")?,
            path: given.text("rfpath")?.map(Arc::from).unwrap_or_default(),
            channel: given.parsed::<Channel>("rfchannel")?.unwrap_or_else(|| kind.channel()),
            kind,
            also: given.json("rfalso")?.unwrap_or_default(),
            agent: given.parsed("rfagent")?,
            domain: given.text("rfdomain")?.map(Arc::from),
            source: given.parsed("rfsender")?,
            targets: given.json("rftargets")?.unwrap_or_default(),
            status: given.json("rfstatus")?.unwrap_or_default(),
            priority: given.json("rfpriority")?.unwrap_or_default(),
            duration: given.parsed("rfduration")?.map(nanoseconds),
            correlation: given.parsed("rfcorrelation")?,
            causation: given.parsed("rfcausation")?,
            traceparent: given.text("traceparent")?.map(Arc::from),
            data: given.0.get("data").cloned().unwrap_or_default(),
            metadata: metadata.map(Box::new),
        })
    }

    /// The attributes of another system, and the rest of the metadata.
    fn foreign(&self) -> (Option<&Fields>, Option<Fields>) {
        let Some(metadata) = self.metadata.as_deref() else { return (None, None) };
        let foreign = metadata.get(FOREIGN).and_then(Value::as_object).filter(|it| is_foreign(it));
        if foreign.is_none() {
            return (None, Some(metadata.clone()));
        }
        let mut own = metadata.clone();
        own.shift_remove(FOREIGN);
        (foreign, (!own.is_empty()).then_some(own))
    }
}

/// Whether attributes make a CloudEvent that is not ours.
fn is_foreign(attributes: &Fields) -> bool {
    let has = |name: &str| attributes.get(name).and_then(Value::as_str);
    has("specversion") == Some("1.0")
        && [has("id"), has("source")].iter().all(|it| it.is_some_and(|it| !it.is_empty()))
        && has("type").is_some_and(|it| !it.is_empty() && !it.starts_with(TYPE_PREFIX))
}

struct Attributes(Fields);

impl Attributes {
    fn set(&mut self, name: &str, value: Option<impl Display>) {
        if let Some(value) = value {
            self.0.insert(name.to_owned(), Value::String(escape(&value.to_string(), is_forbidden)));
        }
    }
}

struct Given<'a>(&'a Fields);

impl Given<'_> {
    fn required(&self, name: &'static str) -> Result<&str> {
        let text = self.0.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        text.ok_or_else(|| bad(name, "expected a text that is not empty"))
    }

    fn text(&self, name: &'static str) -> Result<Option<String>> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(unescape(text))),
            Some(_) => Err(bad(name, "expected a text")),
        }
    }

    fn parsed<T: FromStr>(&self, name: &'static str) -> Result<Option<T>> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        text.parse().map(Some).map_err(|_| bad(name, "the value does not have the expected form"))
    }

    fn json<T: DeserializeOwned>(&self, name: &'static str) -> Result<Option<T>> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        serde_json::from_str(&text)
            .map(Some)
            .map_err(|err| bad(name, "expected JSON of a known form").caused_by(err))
    }

    /// What another system's document says beyond its data.
    fn foreign(&self) -> Fields {
        let theirs = |name: &str| !name.starts_with(OURS) && name != "data" && name != "traceparent";
        self.0
            .iter()
            .filter(|(name, _)| theirs(name))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    }
}

fn json(value: &(impl Serialize + ?Sized)) -> String {
    // None of these types can fail: their maps have text keys.
    serde_json::to_string(value).unwrap_or_default()
}

fn foreign_kind(name: &str) -> EventKind {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '.';
    let name =
        name.chars().take(MAX_KIND).map(|c| c.to_ascii_lowercase()).map(|c| if fits(c) { c } else { '_' });
    EventKind::Custom(name.collect::<String>().into())
}

/// The same id for the same event of another system each time, as CloudEvents tells events apart.
fn foreign_id(source: &str, id: &str) -> EventId {
    let digest = Digest::of_all([source, id]);
    let bytes = digest.as_bytes().first_chunk::<16>().copied().unwrap_or_default();
    EventId::from_uuid(Builder::from_custom_bytes(bytes).into_uuid())
}

fn nanoseconds(count: u128) -> Duration {
    const SECOND: u128 = 1_000_000_000;
    let seconds = u64::try_from(count / SECOND).unwrap_or(u64::MAX);
    Duration::new(seconds, u32::try_from(count % SECOND).unwrap_or(0))
}

/// What a CloudEvents text must not hold, and the sign that we write instead.
fn is_forbidden(c: char) -> bool {
    let code = u32::from(c);
    c == '%' || c.is_control() || code & 0xfffe == 0xfffe || (0xfdd0..=0xfdef).contains(&code)
}

/// What a URI reference must not hold.
fn is_reserved(c: char) -> bool {
    !(c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | '~'))
}

fn escape(text: &str, unfit: impl Fn(char) -> bool) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if unfit(c) {
            let mut bytes = [0; 4];
            for byte in c.encode_utf8(&mut bytes).bytes() {
                // Writing to a String never fails.
                let _ = write!(escaped, "%{byte:02X}");
            }
        } else {
            escaped.push(c);
        }
    }
    escaped
}

fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        let digits = after.first_chunk::<2>().and_then(|pair| std::str::from_utf8(pair).ok());
        let coded = digits.filter(|_| *byte == b'%').and_then(|pair| u8::from_str_radix(pair, 16).ok());
        bytes.push(coded.unwrap_or(*byte));
        rest = if coded.is_some() { after.get(2..).unwrap_or_default() } else { after };
    }
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned())
}

fn bad(attribute: &'static str, expected: &'static str) -> Error {
    Error::new(ErrorKind::InvalidInput, "event.from_cloud", expected).with("attribute", attribute)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{Strategy, any, prop, prop_assert, prop_assert_eq, proptest};
    use serde_json::json;

    use super::*;
    use crate::{
        event::{Priority, Status},
        runtime::Runtime,
        types::{AgentId, TenantId, Timestamp},
    };

    fn ctx() -> (tokio::runtime::Runtime, Context) {
        let tokio = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let ctx = Context::new(&tokio.block_on(async { Runtime::current() }).unwrap());
        (tokio, ctx)
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = (any::<u8>(), any::<i64>(), any::<f64>(), ".*").prop_map(|(which, int, float, text)| {
            match which % 5 {
                0 => Value::Null,
                1 => json!(which > 99),
                2 => json!(int),
                3 => json!(float),
                _ => json!(text),
            }
        });
        leaf.prop_recursive(3, 16, 4, |inner| {
            prop::collection::vec((".*", inner), 0..4).prop_map(|pairs| {
                if pairs.len() % 2 == 0 {
                    Value::Object(pairs.into_iter().collect())
                } else {
                    Value::Array(pairs.into_iter().map(|(_, value)| value).collect())
                }
            })
        })
    }

    proptest! {
        #[test]
        fn our_events_survive(
            names in prop::collection::vec("[^/\\s\\p{Cc}]{1,9}", 4),
            texts in prop::collection::vec(".*|[%\\x00-\\x20]{1,5}", 3),
            kinds in prop::collection::vec("[a-z0-9_.]{1,64}", 0..4),
            numbers in (any::<u64>(), 0..4_102_444_800_000_000_i64, any::<(u64, u8)>()),
            set in any::<[bool; 8]>(),
            data in value(),
            metadata in prop::collection::btree_map(".*", value(), 0..3),
        ) {
            let (_tokio, ctx) = ctx();
            let agent = |at: usize| AgentId::new(names[at].as_str()).unwrap();
            let mut event = Event::new(&ctx, kinds.first().map_or(EventKind::AgentFailed, |kind| kind.parse().unwrap()));
            event.also = kinds.iter().map(|kind| kind.parse().unwrap()).collect();
            event.tenant = TenantId::new(names[0].as_str()).unwrap();
            event.path = texts[0].as_str().into();
            event.sequence = numbers.0;
            event.time = Timestamp::from_micros(numbers.1);
            event.run = event.run.filter(|_| set[0]);
            event.agent = set[1].then(|| agent(1));
            event.domain = set[2].then(|| texts[1].as_str().into());
            event.source = set[3].then(|| agent(2));
            event.targets = if set[4] { vec![agent(3), agent(1)] } else { Vec::new() };
            event.duration = set[5].then(|| Duration::new(numbers.2.0, u32::from(numbers.2.1)));
            event.correlation = set[6].then(|| ctx.runtime().ids().event());
            event.causation = set[0].then(|| ctx.runtime().ids().event());
            event.traceparent = set[7].then(|| texts[2].as_str().into());
            (event.status, event.priority) = if set[2] { (Status::Warning, Priority::Critical) } else { Default::default() };
            event.data = data;
            event.metadata = set[3].then(|| Box::new(metadata.into_iter().collect()));

            let document = event.to_cloud();
            for (name, value) in document.as_object().unwrap().iter().filter(|(name, _)| *name != "data") {
                prop_assert!(name.len() <= 20 && name.bytes().all(|byte| byte.is_ascii_lowercase()), "{name}");
                prop_assert!(!value.as_str().unwrap().contains(char::is_control));
            }
            let text = serde_json::to_string(&document).unwrap();
            let back = Event::from_cloud(&ctx, &serde_json::from_str(&text).unwrap()).unwrap();
            prop_assert_eq!(back, event);
        }
    }

    #[test]
    fn a_document_of_another_system_keeps_all_it_said_and_its_event_survives_too() {
        let (_tokio, ctx) = ctx();
        let document = json!({
            "specversion": "1.0", "type": "com.example.someEvent", "id": "1234-1234-1234",
            "source": "/mycontext/subcontext", "time": "2018-04-05T03:56:24+02:00", "subject": "x%41",
            "datacontenttype": "application/json; charset=utf-8", "sequence": 7, "status": "shipped",
            "data": {"message": "Hello World!"},
        });
        let event = Event::from_cloud(&ctx, &document).unwrap();
        assert_eq!(event.kind.name(), "com.example.someevent");
        assert_eq!(
            (event.time.to_string().as_str(), &event.data),
            ("2018-04-05T01:56:24Z", &document["data"])
        );
        assert_eq!(event.id, Event::from_cloud(&ctx, &document).unwrap().id);
        let out = event.to_cloud();
        for (name, value) in document.as_object().unwrap() {
            assert_eq!(out.get(name), Some(value), "{name}");
        }
        let changed = Event { sequence: 9, status: Status::Error, ..event };
        assert_eq!(Event::from_cloud(&ctx, &changed.to_cloud()).unwrap(), changed);
    }

    #[test]
    fn a_document_that_is_none_is_refused_by_the_attribute() {
        let (_tokio, ctx) = ctx();
        let good = json!({"specversion": "1.0", "type": "t", "id": "1", "source": "s"});
        assert!(Event::from_cloud(&ctx, &good).is_ok());
        for (name, value) in [
            ("specversion", json!("0.3")),
            ("id", json!("")),
            ("source", Value::Null),
            ("type", json!(7)),
            ("time", json!("yesterday")),
            ("rfrun", json!("x")),
        ] {
            let mut document = good.clone();
            document[name] = value;
            assert_eq!(Event::from_cloud(&ctx, &document).unwrap_err().get("attribute"), Some(name));
        }
        assert!(Event::from_cloud(&ctx, &json!([])).is_err());
    }
}
