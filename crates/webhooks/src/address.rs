//! Which addresses may be dialled: public ones, and what an operator allows. Pure.
//!
//! A webhook's address is somebody's wish, and the controller stands inside a network: without this it would be a way into that network,
//! to its metadata service above all. What counts is the address that is dialled, not the one that the name had a moment ago.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// What an operator allows besides the public internet: `WEBHOOK_ALLOW`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Allowed {
    networks: Vec<IpNet>,
    hosts: Vec<String>,
}

impl Allowed {
    /// What the variable wants.
    pub const WANTS: &str = "networks and host names, separated by commas, such as 10.1.0.0/16,hooks.internal";

    /// Reads a list; an address alone is a network of one. The error is the entry that is neither.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut allowed = Self::default();
        for entry in text.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
            let entry = entry.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
            if let Ok(network) = entry.parse::<IpNet>() {
                allowed.networks.push(network);
            } else if let Ok(address) = entry.parse::<IpAddr>() {
                allowed.networks.push(IpNet::from(address));
            } else if is_host_name(&entry) {
                allowed.hosts.push(entry);
            } else {
                return Err(entry);
            }
        }
        Ok(allowed)
    }

    /// The host is allowed by name: whatever address it has, and without TLS.
    pub fn names(&self, host: &str) -> bool {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        self.hosts.contains(&host)
    }

    /// The address lies in a network that is allowed.
    pub fn holds(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.networks.iter().any(|network| network.contains(&address))
    }

    /// The address may be dialled.
    pub fn admits(&self, address: IpAddr) -> bool {
        is_public(address) || self.holds(address)
    }
}

fn is_host_name(text: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty() && label.len() <= 63 && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    // Something like 10.1.0 is a mistake, not a name.
    text.split('.').all(is_label) && !text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
}

/// True for an address of the public internet (IANA's special-purpose registries, as of 2026).
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let is_special = match (a, b, c) {
        // "This" network, private, loopback, multicast and everything above, broadcast with it.
        (0 | 10 | 127 | 224.., _, _) => true,
        // Carriers' networks.
        (100, 64..=127, _) => true,
        // Link-local, with the clouds' metadata services.
        (169, 254, _) => true,
        (172, 16..=31, _) => true,
        (192, 168, _) => true,
        // Protocol assignments, documentation, 6to4 relays, benchmarks.
        (192, 0, 0 | 2) | (192, 88, 99) | (198, 51, 100) | (203, 0, 113) => true,
        (198, 18 | 19, _) => true,
        _ => false,
    };
    !is_special
}

/// Only 2000::/3 is given out, and of it the ranges that carry another address within or lead nowhere are left out. So IPv4-mapped and
/// -compatible addresses, NAT64 (64:ff9b::/96 and 64:ff9b:1::/48), unique local, link-local, site-local and multicast are refused.
fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, ..] = address.segments();
    let is_special = match (a, b) {
        // Teredo, ORCHID and other protocol assignments: 2001::/23.
        (0x2001, 0..=0x01ff) => true,
        // Documentation.
        (0x2001, 0x0db8) | (0x3fff, 0..=0x0fff) => true,
        // 6to4.
        (0x2002, _) => true,
        _ => false,
    };
    a & 0xe000 == 0x2000 && !is_special
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn nothing_but_the_public_internet_is_dialled() {
        let refused = [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.1.1",
            "169.254.169.254",
            "169.254.170.2",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.1",
            "192.0.0.170",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.7",
            "203.0.113.9",
            "224.0.0.1",
            "239.255.255.250",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:8.8.8.8",
            "::ffff:169.254.169.254",
            "64:ff9b::7f00:1",
            "64:ff9b::808:808",
            "64:ff9b:1::a00:1",
            "100::1",
            "2001::1",
            "2001:0:7f00:1::",
            "2001:10::1",
            "2001:20::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "2002:a9fe:a9fe::1",
            "3fff::1",
            "5f00::1",
            "fc00::1",
            "fd00:ec2::254",
            "fd12:3456::1",
            "fe80::1",
            "febf::1",
            "fec0::1",
            "ff02::1",
            "ff0e::1",
        ];
        for text in refused {
            assert!(!Allowed::default().admits(text.parse().unwrap()), "{text}");
        }
        for text in
            ["1.1.1.1", "8.8.8.8", "93.184.216.34", "100.63.0.1", "172.32.0.1", "198.20.0.1", "2606:4700::1111", "2a00:1450::1"]
        {
            assert!(Allowed::default().admits(text.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn an_operator_allows_networks_and_names() {
        let allowed = Allowed::parse(" 10.1.0.0/16, ::1,fd00::/8 ,127.0.0.1, Hooks.Internal").unwrap();
        for text in ["10.1.2.3", "::1", "fd00::5", "127.0.0.1", "::ffff:10.1.0.1"] {
            assert!(allowed.admits(text.parse().unwrap()), "{text}");
        }
        for text in ["10.2.0.1", "127.0.0.2", "169.254.169.254", "::ffff:10.2.0.1"] {
            assert!(!allowed.admits(text.parse().unwrap()), "{text}");
        }
        assert!(allowed.names("hooks.internal") && allowed.names("HOOKS.internal.") && !allowed.names("x.hooks.internal"));
        for wrong in ["10.1.0.0/33", "10.1.0", "http://x", "a b", "*", "a..b"] {
            assert_eq!(Allowed::parse(wrong), Err(wrong.to_owned()));
        }
    }

    proptest! {
        #[test]
        fn no_address_in_another_s_clothes_is_public(bits: u32) {
            let inner = Ipv4Addr::from(bits);
            let [a, b, c, d] = inner.octets().map(u16::from);
            let (high, low) = (a << 8 | b, c << 8 | d);
            for dressed in [
                inner.to_ipv6_mapped(),
                inner.to_ipv6_compatible(),
                Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, high, low),
                Ipv6Addr::new(0x2002, high, low, 0, 0, 0, 0, 1),
                Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, high, low),
            ] {
                prop_assert!(!is_public(dressed.into()), "{dressed}");
            }
        }
    }
}
