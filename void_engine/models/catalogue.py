"""The models that VOID uses: one table. Another model is another entry.

Revisions, sizes and SHA-256 were read off stored copies of the hub's pages, named beside each; nothing was fetched
from the hub here. Where the source is empty the value was not found, and stays empty: the hub's own digest is taken at
the first fetch and recorded in the folder's ``models.lock.json``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from void_client.errors import InputError

KB, MB, GB = 10**3, 10**6, 10**9


@dataclass(frozen=True)
class Licence:
    """``says`` is one sentence for a person; the licence itself is at ``url``."""

    name: str
    url: str
    says: str
    must_accept: bool


@dataclass(frozen=True)
class ModelFile:
    """``size``: bytes, to three digits, as the hub's pages show it: for the sum that people see before a fetch.

    ``sha256``: 64 hexadecimal digits, or empty where not known. ``name`` is the exact name in the repository.
    ``optional``: VOID runs without it; fetched only when asked for.
    """

    name: str
    size: int
    sha256: str = ""
    optional: bool = False


@dataclass(frozen=True)
class Model:
    """``revision``: a full commit SHA; empty where not known: the first fetch resolves and records it.

    ``folder``: where its files go in the models' folder; empty for the folder itself. ``extra``: the engine runs
    without it; fetched only when named.
    """

    name: str
    purpose: str
    repository: str
    revision: str
    folder: str
    files: tuple[ModelFile, ...]
    licence: Licence
    extra: bool = False

    def wanted(self, everything: bool = False) -> tuple[ModelFile, ...]:
        return tuple(file for file in self.files if everything or not file.optional)

    def size(self, everything: bool = False) -> int:
        return sum(file.size for file in self.wanted(everything))

    def place(self, file: str) -> str:
        """Where the file lies, relative to the models' folder."""
        return f"{self.folder}/{file}" if self.folder else file


_COGVIDEOX = Licence(
    name="CogVideoX licence",
    url="https://huggingface.co/alibaba-pai/CogVideoX-Fun-V1.5-5b-InP/blob/main/LICENSE",
    says="Not an open-source licence: free for research; commercial use needs a registration with the licensor and "
    "is limited. Read it, and let whoever decides read it, before commercial use.",
    must_accept=True,
)
_APACHE = Licence(
    name="Apache-2.0",
    url="https://www.apache.org/licenses/LICENSE-2.0",
    says="Commercial use is allowed; keep the licence and its notices with copies.",
    must_accept=False,
)

BASE = Model(
    name="base",
    purpose="what VOID was trained from: the VAE, the text encoder, the tokenizer, the transformer's configuration",
    repository="alibaba-pai/CogVideoX-Fun-V1.5-5b-InP",
    # huggingface.co/alibaba-pai/CogVideoX-Fun-V1.5-5b-InP/tree/main, stored copy: "History: 3 commits", af20412; its
    # whole id: .../tree/af20412bce237a2abb3f37fa62d54873b4c111a3. The weights came with its parent b860ca0.
    revision="af20412bce237a2abb3f37fa62d54873b4c111a3",
    folder="CogVideoX-Fun-V1.5-5b-InP",
    # Names and sizes: the pages .../tree/<revision>/<folder> of this revision or of b860ca0 (the same files).
    files=(
        ModelFile("LICENSE", 5_700),
        ModelFile("scheduler/scheduler_config.json", 482),
        ModelFile("tokenizer/added_tokens.json", 2_590),
        ModelFile("tokenizer/special_tokens_map.json", 2_540),
        ModelFile("tokenizer/spiece.model", 792 * KB),
        ModelFile("tokenizer/tokenizer_config.json", 20_600),
        ModelFile("text_encoder/config.json", 782),
        ModelFile("text_encoder/model.safetensors.index.json", 19_900),
        # The same shards of THUDM/CogVideoX-5b are quoted with digests; for this repository no page was found.
        ModelFile("text_encoder/model-00001-of-00002.safetensors", 4_990 * MB),
        ModelFile("text_encoder/model-00002-of-00002.safetensors", 4_530 * MB),
        ModelFile("vae/config.json", 839),
        ModelFile(
            "vae/diffusion_pytorch_model.safetensors",
            431 * MB,
            # .../blob/main/vae/diffusion_pytorch_model.safetensors, "Create Weights b860ca0"
            "bd47d57ad948ff80da0af0cb2e4dcdef65073aba59bccfd383ada9a7d1c02024",
        ),
        ModelFile("transformer/config.json", 887),
        ModelFile(
            "transformer/diffusion_pytorch_model.safetensors",
            11_100 * MB,
            # .../blob/b860ca09019c6e8b3545c01462d560fc1b9cdc1b/transformer/diffusion_pytorch_model.safetensors
            "e47e12ca6f33d29acd39bfc1bf0f45593dec27f6a38fa2722b35e814e812dabe",
            optional=True,  # VOID's own passes replace it whole; only old checkpoints of 33 channels lean on it
        ),
        # Last: a base without it is no base yet, so a fetch that was stopped is never taken for a whole one.
        ModelFile("model_index.json", 411),
    ),
    licence=_COGVIDEOX,
)

