//! The server machine against the RFCs, without a socket: input, replies, events, and whether the
//! session lives on. Each case runs whole, octet by octet, and cut at random places.

mod smtp;
