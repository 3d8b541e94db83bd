//! Bearer tokens of an OpenID Connect issuer, and the assertion of Google's Identity-Aware Proxy: who it is, by a signature that the
//! issuer's published keys verify, and what he may do, by what the settings make of the token's claims.
//!
//! RS256 and ES256 alone, each with a key of its own kind: an algorithm is never taken from the token's word.

use std::collections::BTreeMap;

use data_encoding::HEXLOWER;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use webhooks::Trust;

use crate::access::{Principal, Role, Scope};
use crate::keyring::Keyring;
pub use crate::keyring::{Where, is_trusted};
use crate::keys::MOST_ORGANIZATIONS;
use crate::problem::{Kind, Problem};

/// How far two clocks may be apart.
const LEEWAY_SECS: u64 = 60;
/// Longest token that is looked at.
const LONGEST_TOKEN: usize = 16 * 1024;
/// What Identity-Aware Proxy calls itself, and where its keys are.
pub const IAP_ISSUER: &str = "https://cloud.google.com/iap";
/// As documented by Google.
pub const IAP_KEYS: &str = "https://www.gstatic.com/iap/verify/public_key-jwk";
/// The header of its assertion.
pub const IAP_HEADER: &str = "x-goog-iap-jwt-assertion";

/// One issuer that is believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issuer {
    /// `iss`, to the letter.
    pub name: String,
    /// `aud`: one of these.
    pub audiences: Vec<String>,
    /// Where its keys are.
    pub keys: Where,
}

/// What the claims mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    /// Claims whose values name roles, such as `groups` or `realm_access.roles`.
    pub role_claims: Vec<String>,
    /// What a value means; of several the highest role counts.
    pub roles: BTreeMap<String, Granted>,
    /// The claim with the organizations, a text or a list.
    pub organizations_claim: String,
}

/// What a claim's value grants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Granted {
    /// The role.
    pub role: Role,
    /// Every organization, whatever the token says of them.
    pub everywhere: bool,
}

/// What an operator decides.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OidcSettings {
    /// For `Authorization: Bearer`.
    pub bearer: Option<Issuer>,
    /// For the proxy's header.
    pub proxy: Option<Issuer>,
    /// For both.
    pub mapping: Mapping,
}

impl Default for Mapping {
    fn default() -> Self {
        Self {
            role_claims: vec!["roles".into(), "groups".into()],
            roles: BTreeMap::new(),
            organizations_claim: "organizations".into(),
        }
    }
}

impl Mapping {
    /// What `OIDC_ROLES` wants.
    pub const ROLES_WANT: &str = "value=role pairs separated by commas, role viewer, operator or admin, with :* for every organization, such as ops=operator,root=admin:*";

    /// Reads `OIDC_ROLES`.
    pub fn parse_roles(text: &str) -> Option<BTreeMap<String, Granted>> {
        text.split(',')
            .map(|pair| {
                let (value, role) = pair.trim().rsplit_once('=')?;
                let (role, everywhere) = role.strip_suffix(":*").map_or((role, false), |role| (role, true));
                let granted = Granted { role: Role::parse(role)?, everywhere };
                (!value.is_empty()).then(|| (value.to_owned(), granted))
            })
            .collect()
    }

    /// What a token's claims allow; `None` where they name no role, or no organization that anything could be seen of.
    fn principal(&self, claims: &Value) -> Option<Principal> {
        let granted: Vec<Granted> = self
            .role_claims
            .iter()
            .filter(|claim| claim.as_str() != "email" || is_verified(claims))
            .flat_map(|claim| texts(at(claims, claim)))
            .filter_map(|value| self.roles.get(&value).copied())
            .collect();
        let role = granted.iter().map(|granted| granted.role).max()?;
        let scope = if granted.iter().any(|granted| granted.role == role && granted.everywhere) {
            Scope::All
        } else {
            let mut names = texts(at(claims, &self.organizations_claim));
            names.retain(|name| !name.is_empty());
            names.truncate(MOST_ORGANIZATIONS);
            Scope::These(names)
        };
        let text = |name: &str| claims.get(name).and_then(Value::as_str).unwrap_or_default();
        let (issuer, subject) = (text("iss"), text("sub"));
        if subject.is_empty() || scope == Scope::These(Vec::new()) {
            return None;
        }
        let digest = HEXLOWER.encode(&Sha256::digest(format!("{issuer}\n{subject}").as_bytes()));
        let named = Some(text("email")).filter(|email| !email.is_empty() && is_verified(claims)).unwrap_or(subject);
        let name = named.chars().filter(|character| !character.is_control()).take(128).collect();
        Some(Principal { id: format!("oidc-{}", digest.get(..16)?), name, role, scope })
    }
}

