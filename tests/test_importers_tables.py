"""Tables as they come: encodings, delimiters, malformed lines, and what becomes of their values."""

import csv
import gzip
import io

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recgan.dataset.importers import csv_files
from recgan.dataset.importers.csv_files import CsvFile
from recgan.dataset.importers.interactions import parse_times
from recgan.dataset.importers.tables import Table, text
from recgan.errors import DataError, SettingsError


def read(path, **options):
    """Return the rows with their places, and what was refused, of the table at ``path``."""
    refused = []
    table = Table(path, **options)
    frame = table.read(lambda *what: refused.append(what), "item")
    return list(zip(frame.index, frame.itertuples(index=False, name=None))), refused


def written(folder, content, name="t.csv"):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_marks_and_line_ends_do_not_show(tmp_path, mark, end):
    path = written(tmp_path, mark + f"item_id,name{end}001,Größe{end}002,b".encode())
    assert read(path)[0] == [(2, ("001", "Größe")), (3, ("002", "b"))]
    assert Table(path).columns == ["item_id", "name"]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "latin-1", "cp1252"])
def test_other_encodings(tmp_path, encoding):
    path = written(tmp_path, "id;n\n01;é\n02;ü\n".encode(encoding))
    options = {} if encoding == "utf-16" else {"encoding": encoding}  # its mark says what it is
    assert read(path, **options)[0] == [(2, ("01", "é")), (3, ("02", "ü"))]


def test_a_wrong_encoding_is_told_with_its_line(tmp_path):
    path = written(tmp_path, b"id,n\n1,a\n2,b\n3,\xe9\n")
    with pytest.raises(DataError, match=r"is not utf-8 in line 4; say what it is with --set encoding"):
        read(path)
    with pytest.raises(SettingsError, match="encoding='utf-9' is not known"):
        read(path, encoding="utf-9")


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_header_shows_the_delimiter(tmp_path, delimiter):
    path = written(tmp_path, delimiter.join(["id", "a b"]) + "\n" + delimiter.join(["1", '"x,;|\ty"']) + "\n")
    assert read(path)[0] == [(2, ("1", "x,;|\ty"))]


def test_a_delimiter_can_be_given(tmp_path):
    path = written(tmp_path, "id:a,b\n1:2,3\n")
    assert read(path, delimiter=":")[0] == [(2, ("1", "2,3"))]


def test_gzip_and_a_gzip_cut_short(tmp_path):
    whole = gzip.compress(b"id,a\n" + b"1,2\n" * 1000)
    rows, _ = read(written(tmp_path, whole, "t.csv.gz"))
    assert len(rows) == 1000
    with pytest.raises(DataError, match="cannot be read"):
        read(written(tmp_path, whole[:-20], "t.csv.gz"))
    with pytest.raises(DataError, match="cannot be read"):
        read(written(tmp_path, b"id,a\n1,2\n", "t.csv.gz"))


def test_malformed_lines_are_refused_with_their_place_and_text(tmp_path):
    path = written(tmp_path, 'id,a\n1,x\n2,y,z\n\n3\n"4"x,5\n5,"two\nlines"\n6,3.5" pink\n7,q\n')
    rows, refused = read(path)
    assert rows == [
        (2, ("1", "x")),
        (7, ("5", "two\nlines")),
        (9, ("6", '3.5" pink')),
        (10, ("7", "q")),
    ]
    assert [(kind, reason, where) for kind, _, reason, _, where in refused] == [
        ("item", "malformed_line", "t.csv:3"),
        ("item", "malformed_line", "t.csv:5"),
        ("item", "malformed_line", "t.csv:6"),
    ]
    assert refused[0][3] == "3 fields instead of 2: 2,y,z"


@pytest.mark.parametrize("block", [1, 30, 1 << 20])
def test_a_stray_quote_swallows_its_own_line_only(tmp_path, monkeypatch, block):
    monkeypatch.setattr(csv_files, "_BLOCK", block)
    lines = [f"{number},x" for number in range(200)]
    lines[50] = '50,"never closed'
    path = written(tmp_path, "id,a\n" + "\n".join(lines) + "\n")
    rows, refused = read(path)
    assert [int(fields[0]) for _, fields in rows] == [*range(50), *range(51, 200)]
    assert [place for place, _ in rows] == [*range(2, 52), *range(53, 202)]
    assert [where for *_, where in refused] == ["t.csv:52"]


def test_a_field_without_end_is_refused_and_read_on(tmp_path):
    path = written(tmp_path, 'id,a\n1,"' + "x\n" * 100_000 + "2,y\n")
    rows, refused = read(path)
    assert [fields for _, fields in rows] == [("2", "y")]
    assert len(refused) == 100_000  # the opening line, and each of its lines that has one field


def _rows(characters):
    row = st.tuples(*[st.text(st.sampled_from(characters), max_size=5)] * 3)
    return st.lists(row.filter(lambda fields: "".join(fields).strip()), max_size=12)


