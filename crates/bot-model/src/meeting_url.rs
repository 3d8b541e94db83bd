//! The address of a call: parsed by label boundary, rebuilt from its parts, never forwarded.
//!
//! What a document says is untrusted text that a browser would open. Only the parts named in the patterns below
//! survive parsing; [`MeetingUrl::join_url`] builds a new address from them. `Display` and `Debug` hide the secret.

use std::fmt;

use data_encoding::{BASE64, BASE64URL_NOPAD};
use serde::Deserialize;
use url::Url;

pub use crate::platform::Platform;

/// Longest accepted input, in bytes.
pub const MAX_INPUT_BYTES: usize = 2_048;

/// Why an address was refused. The texts name no part of the input: it may hold a passcode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MeetingUrlError {
    /// Empty.
    #[error("the meeting address is empty")]
    Empty,
    /// Longer than [`MAX_INPUT_BYTES`].
    #[error("the meeting address is longer than {MAX_INPUT_BYTES} bytes")]
    TooLong,
    /// Control, bidirectional or white-space characters inside.
    #[error("the meeting address holds control, bidirectional or white-space characters")]
    IllegalCharacter,
    /// Not an address at all.
    #[error("the meeting address is not a valid https address")]
    Malformed,
    /// Another scheme than https (or `practice:`).
    #[error("the meeting address must start with https://")]
    NotHttps,
    /// User name, password or port.
    #[error("the meeting address must not name a user, a password or a port")]
    Credentials,
    /// A second address inside.
    #[error("the meeting address holds a second address")]
    Nested,
    /// The host is none of the known ones.
    #[error(
        "the meeting address is on no supported platform (Google Meet, Microsoft Teams, Zoom, and what OTHER_PLATFORMS names)"
    )]
    UnknownHost,
    /// The host is known but the path is no call.
    #[error("the meeting address names no call on its platform")]
    NotACall,
}

