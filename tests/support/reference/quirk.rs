//! Mistakes on purpose.

/// A mistake on purpose: what compares the two receivers must notice each.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Quirk {
    /// LF . CRLF ends a message.
    LfDotEnds,
    /// CRLF . LF ends a message.
    DotLfEnds,
    /// CRLF . CR CRLF ends a message.
    DotCrEnds,
    /// A dot behind a bare LF is taken away.
    UnstuffsBehindLf,
    /// RSET leaves the recipients.
    ResetKeepsRecipients,
    /// A refused chunk is not consumed.
    RefusedChunkIsRead,
    /// A chunk ends the message when it ends in CRLF . CRLF.
    DotEndsChunk,
    /// A message over the limit by one octet is taken.
    LimitOffByOne,
    /// A refused chunk leaves the transaction as it was.
    ForgetsFailure,
    /// VRFY ends the transaction.
    VrfyResets,
    /// Enhanced codes are given where they are switched off.
    AlwaysEnhanced,
    /// EHLO is answered where there are no extensions.
    EhloAlways,
    /// SEND, SOML and SAML are MAIL where they are switched off.
    LegacyAlways,
    /// EXPN is answered where it is switched off.
    ExpnAlwaysOn,
    /// RET may be given twice.
    RetTwice,
    /// HOLDFOR and HOLDUNTIL may be given together.
    HoldsTwice,
    /// NEVER may stand among other events.
    NeverWithOthers,
    /// BY=0;R is taken.
    ReturnsAtOnce,
    /// MT-PRIORITY=-0 is taken.
    MinusZero,
    /// An alias is taken whatever it leads to.
    AliasIsEnough,
    /// Mail to a busy mailbox is taken.
    BusyIsTaken,
    /// AUTH is let pass inside a transaction.
    AuthInTransaction,
    /// MAIL is let pass before the login that it needs.
    LoginIsOptional,
    /// `*` is answered as wrong credentials are.
    CancelIsRefusal,
    /// The second exchange gets the challenge of the first.
    NoncesRepeat,
    /// Any proof of the right form will do for SCRAM.
    AnyProof,
    /// Whatever answers the challenge of a bad token will do.
    AnyDummy,
    /// Who is on the list may act as somebody else.
    ActsAsAnybody,
    /// Anybody may say XCLIENT.
    XclientFromAnybody,
    /// A login outlives XCLIENT.
    XclientKeepsLogin,
    /// EHLO is not needed again behind XCLIENT.
    XclientKeepsGreeting,
    /// What stands behind STARTTLS is carried out under TLS.
    OctetsBehindStartTls,
    /// STARTTLS is let pass inside a transaction.
    StartTlsInTransaction,
    /// EHLO is not needed again after STARTTLS.
    StartTlsKeepsGreeting,
    /// A login outlives STARTTLS.
    StartTlsKeepsLogin,
    /// What XCLIENT said outlives STARTTLS.
    StartTlsKeepsClient,
    /// Everything works before TLS where TLS is required.
    TlsIsOptional,
    /// A login that needs TLS works before it.
    LoginInPlainText,
    /// REQUIRETLS is taken before TLS.
    RequireTlsInPlainText,
    /// An address may hold the controls that only Unicode has.
    UnicodeControlsPass,
}

impl Quirk {
    pub(crate) const ALL: [Self; 40] = [
        Self::LfDotEnds,
        Self::DotLfEnds,
        Self::DotCrEnds,
        Self::UnstuffsBehindLf,
        Self::ResetKeepsRecipients,
        Self::RefusedChunkIsRead,
        Self::DotEndsChunk,
        Self::LimitOffByOne,
        Self::ForgetsFailure,
        Self::VrfyResets,
        Self::AlwaysEnhanced,
        Self::EhloAlways,
        Self::LegacyAlways,
        Self::ExpnAlwaysOn,
        Self::RetTwice,
        Self::HoldsTwice,
        Self::NeverWithOthers,
        Self::ReturnsAtOnce,
        Self::MinusZero,
        Self::AliasIsEnough,
        Self::BusyIsTaken,
        Self::AuthInTransaction,
        Self::LoginIsOptional,
        Self::CancelIsRefusal,
        Self::NoncesRepeat,
        Self::AnyProof,
        Self::AnyDummy,
        Self::ActsAsAnybody,
        Self::XclientFromAnybody,
        Self::XclientKeepsLogin,
        Self::XclientKeepsGreeting,
        Self::OctetsBehindStartTls,
        Self::StartTlsInTransaction,
        Self::StartTlsKeepsGreeting,
        Self::StartTlsKeepsLogin,
        Self::StartTlsKeepsClient,
        Self::TlsIsOptional,
        Self::LoginInPlainText,
        Self::RequireTlsInPlainText,
        Self::UnicodeControlsPass,
    ];
}
