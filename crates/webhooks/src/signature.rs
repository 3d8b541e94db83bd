//! Signatures after the Standard Webhooks specification: base64 of HMAC-SHA256 over `{id}.{timestamp}.{body}`, as `v1,…`.

use std::fmt;

use aws_lc_rs::hmac;
use data_encoding::BASE64;

/// Begins every secret.
const PREFIX: &str = "whsec_";
/// Bytes of a new secret; the specification allows 24 to 64.
const SECRET_BYTES: usize = 32;

/// What sender and receiver share. Shown only by [`Secret::reveal`].
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl Secret {
    /// A new one; `None` where the machine has no randomness to give.
    pub fn random() -> Option<Self> {
        let mut bytes = vec![0; SECRET_BYTES];
        getrandom::fill(&mut bytes).ok()?;
        Some(Self(bytes))
    }

    /// Reads `whsec_…`.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = BASE64.decode(text.strip_prefix(PREFIX)?.as_bytes()).ok()?;
        (24..=64).contains(&bytes.len()).then_some(Self(bytes))
    }

    /// `whsec_…`, for the store and for who made it.
    pub fn reveal(&self) -> String {
        format!("{PREFIX}{}", BASE64.encode(&self.0))
    }

    /// `v1,…` of one message.
    pub fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, &self.0));
        context.update(format!("{id}.{timestamp}.").as_bytes());
        context.update(body);
        format!("v1,{}", BASE64.encode(context.sign().as_ref()))
    }
}

/// The header `webhook-signature`: one signature for each secret that is valid now, the newest first.
pub fn header(secrets: &[Secret], id: &str, timestamp: i64, body: &[u8]) -> String {
    secrets.iter().map(|secret| secret.sign(id, timestamp, body)).collect::<Vec<_>>().join(" ")
}

/// What a receiver does: true where one of the signatures is this secret's.
pub fn is_signed(secret: &Secret, header: &str, id: &str, timestamp: i64, body: &[u8]) -> bool {
    let expected = secret.sign(id, timestamp, body);
    header
        .split(' ')
        .any(|signature| aws_lc_rs::constant_time::verify_slices_are_equal(signature.as_bytes(), expected.as_bytes()).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_reference_implementation_s_vector_is_met() {
        let secret = Secret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let signature = secret.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_secret_is_read_back_and_never_printed() {
        let secret = Secret::random().unwrap();
        assert_eq!(Secret::parse(&secret.reveal()), Some(secret.clone()));
        assert_ne!(Secret::random().unwrap(), secret);
        assert_eq!(format!("{secret:?}"), "Secret(…)");
        for wrong in ["", "whsec_", "whsec_AAAA", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_!!!!"] {
            assert_eq!(Secret::parse(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn only_the_very_message_is_signed(id in "[a-z_]{1,20}", at in 0_i64..4_000_000_000, body: Vec<u8>, flip: usize) {
            let (old, new) = (Secret(vec![1; 32]), Secret(vec![2; 32]));
            let both = header(&[new.clone(), old.clone()], &id, at, &body);
            prop_assert!(is_signed(&old, &both, &id, at, &body) && is_signed(&new, &both, &id, at, &body));
            prop_assert!(!is_signed(&Secret(vec![3; 32]), &both, &id, at, &body));
            prop_assert!(!is_signed(&old, &both, &id, at + 1, &body));
            let longer = format!("{id}x");
            prop_assert!(!is_signed(&old, &both, &longer, at, &body));
            let mut other = body.clone();
            if let Some(byte) = other.len().checked_sub(1).map(|last| flip % (last + 1)) {
                other[byte] ^= 1;
                prop_assert!(!is_signed(&old, &both, &id, at, &other));
            }
        }
    }
}