/// The address of one call.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct MeetingUrl {
    address: Address,
    secret: Option<Secret>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Address {
    /// `abc-defg-hij`.
    Meet { code: String },
    /// The long form, with tenant and organizer.
    TeamsThread { thread: String, message: String, tenant: String, organizer: String },
    /// The short form, `host` being one of the two Teams hosts.
    TeamsShort { host: &'static str, id: String },
    /// `host` is `zoom.us` or a name below it.
    Zoom { host: String, id: String },
    /// On a host that the configuration names; `path` has one to three plain segments.
    Other { platform: Platform, host: String, path: String },
    /// A practice room; its origin comes from the process's configuration alone.
    Practice { platform: Platform, code: String },
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Secret {
    key: &'static str,
    value: String,
}

impl MeetingUrl {
    /// Parses an untrusted address.
    ///
    /// Accepted: `https://meet.google.com/abc-defg-hij`; `https://{,*.}zoom.us/{j,w,s,wc}/{9–11 digits}` with `pwd` or
    /// `tk`; `https://teams.microsoft.com/l/meetup-join/…?context=…`, `https://teams.{microsoft,live}.com/meet/{digits}?p=`
    /// and Teams' launcher around either; `practice:{platform}/{code}`; and `https://{host}/{path}` on a host that [`crate::platform::OtherPlatforms`] names.
    pub fn parse(input: &str) -> Result<Self, MeetingUrlError> {
        let input = input.trim();
        check_text(input)?;
        if let Some(rest) = input.strip_prefix("practice:") {
            return parse_practice(rest);
        }
        let url = parse_https(input)?;
        match url.host_str().unwrap_or_default() {
            "meet.google.com" => parse_meet(&url),
            "teams.microsoft.com" => parse_teams(&url, "teams.microsoft.com"),
            "teams.live.com" => parse_teams(&url, "teams.live.com"),
            host if host == "zoom.us" || host.ends_with(".zoom.us") => parse_zoom(&url, host),
            host => match Platform::at_host(host) {
                Some(platform) => parse_other(&url, platform, host),
                None => Err(MeetingUrlError::UnknownHost),
            },
        }
    }

    /// The platform whose client is to be driven. A practice room counts as the platform that it replicates.
    pub fn platform(&self) -> Platform {
        match &self.address {
            Address::Meet { .. } => Platform::Meet,
            Address::TeamsThread { .. } | Address::TeamsShort { .. } => Platform::Teams,
            Address::Zoom { .. } => Platform::Zoom,
            Address::Other { platform, .. } | Address::Practice { platform, .. } => *platform,
        }
    }

    /// True for a practice room.
    pub fn is_practice(&self) -> bool {
        matches!(self.address, Address::Practice { .. })
    }

    /// The platform's own id of the call, the same for every way of writing its address. Holds no secret.
    pub fn native_id(&self) -> String {
        match &self.address {
            Address::Meet { code } => code.clone(),
            Address::TeamsThread { thread, .. } => thread.clone(),
            Address::TeamsShort { id, .. } | Address::Zoom { id, .. } => id.clone(),
            Address::Other { host, path, .. } => format!("{host}/{path}"),
            Address::Practice { code, .. } => format!("practice/{code}"),
        }
    }

    /// The passcode that the address carries, for a page that asks for it. Never log it. Zoom's webinar tokens are none.
    pub fn passcode(&self) -> Option<&str> {
        self.secret.as_ref().filter(|secret| secret.key != "tk").map(|secret| secret.value.as_str())
    }

    /// The address to open in the browser, secret included. `practice_origin` (such as `http://127.0.0.1:8400`)
    /// is where practice rooms live; `None` when this address needs one and there is none.
    pub fn join_url(&self, practice_origin: Option<&str>) -> Option<String> {
        let base = match &self.address {
            Address::Practice { platform, code } => {
                format!("{}/{platform}/{code}", practice_origin?.trim_end_matches('/'))
            }
            // The web client itself, as its launcher's "join from your browser" leads to, on whatever account's host the link is.
            Address::Zoom { id, .. } => format!("https://app.zoom.us/wc/{id}/join"),
            _ => self.base(),
        };
        Some(self.with_secret(base, |secret| encode_component(&secret.value)))
    }

    /// The canonical text form, secret included, as [`MeetingUrl::parse`] reads it back. Never log it.
    pub fn expose(&self) -> String {
        self.with_secret(self.base(), |secret| encode_component(&secret.value))
    }

    /// Everything in it by which the call could be found or entered, as a page may show it: for taking it out of texts.
    pub fn private_texts(&self) -> Vec<String> {
        let mut texts = match &self.address {
            Address::Meet { code } | Address::Practice { code, .. } => vec![code.clone()],
            Address::TeamsThread { thread, message, tenant, organizer } => {
                [thread, message, tenant, organizer].into_iter().filter(|text| text.len() > 3).cloned().collect()
            }
            Address::TeamsShort { id, .. } | Address::Zoom { id, .. } => vec![id.clone()],
            // Of a path the whole and its last piece, which is the room's name.
            Address::Other { path, .. } => {
                let path = path.trim_matches('/');
                vec![path.to_owned(), path.rsplit('/').next().unwrap_or_default().to_owned()]
            }
        };
        texts.extend(self.secret.iter().flat_map(|secret| [secret.value.clone(), encode_component(&secret.value)]));
        texts
    }

    fn base(&self) -> String {
        match &self.address {
            Address::Meet { code } => format!("https://meet.google.com/{code}"),
            Address::TeamsThread { thread, message, tenant, organizer } => format!(
                "https://teams.microsoft.com/l/meetup-join/{}/{}?context={}",
                encode_component(thread),
                encode_component(message),
                encode_component(&format!("{{\"Tid\":\"{tenant}\",\"Oid\":\"{organizer}\"}}")),
            ),
            Address::TeamsShort { host, id } => format!("https://{host}/meet/{id}"),
            Address::Zoom { host, id } => format!("https://{host}/j/{id}"),
            Address::Other { host, path, .. } => format!("https://{host}/{path}"),
            Address::Practice { platform, code } => format!("practice:{platform}/{code}"),
        }
    }

    fn with_secret(&self, base: String, shown: impl Fn(&Secret) -> String) -> String {
        match &self.secret {
            None => base,
            Some(secret) => {
                let separator = if base.contains('?') { '&' } else { '?' };
                format!("{base}{separator}{}={}", secret.key, shown(secret))
            }
        }
    }
}

impl fmt::Display for MeetingUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.with_secret(self.base(), |_| "***".to_owned()))
    }
}

