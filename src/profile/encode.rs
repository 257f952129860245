//! A profile in pprof's form (`profile.proto` of github.com/google/pprof), by hand: the few fields that are used.
//!
//! ```text
//! profile    1 kind of value … · 2 sample … · 4 location … · 5 function … · 6 text … · 7 frames to drop · 10 duration (ns)
//!            11 kind of period · 12 period
//! kind       1 what · 2 unit                        (numbers of texts; text 0 is empty)
//! sample     1 location, leaf first … · 2 value …   (packed)
//! location   1 id · 3 address · 4 line, innermost first (1 function, 2 line) …
//! function   1 id · 2 name · 4 file                (3, the linker's name, is left out: where both are alike, names are cut as C++'s)
//! ```

use std::collections::BTreeMap;

use crate::protobuf::{bytes, message, packed, varint_field};

/// A place in a program.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Frame {
    /// The function.
    pub function: String,
    /// Its file; empty: not known.
    pub file: String,
    /// The line; 0: not known.
    pub line: u32,
}

/// What a value counts, and in which unit.
pub type Kind = (&'static str, &'static str);

/// A profile under construction.
#[derive(Debug)]
pub struct Profile {
    texts: BTreeMap<String, u64>,
    ordered: Vec<String>,
    functions: BTreeMap<(String, String), u64>,
    locations: BTreeMap<Vec<Frame>, u64>,
    samples: Vec<u8>,
    described: Vec<u8>,
}

impl Profile {
    /// Without samples; each sample has a value of each kind, and there is one per `period`.
    pub fn new(kinds: &[Kind], period: (Kind, u64), duration_ns: u64) -> Self {
        let mut profile = Self {
            texts: BTreeMap::new(),
            ordered: Vec::new(),
            functions: BTreeMap::new(),
            locations: BTreeMap::new(),
            samples: Vec::new(),
            described: Vec::new(),
        };
        profile.text("");
        let mut described = Vec::new();
        for kind in kinds {
            bytes(&mut described, 1, &profile.kind(*kind));
        }
        varint_field(&mut described, 10, duration_ns);
        let (kind, every) = period;
        bytes(&mut described, 11, &profile.kind(kind));
        varint_field(&mut described, 12, every);
        profile.described = described;
        profile
    }

    fn text(&mut self, text: &str) -> u64 {
        if let Some(number) = self.texts.get(text) {
            return *number;
        }
        let number = self.ordered.len() as u64;
        self.texts.insert(text.to_owned(), number);
        self.ordered.push(text.to_owned());
        number
    }

    fn kind(&mut self, (what, unit): Kind) -> Vec<u8> {
        let (what, unit) = (self.text(what), self.text(unit));
        message(|out| {
            varint_field(out, 1, what);
            varint_field(out, 2, unit);
        })
    }

    /// Readers leave out functions whose names match this regular expression as a whole, and what they call.
    pub fn without(mut self, names: &str) -> Self {
        let names = self.text(names);
        varint_field(&mut self.described, 7, names);
        self
    }

    /// Adds a sample: the places of its stack, leaf first, each with what was inlined there, innermost first.
    pub fn add(&mut self, stack: Vec<Vec<Frame>>, values: &[u64]) {
        let ids: Vec<u64> = stack
            .into_iter()
            .map(|place| {
                let next = self.locations.len() as u64 + 1;
                *self.locations.entry(place).or_insert(next)
            })
            .collect();
        let sample = message(|out| {
            packed(out, 1, &ids);
            packed(out, 2, values);
        });
        bytes(&mut self.samples, 2, &sample);
    }

    /// The bytes.
    pub fn finish(mut self) -> Vec<u8> {
        let mut out = std::mem::take(&mut self.described);
        out.append(&mut self.samples);
        for (place, id) in std::mem::take(&mut self.locations) {
            let lines: Vec<(u64, u32)> = place
                .into_iter()
                .map(|Frame { function, file, line }| {
                    let next = self.functions.len() as u64 + 1;
                    (*self.functions.entry((function, file)).or_insert(next), line)
                })
                .collect();
            let location = message(|out| {
                varint_field(out, 1, id);
                for (function, line) in lines {
                    let line = message(|out| {
                        varint_field(out, 1, function);
                        varint_field(out, 2, line.into());
                    });
                    bytes(out, 4, &line);
                }
            });
            bytes(&mut out, 4, &location);
        }
        for ((function, file), id) in std::mem::take(&mut self.functions) {
            let (name, file) = (self.text(&function), self.text(&file));
            let function = message(|out| {
                varint_field(out, 1, id);
                varint_field(out, 2, name);
                varint_field(out, 4, file);
            });
            bytes(&mut out, 5, &function);
        }
        for text in &self.ordered {
            bytes(&mut out, 6, text.as_bytes());
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Read with `protoc --decode=perftools.profiles.Profile profile.proto`, field by field.
    #[test]
    fn a_profile_is_these_bytes() {
        let mut profile = Profile::new(&[("a", "b")], (("c", "b"), 9), 7).without("d");
        let frame = Frame { function: "f".to_owned(), file: "g".to_owned(), line: 3 };
        profile.add(vec![vec![frame.clone()]], &[5]);
        profile.add(vec![vec![frame]], &[6]);
        let expected: &[&[u8]] = &[
            b"\x0a\x04\x08\x01\x10\x02",         // 1: kind a, b
            b"\x50\x07",                         // 10: duration
            b"\x5a\x04\x08\x03\x10\x02\x60\x09", // 11, 12: period
            b"\x38\x04",                         // 7: what to drop
            b"\x12\x06\x0a\x01\x01\x12\x01\x05", // 2: samples
            b"\x12\x06\x0a\x01\x01\x12\x01\x06",
            b"\x22\x08\x08\x01\x22\x04\x08\x01\x10\x03", // 4: location
            b"\x2a\x06\x08\x01\x10\x05\x20\x06",         // 5: function
            b"\x32\x00\x32\x01a\x32\x01b\x32\x01c\x32\x01d\x32\x01f\x32\x01g",
        ];
        assert_eq!(profile.finish(), expected.concat());
    }
}
