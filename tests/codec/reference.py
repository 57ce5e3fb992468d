"""A second decoder, written after `docs/bitstream.md` alone: whole numbers of Python, no cache, one code at a time."""

import copy
import hashlib
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from fractions import Fraction

import torch

from vqvae2.models.prior import Prior
from vqvae2.models.vqvae import VQVAE2

TOTAL = 1 << 24
STATE = 1 << 64


@dataclass
class File:
    header: bytes
    size: tuple[int, int]
    channels: int
    bits: int
    tokenizer: bytes
    priors: bytes
    label: int | None
    offset: int
    payloads: list[bytes]
    checks: list[bytes]


def parse(data: bytes) -> File:
    assert data[:4] == b"\x93VQ\x02"
    assert zlib.crc32(data[:-4]) == int.from_bytes(data[-4:], "big")
    flags, shape = data[4], data[5]
    at = 6

    def varint() -> int:
        nonlocal at
        number = shift = 0
        while True:
            byte = data[at]
            at += 1
            number |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return number

    def take(count: int) -> bytes:
        nonlocal at
        at += count
        return data[at - count : at]

    size = varint(), varint()
    tokenizer = take(2)
    priors = take(2) if flags & 1 else b""
    label = varint() if flags & 2 else None
    offset = take(1)[0] if flags & 4 else 0
    lengths = [varint() for _ in range((shape >> 4) + 1)]
    header = data[:at]
    levels = [(take(length), take(3)) for length in lengths]
    assert at == len(data) - 4
    payloads, checks = [payload for payload, _ in levels], [check for _, check in levels]
    bits = 16 if flags & 8 else 8
    return File(header, size, (shape & 15) + 1, bits, tokenizer, priors, label, offset, payloads, checks)


def exponential(steps: int) -> int:
    with localcontext(prec=60):
        value = (Decimal(-steps) / 64).exp() * TOTAL
        return int(value.to_integral_value(ROUND_HALF_EVEN))


def counts(logits: Sequence[float], offset: int) -> list[int]:
    steps = [round(Fraction(logit) * 64 + Fraction(offset, 256)) for logit in logits]
    weights = [exponential(max(steps) - step) for step in steps]
    free = TOTAL - len(logits)
    shares = [1 + weight * free // sum(weights) for weight in weights]
    shares[steps.index(max(steps))] += TOTAL - sum(shares)
    return shares


class RangeDecoder:
    def __init__(self, payload: bytes) -> None:
        self.payload = payload
        self.lower, self.range = 0, STATE - 1
        self.point = int.from_bytes(self.read(0, 8), "big")
        self.at = 8

    def read(self, start: int, count: int) -> bytes:
        return self.payload[start : start + count].ljust(count, b"\0")

    def decode(self, shares: Sequence[int]) -> int:
        scale = self.range >> 24
        quotient = (self.point - self.lower) % STATE // scale
        assert quotient < TOTAL
        code = before = 0
        while quotient >= before + shares[code]:
            before += shares[code]
            code += 1
        self.lower, self.range = (self.lower + scale * before) % STATE, scale * shares[code]
        if self.range < 1 << 32:
            self.lower, self.range = self.lower << 32, self.range << 32
            self.point = (self.point << 32) + int.from_bytes(self.read(self.at, 4), "big")
            self.lower, self.point = self.lower % STATE, self.point % STATE
            self.at += 4
        return code


def coded_order(height: int, width: int, kernel_size: int) -> list[int]:
    """Give the positions, numbered in raster order, in the order in which a payload has them."""
    p = (kernel_size - 1) // 2
    places = [(row, column) for row in range(height) for column in range(width)]
    places.sort(key=lambda place: (place[1] + (p + 1) * place[0], place[0]))
    return [row * width + column for row, column in places]


def decode_raw(payload: bytes, count: int, num_embeddings: int) -> list[int]:
    width = (num_embeddings - 1).bit_length()
    bits = "".join(f"{byte:08b}" for byte in payload)
    return [int(bits[index * width : (index + 1) * width], 2) for index in range(count)]


def model_hash(model: torch.nn.Module) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()


@torch.inference_mode()
def decode(data: bytes, tokenizer: VQVAE2, priors: Sequence[Prior] = ()) -> list[list[list[int]]]:
    """Give the codes of each level, row by row."""
    file = parse(data)
    hashes = [model_hash(tokenizer)]
    if file.priors:
        joined = "".join(model_hash(prior) for prior in priors)
        hashes.append(hashlib.blake2b(joined.encode(), digest_size=16).hexdigest())
    assert [part[:4] for part in hashes] == [part.hex() for part in (file.tokenizer, file.priors) if part]
    maps: list[torch.Tensor] = []
    hashed = "".join(hashes).encode() + file.header
    shapes = tokenizer.config.code_shapes(*file.size)
    for level, (payload, check) in enumerate(zip(file.payloads, file.checks, strict=True)):
        height, width = shapes[level]
        num_embeddings = tokenizer.config.codebook_sizes[level]
        codes = torch.zeros(1, height, width, dtype=torch.int64)
        flat = codes.view(-1)
        if file.priors:
            prior = copy.deepcopy(priors[level]).double()
            num_classes = prior.space.num_classes
            label = num_classes if file.label is None else file.label
            labels = torch.tensor([label]) if num_classes else None
            decoder = RangeDecoder(payload)
            for position in coded_order(height, width, prior.config.network.kernel_size):
                logits = prior(codes, above=maps, labels=labels).view(height * width, -1)[position]
                flat[position] = decoder.decode(counts(logits.tolist(), file.offset))
        else:
            flat[:] = torch.tensor(decode_raw(payload, height * width, num_embeddings))
        maps.append(codes)
        hashed += b"".join(int(code).to_bytes(4, "little") for code in flat)
        assert hashlib.blake2b(hashed, digest_size=3).digest() == check
    return [codes[0].tolist() for codes in maps]
