//! One try: a signed POST to an address that is checked as it is dialled.
//!
//! No redirect is followed, no proxy of the environment is used, and of the answer only the first bytes are read.

use std::error::Error as _;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER, USER_AGENT};
use reqwest::redirect::Policy;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use crate::address::Allowed;
use crate::signature::{Secret, header};
use crate::target::{Target, TargetError};
use crate::trust;
use crate::trust::files::{Believing, Trust};

/// Of an answer, what is read at most.
const MOST_ANSWER_BYTES: usize = 4 * 1_024;
/// Of an answer, what is kept.
const KEPT_CHARACTERS: usize = 300;
/// Names that are looked up at once: each blocks a thread.
const LOOKUPS_AT_ONCE: usize = 64;
const AGENT: &str = "meeting-recorder-webhooks/1";

/// How a try ended; the metric's closed list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// 2xx.
    Accepted,
    /// 410: it wants nothing more.
    Gone,
    /// Any other answer, redirects with it.
    Refused,
    /// No answer in time.
    TimedOut,
    /// No connection, or it broke off.
    Unreachable,
    /// Somebody listens there, but no TLS came of it: a certificate that is not believed, mostly.
    Untrusted,
    /// The address is none that may be dialled.
    Forbidden,
    /// Its secret does not open, so nothing was sent.
    Unsigned,
}

impl Outcome {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Accepted,
        Self::Gone,
        Self::Refused,
        Self::TimedOut,
        Self::Unreachable,
        Self::Untrusted,
        Self::Forbidden,
        Self::Unsigned,
    ];

    /// Its stored name, and the metric's label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Gone => "gone",
            Self::Refused => "refused",
            Self::TimedOut => "timed_out",
            Self::Unreachable => "unreachable",
            Self::Untrusted => "untrusted_tls",
            Self::Forbidden => "forbidden_address",
            Self::Unsigned => "unsigned",
        }
    }
}

/// What came of a try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// How it ended.
    pub outcome: Outcome,
    /// The status, where there was an answer.
    pub status: Option<u16>,
    /// The answer's first characters, or what went wrong.
    pub excerpt: String,
    /// The receiver's wish, in its own words.
    pub retry_after: Option<Duration>,
}

/// What is posted.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// Where.
    pub url: &'a str,
    /// The `webhook-id`.
    pub id: &'a str,
    /// To the byte.
    pub body: &'a str,
    /// Who may have signed it.
    pub secrets: &'a [Secret],
}

/// The addresses of a name.
pub type Lookup = Arc<dyn Fn(String) -> Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>> + Send + Sync>;

/// A client that dials nothing which is not allowed.
pub struct Poster {
    http: Believing,
    allowed: Allowed,
    deadline: Duration,
}

impl Poster {
    /// With this machine's own resolver. `deadline` is for a whole try.
    pub fn new(allowed: Allowed, trust: impl Into<Trust>, deadline: Duration) -> Result<Self, reqwest::Error> {
        let turns = Arc::new(Semaphore::new(LOOKUPS_AT_ONCE));
        let system: Lookup = Arc::new(move |name| {
            let turns = Arc::clone(&turns);
            Box::pin(async move {
                let _turn = turns.acquire().await;
                Ok(tokio::net::lookup_host((name, 0)).await?.map(|address| address.ip()).collect())
            })
        });
        Self::with_lookup(allowed, trust, deadline, system)
    }

    /// With another resolver.
    pub fn with_lookup(
        allowed: Allowed,
        trust: impl Into<Trust>,
        deadline: Duration,
        lookup: Lookup,
    ) -> Result<Self, reqwest::Error> {
        let guard = Arc::new(Guard { allowed: allowed.clone(), lookup });
        let http = Believing::new(trust, move || {
            reqwest::Client::builder()
                .no_proxy()
                .redirect(Policy::none())
                .retry(reqwest::retry::never())
                .referer(false)
                .http1_only()
                .connect_timeout(deadline / 3)
                .pool_max_idle_per_host(2)
                .pool_idle_timeout(Duration::from_secs(20))
                .dns_resolver(Arc::clone(&guard))
        })?;
        Ok(Self { http, allowed, deadline })
    }

    /// Looks at an address as it will be looked at before each try.
    pub fn check(&self, url: &str) -> Result<Target, TargetError> {
        Target::parse(url, &self.allowed)
    }

    /// Tries once; ends within the deadline.
    pub async fn post(&self, message: Message<'_>, now: DateTime<Utc>) -> Answer {
        let target = match self.check(message.url) {
            Ok(target) => target,
            Err(error) => return Answer::failed(Outcome::Forbidden, error.to_string()),
        };
        let until = Instant::now() + self.deadline;
        let timestamp = now.timestamp();
        let request = self
            .http
            .client()
            .post(target.url().clone())
            .header(CONTENT_TYPE, "application/json")
            .header(USER_AGENT, AGENT)
            .header("webhook-id", message.id)
            .header("webhook-timestamp", timestamp)
            .header("webhook-signature", header(message.secrets, message.id, timestamp, message.body.as_bytes()))
            .body(message.body.to_owned());
        match timeout_at(until, request.send()).await {
            Ok(Ok(response)) => answered(response, until, now).await,
            Ok(Err(error)) => of_error(&error),
            Err(_) => Answer::failed(Outcome::TimedOut, format!("no answer within {:.0?}", self.deadline)),
        }
    }
}

