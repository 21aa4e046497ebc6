"""`dvbpr-npy`: a file in the layout that Python 2 wrote it in is read, and one that would run code is refused."""

import os
import pickle
import struct

import numpy as np
import pytest

from recgan.config import SplitSettings
from recgan.dataset.importers.safe_pickle import FileSlice, NumpyArray, load_object_array
from recgan.dataset.split import make_split
from recgan.errors import DataError, SettingsError
from tests.shops import encoded, picture, pictures_of, refusals, take_in


def npy_header(shape="(6,)", descr="'|O'"):
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}"
    text += " " * (-(len(text) + 11) % 16) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode()


class Python2Pickler(pickle._Pickler):
    """Writes as Python 2's cPickle did at protocol 2: str and bytes are both byte strings, numpy has its old names."""

    dispatch = dict(pickle._Pickler.dispatch)  # noqa: RUF012

    def save_string(self, text):
        data = text.encode("latin-1") if isinstance(text, str) else text
        short = len(data) < 256
        size = pickle.SHORT_BINSTRING + bytes([len(data)]) if short else pickle.BINSTRING + struct.pack("<i", len(data))
        self.write(size + data)
        self.memoize(text)

    dispatch[str] = dispatch[bytes] = save_string

    def save_global(self, thing, name=None):
        module, name = thing.__module__.replace("numpy._core", "numpy.core"), name or thing.__name__
        module = {"builtins": "__builtin__"}.get(module, module)
        self.write(pickle.GLOBAL + f"{module}\n{name}\n".encode())
        self.memoize(thing)

    dispatch[type] = save_global
    for function in (np.array([1]).__reduce__()[0], np.int64(1).__reduce__()[0]):
        dispatch[type(function)] = save_global


def write_npy(path, parts, protocol=2):
    """Write six objects as Python 2's ``np.save`` did (or at another protocol, as Python 3 does)."""
    array = np.empty(6, dtype=object)
    array[:] = parts
    with open(path, "wb") as file:
        file.write(npy_header())
        (Python2Pickler if protocol == 2 else pickle.Pickler)(file, protocol).dump(array)
    return path


def one_hot(number):
    vector = np.zeros(6, dtype=np.int64)
    vector[number] = 1
    return vector


def jpeg(number):
    return encoded(picture(number, (60, 80)), "JPEG", quality=95)


def parts(classes=(0, 1, 5, 1, 3), images=None):
    images = images or [jpeg(number) for number in range(len(classes))]
    items = {
        number: {"imgs": image, "c": c, "asin": f"B00{number}", "related": {"also": ["x", None, 1.5, True]}}
        for number, (image, c) in enumerate(zip(images, classes))
    }
    train = {0: [{"productid": 0, "reviewText": "nice"}, {"productid": 1}], 1: [{"productid": 2}]}
    validation = {0: [{"productid": 3}], 1: [{"productid": 4}]}
    test = {0: [{"productid": 4}], 1: [{"productid": 0}]}
    return [train, validation, test, items, 2, len(classes)]


@pytest.mark.parametrize(
    "classes", [(0, 1, 5, 1, 3), tuple(map(one_hot, (0, 1, 5, 1, 3))), (0.0, [0, 1, 0, 0, 0, 0], 5, 1, 3)]
)
@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_the_published_layout(tmp_path, classes, protocol):
    path = write_npy(tmp_path / "AmazonFashion6ImgPartitioned.npy", parts(classes), protocol)
    assert np.load(path, allow_pickle=True, encoding="bytes")[5] == 5  # numpy reads it too
    bundle, summary = take_in(path, tmp_path / "out", source="dvbpr-npy")
    assert bundle.items["item_id"].to_list() == ["0", "1", "2", "3", "4"]
    assert bundle.items["category"].to_list() == ["class 0", "class 1", "class 5", "class 1", "class 3"]
    assert bundle.items["asin"].to_list() == [f"B00{number}" for number in range(5)]
    assert [pictures_of(bundle, str(number)) for number in range(5)] == [[jpeg(number)] for number in range(5)]
    log = bundle.interactions
    assert log[["user_id", "item_id", "split"]].to_numpy().tolist() == [
        ["0", "0", "train"],
        ["0", "1", "train"],
        ["1", "2", "train"],
        ["0", "3", "validation"],
        ["1", "4", "validation"],
        ["0", "4", "test"],
        ["1", "0", "test"],
    ]
    assert summary.quarantined == {}
    assert summary.users == 2
    split = make_split(bundle, SplitSettings(protocol="given", cold_share=0))
    assert (len(split.train), len(split.validation), len(split.test)) == (3, 2, 2)