VOID = Model(
    name="void",
    purpose="VOID's transformer: pass 1, and pass 2 for steadier long shots",
    repository="netflix/void-model",
    # Commits are known (3571a6c, 0cef4e9 …), but no page says which one is main or holds the weights. The digests
    # below pin the content.
    revision="",
    folder="",
    # Digests at second hand: from two duplicates that the hub itself made of netflix/void-model, which keep the
    # files as they are. Sizes: huggingface.co/soha23/void-model/tree/main, another such duplicate.
    files=(
        ModelFile(
            "void_pass1.safetensors",
            11_100 * MB,
            # huggingface.co/AdversaLLC/void-model/blob/main/void_pass1.safetensors, "Duplicate from netflix/void-model"
            "78cec135c557afe063364602e1038170a49bd5bd3eb909f6b7e30a070173e935",
        ),
        ModelFile(
            "void_pass2.safetensors",
            11_100 * MB,
            # huggingface.co/WallyDesktop/void-model/blob/main/void_pass2.safetensors, "Duplicate from …"
            "4445d063c3044d0c827ca728387ecd2aecc5344274a4b73d7091e27ec290ec41",
        ),
    ),
    licence=_APACHE,
)

SAM2 = Model(
    name="sam2",
    purpose="SAM 2.1, the segmenter sam2: masks from clicks, boxes and mattes; the segmenter track needs no model",
    repository="facebook/sam2.1-hiera-base-plus",
    # No stored page of this repository shows its revision, its files or their digests: the first fetch takes the hub's.
    revision="",
    folder="sam2.1-hiera-base-plus",
    # That these two files are there: the documentation of transformers 5.23 (model_doc/sam2_video.md and the classes'
    # own docstrings) loads the sam2.1-hiera repositories with `from_pretrained`. Size of the weights at second hand:
    # 80.8 million numbers of 4 bytes; huggingface.co/fofr/comfyui/tree/main/sam2 shows 323 MB for a copy.
    files=(ModelFile("config.json", 2 * KB), ModelFile("model.safetensors", 323 * MB)),
    licence=_APACHE,
    extra=True,
)

GROUNDING_DINO = Model(
    name="grounding-dino",
    purpose="the detector: finds what a reasoner names, so that it gets a matte; without it, cells and boxes are used",
    repository="IDEA-Research/grounding-dino-tiny",
    # huggingface.co/IDEA-Research/grounding-dino-tiny/tree/a2bb814dd30d776dcf7e30523b00659f4f141c71, stored copy:
    # "History: 19 commits"; names and sizes are from there, too.
    revision="a2bb814dd30d776dcf7e30523b00659f4f141c71",
    folder="grounding-dino-tiny",
    # The small files are pinned by the revision: the hub announces no SHA-256 for them.
    files=(
        ModelFile("config.json", 1_640),
        ModelFile("tokenizer.json", 711 * KB),
        ModelFile(
            "model.safetensors",
            689 * MB,
            # .../blob/c254d1f282bf348ab7f5a27d5cf90531eeba69be/model.safetensors, "Upload
            # GroundingDinoForObjectDetection 25b0b43": the page of an earlier revision. That the pinned one has the
            # same bytes is at second hand: several repositories on GitHub name this digest with it.
            "1a2412ef99bd74bcd3c2a246fa1e48581f8889a1300c9051974741314fc042f3",
        ),
    ),
    licence=_APACHE,
    extra=True,
)

CATALOGUE: tuple[Model, ...] = (BASE, VOID, SAM2, GROUNDING_DINO)


def choose(names: Sequence[str], catalogue: Sequence[Model] = CATALOGUE) -> tuple[Model, ...]:
    """The named models; all but the extra ones where none is named. Raises ``InputError`` for an unknown name."""
    known = {model.name: model for model in catalogue}
    for name in names:
        if name not in known:
            raise InputError(f"There is no model called {name!r}.", hint=f"Known are: {', '.join(known)}.")
    return tuple(known[name] for name in dict.fromkeys(names)) or tuple(model for model in catalogue if not model.extra)
