//! A connection of TLS, or what is taken for one, against the buffers of the library.

#![no_main]

#[path = "../../support/tls.rs"]
#[allow(dead_code)]
mod tls;
#[path = "../../support/tls_twin.rs"]
mod tls_twin;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| tls_twin::compare(input));
