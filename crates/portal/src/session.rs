//! A browser's session: the key that it signed in with, sealed into a cookie that no script and no other site gets.
//!
//! Nothing is kept on this side but the sessions that were signed out, until they would have ended anyway. The API judges the key anew
//! with every request, so a revoked one ends its sessions within seconds.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use axum::http::{HeaderMap, HeaderValue, header};
use chrono::{DateTime, TimeDelta, Utc};
use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq as _;

use sealing::{SealError, Sealer, random};

/// What [`Sealer`]s of sessions are for.
pub(crate) const PURPOSE: &str = "meeting-bot portal session 1";
/// A session ends this long after its sign-in.
const LIFE: TimeDelta = TimeDelta::hours(12);
/// Longest key or token that fits into a cookie once it is sealed.
pub(crate) const LONGEST_KEY: usize = 2_400;
/// Sessions remembered as signed out at most; each is forgotten at its own end.
const MOST_ENDED: usize = 10_000;

/// Who sits at a browser.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Session {
    /// Names it where it is signed out.
    id: String,
    /// What the API is asked with; absent before the sign-in, and where no key is asked for.
    #[serde(default)]
    pub(crate) key: Option<String>,
    /// True once signed in.
    pub(crate) is_in: bool,
    /// What every form carries.
    pub(crate) token: String,
    ends_at: DateTime<Utc>,
}

impl Session {
    /// A new one; with a key or, where none is asked for, without.
    pub(crate) fn new(key: Option<String>, is_in: bool, now: DateTime<Utc>) -> Result<Self, SealError> {
        let [id, token] = [random::<16>()?, random::<16>()?].map(|bytes| HEXLOWER.encode(&bytes));
        Ok(Self { id, key, is_in, token, ends_at: now + LIFE })
    }

    /// True for the token of this session's own forms.
    pub(crate) fn admits(&self, token: &str) -> bool {
        self.token.as_bytes().ct_eq(token.as_bytes()).into()
    }
}

/// Sessions that were signed out before their end.
#[derive(Default)]
pub(crate) struct Ended(Mutex<HashMap<String, DateTime<Utc>>>);

impl Ended {
    /// From now on this session is none.
    pub(crate) fn end(&self, session: &Session, now: DateTime<Utc>) {
        let mut ended = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ended.retain(|_, until| *until > now);
        if ended.len() < MOST_ENDED {
            ended.insert(session.id.clone(), session.ends_at);
        }
    }

    fn holds(&self, session: &Session) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&session.id)
    }
}

/// The session of a request; `None` where there is none, or none any more.
pub(crate) fn of(headers: &HeaderMap, sealer: &Sealer, ended: &Ended, now: DateTime<Utc>) -> Option<Session> {
    let sealed = cookie(headers, &cookie_name(headers))?;
    let session: Session = serde_json::from_slice(&sealer.open(PURPOSE, &sealed)?).ok()?;
    (now < session.ends_at && !ended.holds(&session)).then_some(session)
}

/// The cookie that carries a session.
pub(crate) fn carried(headers: &HeaderMap, sealer: &Sealer, session: &Session) -> Result<HeaderValue, SealError> {
    let plain = serde_json::to_vec(session).map_err(|_| SealError::Cipher)?;
    let text = set_cookie(headers, &sealer.seal(PURPOSE, &plain)?, LIFE.num_seconds());
    HeaderValue::from_str(&text).map_err(|_| SealError::Cipher)
}

/// The cookie that takes a session away.
pub(crate) fn taken_away(headers: &HeaderMap) -> Option<HeaderValue> {
    HeaderValue::from_str(&set_cookie(headers, "", 0)).ok()
}

fn set_cookie(headers: &HeaderMap, value: &str, seconds: i64) -> String {
    let secure = if is_loopback(headers) { "" } else { "; Secure" };
    format!("{}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}", cookie_name(headers))
}