impl fmt::Debug for MeetingUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MeetingUrl({self})")
    }
}

/// Serde form with the secret exposed, for the loopback contract and the embedded store only.
pub mod exposed {
    use serde::{Deserialize, Deserializer, Serializer};

    use super::MeetingUrl;

    /// Writes the canonical text form, secret included.
    pub fn serialize<S: Serializer>(url: &MeetingUrl, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&url.expose())
    }

    /// Parses as [`MeetingUrl::parse`]; errors repeat no part of the input.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<MeetingUrl, D::Error> {
        let text = String::deserialize(deserializer)?;
        MeetingUrl::parse(&text).map_err(serde::de::Error::custom)
    }
}

fn check_text(input: &str) -> Result<(), MeetingUrlError> {
    if input.is_empty() {
        return Err(MeetingUrlError::Empty);
    }
    if input.len() > MAX_INPUT_BYTES {
        return Err(MeetingUrlError::TooLong);
    }
    let illegal = |c: char| {
        c.is_control()
            || c.is_whitespace()
            || c == '\\'
            || matches!(c, '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2060}'..='\u{2069}' | '\u{FEFF}')
    };
    if input.contains(illegal) { Err(MeetingUrlError::IllegalCharacter) } else { Ok(()) }
}

fn parse_https(input: &str) -> Result<Url, MeetingUrlError> {
    let lower = input.get(..8).map(str::to_ascii_lowercase);
    if lower.as_deref() != Some("https://") {
        return Err(MeetingUrlError::NotHttps);
    }
    let authority = input[8..].split(['/', '?', '#']).next().unwrap_or_default();
    if authority.contains(['@', ':', '[', ']']) {
        return Err(MeetingUrlError::Credentials);
    }
    // Checked on the text: the parser would turn look-alike letters and trailing dots into something plainer.
    if !authority.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'-') || authority.ends_with('.') {
        return Err(MeetingUrlError::UnknownHost);
    }
    if contains_nested_address(&input[8..]) {
        return Err(MeetingUrlError::Nested);
    }
    let url = Url::parse(input).map_err(|_| MeetingUrlError::Malformed)?;
    match url.host() {
        Some(url::Host::Domain(_)) => Ok(url),
        _ => Err(MeetingUrlError::UnknownHost),
    }
}

fn contains_nested_address(rest: &str) -> bool {
    let once = decode_component(rest);
    let twice = decode_component(&once);
    [rest, &once, &twice].iter().any(|text| text.contains("://"))
}

fn parse_practice(rest: &str) -> Result<MeetingUrl, MeetingUrlError> {
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (platform, code) = path.split_once('/').ok_or(MeetingUrlError::NotACall)?;
    let platform = Platform::from_name(platform).ok_or(MeetingUrlError::NotACall)?;
    let fits = (1..=64).contains(&code.len()) && code.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if !fits {
        return Err(MeetingUrlError::NotACall);
    }
    let secret = match query.strip_prefix("passcode=").or_else(|| query.strip_prefix("pwd=")) {
        Some(value) => Some(Secret { key: "passcode", value: checked_secret(decode_component(value))? }),
        None if query.is_empty() => None,
        None => return Err(MeetingUrlError::NotACall),
    };
    Ok(MeetingUrl { address: Address::Practice { platform, code: code.to_owned() }, secret })
}

