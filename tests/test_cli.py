import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from recgan import cli
from recgan.cli.app import table
from recgan.console import answer, fail, remark, shown_progress


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
    answer = answered(
        run(
            *("design", "--recommender", folder / "recommender", "--gan", folder / "gan", "--user", "user-00001"),
            *("--category", category, "-n", 2, "--seed", 3, *fast, "--out", tmp_path / "designs", "--json"),
        )
    )
    assert len(answer["designs"]) == 2
    for design in answer["designs"]:
        assert {"image", "z", "category", "seed", "score", "percentile", "nearest", "settings"} <= set(design)
        assert design["category"] == category
        assert 0 <= design["percentile"] <= 100
        assert set(design["nearest"][0]) == {"item_id", "distance"}
        path = tmp_path / "designs" / design["image"]
        assert Image.open(path).size == (32, 32)


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


def test_ctrl_c_says_so_and_exits_with_130(run, monkeypatch, tmp_path):
    import recgan.dataset.importers

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(recgan.dataset.importers, "import_bundle", interrupted)
    code, _, err = run("import", "folder", tmp_path, "--out", tmp_path / "b")
    assert code == 130
    assert "Nothing half-written was left" in err


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
    assert capsys.readouterr().err == "counting: 1/1,000\ncounting: 1,000/1,000\n"


def test_training_a_generator_needs_neither_web_nor_index_libraries():
    code = (
        "import sys, recgan.gan, recgan.cli\n"
        "loaded = {'fastapi', 'faiss', 'implicit', 'sklearn', 'matplotlib', 'tensorboard'} & set(sys.modules)\n"
        "assert not loaded, loaded"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
