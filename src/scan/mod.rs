//! Where is the next CRLF, the next line-leading dot, the next bare CR or LF, in a slice of octets.
