"""The finetune job: a base encoder and a catalogue to an encoder that knows the catalogue, or the base back."""

from __future__ import annotations

from pinembed.jobs.finetune.run import finetune as finetune
