import os
import subprocess
import sys

import pytest
import torch
from pydantic import ValidationError

from recgan.config import (
    BlendSettings,
    DesignSettings,
    IndexSettings,
    SplitSettings,
    VBPRSettings,
    index_settings,
    overridden,
)
from recgan.device import available_cores, torch_threads
from recgan.errors import SettingsError


def test_values_are_json_or_strings():
    settings = overridden(SplitSettings(), ["cold_share=0.2", "protocol=global_time", 'negative_events=["dislike"]'])
    assert settings.cold_share == 0.2
    assert settings.protocol == "global_time"
    assert settings.negative_events == ("dislike",)


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("latent_dims=8", "did you mean 'latent_dim'"),
        ("wholly_else=8", "the settings are: "),
        ("latent_dim", "write it as name=value"),
        ("latent_dim=-1", "greater than or equal to 0"),
        ("latent_dim=many", "valid integer"),
        ("learning_rate=inf", "finite number"),
        ("cold_bias=NaN", "finite number"),
    ],
)
def test_a_wrong_assignment_says_the_mend(assignment, message):
    with pytest.raises(SettingsError, match=message):
        overridden(VBPRSettings(), [assignment])


def test_the_option_is_the_one_that_was_given_and_pydantics_words_end_where_a_persons_do():
    with pytest.raises(SettingsError, match=r"^--split protocoll=given: there is no setting .*'protocol'\?$"):
        overridden(SplitSettings(), ["protocoll=given"], "--split")
    with pytest.raises(SettingsError, match=r"^--split given: write it as name=value$"):
        overridden(SplitSettings(), ["given"], "--split")
    with pytest.raises(SettingsError, match=r"^cold_share=2: Input should be less than 1$"):
        overridden(SplitSettings(), ["cold_share=2"], "--split")
    with pytest.raises(
        SettingsError, match=r"^starts=999: the starts are the best of the 256 samples; set samples too$"
    ):
        overridden(DesignSettings(), ["starts=999"])
    with pytest.raises(SettingsError, match=r"^epochs='x{56}\.\.\.: Input should be"):
        overridden(VBPRSettings(), ["epochs=" + "x" * 1000])


def test_an_index_is_a_kind_and_its_own_settings():
    assert index_settings("flat") == IndexSettings()
    assert index_settings("hnsw, search_width=256,links=8") == IndexSettings(kind="hnsw", search_width=256, links=8)
    assert index_settings("ivf,lists=null,probes=4") == IndexSettings(kind="ivf", probes=4)
    for text, told in {
        "hsnw": r"^there is no index 'hsnw'; did you mean 'hnsw'\?$",
        "": "^there is no index ''; use flat, ivf, hnsw$",
        "hnsw,probes=3": "^index 'hnsw' has no setting 'probes'; it takes links, build_width, search_width$",
        "flat,links=3": "^index 'flat' has no setting 'links'; it takes none$",
        "ivf,probes": "^--index probes: write it as name=value$",
        "ivf,probes=0": "^probes=0: Input should be greater than or equal to 1$",
        "hnsw,search_width=9999999999": "less than or equal to 1048576",
    }.items():
        with pytest.raises(SettingsError, match=told):
            index_settings(text)


def test_unknown_names_are_refused_in_code_too():
    with pytest.raises(ValidationError, match="latent_dims"):
        VBPRSettings(latent_dims=8)


def test_settings_that_do_not_fit_together_are_told_without_all_the_others():
    with pytest.raises(SettingsError, match=r"^parts: name each model once$"):
        overridden(BlendSettings(), ['parts=["vbpr", "vbpr"]'])


def test_each_setting_is_documented():
    undocumented = {n for n, f in SplitSettings.model_fields.items() if not f.description}
    assert undocumented == set()


@pytest.mark.parametrize(("told", "threads"), [("3", 3), ("", None), ("many", None), ("0", None)])
def test_torch_runs_on_as_many_threads_as_the_environment_says(monkeypatch, told, threads):
    monkeypatch.setenv("OMP_NUM_THREADS", told)
    before = torch.get_num_threads()
    with torch_threads() as count:
        assert count == torch.get_num_threads() == (threads or available_cores())
    assert torch.get_num_threads() == before
    with torch_threads(2) as count:
        assert count == 2


@pytest.mark.parametrize(("said", "then"), [("", "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_threads_that_wait_sleep_where_nobody_says_otherwise(said, then):
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    environment |= {"OMP_WAIT_POLICY": said} if said else {}
    program = "import os, recgan; print(os.environ['OMP_WAIT_POLICY'])"
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == then
