"""Tables of labels as people write them."""

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gmvae_lib.data.labels import guard, read_labels, unguarded
from gmvae_lib.errors import InputError


@pytest.fixture
def table(tmp_path):
    """A function that reads a text or bytes as a table of labels."""

    def read(content, name="labels.csv", encoding="utf-8"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
        return read_labels(path)

    return read


def entries(table):
    return [(e.line, e.index if e.path is None else e.path, e.label) for e in table.entries]


PLAIN = [(2, 0, "cat"), (3, 12, "dog")]
BY_NAME = [(2, "a.png", "cat"), (3, "b, c.png", "dog")]


@pytest.mark.parametrize(
    "text",
    [
        "index,label\n0,cat\n12,dog\n",
        "index,label\r\n0,cat\r\n12,dog\r\n",
        "index,label\r0,cat\r12,dog\r",
        "Index,Label\n0,cat\n12,dog\n",
        "INDEX , LABEL\n0, cat \n12,dog\n",
        "index, label\n0.0,cat\n12.0,dog\n",
        "index;label\n0;cat\n12;dog\n",
        "index\tlabel\n0\tcat\n12\tdog\n",
        "index|label\n0|cat\n12|dog\n",
        'label,cluster,index\n"cat",7,0\n"dog",7,00012\n',
        ",index,label\n0,0,cat\n1,12,dog\n",
        "index,label,,\n0,cat,,\n12,dog,,\n",
        "index,label\n0,cat,,\n12,dog,\n",
        "row,class\n0,cat\n12,dog\n",
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1"])
def test_rows_by_index(table, text, encoding):
    read = table(text, encoding=encoding)
    assert (entries(read), read.notes) == (PLAIN, [])


@pytest.mark.parametrize("header", ["path", "Filename", "file_name", "File Name", "IMAGE", "file"])
def test_rows_by_file_name(table, header):
    assert entries(table(f'{header},label\na.png,cat\n"b, c.png",dog\n')) == BY_NAME
    assert entries(table(f"{header};Label\na.png;cat\nb, c.png;dog\n")) == BY_NAME
    assert entries(table(f'index,{header},label\n7,a.png,cat\n,"b, c.png",dog\n')) == BY_NAME


def test_excel_says_what_separates_the_cells(table):
    assert entries(table("sep=;\r\nindex;label\r\n0;a,b\r\n")) == [(3, 0, "a,b")]
    assert entries(table("SEP=\t\nindex\tlabel\n0\ta\n")) == [(3, 0, "a")]


def test_texts_in_other_encodings(table):
    read = table("index,label\n0,café\n", encoding="latin-1")
    assert entries(read) == [(2, 0, "café")] and "Latin-1" in read.notes[0]
    assert entries(table("index,label\n0,café\n", encoding="utf-16")) == [(2, 0, "café")]
    assert table("index,label\n0,café\n").notes == []


def test_blank_lines_and_quoted_line_ends_keep_the_numbers_of_the_lines(table):
    read = table('index,label\n\n0,"a\nb"\n\n,\n9,\n12,c\n')
    assert entries(read) == [(3, 0, "a\nb"), (8, 12, "c")]


def test_all_that_a_row_may_say(table):
    read = table(
        "index,path,digest,set,label,reason\n"
        "3,a/b.png,0123456789ABCDEF,FF00,'=x,drawn at random\n"
        "4,,,,y,cluster 7\n"
    )
    first, second = read.entries
    assert (first.index, first.path, first.digest) == (3, "a/b.png", "0123456789abcdef")
    assert (first.set, first.label, first.at_random) == ("ff00", "=x", True)
    assert (second.path, second.digest, second.set, second.at_random) == (None, None, None, False)


def test_no_label_in_a_table(table):
    read = table("index,label\n0,cat\n1,-1\n2,nan\n3,NaN\n4,\n5, \n6,<NA>\n7,-1\n")
    assert entries(read) == [(2, 0, "cat")]
    assert len(read.notes) == 1 and read.notes[0].endswith("read as no label")
    assert "'-1' (2 times)" in read.notes[0] and "'nan'" in read.notes[0]
    read = table("index,label\n0,NA\n1,None\n2,007\n3,1e3\n4,TRUE\n")
    assert [e.label for e in read.entries] == ["NA", "None", "007", "1e3", "TRUE"]
    assert "'NA', 'None', read as a class" in read.notes[0]


@pytest.mark.parametrize(
    "labels",
    [
        ("Tree", "tree"),
        ("na\u00efve", "nai\u0308ve"),
        ("a b", "a\u00a0b"),
        ("a b", "\u200ba b"),
        ("a b", "a  b"),
        ("stra\u00dfe", "STRASSE"),
        ("\ufb01n", "fin"),
    ],
)
def test_labels_that_look_alike_are_pointed_out(table, labels):
    read = table("index,label\n" + "".join(f"{i},{label}\n" for i, label in enumerate(labels)))
    assert tuple(e.label for e in read.entries) == labels
    assert len(read.notes) == 1 and "classes of their own" in read.notes[0]
    assert all(ascii(label) in read.notes[0] for label in labels)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "line 1: found nothing, expected the columns index,label or path,label"),
        ("name,label\n0,a\n", "line 1: found 'name', 'label', expected the columns"),
        ("index,name\n0,a\n", "line 1: found 'index', 'name', expected the columns"),
        ("index,label,label\n0,a,b\n", "line 1: found the column label twice"),
        ("index,Label, label\n0,a,b\n", "line 1: found the column label twice"),
        ("Index,index,label\n0,1,b\n", "line 1: found the column index twice"),
        ("index,label\n", "found no label, expected at least one"),
        ("index,label\n0,\n", "found no label"),
        ("index,label\n0,nan\n", "found no label"),
        ("index,label\n-1,a\n", "line 2: found index '-1', expected a whole number"),
        ("index,label\n1.5,a\n", "line 2: found index '1.5'"),
        ("index,label\n٣,a\n", "line 2: found index"),
        ("index,label\n,a\n", "line 2: found the label 'a' of no image"),
        ("path,label\n,a\n", "line 2: found the label 'a' of no image"),
        ("index,label\n0,a,b\n", "line 2: found 3 fields, expected 2"),
        ('index,label\n0,"a\n', "no CSV"),
        ('index,label\n0,"a"b\n', "line 2: no CSV"),
        (b"index,label\n0,\x00\xff\n", "line 2: found bytes, expected text"),
        (b"\xd0\xcf\x11\xe0 and so on", "found an old Excel workbook"),
        (b"PK\x03\x04 and so on", "Excel workbook"),
        ("<html><body>", "expected the columns"),
    ],
)
def test_tables_that_cannot_be_read(table, content, message):
    with pytest.raises(InputError) as error:
        table(content)
    assert message in str(error.value) and "labels.csv: " in str(error.value)
    assert "\n" not in str(error.value)


