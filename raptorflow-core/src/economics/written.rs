//! The JSON of a fact: byte for byte what `serde` makes of it, for the facts of every call without its machinery.

use std::ops::Range;

use serde::Serialize;
use uuid::Uuid;

use crate::{
    economics::{
        Payer, Spending,
        fact::{Fact, Ticket, VERSION},
    },
    error::{Error, ErrorKind, Result},
    types::{Money, TimeText, Timestamp, Usage},
};

/// Writes the record of a fact at the end of a buffer.
pub(super) fn write(buffer: &mut Vec<u8>, at: Timestamp, fact: &Fact) -> Result<()> {
    let mut json = Json { buffer, newest: None };
    match fact {
        Fact::Reserved { ticket, id, payer, model, amount, tokens, expires } => {
            json.head(at, "\",\"type\":\"reserved\",\"ticket\":\"", *ticket);
            json.raw(",\"id\":").text(id)?;
            json.payer(payer)?;
            json.raw(",\"model\":").text(model)?;
            if let Some(amount) = amount {
                json.raw(",\"amount\":").money(*amount)?;
            }
            json.raw(",\"tokens\":").value(tokens)?;
            json.raw(",\"expires\":\"").time(*expires);
            json.raw("\"}");
        }
        Fact::Settled { ticket, spending } => {
            json.head(at, "\",\"type\":\"settled\",\"ticket\":\"", *ticket);
            json.spending(spending)?;
        }
        Fact::Released { ticket } => {
            json.head(at, "\",\"type\":\"released\",\"ticket\":\"", *ticket);
            json.raw("}");
        }
        // Rare, or large.
        Fact::Alerted { .. }
        | Fact::CapSet { .. }
        | Fact::Approved { .. }
        | Fact::Opened { .. }
        | Fact::Closed { .. } => return json.value(&Plain { version: VERSION, at, fact }),
    }
    Ok(())
}

/// As [`Entry`](super::fact::Entry), of a fact that somebody else keeps.
#[derive(Serialize)]
struct Plain<'a> {
    version: u32,
    at: Timestamp,
    #[serde(flatten)]
    fact: &'a Fact,
}

struct Json<'a> {
    buffer: &'a mut Vec<u8>,
    /// The newest time, and where its text is: a record mostly has the time of its writing twice.
    newest: Option<(Timestamp, Range<usize>)>,
}

