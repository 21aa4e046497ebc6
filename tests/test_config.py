import pytest
from pydantic import ValidationError

from recgan.config import DesignSettings, SplitSettings, VBPRSettings, overridden
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
    with pytest.raises(SettingsError, match=r"^starts=99: the starts are the best of the 8 samples; set samples too$"):
        overridden(DesignSettings(), ["starts=99"])
    with pytest.raises(SettingsError, match=r"^epochs='x{56}\.\.\.: Input should be"):
        overridden(VBPRSettings(), ["epochs=" + "x" * 1000])


def test_unknown_names_are_refused_in_code_too():
    with pytest.raises(ValidationError, match="latent_dims"):
        VBPRSettings(latent_dims=8)


def test_each_setting_is_documented():
    undocumented = {n for n, f in SplitSettings.model_fields.items() if not f.description}
    assert undocumented == set()
