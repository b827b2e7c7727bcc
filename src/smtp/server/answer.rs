//! The server's replies whose text is known at build time, and which are rendered then.

/// One reply line, ready to be sent.
#[derive(Debug)]
pub(super) struct Answer {
    /// With its enhanced status code (RFC 2034).
    enhanced: &'static [u8],
    plain: &'static [u8],
}

impl Answer {
    #[inline]
    pub(super) fn bytes(&self, enhanced: bool) -> &'static [u8] {
        if enhanced { self.enhanced } else { self.plain }
    }

    /// Whether the client may try again, so that it is no fault of its own.
    pub(super) fn is_temporary(&self) -> bool {
        self.plain.starts_with(b"4")
    }
}

/// `answer!(code "enhanced" "text")`; without the enhanced code for 3xx.
macro_rules! answer {
    ($code:literal $enhanced:literal $text:literal) => {
        Answer {
            enhanced: concat!($code, " ", $enhanced, " ", $text, "\r\n").as_bytes(),
            plain: concat!($code, " ", $text, "\r\n").as_bytes(),
        }
    };
    ($code:literal $text:literal) => {
        Answer {
            enhanced: concat!($code, " ", $text, "\r\n").as_bytes(),
            plain: concat!($code, " ", $text, "\r\n").as_bytes(),
        }
    };
}

pub(super) const READY_FOR_TLS: Answer = answer!(220 "2.0.0" "Ready to start TLS");
pub(super) const BYE: Answer = answer!(221 "2.0.0" "Bye");
pub(super) const AUTH_OK: Answer = answer!(235 "2.7.0" "Authentication succeeded");
pub(super) const OK: Answer = answer!(250 "2.0.0" "Ok");
pub(super) const MAIL_OK: Answer = answer!(250 "2.1.0" "Ok");
pub(super) const RCPT_OK: Answer = answer!(250 "2.1.5" "Ok");
pub(super) const TURNING: Answer = answer!(250 "2.0.0" "OK, now reversing the connection");
pub(super) const VRFY_CANNOT: Answer =
    answer!(252 "2.5.2" "Cannot verify the address; will take mail for it");
pub(super) const START_DATA: Answer = answer!(354 "End data with <CR><LF>.<CR><LF>");

pub(super) const TIMEOUT: Answer = answer!(421 "4.4.2" "Timeout; closing");
pub(super) const SHUTTING_DOWN: Answer = answer!(421 "4.3.2" "Shutting down; try again later");
pub(super) const OVERLOADED: Answer = answer!(421 "4.3.2" "Too many connections; try again later");
pub(super) const RECORD_CROWD: Answer =
    answer!(421 "4.3.2" "Too many clients stop inside of a TLS record; try again later");
pub(super) const PEER_CROWD: Answer =
    answer!(421 "4.7.0" "Too many connections from your address; try again later");
pub(super) const TOO_MANY_ERRORS: Answer = answer!(421 "4.7.0" "Too many errors; closing");
pub(super) const TOO_MUCH_JUNK: Answer =
    answer!(421 "4.7.0" "Too many commands without a message; closing");
pub(super) const NOISE: Answer = answer!(421 "4.7.0" "No end of line in sight; closing");
pub(super) const NO_MEMORY: Answer =
    answer!(452 "4.3.1" "No memory for more senders and recipients; try again later");
pub(super) const TOO_MANY_RECIPIENTS: Answer = answer!(452 "4.5.3" "Too many recipients");

pub(super) const MAILBOX_BUSY: Answer = answer!(450 "4.2.1" "Mailbox busy; try again later");
pub(super) const ATRN_REFUSED: Answer = answer!(450 "4.7.1" "ATRN request refused");
pub(super) const ATRN_UNABLE: Answer = answer!(451 "4.3.0" "Unable to process ATRN request now");
pub(super) const NO_MAIL: Answer = answer!(453 "4.2.0" "You have no mail");
pub(super) const TLS_NOT_AVAILABLE: Answer =
    answer!(454 "4.7.0" "TLS not available; try again later");
pub(super) const UNKNOWN_VERB: Answer = answer!(500 "5.5.2" "Command not recognized");
pub(super) const LINE_TOO_LONG: Answer = answer!(500 "5.5.2" "Line too long");
pub(super) const AUTH_LINE_TOO_LONG: Answer = answer!(500 "5.5.6" "Authentication line too long");
pub(super) const BARE_NEWLINE_IN_COMMAND: Answer =
    answer!(500 "5.5.2" "Bare CR or LF in a command; lines end in CRLF");
pub(super) const NODE_NEEDED: Answer = answer!(500 "5.5.2" "Needs a node: ETRN example.org");
pub(super) const BAD_UTF8: Answer = answer!(500 "5.5.2" "Not valid UTF-8");
pub(super) const BAD_OCTETS: Answer =
    answer!(501 "5.5.2" "Argument holds octets that are not allowed");
pub(super) const BAD_BASE64: Answer = answer!(501 "5.5.2" "Not valid base64");
pub(super) const BAD_RESPONSE: Answer =
    answer!(501 "5.5.2" "Response is not what the mechanism asks for");
pub(super) const AUTH_CANCELLED: Answer = answer!(501 "5.7.0" "Authentication cancelled");
pub(super) const NO_INITIAL_RESPONSE: Answer =
    answer!(501 "5.7.0" "The mechanism takes no initial response");
