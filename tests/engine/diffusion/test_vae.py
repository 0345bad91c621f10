"""The VAE, chunk by chunk, against the stock class."""

from __future__ import annotations

import pytest
import torch
from helpers.tiny_void import TinyModel

from void_engine.diffusion.loading import load_vae
from void_engine.diffusion.vae import Tiling, VideoVae, decode_chunks, decoded_frames, encode_chunks


@pytest.fixture(scope="module")
def vae(tiny: TinyModel) -> VideoVae:
    return VideoVae(load_vae(tiny.base, torch.float32))


def clip(frames: int, height: int = 32, width: int = 48) -> torch.Tensor:
    return torch.rand((1, 3, frames, height, width), generator=torch.Generator().manual_seed(frames)) * 2 - 1


def alike(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1])


@pytest.mark.parametrize("frames", [1, 5, 9, 13, 16, 21, 29])
def test_encoding_is_the_stock_classs_bit_for_bit(vae, tiny, frames):
    stock = load_vae(tiny.base, torch.float32)
    video = clip(frames)
    with torch.no_grad():
        expected = stock.encode(video).latent_dist.mode() * stock.config.scaling_factor
    assert torch.equal(vae.encode(lambda a, b: video[:, :, a:b], frames), expected)


@pytest.mark.parametrize("latents", [1, 2, 3, 4, 7, 8])
def test_decoding_gives_four_frames_a_latent_and_one_for_the_first(vae, latents):
    chunks = list(vae.decode(torch.randn((1, 16, latents, 4, 6), generator=torch.Generator().manual_seed(0))))
    assert torch.cat(chunks, dim=1).shape == (3, 4 * latents - 3, 32, 48)
    spans = [decoded_frames(*chunk) for chunk in decode_chunks(latents)]
    assert [stop - start for start, stop in spans] == [chunk.shape[1] for chunk in chunks]
    assert spans[-1][1] == 4 * latents - 3


def test_the_stock_decoder_gives_other_frames_which_is_why_ours_is_driven(tiny):
    stock = load_vae(tiny.base, torch.float32)
    latents = torch.randn((1, 16, 4, 4, 6), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert stock.decode(latents / stock.config.scaling_factor).sample.shape[2] == 16
    assert torch.cat(list(VideoVae(stock).decode(latents)), dim=1).shape[1] == 13


def test_an_odd_number_of_latents_decodes_as_the_stock_class_does_after_the_first_chunk(vae, tiny):
    """Where no latent is alone but the first, the chunks are the stock class's own calls."""
    stock = load_vae(tiny.base, torch.float32)
    latents = torch.randn((1, 16, 5, 4, 6), generator=torch.Generator().manual_seed(1))
    scaled, cache, parts = latents / stock.config.scaling_factor, None, []
    with torch.no_grad():
        for start, stop in ((0, 1), (1, 3), (3, 5)):
            part, cache = stock.decoder(scaled[:, :, start:stop], conv_cache=cache)
            parts.append(part)
    expected = (torch.cat(parts, dim=2)[0] / 2 + 0.5).clamp(0, 1)
    assert torch.equal(torch.cat(list(vae.decode(latents)), dim=1), expected)


def test_a_lone_last_latent_continues_the_motion_of_a_pair(vae):
    """What came before it is the same bits."""
    latents = torch.randn((1, 16, 5, 4, 6), generator=torch.Generator().manual_seed(2))
    pair = torch.cat(list(vae.decode(latents)), dim=1)
    lone = torch.cat(list(vae.decode(latents[:, :, :4])), dim=1)
    assert torch.equal(lone[:, :9], pair[:, :9])
    assert lone.shape[1] == 13


@pytest.mark.parametrize("frames", [5, 13, 21, 85, 1005])
def test_chunks_cover_every_frame_once(frames):
    chunks = encode_chunks(frames)
    assert [i for start, stop in chunks for i in range(start, stop)] == list(range(frames))
    assert max(stop - start for start, stop in chunks) < 16


def test_only_a_chunk_of_frames_is_asked_for_at_a_time(vae):
    asked = []

    def read(start: int, stop: int) -> torch.Tensor:
        asked.append((start, stop))
        return clip(stop - start)

    vae.encode(read, 45)
    assert asked == encode_chunks(45)


def test_decoding_stops_where_the_caller_stops(vae):
    frames = vae.decode(torch.randn((1, 16, 8, 4, 6)))
    assert next(frames).shape[1] == 1
    frames.close()


def test_tiles_agree_with_the_whole_picture_but_for_their_statistics(tiny):
    vae = VideoVae(load_vae(tiny.base, torch.float32))
    smooth = torch.nn.functional.interpolate(clip(9, 8, 12)[0], size=(64, 96), mode="bilinear")[None]
    whole = vae.encode(lambda a, b: smooth[:, :, a:b], 9)
    decoded = torch.cat(list(vae.decode(whole)), dim=1)
    vae.tiling = Tiling(height=6, width=8, overlap=2)
    tiled = vae.encode(lambda a, b: smooth[:, :, a:b], 9)
    assert tiled.shape == whole.shape
    assert alike(tiled, whole) > 0.9
    again = torch.cat(list(vae.decode(whole)), dim=1)
    assert again.shape == decoded.shape
    assert alike(again, decoded) > 0.9
    assert not torch.equal(again, decoded)


def test_a_picture_smaller_than_a_tile_is_not_tiled(tiny):
    vae = VideoVae(load_vae(tiny.base, torch.float32))
    latents = torch.randn((1, 16, 2, 4, 6), generator=torch.Generator().manual_seed(3))
    plain = torch.cat(list(vae.decode(latents)), dim=1)
    vae.tiling = Tiling()
    assert torch.equal(torch.cat(list(vae.decode(latents)), dim=1), plain)


def test_a_constant_picture_shows_no_seams_between_tiles(tiny):
    """The blend's weights add up to one: what every tile agrees on comes out as it is."""
    from void_engine.diffusion import vae as module

    vae = VideoVae(load_vae(tiny.base, torch.float32))
    vae.tiling = Tiling(height=6, width=8, overlap=2)
    tiles = vae._tiles(10, 15)
    picture = torch.arange(150.0).view(1, 1, 1, 10, 15)
    assert torch.allclose(module._blend([tile.cut(picture) for tile in tiles], tiles, 2), picture)
