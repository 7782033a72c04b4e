"""Batch norms with fixed statistics run inside the convolutions before them: same features, gradients and weights."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import cast

import pytest
import timm
import torch
from torch import Tensor, nn

from pinembed.encoder.folding import Folding


class Shared(nn.Module):
    """A convolution whose output something beside the batch norm reads."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution, self.norm = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8)

    def forward(self, input_BCHW: Tensor) -> Tensor:
        inner_BCHW = self.convolution(input_BCHW)
        summed_BCHW: Tensor = self.norm(inner_BCHW) + inner_BCHW
        return summed_BCHW.mean((2, 3))


class CalledTwice(Shared):
    """A batch norm behind two calls of one convolution."""

    def forward(self, input_BCHW: Tensor) -> Tensor:
        return torch.cat(
            [self.norm(self.convolution(part)).mean((2, 3)) for part in (input_BCHW, input_BCHW.flip(3))], 1
        )


class Plain(nn.Sequential):
    """torch's own batch norm and activations, with a convolution that has a bias of its own."""

    def __init__(self) -> None:
        super().__init__(
            nn.Conv2d(3, 8, 3, bias=True), nn.BatchNorm2d(8), nn.ReLU6(inplace=True), nn.Conv2d(8, 8, 3, bias=False),
            nn.BatchNorm2d(8), nn.ReLU6(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        )  # fmt: skip


def mobilenet() -> nn.Module:
    return cast(nn.Module, timm.create_model("mobilenetv2_035", num_classes=16))


def resnet() -> nn.Module:
    return cast(nn.Module, timm.create_model("resnet10t", num_classes=16))


def tower_of(make: Callable[[], nn.Module]) -> nn.Module:
    """With statistics and weights of batch norms as a trained model has them."""
    torch.manual_seed(0)
    tower = make()
    for norm in tower.modules():
        if isinstance(norm, nn.BatchNorm2d):
            nn.init.normal_(cast(Tensor, norm.running_mean), std=0.3)
            nn.init.uniform_(cast(Tensor, norm.running_var), 0.5, 2.0)
            nn.init.normal_(norm.weight, 1.0, 0.3)
            nn.init.normal_(norm.bias, std=0.3)
    return tower.eval()


def gradients(tower: nn.Module, features_BD: Tensor) -> dict[str, Tensor]:
    tower.zero_grad(set_to_none=True)
    torch.manual_seed(1)
    (features_BD * torch.randn_like(features_BD)).sum().backward()  # type: ignore[no-untyped-call]
    return {name: weight.grad.double() for name, weight in tower.named_parameters() if weight.grad is not None}


@pytest.fixture
def input_BCHW() -> Tensor:
    return torch.randn(4, 3, 48, 48, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("make", [mobilenet, resnet, Plain, Shared, CalledTwice])
def test_features_and_gradients_are_those_of_the_tower(make: Callable[[], nn.Module], input_BCHW: Tensor) -> None:
    tower = tower_of(make)
    wanted_BD = tower(input_BCHW)
    wanted = gradients(tower, wanted_BD)
    before = {name: tensor.clone() for name, tensor in tower.state_dict().items()}
    folding = Folding(tower)
    for _ in range(2):
        found_BD = folding.run(tower, input_BCHW)
        found = gradients(tower, found_BD)
        torch.testing.assert_close(found_BD, wanted_BD, rtol=1e-4, atol=1e-4)
        assert found.keys() == wanted.keys()
        for name, gradient in wanted.items():
            assert (found[name] - gradient).norm() <= 1e-3 * gradient.norm() + 1e-5, name
    assert all(torch.equal(tensor, before[name]) for name, tensor in tower.state_dict().items())


@pytest.mark.parametrize(("make", "folded"), [(mobilenet, 52), (resnet, 14), (Plain, 2), (Shared, 0), (CalledTwice, 0)])
def test_each_norm_behind_a_convolution_of_its_own_is_folded(
    make: Callable[[], nn.Module], folded: int, input_BCHW: Tensor
) -> None:
    tower = tower_of(make)
    norms_met = []
    for module in tower.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.register_forward_hook(lambda norm, inputs, output: norms_met.append("forward" in norm.__dict__))
    Folding(tower).run(tower, input_BCHW)
    folded_run = norms_met[-sum(isinstance(module, nn.BatchNorm2d) for module in tower.modules()) :]
    assert sum(folded_run) == folded
    assert not any("forward" in module.__dict__ for module in tower.modules())


def test_norms_in_training_take_the_statistics_of_the_batch(input_BCHW: Tensor) -> None:
    tower = tower_of(mobilenet).train()
    twin = tower_of(mobilenet).train()
    torch.manual_seed(3)
    wanted_BD = twin(input_BCHW)
    torch.manual_seed(3)
    found_BD = Folding(tower).run(tower, input_BCHW)
    assert torch.equal(found_BD, wanted_BD)
    assert all(torch.equal(a, b) for a, b in zip(tower.buffers(), twin.buffers(), strict=True))


def test_random_numbers_of_training_stay_where_they_are(input_BCHW: Tensor) -> None:
    tower = nn.Sequential(Plain(), nn.Dropout(0.5))
    tower.train()
    for norm in tower.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.eval()
    torch.manual_seed(4)
    wanted_BD = tower(input_BCHW)
    torch.manual_seed(4)
    torch.testing.assert_close(Folding(tower).run(tower, input_BCHW), wanted_BD, rtol=1e-4, atol=1e-5)
    assert tower[1].training


def test_less_is_kept_for_the_gradients(input_BCHW: Tensor) -> None:
    tower = tower_of(mobilenet)
    folding = Folding(tower)
    folding.run(tower, input_BCHW)

    def kept_bytes(run: Callable[[], Tensor]) -> int:
        kept: dict[int, int] = {}

        def count(tensor: Tensor) -> Tensor:
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
            features_BD = run()
        del features_BD
        return sum(kept.values())

    assert kept_bytes(lambda: folding.run(tower, input_BCHW)) < 0.75 * kept_bytes(lambda: tower(input_BCHW))


def test_threads_do_not_meet_half_of_a_folding(input_BCHW: Tensor) -> None:
    tower = tower_of(Plain)
    folding = Folding(tower)
    with torch.no_grad():
        wanted_BD = tower(input_BCHW)
    apart: list[float] = []

    def run() -> None:
        with torch.no_grad():
            apart.extend(float((folding.run(tower, input_BCHW) - wanted_BD).abs().max()) for _ in range(50))

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(apart) == 200
    assert max(apart) < 1e-4
