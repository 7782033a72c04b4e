"""doctor: what it finds on a sound machine, and what it says on a broken one."""

from __future__ import annotations

import importlib
from importlib import metadata

import torch

from pinembed.jobs import doctor
from pinembed.settings.measuring import DoctorSettings


def check_named(name: str):
    return next(check for check in doctor.examine(DoctorSettings()).checks if check.name == name)


def test_doctor_finds_nothing_wrong_where_the_tests_run(cli) -> None:
    result = cli("doctor", "--json")
    assert result.exit_code == 0
    names = {check["name"] for check in result.json["checks"]}
    assert {"torch + torchvision", "lancedb", "CPU bf16 / int8", "extra vlm", "model hub", "free disk"} <= names
    assert result.json["ok"] is True


def test_doctor_prints_the_versions_for_a_person(cli) -> None:
    assert torch.__version__.partition("+")[0] in cli("doctor").stdout


def test_doctor_names_a_torchvision_that_is_no_pair_and_the_remedy(cli, monkeypatch) -> None:
    real = importlib.import_module

    def refuse(name: str, package: str | None = None):
        if name == "torchvision":
            raise RuntimeError("operator torchvision::nms does not exist")
        return real(name, package)

    monkeypatch.setattr(importlib, "import_module", refuse)
    result = cli("doctor")
    assert result.exit_code == 1
    assert "They are not a pair: operator torchvision::nms does not exist. Install both in one call" in result.words


def test_doctor_names_a_missing_extra_and_its_install_line(monkeypatch) -> None:
    real = metadata.version

    def version(package: str) -> str:
        if package == "openvino":
            raise metadata.PackageNotFoundError(package)
        return real(package)

    monkeypatch.setattr(metadata, "version", version)
    check = check_named("extra fast")
    assert check.found == "missing openvino"
    assert check.remedy == 'When you need it: pip install "pinembed[fast]"'
    assert check.verdict == "note"


def test_doctor_warns_of_a_full_disk(monkeypatch) -> None:
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda folder: doctor.shutil._ntuple_diskusage(10, 9, 2**30))
    check = check_named("free disk")
    assert check.verdict == "note"
    assert check.remedy.startswith("Less than 5 GiB")


def test_doctor_tells_that_the_hub_is_offline(monkeypatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert check_named("model hub").found.startswith("offline")