fn is_verified(claims: &Value) -> bool {
    claims.get("email_verified").is_none_or(|verified| *verified == Value::Bool(true))
}

/// A claim by its name, or by its path with dots.
fn at<'a>(claims: &'a Value, path: &str) -> &'a Value {
    claims.get(path).unwrap_or_else(|| path.split('.').fold(claims, |within, name| &within[name]))
}

fn texts(claim: &Value) -> Vec<String> {
    match claim {
        Value::String(text) => vec![text.clone()],
        Value::Array(list) => list.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => Vec::new(),
    }
}

/// Judges tokens.
#[derive(Debug)]
pub(crate) struct Oidc {
    bearer: Option<Verifier>,
    proxy: Option<Verifier>,
    mapping: Mapping,
}

#[derive(Debug)]
struct Verifier {
    issuer: Issuer,
    keys: Keyring,
}

impl Oidc {
    pub(crate) fn new(settings: &OidcSettings, trust: &Trust) -> Self {
        let verifier =
            |issuer: &Option<Issuer>| issuer.clone().map(|issuer| Verifier { keys: Keyring::new(&issuer, trust), issuer });
        Self { bearer: verifier(&settings.bearer), proxy: verifier(&settings.proxy), mapping: settings.mapping.clone() }
    }

    /// True where bearer tokens are taken.
    pub(crate) fn takes_bearer(&self) -> bool {
        self.bearer.is_some()
    }

    /// True where the proxy's assertion is taken.
    pub(crate) fn takes_proxy(&self) -> bool {
        self.proxy.is_some()
    }

    /// Who presents a bearer token.
    pub(crate) async fn bearer(&self, token: &str) -> Result<Principal, Problem> {
        self.judged(self.bearer.as_ref(), token).await
    }

    /// Whom the proxy vouches for.
    pub(crate) async fn proxied(&self, assertion: &str) -> Result<Principal, Problem> {
        self.judged(self.proxy.as_ref(), assertion).await
    }

    async fn judged(&self, verifier: Option<&Verifier>, token: &str) -> Result<Principal, Problem> {
        let refused = |detail: &str| Problem::new(Kind::Unauthorized, detail);
        let verifier = verifier.ok_or_else(|| refused("no issuer of tokens is configured"))?;
        let claims = verifier.claims(token).await?;
        let none = "the token is good, and its claims grant no role, or no organization: OIDC_ROLES says which do";
        self.mapping.principal(&claims).ok_or_else(|| Problem::new(Kind::Forbidden, none))
    }
}

