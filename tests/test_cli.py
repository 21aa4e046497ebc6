import errno
import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import typer
from PIL import Image

from recgan import cli, console
from recgan.cli.app import table
from recgan.cli.run import app as all_verbs
from recgan.cli.use import _explain as explained_rows
from recgan.console import answer, fail, remark, shown_progress
from recgan.dataset.bundle_writer import BundleWriter
from recgan.gan.monitor import Quality
from recgan.recommenders.explain import Explanation
from tests.conftest import write_bundle


@pytest.fixture
def run(monkeypatch, capsys):
    """Run the command line in this process; return its exit code, standard output and standard error."""

    def call(*argv):
        monkeypatch.setattr(sys, "argv", ["recgan", *map(str, argv)])
        code = 0
        try:
            cli.main()
        except SystemExit as stop:
            code = stop.code or 0
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


def answered(result):
    """Return the one JSON object that a verb printed on standard output."""
    code, out, err = result
    assert code == 0, err
    assert out.count("\n") == 1
    return json.loads(out)


@pytest.fixture(scope="module")
def line(tmp_path_factory):
    """The whole line, each verb called once through the command line on a tiny drawn catalogue."""
    folder = tmp_path_factory.mktemp("line")
    answers = {}

    def verb(name, *argv):
        done = subprocess.run(
            [sys.executable, "-m", "recgan.cli", *map(str, argv), "--json"], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{argv}: {done.stderr}"
        assert done.stdout.count("\n") == 1, f"{argv}: more than one JSON object on standard output"
        answers[name] = json.loads(done.stdout)

    users = folder / "users"
    verb("boutique", "boutique", "--items", 60, "--size", 64, "--out", folder / "boutique")
    verb("simulate", "simulate", folder / "boutique", "--users", 30, "--interactions", 240, "--out", users)
    verb("embed", "embed", users, "--size", 32)
    verb(
        *("recommender", "train", "recommender", users, "--model", "vbpr", "--size", 32),
        *("--set", "width=16", "--set", "epochs=2", "--out", folder / "recommender"),
    )
    verb(
        *("gan", "train", "gan", users, "--recipe", "dcgan-lsgan", "--size", 32, "--images-seen", 128),
        *("--set", "generator_width=16", "--set", "discriminator_width=16", "--out", folder / "gan"),
    )
    return folder, answers


def test_each_verb_answers_one_json_object(line):
    _, answers = line
    assert answers["boutique"]["items"] == 60
    assert answers["simulate"]["users"] == 30
    assert answers["simulate"]["interactions"] == 240
    assert answers["embed"]["items"] == 60
    assert answers["embed"]["encoder"] == "efficientnet_lite0"
    assert answers["gan"]["metrics"]["images_seen"] >= 128


def test_recommend_has_its_promised_shape(line, run):
    folder, _ = line
    answer = answered(run("recommend", folder / "recommender", "--user", "user-00001", "-k", 5, "--json"))
    assert len(answer["items"]) == 5
    assert all(set(row) == {"item_id", "score", "category"} for row in answer["items"])
    scores = [row["score"] for row in answer["items"]]
    assert scores == sorted(scores, reverse=True)


def test_recommend_to_somebody_without_an_id(line, run):
    folder, _ = line
    liked = answered(run("recommend", folder / "recommender", "--user", "user-00001", "--json"))["items"][0]["item_id"]
    answer = answered(run("recommend", folder / "recommender", "--liked", liked, "-k", 3, "--json"))
    assert len(answer["items"]) == 3
    assert liked not in [row["item_id"] for row in answer["items"]]


def test_design_has_its_promised_shape(line, run, tmp_path):
    folder, answers = line
    category = answers["boutique"]["categories"][0]
    fast = ["--set", "samples=2", "--set", "starts=1", "--set", "steps=1"]
    code, out, err = run(
        *("design", "--recommender", folder / "recommender", "--gan", folder / "gan", "--user", "user-00001"),
        *("--category", category, "-n", 9, "--seed", 3, *fast, "--out", tmp_path / "designs", "--json"),
    )
    assert code == 0, err
    answer = json.loads(out)
    assert len(answer["designs"]) == 9
    unseen = sum("unseen" in design["settings"] for design in answer["designs"])
    assert unseen
    assert f"note: {unseen} of the 9 designs are the samples that they began with" in err
    for design in answer["designs"]:
        assert {"image", "z", "category", "seed", "score", "percentile", "nearest", "settings"} <= set(design)
        assert design["category"] == category
        assert 0 <= design["percentile"] <= 100
        assert set(design["nearest"][0]) == {"item_id", "distance"}
        path = tmp_path / "designs" / design["image"]
        assert Image.open(path).size == (32, 32)
    sheet = Image.open(tmp_path / "designs" / "sheet.png")
    assert sheet.size == (2 + 8 * 130, 2 + 2 * 130)  # eight of 128 px and one, and the space between


def test_somebody_with_a_photo_is_designed_for_until_the_time_is_up(line, run, tmp_path):
    folder, answers = line
    Image.new("RGB", (60, 40), "red").save(tmp_path / "liked.png")
    code, out, err = run(
        *("design", "--recommender", folder / "recommender", "--gan", folder / "gan"),
        *("--photo", tmp_path / "liked.png", "--category", answers["boutique"]["categories"][0], "-n", 2),
        *("--set", "steps=100000", "--time-limit", 1.5, "--out", tmp_path / "designs", "--json"),
    )
    assert code == 0, err
    designs = json.loads(out)["designs"]
    assert [design["settings"]["unfinished"] for design in designs] == ["the time limit ended its search"] * 2
    assert designs[0]["settings"]["user"]["seen"] == []
    assert "ended the search of 2 of the 2 designs" in err


def test_designs_for_a_user_who_is_not_there_are_refused_with_the_mend(line, run, tmp_path):
    folder, answers = line
    verb = ("design", "--recommender", folder / "recommender", "--gan", folder / "gan", "--out", tmp_path / "designs")
    category = ("--category", answers["boutique"]["categories"][0])
    code, out, err = run(*verb, *category, "--user", "nobody")
    assert (code, out) == (2, "")
    assert err.splitlines()[-1] == (
        "error: there is no user 'nobody'; for somebody new give items that they like (--liked ITEM, or fold_in)"
    )
    _, _, err = run(*verb, *category, "--user", "user-0001")
    assert err.splitlines()[-1] == "error: there is no user 'user-0001'; did you mean 'user-00010'?"


def test_export_has_its_promised_shape(line, run, tmp_path):
    folder, _ = line
    verb = ("export", "gan", folder / "gan", "--out", tmp_path / "out", "--format")
    answer = answered(run(*verb, "safetensors", "--half", "--json"))
    assert set(answer["files"]) == {"generator.safetensors", "generator.json", "MODEL_CARD.md"}
    assert answer["output"]["images"]["shape"] == ["N", 3, 32, 32]
    code, out, err = run(*verb, "gif", "--overwrite")
    assert (code, out) == (2, "")
    assert "use onnx or safetensors" in err


def test_evaluate_ranking_has_its_promised_shape(line, run):
    folder, _ = line
    answer = answered(
        run(
            "evaluate",
            "ranking",
            folder / "users",
            "--models",
            f"popularity,{folder / 'recommender'}",
            "--size",
            32,
            "--json",
        )
    )
    assert len(answer["models"]) == 2
    for figures in answer["models"].values():
        for measure in ("auc", "ndcg@20", "recall@20"):
            assert {"all", "warm", "cold"} <= set(figures[measure])
    assert 0.5 < answer["oracle"]["auc"]["all"] <= 1


@pytest.mark.parametrize(
    ("argv", "hint"),
    [
        (["imprt", "folder", "x", "--out", "y"], "import"),
        (["doctor", "--jsn"], "--json"),
        (["embed", "nowhere"], "does not exist"),
        (["train", "recommender", "nowhere", "--model", "vbrp", "--out", "x"], "vbpr"),
        (["train", "recommender", "nowhere", "--set", "latent_dims=3", "--out", "x"], "latent_dim"),
        (["train", "gan", "nowhere", "--recipe", "kang2071", "--out", "x"], "kang2017"),
        (["recommend", "nowhere"], "say for whom"),
        (["recommend", "nowhere", "--user", "u"], "does not exist"),
        (["evaluate", "ranking", "nowhere", "--models", ","], "names no model"),
        (["evaluate", "ranking", "nowhere", "--compare", "vbpr"], "name two models"),
        (["simulate", "nowhere", "--ideals", "heldout", "--out", "x"], "held_out"),
        (["embed", "nowhere", "--set", "batchsize=3"], "batch_size"),
        (["evaluate", "ranking", "nowhere", "--set", "epochs=3"], "write it as MODEL.NAME=VALUE"),
        (["evaluate", "ranking", "nowhere", "--split", "protocoll=given"], "protocol"),
        (["evaluate", "report", "b", "--recommender", "r", "--gan", "g", "--out", "o", "--preset", "kang"], "kang2017"),
    ],
)
def test_a_users_mistake_is_one_line_with_the_mend_and_exit_code_2(run, argv, hint):
    code, out, err = run(*argv)
    assert code == 2
    assert out == ""
    assert hint in err
    assert "Traceback" not in err


_NOWHERE = ["--recommender", "nowhere", "--gan", "nowhere", "--out", "x"]


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (["design", "--category", "hat", "--user", "u", "-n", "0"], "n=0: ask for 1 to 256 designs"),
        (["design", "--category", "hat", "--user", "u", "--photo", "p.jpg"], "say for whom: --user ID"),
        (["design", "--category", "hat", "--photo", "nowhere.jpg"], "'nowhere.jpg' cannot be read"),
        (["design", "--category", "hat", "--photo", __file__], f"'{__file__}' cannot be used: not one of"),
        (["design", "--category", "hat", "--user", "u", "--seed", 2**60], f"seed={2**60}: give a seed from 0 to"),
        (["gaps", "nowhere", "--judge", "nowhere", "-n", "300"], "n=300: ask for 1 to 256 designs"),
        (["edit", "tailor", "item:1", "--data", "nowhere", "-n", "0"], "n=0: ask for 1 to 256 designs"),
        (["edit", "like", "item:1", "--data", "nowhere", "-n", "257"], "n=257: ask for 1 to 256 designs"),
        (["edit", "mix", "item:1", "item:2", "--data", "nowhere", "-n", "1"], "n=1: ask for 2 to 256 designs"),
        (["edit", "recategorise", "item:1", "--data", "nowhere", "--to", "hat", "-n", "1"], "n=1: ask for 2 to 256"),
        (
            [
                "edit",
                "arithmetic",
                "item:1",
                "--data",
                "b",
                "--plus",
                "item:2",
                "--minus",
                "item:3",
                "--strength",
                "nan",
            ],
            "--strength nan: give a number",
        ),
        (
            ["edit", "slide", "item:1", "--data", "nowhere", "--directions", "nowhere", "--move", "0=inf"],
            "--move 0=inf: write it as DIRECTION=UNITS, such as 0=1.5",
        ),
    ],
)
def test_numbers_out_of_range_are_refused_before_anything_is_loaded(run, argv, told):
    code, out, err = run(*argv, *_NOWHERE)
    assert (code, out) == (2, "")
    assert err.startswith(f"error: {told}")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        (["imprt"], "error: No such command 'imprt'. Did you mean 'import'? See 'recgan --help'."),
        (["train", "recomender"], "error: No such command 'recomender'. Did you mean 'recommender'? See "),
        (["doctor", "--jsn"], "error: No such option: --jsn (Possible options: --json). See 'recgan doctor --help'."),
        (["import", "folder"], "error: Missing argument 'path'. See 'recgan import --help'."),
        (["train", "gan", "b"], "error: Missing option '--out'. See 'recgan train gan --help'."),
        (["recommend", "d", "-k", "0"], "error: Invalid value for '-k': "),
        (["embed", "b", "--size", "x"], "error: Invalid value for '--size': "),
        (["import", "folder", "b", "--out", "s3://a/b"], "error: 's3://a/b': this is written to a local folder only"),
        (["evaluate", "ranking", "b", "--split", "protocoll=given"], "error: --split protocoll=given: there is no "),
    ],
)
def test_a_command_that_cannot_be_understood_is_told_on_one_line(run, argv, line):
    code, out, err = run(*argv)
    assert (code, out) == (2, "")
    assert err.startswith(line)
    assert err.count("\n") == 1


