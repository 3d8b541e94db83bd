//! Who asks, and what they may do: API keys with a role and organisations, or nobody in particular on loopback.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::problem::{Kind, Problem};

/// Whether keys are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Access {
    /// Every request needs a key.
    #[default]
    Keys,
    /// Nobody is asked: for one person on one machine, on a loopback address alone.
    DangerOpen,
}

impl Access {
    /// What `API_ACCESS` wants.
    pub const WANTS: &str = "keys, or danger_open on a loopback address";

    /// Reads `API_ACCESS`.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "keys" => Some(Self::Keys),
            "danger_open" => Some(Self::DangerOpen),
            _ => None,
        }
    }
}

/// What a key may do; each includes the ones before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Read meetings, bots, recordings, events and statistics.
    Viewer,
    /// Schedule, change, cancel, leave, retry.
    Operator,
    /// Read the audit log; make, list and revoke keys; manage webhooks.
    Admin,
}

impl Role {
    /// The role of a name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Viewer, Self::Operator, Self::Admin].into_iter().find(|role| role.as_str() == name)
    }

    /// The stored name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

/// Which organisations somebody sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// Every one, and what belongs to none.
    All,
    /// These; at least one, at most 10.
    These(Vec<String>),
}

impl Scope {
    /// True where something of this organisation may be seen.
    pub fn admits(&self, organization: &str) -> bool {
        match self {
            Self::All => true,
            Self::These(names) => names.iter().any(|name| name == organization),
        }
    }
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// Id of the key, or `local`.
    pub id: String,
    /// Name of the key.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// What it sees.
    pub scope: Scope,
}

impl Principal {
    /// Whoever is on this machine.
    pub fn local() -> Self {
        Self { id: "local".into(), name: "local".into(), role: Role::Admin, scope: Scope::All }
    }

    /// The organisations to ask the store for: `asked`, where it is visible, or all that are. `None` is without a filter.
    pub(crate) fn organizations(&self, asked: Option<&str>) -> Result<Option<Vec<String>>, Problem> {
        match (asked, &self.scope) {
            (Some(asked), scope) if !scope.admits(asked) => {
                Err(Problem::new(Kind::Forbidden, "this key does not see that organization"))
            }
            (Some(asked), _) => Ok(Some(vec![asked.to_owned()])),
            (None, Scope::All) => Ok(None),
            (None, Scope::These(names)) => Ok(Some(names.clone())),
        }
    }

    /// The organisation that something new belongs to.
    pub(crate) fn owner(&self, asked: Option<&str>) -> Result<String, Problem> {
        match (asked, &self.scope) {
            (Some(asked), scope) if !scope.admits(asked) => {
                Err(Problem::new(Kind::Forbidden, "this key may not act for that organization"))
            }
            (Some(asked), _) => Ok(asked.to_owned()),
            (None, Scope::All) => Ok(String::new()),
            (None, Scope::These(names)) => match names.as_slice() {
                [one] => Ok(one.clone()),
                _ => Err(Problem::new(Kind::Invalid, "organization is needed, as this key has several")),
            },
        }
    }
}

/// What the guard found out about a request; every handler asks for the role that it needs.
#[derive(Debug, Clone)]
pub(crate) struct Caller(pub(crate) Result<Principal, Problem>);

/// The request's id, as it is answered, logged and audited.
#[derive(Debug, Clone)]
pub(crate) struct RequestId(pub(crate) String);

macro_rules! roles {
    ($($(#[$doc:meta])* $name:ident),*) => { $(
        $(#[$doc])*
        #[derive(Debug, Clone)]
        pub struct $name(pub Who);

        impl<S: Send + Sync> FromRequestParts<S> for $name {
            type Rejection = Problem;

            async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
                who(parts, Role::$name).map(Self)
            }
        }
    )* };
}

roles!(
    /// Somebody who may read.
    Viewer,
    /// Somebody who may change.
    Operator,
    /// Somebody who may see who did what.
    Admin
);

/// Who asks, and in which request.
#[derive(Debug, Clone)]
pub struct Who {
    /// Who.
    pub principal: Principal,
    /// In which request.
    pub request_id: String,
}

fn who(parts: &Parts, needed: Role) -> Result<Who, Problem> {
    let request_id = parts.extensions.get::<RequestId>().map(|id| id.0.clone()).unwrap_or_default();
    let Some(Caller(found)) = parts.extensions.get::<Caller>() else {
        return Err(Problem::new(Kind::Internal, "the request passed no guard"));
    };
    let principal = found.clone()?;
    if principal.role < needed {
        let detail = format!("it needs the role {}, and this key is a {}", needed.as_str(), principal.role.as_str());
        return Err(Problem::new(Kind::Forbidden, detail));
    }
    Ok(Who { principal, request_id })
}

/// The key of a request: `Authorization: Bearer …` or `X-API-Key: …`.
pub(crate) fn presented(headers: &HeaderMap) -> Option<&str> {
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let bearer = bearer.and_then(|text| text.split_once(' ')).filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    bearer.map(|(_, key)| key.trim()).or_else(|| headers.get("x-api-key").and_then(|value| value.to_str().ok()))
}

/// Without keys, a page in this machine's browser must not be able to act: neither by another name for loopback (DNS rebinding) nor
/// from another origin.
pub(crate) fn is_from_this_machine(headers: &HeaderMap) -> bool {
    let text = |name: header::HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let host = text(header::HOST).is_some_and(is_loopback_authority);
    let origin =
        text(header::ORIGIN).is_none_or(|origin| origin.split_once("://").is_some_and(|(_, host)| is_loopback_authority(host)));
    host && origin
}

pub(crate) fn is_loopback_authority(authority: &str) -> bool {
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map_or("", |(host, _)| host),
        None => authority.rsplit_once(':').map_or(authority, |(host, _)| host),
    };
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_s_own_names_count_as_loopback() {
        for host in ["localhost", "localhost:8080", "127.0.0.1:1", "[::1]:80", "127.9.9.9"] {
            assert!(is_loopback_authority(host), "{host}");
        }
        for host in ["evil.example", "localhost.evil.example:80", "10.0.0.1", "", "[::2]:1", "127.0.0.1.evil.example"] {
            assert!(!is_loopback_authority(host), "{host}");
        }
    }

    #[test]
    fn a_confined_key_neither_sees_nor_acts_outside() {
        let principal = |names: &[&str]| Principal {
            scope: Scope::These(names.iter().map(|name| (*name).to_owned()).collect()),
            ..Principal::local()
        };
        let one = principal(&["a"]);
        assert_eq!(one.organizations(None), Ok(Some(vec!["a".into()])));
        assert_eq!(one.organizations(Some("b")).unwrap_err().kind, Kind::Forbidden);
        assert_eq!((one.owner(None), one.owner(Some("b")).unwrap_err().kind), (Ok("a".into()), Kind::Forbidden));
        assert_eq!(principal(&["a", "b"]).owner(None).unwrap_err().kind, Kind::Invalid);
        assert!(!one.scope.admits("") && Scope::All.admits(""));
    }
}
