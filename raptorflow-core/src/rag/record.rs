//! The stored form of a document: one record with its text, the places of its chunks and their vectors.

use bytes::{BufMut as _, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, ErrorKind, Result},
    rag::document::{Document, Place},
    types::Digest,
};

/// Begins every record; the last byte is the version of the form.
const MAGIC: [u8; 4] = *b"rag\x01";
/// Magic, checksum of what follows, length of the JSON.
const HEAD: usize = 12;

/// Everything about one document; written with one put, so that it is old or new and never half.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Record {
    pub(crate) header: Header,
    /// The vectors of all chunks, one after the other.
    pub(crate) vectors: Vec<f32>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Header {
    pub(crate) document: Document,
    /// Digest of the document and of the chunker that made the places.
    pub(crate) digest: Digest,
    /// The key of the first chunk in the indexes; the others follow.
    pub(crate) first: u64,
    pub(crate) places: Vec<Place>,
}

/// The storage key of a document; the id may be too long or hold characters that a key may not.
pub(crate) fn document_key(prefix: &str, id: &str) -> String {
    format!("{prefix}document/{}", Digest::of(id))
}

/// The storage key of what a model or the host told of a document.
pub(crate) fn facts_key(prefix: &str, id: &str) -> String {
    format!("{prefix}graph/facts/{}", Digest::of(id))
}

impl Record {
    pub(crate) fn encode(&self) -> Result<Bytes> {
        let json = serde_json::to_vec(&self.header).map_err(|err| {
            Error::new(ErrorKind::InvalidInput, "rag.encode", "the document cannot be written as JSON")
                .with("document", &self.header.document.id)
                .caused_by(err)
        })?;
        let length = u32::try_from(json.len()).map_err(|_| {
            Error::new(ErrorKind::LimitExceeded, "rag.encode", "the document is above 4 GiB")
                .with("document", &self.header.document.id)
        })?;
        let mut out = BytesMut::with_capacity(HEAD + json.len() + self.vectors.len() * size_of::<f32>());
        out.put_slice(&MAGIC);
        out.put_u32_le(0);
        out.put_u32_le(length);
        out.put_slice(&json);
        self.vectors.iter().for_each(|x| out.put_f32_le(*x));
        let sum = crc32fast::hash(out.get(8..).unwrap_or_default());
        if let Some(place) = out.get_mut(4..8) {
            place.copy_from_slice(&sum.to_le_bytes());
        }
        Ok(out.freeze())
    }

    /// Reads a record back; `dimension` is the length of one vector.
    pub(crate) fn decode(key: &str, bytes: &[u8], dimension: usize) -> Result<Self> {
        let bad =
            |message: &'static str| Error::new(ErrorKind::Corrupt, "rag.decode", message).with("key", key);
        let Some((magic, rest)) = bytes.split_first_chunk::<4>() else {
            return Err(bad("the record is cut short"));
        };
        if *magic != MAGIC {
            return Err(bad("the record has an unknown form or version"));
        }
        let Some((sum, checked)) = rest.split_first_chunk::<4>() else {
            return Err(bad("the record is cut short"));
        };
        if crc32fast::hash(checked) != u32::from_le_bytes(*sum) {
            return Err(bad("the record does not have its checksum"));
        }
        let split = checked.split_first_chunk::<4>().and_then(|(length, rest)| {
            rest.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)
        });
        let Some((json, numbers)) = split else { return Err(bad("the record is cut short")) };
        let header: Header = serde_json::from_slice(json)
            .map_err(|err| bad("the record's header cannot be read").caused_by(err))?;
        let (numbers, rest) = numbers.as_chunks::<4>();
        let vectors: Vec<f32> = numbers.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        let fits = rest.is_empty()
            && vectors.len() == header.places.len() * dimension
            && header.places.iter().all(|place| header.document.text.get(place.bytes.clone()).is_some());
        if fits { Ok(Self { header, vectors }) } else { Err(bad("the record's parts do not fit together")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Record {
        let document = Document::new("a", "text of a").with("lang", "en");
        let places = vec![Place { bytes: 0..9, lines: (1, 1), heading: "A".into() }];
        let digest = document.digest();
        Record { header: Header { document, digest, first: 3, places }, vectors: vec![1.5, -2.0] }
    }

    #[test]
    fn a_record_survives_and_every_damaged_byte_is_found() {
        let record = sample();
        let bytes = record.encode().unwrap();
        assert_eq!(Record::decode("k", &bytes, 2).unwrap(), record);
        for at in 0..bytes.len() {
            let mut damaged = bytes.to_vec();
            damaged[at] ^= 0x10;
            assert_eq!(Record::decode("k", &damaged, 2).unwrap_err().kind(), ErrorKind::Corrupt, "byte {at}");
            assert_eq!(
                Record::decode("k", &bytes[..at], 2).unwrap_err().kind(),
                ErrorKind::Corrupt,
                "cut at {at}"
            );
        }
        assert_eq!(Record::decode("k", &bytes, 3).unwrap_err().kind(), ErrorKind::Corrupt);
    }

    #[test]
    fn records_of_the_first_version_stay_readable() {
        // Written by version 1; a change of the form needs a new version and a reader for this one.
        let digest = sample().header.digest;
        let json = format!(
            r#"{{"document":{{"id":"a","text":"text of a","metadata":{{"lang":"en"}}}},"digest":"{digest}","first":3,"places":[{{"bytes":{{"start":0,"end":9}},"lines":[1,1],"heading":"A"}}]}}"#
        );
        let mut body = u32::try_from(json.len()).unwrap().to_le_bytes().to_vec();
        body.extend_from_slice(json.as_bytes());
        body.extend_from_slice(&[0, 0, 0xc0, 0x3f, 0, 0, 0, 0xc0]);
        let bytes = [&b"rag\x01"[..], &crc32fast::hash(&body).to_le_bytes(), &body].concat();
        assert_eq!(Record::decode("k", &bytes, 2).unwrap(), sample());
    }
}
