"""The networks: `kang2017` to the letter, `dcgan` at every size."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from recgan.config import Recipe
from recgan.errors import SettingsError
from recgan.gan import build_networks, find_recipe
from recgan.gan.networks import empty_networks

SMALL = Recipe(name="small", generator_width=32, discriminator_width=32, latent_dim=8, class_dim=4)


def build(recipe: Recipe, n_classes: int, size: int, seed: int = 0) -> tuple[torch.nn.Module, torch.nn.Module]:
    return build_networks(recipe, n_classes, size, torch.Generator().manual_seed(seed))


def shapes(network: torch.nn.Module, kind: type) -> list[tuple[int, ...]]:
    return [tuple(module.weight.shape) for module in network.modules() if isinstance(module, kind)]


def size_of(network: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


# kang2017: the published layers


def test_kang2017_generator_has_the_published_layers() -> None:
    generator, _ = build(find_recipe("kang2017"), 6, 64)
    assert shapes(generator, torch.nn.Linear) == [(4 * 4 * 256, 256 + 6)]
    # torch's layout of a transposed convolution is [in, out, height, width].
    assert shapes(generator, torch.nn.ConvTranspose2d) == [
        (256, 256, 3, 3),
        (256, 256, 3, 3),
        (256, 256, 3, 3),
        (256, 256, 3, 3),
        (256, 128, 3, 3),
        (128, 64, 3, 3),
        (64, 3, 3, 3),
    ]
    strides = [m.stride[0] for m in generator.modules() if isinstance(m, torch.nn.ConvTranspose2d)]
    assert strides == [2, 1, 2, 1, 2, 2, 1]
    assert shapes(generator, torch.nn.BatchNorm2d) == [(256,)] * 5 + [(128,), (64,)]
    # dense 262*4096 + 4096; 4 x (256*256*9 + 256); 256*128*9 + 128; 128*64*9 + 64; 64*3*9 + 3;
    # norms 2*(5*256 + 128 + 64)
    assert size_of(generator) == 1_077_248 + 4 * 590_080 + 295_040 + 73_792 + 1_731 + 2_944 == 3_811_075


def test_kang2017_discriminator_has_the_published_layers() -> None:
    _, discriminator = build(find_recipe("kang2017"), 6, 64)
    assert shapes(discriminator, torch.nn.Conv2d) == [
        (64, 3 + 6, 5, 5),
        (128, 64 + 6, 5, 5),
        (256, 128 + 6, 5, 5),
        (512, 256 + 6, 5, 5),
    ]
    assert all(m.stride == (2, 2) for m in discriminator.modules() if isinstance(m, torch.nn.Conv2d))
    assert shapes(discriminator, torch.nn.BatchNorm2d) == [(128,), (256,), (512,)]
    assert shapes(discriminator, torch.nn.Linear) == [(1, 4 * 4 * 512)]
    # 9*64*25 + 64; 70*128*25 + 128; 134*256*25 + 256; 262*512*25 + 512; norms 2*(128 + 256 + 512); 8192 + 1
    assert size_of(discriminator) == 14_464 + 224_128 + 857_856 + 3_354_112 + 1_792 + 8_193 == 4_460_545


def test_kang2017_initial_weights_are_those_of_the_released_code() -> None:
    generator, discriminator = build(find_recipe("kang2017"), 6, 64)
    weight = generator.layers[0].weight
    assert weight.std().item() == pytest.approx(0.02, rel=0.01)
    assert weight.abs().max().item() > 0.06  # not truncated
    truncated = discriminator.layers[3].weight
    assert truncated.abs().max().item() <= 0.04
    # The standard deviation of a normal distribution truncated at two standard deviations is 0.8796 of its own.
    assert truncated.std().item() == pytest.approx(0.8796 * 0.02, rel=0.01)
    assert not discriminator.layers[3].bias.any()
    assert not generator.dense.bias.any()


def test_kang2017_discriminator_pads_as_tensorflow_does() -> None:
    """SAME padding at stride 2 and kernel 5 is one row above and two below, so output (0, 0) is centred on input
    (1, 1): it sees input rows -1 to 3, of which row -1 is padding."""
    _, discriminator = build(find_recipe("kang2017"), 1, 64)
    layer = discriminator.layers[0]
    with torch.no_grad():
        layer.weight.zero_()
        layer.weight[:, 0] = torch.arange(25.0).view(5, 5)  # of the first image channel only
    seen = {}
    layer.register_forward_hook(lambda module, args, output: seen.update(output=output))
    images = torch.zeros(1, 3, 64, 64)
    images[0, 0, 0, 0] = 1
    discriminator(images, torch.zeros(1, dtype=torch.int64))
    assert seen["output"].shape == (1, 64, 32, 32)
    assert seen["output"][0, 0, 0, 0].item() == 6  # tap (1, 1) of 5 x 5: 1*5 + 1


def test_kang2017_transposed_convolution_is_the_gradient_of_a_same_convolution() -> None:
    """TensorFlow defines it so: stride 2, kernel 3, SAME padding (none above, one below) from 16 to 8 px."""
    generator, _ = build(find_recipe("kang2017"), 2, 64)
    seen = {}
    generator.layers[2].register_forward_hook(lambda module, args, output: seen.update(x=args[0], output=output))
    generator.norms[3].register_forward_hook(lambda module, args, output: seen.update(next=args[0]))
    generator(torch.randn(2, 256, generator=torch.Generator().manual_seed(1)), torch.tensor([0, 1]))
    weight, bias = generator.layers[2].weight, generator.layers[2].bias
    big = torch.zeros(2, 256, 16, 16, requires_grad=True)
    small = F.conv2d(F.pad(big, (0, 1, 0, 1)), weight, stride=2)
    (gradient,) = torch.autograd.grad(small, big, grad_outputs=seen["x"])
    torch.testing.assert_close(seen["next"], gradient + bias[:, None, None], atol=1e-4, rtol=1e-4)


def test_kang2017_refuses_other_sizes_and_very_many_classes() -> None:
    with pytest.raises(SettingsError, match="64 px only, not 32"):
        build(find_recipe("kang2017"), 6, 32)
    with pytest.raises(SettingsError, match=r"at most 256 categories.*dcgan-lsgan"):
        build(find_recipe("kang2017"), 257, 64)


# dcgan


@pytest.mark.parametrize("size", [16, 32, 64, 128])
def test_dcgan_makes_and_judges_squares_of_its_size(size: int) -> None:
    generator, discriminator = build(SMALL, 3, size)
    images = generator(torch.randn(2, 8), torch.tensor([0, 2]))
    assert images.shape == (2, 3, size, size)
    assert images.abs().max() <= 1
    assert discriminator(images, torch.tensor([0, 2])).shape == (2,)


def test_dcgan_widths_halve_as_the_side_doubles_down_to_eight() -> None:
    recipe = SMALL.model_copy(update={"generator_width": 72, "discriminator_width": 128})
    generator, discriminator = build(recipe, 3, 128)
    upwards = [shape[:2] for shape in shapes(generator, torch.nn.ConvTranspose2d)]
    # 72, 36, 18, 9, 4 in whole eights, and no fewer than eight
    assert upwards == [(72, 32), (32, 16), (16, 8), (8, 8), (8, 3)]
    downwards = [shape[:2] for shape in shapes(discriminator, torch.nn.Conv2d)][:5]
    assert downwards == [(8, 3), (16, 8), (32, 16), (64, 32), (128, 64)]


@pytest.mark.parametrize("size", [0, 8, 24, 48, 100])
def test_dcgan_refuses_sizes_that_are_no_power_of_two_from_16_on(size: int) -> None:
    with pytest.raises(SettingsError, match=f"size {size}: .*power of two"):
        build(SMALL, 3, size)


def test_dcgan_costs_little_for_forty_thousand_classes() -> None:
    few, _ = empty_networks(SMALL, 10, 32)
    many, _ = empty_networks(SMALL, 40_000, 32)
    assert size_of(many) - size_of(few) == 39_990 * SMALL.class_dim
