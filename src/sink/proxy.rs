//! The PROXY protocol, versions 1 and 2: the header in which a proxy names its client.
//!
//! Sans-IO. Source: HAProxy, "The PROXY protocol, versions 1 & 2" (proxy-protocol.txt), §2. A header
//! comes before anything else on the connection. What follows it belongs to the session.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::limits::PROXY_HEADER_BYTES_MAX;

/// Longest line of version 1, CRLF included (§2.1).
const LINE_BYTES_MAX: usize = 107;

/// How a header of version 2 begins (§2.2).
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// Signature, version and command, family, length.
const FIXED_BYTES: usize = 16;

/// What the start of a connection is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Header {
    /// The beginning of a header; more octets are needed.
    Partial,
    /// A whole header of `octets` octets. `source` is `None` where the proxy speaks for itself
    /// (LOCAL) or knows no address that we could keep (UNKNOWN, UNSPEC, unix): the address of the
    /// connection counts then.
    Whole { source: Option<SocketAddr>, octets: usize },
}

/// No header, or one that breaks the specification: the connection must be closed (§2).
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("no PROXY header, or a broken one")]
pub struct BadHeader;

/// Reads the header at the start of `input`, which is all that the connection gave so far.
///
/// # Errors
/// [`BadHeader`] as soon as no further octet could make it one.
pub fn parse(input: &[u8]) -> Result<Header, BadHeader> {
    if starts_alike(input, SIGNATURE) {
        return parse_binary(input);
    }
    if starts_alike(input, b"PROXY ") {
        return parse_line(input);
    }
    Err(BadHeader)
}

/// Whether `input` and `lead` agree as far as both go.
fn starts_alike(input: &[u8], lead: &[u8]) -> bool {
    input.iter().zip(lead).all(|(a, b)| a == b)
}

/// Version 1: `PROXY TCP4 SOURCE DESTINATION SOURCE-PORT DESTINATION-PORT` and CRLF.
fn parse_line(input: &[u8]) -> Result<Header, BadHeader> {
    let window = &input[..input.len().min(LINE_BYTES_MAX)];
    let Some(end) = memchr::memchr(b'\n', window) else {
        let full = window.len() == LINE_BYTES_MAX;
        return if full { Err(BadHeader) } else { Ok(Header::Partial) };
    };
    let line = window[..end].strip_suffix(b"\r").ok_or(BadHeader)?;
    let text = std::str::from_utf8(line).map_err(|_| BadHeader)?;
    let words: Vec<&str> = text.split(' ').collect();
    let source = match words[..] {
        // What follows UNKNOWN is to be ignored (§2.1).
        ["PROXY", "UNKNOWN", ..] => None,
        ["PROXY", "TCP4", source, destination, from, to] => {
            address::<Ipv4Addr>(destination, to)?;
            Some(address::<Ipv4Addr>(source, from)?)
        }
        ["PROXY", "TCP6", source, destination, from, to] => {
            address::<Ipv6Addr>(destination, to)?;
            Some(address::<Ipv6Addr>(source, from)?)
        }
        _ => return Err(BadHeader),
    };
    Ok(Header::Whole { source, octets: end + 1 })
}

fn address<A: std::str::FromStr + Into<IpAddr>>(
    ip: &str,
    port: &str,
) -> Result<SocketAddr, BadHeader> {
    let digits = port.bytes().all(|b| b.is_ascii_digit());
    let canonical = digits && (port == "0" || !port.starts_with('0'));
    let port = port.parse().ok().filter(|_| canonical).ok_or(BadHeader)?;
    let ip: A = ip.parse().map_err(|_| BadHeader)?;
    Ok(SocketAddr::new(ip.into(), port))
}