def test_a_file_where_a_folder_is_to_be_is_told_on_one_line(run, tmp_path):
    (tmp_path / "notes").touch()
    code, out, err = run("boutique", "--items", 10, "--out", tmp_path / "notes" / "catalogue")
    assert (code, out) == (2, "")
    told = f"'{tmp_path}/notes' is a file, not a folder; choose another --out. Nothing was changed"
    assert err == f"error: cannot write '{tmp_path}/notes/catalogue': {told}\n"


def test_help_pages_are_shown(run):
    code, out, err = run("import", "--help")
    assert (code, err) == (0, "")
    assert "Column names of a shop's own export" in " ".join(out.split())
    assert "--interactions" in out
    code, out, err = run("train")
    assert (code, err) == (2, "")
    assert "recommender" in out
    assert "gan" in out
    code, out, _ = run("--version")
    assert code == 0
    assert out.startswith("recgan ")


@pytest.mark.parametrize("verb", ["train recommender", "train gan", "evaluate report", "demo", "import folder", "show"])
def test_a_name_that_is_too_long_is_told_on_one_line(run, line, tmp_path, verb):
    folder, _ = line
    places = {
        "demo": [],
        "import folder": [tmp_path],
        "evaluate report": [folder / "users", "--recommender", folder / "recommender", "--gan", folder / "gan"],
    }
    code, out, err = run(*verb.split(), *places.get(verb, [folder / "users"]), "--out", tmp_path / ("x" * 300))
    assert (code, out) == (2, "")
    assert "File name too long; choose a shorter name" in err
    assert err.startswith("error: ")
    assert err.count("\n") == 1