@pytest.mark.parametrize("block", [1, 7, 64, 1 << 20])
@settings(max_examples=40, deadline=None)
@given(
    # The csv module does not quote a bare carriage return unless it quotes everything.
    rows_and_quoting=st.one_of(
        st.tuples(_rows('ab0"\n\r,; é'), st.just(csv.QUOTE_ALL)),
        st.tuples(_rows('ab0"\n,; é'), st.just(csv.QUOTE_MINIMAL)),
    ),
    end=st.sampled_from(["\n", "\r\n"]),
)
def test_what_the_csv_module_writes_is_read_back(tmp_path_factory, block, rows_and_quoting, end):
    rows, quoting = rows_and_quoting
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, quoting=quoting, lineterminator=end)
    writer.writerow(["x", "y", "z"])
    writer.writerows(rows)
    path = tmp_path_factory.getbasetemp() / "written.csv"
    path.write_bytes(buffer.getvalue().encode())
    refused = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv_files, "_BLOCK", block)
        chunks = list(CsvFile(path).chunks(lambda *what: refused.append(what), "item", ["z", "x", "y"]))
    found = [(x, y, z) for chunk in chunks for z, x, y in chunk.itertuples(index=False, name=None)]
    assert refused == []
    assert found == rows


@pytest.mark.parametrize("block", [1, 9, 1 << 20])
def test_the_fast_way_and_the_exact_way_agree(tmp_path, monkeypatch, block):
    monkeypatch.setattr(csv_files, "_BLOCK", block)
    rng = np.random.default_rng(0)
    lines = [",".join(rng.choice(["", "a", " b ", "007", "NaN"], 3)) for _ in range(50)]
    lines[20:20] = ["", "only,two", "a,b,c,d", "  "]
    path = written(tmp_path, "x,y,z\n" + "\n".join(lines))
    fast = read(path)
    monkeypatch.setattr(CsvFile, "_read_clean", lambda *_: None)
    assert read(path) == fast
    assert [where for *_, where in fast[1]] == ["t.csv:23", "t.csv:24", "t.csv:25"]
    monkeypatch.undo()
    monkeypatch.setattr(csv_files, "_BLOCK", 1 << 20)
    monkeypatch.setattr(CsvFile, "_read_records", None)
    assert len(read(written(tmp_path, "x,y\n1,2\n3,4\n"))[0]) == 2  # without faults the fast way is taken


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", b"", "is empty; its first line must name the columns"),
        ("t.csv", b"\n \n", "is empty"),
        ("t.csv", b"id,a,id\n1,2,3\n", "two columns called 'id'"),
        ("t.csv", b'id,"a\n1,2\n', "no readable header line"),
        ("t.xlsx", b"PK", r"neither CSV .* nor Parquet"),
        ("t.parquet", b"PAR1 no", "cannot be read as Parquet"),
    ],
)
def test_what_is_no_table_is_told(tmp_path, name, content, message):
    with pytest.raises(DataError, match=message):
        Table(written(tmp_path, content, name))
    with pytest.raises(DataError, match="there is no file"):
        Table(tmp_path / "gone.csv")


def test_a_damaged_parquet_is_told(tmp_path):
    path = tmp_path / "t.parquet"
    pd.DataFrame({"id": np.arange(50_000).astype(str)}).to_parquet(path, compression="zstd")
    data = bytearray(path.read_bytes())
    data[1000:3000] = b"\xff" * 2000
    path.write_bytes(data)
    with pytest.raises(DataError, match="cannot be read as Parquet from row 1 on"):
        read(path)


def test_text_makes_strings_of_anything():
    assert text(pd.Series([" 007 ", "NaN", None, "none", "NULL", "n/a", "Nancy"])).to_list() == [
        "007",
        *[""] * 5,
        "Nancy",
    ]
    assert text(pd.Series([1.0, np.nan, 2.5, 1e300])).to_list() == ["1", "", "2.5", "1e+300"]
    assert text(pd.Series([12, None], dtype="Int64")).to_list() == ["12", ""]
    assert text(pd.Series(["a", None], dtype="category")).to_list() == ["a", ""]
    assert text(pd.Series([b"x\xc3\xbc", None], dtype=object)).to_list() == ["xü", ""]


def test_times_in_every_usual_form():
    noon = pd.Timestamp("2020-01-02 12:00")
    seconds = 1577966400
    forms = [
        "2020-01-02 12:00",
        "2020-01-02T12:00:00Z",
        "2020-01-02T13:00:00+01:00",
        str(seconds),
        f"{seconds}.0",
        f"{seconds}000",
        f"{seconds}000000",
        f"{seconds}000000000",
    ]
    assert parse_times(pd.Series(forms)).to_list() == [noon] * len(forms)
    assert parse_times(pd.Series(["20200102"])).to_list() == [noon.normalize()]
    assert parse_times(pd.Series([seconds, seconds])).to_list() == [noon, noon]
    assert parse_times(pd.Series(["2.1.2020"]), "%d.%m.%Y").to_list() == [noon.normalize()]
    unreadable = ["", "nan", "soon", "12", "20201399", "02/01/2020", "0000-00-00"]
    assert parse_times(pd.Series(unreadable)).isna().all()
    assert parse_times(pd.Series([], dtype=str)).dtype == "datetime64[us]"


def test_a_format_that_is_none_is_told():
    with pytest.raises(SettingsError, match=r"timestamp_format='%q': .*strptime"):
        parse_times(pd.Series(["2020"]), "%q")
