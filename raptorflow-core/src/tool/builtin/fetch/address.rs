//! `is_public` and `AddressRules`: which addresses of the internet a tool may connect to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Networks of IPv4 that are not the public internet, by the registry of IANA; all of 224.0.0.0/4 is multicast and
/// 168.63.129.16 serves metadata inside of a cloud.
const CLOSED_V4: [(Ipv4Addr, u32); 15] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8),
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    (Ipv4Addr::new(168, 63, 129, 16), 32),
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 0, 0, 0), 24),
    (Ipv4Addr::new(192, 0, 2, 0), 24),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    (Ipv4Addr::new(198, 18, 0, 0), 15),
    (Ipv4Addr::new(198, 51, 100, 0), 24),
    (Ipv4Addr::new(203, 0, 113, 0), 24),
    (Ipv4Addr::new(224, 0, 0, 0), 4),
    (Ipv4Addr::new(240, 0, 0, 0), 4),
];
/// Addresses inside of those networks that are public all the same.
const OPEN_V4: [Ipv4Addr; 2] = [Ipv4Addr::new(192, 0, 0, 9), Ipv4Addr::new(192, 0, 0, 10)];

/// Networks of IPv6 that are not the public internet, by the registry of IANA; site-local and multicast ones too.
const CLOSED_V6: [(Ipv6Addr, u32); 12] = [
    (Ipv6Addr::UNSPECIFIED, 128),
    (Ipv6Addr::LOCALHOST, 128),
    (Ipv6Addr::new(0x64, 0xff9b, 1, 0, 0, 0, 0, 0), 48),
    (Ipv6Addr::new(0x100, 0, 0, 0, 0, 0, 0, 0), 64),
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32),
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20),
    (Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7),
    (Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10),
    (Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, 0), 10),
    (Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8),
];
/// Networks inside of those that are public all the same.
const OPEN_V6: [(Ipv6Addr, u32); 6] = [
    (Ipv6Addr::new(0x2001, 1, 0, 0, 0, 0, 0, 1), 128),
    (Ipv6Addr::new(0x2001, 1, 0, 0, 0, 0, 0, 2), 128),
    (Ipv6Addr::new(0x2001, 3, 0, 0, 0, 0, 0, 0), 32),
    (Ipv6Addr::new(0x2001, 4, 0x112, 0, 0, 0, 0, 0), 48),
    (Ipv6Addr::new(0x2001, 0x20, 0, 0, 0, 0, 0, 0), 28),
    (Ipv6Addr::new(0x2001, 0x30, 0, 0, 0, 0, 0, 0), 28),
];
/// Translators let a machine without IPv4 reach the IPv4 address in the last 32 bits.
const TRANSLATED: (Ipv6Addr, u32) = (Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0), 96);

/// Whether an address belongs to the public internet, so that a tool may be sent there by a model.
///
/// Addresses of this machine, of its networks, of clouds' metadata, of tunnels and of documentation do not.
/// An IPv4 address inside of an IPv6 address counts as that IPv4 address.
///
/// ```
/// use raptorflow_core::tool::is_public;
/// let public = |text: &str| is_public(text.parse().unwrap());
/// assert!(public("93.184.216.34") && public("2606:4700::1111"));
/// assert!(!public("127.0.0.1") && !public("169.254.169.254") && !public("::ffff:10.0.0.1"));
/// ```
#[must_use]
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => match address.to_ipv4_mapped() {
            // The system refuses to open a connection to a multicast address, in this form as in the other.
            Some(inner) => inner.is_multicast() || is_public_v4(inner),
            None if within_v6(address, TRANSLATED) => is_public_v4(last_four(address)),
            None => {
                OPEN_V6.iter().any(|network| within_v6(address, *network))
                    || !CLOSED_V6.iter().any(|network| within_v6(address, *network))
            }
        },
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    OPEN_V4.contains(&address)
        || !CLOSED_V4.iter().any(|(network, bits)| {
            let shift = 32_u32.saturating_sub(*bits);
            (address.to_bits() ^ network.to_bits()).checked_shr(shift) == Some(0)
        })
}

fn within_v6(address: Ipv6Addr, (network, bits): (Ipv6Addr, u32)) -> bool {
    let shift = 128_u32.saturating_sub(bits);
    (address.to_bits() ^ network.to_bits()).checked_shr(shift) == Some(0)
}

fn last_four(address: Ipv6Addr) -> Ipv4Addr {
    let [.., a, b, c, d] = address.octets();
    Ipv4Addr::new(a, b, c, d)
}

/// Which addresses a tool may connect to: public ones, and those that the host named.
///
/// ```
/// use raptorflow_core::tool::AddressRules;
/// let wiki = "10.0.0.7".parse().unwrap();
/// assert!(!AddressRules::default().allows(wiki));
/// assert!(AddressRules::default().with_allowed(wiki).allows(wiki));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddressRules {
    allowed: Vec<IpAddr>,
}

impl AddressRules {
    /// Also allows an address that is not public, such as that of a server of the host's own.
    #[must_use]
    pub fn with_allowed(mut self, address: IpAddr) -> Self {
        self.allowed.push(address);
        self
    }

    /// Whether a connection to an address may be made.
    #[must_use]
    pub fn allows(&self, address: IpAddr) -> bool {
        is_public(address) || self.allowed.contains(&address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Facts of the registries of IANA.
    #[test]
    fn addresses_are_judged_as_the_registries_of_special_ones_say() {
        for (address, public) in [
            ("0.0.0.1", false),
            ("2.115.112.139", true),
            ("100.63.255.255", true),
            ("100.64.0.1", false),
            ("127.0.0.1", false),
            ("168.63.129.16", false),
            ("169.254.169.254", false),
            ("169.255.0.0", true),
            ("172.31.255.255", false),
            ("172.32.0.0", true),
            ("192.0.0.8", false),
            ("192.0.0.10", true),
            ("192.0.1.0", true),
            ("192.88.99.0", true),
            ("198.20.0.0", true),
            ("224.0.0.1", false),
            ("255.255.255.255", false),
            ("::", false),
            ("::1", false),
            ("::2", true),
            ("::ffff:127.0.0.1", false),
            ("::ffff:8.8.8.8", true),
            ("64:ff9b::a9fe:a9fe", false),
            ("64:ff9b::100:0", true),
            ("64:ff9b:1::1", false),
            ("100::", false),
            ("2001:3::1", true),
            ("2001:4:113::", false),
            ("2001:40::", false),
            ("2001:200::", true),
            ("2002:7f00:1::", false),
            ("3fff::", false),
            ("fd00:ec2::254", false),
            ("fe7f:ffff:ffff:ffff:ffff:ffff:ffff:ffff", true),
            ("febf::", false),
            ("fec0::", false),
            ("ff02::1", false),
        ] {
            assert_eq!(is_public(address.parse().unwrap()), public, "{address}");
        }
    }
}
