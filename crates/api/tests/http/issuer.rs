//! An issuer of tokens that really signs, on loopback: discovery, keys, claims. The portal's suite includes this file too.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use api::access::Role;
use api::oidc::{Granted, Issuer, Mapping, OidcSettings, Where};
use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize, PublicKeyComponents};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use axum::Json;
use axum::routing::get;
use chrono::Utc;
use data_encoding::BASE64URL_NOPAD as BASE64;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};

/// A key pair of the issuer's.
pub(crate) struct Signer {
    pub(crate) id: &'static str,
    algorithm: Algorithm,
    private: EncodingKey,
    pub(crate) public: Value,
}

impl Signer {
    pub(crate) fn rsa(id: &'static str) -> Self {
        let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
        let parts = PublicKeyComponents::<Vec<u8>>::from(pair.public_key());
        let public = json!({"kty": "RSA", "kid": id, "use": "sig", "alg": "RS256", "n": BASE64.encode(&parts.n), "e": BASE64.encode(&parts.e)});
        let der: aws_lc_rs::encoding::Pkcs8V1Der<'_> = pair.as_der().unwrap();
        // PKCS #8 is a head of 26 bytes before the key itself, for 2,048 bits.
        let private = EncodingKey::from_rsa_der(der.as_ref().get(26..).unwrap());
        Self { id, algorithm: Algorithm::RS256, private, public }
    }

    pub(crate) fn elliptic(id: &'static str) -> Self {
        let der = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new()).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der.as_ref()).unwrap();
        let point = pair.public_key().as_ref();
        let public =
            json!({"kty": "EC", "crv": "P-256", "kid": id, "x": BASE64.encode(&point[1..33]), "y": BASE64.encode(&point[33..])});
        Self { id, algorithm: Algorithm::ES256, private: EncodingKey::from_ec_der(der.as_ref()), public }
    }

    pub(crate) fn sign(&self, claims: &Value) -> String {
        self.sign_as(self.id, claims)
    }

    pub(crate) fn sign_as(&self, id: &str, claims: &Value) -> String {
        encode(&Header { kid: Some(id.to_owned()), ..Header::new(self.algorithm) }, claims, &self.private).unwrap()
    }
}

/// The issuer's own server.
pub(crate) struct IssuerSite {
    pub(crate) origin: String,
    pub(crate) keys: Arc<Mutex<Vec<Value>>>,
    pub(crate) asked: Arc<AtomicUsize>,
}

impl IssuerSite {
    pub(crate) async fn start(keys: &[&Signer]) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let keys = Arc::new(Mutex::new(keys.iter().map(|key| key.public.clone()).collect::<Vec<_>>()));
        let asked = Arc::new(AtomicUsize::new(0));
        let discovery = json!({"issuer": origin, "jwks_uri": format!("{origin}/keys")});
        let (held, count) = (Arc::clone(&keys), Arc::clone(&asked));
        let app =
            axum::Router::new().route("/.well-known/openid-configuration", get(move || async move { Json(discovery) })).route(
                "/keys",
                get(move || async move {
                    count.fetch_add(1, Ordering::Relaxed);
                    // One of a kind that nobody knows is no reason to lose the others.
                    let unknown = json!({"kty": "LATTICE", "kid": "later"});
                    let keys: Vec<Value> = held.lock().unwrap().iter().cloned().chain([unknown]).collect();
                    Json(json!({"keys": keys}))
                }),
            );
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { origin, keys, asked }
    }

    pub(crate) fn settings(&self) -> OidcSettings {
        let issuer = |audience: &str, keys| Issuer { name: self.origin.clone(), audiences: vec![audience.into()], keys };
        let granted = |role, everywhere| Granted { role, everywhere };
        let roles = [
            ("ops", granted(Role::Operator, false)),
            ("root", granted(Role::Admin, true)),
            ("ann@x.example", granted(Role::Viewer, true)),
        ];
        OidcSettings {
            bearer: Some(issuer("recorder", Where::Discovered)),
            proxy: Some(issuer("/projects/1/x", Where::At(format!("{}/keys", self.origin)))),
            mapping: Mapping {
                role_claims: vec!["groups".into(), "email".into()],
                roles: roles.into_iter().map(|(name, granted)| (name.to_owned(), granted)).collect(),
                ..Mapping::default()
            },
        }
    }

    pub(crate) fn claims(&self, more: &Value) -> Value {
        let now = Utc::now().timestamp();
        let mut claims = json!({"iss": self.origin, "aud": "recorder", "sub": "u1", "iat": now, "exp": now + 300, "groups": ["ops"], "organizations": ["a"]});
        for (name, value) in more.as_object().unwrap() {
            claims[name] = value.clone();
        }
        claims
    }
}
