"""Content credentials: really signed, really read, and never fetched from anywhere."""

from __future__ import annotations

import datetime
import http.server
import io
import json
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from tests.clips import portrait
from tests.detectors import make_detector
from unmask.detection import load_detector
from unmask.detection.provenance import Provenance, read_provenance

c2pa = pytest.importorskip("c2pa", reason="c2pa-python is not installed")
pytest.importorskip("cryptography", reason="the certificate of the test is made by cryptography")

MADE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"


def _certificates() -> tuple[bytes, bytes]:
    """A chain of two self-made certificates and the private key of the first, PEM."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    def name(text: str) -> x509.Name:
        return x509.Name(
            [x509.NameAttribute(NameOID.COMMON_NAME, text), x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Test House")]
        )

    keys = {text: ec.generate_private_key(ec.SECP256R1()) for text in ("Camera", "Authority")}
    now = datetime.datetime.now(datetime.UTC)
    chain = b""
    for text in keys:
        above = text == "Authority"
        public = keys[text].public_key()
        usage = x509.KeyUsage(not above, False, False, False, False, above, above, False, False)
        builder = x509.CertificateBuilder(name("Authority"), name(text), public, x509.random_serial_number())
        builder = builder.not_valid_before(now - datetime.timedelta(1)).not_valid_after(now + datetime.timedelta(9))
        builder = builder.add_extension(x509.BasicConstraints(above, None), True).add_extension(usage, True)
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(keys["Authority"].public_key())
        builder = builder.add_extension(issuer, False)
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(public), False)
        if not above:
            builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), False)
        signed = builder.sign(keys["Authority"], hashes.SHA256())
        chain += signed.public_bytes(serialization.Encoding.PEM)
    kind = serialization.PrivateFormat.PKCS8
    return chain, keys["Camera"].private_bytes(serialization.Encoding.PEM, kind, serialization.NoEncryption())


def sign(image: bytes, remote: str | None = None) -> tuple[bytes, bytes]:
    """The image with credentials in it, or with the address of the credentials; and the credentials."""
    manifest = {
        "claim_generator_info": [{"name": "test camera", "version": "1.0"}],
        "format": "image/jpeg",
        "assertions": [
            {"label": "c2pa.actions.v2", "data": {"actions": [{"action": "c2pa.created", "digitalSourceType": MADE}]}}
        ],
    }
    chain, key = _certificates()
    signer = c2pa.Signer.from_info(c2pa.C2paSignerInfo(b"es256", chain, key, None))
    builder = c2pa.Builder(json.dumps(manifest))
    if remote is not None:
        builder.set_remote_url(remote)
        builder.set_no_embed()
    out = io.BytesIO()
    credentials = builder.sign(signer, "image/jpeg", io.BytesIO(image), out)
    return out.getvalue(), credentials


@pytest.fixture(scope="module")
def image() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(portrait()).save(buffer, "JPEG")
    return buffer.getvalue()


def test_they_are_shown_beside_the_verdict(image: bytes, tmp_path: Path) -> None:
    path = tmp_path / "signed.jpg"
    path.write_bytes(sign(image)[0])
    detector = load_detector(make_detector(tmp_path / "detector", threshold=1.0))
    found, plain = detector.detect(path, pictures=True), detector.detect(image)
    assert found.provenance is not None
    assert found.provenance.says_synthetic
    assert found.to_json()["provenance"]["says_synthetic"] is True
    assert (found.provenance.state, found.provenance.signer) == ("valid", "Camera, Test House")
    assert found.provenance.generator is not None
    assert found.provenance.generator.startswith("test camera 1.0")
    assert found.provenance.actions == ("c2pa.created",)
    assert found.provenance.problems == ("signingCredential.untrusted",)
    assert found.score == plain.score
    assert (plain.verdict, found.verdict) == ("real", "uncertain")  # they call the picture machine-made
    (made,) = set(found.warnings) - set(plain.warnings)
    assert "machine-made: digital source type in its content credentials" in made
    assert plain.provenance is None
    assert plain.to_json()["provenance"] is None
    assert found.to_json()["provenance"] == json.loads(json.dumps(found.provenance.to_json()))
    found.save_report(tmp_path / "report.html")
    report = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Test House" in report
    assert f"scores {found.score:.3f}, but the file itself says that it, or a part of it, is machine-made." in report


def test_a_picture_that_was_changed_after_signing(image: bytes) -> None:
    signed = bytearray(sign(image)[0])
    signed[-200] ^= 255
    found = read_provenance(bytes(signed))
    assert found is not None
    assert found.state == "invalid"
    assert "assertion.dataHash.mismatch" in found.problems


@pytest.fixture
def server() -> Iterator[tuple[str, list[str], dict[str, bytes]]]:
    asked: list[str] = []
    content: dict[str, bytes] = {}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(content.get("credentials", b""))

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as serving:
        thread = threading.Thread(target=serving.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{serving.server_port}/credentials", asked, content
        serving.shutdown()
        thread.join()


def test_nothing_is_fetched(image: bytes, server: tuple[str, list[str], dict[str, bytes]]) -> None:
    address, asked, content = server
    signed, content["credentials"] = sign(image, address)
    found = read_provenance(signed)
    assert found is not None
    assert found.state == "elsewhere"
    assert asked == []
    # The address works: the library left to itself does go there.
    with c2pa.Reader("image/jpeg", io.BytesIO(signed)) as reader:
        assert json.loads(reader.json())["manifests"]
    assert asked == ["/credentials"]


@pytest.mark.parametrize("data", [b"", b"no picture", b"\xff\xd8\xff\xe0 cut off", b"\x00" * 64])
def test_what_has_none(data: bytes) -> None:
    assert read_provenance(data) is None


def test_other_sources_have_none(image: bytes, clip: Path, tmp_path: Path) -> None:
    assert read_provenance(image) is None
    assert read_provenance(clip) is None
    assert read_provenance(portrait()) is None
    assert read_provenance(tmp_path / "missing.jpg") is None


def test_without_the_library(image: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    signed = sign(image)[0]
    monkeypatch.setitem(sys.modules, "c2pa", None)
    assert read_provenance(signed) is None


def test_a_report_of_the_library_with_nothing_in_it() -> None:
    from unmask.detection.provenance import _told

    assert _told({}) == Provenance("unreadable")
