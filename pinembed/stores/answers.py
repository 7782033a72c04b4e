"""What an object store answers, as the house's errors: place, found, wanted, remedy."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from pinembed.errors import MissingObjectError, ObjectChangedError, StoreError
from pinembed.stores.address import Address

_CODE = re.compile(r"<Code>(\w+)</Code>")
_REGION = re.compile(r"<Region>([\w-]+)</Region>")
_NAMES = re.compile(r"<(Resource|Key|BucketName|RequestId|HostId)>.*?</\1>")
_ASKED_FOR_CREDENTIALS = re.compile(r"169\.254\.\d|metadata\.google\.internal")
"""Where a store's client asks the machine for credentials when it was given none."""
CREDENTIALS = {
    "s3": (
        "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give --storage-option aws_access_key_id=... and "
        "aws_secret_access_key=...; --storage-option skip_signature=true reads what is public."
    ),
    "gs": (
        "Set GOOGLE_SERVICE_ACCOUNT or GOOGLE_APPLICATION_CREDENTIALS to the key file, or give "
        "--storage-option google_service_account=FILE; --storage-option skip_signature=true reads what is public."
    ),
    "az": (
        "Set AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY, or give --storage-option "
        "azure_storage_account_name=... and azure_storage_account_key=...; skip_signature=true reads what is public."
    ),
}
_SENTENCES: tuple[tuple[str, str, str], ...] = (
    (
        r"NoSuchBucket|ContainerNotFound|InvalidBucketName|bucket does not exist",
        "There is no bucket or container {container} at {where}",
        "Check the bucket's name, the endpoint and the region; pinembed makes no buckets.",
    ),
    (
        r"PermanentRedirect|AuthorizationHeaderMalformed|TemporaryRedirect|IllegalLocationConstraint|301 Moved|"
        r"redirect without LOCATION|region .*is wrong",
        "{container} is in another region than the one that was asked{region}",
        "Give --storage-option aws_region=REGION or set AWS_REGION.",
    ),
    (
        r"SignatureDoesNotMatch|InvalidAccessKeyId|InvalidToken|ExpiredToken|AuthenticationFailed|InvalidClientTokenId|"
        r"RequestTimeTooSkewed|401 Unauthorized|UnauthenticatedError",
        "The store does not take the credentials for {place} ({code})",
        "{credentials}",
    ),
    (
        r"Account must be specified|No.{0,20}credential",
        "No credentials were found for {place}",
        "{credentials}",
    ),
    (
        r"AccessDenied|403 Forbidden|PermissionDenied|AuthorizationFailure|AuthorizationPermissionMismatch",
        "The store forbids this for {place} ({code})",
        "Ask the bucket's owner for the right. {credentials}",
    ),
    (
        r"NotImplemented|501 Not Implemented|not supported|NotSupported|not.{0,20}implemented",
        "The store of {place} cannot do what is needed: {words}",
        "Wanted a store with conditional PUT (If-None-Match, If-Match), as S3, GCS, Azure, MinIO and SeaweedFS have; "
        "give another place for what is written.",
    ),
    (
        r"builder error|URL scheme is not allowed",
        "{place} cannot be asked by plain HTTP",
        "Give an endpoint with https://, or add --storage-option allow_http=true.",
    ),
    (
        r"error sending request|Connect|connection|timed? ?out|dns error|lookup address|50[0234] ",
        "The store of {place} does not answer: {words}",
        "{look_at_network}",
    ),
)


@contextmanager
def telling(place: Address) -> Iterator[None]:
    """Turn what obstore raises about a place into a sentence.

    Raises:
        MissingObjectError: nothing lies there.
        ObjectChangedError: what lies there is not what was asked for.
        StoreError: anything else that a store answers, or that it does not answer.
    """
    from obstore.exceptions import BaseError, PreconditionError

    try:
        yield
    except PreconditionError as error:
        raise ObjectChangedError(
            f"{place} has changed since it was looked at.", remedy="Run again once nothing writes to it any more."
        ) from error
    except FileNotFoundError as error:
        if not re.search(r"NoSuchBucket|ContainerNotFound", str(error)):
            raise MissingObjectError(f"{place} is not there.", remedy="Check the address.") from error
        raise store_error(place, str(error)) from error
    except ValueError as error:
        if "parse path" not in str(error):
            raise
        raise StoreError(
            f"{place} has a name that cannot be asked for: {str(error).rpartition(': ')[2]}.",
            remedy="Rename the object; wanted no empty parts and no control characters.",
        ) from error
    except BaseError as error:
        raise store_error(place, str(error)) from error


def store_error(place: Address, answer: str) -> StoreError:
    """The sentence for what a store said."""
    known = store_answer(place, answer)
    if known is not None:
        return known
    words = " ".join(answer.split("Debug source")[0].split())[:200].rstrip(".")
    return StoreError(f"{place} cannot be used: {words}.", remedy=_look_at_network(place))


def store_answer(place: Address, answer: str) -> StoreError | None:
    """The sentence for what a store, or Lance of a store, said; None where it is none of the answers of stores."""
    words = " ".join(answer.split("Debug source")[0].split())
    said = _NAMES.sub("", words.rpartition(" - ")[2])
    code, region = _CODE.search(said), _REGION.search(said)
    known = {
        "place": str(place),
        "container": place.container,
        "where": place.root,
        "credentials": CREDENTIALS.get(place.scheme, CREDENTIALS["az"]),
        "look_at_network": _look_at_network(place),
        "code": code[1] if code else said[:60],
        "region": f", {region[1]}" if region else "",
        "words": " ".join(re.sub(r"<[^>]*>", " ", said).split())[:200].rstrip("."),
    }
    if _ASKED_FOR_CREDENTIALS.search(words):
        said = "No credential"
    for pattern, message, remedy in _SENTENCES:
        if re.search(pattern, said, re.IGNORECASE):
            return StoreError(f"{message.format(**known)}.", remedy=remedy.format(**known))
    return None


def _look_at_network(place: Address) -> str:
    endpoint = " and --storage-option aws_endpoint=URL or AWS_ENDPOINT" if place.scheme == "s3" else ""
    return f"Check the network{endpoint}, then run the same command again."
