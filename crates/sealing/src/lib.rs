//! Sealing small texts (AES-256-GCM): what a browser or the store keeps for us it can neither read, nor change, nor put elsewhere.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use data_encoding::BASE64URL_NOPAD;
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};

/// Shortest secret that a key is made of, in bytes.
pub const SHORTEST_SECRET: usize = 32;

/// Why nothing can be sealed.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The system has no randomness to give.
    #[error("no randomness: {0}")]
    Random(String),
    /// The cipher refused.
    #[error("the cipher refused")]
    Cipher,
}

/// A key for one purpose.
pub struct Sealer(LessSafeKey);

impl Sealer {
    /// Of a secret that replicas share. `purpose` names what it is for: what is made of the same secret for another does not open here.
    pub fn new(purpose: &str, secret: &SecretString) -> Result<Self, SealError> {
        Self::of(Sha256::new().chain_update(purpose).chain_update(secret.expose_secret()).finalize().into())
    }

    /// Of randomness: nothing sealed outlives this process, nor opens in another.
    pub fn random() -> Result<Self, SealError> {
        Self::of(random()?)
    }

    fn of(key: [u8; 32]) -> Result<Self, SealError> {
        Ok(Self(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &key).map_err(|_| SealError::Cipher)?)))
    }

    /// A text (base64url) that only [`Sealer::open`] reads, and only for the same `place`: who else holds it, or what else it is for.
    pub fn seal(&self, place: &str, plain: &[u8]) -> Result<String, SealError> {
        let nonce: [u8; NONCE_LEN] = random()?;
        let mut bytes = plain.to_vec();
        let sealed = self.0.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(place), &mut bytes);
        sealed.map_err(|_| SealError::Cipher)?;
        Ok(BASE64URL_NOPAD.encode(&[&nonce[..], &bytes].concat()))
    }

    /// What was sealed; `None` for anything else.
    pub fn open(&self, place: &str, sealed: &str) -> Option<Vec<u8>> {
        let mut bytes = BASE64URL_NOPAD.decode(sealed.as_bytes()).ok()?;
        let (nonce, rest) = bytes.split_at_mut_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        self.0.open_in_place(nonce, Aad::from(place), rest).ok().map(|plain| plain.to_vec())
    }
}

/// Random bytes of the system.
pub fn random<const COUNT: usize>() -> Result<[u8; COUNT], SealError> {
    let mut bytes = [0; COUNT];
    getrandom::fill(&mut bytes).map_err(|error| SealError::Random(error.to_string()))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_secret_opens_what_was_sealed_and_only_unchanged_and_in_its_place() {
        let secret = SecretString::from("x".repeat(SHORTEST_SECRET));
        let [one, same, other] = ["session", "session", "webhook"].map(|purpose| Sealer::new(purpose, &secret).unwrap());
        let sealed = one.seal("a", b"mbk_key").unwrap();
        assert_eq!(same.open("a", &sealed).as_deref(), Some(&b"mbk_key"[..]));
        assert_ne!(one.seal("a", b"mbk_key").unwrap(), sealed);
        assert!(one.open("b", &sealed).is_none());
        assert!(other.open("a", &sealed).is_none() && Sealer::random().unwrap().open("a", &sealed).is_none());
        for at in 0..sealed.len() {
            let mut broken = sealed.clone().into_bytes();
            broken[at] = if broken[at] == b'A' { b'B' } else { b'A' };
            assert!(one.open("a", std::str::from_utf8(&broken).unwrap()).is_none(), "at {at}");
        }
        for text in ["", "A", "not base64 !", &"A".repeat(16), &"A".repeat(40)] {
            assert!(one.open("a", text).is_none(), "{text}");
        }
    }
}