impl Json<'_> {
    fn raw(&mut self, json: &str) -> &mut Self {
        self.buffer.extend_from_slice(json.as_bytes());
        self
    }

    fn value(&mut self, value: &impl Serialize) -> Result<()> {
        serde_json::to_writer(&mut *self.buffer, value).map_err(|err| {
            Error::new(ErrorKind::Internal, "ledger.encode", "a fact cannot be written as JSON")
                .caused_by(err)
        })
    }

    /// A text; most have nothing in them that JSON writes in another way.
    fn text(&mut self, text: &str) -> Result<()> {
        let other = |byte: u8| byte < b' ' || byte == b'"' || byte == b'\\';
        // All bytes, because a loop that may end early is not done many bytes at a time.
        if text.bytes().fold(false, |found, byte| found | other(byte)) {
            return self.value(&text);
        }
        self.raw("\"").raw(text).raw("\"");
        Ok(())
    }

    /// A UUID, and the quote behind it.
    fn uuid(&mut self, uuid: &Uuid) -> &mut Self {
        let mut text = Uuid::encode_buffer();
        self.raw(uuid.hyphenated().encode_lower(&mut text)).raw("\"")
    }

    /// A time, without its quotes.
    fn time(&mut self, time: Timestamp) -> &mut Self {
        if let Some((newest, text)) = &self.newest
            && *newest == time
        {
            self.buffer.extend_from_within(text.clone());
            return self;
        }
        let start = self.buffer.len();
        match time.ascii(&mut TimeText::default()) {
            Some(text) => self.buffer.extend_from_slice(text),
            None => self.buffer.extend_from_slice(time.to_string().as_bytes()),
        }
        self.newest = Some((time, start..self.buffer.len()));
        self
    }

    fn money(&mut self, Money { micros, currency }: Money) -> Result<()> {
        self.raw("{\"micros\":").value(&micros)?;
        self.raw(",\"currency\":\"").raw(currency.code()).raw("\"}");
        Ok(())
    }

    /// Version, time, kind and ticket; `kind` has everything between the time and the ticket.
    fn head(&mut self, at: Timestamp, kind: &str, Ticket(ticket): Ticket) {
        const { assert!(VERSION == 1, "the version is part of the text") };
        self.raw("{\"version\":1,\"at\":\"").time(at).raw(kind).uuid(&ticket);
    }

    /// Who pays, as a member after another one.
    fn payer(&mut self, Payer { user, run, agents }: &Payer) -> Result<()> {
        match user {
            Some(user) => {
                self.raw(",\"payer\":{\"user\":").text(user)?;
                self.raw(",\"run\":\"");
            }
            None => drop(self.raw(",\"payer\":{\"run\":\"")),
        }
        self.uuid(run.as_uuid());
        let mut before = ",\"agents\":[";
        for agent in agents {
            self.raw(before).text(agent.as_str())?;
            before = ",";
        }
        self.raw(if agents.is_empty() { "}" } else { "]}" });
        Ok(())
    }

    /// What a call took, as the last member of a record.
    fn spending(&mut self, spending: &Spending) -> Result<()> {
        let Spending { at, id, payer, model, usage, cost, estimated } = spending;
        self.raw(",\"spending\":{\"at\":\"").time(*at).raw("\",\"id\":").text(id)?;
        self.payer(payer)?;
        self.raw(",\"model\":").text(model)?;
        self.usage(usage)?;
        match cost {
            Some(cost) => self.raw(",\"cost\":").money(*cost)?,
            None => drop(self.raw(",\"cost\":null")),
        }
        self.raw(if *estimated { ",\"estimated\":true}}" } else { ",\"estimated\":false}}" });
        Ok(())
    }

    /// Tokens, as a member after another one.
    fn usage(&mut self, usage: &Usage) -> Result<()> {
        let Usage { input_tokens, output_tokens, cached_tokens, reasoning_tokens } = usage;
        self.raw(",\"usage\":{\"input_tokens\":").value(input_tokens)?;
        self.raw(",\"output_tokens\":").value(output_tokens)?;
        self.raw(",\"cached_tokens\":").value(cached_tokens)?;
        self.raw(",\"reasoning_tokens\":").value(reasoning_tokens)?;
        self.raw("}");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        economics::fact::decode,
        storage::Record,
        types::{AgentId, Currency, RunId},
    };

    fn money() -> impl Strategy<Value = Money> {
        (any::<i64>(), prop_oneof![Just(Currency::USD), Just(Currency::INR)])
            .prop_map(|(micros, currency)| Money::new(micros, currency))
    }

    fn uuid() -> impl Strategy<Value = Uuid> {
        any::<u128>().prop_map(Uuid::from_u128)
    }

    /// Times of this century and any others that can be read again.
    fn time() -> impl Strategy<Value = Timestamp> {
        let any = -60_000_000_000_000_000..253_000_000_000_000_000_i64;
        let near = (0..4_000_000_000_i64, prop_oneof![Just(0), Just(500_000), 0..1_000_000_i64]);
        prop_oneof![any, near.prop_map(|(second, micros)| second * 1_000_000 + micros)]
            .prop_map(Timestamp::from_micros)
    }

    /// Names as hosts have them, and names with everything that JSON writes in another way.
    fn name() -> impl Strategy<Value = std::sync::Arc<str>> {
        prop_oneof!["[a-z0-9:-]{0,40}", any::<String>(), "[\"\\\\\u{0}-\u{7f}/é]{0,8}"]
            .prop_map(|text: String| text.into())
    }

    fn payer() -> impl Strategy<Value = Payer> {
        let agent = "[a-z\"\\\\]{1,9}".prop_map(|name| AgentId::new(name).unwrap());
        (proptest::option::of(name()), uuid(), proptest::collection::vec(agent, 0..4))
            .prop_map(|(user, run, agents)| Payer { user, run: RunId::from_uuid(run), agents })
    }

    fn spending() -> impl Strategy<Value = Spending> {
        let usage =
            any::<[u64; 4]>().prop_map(|[input_tokens, output_tokens, cached_tokens, reasoning_tokens]| {
                Usage { input_tokens, output_tokens, cached_tokens, reasoning_tokens }
            });
        let rest = (usage, proptest::option::of(money()), any::<bool>());
        (time(), name(), payer(), name(), rest).prop_map(
            |(at, id, payer, model, (usage, cost, estimated))| Spending {
                at,
                id,
                payer,
                model,
                usage,
                cost,
                estimated,
            },
        )
    }

    fn fact() -> impl Strategy<Value = Fact> {
        let ticket = || uuid().prop_map(Ticket);
        let amount = proptest::option::of(money());
        prop_oneof![
            (ticket(), name(), payer(), name(), amount, any::<u64>(), time()).prop_map(
                |(ticket, id, payer, model, amount, tokens, expires)| Fact::Reserved {
                    ticket,
                    id,
                    payer,
                    model,
                    amount,
                    tokens,
                    expires
                }
            ),
            (ticket(), spending()).prop_map(|(ticket, spending)| Fact::Settled { ticket, spending }),
            ticket().prop_map(|ticket| Fact::Released { ticket }),
            (uuid(), money()).prop_map(|(run, up_to)| Fact::Approved { run: RunId::from_uuid(run), up_to }),
            "[0-9-]{0,9}".prop_map(|next| Fact::Closed { next }),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1_000))]

        #[test]
        fn a_record_is_what_serde_makes_of_it_and_is_read_as_it_was_written(at in time(), fact in fact()) {
            let mut written = b"before".to_vec();
            write(&mut written, at, &fact).unwrap();
            let written = written.split_off(6);
            let expected = serde_json::to_string(&Plain { version: VERSION, at, fact: &fact }).unwrap();
            prop_assert_eq!(std::str::from_utf8(&written).unwrap(), expected);
            let read = decode("ledger/2026-01", &Record { sequence: 0, data: written.into() }).unwrap();
            prop_assert_eq!((read.at, read.fact), (at, fact));
        }
    }
}
