import pytest
from pydantic import ValidationError

from recgan.config import SplitSettings, VBPRSettings, overridden
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


def test_unknown_names_are_refused_in_code_too():
    with pytest.raises(ValidationError, match="latent_dims"):
        VBPRSettings(latent_dims=8)


def test_each_setting_is_documented():
    undocumented = {n for n, f in SplitSettings.model_fields.items() if not f.description}
    assert undocumented == set()
