"""Whether the signature of a C2PA manifest still fits its file, by the optional package c2pa-python.

Nothing is fetched: no remote manifest, no revocation, no list of trusted signers. "Intact" says that nobody has changed
the file since it was signed, and nothing of who signed it.
"""

from __future__ import annotations

import io

NOT_CHECKED = "whose signature was not checked"
INTACT = "whose signature is intact (who signed was not looked up)"
DAMAGED = "whose signature does not fit the file: one of the two was changed"
OFFLINE = {"verify": {"remote_manifest_fetch": False, "ocsp_fetch": False, "verify_trust": False}}
MIME_TYPES = {b"\xff\xd8": "image/jpeg", b"\x89P": "image/png", b"RI": "image/webp"}


def signature_of(content: bytes) -> str:
    """What can be said of the signature in a JPEG, PNG or WebP, as a clause."""
    try:
        import c2pa
    except ImportError:
        return NOT_CHECKED
    try:
        context = c2pa.Context(c2pa.Settings.from_dict(OFFLINE))
        with c2pa.Reader(MIME_TYPES[content[:2]], io.BytesIO(content), context=context) as reader:
            state = reader.get_validation_state()
    except c2pa.C2paError:
        return "whose signature cannot be read"
    return INTACT if state in {"Valid", "Trusted"} else DAMAGED
