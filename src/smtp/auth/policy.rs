//! What AUTH is to a listener.

use super::accounts::Credentials;
use super::mechanism::{Mechanism, Mechanisms};

/// What AUTH is to a listener. The default offers none.
#[derive(Clone, Debug, Default)]
pub struct AuthPolicy {
    pub credentials: Credentials,
    /// What may be offered of that which the credentials can serve.
    pub mechanisms: Mechanisms,
    /// MAIL needs it: 530 before.
    pub required: bool,
}

impl AuthPolicy {
    /// Whether only the users of a list may come in.
    pub fn is_listed(&self) -> bool {
        matches!(self.credentials, Credentials::Listed(_))
    }

    /// What is offered.
    ///
    /// Without a password the server cannot prove itself, and a client of SCRAM would turn away from
    /// the false proof: SCRAM needs a list of accounts.
    pub fn mechanisms(&self) -> Mechanisms {
        match self.credentials {
            Credentials::None => Mechanisms::NONE,
            Credentials::Any => self.mechanisms.without(Mechanism::ScramSha256),
            Credentials::Listed(_) => self.mechanisms,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::smtp::auth::Accounts;

    #[test]
    fn scram_is_offered_with_a_list_of_accounts_only() {
        let policy =
            |credentials| AuthPolicy { credentials, mechanisms: Mechanisms::ALL, required: false };
        assert!(AuthPolicy::default().mechanisms().is_empty());
        assert!(policy(Credentials::None).mechanisms().is_empty());
        let any = policy(Credentials::Any).mechanisms();
        assert_eq!(any, Mechanisms::ALL.without(Mechanism::ScramSha256));
        let listed = Credentials::Listed(Accounts::parse(b"a:b", 1).unwrap().into());
        assert_eq!(policy(listed).mechanisms(), Mechanisms::ALL);
    }
}
