//! Keys: an object's own, wrapped or not, and those of its segments.

use std::fmt;

use holdfast_wire::sealed::Salt;
use holdfast_wire::seam::Random;
use ring::aead::{self, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::hmac;
use zeroize::Zeroizing;

/// Bytes of every key.
pub(super) const KEY_LEN: usize = 32;
/// Bytes of a wrapped key: nonce, key, tag.
const WRAPPED_LEN: usize = aead::NONCE_LEN + KEY_LEN + 16;
/// Binds a wrapped key to this use.
const WRAP: &[u8] = b"holdfast object key 1";
const SEGMENT: &[u8] = b"holdfast segment 1";
const TAG: &[u8] = b"holdfast entity tag 1";

/// A wrapped key, or a chunk, is not what this key made: another key, or damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not sealed with this key, or damaged")]
pub struct Unsealable;

/// A key that wraps others.
pub(super) struct WrappingKey(LessSafeKey);

impl WrappingKey {
    pub fn new(bytes: &[u8; KEY_LEN]) -> Self {
        Self(cipher(bytes))
    }
}

/// An object's own key. Forgotten when dropped, never printed.
pub struct ObjectKey(Zeroizing<[u8; KEY_LEN]>);

impl fmt::Debug for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ObjectKey(…)")
    }
}

impl ObjectKey {
    /// A fresh one.
    pub fn draw(random: &dyn Random) -> Self {
        let mut bytes = Zeroizing::new([0; KEY_LEN]);
        random.fill(&mut bytes[..]);
        Self(bytes)
    }

    pub(super) fn wrap(&self, by: &WrappingKey, random: &dyn Random) -> Vec<u8> {
        let mut nonce = [0; aead::NONCE_LEN];
        random.fill(&mut nonce);
        let mut wrapped = Vec::with_capacity(WRAPPED_LEN);
        wrapped.extend_from_slice(&nonce);
        wrapped.extend_from_slice(&self.0[..]);
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = by.0.seal_in_place_separate_tag(nonce, Aad::from(WRAP), &mut wrapped[aead::NONCE_LEN..]);
        wrapped.extend_from_slice(tag.expect("32 bytes are not too long").as_ref());
        wrapped
    }

    pub(super) fn unwrap(wrapped: &[u8], by: &WrappingKey) -> Result<Self, Unsealable> {
        let (nonce, sealed) = wrapped.split_at_checked(aead::NONCE_LEN).ok_or(Unsealable)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| Unsealable)?;
        let mut sealed = Zeroizing::new(sealed.to_vec());
        let opened = by.0.open_in_place(nonce, Aad::from(WRAP), &mut sealed).map_err(|_| Unsealable)?;
        Ok(Self(Zeroizing::new(<[u8; KEY_LEN]>::try_from(&*opened).map_err(|_| Unsealable)?)))
    }

    /// The key of the segment with this salt.
    pub fn segment(&self, salt: Salt) -> SegmentKey {
        let derived = self.derive(SEGMENT, &salt.0.to_be_bytes());
        let bytes = Zeroizing::new(<[u8; KEY_LEN]>::try_from(derived.as_ref()).expect("SHA-256 gives 32 bytes"));
        SegmentKey { cipher: cipher(&bytes), salt }
    }

    /// An entity tag that tells nothing of the bytes to who has not the key: of 32 hex digits like any other.
    pub fn etag(&self, md5: &str) -> String {
        hex::encode(&self.derive(TAG, md5.as_bytes()).as_ref()[..16])
    }

    fn derive(&self, label: &[u8], of: &[u8]) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, &self.0[..]));
        context.update(label);
        context.update(of);
        context.sign()
    }
}

fn cipher(bytes: &[u8; KEY_LEN]) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, bytes).expect("a key of 32 bytes"))
}

/// The key of one segment.
pub struct SegmentKey {
    cipher: LessSafeKey,
    /// What it was made with.
    pub salt: Salt,
}

impl SegmentKey {
    /// Encrypts a chunk in place and puts its tag behind it.
    pub(super) fn seal(&self, chunk: u64, last: bool, bytes: &mut bytes::BytesMut) {
        let tag = self.cipher.seal_in_place_separate_tag(nonce(chunk, last), Aad::empty(), &mut bytes[..]);
        bytes.extend_from_slice(tag.expect("a chunk is not too long").as_ref());
    }

    /// Decrypts a chunk in place and cuts its tag off.
    pub(super) fn open(&self, chunk: u64, last: bool, bytes: &mut bytes::BytesMut) -> Result<(), Unsealable> {
        let opened = self.cipher.open_in_place(nonce(chunk, last), Aad::empty(), &mut bytes[..]);
        let len = opened.map_err(|_| Unsealable)?.len();
        bytes.truncate(len);
        Ok(())
    }
}

/// ```text
/// 00 00 00 | 01 if last, else 00 | chunk number, 8 bytes big-endian
/// ```
fn nonce(chunk: u64, last: bool) -> Nonce {
    let mut nonce = [0; aead::NONCE_LEN];
    nonce[3] = u8::from(last);
    nonce[4..].copy_from_slice(&chunk.to_be_bytes());
    Nonce::assume_unique_for_key(nonce)
}