def test_a_pickle_put_together_by_hand(tmp_path):
    """The opcodes as cPickle of Python 2.7 writes them for the smallest such array, one by one."""
    image = jpeg(1)
    short = lambda text: b"U" + bytes([len(text)]) + text  # noqa: E731
    users = b"}" + b"K\x00" + b"]" + b"}" + short(b"productid") + b"K\x00" + b"s" + b"a" + b"s"
    item = b"}" + b"(" + short(b"imgs") + b"T" + struct.pack("<i", len(image)) + image + short(b"c") + b"K\x02" + b"u"
    array = (
        b"\x80\x02"
        + b"cnumpy.core.multiarray\n_reconstruct\nq\x01"
        + b"cnumpy\nndarray\nq\x02"
        + b"K\x00\x85U\x01b\x87Rq\x03"
        + b"(K\x01K\x06\x85cnumpy\ndtype\nq\x04U\x02O8K\x00K\x01\x87R"
        + b"(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK?tb"
        + b"\x89]("
        + users * 3
        + b"}K\x00" + item + b"s"
        + b"K\x01" + b"L1L\n"
        + b"etb."
    )  # fmt: skip
    path = tmp_path / "a.npy"
    path.write_bytes(npy_header() + array)
    values = load_object_array(path)
    assert values[0] == {0: [{b"productid": 0}]}
    assert isinstance(values[3][0][b"imgs"], FileSlice)  # left in the file
    assert values[3][0][b"imgs"].read() == image
    bundle, _ = take_in(path, tmp_path / "out", source="dvbpr-npy")
    assert bundle.items["category"].to_list() == ["class 2"]
    assert pictures_of(bundle, "0") == [image]
    np.testing.assert_equal(np.load(path, allow_pickle=True, encoding="bytes")[3][0][b"imgs"], image)


def test_other_containers_and_numpy_values(tmp_path):
    from collections import OrderedDict, defaultdict

    values = [
        defaultdict(list, {1: [2]}),
        OrderedDict([("a", 1)]),
        {1, 2},
        np.float32([[1, 2], [3, 4]]),
        (np.int64(7), np.array([b"ab", b"c"]), np.array(True), bytearray(b"xy"), frozenset({3})),
        "text",
    ]
    array = np.empty(6, dtype=object)
    for position, value in enumerate(values):
        array[position] = value
    path = tmp_path / "a.npy"
    np.save(path, array, allow_pickle=True)
    read = load_object_array(path)
    assert read[:3] == [{1: [2]}, {"a": 1}, {1, 2}]
    assert read[3] == NumpyArray((2, 2), [1.0, 2.0, 3.0, 4.0])
    assert read[4] == (7, NumpyArray((2,), [b"ab", b"c"]), NumpyArray((), [True]), b"xy", frozenset({3}))
    assert read[5] == "text"


class Evil:
    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


def wrapped(payload):
    """An object array's pickle in which ``payload`` (opcodes) stands for the first element."""
    return (
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
        b"(K\x01K\x06\x85cnumpy\ndtype\nU\x02O8K\x00K\x01\x87R\x89](" + payload + b"NNNNNetb."
    )


