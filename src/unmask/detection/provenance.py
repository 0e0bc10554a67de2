"""What a file says about its own origin: content credentials (C2PA), read where ``c2pa`` is installed.

They are shown beside a verdict, which does not rest on them: credentials say who signed what, not whether a face is
genuine, and most files have none. Only where they call the picture machine-made it is not called ``real``. Nothing is
fetched: neither a manifest that lies elsewhere nor the state of a certificate.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike, fspath
from typing import TYPE_CHECKING, Any

from unmask.detection.marks import MADE

if TYPE_CHECKING:
    from unmask.detection.source import Source

#: No network at all. Names as in the settings of c2pa-rs, ``sdk/src/settings``.
_OFFLINE = {
    "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False, "verify_trust": True},
    "core": {"allowed_network_hosts": []},
}


@dataclass(frozen=True)
class Provenance:
    """The content credentials of a file.

    Attributes:
        state: ``trusted``, signed by somebody on the trust list that is configured; ``valid``, unchanged since it was
            signed, by somebody nobody vouches for; ``invalid``, changed since, or badly signed; ``elsewhere``, the
            file names an address that was not called; ``unreadable``.
        signer: whom the certificate names, None if nobody.
        time: when it was signed, as the signature says; None if it does not.
        generator: the program or device that made the credentials.
        actions: what was done to it, such as ``c2pa.created``, in order.
        sources: IPTC digital source types of these actions, the last part of the address.
        problems: what is wrong with the credentials, one code or sentence each.
    """

    state: str
    signer: str | None = None
    time: str | None = None
    generator: str | None = None
    actions: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def says_synthetic(self) -> bool:
        """Whether the credentials themselves call the picture, or a part of it, machine-made."""
        return any(source in MADE for source in self.sources)

    def to_json(self) -> dict[str, Any]:
        return {
            "state": self.state,
            "signer": self.signer,
            "time": self.time,
            "generator": self.generator,
            "actions": list(self.actions),
            "sources": list(self.sources),
            "says_synthetic": self.says_synthetic,
            "problems": list(self.problems),
        }


def read_provenance(source: Source) -> Provenance | None:
    """The content credentials in a file, or None: without any, for a picture in memory, or where ``c2pa`` is missing.

    Args:
        source: a path or the bytes of a file; the library tells the format from the content.
    """
    try:
        import c2pa
    except ImportError:
        return None
    try:
        if isinstance(source, str | PathLike):
            with open(fspath(source), "rb") as file:  # noqa: PTH123 (a name may be bytes that are no text)
                return _read(c2pa, file)
        if isinstance(source, bytes | bytearray | memoryview):
            return _read(c2pa, io.BytesIO(source))
    except OSError:
        pass  # whoever reads the picture says so
    return None


def _read(c2pa: Any, file: Any) -> Provenance | None:
    # A context for each file: it takes a tenth of a millisecond, and one from before a fork is dead in the child.
    try:
        reader = c2pa.Reader.try_create(None, file, context=c2pa.Context(c2pa.Settings.from_dict(_OFFLINE)))
    except c2pa.C2paError as error:
        text = " ".join(str(error).split())
        if text.startswith("Remote"):
            return Provenance("elsewhere", problems=("the credentials are kept elsewhere and were not fetched",))
        # A format that cannot carry any, and damage outside of any credentials, are no statement about the origin.
        return Provenance("unreadable", problems=(text,)) if text.startswith(_DAMAGED) else None
    if reader is None:
        return None
    with reader:
        return _told(json.loads(reader.json()))


#: Errors of c2pa that mean: there are credentials, and they are broken.
_DAMAGED = ("Manifest", "Decoding", "Signature", "Verify", "Assertion")


def _told(report: Mapping[str, Any]) -> Provenance:
    """What matters of the library's report; every text in it was chosen by whoever wrote the file."""
    manifests, active = report.get("manifests") or {}, report.get("active_manifest")
    manifest = manifests.get(active) or {}
    signature = manifest.get("signature_info") or {}
    names = [str(signature[key]) for key in ("common_name", "issuer") if signature.get(key)]
    made_by: Sequence[Mapping[str, Any]] = manifest.get("claim_generator_info") or []
    generator = ", ".join(
        " ".join(filter(None, (str(each.get("name", "")), str(each.get("version", ""))))) for each in made_by
    )
    actions = [
        action
        for assertion in manifest.get("assertions") or []
        if str(assertion.get("label", "")).startswith("c2pa.actions")
        for action in (assertion.get("data") or {}).get("actions") or []
    ]
    sources = [
        str(action["digitalSourceType"]).rsplit("/", 1)[-1] for action in actions if "digitalSourceType" in action
    ]
    problems = [str(status.get("code", "")) for status in report.get("validation_status") or []]
    return Provenance(
        state=str(report.get("validation_state", "unreadable")).lower(),
        signer=", ".join(dict.fromkeys(names)) or None,
        time=str(signature["time"]) if signature.get("time") else None,
        generator=generator or None,
        actions=tuple(str(action.get("action", "")) for action in actions),
        sources=tuple(dict.fromkeys(sources)),
        problems=tuple(dict.fromkeys(problems)),
    )
