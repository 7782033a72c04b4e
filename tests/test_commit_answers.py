"""Commits to a table in an object store whose answers are lost or spoiled on the way: each row once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pinembed.table.embedding_table import EmbeddingTable
from tests.faulty_proxy import DROP, FaultyProxy, faulty_proxy
from tests.object_store import BUCKET, S3Server
from tests.test_table import SCHEMA, SPEC, add_rows


@pytest.fixture
def proxy(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyProxy]:
    with faulty_proxy(s3.endpoint) as made:
        for name, value in (s3.environment | {"AWS_ENDPOINT": made.endpoint, "AWS_ALLOW_HTTP": "true"}).items():
            monkeypatch.setenv(name, value)
        yield made


def stored_ids(table: str) -> list[str]:
    return sorted(item for batch in EmbeddingTable.open(table).batches(["id"]) for item in batch["id"].to_pylist())


@pytest.mark.parametrize("fault", [DROP, 500, 503])
def test_rows_come_once_where_a_store_loses_or_spoils_the_answer_to_a_commit(proxy: FaultyProxy, fault: int) -> None:
    table = f"s3://{BUCKET}/answers-{fault}/pins"
    opened = EmbeddingTable.create(table, SPEC, SCHEMA)
    add_rows(opened, 0, 2)
    proxy.faults = [fault]

    add_rows(opened, 2, 2)
    add_rows(opened, 4, 1)

    assert proxy.done == [fault]
    assert stored_ids(table) == [f"item-{number}" for number in range(5)]
