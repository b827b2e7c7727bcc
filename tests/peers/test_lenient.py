"""What lenient syntax takes and refuses is what a real Postfix smtpd takes and refuses as it comes."""

import socket

import pytest
from harness import Sink
from mta import Postfix, needs_root

EHLO = b"EHLO client.example"
MAIL = b"MAIL FROM:<a@b.example>"
RCPT = b"RCPT TO:<c@d.example>"

SENDERS = [
    b"<a@b> SIZE=1 SIZE=2", b"<a@b> BODY=7BIT BODY=8BITMIME", b"<a@b> RET=FULL RET=HDRS", b"<a@b> ENVID=a ENVID=b",
    b"<a@b> SIZE=1 SIZE=x", b"<a@b> SIZE=", b"<a@b> SIZE", b"<a@b> BODY=9BIT", b"<a@b> X=1", b"<a@b>SIZE=1",
    b"<a@b> SMTPUTF8=1", b"<a@b> BODY=8BITMIME SMTPUTF8", b"<a@b>\tSIZE=1", b"<a@b>  SIZE=1", b">", b"", b"<", b" <>",
    b"<<>>", b"<a@b", b" a@b", b"a b", b'<"a b"@c>', b'"a b"@c', b"<\xc3\xa9@b>", b"<\xff@b>", b"<postmaster>", b"<@h:>",
    b"(x)<a@b>", b"<a@b>(x)", b"a@b SIZE=1", b"<Joe <a@b>>",
]  # fmt: skip

RECIPIENTS = [
    b"<c@d>", b" <c@d>", b"  <c@d>", b"\t<c@d>", b"<c @ d>", b"<c @d>", b"<c@ d>", b"< c@d>", b"<c@d >", b"<c d@e>",
    b"<c@d e>", b"c@d e", b"<<c@d>>", b"<<<c@d>>>", b"<<c@d>", b"<c@d>>", b"<Joe <c@d>>", b'<"Joe" <c@d>>', b"<Joe c@d>",
    b"Joe <c@d>", b'"Joe"<c@d>', b"Joe<c@d>", b"<c@d>Joe", b"<=?utf-8?q?c?= <c@d>>", b"c<d>", b"(x)<c@d>", b"<(x)c@d>",
    b"<c@d(x)>", b"<c@d>(x)", b"<c@d> (x)", b"<(x)>", b"(x)c@d", b"c@d(x)", b">", b"<", b"<>", b"< >", b"<<>>", b"c@d>",
    b"<c@d", b"c@d", b"c@", b"<c@>", b"@d", b"<@d>", b"c@d,e@f", b"<c@d,e@f>", b"<c@d>,<e@f>", b"<a;b@c>", b"<a,b@c>",
    b"<a:b@c>", b"<a[b@c>", b"<a]b@c>", b"<a<b@c>", b"<a>b@c>", b'<a"b"@c>', b'<"a"b@c>', b'<"a@c>', b"<a@.>", b"<a@.b>",
    b"<a@b..>", b"<a@b..c>", b"<a@b.>", b"<a@-b>", b"<a@b->", b"<a@_b>", b"<a@[1.2.3]>", b"<a@[1.2.3.4]>", b"<a@[::1]>",
    b"<a@[IPv6:::1]>", b"<a@[x]>", b"<a@[]>", b"<a\tb@c>", b"<a\\>", b"<a\\>b@c>", b"a\\ b@c", b"<@h u@d>", b"<@h:u@d>",
    b"<@h,@i:u@d>", b"<@h:>", b'"a b@c', b'"a b"@c', b'<""@c>', b"<.a@b>", b"<a.@b>", b"<a..b@c>", b"<a@b@c>", b"<a%b@c>",
    b"<a!b>", b"<postmaster>", b"<Postmaster@>", b"<root>", b'<"root">', b"<\xc3\xa9@d>", b"<" + b"l" * 65 + b"@x>",
    b"<" + b"l" * 400 + b"@x>", b"<a@" + b"d" * 256 + b">", b"<mailto:c@d>", b"<c@d\\>", b"undisclosed:;",
    b"<c@d> NOTIFY=NEVER", b"<c@d>  NOTIFY=NEVER", b"<c@d>\tNOTIFY=NEVER", b"<c@d>NOTIFY=NEVER", b"<c@d> FOO",
    b"<c@d> NOTIFY=NEVER NOTIFY=NEVER", b"<c@d> NOTIFY=", b"<c@d> ORCPT=rfc822;a ORCPT=rfc822;b", b"<c@d> ORCPT=x",
    b"<c@d> SIZE=1", b"c@d NOTIFY=NEVER",
]  # fmt: skip