fn parse_meet(url: &Url) -> Result<MeetingUrl, MeetingUrlError> {
    let code = only_segment(url)?.to_ascii_lowercase();
    let groups: Vec<&str> = code.split('-').collect();
    let fits = groups.iter().map(|group| group.len()).eq([3, 4, 3])
        && groups.iter().all(|group| group.bytes().all(|b| b.is_ascii_lowercase()));
    if fits { Ok(MeetingUrl { address: Address::Meet { code }, secret: None }) } else { Err(MeetingUrlError::NotACall) }
}

/// What such a platform's addresses mean is not known: the path alone is kept, and only where it is plain. A query, which could
/// configure the client or hold anything, is left out.
fn parse_other(url: &Url, platform: Platform, host: &str) -> Result<MeetingUrl, MeetingUrlError> {
    let segments = path_segments(url);
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.~=".contains(&b);
    let fits = (1..=3).contains(&segments.len())
        && segments
            .iter()
            .all(|segment| segment.len() <= 128 && segment.bytes().all(plain) && !segment.bytes().all(|b| b == b'.'));
    if !fits {
        return Err(MeetingUrlError::NotACall);
    }
    Ok(MeetingUrl { address: Address::Other { platform, host: host.to_owned(), path: segments.join("/") }, secret: None })
}

fn parse_zoom(url: &Url, host: &str) -> Result<MeetingUrl, MeetingUrlError> {
    let segments = path_segments(url);
    let id = match segments.as_slice() {
        ["j" | "w" | "s", id] | ["wc", id] | ["wc", "join", id] | ["wc", id, "join"] => *id,
        _ => return Err(MeetingUrlError::NotACall),
    };
    if !(9..=11).contains(&id.len()) || !id.bytes().all(|b| b.is_ascii_digit()) {
        return Err(MeetingUrlError::NotACall);
    }
    let secret = match (query_value(url, "pwd"), query_value(url, "tk")) {
        (Some(value), _) => Some(Secret { key: "pwd", value: checked_secret(value)? }),
        (None, Some(value)) => Some(Secret { key: "tk", value: checked_secret(value)? }),
        (None, None) => None,
    };
    Ok(MeetingUrl { address: Address::Zoom { host: host.to_owned(), id: id.to_owned() }, secret })
}

fn parse_teams(url: &Url, host: &'static str) -> Result<MeetingUrl, MeetingUrlError> {
    match path_segments(url).as_slice() {
        ["l", "meetup-join", thread, message] => teams_thread(thread, message, query_value(url, "context")),
        ["meet", id] => teams_short(host, id, query_value(url, "p")),
        ["dl", "launcher", "launcher.html"] => {
            let inner = query_value(url, "url").ok_or(MeetingUrlError::NotACall)?;
            let inner = inner.strip_prefix("/_#").ok_or(MeetingUrlError::NotACall)?;
            let inner = Url::parse(&format!("https://{host}{inner}")).map_err(|_| MeetingUrlError::NotACall)?;
            match path_segments(&inner).as_slice() {
                ["l", "meetup-join", thread, message] => teams_thread(thread, message, query_value(&inner, "context")),
                ["meet", id] => teams_short(host, id, query_value(&inner, "p")),
                _ => Err(MeetingUrlError::NotACall),
            }
        }
        ["light-meetings", "launch"] => light_meeting(query_value(url, "coords")),
        _ => Err(MeetingUrlError::NotACall),
    }
}

