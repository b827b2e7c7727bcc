//! What is known of the client, besides its login and what XCLIENT says.

use super::machine::Server;
use super::state::Greeting;

impl Server {
    /// Argument of the last good HELO, EHLO or LHLO; empty before.
    pub fn hello(&self) -> &[u8] {
        &self.hello
    }

    /// Another number than before whenever something else is known of the client: by its greeting, its login,
    /// XCLIENT or TLS. What was made of these facts before can be used as long as the number is the same.
    pub fn client_version(&self) -> u32 {
        self.client_version
    }

    pub(super) fn client_changes(&mut self) {
        self.client_version = self.client_version.wrapping_add(1);
    }

    /// Whether the client used EHLO or LHLO, that is, speaks ESMTP or LMTP.
    pub fn extended(&self) -> bool {
        self.greeting == Greeting::Ehlo
    }
}
