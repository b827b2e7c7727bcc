//! What the spool keeps of the TLS handshake of a message's session.

use std::fmt::Write as _;

use serde_json::{Value, json};

/// Characters of a client's distinguished name that are kept.
const SUBJECT_CHARS_MAX: usize = 512;

/// What was agreed on in the handshake of a message's session.
///
/// A session encodes it once, and each of its messages is stored with these octets.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct StoredTls {
    /// `TLSv1.2` or `TLSv1.3`.
    pub version: String,
    /// As IANA names it: `TLS_AES_128_GCM_SHA256`.
    pub suite: String,
    /// The group of the key exchange; empty where no keys were exchanged.
    pub group: String,
    /// The name that the client asked for; empty if it asked for none.
    pub sni: String,
    /// Whether an earlier session was resumed.
    pub resumed: bool,
    /// The certificate that the client showed.
    pub client: Option<StoredClient>,
}

/// The certificate of a client.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct StoredClient {
    /// Its distinguished name, which may be empty.
    pub subject: String,
    /// SHA-256 of the certificate in hexadecimal digits.
    pub sha256: String,
}

impl StoredTls {
    /// The value of the tag: lines `name=value`, without those that are empty.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = String::new();
        let mut put = |name: &str, value: &str| {
            if !value.is_empty() {
                let printable = value.chars().map(|c| if c.is_control() { '?' } else { c });
                let value: String = printable.take(SUBJECT_CHARS_MAX).collect();
                let end = if out.is_empty() { "" } else { "\n" };
                write!(out, "{end}{name}={value}").expect("a string takes all");
            }
        };
        put("version", &self.version);
        put("suite", &self.suite);
        put("group", &self.group);
        put("sni", &self.sni);
        put("resumed", if self.resumed { "yes" } else { "" });
        if let Some(client) = &self.client {
            put("client-sha256", &client.sha256);
            put("client-subject", &client.subject);
        }
        out.into_bytes()
    }

    /// `None` if the session had no TLS. Lines that are not known are passed over.
    pub fn decode(octets: &[u8]) -> Option<Self> {
        if octets.is_empty() {
            return None;
        }
        let (mut tls, mut client) = (Self::default(), StoredClient::default());
        for line in octets.split(|&octet| octet == b'\n') {
            let at = memchr::memchr(b'=', line).unwrap_or(line.len());
            let value =
                String::from_utf8_lossy(line.get(at + 1..).unwrap_or_default()).into_owned();
            match &line[..at] {
                b"version" => tls.version = value,
                b"suite" => tls.suite = value,
                b"group" => tls.group = value,
                b"sni" => tls.sni = value,
                b"resumed" => tls.resumed = value == "yes",
                b"client-sha256" => client.sha256 = value,
                b"client-subject" => client.subject = value,
                _ => {}
            }
        }
        tls.client = (client != StoredClient::default()).then_some(client);
        Some(tls)
    }

    pub(crate) fn to_json(&self) -> Value {
        let or_null = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let client = self
            .client
            .as_ref()
            .map(|client| json!({ "subject": or_null(&client.subject), "sha256": client.sha256 }));
        json!({
            "version": self.version,
            "suite": self.suite,
            "group": or_null(&self.group),
            "sni": or_null(&self.sni),
            "resumed": self.resumed,
            "client": client,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole() -> StoredTls {
        StoredTls {
            version: "TLSv1.3".into(),
            suite: "TLS_AES_128_GCM_SHA256".into(),
            group: "X25519MLKEM768".into(),
            sni: "mx.example".into(),
            resumed: true,
            client: Some(StoredClient { subject: "CN=a=b, O=Ö".into(), sha256: "0f".into() }),
        }
    }

    #[test]
    fn it_comes_back_as_it_went() {
        let bare = StoredTls { version: "TLSv1.2".into(), ..StoredTls::default() };
        let anonymous = StoredClient { subject: String::new(), sha256: "ab".into() };
        for tls in [whole(), bare.clone(), StoredTls { client: Some(anonymous), ..bare }] {
            assert_eq!(StoredTls::decode(&tls.encode()), Some(tls));
        }
        assert_eq!(StoredTls::decode(b""), None);
    }

    #[test]
    fn what_a_client_writes_into_its_certificate_ends_no_line() {
        let subject = format!("CN=x\nversion=SSLv2\r{}", "y".repeat(9_999));
        let mut tls = whole();
        tls.client = Some(StoredClient { subject, sha256: "0f".into() });
        let back = StoredTls::decode(&tls.encode()).unwrap();
        assert_eq!(back.version, "TLSv1.3");
        let subject = back.client.unwrap().subject;
        assert!(subject.starts_with("CN=x?version=SSLv2?yyy"), "{subject}");
        assert_eq!(subject.len(), SUBJECT_CHARS_MAX);
    }

    #[test]
    fn lines_of_other_writers_are_read_or_passed_over() {
        let read = |octets: &[u8]| StoredTls::decode(octets).unwrap();
        assert_eq!(read(b"version=TLSv1.3\nlater=1\n\nnone\n=x").version, "TLSv1.3");
        assert_eq!(read(b"sni=\xff").sni, "\u{fffd}");
        assert_eq!(read(b"TLSv1.3"), StoredTls::default());
        for octets in [&b"="[..], b"\n", b"resumed", b"resumed=no"] {
            assert_eq!(read(octets), StoredTls::default());
        }
    }

    #[test]
    fn json_has_null_for_what_is_not_known() {
        assert_eq!(whole().to_json()["client"]["subject"], "CN=a=b, O=Ö");
        let bare = StoredTls::default().to_json();
        for name in ["group", "sni", "client"] {
            assert!(bare[name].is_null(), "{name}");
        }
        assert_eq!(bare["resumed"], false);
    }
}