#[derive(Deserialize)]
struct TeamsContext {
    #[serde(rename = "Tid")]
    tenant: String,
    #[serde(rename = "Oid")]
    organizer: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LightMeetingCoordinates {
    conversation_id: String,
    message_id: Option<String>,
    tenant_id: String,
    organizer_id: String,
}

fn teams_thread(thread: &str, message: &str, context: Option<String>) -> Result<MeetingUrl, MeetingUrlError> {
    let context = context.ok_or(MeetingUrlError::NotACall)?;
    let TeamsContext { tenant, organizer } = serde_json::from_str(&context).map_err(|_| MeetingUrlError::NotACall)?;
    teams_thread_parts(decode_component(thread), decode_component(message), tenant, organizer)
}

fn light_meeting(coordinates: Option<String>) -> Result<MeetingUrl, MeetingUrlError> {
    let text = coordinates.ok_or(MeetingUrlError::NotACall)?;
    let bytes = BASE64
        .decode(text.as_bytes())
        .or_else(|_| BASE64URL_NOPAD.decode(text.trim_end_matches('=').as_bytes()))
        .map_err(|_| MeetingUrlError::NotACall)?;
    let found: LightMeetingCoordinates = serde_json::from_slice(&bytes).map_err(|_| MeetingUrlError::NotACall)?;
    let message = found.message_id.unwrap_or_else(|| "0".to_owned());
    teams_thread_parts(found.conversation_id, message, found.tenant_id, found.organizer_id)
}

fn teams_thread_parts(thread: String, message: String, tenant: String, organizer: String) -> Result<MeetingUrl, MeetingUrlError> {
    let thread_fits = thread.starts_with("19:")
        && (thread.ends_with("@thread.v2") || thread.ends_with("@thread.tacv2") || thread.ends_with("@thread.skype"))
        && thread.len() <= 256
        && thread.bytes().all(|b| b.is_ascii_alphanumeric() || b":@._-".contains(&b));
    let message_fits = (1..=20).contains(&message.len()) && message.bytes().all(|b| b.is_ascii_digit());
    if thread_fits && message_fits && is_guid(&tenant) && is_guid(&organizer) {
        Ok(MeetingUrl { address: Address::TeamsThread { thread, message, tenant, organizer }, secret: None })
    } else {
        Err(MeetingUrlError::NotACall)
    }
}

fn teams_short(host: &'static str, id: &str, passcode: Option<String>) -> Result<MeetingUrl, MeetingUrlError> {
    if !(9..=20).contains(&id.len()) || !id.bytes().all(|b| b.is_ascii_digit()) {
        return Err(MeetingUrlError::NotACall);
    }
    let secret = passcode.map(checked_secret).transpose()?.map(|value| Secret { key: "p", value });
    Ok(MeetingUrl { address: Address::TeamsShort { host, id: id.to_owned() }, secret })
}

fn checked_secret(value: String) -> Result<String, MeetingUrlError> {
    let fits = (1..=256).contains(&value.len()) && value.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    if fits { Ok(value) } else { Err(MeetingUrlError::NotACall) }
}

fn is_guid(text: &str) -> bool {
    text.split('-').map(str::len).eq([8, 4, 4, 4, 12]) && text.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-')
}

fn path_segments(url: &Url) -> Vec<&str> {
    url.path_segments().map(|segments| segments.filter(|segment| !segment.is_empty()).collect()).unwrap_or_default()
}

fn only_segment(url: &Url) -> Result<&str, MeetingUrlError> {
    match path_segments(url).as_slice() {
        [only] => Ok(only),
        _ => Err(MeetingUrlError::NotACall),
    }
}

fn query_value(url: &Url, key: &str) -> Option<String> {
    url.query_pairs().find(|(name, _)| name == key).map(|(_, value)| value.into_owned())
}

fn decode_component(text: &str) -> String {
    // `form_urlencoded` would turn `+` into a space, which passcodes may not survive.
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = (bytes[at] == b'%').then(|| text.get(at + 1..at + 3)).flatten();
        match hex.and_then(|pair| u8::from_str_radix(pair, 16).ok()) {
            Some(byte) => {
                decoded.push(byte);
                at += 3;
            }
            None => {
                decoded.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

fn encode_component(text: &str) -> String {
    text.bytes()
        .map(|b| if b.is_ascii_alphanumeric() || b"-._~".contains(&b) { char::from(b).to_string() } else { format!("%{b:02X}") })
        .collect()
}

#[cfg(test)]
mod tests;
