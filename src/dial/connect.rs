//! The one loop over the addresses of a target.

use std::io;

use super::target::Target;
use crate::engine::{self, Address, Connecting, Stream};

impl Target {
    /// Tries each address once, beginning with number `first`, until one answers. `how` gives the
    /// options for each address, the source address among them. Returns the connection and the
    /// number of its address.
    ///
    /// # Errors
    /// That of the last address tried; `AddrNotAvailable` when there is none.
    pub async fn connect(
        &self,
        first: usize,
        how: impl Fn(&Address) -> Connecting,
    ) -> io::Result<(Stream, usize)> {
        let mut failed = io::ErrorKind::AddrNotAvailable.into();
        for n in 0..self.addresses.len() {
            let index = (first + n) % self.addresses.len();
            let address = &self.addresses[index];
            match engine::connect(address, &how(address)).await {
                Ok(conn) => return Ok((conn.into(), index)),
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }
}