FIRST = [
    b"EHLO", b"EHLO ", b"EHLO \xc3\x9c", b"EHLO [::1]", b"EHLO (null)", b"EHLO a.", b"EHLO a b", b"EHLO -a", b"EHLO a..b",
    b"HELO", b"HELO ?", b"EHLO <a>", b"ehlo x", b"RCPT TO:<c@d>", b"DATA",
]  # fmt: skip

COMMANDS = [
    b"NOOP", b" NOOP", b"\tNOOP", b"NOOP  x", b"RSET x", b"RSET ", b"QUIT x", b"DATA x", b"DATA", b"VRFY", b"VRFY x",
    b"STARTTLS", b"AUTH PLAIN", b"", b" ", b"FOO", b"MAIL", b"MAIL FROM", b"MAIL FROM <a@b>", b"MAIL FROM :<a@b>",
    b"MAIL  FROM:<a@b>", b"mail from:<a@b>", b"MAIL TO:<a@b>", b"BDAT", b"BDAT x", b"RCPT TO:<c@d>",
]  # fmt: skip

DIFFERENT = {
    # No name holds a control octet: it could steer a terminal, or end a line in a log.
    b"EHLO a\tb", b"EHLO \x1b[2J", b"EHLO a\x01b", b"RCPT TO:<a\x01b@c>", b'RCPT TO:<"a\tb"@c>', b"RCPT TO:<a\x7f@c>",
    # Comments inside an address, and groups, would have to be cut out of what was sent.
    b"RCPT TO:<c(x)@d>", b"RCPT TO:<c@d;>", b"RCPT TO:<list: c@d;>",
    # The address ends with its bracket.
    b"MAIL FROM:<>x",
    # A domain of digits, a long label and a U-label are names; whether they exist is not asked.
    b"RCPT TO:<a@1.2.3.4>", b"RCPT TO:<a@" + b"d" * 64 + b">", b"RCPT TO:<c@\xc3\xa9.d>",
    # Old clients say their name in Latin-1.
    b"EHLO \xff",
    # Answered here.
    b"HELP",
}  # fmt: skip

ROWS = [
    *[([], line) for line in FIRST],
    *[([EHLO], line) for line in COMMANDS],
    *[([EHLO], b"MAIL FROM:" + argument) for argument in SENDERS],
    *[([EHLO, MAIL], b"RCPT TO:" + argument) for argument in RECIPIENTS],
    *[([EHLO, MAIL, RCPT], line) for line in (b"DATA", b"DATA x", b"BDAT 0 LAST x", MAIL, EHLO)],
]
LEADS = {b"MAIL": [EHLO], b"RCPT": [EHLO, MAIL], b"HELP": [EHLO]}
ODD_ROWS = [(LEADS.get(line[:4], []), line) for line in DIFFERENT]
# Postfix asks for no greeting (smtpd_helo_required = no); RFC 5321 §4.1.4 does.
ODD_ROWS.append(([], MAIL))


def table(port):
    """The codes of all rows, by how many commands led and the line."""
    return {(len(lead), line): code(port, lead, line) for lead, line in ROWS + ODD_ROWS}


def code(port, lead, line):
    """The code of the reply to `line` on a connection of its own."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection, connection.makefile("rb") as replies:

        def reply():
            while True:
                text = replies.readline()
                if text[3:4] != b"-":
                    return text[:3].decode()

        reply()
        for each in lead:
            connection.sendall(each + b"\r\n")
            assert reply() == "250", each
        connection.sendall(line + b"\r\n")
        return reply()


@pytest.fixture(scope="module")
def postfix():
    with Postfix() as server:
        yield table(server.port)


@needs_root
def test_lenient_syntax_is_that_of_postfix(engine, postfix):
    with Sink(engine, None, "--syntax", "lenient") as sink:
        ours = table(sink.port)
    apart = {row: (ours[row], postfix[row]) for row in ours if ours[row][0] != postfix[row][0]}
    on_purpose = {(len(lead), line) for lead, line in ODD_ROWS}
    assert {row: codes for row, codes in apart.items() if row not in on_purpose} == {}
    # What no longer differs leaves the list.
    assert on_purpose - apart.keys() == set()