impl Answer {
    /// To what cannot be signed.
    pub(crate) fn unsigned() -> Self {
        Self::failed(
            Outcome::Unsigned,
            "nothing was sent: no key of WEBHOOK_SECRETS_KEY opens the secret; the operator can put back the one that sealed it, or the secret can be rotated",
        )
    }

    fn failed(outcome: Outcome, excerpt: impl Into<String>) -> Self {
        Self { outcome, status: None, excerpt: excerpt.into(), retry_after: None }
    }
}

/// The status decides; a body that stalls or never ends costs nothing but its first bytes.
async fn answered(mut response: reqwest::Response, until: Instant, now: DateTime<Utc>) -> Answer {
    let status = response.status();
    let retry_after = retry_after(response.headers(), now);
    let until = until.min(Instant::now() + Duration::from_secs(2));
    let mut start = Vec::new();
    while let Ok(Ok(Some(chunk))) = timeout_at(until, response.chunk()).await {
        let room = MOST_ANSWER_BYTES - start.len();
        start.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if start.len() >= MOST_ANSWER_BYTES {
            break;
        }
    }
    let outcome = match status.as_u16() {
        200..=299 => Outcome::Accepted,
        410 => Outcome::Gone,
        _ => Outcome::Refused,
    };
    Answer { outcome, status: Some(status.as_u16()), excerpt: cleaned(&start), retry_after }
}

/// Seconds, or an instant.
fn retry_after(headers: &HeaderMap, now: DateTime<Utc>) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    (DateTime::parse_from_rfc2822(text).ok()?.with_timezone(&Utc) - now).to_std().ok()
}

/// The first characters, on one line, with nothing that a terminal or a page would act on.
fn cleaned(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let is_plain = |c: char| {
        !c.is_control() && !matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
    };
    let plain: String = text.chars().map(|c| if is_plain(c) { c } else { ' ' }).collect();
    plain.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(KEPT_CHARACTERS).collect()
}

/// Says what failed without the address, which may hold a token.
fn of_error(error: &reqwest::Error) -> Answer {
    if let Some(reason) = trust::untrusted(error) {
        return Answer::failed(Outcome::Untrusted, reason);
    }
    let mut cause = error.source();
    while let Some(found) = cause {
        if found.downcast_ref::<Forbidden>().is_some() {
            return Answer::failed(Outcome::Forbidden, Forbidden.to_string());
        }
        if let Some(io) = found.downcast_ref::<io::Error>() {
            if trust::innermost(io).is_some_and(|inner| inner.is::<Forbidden>()) {
                return Answer::failed(Outcome::Forbidden, Forbidden.to_string());
            }
            if io.kind() == io::ErrorKind::ConnectionRefused {
                return Answer::failed(Outcome::Unreachable, "the connection was refused");
            }
        }
        cause = found.source();
    }
    if error.is_timeout() {
        return Answer::failed(Outcome::TimedOut, "no connection in time");
    }
    let text = if error.is_connect() {
        "no connection: the name or the port is wrong, or nobody listens"
    } else {
        "the connection broke off before the answer"
    };
    Answer::failed(Outcome::Unreachable, text)
}

/// No address of the name may be dialled.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the name leads to no address that is public; the operator can allow it (WEBHOOK_ALLOW)")]
struct Forbidden;

/// A resolver that leaves out what may not be dialled. The client dials what is left, and asks no second time: a name that changes its
/// mind in between changes nothing.
struct Guard {
    allowed: Allowed,
    lookup: Lookup,
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let name = name.as_str().to_owned();
        let (is_named, allowed) = (self.allowed.names(&name), self.allowed.clone());
        let found = (self.lookup)(name);
        Box::pin(async move {
            let addresses = found.await?;
            let admitted: Vec<SocketAddr> = addresses
                .into_iter()
                .filter(|address| is_named || allowed.admits(*address))
                .map(|address| SocketAddr::new(address, 0))
                .collect();
            if admitted.is_empty() {
                return Err(Forbidden.into());
            }
            Ok(Box::new(admitted.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_s_excerpt_is_plain_and_short() {
        assert_eq!(cleaned(b"  ok\r\n\x1b[31mred\x00\t"), "ok [31mred");
        assert_eq!(cleaned("a\u{202e}b\u{feff}".as_bytes()), "a b");
        assert_eq!(cleaned(&[0xff; 5_000]).chars().count(), KEPT_CHARACTERS);
    }

    #[test]
    fn both_forms_of_a_wish_to_wait_are_read() {
        let now = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let wish = |text: &str| retry_after(&HeaderMap::from_iter([(RETRY_AFTER, text.parse().unwrap())]), now);
        assert_eq!(wish("120"), Some(Duration::from_secs(120)));
        assert_eq!(wish("Fri, 15 Jan 2027 08:01:00 GMT"), Some(Duration::from_secs(60)));
        assert_eq!(wish("Fri, 15 Jan 2027 07:00:00 GMT"), None);
        assert_eq!(wish("soon"), None);
    }
}