impl Verifier {
    async fn claims(&self, token: &str) -> Result<Value, Problem> {
        let refused = |detail: &str| Problem::new(Kind::Unauthorized, detail);
        if token.len() > LONGEST_TOKEN {
            return Err(refused("the token is too long"));
        }
        let header = decode_header(token).map_err(|_| refused("this is no token: send a key of ours, or a JWT of the issuer"))?;
        if !matches!(header.alg, Algorithm::RS256 | Algorithm::ES256) {
            return Err(refused("the token's algorithm is not taken: RS256 or ES256"));
        }
        let id = header.kid.ok_or_else(|| refused("the token names no key (kid)"))?;
        let unreachable = "the issuer's keys cannot be had right now; try again";
        let key = self.keys.find(&id).await.map_err(|error| {
            tracing::warn!(%error, "the keys of the issuer of tokens cannot be had");
            Problem::new(Kind::Unavailable, unreachable)
        })?;
        let key = key.ok_or_else(|| refused("the issuer has no such key"))?;
        let key = suitable(&key, header.alg).ok_or_else(|| refused("the token's key is not one for its algorithm"))?;
        let mut validation = Validation::new(header.alg);
        validation.leeway = LEEWAY_SECS;
        validation.validate_nbf = true;
        validation.set_audience(&self.issuer.audiences);
        validation.set_issuer(&[&self.issuer.name]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        let decoded = decode::<Value>(token, &key, &validation);
        // Which check failed tells an honest caller what to mend, and a forger nothing that he does not know.
        decoded.map(|decoded| decoded.claims).map_err(|error| refused(&format!("the token is refused: {error}")))
    }
}

/// A key of the kind that the algorithm wants; anything else would let the token choose how it is judged.
fn suitable(key: &Jwk, algorithm: Algorithm) -> Option<DecodingKey> {
    let is_of_kind = match &key.algorithm {
        AlgorithmParameters::RSA(_) => algorithm == Algorithm::RS256,
        AlgorithmParameters::EllipticCurve(curve) => algorithm == Algorithm::ES256 && curve.curve == EllipticCurve::P256,
        _ => false,
    };
    let is_for_signatures = key.common.public_key_use.as_ref().is_none_or(|use_| *use_ == PublicKeyUse::Signature);
    let stated = key.common.key_algorithm.as_ref().map(ToString::to_string);
    let is_stated = stated.is_none_or(|stated| stated == format!("{algorithm:?}"));
    (is_of_kind && is_for_signatures && is_stated).then(|| DecodingKey::from_jwk(key).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn mapping(claims: &[&str]) -> Mapping {
        let roles = Mapping::parse_roles("ops=operator, root=admin:*,ann@x.example=viewer").unwrap();
        Mapping { role_claims: claims.iter().map(|claim| (*claim).to_owned()).collect(), roles, ..Mapping::default() }
    }

    #[test]
    fn claims_become_roles_and_organizations_by_the_settings_alone() {
        let of = |claims: Value| mapping(&["groups", "realm.roles", "email"]).principal(&claims).map(|who| (who.role, who.scope));
        let these = |names: &[&str]| Scope::These(names.iter().map(|name| (*name).to_owned()).collect());
        for (claims, expected) in [
            (json!({"sub": "1", "groups": ["ops"], "organizations": ["a", "b"]}), Some((Role::Operator, these(&["a", "b"])))),
            (json!({"sub": "1", "groups": "ops", "organizations": "a"}), Some((Role::Operator, these(&["a"])))),
            (json!({"sub": "1", "realm": {"roles": ["root", "ops"]}}), Some((Role::Admin, Scope::All))),
            (json!({"sub": "1", "email": "ann@x.example", "organizations": "a"}), Some((Role::Viewer, these(&["a"])))),
            (json!({"sub": "1", "email": "ann@x.example", "email_verified": false, "organizations": "a"}), None),
            (json!({"sub": "1", "groups": ["ops"]}), None),
            (json!({"sub": "1", "groups": ["ops"], "organizations": [""]}), None),
            (json!({"sub": "1", "groups": ["admin", "operator", "*"], "organizations": "*"}), None),
            (json!({"groups": ["root"]}), None),
        ] {
            assert_eq!(of(claims.clone()), expected, "{claims}");
        }
    }

    #[test]
    fn roles_are_read_whole_or_not_at_all() {
        for text in ["", "ops", "ops=", "=viewer", "ops=root", "ops=viewer,", "ops=viewer:all"] {
            assert_eq!(Mapping::parse_roles(text), None, "{text}");
        }
        let roles = Mapping::parse_roles("cn=x=admin").unwrap();
        assert_eq!(roles["cn=x"], Granted { role: Role::Admin, everywhere: false });
    }
}