/// `__Host-` binds it to this host and to https. On loopback, where ports share their cookies, the port is in the name.
fn cookie_name(headers: &HeaderMap) -> String {
    if !is_loopback(headers) {
        return "__Host-portal".into();
    }
    let port = authority(headers).rsplit_once(':').map_or("", |(_, port)| port).to_owned();
    if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) { format!("portal-{port}") } else { "portal".into() }
}

/// The value of a cookie.
pub(crate) fn cookie(headers: &HeaderMap, name: &str) -> Option<String> {
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
    let mut pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(key, _)| *key == name).map(|(_, value)| value.to_owned())
}

fn authority(headers: &HeaderMap) -> &str {
    headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default()
}

/// True where the browser speaks to this machine itself, by whatever way (a forwarded port, too).
pub(crate) fn is_loopback(headers: &HeaderMap) -> bool {
    let authority = authority(headers);
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map_or("", |(host, _)| host),
        None => authority.rsplit_once(':').map_or(authority, |(host, _)| host),
    };
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// True where a change comes from our own pages: a browser always says where a form comes from.
pub(crate) fn is_from_our_pages(headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let origin = text("origin").and_then(|origin| origin.split_once("://")).map(|(_, host)| host);
    let site = text("sec-fetch-site").is_none_or(|site| site == "same-origin");
    site && origin.is_some_and(|origin| !origin.is_empty() && origin.eq_ignore_ascii_case(authority(headers)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_str(value).unwrap())).collect()
    }

    #[test]
    fn a_session_comes_back_by_its_cookie_until_it_ends_or_is_signed_out() {
        let (sealer, ended, now) = (Sealer::random().unwrap(), Ended::default(), Utc::now());
        for (host, secure) in
            [("localhost:8080", false), ("127.0.0.1:8080", false), ("[::1]:8080", false), ("bots.example", true)]
        {
            let session = Session::new(Some("mbk_x".into()), true, now).unwrap();
            let set = carried(&headers(&[("host", host)]), &sealer, &session).unwrap().to_str().unwrap().to_owned();
            assert!(set.contains("; HttpOnly; SameSite=Strict") && set.contains("; Secure") == secure, "{set}");
            assert_eq!(set.starts_with("__Host-"), secure);
            let pair = set.split(';').next().unwrap();
            let asks = headers(&[("host", host), ("cookie", &format!("other=1; {pair}"))]);
            let back = of(&asks, &sealer, &ended, now).unwrap();
            assert_eq!((back.key.as_deref(), back.admits(&session.token), back.admits("")), (Some("mbk_x"), true, false));
            assert!(of(&asks, &sealer, &ended, now + LIFE).is_none());
            assert!(of(&asks, &Sealer::random().unwrap(), &ended, now).is_none());
            ended.end(&back, now);
            assert!(of(&asks, &sealer, &ended, now).is_none());
        }
    }

    #[test]
    fn only_a_form_of_our_own_origin_counts_as_ours() {
        let ours = |pairs: &[(&'static str, &str)]| is_from_our_pages(&headers(pairs));
        assert!(ours(&[("host", "bots.example"), ("origin", "https://bots.example"), ("sec-fetch-site", "same-origin")]));
        assert!(ours(&[("host", "localhost:80"), ("origin", "http://localhost:80")]));
        for pairs in [
            &[("host", "bots.example")][..],
            &[("host", "bots.example"), ("origin", "null")],
            &[("host", "bots.example"), ("origin", "https://evil.example")],
            &[("host", "bots.example"), ("origin", "https://bots.example.evil.example")],
            &[("host", "localhost:80"), ("origin", "http://localhost:81")],
            &[("host", "bots.example"), ("origin", "https://bots.example"), ("sec-fetch-site", "cross-site")],
            &[("host", ""), ("origin", "https://")],
        ] {
            assert!(!ours(pairs), "{pairs:?}");
        }
    }
}
