//! Names as SCRAM and OAUTHBEARER write them (RFC 5802 §5.1): a comma and an equals sign are escaped.

/// A name as `saslname`: no comma and no equals sign stands for itself.
pub(super) fn escape(name: &str) -> String {
    name.replace('=', "=3D").replace(',', "=2C")
}

/// `None` where an equals sign leads nothing known, and where a comma stands for itself.
pub(super) fn unescape(name: &str) -> Option<String> {
    if name.contains(',') {
        return None;
    }
    let mut words = name.split('=');
    let mut out = words.next()?.to_owned();
    for word in words {
        let (code, rest) = word.split_at_checked(2)?;
        out.push(match code {
            "2C" => ',',
            "3D" => '=',
            _ => return None,
        });
        out.push_str(rest);
    }
    (!out.is_empty()).then_some(out)
}
