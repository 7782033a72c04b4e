"""The type of a metadata column: stated, guessed, or what its values leave; and no value changed in silence."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pinembed.catalogue.folder import read_catalogue
from pinembed.errors import DataError
from pinembed.table.embedding_table import EmbeddingTable
from tests.conftest import CliResult
from tests.encoding import rows_of
from tests.odd_data import png, two_images, write_tar

pytest_plugins = ("tests.odd_fixtures",)
Encode = Callable[..., CliResult]


def values_of(table: str, name: str = "v") -> list[object]:
    return [row[name] for _, row in sorted(rows_of(table).items())]


def type_of(table: str, name: str = "v") -> pa.DataType:
    return EmbeddingTable.open(table).schema.field(name).type


def with_values(folder: Path, *values: str) -> Path:
    return two_images(folder, csv="file_name,v\n" + "".join(f"a{k}.png,{value}\n" for k, value in enumerate(values)))


# stated


@pytest.mark.parametrize(
    ("kind", "values", "stored"),
    [
        ("text", ("1.10", "12"), ["1.10", "12"]),
        ("int", ("0012", "7"), [12, 7]),
        ("float", ("3", "4"), [3.0, 4.0]),
        ("bool", ("1", "false"), [True, False]),
        ("date", ("2024-05-01", ""), [datetime.date(2024, 5, 1), None]),
        ("timestamp", ("2024-05-01", ""), [datetime.datetime(2024, 5, 1), None]),
        ("String", ("true", ""), ["true", None]),
    ],
)
def test_a_stated_type_is_the_columns_from_the_first_night_on(
    kind: str, values: tuple[str, ...], stored: list[object], tmp_path: Path, encode: Encode, table: str
) -> None:
    found = encode(with_values(tmp_path / "x", *values), "--column", f"v={kind}")
    assert (found.exit_code, found.json["added"]) == (0, 2)
    assert values_of(table) == stored
    assert encode(tmp_path / "x", "--column", f"v={kind}").json["unchanged"] == 2


@pytest.mark.parametrize("odd", ["many", "1e400", "1,5"])
def test_a_value_that_does_not_fit_the_stated_type_is_left_out_and_told(
    odd: str, tmp_path: Path, encode: Encode, table: str
) -> None:
    found = encode(with_values(tmp_path / "x", "3", f'"{odd}"'), "--column", "v=float")
    assert (found.exit_code, found.json["added"]) == (0, 2)
    assert (
        f"1 value(s) of the metadata column v are no float, as --column says, and are left out; the first is '{odd}'"
        in (found.words)
    )
    assert values_of(table) == [3.0, None]


def test_a_stated_column_keeps_its_type_on_nights_that_state_nothing(
    tmp_path: Path, encode: Encode, table: str
) -> None:
    encode(with_values(tmp_path / "x", "", ""), "--column", "v=int")
    found = encode(with_values(tmp_path / "x", "2.5", "3"))
    assert "are no int64" in found.words
    assert (values_of(table), type_of(table)) == ([None, 3], pa.int64())


def test_a_stated_type_is_taken_by_a_new_column(tmp_path: Path, encode: Encode, table: str) -> None:
    encode(two_images(tmp_path / "x"))
    encode(with_values(tmp_path / "x", "3", "4"), "--column", "v=float")
    assert (values_of(table), type_of(table)) == ([3.0, 4.0], pa.float64())


def test_a_guessed_column_of_whole_numbers_becomes_fractions_when_that_is_stated(
    tmp_path: Path, encode: Encode, table: str
) -> None:
    encode(with_values(tmp_path / "x", "3", "4"))
    encode(with_values(tmp_path / "x", "3", "5"), "--column", "v=float")
    assert (values_of(table), type_of(table)) == ([3.0, 5.0], pa.float64())


@pytest.mark.parametrize("kind", ["int", "float", "date"])
def test_a_statement_against_the_stored_type_is_refused_before_any_work(
    kind: str, tmp_path: Path, encode: Encode, table: str
) -> None:
    encode(with_values(tmp_path / "x", "red", "blue"))
    before = EmbeddingTable.open(table).dataset.version
    found = encode(with_values(tmp_path / "x", "3", "4"), "--column", f"v={kind}")
    assert found.exit_code == 2
    assert "stores the metadata column v as string" in found.words
    assert f"Leave --column v={kind} out, or give another --table" in found.words
    assert EmbeddingTable.open(table).dataset.version == before


@pytest.mark.parametrize(
    ("statements", "words"),
    [
        (["price"], "states no type"),
        (["price=money"], "wanted NAME=TYPE with text, int, float, bool, date, timestamp"),
        (["=int"], "states no type"),
        (["id=int"], "id is text always"),
        (["v=int", "v=text"], "v was int in a statement before"),
    ],
)
def test_a_statement_that_says_nothing_is_refused(
    statements: list[str], words: str, tmp_path: Path, encode: Encode
) -> None:
    found = encode(with_values(tmp_path / "x", "3"), *(part for one in statements for part in ("--column", one)))
    assert (found.exit_code, words in found.words) == (2, True), found.words


def test_a_statement_about_no_column_is_told(tmp_path: Path, encode: Encode) -> None:
    found = encode(with_values(tmp_path / "x", "3"), "--column", "prise=float")
    assert found.exit_code == 0
    assert "--column prise=float: the metadata have no such column; theirs are v." in found.words


def test_types_of_tars_and_parquet_files_can_be_stated(tmp_path: Path, encode: Encode, table: str) -> None:
    encode(write_tar(tmp_path / "m.tar", {"s.png": png("red"), "s.json": b'{"v": 3}'}), "--column", "v=float")
    assert (values_of(table), type_of(table)) == ([3.0], pa.float64())
    pq.write_table(pa.table({"id": ["p"], "image": [png("blue")], "v": ["4.5"]}), tmp_path / "t.parquet")
    encode(tmp_path / "t.parquet")
    assert values_of(table) == [4.5, 3.0]


# guessed over several files and nights


def test_a_column_of_several_files_takes_a_type_of_all_its_values(tmp_path: Path, encode: Encode, table: str) -> None:
    for name, value in (("bags", "12"), ("shoes", "n/a")):
        two_images(tmp_path / "x" / name, csv=f"file_name,v\na0.png,{value}\n")
    assert encode(tmp_path / "x").exit_code == 0
    assert {row["v"] for row in rows_of(table).values()} == {"12", "n/a", None}


@pytest.mark.parametrize(
    ("first", "second", "stored"),
    [
        (pa.array([3]), pa.array(["n/a"]), ["3", "n/a"]),
        (pa.array([3]), pa.array([4.5]), [3.0, 4.5]),
        (pa.array([9007199254740993]), pa.array([0.5]), ["9007199254740993", "0.5"]),
        (pa.array(["a"]).dictionary_encode(), pa.array(["b"]), ["a", "b"]),
        (
            pa.array([datetime.date(2024, 5, 1)]),
            pa.array([datetime.datetime(2024, 5, 1, 8)]),
            [datetime.datetime(2024, 5, 1), datetime.datetime(2024, 5, 1, 8)],
        ),
    ],
    ids=["number and text", "whole and fraction", "too large for a fraction", "dictionary and text", "day and moment"],
)
def test_a_column_whose_type_differs_between_parquet_files_takes_one_that_holds_all(
    first: pa.Array, second: pa.Array, stored: list[object], tmp_path: Path, encode: Encode, table: str
) -> None:
    (tmp_path / "p").mkdir()
    for name, color, values in (("a", "red", first), ("b", "blue", second)):
        rows = {"id": [name], "image": [png(color)], "v": values}
        pq.write_table(pa.table(rows), tmp_path / "p" / f"{name}.parquet")
    assert encode(tmp_path / "p").exit_code == 0
    assert [row["v"] for _, row in sorted(rows_of(table).items())] == stored


def test_metadata_files_whose_types_differ_go_together_as_they_were_written(
    tmp_path: Path, encode: Encode, table: str
) -> None:
    two_images(tmp_path / "x" / "bags", csv="file_name,v\na0.png,1.50\n")
    two_images(tmp_path / "x" / "shoes")
    pq.write_table(pa.table({"file_name": ["a0.png"], "v": ["n/a"]}), tmp_path / "x" / "shoes" / "metadata.parquet")
    assert encode(tmp_path / "x").exit_code == 0
    assert {row["v"] for row in rows_of(table).values()} == {"1.50", "n/a", None}


@pytest.mark.parametrize("values", [("123456789012345678", "1.5"), ("9007199254740993", "0.5")])
def test_whole_numbers_that_a_fraction_would_round_stay_text(
    values: tuple[str, str], tmp_path: Path, encode: Encode, table: str
) -> None:
    encode(with_values(tmp_path / "x", *values))
    assert values_of(table) == list(values)


@pytest.mark.parametrize("first", ["2.5", "9007199254740993"])
def test_a_later_night_rounds_no_whole_number(first: str, tmp_path: Path, encode: Encode, table: str) -> None:
    second = "9007199254740993" if first == "2.5" else "2.5"
    encode(with_values(tmp_path / "x", first, ""))
    found = encode(with_values(tmp_path / "x", first, second))
    assert found.exit_code == 0
    assert "1 value(s) of the metadata column v are no" in found.words
    assert values_of(table) == [json.loads(first), None]


@pytest.mark.parametrize(("first", "code"), [("7", "0012"), ("2.5", "10E5"), ("2.5", "007.5"), ("2.5", "+49")])
def test_a_later_night_takes_no_code_for_a_number(
    first: str, code: str, tmp_path: Path, encode: Encode, table: str
) -> None:
    encode(with_values(tmp_path / "x", first, ""))
    found = encode(with_values(tmp_path / "x", first, code))
    assert f"1 value(s) of the metadata column v are no {type_of(table)}" in found.words
    assert values_of(table) == [json.loads(first), None]


def test_bytes_for_a_column_of_text_are_read_as_text_or_left_out(tmp_path: Path, encode: Encode, table: str) -> None:
    folder = with_values(tmp_path / "x", "red", "")
    encode(folder)
    (folder / "metadata.csv").unlink()
    pq.write_table(pa.table({"file_name": ["a0.png", "a1.png"], "v": [b"red", b"\xff"]}), folder / "metadata.parquet")
    found = encode(folder)
    assert "1 value(s) of the metadata column v are no string" in found.words
    assert values_of(table) == ["red", None]


def test_text_for_a_column_of_text_is_not_taken_for_numbers_on_its_way(
    tmp_path: Path, encode: Encode, table: str
) -> None:
    encode(with_values(tmp_path / "x", "0012", ""))
    encode(with_values(tmp_path / "x", "1.10", "2024-05-01T10:00"))
    assert values_of(table) == ["1.10", "2024-05-01T10:00"]


# JSON lines and Parquet


def jsonl(folder: Path, *values: object) -> Path:
    lines = [json.dumps({"file_name": f"a{index}.png", "v": value}) for index, value in enumerate(values)]
    return two_images(folder, jsonl="\n".join(lines))


@pytest.mark.parametrize(
    ("values", "stored"),
    [
        ((5, "n/a"), ["5", "n/a"]),
        ((True, 7), ["true", "7"]),
        (([1], "x"), ["[1]", "x"]),
        (({"k": 1}, [2]), ['{"k": 1}', "[2]"]),
        ((2**70, 1), [str(2**70), "1"]),
        ((2**60 + 1, 0.5), [str(2**60 + 1), "0.5"]),
    ],
)
def test_types_that_differ_between_json_lines_become_text(
    values: tuple[object, ...], stored: list[object], tmp_path: Path, encode: Encode, table: str
) -> None:
    found = encode(jsonl(tmp_path / "x", *values))
    assert (found.exit_code, found.json["added"]) == (0, 2)
    assert values_of(table) == stored


def test_text_of_json_lines_is_not_taken_for_moments(tmp_path: Path, encode: Encode, table: str) -> None:
    encode(jsonl(tmp_path / "x", "2024-05-01", "2024-05-02T10:00:00Z"))
    assert values_of(table) == ["2024-05-01", "2024-05-02T10:00:00Z"]
    encode(jsonl(tmp_path / "x", "2024-05-03", "x"))
    assert values_of(table) == ["2024-05-03", "x"]


def test_a_name_twice_in_a_json_line_is_refused(tmp_path: Path, encode: Encode) -> None:
    folder = two_images(tmp_path / "x", jsonl='{"file_name":"a0.png","v":1,"v":2}\n{"file_name":"a1.png","v":"x"}\n')
    found = encode(folder)
    assert found.exit_code == 1
    assert "line 1 is no JSON: an object holds a name twice" in found.words


@pytest.mark.parametrize("kind", [pa.timestamp("ns"), pa.duration("ns")])
def test_nanoseconds_of_parquet_with_images_keep_their_digits(
    kind: pa.DataType, tmp_path: Path, encode: Encode, table: str
) -> None:
    moments = pa.array([1_700_000_000_123_456_789, 2], pa.int64()).cast(kind)
    rows = {"id": ["p", "q"], "image": [png("red"), png("blue")], "v": moments}
    pq.write_table(pa.table(rows), tmp_path / "t.parquet")
    assert encode(tmp_path / "t.parquet").json["added"] == 2
    first = values_of(table)[0]
    assert first == ("2023-11-14 22:13:20.123456789" if pa.types.is_timestamp(kind) else 1_700_000_000_123_456_789)


def test_an_id_of_parquet_with_images_that_is_no_text_is_told(tmp_path: Path, encode: Encode) -> None:
    pq.write_table(pa.table({"id": [{"k": 1}], "image": [png("red")]}), tmp_path / "t.parquet")
    found = encode(tmp_path / "t.parquet")
    assert found.exit_code == 1
    assert "column id holds struct<k: int64>; wanted text or numbers" in found.words


ODD_COLUMNS = {
    "map": (pa.array([[("a", 1)], None], pa.map_(pa.string(), pa.int64())), [{"key": "a", "value": 1}]),
    "list-view": (pa.array([[1], None], pa.list_view(pa.int64())), [1]),
    "list-of-views": (pa.array([["a"], None], pa.list_(pa.string_view())), ["a"]),
    "list-of-nanoseconds": (pa.array([[1], None], pa.list_(pa.timestamp("ns"))), ["1970-01-01 00:00:00.000000001"]),
    "object-of-nanoseconds": (
        pa.StructArray.from_arrays([pa.array([1, None], pa.timestamp("ns"))], ["k"]),
        {"k": "1970-01-01 00:00:00.000000001"},
    ),
    "time-of-day": (pa.array([1, None], pa.int64()).cast(pa.time64("ns")), "00:00:00.000000001"),
    "list-of-far-moments": (
        pa.array([[2**62], None], pa.list_(pa.timestamp("us"))),
        ["<value out of range: 4611686018427387904>"],
    ),
    "object-of-nothing": (pa.array([{"k": None}, {"k": None}]), {"k": None}),
    "list-of-nothing": (pa.array([[None], []]), [None]),
    "large-list": (pa.array([[1], None], pa.large_list(pa.int64())), [1]),
    "uuid": (pa.array([b"0123456789abcdef", None], pa.uuid()), "30313233-3435-3637-3839-616263646566"),
    "tensor": (pa.FixedShapeTensorArray.from_numpy_ndarray(np.ones((2, 2), np.float32)), [1.0, 1.0]),
    "bool8": (pa.ExtensionArray.from_storage(pa.bool8(), pa.array([1, None], pa.int8())), 1),
    "decimal": (pa.array([None, None], pa.decimal256(50, 2)), None),
}


@pytest.mark.parametrize("with_images", [False, True], ids=["metadata", "with-images"])
@pytest.mark.parametrize("name", ODD_COLUMNS)
def test_columns_of_every_parquet_type_are_stored_and_stay_unchanged(
    name: str, with_images: bool, tmp_path: Path, encode: Encode, table: str
) -> None:
    column, first = ODD_COLUMNS[name]
    folder = two_images(tmp_path / "x")
    if with_images:
        pictures = [(folder / f"a{index}.png").read_bytes() for index in (0, 1)]
        images = folder / "t.parquet"
        pq.write_table(pa.table({"id": ["p", "q"], "image": pictures, "v": column}), images)
    else:
        images = folder
        pq.write_table(pa.table({"file_name": ["a0.png", "a1.png"], "v": column}), folder / "metadata.parquet")
    found = encode(images)
    assert (found.exit_code, found.json["added"]) == (0, 2), found.words
    assert values_of(table)[0] == first
    assert encode(images).json["unchanged"] == 2


@pytest.mark.parametrize(("value", "stored"), [({}, None), ([{}], [None]), ({"a": {}, "b": 1}, {"a": None, "b": 1})])
def test_objects_without_a_field_do_not_poison_the_table(
    value: object, stored: object, tmp_path: Path, encode: Encode, table: str
) -> None:
    assert encode(jsonl(tmp_path / "x", value, value)).exit_code == 0
    assert values_of(table) == [stored, stored]
    assert encode(tmp_path / "x").json["unchanged"] == 2


# CSVs as programs write them


@pytest.mark.parametrize(
    "csv", ["\nfile_name,v\na0.png,x\n", "\r\n\r\nfile_name,v\r\na0.png,x\r\n", "\ufefffile_name,v\na0.png,x"]
)
def test_blank_lines_before_the_header_are_passed_over(csv: str, tmp_path: Path, encode: Encode, table: str) -> None:
    folder = two_images(tmp_path / "x")
    (folder / "metadata.csv").write_bytes(csv.encode())
    assert encode(folder).exit_code == 0
    assert values_of(table) == ["x", None]


@pytest.mark.parametrize("end", ["", "\n", "\n\n"])
def test_a_header_alone_has_no_rows(end: str, tmp_path: Path, encode: Encode) -> None:
    found = encode(two_images(tmp_path / "x", csv=f"file_name,v{end}"))
    assert (found.exit_code, found.json["added"]) == (0, 2)
    assert "2 image(s) have no row in the metadata" in found.words


@pytest.mark.parametrize("row", ["a0.png,x", "a0.png,x,,,", 'a0.png,"x"'])
def test_a_row_that_lacks_cells_or_has_empty_ones_too_many_is_read(
    row: str, tmp_path: Path, encode: Encode, table: str
) -> None:
    found = encode(two_images(tmp_path / "x", csv=f"file_name,v,w\n{row}\n\na1.png,y,5\n"))
    assert (found.exit_code, found.json["notes"]) == (0, [])
    assert (values_of(table), values_of(table, "w")) == (["x", "y"], [None, 5])


def test_a_row_of_too_many_cells_is_left_out_by_its_line_and_the_others_are_read(
    tmp_path: Path, encode: Encode, table: str
) -> None:
    csv = 'file_name,v,w\na1.png,"two\nlines",5\na0.png,red, white and blue,7\n'
    found = encode(two_images(tmp_path / "x", csv=csv))
    assert (found.exit_code, values_of(table), values_of(table, "w")) == (0, [None, "two\nlines"], [None, 5])
    assert "1 row(s) have more cells than the header's 3 and are left out, on line(s) 4." in found.json["notes"][0]
    assert "1 image(s) have no row" in found.json["notes"][1]


def test_what_is_learned_from_has_no_rows_left_out(tmp_path: Path) -> None:
    folder = two_images(tmp_path / "x", csv="file_name,v\na0.png,x\na1.png,y,z\n")
    with pytest.raises(DataError, match=r"1 row\(s\) have more cells .* on line\(s\) 3"):
        read_catalogue(folder)


def test_a_later_night_takes_no_yes_or_no_for_a_number(tmp_path: Path, encode: Encode, table: str) -> None:
    encode(with_values(tmp_path / "x", "1", "2"))
    found = encode(with_values(tmp_path / "x", "true", "false"))
    assert "2 value(s) of the metadata column v are no int64" in found.words
    assert values_of(table) == [None, None]


def test_a_later_night_takes_no_duration_for_a_number(tmp_path: Path, encode: Encode, table: str) -> None:
    encode(with_values(tmp_path / "x", "1.5", "2.5"))
    (tmp_path / "x/metadata.csv").unlink()
    durations = pa.table({"file_name": ["a0.png", "a1.png"], "v": pa.array([1, 2], pa.duration("us"))})
    pq.write_table(durations, tmp_path / "x/metadata.parquet")
    assert "2 value(s) of the metadata column v are no double" in encode(tmp_path / "x").words
    assert values_of(table) == [None, None]


def test_a_signed_number_of_a_phone_stays_text(tmp_path: Path, encode: Encode, table: str) -> None:
    encode(with_values(tmp_path / "x", "+4917", "+491"))
    assert values_of(table) == ["+4917", "+491"]


def test_a_column_with_a_zero_byte_in_its_name_is_refused(tmp_path: Path, encode: Encode) -> None:
    folder = two_images(tmp_path / "x", csv="file_name,pri\0ce\na0.png,1\na1.png,2\n")
    found = encode(folder)
    assert (found.exit_code, "zero byte" in found.words) == (1, True)


def test_a_row_of_too_many_cells_with_bytes_that_are_no_text_is_a_sentence(
    tmp_path: Path, encode: Encode, recwarn: pytest.WarningsRecorder
) -> None:
    folder = with_values(tmp_path / "x", "1", "2")
    (folder / "metadata.csv").write_bytes(b"file_name,v\na0.png,1,\xff\na1.png,2\n")
    found = encode(folder)
    assert (found.exit_code, "metadata.csv" in found.words) == (1, True)
    assert not recwarn.list


@pytest.mark.parametrize(
    ("line", "stored"),
    [
        ('{"v":1e999}', "1e999"),
        ('{"v":-1e-999}', "-1e-999"),
        ('{"v":0e-999}', 0.0),
        ('{"v":[9007199254740993,0.5]}', "[9007199254740993, 0.5]"),
        ('{"v":[18446744073709551620]}', "[18446744073709551620]"),
        ('{"v":{"k":[12345678901234567890]}}', '{"k": [12345678901234567890]}'),
        ('{"v":[1e999]}', ["1e999"]),
    ],
)
def test_a_number_of_json_that_no_float_holds_stays_as_it_is_written(
    line: str, stored: object, tmp_path: Path, encode: Encode, table: str
) -> None:
    folder = two_images(tmp_path / "x", jsonl=line.replace("{", '{"file_name":"a0.png",', 1))
    assert encode(folder).exit_code == 0
    assert rows_of(table)["a0.png"]["v"] == stored


def test_a_gap_in_numbers_of_parquet_is_nothing_to_tell(tmp_path: Path, encode: Encode, table: str) -> None:
    folder = with_values(tmp_path / "x", "3", "4")
    encode(folder, "--column", "v=int")
    (folder / "metadata.csv").unlink()
    rows = {"file_name": ["a0.png", "a1.png"], "v": pa.array([3.0, float("nan")])}
    pq.write_table(pa.table(rows), folder / "metadata.parquet")
    assert "left out" not in encode(folder).words
    assert values_of(table) == [3, None]


def test_lists_and_objects_for_a_column_of_text_are_json(tmp_path: Path, encode: Encode, table: str) -> None:
    folder = with_values(tmp_path / "x", "red", "blue")
    encode(folder)
    (folder / "metadata.csv").unlink()
    encode(jsonl(folder, ["red", "ü"], ["blue"]))
    assert values_of(table) == ['["red", "ü"]', '["blue"]']
    encode(jsonl(folder, {"k": 1}, {"k": None}))
    assert values_of(table) == ['{"k": 1}', '{"k": null}']


def test_a_cell_of_any_length_is_read(tmp_path: Path, encode: Encode, table: str) -> None:
    text = "x" * 2_000_000
    encode(two_images(tmp_path / "x", csv=f"file_name,v,w\na0.png,{text},1\na1.png,short\n"))
    assert values_of(table) == [text, "short"]


@pytest.mark.parametrize("separator", [";", "\t", "|"])
def test_another_separator_than_the_comma_is_named(separator: str, tmp_path: Path, encode: Encode) -> None:
    csv = "file_name,v\na0.png,1\na1.png,2\n".replace(",", separator)
    found = encode(two_images(tmp_path / "x", csv=csv))
    assert found.exit_code == 1
    assert f"separates its columns by {separator!r}; wanted commas" in found.words
