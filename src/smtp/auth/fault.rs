//! What keeps a client from going on with an exchange.

/// What keeps a client from going on with an exchange; it cancels then.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, thiserror::Error)]
pub enum LoginFault {
    #[error("the server's challenge is not what the mechanism asks for")]
    Challenge,
    #[error("the server's proof is false: it does not know the password")]
    Impostor,
    #[error("the server asks for {0} iterations; {max} is the most", max = crate::limits::SCRAM_ITERATIONS_MAX)]
    Iterations(u32),
}