pub(super) const BAD_HELLO: Answer = answer!(501 "5.5.4" "Needs a domain or an address literal");
pub(super) const NO_ARGUMENT_ALLOWED: Answer = answer!(501 "5.5.4" "Takes no argument");
pub(super) const ARGUMENT_NEEDED: Answer = answer!(501 "5.5.4" "Needs an argument");
pub(super) const BAD_ATTRIBUTE: Answer = answer!(501 "5.5.4" "Bad XCLIENT attribute");
pub(super) const BAD_NODE: Answer =
    answer!(501 "5.5.4" "Needs a full domain, alone or after @, or a queue after #");
pub(super) const BAD_DOMAINS: Answer =
    answer!(501 "5.5.4" "Needs full domains with commas between, or nothing");
pub(super) const BAD_PARAMETER: Answer = answer!(501 "5.5.4" "Bad parameter");
pub(super) const BAD_SENDER: Answer = answer!(501 "5.1.7" "Bad sender; say MAIL FROM:<address>");
pub(super) const HOLD_OUT_OF_RANGE: Answer =
    answer!(501 "5.5.4" "Cannot hold a message for that long or until then");
pub(super) const SENDER_TOO_LONG: Answer = answer!(501 "5.1.7" "Path too long");
pub(super) const BAD_RECIPIENT: Answer =
    answer!(501 "5.1.3" "Bad recipient; say RCPT TO:<address>");
pub(super) const RECIPIENT_TOO_LONG: Answer = answer!(501 "5.1.3" "Path too long");
pub(super) const NOT_IMPLEMENTED: Answer = answer!(502 "5.5.1" "Command not implemented");
pub(super) const HELLO_FIRST: Answer = answer!(503 "5.5.1" "Say EHLO or HELO first");
pub(super) const LHLO_FIRST: Answer = answer!(503 "5.5.1" "Say LHLO first");
pub(super) const EHLO_FIRST: Answer = answer!(503 "5.5.1" "Say EHLO first");
pub(super) const AUTHENTICATED: Answer = answer!(503 "5.5.1" "Already authenticated");
pub(super) const AUTH_IN_TRANSACTION: Answer = answer!(503 "5.5.1" "No AUTH inside a transaction");
pub(super) const NESTED_MAIL: Answer = answer!(503 "5.5.1" "Sender already given");
pub(super) const TRANSACTION_OPEN: Answer =
    answer!(503 "5.5.1" "Not during a mail transaction; say RSET");
pub(super) const MAIL_FIRST: Answer = answer!(503 "5.5.1" "Say MAIL first");
pub(super) const RCPT_FIRST: Answer = answer!(503 "5.5.1" "Say RCPT first");
pub(super) const CHUNKS_OPEN: Answer = answer!(503 "5.5.1" "Go on with BDAT, or say RSET");
pub(super) const TRANSACTION_FAILED: Answer =
    answer!(503 "5.5.1" "Transaction failed before; say RSET");
pub(super) const BINARY_NEEDS_BDAT: Answer = answer!(503 "5.5.1" "BINARYMIME needs BDAT");
pub(super) const UNKNOWN_MECHANISM: Answer =
    answer!(504 "5.5.4" "Mechanism not recognized or not offered");
pub(super) const UNKNOWN_TOPIC: Answer =
    answer!(504 "5.5.4" "No help on that; say HELP for the commands");
pub(super) const BAD_CHUNK_SIZE: Answer = answer!(521 "5.5.4" "Bad chunk size; closing");
pub(super) const AUTH_REQUIRED: Answer = answer!(530 "5.7.0" "Authentication required");
pub(super) const TLS_REQUIRED: Answer = answer!(530 "5.7.0" "Say STARTTLS first");
pub(super) const AUTH_NEEDS_TLS: Answer =
    answer!(538 "5.7.11" "Encryption is required for AUTH; say STARTTLS first");
pub(super) const BAD_CREDENTIALS: Answer =
    answer!(535 "5.7.8" "Authentication credentials invalid");
pub(super) const TOO_LARGE: Answer = answer!(552 "5.3.4" "Message too large");
pub(super) const USER_UNKNOWN: Answer = answer!(550 "5.1.1" "No such user here");
pub(super) const NOT_A_LIST: Answer =
    answer!(550 "5.2.4" "That is a user name, not a mailing list");
pub(super) const BARE_NEWLINE_IN_MESSAGE: Answer =
    answer!(550 "5.6.0" "Bare CR or LF in the message; lines end in CRLF");
pub(super) const XCLIENT_UNTRUSTED: Answer =
    answer!(550 "5.7.0" "XCLIENT is for trusted peers only");
pub(super) const SENDER_NEEDS_SMTPUTF8: Answer =
    answer!(550 "5.6.7" "Non-ASCII sender needs SMTPUTF8");
pub(super) const USER_AMBIGUOUS: Answer = answer!(553 "5.1.4" "User ambiguous");
pub(super) const RECIPIENT_NEEDS_SMTPUTF8: Answer =
    answer!(553 "5.6.7" "Non-ASCII recipient needs SMTPUTF8");
pub(super) const NOT_SMTP: Answer = answer!(554 "5.5.0" "This is an SMTP server; closing");
pub(super) const EARLY_TALKER: Answer =
    answer!(554 "5.5.0" "The client speaks before the greeting; closing");
pub(super) const OCTETS_BEHIND_STARTTLS: Answer =
    answer!(554 "5.5.0" "Nothing may follow STARTTLS before its reply; closing");
pub(super) const TLS_IS_ON: Answer = answer!(554 "5.5.1" "TLS is active already");
pub(super) const NO_VALID_RECIPIENTS: Answer = answer!(554 "5.5.1" "No valid recipients");
pub(super) const UNKNOWN_PARAMETER: Answer =
    answer!(555 "5.5.4" "Parameter not recognized or not offered");
