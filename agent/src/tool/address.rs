//! Which addresses an HTTP tool may reach, and the hosts that an agent's author allows by name.
//!
//! A tool reaches the public internet. Everything else (this machine, the networks around it, the services that hand
//! out a machine's credentials) is reached only where the definition names the host. Pure: who resolves a name and who
//! connects is the worker's matter. Start at [`place`].

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What kind of place an address is; the words complete "it is …".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Anybody's.
    Public,
    /// This machine or a network around it: a name that the author allowed may lead there.
    Inside(&'static str),
    /// Nothing that a name should lead to, such as the services that hand out a machine's credentials: only the
    /// address itself can be allowed.
    Special(&'static str),
}

/// What the special-purpose registries of IANA say of an address; what they do not call global is not public.
/// An IPv4 address within an IPv6 one counts as what it is itself, since that is where the packets go.
pub fn place(address: IpAddr) -> Place {
    match address {
        IpAddr::V4(address) => place_v4(address),
        IpAddr::V6(address) => place_v6(address),
    }
}

fn place_v4(address: Ipv4Addr) -> Place {
    match address.octets() {
        // The one address of a cloud's metadata that is not within a range of its own: Azure's.
        [168, 63, 129, 16] => Place::Special("an address of cloud metadata"),
        [127, ..] => Place::Inside("a loopback address"),
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => Place::Inside("a private address"),
        [100, 100, 100, 200] => Place::Special("an address of cloud metadata"),
        [100, 64..=127, ..] => Place::Inside("an address shared behind a carrier's NAT"),
        [169, 254, ..] => Place::Special("a link-local address, where clouds serve their metadata"),
        [0, ..] => Place::Special("an unspecified address"),
        [224..=239, ..] => Place::Special("a multicast address"),
        [240..=255, ..]
        | [192, 0, 0 | 2, _]
        | [192, 88, 99, _]
        | [198, 18 | 19, ..]
        | [198, 51, 100, _]
        | [203, 0, 113, _] => Place::Special("a reserved address"),
        _ => Place::Public,
    }
}

fn place_v6(address: Ipv6Addr) -> Place {
    let segments = address.segments();
    let embedded = |high: u16, low: u16| {
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        place_v4(Ipv4Addr::new(a, b, c, d))
    };
    match segments {
        [0, 0, 0, 0, 0, 0, 0, 0] => Place::Special("an unspecified address"),
        [0, 0, 0, 0, 0, 0, 0, 1] => Place::Inside("a loopback address"),
        // IPv4-mapped, the well-known prefix of NAT64, 6to4, and ISATAP under any prefix.
        [0, 0, 0, 0, 0, 0xffff, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x2002, high, low, ..]
        | [0x2000..=0x3fff, _, _, _, 0 | 0x200, 0x5efe, high, low] => embedded(high, low),
        // The address of AWS's metadata.
        [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254] => Place::Special("an address of cloud metadata"),
        [0xfc00..=0xfdff, ..] => Place::Inside("a unique-local address"),
        [0xfe80..=0xfebf, ..] => Place::Special("a link-local address"),
        [0xff00..=0xffff, ..] => Place::Special("a multicast address"),
        // Protocols' own (Teredo among them), and examples in documents.
        [0x2001, 0..=0x1ff, ..] | [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => Place::Special("a reserved address"),
        [0x2000..=0x3fff, ..] => Place::Public,
        _ => Place::Special("a reserved address"),
    }
}

/// A host as a URL names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    /// Lower case, without the dot that may end it.
    Name(String),
    /// Written out.
    Address(IpAddr),
}

impl Host {
    /// Reads the host of a URL that has been parsed, brackets around an IPv6 address included.
    pub fn of(text: &str) -> Self {
        let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
        bare.unwrap_or(text).parse().map_or_else(
            |_| Self::Name(text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase()),
            Self::Address,
        )
    }

    /// Whether it leads inside whatever a name server says: an address that is not public, or this machine's own name.
    pub fn is_inside(&self) -> bool {
        match self {
            Self::Name(name) => name == "localhost" || name.ends_with(".localhost"),
            Self::Address(address) => place(*address) != Place::Public,
        }
    }
}

/// A host that the author of an agent allows: `host` at any port, or `host:port`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedHost {
    host: Host,
    port: Option<u16>,
}

impl AllowedHost {
    /// Reads an entry such as `payments.internal`, `10.0.0.7:8080` or `[::1]:8080`; nothing where it is none.
    pub fn parse(text: &str) -> Option<Self> {
        let (host, port) = split_port(text)?;
        let host = match host.strip_prefix('[') {
            Some(rest) => Host::Address(IpAddr::V6(rest.strip_suffix(']')?.parse().ok()?)),
            None => Host::of(host),
        };
        if let Host::Name(name) = &host
            && !is_name(name)
        {
            return None;
        }
        Some(Self { host, port })
    }

    /// Whether a URL with that host and port is meant.
    pub fn admits(&self, host: &Host, port: u16) -> bool {
        self.host == *host && self.port.is_none_or(|own| own == port)
    }
}

/// As it is stored.
impl fmt::Display for AllowedHost {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Name(name) => formatter.write_str(name)?,
            Host::Address(IpAddr::V4(address)) => write!(formatter, "{address}")?,
            Host::Address(IpAddr::V6(address)) => write!(formatter, "[{address}]")?,
        }
        match self.port {
            Some(port) => write!(formatter, ":{port}"),
            None => Ok(()),
        }
    }
}

/// The colon before a port stands behind the brackets, if there are any.
fn split_port(text: &str) -> Option<(&str, Option<u16>)> {
    let from = text.rfind(']').map_or(0, |at| at + 1);
    let Some(at) = text[from..].find(':') else {
        return Some((text, None));
    };
    let (host, port) = (&text[..from + at], &text[from + at + 1..]);
    let is_number = port.bytes().all(|byte| byte.is_ascii_digit());
    let port = port.parse().ok().filter(|port| is_number && *port > 0)?;
    Some((host, Some(port)))
}

/// Labels of letters, digits, `-` and `_`. One that ends in a number would be read as an address by a URL.
fn is_name(name: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    let is_label = |label: &str| !label.is_empty() && label.len() <= 63 && label.bytes().all(is_inner);
    let last = name.rsplit('.').next().unwrap_or_default();
    let ends_in_number = last.bytes().all(|byte| byte.is_ascii_digit()) || last.starts_with("0x");
    name.len() <= 253 && name.split('.').all(is_label) && !ends_in_number
}

#[cfg(test)]
mod tests;
