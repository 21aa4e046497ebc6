import errno

import pytest

from recgan.errors import MismatchError, StorageError, TrainingError, nearest_id, nearest_name, os_mend


@pytest.mark.parametrize(
    ("name", "known", "nearest"),
    [
        ("vpbr", ["vbpr", "bpr"], "vbpr"),
        ("user-010", ["user-009", "user-011", "xser-010"], "user-011"),  # all but one letter alike
        ("bags", ["gabs", "bag", "bagss"], "bags" + "s"),
        ("tops", ["tips", "taps", "topz", "sops"], "topz"),
        ("tops", ["sops", "topz", "taps", "tips"], "topz"),
    ],
)
def test_of_names_equally_near_the_one_that_begins_alike_is_suggested(name, known, nearest):
    assert nearest_name(name, known) == f"; did you mean '{nearest}'?"


def test_nothing_near_suggests_nothing():
    assert nearest_name("hat", ["trousers", "skirt"]) == ""
    assert nearest_name("hat", []) == ""


@pytest.mark.parametrize(
    "typed", ["user-49999x", "user-4999", "user-49a99", "suer-49999", "USER-49999", " user-49999 "]
)
def test_of_very_many_ids_those_one_slip_away_are_suggested_without_a_search(typed):
    class Looked(set):
        def __iter__(self):
            raise AssertionError("millions are not gone through")

    known = Looked(f"user-{number:05d}" for number in (4999, *range(10_000, 50_000)))
    assert nearest_id(typed, known).startswith("; did you mean 'user-49")
    assert nearest_id("nobody", known) == ""
    assert nearest_id("user-4999" + "9" * 100_000, known) == ""


def test_of_few_ids_the_nearest_is_suggested_however_far():
    assert nearest_id("usr-0010", {"user-00010", "user-00200"}) == "; did you mean 'user-00010'?"


@pytest.mark.parametrize(("kind", "code"), [(StorageError, 2), (MismatchError, 2), (TrainingError, 1)])
def test_what_a_person_can_mend_exits_with_2(kind, code):
    assert kind.exit_code == code


def test_the_system_s_errors_have_a_mend():
    assert os_mend(OSError(errno.ENOSPC, "full")) == "free some space or choose another --out"
    assert os_mend(OSError(errno.ENOSPC, "full"), "delete it") == "free some space or delete it"
    assert os_mend(OSError(errno.ENAMETOOLONG, "long")) == "choose a shorter name"
    assert os_mend(OSError("of no number")) == "check the place and try again"