/// Version 2: signature, version and command, family and transport, length, addresses, TLVs.
fn parse_binary(input: &[u8]) -> Result<Header, BadHeader> {
    let version = input.get(SIGNATURE.len());
    if version.is_some_and(|&b| !matches!(b, 0x20 | 0x21)) {
        return Err(BadHeader);
    }
    let Some(&[.., version, family, high, low]) = input.get(..FIXED_BYTES) else {
        return Ok(Header::Partial);
    };
    let local = version == 0x20;
    // High half: UNSPEC, INET, INET6, UNIX. Low half: UNSPEC, STREAM, DGRAM. Any other "must be
    // rejected as invalid by receivers".
    let least = match family >> 4 {
        0 => 0,
        1 => 12,
        2 => 36,
        3 => 216,
        _ => return Err(BadHeader),
    };
    let rest = usize::from(u16::from_be_bytes([high, low]));
    let octets = FIXED_BYTES + rest;
    if family & 0xf > 2 || octets > PROXY_HEADER_BYTES_MAX || (!local && rest < least) {
        return Err(BadHeader);
    }
    let Some(block) = input.get(FIXED_BYTES..octets) else { return Ok(Header::Partial) };
    let source = match family {
        _ if local => None,
        0x11 => Some(SocketAddr::new(ip::<4, Ipv4Addr>(block), port(&block[8..]))),
        0x21 => Some(SocketAddr::new(ip::<16, Ipv6Addr>(block), port(&block[32..]))),
        _ => None,
    };
    Ok(Header::Whole { source, octets })
}

fn ip<const N: usize, A: From<[u8; N]> + Into<IpAddr>>(block: &[u8]) -> IpAddr {
    let mut octets = [0; N];
    octets.copy_from_slice(&block[..N]);
    A::from(octets).into()
}

