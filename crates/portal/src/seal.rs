//! Sealing small texts (AES-256-GCM): what a browser keeps for us it can neither read nor change.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use data_encoding::BASE64URL_NOPAD;
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};

/// Shortest `PORTAL_SECRET`.
pub const SHORTEST_SECRET: usize = 32;
/// Names the purpose, so that nothing else that is made of the same secret opens here.
const PURPOSE: &[u8] = b"meeting-bot portal session 1";

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

/// A key that lives as long as the process, or as long as its secret.
pub(crate) struct Sealer(LessSafeKey);

impl Sealer {
    /// Of a secret that replicas share, or of randomness: then nothing sealed outlives this process, nor opens in another.
    pub(crate) fn new(secret: Option<&SecretString>) -> Result<Self, SealError> {
        let key: [u8; 32] = match secret {
            Some(secret) => Sha256::new().chain_update(PURPOSE).chain_update(secret.expose_secret()).finalize().into(),
            None => random()?,
        };
        Ok(Self(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &key).map_err(|_| SealError::Cipher)?)))
    }

    /// A text that only [`Sealer::open`] reads.
    pub(crate) fn seal(&self, plain: &[u8]) -> Result<String, SealError> {
        let nonce: [u8; NONCE_LEN] = random()?;
        let mut bytes = plain.to_vec();
        let sealed = self.0.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(PURPOSE), &mut bytes);
        sealed.map_err(|_| SealError::Cipher)?;
        Ok(BASE64URL_NOPAD.encode(&[&nonce[..], &bytes].concat()))
    }

    /// What was sealed; `None` for anything else.
    pub(crate) fn open(&self, sealed: &str) -> Option<Vec<u8>> {
        let mut bytes = BASE64URL_NOPAD.decode(sealed.as_bytes()).ok()?;
        let (nonce, rest) = bytes.split_at_mut_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        self.0.open_in_place(nonce, Aad::from(PURPOSE), rest).ok().map(|plain| plain.to_vec())
    }
}

/// Random bytes of the system.
pub(crate) fn random<const COUNT: usize>() -> Result<[u8; COUNT], SealError> {
    let mut bytes = [0; COUNT];
    getrandom::fill(&mut bytes).map_err(|error| SealError::Random(error.to_string()))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_secret_opens_what_was_sealed_and_only_unchanged() {
        let secret = SecretString::from("x".repeat(SHORTEST_SECRET));
        let [one, same, other] = [Some(&secret), Some(&secret), None].map(|secret| Sealer::new(secret).unwrap());
        let sealed = one.seal(b"mbk_key").unwrap();
        assert_eq!(same.open(&sealed).as_deref(), Some(&b"mbk_key"[..]));
        assert_ne!(one.seal(b"mbk_key").unwrap(), sealed);
        assert!(other.open(&sealed).is_none());
        for at in 0..sealed.len() {
            let mut broken = sealed.clone().into_bytes();
            broken[at] = if broken[at] == b'A' { b'B' } else { b'A' };
            assert!(one.open(std::str::from_utf8(&broken).unwrap()).is_none(), "at {at}");
        }
        for text in ["", "A", "not base64 !", &"A".repeat(16), &"A".repeat(40)] {
            assert!(one.open(text).is_none(), "{text}");
        }
    }
}