def test_an_excel_workbook(table, tmp_path):
    pytest.importorskip("openpyxl")
    sheet = pd.DataFrame({"Filename": ["a.png", "b.png", "c.png"], "Label": ["cat", None, "dog"]})
    sheet.to_excel(tmp_path / "sheet.xlsx", index=False)
    expected = [(2, "a.png", "cat"), (4, "c.png", "dog")]
    assert entries(read_labels(tmp_path / "sheet.xlsx")) == expected
    assert entries(table((tmp_path / "sheet.xlsx").read_bytes())) == expected  # named csv
    pd.DataFrame({"index": [0, 7], "label": ["007", 3]}).to_excel(tmp_path / "n.xlsx", index=False)
    assert entries(read_labels(tmp_path / "n.xlsx")) == [(2, 0, "007"), (3, 7, "3")]


# ----------------------------------------------------------------- spreadsheets


@given(st.text(st.sampled_from("'=+-@\t\r0.ab"), max_size=6))
def test_guarded_labels_come_back(label):
    assert unguarded(guard(label)) == label
    assert guard(label) in (label, f"'{label}")


@pytest.mark.parametrize("label", ["=", "+", "-", "@", "-0.5", "+4", "a=b", "'"])
def test_lone_signs_and_numbers_need_no_guard(label):
    assert guard(label) == label


@pytest.mark.parametrize("label", ["=1+1", "@x", "+a", "-a", "\tx", "=\n"])
def test_formulas_are_guarded(label):
    assert guard(label) == f"'{label}"