def malicious(marker):
    touch = f"touch {marker}"
    evil = [
        Evil(os.system, touch),
        Evil(eval, f"open({str(marker)!r}, 'w')"),
        Evil(__import__, "os"),
        Evil(getattr, [], "append"),
        Evil(np.load, str(marker)),
        Evil(open, str(marker), "w"),
    ]
    yield from (pickle.dumps(thing, protocol)[2 if protocol < 4 else 11 : -1] for thing in evil for protocol in (2,))
    command = touch.encode()
    yield b"cos\nsystem\n" + b"U" + bytes([len(command)]) + command + b"\x85R"
    yield b"(" + b"U" + bytes([len(command)]) + command + b"ios\nsystem\n"  # INST
    yield b"(cos\nsystem\n" + b"U" + bytes([len(command)]) + command + b"o"  # OBJ
    yield b"c__builtin__\nobject\n)\x81"  # NEWOBJ
    yield b"c__builtin__\neval\n"
    yield b"c__builtin__\nlist\n)\x81"
    yield b"ccopy_reg\n_reconstructor\n"
    yield b"cnumpy\nfromfile\n"
    yield b"cnumpy.core.multiarray\nfromfile\n"
    yield b"cnumpy\ndtype.__class__\n"
    yield b"Pevil\n"  # PERSID
    yield b"U\x01xQ"  # BINPERSID
    yield b"\x82\x01"  # EXT1
    yield b"}(U\x03abcK\x01ub"  # BUILD on a dict
    yield b"c__builtin__\nlist\n}U\x01xK\x01sb"  # BUILD on a name
    yield b"K\x05)R"  # a call of a number
    yield b"c__builtin__\nbytearray\nJ\xff\xff\xff\x7f\x85R"  # two gigabytes of nothing
    yield b"c__builtin__\nlist\nU\x03abc\x85R"
    yield b"c_codecs\nencode\nX\x01\x00\x00\x00aU\x04zlib\x86R"


@pytest.mark.parametrize("number", range(25))
def test_a_file_that_would_run_code_is_refused(tmp_path, number):
    marker = tmp_path / "run"
    payload = list(malicious(marker))[number]
    path = tmp_path / "evil.npy"
    path.write_bytes(npy_header() + wrapped(payload))
    with pytest.raises(DataError, match=r"evil\.npy' (holds|cannot be read)"):
        take_in(path, tmp_path / "out", source="dvbpr-npy")
    assert sorted(tmp_path.iterdir()) == [path]


def test_the_malicious_files_are_real_and_their_frame_is_sound(tmp_path):
    marker, path = tmp_path / "run", tmp_path / "a.npy"
    payloads = list(malicious(marker))
    assert len(payloads) == 25
    path.write_bytes(npy_header() + wrapped(payloads[0]))
    np.load(path, allow_pickle=True)
    assert marker.exists()
    path.write_bytes(npy_header() + wrapped(b"K\x07"))  # a harmless first element
    assert load_object_array(path) == [7, None, None, None, None, None]


@pytest.mark.parametrize(
    "state",
    [
        b"(K\x01J\xff\xff\xff\xff\x85cnumpy\ndtype\nU\x02O8K\x00K\x01\x87R\x89]tb",  # shape -1
        b"(K\x01K\x02\x85cnumpy\ndtype\nU\x02O8K\x00K\x01\x87R\x89]tb",  # no elements for shape 2
        b"(K\x01K\x01\x85cnumpy\ndtype\nU\x02O8K\x00K\x01\x87R\x89U\x08ABCDEFGHtb",  # bytes taken for pointers
        b"(K\x01K\x02\x85cnumpy\ndtype\nU\x02i8K\x00K\x01\x87R\x89U\x08ABCDEFGHtb",  # too few bytes
        b"(K\x01K\x01\x85cnumpy\ndtype\nU\x02V8K\x00K\x01\x87R\x89U\x08ABCDEFGHtb",  # a structure
    ],
)
def test_an_impossible_array_is_refused(tmp_path, state):
    array = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R" + state
    path = tmp_path / "a.npy"
    path.write_bytes(npy_header() + wrapped(array))
    with pytest.raises(DataError, match="cannot be read as a pickle of plain data"):
        load_object_array(path)


