//! The cluster's own keys.
//!
//! ```text
//! # newest first: the first line wraps the keys of new objects, all of them unwrap
//! 2026-11:q83vEjRWeJq83vASNFZ4mrze8BI0VniavN7wEjRWeJo=
//! 2026-05:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=
//! ```

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_wire::sealed::{Salt, Seal, SealedBy};
use holdfast_wire::seam::Random;
use zeroize::Zeroizing;

use super::key::{KEY_LEN, ObjectKey, Unsealable, WrappingKey};

/// Characters of a key's name.
const NAME_MAX: usize = 32;

/// Why a key ring cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadKeyRing {
    /// A line is not `NAME:KEY`.
    #[error(
        "line {0} of the encryption keys is not NAME:KEY with a name of up to {NAME_MAX} letters, digits, '.', '_' or '-'"
    )]
    Line(usize),
    /// A key is not 32 bytes.
    #[error("line {0} of the encryption keys does not hold a key of 32 bytes in base64")]
    Key(usize),
    /// A name comes twice.
    #[error("the encryption keys name {0:?} twice")]
    Twice(String),
    /// There is no key.
    #[error("the encryption keys are empty")]
    Empty,
}

/// Keys by name, the newest first.
pub struct KeyRing(Vec<(String, WrappingKey)>);

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

impl KeyRing {
    /// Reads a ring: one `NAME:KEY` a line (or, between spaces or commas, several), newest first; `#` begins a comment.
    pub fn parse(text: &str) -> Result<Self, BadKeyRing> {
        let mut keys: Vec<(String, WrappingKey)> = Vec::new();
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.split('#').next().unwrap_or_default();
            for entry in line.split([' ', '\t', ',', '\r']).filter(|entry| !entry.is_empty()) {
                let (name, key) = entry.split_once(':').ok_or(BadKeyRing::Line(number))?;
                let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
                if !(1..=NAME_MAX).contains(&name.len()) || !name.bytes().all(legal) {
                    return Err(BadKeyRing::Line(number));
                }
                let bytes = Zeroizing::new(STANDARD.decode(key).map_err(|_| BadKeyRing::Key(number))?);
                let bytes = <[u8; KEY_LEN]>::try_from(&bytes[..]).map_err(|_| BadKeyRing::Key(number))?;
                let bytes = Zeroizing::new(bytes);
                if keys.iter().any(|(known, _)| known == name) {
                    return Err(BadKeyRing::Twice(name.to_owned()));
                }
                keys.push((name.to_owned(), WrappingKey::new(&bytes)));
            }
        }
        if keys.is_empty() { Err(BadKeyRing::Empty) } else { Ok(Self(keys)) }
    }

    /// A fresh key as it stands in a ring.
    pub fn draw_key(random: &dyn Random) -> String {
        let mut bytes = Zeroizing::new([0; KEY_LEN]);
        random.fill(&mut bytes[..]);
        STANDARD.encode(&bytes[..])
    }

    /// The name of the key that new objects get.
    pub fn newest(&self) -> &str {
        &self.0[0].0
    }

    /// An object's key, wrapped with the newest one.
    pub fn seal(&self, key: &ObjectKey, salt: Salt, random: &dyn Random) -> Seal {
        let (name, newest) = &self.0[0];
        Seal { by: SealedBy::Ring(name.clone()), wrapped: key.wrap(newest, random), salt }
    }

    /// The object's key; `None` if the ring has not the key `name` that it is wrapped with.
    pub fn open(&self, name: &str, seal: &Seal) -> Option<Result<ObjectKey, Unsealable>> {
        let (_, key) = self.0.iter().find(|(known, _)| known == name)?;
        Some(ObjectKey::unwrap(&seal.wrapped, key))
    }
}

#[cfg(test)]
mod tests {
    use holdfast_wire::seam::OsRandom;

    use super::*;

    const A: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    const B: &str = "AQECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

    #[test]
    fn after_rotation_old_keys_still_open_and_the_new_one_seals() {
        let random = OsRandom;
        let before = KeyRing::parse(&format!("old:{A}")).unwrap();
        let key = ObjectKey::draw(&random);
        let seal = before.seal(&key, Salt(1), &random);
        assert_eq!(seal.by, SealedBy::Ring("old".to_owned()));
        let after = KeyRing::parse(&format!("# keys\nnew:{B}  # since November\nold:{A}\n")).unwrap();
        assert_eq!(after.newest(), "new");
        let opened = after.open("old", &seal).unwrap().unwrap();
        assert_eq!(opened.etag("x"), key.etag("x"));
        assert_eq!(after.seal(&key, Salt(1), &random).by, SealedBy::Ring("new".to_owned()));
        assert!(before.open("new", &seal).is_none());
        assert_eq!(after.open("new", &seal).unwrap().unwrap_err(), Unsealable);
        assert!(!format!("{after:?}").contains("AAEC"));
    }

    #[test]
    fn mistakes_are_named() {
        let bad = |text: &str| KeyRing::parse(text).unwrap_err();
        assert_eq!(bad(""), BadKeyRing::Empty);
        assert_eq!(bad("# nothing"), BadKeyRing::Empty);
        assert_eq!(bad("\nkey"), BadKeyRing::Line(2));
        assert_eq!(bad(&format!("a/b:{A}")), BadKeyRing::Line(1));
        assert_eq!(bad("a:AAEC"), BadKeyRing::Key(1));
        assert_eq!(bad(&format!("a:{A},a:{B}")), BadKeyRing::Twice("a".to_owned()));
    }
}
