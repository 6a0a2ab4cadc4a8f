"""The tokenizer's promises: shapes, integers, and that it can learn what it is shown."""

import pytest
import torch

from gwm_sim.errors import ConfigError
from gwm_sim.model.config import TokenizerConfig
from gwm_sim.model.tokenizer import Tokenizer, median_background, to_frames, to_images


def scene(count: int, seed: int = 0) -> torch.Tensor:
    """Frames (count, 32, 32, 3) with one red square on grey."""
    generator = torch.Generator().manual_seed(seed)
    frames = torch.full((count, 32, 32, 3), 150, dtype=torch.uint8)
    for frame, (y, x) in zip(frames, torch.randint(0, 26, (count, 2), generator=generator).tolist(), strict=True):
        frame[y : y + 6, x : x + 6] = torch.tensor([200, 20, 20], dtype=torch.uint8)
    return frames


def test_codes_are_small_integers_of_the_announced_shape() -> None:
    config = TokenizerConfig(height=32, width=32, channels=8)
    codes = Tokenizer(config).encode(scene(6).reshape(2, 3, 32, 32, 3))
    assert codes.shape == (2, 3, config.tokens, config.token_numbers)
    assert codes.dtype == torch.uint8
    assert codes.max() < config.levels


def test_decode_undoes_the_packing_of_encode() -> None:
    """One changed code moves pixels in its own neighbourhood, the receptive field of the decoder, not elsewhere."""
    torch.manual_seed(0)
    tokenizer = Tokenizer(TokenizerConfig(height=128, width=128, channels=8)).eval()
    codes = torch.full((1, 64, 20), 2, dtype=torch.uint8)
    changed = codes.clone()
    changed[0, 0, 0] = 4  # a number of the cell in the upper left corner
    difference = (tokenizer.decode(codes).int() - tokenizer.decode(changed).int()).abs().sum(-1)[0]
    assert difference[:16, :16].any()
    assert not difference[96:, 96:].any()


def test_a_hastened_tokenizer_moves_as_a_whole() -> None:
    tokenizer = Tokenizer(TokenizerConfig(height=32, width=32, channels=8)).eval()
    codes = tokenizer.encode(scene(2))
    tokenizer.hasten()
    assert tokenizer.to("meta").decode(codes.to("meta")).device.type == "meta"


def test_codes_depend_on_their_neighbourhood_only() -> None:
    """What moves in one corner does not change the codes of the opposite one."""
    torch.manual_seed(0)
    tokenizer = Tokenizer(TokenizerConfig(height=256, width=256, channels=8)).eval()
    frames = torch.randint(0, 256, (1, 256, 256, 3), dtype=torch.uint8)
    changed = frames.clone()
    changed[:, :32, :32] = 255 - changed[:, :32, :32]
    same = (tokenizer.encode(frames) == tokenizer.encode(changed)).all(dim=-1).reshape(16, 16)
    assert not same[:2, :2].all()
    assert same[12:, 12:].all()


@pytest.mark.parametrize("views", [1, 2])
def test_a_view_that_tokens_do_not_fill_is_continued_beyond_its_edges(views: int) -> None:
    torch.manual_seed(0)
    tokenizer = Tokenizer(TokenizerConfig(height=24, width=40, channels=8, views=views)).eval()
    filled = Tokenizer(TokenizerConfig(height=32, width=48, channels=8)).eval()
    weights = {name: value for name, value in tokenizer.state_dict().items() if "background" not in name}
    filled.load_state_dict(weights, strict=False)
    frames = torch.randint(0, 256, (2, 24, views * 40, 3), dtype=torch.uint8)
    codes = tokenizer.encode(frames)
    assert codes.shape == (2, views * 2 * 3, 20) and tokenizer.config.grid == (2, 3)
    rows, columns = torch.arange(32).clamp(max=23), torch.arange(48).clamp(max=39)
    for view in range(views):
        own = frames[:, :, view * 40 : (view + 1) * 40]
        expected = filled.encode(own[:, rows][:, :, columns])
        assert torch.equal(codes[:, view * 6 : (view + 1) * 6], expected)
        decoded = tokenizer.decode(codes)[:, :, view * 40 : (view + 1) * 40]
        assert torch.equal(decoded, filled.decode(expected)[:, :24, :40])
    loss, _ = tokenizer.loss(frames, tokenizer.features(frames))
    assert loss.isfinite() and tokenizer.novelty(frames, codes).shape == (2,)


def test_impossible_levels_are_refused() -> None:
    with pytest.raises(ConfigError, match="levels must be odd"):
        TokenizerConfig(levels=4)


def test_images_and_frames_are_inverse() -> None:
    frames = torch.randint(0, 256, (2, 16, 16, 3), dtype=torch.uint8)
    assert torch.equal(to_frames(to_images(frames)), frames)


def test_median_background_ignores_what_moves() -> None:
    background = median_background(scene(21))
    assert torch.allclose(background, torch.tensor(150 / 255 - 0.5).expand(3, 32, 32))


def test_quantisation_passes_gradients() -> None:
    tokenizer = Tokenizer(TokenizerConfig(channels=8))
    z = torch.linspace(-2, 2, 9, requires_grad=True)
    values = tokenizer.quantise(z)
    values.sum().backward()
    assert set(values.detach().mul(2).round().tolist()) == {-2.0, -1.0, 0.0, 1.0, 2.0}
    assert z.grad is not None
    assert (z.grad > 0).all()


def test_overfits_a_few_frames_without_losing_the_square() -> None:
    torch.manual_seed(0)
    frames = scene(8)
    tokenizer = Tokenizer(TokenizerConfig(height=32, width=32, channels=16))
    tokenizer.background.copy_(median_background(scene(31)))
    optimiser = torch.optim.AdamW(tokenizer.parameters(), lr=2e-3)
    for _ in range(150):
        loss, _ = tokenizer.loss(frames, tokenizer.features(frames))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    decoded = tokenizer.decode(tokenizer.encode(frames))
    red_true = (frames[..., 0] > 180) & (frames[..., 1] < 60)
    red_decoded = (decoded[..., 0] > 180) & (decoded[..., 1] < 60)
    assert (red_true & red_decoded).sum() > 0.9 * red_true.sum()
    assert red_decoded.sum() < 1.1 * red_true.sum()
