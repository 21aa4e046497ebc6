"""The parts that network families share, and what is particular to a family, by numbers worked out by hand."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from recgan.config import Recipe
from recgan.errors import SettingsError
from recgan.gan import build_networks, design_seeds, find_recipe, latents
from recgan.gan.conditioning import ClassEmbedding, Modulation
from recgan.gan.layers import (
    Dropout,
    EqualConv2d,
    EqualLinear,
    MinibatchDeviation,
    MinibatchDiscrimination,
    Noise,
    SelfAttention,
    SpectralConv2d,
    SpectralLinear,
    doublings,
    initialise,
    normalised,
    randomness,
    unit_length,
    widths,
)
from recgan.gan.layers.company import _Company
from recgan.gan.networks.base import Discriminator
from recgan.gan.training.averaging import calibrate, copy_buffers
from recgan.gan.training.schedules import advance, cosine


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def begun(layer: nn.Module) -> nn.Module:
    initialise(layer, seeded(), nn.init.normal_)
    return layer


def tiny(name: str, **changes: object) -> Recipe:
    narrow = {"generator_width": 16, "discriminator_width": 16, "latent_dim": 12, "class_dim": 8, "batch_size": 4}
    return Recipe(**(find_recipe(name).model_dump() | narrow | changes))


# sizes


def test_widths_halve_as_the_side_doubles_in_whole_groups() -> None:
    assert widths(72, 128) == [72, 32, 16, 8, 8]
    assert widths(256, 32, last=True) == [256, 128, 64, 32]


@pytest.mark.parametrize("size", [0, 8, 24, 100])
def test_only_powers_of_two_from_16_on_are_sizes(size: int) -> None:
    with pytest.raises(SettingsError, match=f"size {size}: .*power of two"):
        doublings(size)


# schedules


def test_the_cosine_goes_from_one_to_its_end() -> None:
    assert [cosine(0.2, share) for share in (0.0, 0.5, 1.0, 3.0)] == pytest.approx([1.0, 0.6, 0.2, 0.2])
    assert cosine(0.0, 0.25) == pytest.approx((1 + math.sqrt(0.5)) / 2)


def test_a_class_gains_its_influence_along_the_warm_up() -> None:
    embedding = begun(ClassEmbedding(3, 4, warm_up=0.2))
    classes = torch.tensor([0, 2])
    for share, strength in ((0.0, 0.0), (0.05, 0.25), (0.2, 1.0), (1.0, 1.0)):
        advance(embedding, share)
        torch.testing.assert_close(embedding(classes), embedding.weight[classes] * strength)


def test_a_network_grows_one_side_after_the_other() -> None:
    generator, _ = build_networks(tiny("progressive", growth=0.8), 2, 32, seeded())
    grown = []
    # four sides, each a fifth of the run: 4 px alone, then half a fifth of fading and half of settling
    for share in (0.0, 0.19, 0.25, 0.3, 0.39, 0.41, 0.7, 0.8, 1.0):
        advance(generator, share)
        grown.append(generator.growth.grown.item())
    assert grown == pytest.approx([0, 0, 0.5, 1, 1, 1.1, 3, 3, 3])


def test_a_small_resolution_is_shown_in_blocks_and_judged_by_means() -> None:
    recipe = tiny("progressive", growth=0.8)
    generator, discriminator = (network.eval() for network in build_networks(recipe, 2, 32, seeded()))
    for network in (generator, discriminator):
        advance(network, 0.39)  # 8 px, settled
    classes = torch.tensor([0, 1])
    images = generator(torch.randn(2, 12, generator=seeded()), classes)
    assert torch.equal(images, images[:, :, ::4, ::4].repeat_interleave(4, 2).repeat_interleave(4, 3))
    checks = (torch.arange(32)[:, None] + torch.arange(32)) % 2 * 2.0 - 1
    judged = discriminator(images, classes)
    torch.testing.assert_close(discriminator(images + checks, classes), judged, atol=1e-4, rtol=1e-4)
    advance(discriminator, 1.0)
    assert not torch.allclose(discriminator(images + checks, classes), discriminator(images, classes), atol=1e-3)


def test_a_new_side_fades_in() -> None:
    generator, _ = build_networks(tiny("progressive", growth=0.8), 2, 32, seeded())
    z, classes = torch.randn(2, 12, generator=seeded()), torch.tensor([0, 1])

    def raw(share: float) -> torch.Tensor:
        advance(generator, share)
        return generator(z, classes).atanh()

    old, new = raw(0.19), raw(0.3)
    torch.testing.assert_close(raw(0.225), 0.75 * old + 0.25 * new, atol=1e-4, rtol=1e-3)


# chance


def test_dropout_drops_its_share_and_keeps_the_mean() -> None:
    layer, x = Dropout(0.25), torch.ones(100, 200)
    assert torch.equal(layer.eval()(x), x)
    layer.train()
    with randomness(seeded(), layer):
        dropped = layer(x)
    assert dropped.unique().tolist() == pytest.approx([0, 4 / 3])
    assert (dropped == 0).float().mean().item() == pytest.approx(0.25, abs=0.01)
    with randomness(seeded(), layer):
        assert torch.equal(layer(x), dropped)
    with pytest.raises(RuntimeError, match="within 'randomness' only"):
        layer(x)


def test_noise_is_one_fixed_map_in_use() -> None:
    layer = begun(Noise(2, 4))
    with torch.no_grad():
        layer.strength.copy_(torch.tensor([1.0, 2.0]))
    x = torch.zeros(3, 2, 4, 4)
    used = layer.eval()(x)
    assert torch.equal(used[0], used[2])
    torch.testing.assert_close(used[:, 1], 2 * used[:, 0])
    layer.train()
    with randomness(seeded(1), layer):
        first, second = layer(x), layer(x)
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(first, second)


# weights


@pytest.mark.parametrize(
    ("layer", "x"),
    [(SpectralLinear(30, 20), torch.zeros(1, 30)), (SpectralConv2d(3, 8, 3), torch.zeros(1, 3, 5, 5))],
    ids=["linear", "convolution"],
)
def test_spectral_norm_brings_the_largest_singular_value_to_one(layer: nn.Module, x: torch.Tensor) -> None:
    begun(layer).train()
    for _ in range(100):
        layer(x)
    used = normalised(layer.weight, layer.u, False).flatten(1)
    assert torch.linalg.svdvals(used)[0].item() == pytest.approx(1, abs=1e-3)
    direction = layer.u.clone()
    layer.eval()(x)
    assert torch.equal(layer.u, direction)  # in use nothing moves


def test_equalised_layers_have_unit_variance_and_a_runtime_scale() -> None:
    layer = begun(EqualLinear(400, 300, gain=2.0, rate=0.01))
    assert layer.weight.std().item() == pytest.approx(100, rel=0.02)
    x = torch.randn(500, 400, generator=seeded(1))
    assert layer(x).std().item() == pytest.approx(2.0, rel=0.05)
    convolution = begun(EqualConv2d(16, 200, 3, gain=1.0))
    assert convolution.weight.std().item() == pytest.approx(1, rel=0.02)
    torch.testing.assert_close(convolution.scaled, convolution.weight / 12)  # sqrt(16 * 9)


def test_unit_length_normalises_each_pixel() -> None:
    x = torch.randn(2, 5, 3, 3, generator=seeded())
    torch.testing.assert_close(unit_length(x).square().mean(dim=1), torch.ones(2, 3, 3))


def test_attention_begins_as_the_identity_and_then_mixes_places() -> None:
    layer = begun(SelfAttention(16, nn.Conv2d))
    x = torch.randn(2, 16, 8, 8, generator=seeded())
    assert torch.equal(layer(x), x)
    with torch.no_grad():
        layer.gamma.fill_(1.0)
    changed = x.clone()
    changed[:, :, 0, 0] += 5
    assert ((layer(changed) - layer(x))[:, :, 7, 7].abs() > 1e-6).any()


# company


def test_minibatch_deviation_is_the_mean_spread_of_the_features() -> None:
    layer = begun(MinibatchDeviation())
    x = torch.tensor([[0.0, 1.0], [2.0, 1.0], [0.0, 1.0], [2.0, 1.0]])
    # the first feature has standard deviation 1, the second 0
    assert torch.allclose(layer(x), torch.cat([x, torch.full((4, 1), 0.5)], 1), atol=1e-3)
    layer.eval()
    assert layer(x)[:, 2].tolist() == pytest.approx([0.005] * 4, abs=1e-4)  # 1 % of the way from 0
    x.requires_grad_()
    layer.train()(x)[:, 2].sum().backward()
    assert x.grad is not None
    assert torch.isfinite(x.grad).all()


def test_minibatch_discrimination_sums_what_is_near() -> None:
    layer = begun(MinibatchDiscrimination(2))
    x = torch.tensor([[1.0, 2.0], [1.0, 2.0], [50.0, -40.0]])
    extra = layer(x)[:, 2:]
    assert extra.shape == (3, 16)
    torch.testing.assert_close(extra[:2], torch.ones(2, 16), atol=1e-3, rtol=0)  # each has one twin
    torch.testing.assert_close(extra[2], torch.zeros(16), atol=1e-3, rtol=0)
    near = torch.tensor([[0.0, 0.0], [0.1, 0.0]])
    m = (0.1 * layer.project.weight[:, 0]).view(16, 8).abs().sum(1)
    torch.testing.assert_close(layer(near)[0, 2:], (-m).exp(), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("minibatch", ["deviation", "discrimination"])
@pytest.mark.parametrize("name", ["dcgan-lsgan", "modern", "cgan"])
def test_company_and_dropout_are_options_of_every_family(name: str, minibatch: str) -> None:
    _, discriminator = build_networks(tiny(name, minibatch=minibatch, dropout=0.5), 2, 32, seeded())
    advance(discriminator, 1.0)
    images, classes = torch.randn(4, 3, 32, 32, generator=seeded()), torch.tensor([0, 1, 0, 1])
    with torch.no_grad():
        discriminator.dense.weight.fill_(0.1)
    with randomness(seeded(), discriminator):
        first, second = discriminator(images, classes), discriminator(images, classes)
    assert not torch.equal(first, second)
    discriminator.eval()
    assert torch.equal(discriminator(images, classes), discriminator(images, classes))


# conditioning


def test_modulation_scales_and_shifts_by_the_style() -> None:
    layer = Modulation(2, 1, norm="none")
    with torch.no_grad():
        layer.gain.weight.copy_(torch.tensor([[1.0], [0.0]]))
        layer.shift.weight.copy_(torch.tensor([[0.0], [3.0]]))
        layer.gain.bias.zero_()
        layer.shift.bias.zero_()
    x = torch.ones(2, 2, 1, 1)
    assert layer(x, torch.tensor([[0.5], [2.0]])).flatten(1).tolist() == [[1.5, 2.5], [3.0, 7.0]]


def test_projection_is_an_inner_product_of_class_and_features() -> None:
    _, discriminator = build_networks(tiny("modern", class_warm_up=0.0), 3, 32, seeded())
    images = torch.randn(2, 3, 32, 32, generator=seeded())
    features = discriminator.features(images, torch.tensor([0, 0]))
    one, two = (discriminator(images, torch.tensor([index] * 2)) for index in (1, 2))
    difference = discriminator.projection.weight[1] - discriminator.projection.weight[2]
    torch.testing.assert_close(one - two, features @ difference / math.sqrt(16), atol=1e-5, rtol=1e-4)


def test_a_discriminator_that_names_the_class_judges_both() -> None:
    _, discriminator = build_networks(tiny("acgan"), 3, 32, seeded())
    discriminator.eval()
    images, classes = torch.randn(2, 3, 32, 32, generator=seeded()), torch.tensor([2, 0])
    judgement = discriminator.judge(images, classes)
    assert torch.equal(judgement.logits, discriminator.judge(images, classes.flip(0)).logits)
    named = judgement.class_logits.softmax(1)[torch.arange(2), classes].log()
    torch.testing.assert_close(discriminator(images, classes), judgement.logits + named)


def test_the_code_is_the_last_of_z_and_reading_it_teaches_the_generator() -> None:
    recipe = tiny("infogan", code_dim=3)
    generator, discriminator = build_networks(recipe, 2, 32, seeded())
    z = torch.randn(4, 12, generator=seeded()).requires_grad_()
    read = discriminator.judge(generator(z, torch.tensor([0, 1, 0, 1])), torch.tensor([0, 1, 0, 1])).code
    assert read.shape == (4, 6)
    read.sum().backward()
    assert generator.dense.weight.grad.abs().sum() > 0


# the style-based generator


def test_designs_can_be_edited_in_w() -> None:
    generator, _ = build_networks(tiny("stylegan-lite"), 2, 32, seeded())
    generator.eval()
    z, classes = torch.randn(2, 12, generator=seeded()), torch.tensor([0, 1])
    w = generator.mapping(z, classes)
    assert w.shape == (2, 12)
    assert torch.equal(generator.synthesis(w), generator(z, classes))
    assert torch.allclose(generator.mapping(2 * z, classes), w, atol=1e-5)  # the length of z says nothing
    assert not torch.allclose(generator.synthesis(w + 0.5), generator.synthesis(w), atol=1e-3)


def test_scaling_activations_is_scaling_the_weights_of_each_image() -> None:
    generator, _ = build_networks(tiny("stylegan-lite"), 2, 32, seeded())
    layer = generator.first.eval()
    x, w = torch.randn(3, 16, 4, 4, generator=seeded()), torch.randn(3, 12, generator=seeded(1))
    got = layer(x, w)
    for row in range(3):
        weight = layer.convolution.scaled * (1 + layer.style(w[row]))[None, :, None, None]
        weight = weight / weight.square().sum(dim=(1, 2, 3), keepdim=True).sqrt()
        expected = F.leaky_relu(F.conv2d(x[row : row + 1], weight, padding=1), 0.2) * math.sqrt(2)
        torch.testing.assert_close(got[row : row + 1], expected, atol=1e-5, rtol=1e-4)


# residual blocks


def test_blocks_without_norm_begin_as_the_identity() -> None:
    generator, _ = build_networks(tiny("modern"), 2, 32, seeded())
    x, style = torch.randn(2, 16, 4, 4, generator=seeded()), torch.randn(2, 20, generator=seeded(1))
    assert torch.equal(generator.stages[0][0](x, style), x)


# strided residual networks


def test_group_norm_lets_every_image_be_modulated_by_itself() -> None:
    layer = begun(Modulation(16, 3, norm="group"))
    x, style = torch.randn(4, 16, 4, 4, generator=seeded(1)) * 7 + 2, torch.zeros(4, 3)
    got = layer(x, style)
    groups = x.view(4, 8, -1)  # eight groups of two channels
    wanted = (groups - groups.mean(2, keepdim=True)) / groups.std(2, correction=0, keepdim=True)
    torch.testing.assert_close(got, wanted.view_as(x), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(layer(x[:1], style[:1]), got[:1])


def test_strided_residual_networks_compute_little_at_full_resolution() -> None:
    generator, discriminator = build_networks(find_recipe("modern-small"), 2, 64, seeded())
    inputs: list[tuple[int, ...]] = []
    for module in [*generator.modules(), *discriminator.modules()]:
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.GroupNorm):
            module.register_forward_pre_hook(lambda module, args: inputs.append(tuple(args[0].shape[1:])))
    images = generator(torch.randn(2, 128, generator=seeded()), torch.tensor([0, 1]))
    discriminator(images, torch.tensor([0, 1]))
    # G's last two norms and convolutions, and D's first convolution, of stride 2.
    assert [shape for shape in inputs if shape[1] > 32] == [(32, 64, 64)] * 2 + [(16, 64, 64)] * 2 + [(3, 64, 64)]


@pytest.mark.parametrize(("width", "size"), [(320, 64), (160, 32), (80, 16), (8, 128)])
def test_strided_residual_networks_have_any_width_and_size(width: int, size: int) -> None:
    generator, _ = build_networks(tiny("modern-small", generator_width=width), 2, size, seeded())
    images = generator(torch.randn(2, 12, generator=seeded()), torch.tensor([0, 1]))
    assert images.shape == (2, 3, size, size)


def test_transposed_convolutions_keep_variances_at_first() -> None:
    generator, _ = build_networks(find_recipe("modern-small"), 2, 32, seeded())
    for layer in generator.layers:
        x = torch.randn(16, layer.in_channels, 8, 8, generator=seeded(1))
        made = layer(x)[..., 2:-2, 2:-2]  # at the border fewer weights meet
        assert made.std().item() == pytest.approx((2 / (1 + 0.2**2)) ** 0.5, rel=0.1)


def test_strided_residual_networks_keep_variances_at_first() -> None:
    generator, discriminator = build_networks(find_recipe("modern-small"), 2, 64, seeded())
    found: list[float] = []
    for module in [*generator.modulations, *discriminator.layers]:
        module.register_forward_pre_hook(lambda module, args: found.append(args[0].std().item()))
    classes = torch.arange(16) % 2
    with torch.no_grad():
        images = generator(torch.randn(16, 128, generator=seeded(1)), classes)
        discriminator(F.interpolate(torch.randn(16, 3, 4, 4, generator=seeded(2)), scale_factor=16), classes)
    assert all(0.5 < deviation < 1.7 for deviation in found), found
    assert images.abs().mean() < 0.5  # where tanh is steep


# averages and samples


def test_the_average_gets_the_buffers_of_what_it_averages() -> None:
    recipe = tiny("biggan-lite")
    live, average = (build_networks(recipe, 2, 32, seeded(seed))[0] for seed in (0, 1))
    copy_buffers(average, live)
    for (name, one), other in zip(average.named_buffers(), live.buffers()):
        assert torch.equal(one, other), name
    assert not torch.equal(average.dense.weight, live.dense.weight)


def test_calibration_settles_the_spectral_norms() -> None:
    generator, _ = build_networks(tiny("biggan-lite"), 2, 32, seeded())
    batches = [(torch.randn(4, 12, generator=seeded(seed)), torch.tensor([0, 1, 0, 1])) for seed in range(60)]
    calibrate(generator, batches)
    assert not generator.training
    weight, u = generator.dense.weight.detach(), generator.dense.u
    estimate = u @ weight @ F.normalize(weight.T @ u, dim=0)
    assert estimate.item() == pytest.approx(torch.linalg.svdvals(weight)[0].item(), rel=0.02)


def test_truncated_samples_redraw_what_lies_far_out() -> None:
    recipe = find_recipe("biggan-lite").model_copy(update={"truncation": 0.7, "latent_std": 2.0})
    free = recipe.model_copy(update={"truncation": None})
    seeds = design_seeds(0, 60)
    z, unbounded = latents(seeds, recipe), latents(seeds, free)
    assert z.abs().max() <= 1.4
    assert torch.equal(latents(seeds[5:6], recipe)[0], z[5])
    near = unbounded.abs() <= 1.4
    assert torch.equal(z[near], unbounded[near])
    # the variance of a standard normal cut at 0.7 is 1 - 2 * 0.7 phi(0.7) / (2 Phi(0.7) - 1)
    density = math.exp(-0.245) / math.sqrt(2 * math.pi)
    expected = 1 - 1.4 * density / math.erf(0.7 / math.sqrt(2))
    assert np.var(z.numpy() / 2) == pytest.approx(expected, rel=0.05)


# families


def test_what_a_family_must_give_is_abstract() -> None:
    class Headless(Discriminator):
        pass

    class Alone(_Company):
        pass

    for kind, name in ((Headless, "features"), (partial(Alone, 1), "statistics")):
        with pytest.raises(TypeError, match=f"abstract method '?{name}"):
            kind()