def test_a_file_cut_short_anywhere_is_told(tmp_path):
    whole = write_npy(tmp_path / "a.npy", parts()).read_bytes()
    path = tmp_path / "cut.npy"
    for length in [*range(0, 400, 7), *range(400, len(whole) - 1, 997), len(whole) - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(DataError, match=r"cut\.npy"):
            load_object_array(path)


def test_damaged_bytes_never_escape_as_another_error(tmp_path):
    whole = bytearray(write_npy(tmp_path / "a.npy", parts(images=[b"x" * 5] * 5)).read_bytes())
    path = tmp_path / "damaged.npy"
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(600):
        damaged = bytearray(whole)
        for place in rng.integers(80, len(whole), 3):
            damaged[place] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            load_object_array(path)
        except DataError:
            refused += 1
    assert refused > 200


def test_what_is_no_such_file_is_told(tmp_path):
    path = tmp_path / "x.npy"
    for data, message in (
        (b"no numpy file", "cannot be read as a .npy file"),
        (npy_header("(6,)", "'<f8'") + bytes(48), "is a .npy file of float64"),
        (npy_header("(2, 3)") + pickle.dumps(None, 2), r"in shape \(2, 3\)"),
        (npy_header() + pickle.dumps([1] * 6, 2), "holds something else than its header says"),
        (npy_header("(5,)") + wrapped(b"N"), "holds something else than its header says"),
        (npy_header() + wrapped(b"N"), "does not hold the six parts"),
    ):
        path.write_bytes(data)
        with pytest.raises(DataError, match=message):
            take_in(path, tmp_path / "out", source="dvbpr-npy")
    with pytest.raises(DataError, match="there is no file"):
        take_in(tmp_path / "gone.npy", tmp_path / "out", source="dvbpr-npy")


def test_bad_entries_are_refused_one_by_one(tmp_path):
    content = parts(classes=(0, 9, [1, 1, 0, 0, 0, 0], 1, 3), images=[jpeg(0), jpeg(1), jpeg(2), b"", b"no image" * 50])
    content[3][5] = "no dict"
    content[0][1] = [{"productid": 77}, {"other": 1}]
    path = write_npy(tmp_path / "a.npy", content)
    bundle, summary = take_in(path, tmp_path / "out", source="dvbpr-npy")
    assert bundle.items["item_id"].to_list() == ["0"]
    items = [row for row in refusals(bundle) if row[0] != "interaction"]
    assert sorted(items) == [
        ("item", "1", "malformed_item", "a.npy:1"),
        ("item", "2", "malformed_item", "a.npy:2"),
        ("item", "3", "missing_image", "a.npy:3"),
        ("item", "4", "not_an_image", "a.npy:Item[4]"),
        ("item", "5", "malformed_item", "a.npy:5"),
    ]
    assert ("interaction", "77", "unknown_item", "a.npy:user_train[1]") in refusals(bundle)
    assert ("interaction", "", "missing_id", "a.npy:user_train[1]") in refusals(bundle)
    assert summary.warnings[-1] == "the file states 5 items, and holds 6"


def test_a_class_that_is_none_is_refused_and_a_missing_one_can_be_named(tmp_path):
    classes = ("boots", [0, "a", None, 1, 0, 0], [0, 0, 0, 0, 0, 1, 0], float("nan"), None)
    path = write_npy(tmp_path / "a.npy", parts(classes=classes))
    bundle, _ = take_in(path, tmp_path / "out", "default_category=other", source="dvbpr-npy")
    assert bundle.items["category"].to_list() == ["other"]
    told = bundle.quarantine[bundle.quarantine["kind"] == "item"]
    assert told["reason"].to_list() == ["malformed_item"] * 4
    assert told["detail"].iloc[1].startswith("class [0, b'a', None, 1, 0, 0] is neither 0 to 5 nor a one-hot vector")


def test_the_classes_can_be_named(tmp_path):
    path = write_npy(tmp_path / "a.npy", parts())
    names = '["tops m","tops w","bottoms m","bottoms w","shoes m","shoes w"]'
    bundle, _ = take_in(tmp_path, tmp_path / "out", f"category_names={names}", source="dvbpr-npy")
    assert bundle.items["category"].to_list() == ["tops m", "tops w", "shoes w", "tops w", "bottoms w"]
    with pytest.raises(SettingsError, match="category_names: give 6 different names"):
        take_in(path, tmp_path / "o2", 'category_names=["a","b"]', source="dvbpr-npy")
