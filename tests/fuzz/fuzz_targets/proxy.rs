//! The PROXY header of a hostile proxy: what a slow reading says, and never another answer for more
//! octets of the same.

#![no_main]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use libfuzzer_sys::fuzz_target;
use ringpost::limits::PROXY_HEADER_BYTES_MAX;
use ringpost::sink::proxy::{BadHeader, Header, parse};

fuzz_target!(|input: &[u8]| {
    let whole = parse(input);
    if let Ok(Header::Whole { source, octets }) = whole {
        assert!(octets <= input.len());
        assert_eq!(slow(&input[..octets]), Some(source));
        assert_eq!(parse(&input[..octets]), whole);
    } else {
        let headers = (0..=input.len()).filter(|&octets| slow(&input[..octets]).is_some());
        assert_eq!(headers.count(), 0);
    }
    // Some octets decide, and those behind them change nothing.
    let mut decided = None;
    for octets in 0..=input.len().min(PROXY_HEADER_BYTES_MAX + 1) {
        let answer = parse(&input[..octets]);
        match decided {
            None if answer == Ok(Header::Partial) => {}
            None => decided = Some(answer),
            Some(before) => assert_eq!(answer, before),
        }
    }
    let last: Result<Header, BadHeader> = decided.unwrap_or(Ok(Header::Partial));
    assert!(input.len() > PROXY_HEADER_BYTES_MAX + 1 || last == whole);
});

/// The source of `header`, when it is a header and nothing else.
fn slow(header: &[u8]) -> Option<Option<SocketAddr>> {
    match header.strip_prefix(b"\r\n\r\n\0\r\nQUIT\n") {
        Some(rest) => binary(rest),
        None => line(str::from_utf8(header).ok()?),
    }
}

fn line(text: &str) -> Option<Option<SocketAddr>> {
    let words = text.strip_suffix("\r\n")?.strip_prefix("PROXY ")?;
    if text.len() > 107 || words.contains('\n') {
        return None;
    }
    if words == "UNKNOWN" || words.starts_with("UNKNOWN ") {
        return Some(None);
    }
    let words: Vec<_> = words.split(' ').collect();
    let [family, source, destination, from, to] = words[..] else { return None };
    let ip = |text: &str| match family {
        "TCP4" => text.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
        "TCP6" => text.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        _ => None,
    };
    // As a number is written, and in no other way.
    let port = |text: &str| text.parse::<u16>().ok().filter(|port| port.to_string() == text);
    ip(destination)?;
    port(to)?;
    Some(Some(SocketAddr::new(ip(source)?, port(from)?)))
}

fn binary(rest: &[u8]) -> Option<Option<SocketAddr>> {
    let [command, family, high, low, block @ ..] = rest else { return None };
    let length = usize::from(*high) * 256 + usize::from(*low);
    if block.len() != length || 16 + length > PROXY_HEADER_BYTES_MAX {
        return None;
    }
    if !matches!(family, 0x00..=0x02 | 0x10..=0x12 | 0x20..=0x22 | 0x30..=0x32) {
        return None;
    }
    let least = [0, 12, 36, 216][usize::from(family >> 4)];
    match command {
        0x20 => Some(None),
        0x21 if length < least => None,
        0x21 => Some(match family {
            0x11 => Some(SocketAddr::new(
                Ipv4Addr::new(block[0], block[1], block[2], block[3]).into(),
                u16::from(block[8]) * 256 + u16::from(block[9]),
            )),
            0x21 => Some(SocketAddr::new(
                Ipv6Addr::from(<[u8; 16]>::try_from(&block[..16]).ok()?).into(),
                u16::from(block[32]) * 256 + u16::from(block[33]),
            )),
            _ => None,
        }),
        _ => None,
    }
}