fn port(octets: &[u8]) -> u16 {
    u16::from_be_bytes([octets[0], octets[1]])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn binary(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
        let mut header = SIGNATURE.to_vec();
        header.extend([command, family]);
        header.extend(u16::try_from(block.len()).unwrap().to_be_bytes());
        header.extend(block);
        header
    }

    fn inet() -> Vec<u8> {
        [&[192, 0, 2, 7, 198, 51, 100, 1][..], &[0x9c, 0x40, 0, 25]].concat()
    }

    fn inet6() -> Vec<u8> {
        let source: Ipv6Addr = "2001:db8::7".parse().unwrap();
        let destination: Ipv6Addr = "2001:db8::1".parse().unwrap();
        [&source.octets()[..], &destination.octets(), &[0x9c, 0x40, 0, 25]].concat()
    }

    fn good() -> Vec<(Vec<u8>, Option<&'static str>)> {
        let tlvs = [&[0x20, 0, 5, 1, 0, 0, 0, 0][..], &[0x04, 0, 0]].concat();
        vec![
            (b"PROXY TCP4 192.0.2.7 198.51.100.1 40000 25\r\n".into(), Some("192.0.2.7:40000")),
            (b"PROXY TCP4 192.0.2.7 198.51.100.1 0 65535\r\n".into(), Some("192.0.2.7:0")),
            (b"PROXY TCP6 2001:db8::7 2001:db8::1 1 25\r\n".into(), Some("[2001:db8::7]:1")),
            (b"PROXY UNKNOWN\r\n".into(), None),
            (b"PROXY UNKNOWN ffff:f...f:ffff garbage 1 2\r\n".into(), None),
            (binary(0x21, 0x11, &inet()), Some("192.0.2.7:40000")),
            (binary(0x21, 0x11, &[inet(), tlvs.clone()].concat()), Some("192.0.2.7:40000")),
            (binary(0x21, 0x21, &[inet6(), tlvs].concat()), Some("[2001:db8::7]:40000")),
            (binary(0x21, 0x00, b"whatever"), None),
            (binary(0x21, 0x31, &[0; 216]), None),
            (binary(0x20, 0x00, b""), None),
            (binary(0x20, 0x11, &inet()), None),
        ]
    }

    #[test]
    fn a_header_is_whole_at_its_last_octet_and_not_before() {
        for (header, source) in good() {
            for cut in 0..header.len() {
                assert_eq!(parse(&header[..cut]), Ok(Header::Partial), "{header:?} cut at {cut}");
            }
            let wire = [&header[..], b"EHLO client.example\r\n"].concat();
            let source = source.map(|text| text.parse().unwrap());
            assert_eq!(parse(&wire), Ok(Header::Whole { source, octets: header.len() }));
        }
    }

    #[test]
    fn garbage_is_refused() {
        let lines: [&[u8]; 17] = [
            b"EHLO x\r\n",
            b"G",
            b"proxy TCP4 192.0.2.7 198.51.100.1 1 2\r\n",
            b"PROXY\r\n",
            b"PROXY TCP4 192.0.2.7 198.51.100.1 1 2\n",
            b"PROXY TCP4  192.0.2.7 198.51.100.1 1 2\r\n",
            b"PROXY TCP4 192.0.2.7 198.51.100.1 1\r\n",
            b"PROXY TCP4 192.0.2.7 198.51.100.1 1 2 3\r\n",
            b"PROXY TCP4 192.0.2.7 198.51.100.1 01 2\r\n",
            b"PROXY TCP4 192.0.2.7 198.51.100.1 +1 2\r\n",
            b"PROXY TCP4 192.0.2.7 198.51.100.1 65536 2\r\n",
            b"PROXY TCP4 192.0.2.256 198.51.100.1 1 2\r\n",
            b"PROXY TCP4 ::1 198.51.100.1 1 2\r\n",
            b"PROXY TCP6 192.0.2.7 ::1 1 2\r\n",
            b"PROXY UDP4 192.0.2.7 198.51.100.1 1 2\r\n",
            b"PROXY TCP4 192.0.2.7 \xff 1 2\r\n",
            b"\r\n\r\n\0\r\nQUIT\r\n",
        ];
        for line in lines {
            assert_eq!(parse(line), Err(BadHeader), "{}", line.escape_ascii());
        }
        let long = [&b"PROXY UNKNOWN "[..], &[b'x'; 91], b"\r\n"].concat();
        assert_eq!(long.len(), LINE_BYTES_MAX);
        assert!(parse(&long).is_ok());
        let longer = [&b"PROXY UNKNOWN "[..], &[b'x'; 92], b"\r\n"].concat();
        assert_eq!(parse(&longer), Err(BadHeader));
    }

    #[test]
    fn a_binary_header_of_wrong_version_family_or_length_is_refused() {
        for (command, family, block) in [
            (0x11, 0x11, inet()),
            (0x22, 0x11, inet()),
            (0x21, 0x13, inet()),
            (0x21, 0x41, inet()),
            (0x21, 0x11, inet()[..11].to_vec()),
            (0x21, 0x21, inet()),
            (0x21, 0x31, inet6()),
            (0x21, 0x11, vec![0; PROXY_HEADER_BYTES_MAX]),
        ] {
            assert_eq!(parse(&binary(command, family, &block)), Err(BadHeader));
        }
        let mut widest = inet();
        widest.resize(PROXY_HEADER_BYTES_MAX - FIXED_BYTES, 0);
        assert!(matches!(parse(&binary(0x21, 0x11, &widest)), Ok(Header::Whole { .. })));
    }

    proptest! {
        #[test]
        fn no_input_grows_from_bad_to_good(input in prop::collection::vec(any::<u8>(), 0..64), lead in 0..3) {
            let lead: &[u8] = [&b""[..], b"PROXY ", SIGNATURE][lead as usize];
            let wire = [lead, &input].concat();
            let whole = parse(&wire);
            for cut in 0..wire.len() {
                match parse(&wire[..cut]) {
                    Ok(Header::Partial) => {}
                    settled => prop_assert_eq!(settled, whole),
                }
            }
        }

        #[test]
        fn every_address_comes_out_as_it_went_in(ip in any::<IpAddr>(), port in any::<u16>()) {
            let source = SocketAddr::new(ip, port);
            let family = if ip.is_ipv4() { "TCP4" } else { "TCP6" };
            let line = format!("PROXY {family} {ip} {ip} {port} 25\r\n");
            let octets = line.len();
            prop_assert_eq!(parse(line.as_bytes()), Ok(Header::Whole { source: Some(source), octets }));
        }
    }
}
