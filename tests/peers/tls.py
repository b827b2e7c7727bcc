"""Sinks with TLS, certificates, and what a sink stores of a handshake."""

import datetime
import json
import subprocess
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from harness import Sink, binary, peer, run

HOSTNAME = "mx.example.test"


class TlsSink(Sink):
    """A sink with a port for STARTTLS and one for TLS from the first octet on; its CA is in the file `ca`."""

    def __init__(self, engine, spool, directory, *options, kind="good", certificates=()):
        self.ca = Path(directory) / "ca.pem"
        made = [f"--tls-self-signed={kind}", "--tls-ca-out", self.ca]
        given = [word for pair in certificates for word in ("--tls-cert", pair[0], "--tls-key", pair[1])]
        tls = given or made
        super().__init__(
            engine, spool, "--listen", "smtps://127.0.0.1:0", "--hostname", HOSTNAME, *tls, *options
        )
        # Those of the options come behind.
        starttls, implicit = self.addresses(2)[:2]
        self.ports = {"starttls": port_of(starttls), "implicit": port_of(implicit)}


def port_of(address):
    return int(address.rpartition(":")[2])


def authority(directory, name):
    """A CA: its certificate, its key, and the file of its certificate."""
    key = ec.generate_private_key(ec.SECP256R1())
    limits = x509.BasicConstraints(ca=True, path_length=0)
    certificate = certify(name, key.public_key(), name, key, [(limits, True)])
    return certificate, key, write(directory, f"{name}.pem", pem(certificate))


def issue(directory, name, signer, usage=ExtendedKeyUsageOID.SERVER_AUTH):
    """A certificate for the host or client `name`, and its key, as files."""
    key = ec.generate_private_key(ec.SECP256R1())
    extensions = [
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (x509.SubjectAlternativeName([x509.DNSName(name)]), False),
        (x509.ExtendedKeyUsage([usage]), False),
    ]
    certificate = certify(name, key.public_key(), signer_name(signer), signer[1], extensions)
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return write(directory, f"{name}.pem", pem(certificate)), write(directory, f"{name}.key", key.private_bytes(*form))


def certify(name, key, issuer, signing, extensions):
    now = datetime.datetime.now(datetime.timezone.utc)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=3))
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    return builder.sign(signing, hashes.SHA256())


def signer_name(signer):
    return signer[0].subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value


def pem(certificate):
    return certificate.public_bytes(serialization.Encoding.PEM)


def write(directory, name, octets):
    file = Path(directory) / name
    file.write_bytes(octets)
    file.chmod(0o600)
    return file


def stored_tls(message):
    """What a message of the independent reader says of TLS, as a dict; empty for plain text."""
    lines = message.meta["tls"].split("\n") if message.meta["tls"] else []
    return dict(line.split("=", 1) for line in lines)


def listed(spool):
    """What `ringpost spool ls --json` says of each message."""
    done = run([binary("ringpost"), "spool", "ls", spool, "--json"])
    return [json.loads(line) for line in done.stdout.splitlines()]


def s_client(sink, *options, text="QUIT\r\n", way="starttls", check=True):
    """One session of openssl s_client, which sends `text`; what it printed."""
    starttls = ["-starttls", "smtp"] if way == "starttls" else []
    done = subprocess.run(
        [peer("openssl"), "s_client", "-connect", f"127.0.0.1:{sink.ports[way]}", *starttls, "-ign_eof"]
        + [str(option) for option in options],
        input=text.encode(),
        capture_output=True,
        timeout=60,
    )
    said = (done.stdout + done.stderr).decode("utf-8", "replace")
    assert not check or done.returncode == 0, said
    return said