def test_an_error_of_the_system_anywhere_is_one_line_with_its_place_and_mend(run, monkeypatch, tmp_path):
    import recgan.dataset.importers

    def refused(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied", "/shop/items.csv")

    monkeypatch.setattr(recgan.dataset.importers, "import_bundle", refused)
    code, out, err = run("import", "folder", tmp_path, "--out", tmp_path / "b")
    assert (code, out) == (2, "")
    assert err == "error: '/shop/items.csv': Permission denied; choose a place you may read and write\n"


def test_nothing_left_to_recommend_is_said_with_the_reason(run, tmp_path):
    with BundleWriter(tmp_path / "b", name="two", licence="-", source="-") as writer:
        writer.set_items(pd.DataFrame({"item_id": ["1", "2"], "category": ["hat", "bag"], "available": [True, False]}))
        writer.set_interactions(pd.DataFrame({"user_id": ["ann", "bob"], "item_id": ["1", "1"]}))
    model = tmp_path / "model"
    answered(run("train", "recommender", tmp_path / "b", "--model", "popularity", "--all", "--out", model, "--json"))
    code, _, err = run("recommend", model, "--user", "ann")
    assert code == 0
    assert "nothing is left to recommend: what is available was all taken already; pass --include-seen" in err
    code, out, err = run("recommend", model, "--user", "ann", "--category", "bag", "--json")
    assert json.loads(out) == {"items": []}
    assert "nothing is left to recommend: nothing is available here; try another --category" in err
    code, out, err = run("recommend", model, "--user", "ann", "--include-seen")
    assert "nothing is left" not in err
    assert "hat" in out


def test_a_training_without_validation_says_so_in_plain_words(line, run, tmp_path):
    folder, _ = line
    small = ("--size", 32, "--set", "width=16", "--set", "epochs=2", "--all", "--out", tmp_path / "model")
    code, out, err = run("train", "recommender", folder / "users", "--model", "vbpr", *small)
    assert code == 0
    assert "nan" not in out + err
    assert "note: no validation part, so not tuned: cold_bias; train with one, and give what it chooses" in err


def test_options_of_recommend_that_do_not_go_together_are_refused_with_the_mend(line, run, tmp_path):
    folder, _ = line
    user = ("--user", "user-00001")
    for options, told in (
        (("--all",), "--all writes a file; give --out FILE.parquet"),
        (("--all", "--out", tmp_path, "--overwrite"), f"'{tmp_path}' is a folder; give the name of a file with --out"),
        (("--all", "--out", tmp_path / "x", "--index", "hnsw"), "--all gives the exact lists alone"),
        ((*user, "--data", folder / "users"), "--data is for maps; give --explain, and --out FOLDER for them"),
        ((*user, "--out", tmp_path / "x"), "--out is for --all (the file), and for --explain with --data"),
        ((*user, "--index", "hnsw,probes=3"), "index 'hnsw' has no setting 'probes'; it takes links"),
        ((*user, "--category", "zzz"), "there is no category 'zzz'; the categories are: "),
    ):
        code, out, err = run("recommend", folder / "recommender", *options)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert told in err


def test_an_explanation_names_the_liked_items_that_raise_the_score():
    liked = [("x", -0.9), ("z", 0.51), ("y", 0.2), ("w", 0.0)]
    rows = [{"item_id": "a", "score": 1.5, "category": "Hats"}]
    flat = explained_rows(rows, [Explanation("a", 1.5, {"latent": 2.0, "visual": -0.5}, liked)])
    made_of = {"made of": "+2.000 latent\n-0.500 visual", "because of": "+0.510 z\n+0.200 y"}
    assert flat == [{"item": "a\nHats", "score": 1.5, **made_of}]
    assert [(one["item_id"], one["influence"]) for one in rows[0]["because"]] == liked  # the JSON answer has all


def test_an_explanation_shows_whole_ids_on_a_narrow_terminal(monkeypatch, capsys):
    monkeypatch.setattr(console._stdout, "width", 80)
    ids, long = (
        [f"boutique-{number:05d}" for number in range(4)],
        "shop:womens:[/red]012345678901234567890123456789012345",
    )
    parts = dict.fromkeys(("popularity", "category", "latent", "visual bias", "visual"), -0.125)
    rows = [{"item_id": ids[0], "score": 1.5, "category": "trousers"}]
    flat = explained_rows(rows, [Explanation(ids[0], 1.5, parts, [(one, 0.5) for one in ids[1:]])])
    answer({}, table(flat, list(flat[0])), as_json=False)
    shown = capsys.readouterr().out
    assert all(one in shown for one in [*ids, *parts])
    wide = [{"item_id": long, "score": 1.5, "category": "x" * 70}]
    answer({}, table(wide, ["item_id", "score", "category"]), as_json=False)
    shown = capsys.readouterr().out
    cells = [line.split("│")[1].strip() for line in shown.splitlines() if "│" in line]
    assert "".join(cells) == long  # in several lines, none of it cut off
    assert "1.500" in shown


def test_import_of_a_shops_own_export_has_its_promised_shape(run, tmp_path):
    for name in ("1", "2", "3"):
        Image.new("RGB", (16, 16), (int(name), 0, 0)).save(tmp_path / f"{name}.png")
    (tmp_path / "stock.csv").write_text("sku,type\n1,hat\n2,hat\n3,bag\n4,bag\n", encoding="utf-8")
    (tmp_path / "orders.csv").write_text("customer,sku\nann,1\nann,9\nbob,3\n", encoding="utf-8")
    columns = ["item_id_column=sku", "category_column=type", "user_id_column=customer"]
    answer = answered(
        run(
            *("import", "folder", tmp_path, "--items", "stock.csv", "--interactions", "orders.csv"),
            *(part for column in columns for part in ("--set", column)),
            *("--out", tmp_path / "bundle", "--json"),
        )
    )
    assert answer == {
        "items": 3,
        "images": 3,
        "interactions": 2,
        "users": 2,
        "quarantined": {"missing_image": 1, "unknown_item": 1},
        "duplicates": 0,
    }


def test_show_and_report_tell_where_the_pictures_are(line, run, tmp_path):
    folder, _ = line
    shown = answered(run("show", folder / "users", "--out", tmp_path / "show", "--json"))
    assert tmp_path / "show" / "items.png" in [Path(p) for p in shown["pictures"]]
    assert all(Path(p).stat().st_size > 1000 for p in shown["pictures"])
    places = ["--recommender", folder / "recommender", "--gan", folder / "gan", "--out", tmp_path / "report.html"]
    few = ["--users", 1, "--designs", 1, "--set", "steps=1", "--models", "popularity"]
    answer = answered(run("evaluate", "report", folder / "users", *places, *few, "--json"))
    page = Path(answer["report"]).read_text(encoding="utf-8")
    assert page.count("data:image/") > 5
    assert "popularity" in page


def test_a_setting_of_one_model_reaches_it(line, run):
    folder, _ = line
    options = ["--size", 32, "--set", "vbpr.epochs=1", "--set", "vbpr.width=8"]
    answer = answered(run("evaluate", "ranking", folder / "users", "--models", "vbpr", *options, "--json"))
    assert answer["models"]["vbpr"]["about"]["settings"]["epochs"] == 1
    assert answer["models"]["vbpr"]["about"]["settings"]["width"] == 8


def test_an_id_that_looks_like_markup_is_printed_as_it_is(capsys):
    answer({}, table([{"item_id": "[/x] [red]y"}], ["item_id"]), as_json=False)
    remark("wrote [bold]here")
    fail("no item '[/x]'")
    captured = capsys.readouterr()
    assert "[/x] [red]y" in captured.out
    assert captured.err == "wrote [bold]here\nerror: no item '[/x]'\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_says_so_and_exits_with_130(run, monkeypatch, tmp_path, number, request):
    import recgan.dataset.importers

    # A shell's background job inherits SIGINT as ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, before))

    def interrupted(*_, **__):
        os.kill(os.getpid(), number)

    monkeypatch.setattr(recgan.dataset.importers, "import_bundle", interrupted)
    code, _, err = run("import", "folder", tmp_path, "--out", tmp_path / "b")
    assert code == 130
    assert err == "stopped. Nothing half-written was left.\n"


@pytest.mark.parametrize(
    ("told", "shown"),
    [
        ([], "stopped. Nothing half-written was left.\n"),
        (["What is done is kept."], "stopped. What is done is kept.\n"),
        (["stopped after 20 images; go on with --resume"], "stopped after 20 images; go on with --resume\n"),
    ],
)
def test_ctrl_c_says_so_outside_of_the_work_too_and_once(run, monkeypatch, told, shown):
    import recgan.cli.run

    def interrupted(_):
        raise KeyboardInterrupt(*told)

    monkeypatch.setattr(recgan.cli.run, "run", interrupted)
    assert run("doctor") == (130, "", shown)


def test_what_is_advised_next_can_be_done(run, tmp_path):
    (tmp_path / "photos" / "hat").mkdir(parents=True)
    for name in "abc":
        Image.effect_noise((32, 32), 60).convert("RGB").save(tmp_path / "photos" / "hat" / f"{name}.png")
    (tmp_path / "orders.csv").write_text("user_id,item_id\nu,unknown\n")
    shop = tmp_path / "shop"
    code, _, err = run(
        "import", "folder", tmp_path / "photos", "--interactions", tmp_path / "orders.csv", "--out", shop
    )
    assert code == 0, err
    advice = f"recgan simulate {shop} --out {shop}-users (it has no interactions of its own)"
    assert err.endswith(f"next: recgan show {shop}    or: {advice}\n")
    code, _, err = run("embed", shop, "--encoder", "thumbnail")
    assert code == 0, err
    assert err.endswith(f"next: {advice}\n")


def test_a_generator_begins_with_the_one_that_comes_with_recgan(run, tmp_path, tiny_bundle):
    argv = ("train", "gan", tiny_bundle.path, "--pretrained", "shipped", "--images-seen", 16, "--no-monitor")
    code, _, err = run(*argv, "--size", 32, "--out", tmp_path / "gan")
    assert code == 2
    assert "makes images of 64 px, not 32" in err
    answer = answered(run(*argv, "--out", tmp_path / "gan", "--json"))
    assert answer["recipe"] == "modern-small"
    assert "began with the weights of another generator" in (tmp_path / "gan" / "MODEL_CARD.md").read_text()


@pytest.mark.parametrize(
    ("options", "again"),
    [
        (("--recipe", "dcgan-lsgan"), "--resume"),
        (("--recipe", "modern-small"), "--overwrite"),
        (("--recipe", "dcgan-lsgan", "--on-alarm", "act"), "--overwrite"),
    ],
)
def test_too_short_a_training_says_how_to_train_longer(run, tmp_path, monkeypatch, options, again):
    seen = Quality.look
    monkeypatch.setattr(Quality, "look", lambda *given: replace(look := seen(*given), blank=look.kid / 2))
    bundle = write_bundle(tmp_path / "bundle", items=600, size=16)
    narrow = ("--set", "generator_width=16", "--set", "discriminator_width=16")
    argv = ("train", "gan", bundle.path, *options, *narrow, "--size", 16, "--images-seen", 16)
    code, _, err = run(*argv, "--out", tmp_path / "gan")
    assert code == 0, err
    assert "no nearer to the photos than blank pictures are" in err
    assert f"train longer: {again} with more --images-seen" in err
    code, _, err = run(*argv[:-1], 48, "--out", tmp_path / "gan", again)
    assert code == 0, err


def test_an_answer_that_is_no_text_is_json_all_the_same(capsys):
    answer({"out": "caf\udce9", "name": "café"}, "", as_json=True)
    assert json.loads(capsys.readouterr().out) == {"out": "caf\udce9", "name": "café"}


def test_doctor_finds_this_machine_fit(run):
    answer = answered(run("doctor", "--device", "cpu", "--json"))
    assert answer["ok"] is True
    assert answer["checks"]["torch training step"]["ok"]
    assert answer["versions"]["torch"] != "not installed"


def test_doctor_fails_loudly_when_a_check_fails(run, monkeypatch):
    from recgan import doctor

    monkeypatch.setattr(doctor, "_search", lambda: 1 / 0)
    code, out, err = run("doctor", "--device", "cpu", "--json")
    assert code == 1
    assert json.loads(out)["checks"]["faiss exact search"] == {
        "ok": False,
        "detail": "ZeroDivisionError: division by zero",
    }
    assert "a check failed" in err


def test_a_device_that_is_not_there_is_refused(run):
    code, _, err = run("doctor", "--device", "cuda:7")
    assert code == 2
    assert "use --device auto" in err


def test_progress_off_a_terminal_is_lines_and_the_end_is_told_once(capsys):
    with shown_progress() as progress:
        for done in range(1, 1001):
            progress("counting", done, 1000)
        progress("counting", 1000, 1000)
        progress("ALARM", 0, None, "of a kind")
    assert capsys.readouterr().err == "counting: 1/1,000\ncounting: 1,000/1,000\nALARM: of a kind\n"


def test_training_a_generator_needs_neither_web_nor_index_libraries():
    code = (
        "import sys, recgan.gan, recgan.cli.run\n"
        "loaded = {'fastapi', 'faiss', 'implicit', 'sklearn', 'matplotlib', 'tensorboard'} & set(sys.modules)\n"
        "assert not loaded, loaded"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_no_help_holds_bare_brackets_which_would_not_be_shown():
    def options(command):
        yield from command.params
        for below in getattr(command, "commands", {}).values():
            yield from options(below)

    known = list(options(typer.main.get_command(all_verbs)))
    assert len(known) > 100
    assert [option.name for option in known if re.search(r"(?<!\\)\[", getattr(option, "help", None) or "")] == []
