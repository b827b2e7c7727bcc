//! Charts (next).
