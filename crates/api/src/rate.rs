//! How often somebody may ask: a bucket of tokens for each key and for each address, and a small one for each address whose keys are wrong.
//! Counted in this process alone: with several replicas each has a share of the requests, and its own buckets.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::http::HeaderMap;

/// Wrong keys of one address in a minute, fewer than what else it may ask. Right ones are taken meanwhile: others may share the address.
const WRONG_KEYS: u32 = 300;
/// Callers remembered at most; past it those that asked for nothing lately are forgotten.
const MOST: usize = 20_000;
/// A burst is what this long would allow.
const BURST: Duration = Duration::from_secs(10);

/// What an operator decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateSettings {
    /// Requests a minute of one key; 0 is without limit.
    pub per_key: u32,
    /// Requests a minute of one address; 0 is without limit.
    pub per_address: u32,
    /// How many proxies stand in front, each of which adds to `X-Forwarded-For`.
    pub trusted_proxies: usize,
}

impl Default for RateSettings {
    fn default() -> Self {
        Self { per_key: 3_000, per_address: 6_000, trusted_proxies: 0 }
    }
}

/// The buckets.
#[derive(Debug)]
pub(crate) struct Rates {
    settings: RateSettings,
    keys: Buckets<String>,
    addresses: Buckets<IpAddr>,
    wrong: Buckets<IpAddr>,
}

impl Rates {
    pub(crate) fn new(settings: RateSettings) -> Self {
        let (keys, addresses) = (Buckets::new(settings.per_key), Buckets::new(settings.per_address));
        Self { settings, keys, addresses, wrong: Buckets::new(WRONG_KEYS) }
    }

    /// One request of a key; else how long to wait.
    pub(crate) fn of_key(&self, id: &str) -> Result<(), Duration> {
        self.keys.take(&id.to_owned(), Instant::now())
    }

    /// One request of an address.
    pub(crate) fn of_address(&self, address: IpAddr) -> Result<(), Duration> {
        self.addresses.take(&address, Instant::now())
    }

    /// A key of this address was wrong; else how long to wait until the next may be.
    pub(crate) fn wrong_key(&self, address: IpAddr) -> Result<(), Duration> {
        self.wrong.take(&address, Instant::now())
    }

    /// Who asks: who is connected, or whom the last of our own proxies saw.
    pub(crate) fn address(&self, connected: Option<IpAddr>, headers: &HeaderMap) -> Option<IpAddr> {
        let Some(back) = self.settings.trusted_proxies.checked_sub(1) else { return connected.map(grouped) };
        let values = headers.get_all("x-forwarded-for").iter().filter_map(|value| value.to_str().ok());
        let seen: Vec<&str> = values.flat_map(|value| value.split(',')).map(str::trim).collect();
        let named = seen.iter().rev().nth(back).and_then(|text| text.parse().ok());
        named.or(connected).map(grouped)
    }
}

/// A site of IPv6 has 2^64 addresses: it is one caller.
fn grouped(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::from([a, b, c, d, 0, 0, 0, 0])
        }
        address => address,
    }
}

#[derive(Debug)]
struct Buckets<K> {
    per_second: f64,
    full: f64,
    of: Mutex<HashMap<K, (f64, Instant)>>,
}

impl<K: Hash + Eq + Clone> Buckets<K> {
    fn new(per_minute: u32) -> Self {
        let per_second = f64::from(per_minute) / 60.0;
        Self { per_second, full: (per_second * BURST.as_secs_f64()).max(1.0), of: Mutex::default() }
    }

    fn take(&self, key: &K, now: Instant) -> Result<(), Duration> {
        if self.per_second == 0.0 {
            return Ok(());
        }
        let mut of = self.of.lock().unwrap_or_else(PoisonError::into_inner);
        if of.len() >= MOST && !of.contains_key(key) {
            of.retain(|_, (_, at)| now.saturating_duration_since(*at) < BURST);
            if of.len() >= MOST {
                of.clear();
            }
        }
        let (tokens, at) = of.entry(key.clone()).or_insert((self.full, now));
        let filled = now.saturating_duration_since(*at).as_secs_f64() * self.per_second;
        (*tokens, *at) = ((*tokens + filled).min(self.full), now);
        if *tokens < 1.0 {
            return Err(Duration::from_secs_f64((1.0 - *tokens) / self.per_second));
        }
        *tokens -= 1.0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_its_burst_and_then_its_rate() {
        let (buckets, start) = (Buckets::new(60), Instant::now());
        let take = |millis: u64| buckets.take(&"k", start + Duration::from_millis(millis));
        assert!((0..10).all(|_| take(0).is_ok()));
        assert_eq!(take(0), Err(Duration::from_secs(1)));
        assert_eq!(take(500), Err(Duration::from_millis(500)));
        assert!(take(1_000).is_ok() && take(1_000).is_err());
        assert!((0..10).all(|_| take(100_000).is_ok()) && take(100_000).is_err(), "it never holds more than its burst");
        assert!(buckets.take(&"other", start).is_ok());
        assert!((0..1_000).all(|_| Buckets::new(0).take(&"k", start).is_ok()));
    }

    #[test]
    fn only_what_our_own_proxies_wrote_is_believed() {
        let mut headers = HeaderMap::new();
        headers.append("x-forwarded-for", "1.1.1.1, 2.2.2.2".parse().unwrap());
        headers.append("x-forwarded-for", "3.3.3.3".parse().unwrap());
        let connected: Option<IpAddr> = "9.9.9.9".parse().ok();
        for (trusted_proxies, expected) in [(0, "9.9.9.9"), (1, "3.3.3.3"), (2, "2.2.2.2"), (7, "9.9.9.9")] {
            let rates = Rates::new(RateSettings { trusted_proxies, ..RateSettings::default() });
            assert_eq!(rates.address(connected, &headers), expected.parse().ok(), "{trusted_proxies}");
        }
        let rates = Rates::new(RateSettings::default());
        let seen = |text: &str| rates.address(text.parse().ok(), &HeaderMap::new());
        assert_eq!(seen("2001:db8:1:2:3::1"), seen("2001:db8:1:2:ffff::2"));
        assert_eq!(seen("::ffff:10.0.0.1"), seen("10.0.0.1"));
    }
}
